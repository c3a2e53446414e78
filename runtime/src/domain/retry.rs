//! What follows from an attempt to deliver: done, again and when, or given up.
//!
//! A round of attempts runs 0, 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h, 6 h, 12 h after one another and then
//! every 12 h: 24 attempts over 8 days. Each wait is prolonged by up to a tenth, never shortened, so that what
//! failed together does not come back together. A resend begins a new round.

use sha2::{Digest as _, Sha256};

use super::Millis;

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

/// Number of claims of the same work in a row that ended with the process and without a result, after which it is set
/// aside.
pub const UNHEARD_MAX: i64 = 3;

/// Waits before the second, third, … attempt of a round, milliseconds; after them [`LAST_WAIT`].
const WAITS: [Millis; 9] =
    [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];
const LAST_WAIT: Millis = 12 * HOUR;
/// Maximum number of attempts of a round. Attempts are counted rather than timed: a delivery that waited behind a
/// paused endpoint loses none.
pub const ATTEMPTS_MAX: u32 = 24;

const RETRY_AFTER_MIN: Millis = SECOND;
const RETRY_AFTER_MAX: Millis = 24 * HOUR;
/// Maximum wait of deliveries, runs of hooks and breakers, milliseconds. A time further ahead was set by a clock that
/// was ahead, and is due now.
pub const LONGEST_WAIT: Millis = RETRY_AFTER_MAX + RETRY_AFTER_MAX / 10;

/// Number of failures (a quarter of an hour) after which a retry no longer holds up later work: a handler that cannot
/// take one event of an invoice must not keep all others away from it for days.
const OVERTAKEN_AFTER: u32 = 5;

/// True if later events of the same invoice may overtake this one, which has failed this many times and is to be tried
/// again.
#[must_use]
pub fn lets_others_pass(failed: u32) -> bool {
    failed >= OVERTAKEN_AFTER
}

/// The facts of an attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub struct AttemptFacts<'a> {
    /// Id of the delivery, or of the run.
    pub of: &'a str,
    /// Number within this round, from 1.
    pub number: u32,
    pub ended_at: Millis,
    pub outcome: Outcome<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    Answered {
        /// The HTTP status.
        status: u16,
        /// True if the answer is what the form wants ([`super::taken::AcceptanceRule`]).
        taken: bool,
        /// Value of the header `Retry-After`.
        retry_after: Option<&'a str>,
        /// Value of the header `webhook-delivery` (docs.svix.com/receiving/delivery-control).
        control: Option<&'a str>,
    },
    /// No answer came.
    Failed,
    /// Nothing is sent of such an event.
    Unsupported,
}

/// The consequence of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Delivered,
    RetryAt(Millis),
    /// This delivery ends unsent, and nobody failed.
    Skipped,
    /// This delivery is given up.
    Exhausted,
    /// This delivery is given up, and the endpoint wants no more.
    DisableEndpoint,
}

/// Decides what follows an attempt. An answer that is taken is an acknowledgement, whatever else it says. Otherwise 410
/// and `webhook-delivery: disable` disable the endpoint; `webhook-delivery: abort-message` gives this delivery up.
/// Everything else (a redirect too: it is not followed) is a failure. On 429 and 503 a `Retry-After` puts the next
/// attempt off, never brings it forward.
#[must_use]
pub fn judge(attempt: &AttemptFacts<'_>) -> Next {
    let mut wait_min = 0;
    if attempt.outcome == Outcome::Unsupported {
        return Next::Skipped;
    }
    if let Outcome::Answered { status, taken, retry_after: after, control } = attempt.outcome {
        if taken {
            return Next::Delivered;
        }
        let control = control.map(|text| text.trim().to_ascii_lowercase());
        match (status, control.as_deref()) {
            (410, _) | (_, Some("disable")) => return Next::DisableEndpoint,
            (_, Some("abort-message")) => return Next::Exhausted,
            (429 | 503, _) => {
                wait_min = after
                    .and_then(|text| retry_after(text, attempt.ended_at))
                    .map_or(0, |wait| wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
            }
            _ => {}
        }
    }
    if attempt.number >= ATTEMPTS_MAX {
        return Next::Exhausted;
    }
    let index = usize::try_from(attempt.number.saturating_sub(1)).unwrap_or(usize::MAX);
    let wait = WAITS.get(index).copied().unwrap_or(LAST_WAIT).max(wait_min);
    Next::RetryAt(attempt.ended_at + wait + jitter(wait, attempt.of, attempt.number))
}

/// A prolongation between zero and a tenth of `wait`, always the same for the same attempt.
pub(super) fn jitter(wait: Millis, of: &str, number: u32) -> Millis {
    let hash = Sha256::new().chain_update(of).chain_update(number.to_be_bytes()).finalize();
    let share = hash.iter().take(2).fold(0, |share, byte| (share << 8) | Millis::from(*byte));
    wait / 10 * share / 0xFFFF
}

/// Wait that a `Retry-After` asks for, milliseconds: seconds, or a date of HTTP (RFC 9110 §10.2.3). May be negative.
#[must_use]
pub fn retry_after(text: &str, now: Millis) -> Option<Millis> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "very long", which the caller bounds.
        return Some(text.parse::<Millis>().map_or(Millis::MAX, |s| s.saturating_mul(SECOND)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Millis::try_from(at.as_millis()).ok()?.saturating_sub(now))
}

/// Number of failures in a row after which an endpoint is paused.
const FAILURES_MAX: u32 = 5;
const PAUSE: Millis = 30 * SECOND;
const PAUSE_MAX: Millis = HOUR;

/// The breaker of an endpoint. After some failures in a row its deliveries wait, one is let through when the
/// pause is over, and each further failure makes the next pause twice as long, up to an hour. What waits is
/// kept; a success lets it all go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    pub failures: u32,
    pub paused_until: Option<Millis>,
}

impl Breaker {
    /// The breaker after an attempt. A failure of an attempt that was under way when the pause began changes nothing.
    #[must_use]
    pub fn after(self, success: bool, now: Millis) -> Self {
        if success {
            return Self::default();
        }
        if self.paused_until.is_some_and(|until| until > now) {
            return self;
        }
        let failures = self.failures.saturating_add(1);
        let paused_until = failures.checked_sub(FAILURES_MAX).map(|over| {
            // 30 s doubled seven times is more than the longest pause.
            now + (PAUSE << over.min(7)).min(PAUSE_MAX)
        });
        Self { failures, paused_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;

    fn attempt(number: u32, outcome: Outcome<'_>) -> Next {
        judge(&AttemptFacts { of: "dlv_1", number, ended_at: NOW, outcome })
    }

    fn answered(status: u16, retry_after: Option<&str>, control: Option<&str>) -> Next {
        let taken = (200..300).contains(&status);
        attempt(1, Outcome::Answered { status, taken, retry_after, control })
    }

    #[test]
    fn a_round_is_24_attempts_over_8_days() {
        let mut total = 0;
        for number in 1..ATTEMPTS_MAX {
            let Next::RetryAt(at) = attempt(number, Outcome::Failed) else { panic!("attempt {number}") };
            let wait = *WAITS.get(number as usize - 1).unwrap_or(&LAST_WAIT);
            assert!((wait..=wait + wait / 10).contains(&(at - NOW)), "attempt {number}: {}", at - NOW);
            assert!(at - NOW <= LONGEST_WAIT);
            total += wait;
        }
        assert_eq!(attempt(ATTEMPTS_MAX, Outcome::Failed), Next::Exhausted);
        assert!((7 * 24 * HOUR + 12 * HOUR..=8 * 24 * HOUR).contains(&total), "{}", total / HOUR);
    }

    #[test]
    fn jitter_differs_between_deliveries_and_is_the_same_for_one() {
        let of = |id: &str| jitter(HOUR, id, 3);
        assert_eq!(of("dlv_1"), of("dlv_1"));
        let all: std::collections::HashSet<Millis> = (0..100).map(|i| of(&format!("dlv_{i}"))).collect();
        assert!(all.len() > 90);
        assert!(all.iter().all(|jitter| (0..=HOUR / 10).contains(jitter)));
    }

    #[test]
    fn statuses() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(answered(status, None, Some("disable")), Next::Delivered);
        }
        for status in [100, 301, 302, 307, 400, 401, 404, 409, 429, 500, 502, 503] {
            assert!(matches!(answered(status, None, None), Next::RetryAt(_)), "{status}");
        }
        assert_eq!(answered(410, None, None), Next::DisableEndpoint);
        // What a form wants is what counts.
        let taken =
            |status, taken| attempt(1, Outcome::Answered { status, taken, retry_after: None, control: None });
        assert_eq!(taken(410, true), Next::Delivered);
        assert!(matches!(taken(200, false), Next::RetryAt(_)));
        assert_eq!(attempt(1, Outcome::Unsupported), Next::Skipped);
        assert_eq!(answered(500, None, Some(" Disable ")), Next::DisableEndpoint);
        assert_eq!(answered(500, None, Some("abort-message")), Next::Exhausted);
        assert!(matches!(answered(500, None, Some("other")), Next::RetryAt(_)));
    }

    #[test]
    fn retry_after_puts_off_within_bounds() {
        let wait = |status, text| match answered(status, Some(text), None) {
            Next::RetryAt(at) => (at - NOW) / SECOND,
            other => panic!("{other:?}"),
        };
        assert!((120..=132).contains(&wait(429, "120")));
        assert!((120..=132).contains(&wait(503, " 120 ")));
        // 1_800_000_000 is Fri, 15 Jan 2027 08:00:00 GMT
        assert!((600..=660).contains(&wait(503, "Fri, 15 Jan 2027 08:10:00 GMT")));
        let day = 24 * 3600;
        assert!((day..=day + day / 10).contains(&wait(429, "99999999999999999999999")));
        assert!((day..=day + day / 10).contains(&wait(429, "Fri, 31 Dec 2077 23:59:59 GMT")));
        for text in ["0", "1", "-5", "soon", "", "Fri, 15 Jan 2021 08:00:00 GMT", "1.5"] {
            assert_eq!(wait(429, text), 5, "{text}");
        }
        assert_eq!(wait(500, "120"), 5);
    }

    #[test]
    fn a_breaker_pauses_longer_each_time_and_closes_at_once() {
        let mut breaker = Breaker::default();
        let mut now = NOW;
        for _ in 1..FAILURES_MAX {
            breaker = breaker.after(false, now);
            assert_eq!(breaker.paused_until, None);
        }
        for pause_s in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
            breaker = breaker.after(false, now);
            assert_eq!(breaker.paused_until, Some(now + pause_s * SECOND));
            assert_eq!(breaker.after(false, now + 1), breaker);
            now += pause_s * SECOND;
        }
        assert_eq!(breaker.after(true, now), Breaker::default());
    }
}
