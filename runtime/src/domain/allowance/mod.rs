//! How often an upstream is asked: what the operator allows in a second and in a day, less what it was seen to refuse.
//!
//! All of it counts calls, as providers do, not HTTP requests. After a refusal a tenth less goes out than was served in the
//! second before; ten seconds without one, and it is twice as much again, up to what the operator allows. Where that was
//! refused, it is a quarter more, and is tried more and more seldom. Who serves nothing at all says nothing of how much would be well: it
//! is left alone for as long as it wants, and asked as before.
//!
//! What a day allows is spread over the day: at any time no more of it is used than its share up to then, and an hour's ahead.

mod budget;
mod learned;

use serde::{Deserialize, Serialize};

use self::budget::Budget;
pub(crate) use self::learned::Learned;
use super::{Millis, network};

/// Minimum pace, thousandths of a call per second. An upstream that refuses some of a call per second does not refuse
/// by rate; the calls that it serves are kept.
const PACE_MIN: u32 = 1_000;
/// Time after a refusal in which further ones are put down to calls that were already on their way, milliseconds.
const ON_ITS_WAY_MS: Millis = 2_000;
/// Time without refusals before a faster pace is tried, milliseconds; it doubles each time that the faster pace was
/// refused.
const GROWS_AFTER_MS: Millis = 10_000;
/// Maximum number of those doublings.
const TOO_MUCH_MAX: u32 = 4;
const SECOND_MS: Millis = 1_000;
const HOUR_MS: Millis = 3_600_000;
const DAY_MS: Millis = 24 * HOUR_MS;

/// The operator's grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) calls_per_s: u32,
    pub(crate) calls_per_day: Option<u32>,
}

impl From<&network::Upstream> for Terms {
    fn from(manifest: &network::Upstream) -> Self {
        Self { calls_per_s: manifest.calls_per_s, calls_per_day: manifest.calls_per_day }
    }
}

/// A pace below what the operator allows, in thousandths of a call a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pace {
    pub(crate) milli: u32,
    /// Time since which the pace holds.
    at: Millis,
    /// True if the pace is faster than the one before, on trial.
    #[serde(default)]
    is_tried: bool,
    /// Number of faster paces refused in a row.
    #[serde(default)]
    too_much: u32,
}

impl Pace {
    /// True if the pace has held for `times` the time before a faster one is tried.
    fn has_held(self, times: Millis, now: Millis) -> bool {
        let wait_ms = GROWS_AFTER_MS << self.too_much.min(TOO_MUCH_MAX);
        !(0..times * wait_ms).contains(&(now - self.at))
    }
}

/// Number of calls sent since 00:00 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    /// Day number since 1970-01-01.
    day: i64,
    pub(crate) calls: u64,
}

impl Day {
    /// The count of the day of `now`; 0 if that is another day.
    pub(crate) fn at(self, now: Millis) -> Self {
        let day = now.div_euclid(DAY_MS);
        if self.day == day { self } else { Self { day, calls: 0 } }
    }

    /// Time that `calls` more calls have to wait for the day's allowance, milliseconds.
    fn wait(self, per_day: u32, calls: u32, now: Millis) -> Millis {
        let per_day = i64::from(per_day.max(1));
        let wanted = i64::try_from(self.at(now).calls).unwrap_or(i64::MAX / DAY_MS) + i64::from(calls);
        let into = now.rem_euclid(DAY_MS);
        if wanted > per_day {
            return DAY_MS - into;
        }
        (wanted * DAY_MS / per_day - HOUR_MS - into).max(0)
    }
}

/// Number of calls answered in the present second and in the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    second: Millis,
    calls: u32,
    before: u32,
}

impl Served {
    fn at(self, now: Millis) -> Self {
        let second = now.div_euclid(SECOND_MS);
        match second - self.second {
            0 => self,
            1 => Self { second, calls: 0, before: self.calls },
            _ => Self { second, calls: 0, before: 0 },
        }
    }

    /// The larger of the two.
    fn most(self) -> u32 {
        self.calls.max(self.before)
    }
}

/// The allowance of one upstream: the calls that may be sent to it now.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    budget: Budget,
    pub(crate) pace: Option<Pace>,
    pub(crate) day: Day,
    served: Served,
    refused_at: Option<Millis>,
}

impl Allowance {
    pub(crate) fn of(pace: Option<Pace>, day: Day) -> Self {
        Self { pace, day, ..Self::default() }
    }

    /// Takes permits for this number of calls. Returns the wait before sending, milliseconds. Errors with that wait,
    /// and takes nothing, if it is more than `wait_ms_max`.
    pub(crate) fn take(
        &mut self,
        terms: Terms,
        calls: u32,
        now: Millis,
        wait_ms_max: Millis,
    ) -> Result<u64, u64> {
        let calls = calls.max(1);
        let of_day = terms.calls_per_day.map_or(0, |per_day| self.day.wait(per_day, calls, now));
        if of_day > wait_ms_max {
            return Err(of_day.unsigned_abs());
        }
        let wait = self.budget.take(self.milli(terms), calls, now, wait_ms_max)?;
        self.day = self.day.at(now);
        self.day.calls += u64::from(calls);
        let wait_ms = Millis::try_from(wait).unwrap_or(Millis::MAX).max(of_day);
        Ok(wait_ms.unsigned_abs())
    }

    /// Counts calls that were answered, whatever the answer.
    pub(crate) fn served(&mut self, calls: u32, now: Millis) {
        self.served = self.served.at(now);
        self.served.calls = self.served.calls.saturating_add(calls);
    }

    /// Takes a refusal: the upstream was asked too often, and has refused `calls` of the calls that count as answered.
    /// Nothing goes out for `ms` milliseconds from now, and less after that.
    pub(crate) fn refused(&mut self, terms: Terms, calls: u32, ms: Millis, now: Millis) {
        self.budget.hold(now, ms);
        self.served = self.served.at(now);
        self.served.calls = self.served.calls.saturating_sub(calls);
        let served = self.served.most().saturating_mul(1_000);
        let is_on_its_way = self.refused_at.is_some_and(|at| (0..ON_ITS_WAY_MS).contains(&(now - at)));
        if served == 0 || is_on_its_way {
            return;
        }
        self.refused_at = Some(now);
        let too_much = match self.pace {
            Some(pace) if pace.has_held(2, now) => 0,
            Some(pace) => (pace.too_much + u32::from(pace.is_tried)).min(TOO_MUCH_MAX),
            None => 0,
        };
        let milli = (self.milli(terms).min(served) / 10 * 9).max(PACE_MIN);
        self.pace = Some(Pace { milli, at: now, is_tried: false, too_much });
    }

    /// Takes a scan that went well: the pace has held.
    pub(crate) fn held(&mut self, terms: Terms, now: Millis) {
        let Some(pace) = self.pace.filter(|pace| pace.has_held(1, now)) else { return };
        let more = if pace.too_much == 0 { pace.milli } else { pace.milli.div_ceil(4) };
        let milli = pace.milli.saturating_add(more);
        self.pace = (milli < allowed(terms)).then_some(Pace { milli, at: now, is_tried: true, ..pace });
    }

    /// The present rate, thousandths of a call per second.
    pub(crate) fn milli(&self, terms: Terms) -> u32 {
        self.pace.map_or(u32::MAX, |pace| pace.milli).min(allowed(terms))
    }
}

fn allowed(terms: Terms) -> u32 {
    terms.calls_per_s.clamp(1, 1_000_000).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 06:00 UTC.
    const NOW: Millis = 20_000 * DAY_MS + 6 * HOUR_MS;

    fn terms(calls_per_s: u32, calls_per_day: Option<u32>) -> Terms {
        Terms { calls_per_s, calls_per_day }
    }

    #[test]
    fn after_a_refusal_a_little_less_goes_out_than_was_served_and_holding_brings_it_back() {
        let (terms, mut allowance) = (terms(100, None), Allowance::default());
        allowance.served(12, NOW);
        // Two of them were refused singly.
        allowance.refused(terms, 2, 1_000, NOW + 100);
        assert_eq!(allowance.milli(terms), 9_000);
        // Calls on their way are refused as well, and count once.
        allowance.refused(terms, 0, 1_000, NOW + 200);
        assert_eq!(allowance.milli(terms), 9_000);
        assert!(allowance.take(terms, 1, NOW + 300, 0).is_err(), "it is held");
        allowance.held(terms, NOW + 10_000);
        assert_eq!(allowance.milli(terms), 9_000);
        // Answered in the second before.
        allowance.served(4, NOW + 10_900);
        allowance.refused(terms, 0, 1_000, NOW + 11_100);
        assert_eq!(allowance.milli(terms), 3_600);
        let mut now = NOW + 11_100;
        for expected in [7_200, 14_400, 28_800] {
            now += 2 * GROWS_AFTER_MS;
            allowance.held(terms, now);
            assert_eq!(allowance.milli(terms), expected);
        }
        (1..30).for_each(|more| allowance.held(terms, now + more * 2 * GROWS_AFTER_MS));
        assert_eq!((allowance.milli(terms), allowance.pace), (100_000, None));
    }

    #[test]
    fn what_is_always_too_much_is_tried_more_and_more_seldom() {
        let (terms, mut allowance) = (terms(100, None), Allowance::default());
        let (mut now, mut refusals) = (NOW, Vec::new());
        // Ten calls a second are served, and no more.
        for _ in 0..1_200 {
            let sent = (allowance.milli(terms) / 1_000).min(12);
            allowance.served(sent.min(10), now);
            if sent > 10 {
                allowance.refused(terms, 0, 1_000, now);
                refusals.push(now - NOW);
            } else {
                allowance.held(terms, now);
            }
            now += 1_000;
        }
        assert!(refusals.len() < 20, "{refusals:?}");
        assert!(allowance.milli(terms) >= 9_000);
    }

    #[test]
    fn who_serves_nothing_is_left_alone_and_asked_as_before() {
        let (terms, mut allowance) = (terms(10, None), Allowance::default());
        (0..20).for_each(|minute| allowance.refused(terms, 0, 5_000, NOW + minute * 60_000));
        assert_eq!(allowance.milli(terms), 10_000);
        assert!(allowance.take(terms, 1, NOW + 19 * 60_000 + 4_000, 0).is_err());
        assert_eq!(allowance.take(terms, 1, NOW + 20 * 60_000, 0), Ok(0));
        // The slowest pace is a call a second.
        let mut now = NOW + HOUR_MS;
        for _ in 0..60 {
            allowance.served(1, now);
            allowance.refused(terms, 0, 0, now);
            now += 2_000;
        }
        assert_eq!(allowance.milli(terms), PACE_MIN);
        assert_eq!(allowance.take(terms, 1, now + HOUR_MS, 0), Ok(0));
        assert_eq!(allowance.take(terms, 1, now + HOUR_MS, 0), Err(1_000));
    }

    #[test]
    fn a_days_calls_are_spread_over_the_day() {
        let (terms, mut allowance) = (terms(1_000_000, Some(24_000)), Allowance::default());
        // Six hours have passed, and one is lent.
        assert_eq!(allowance.take(terms, 7_000, NOW, 0), Ok(0));
        assert_eq!(allowance.take(terms, 1, NOW, 0), Err(3_600));
        assert_eq!(allowance.take(terms, 1, NOW, 10_000), Ok(3_600));
        assert_eq!(allowance.take(terms, 999, NOW + HOUR_MS, 0), Ok(0));
        assert!(allowance.take(terms, 1, NOW + HOUR_MS, 0).is_err());
        // Near the day's end the rest may go out, and not more than the day has.
        let late = NOW + 17 * HOUR_MS + 59 * 60_000;
        assert_eq!(allowance.take(terms, 16_000, late, 0), Ok(0));
        assert_eq!(allowance.take(terms, 1, late, 0), Err(60_000));
        // The next day.
        assert_eq!(allowance.take(terms, 1_000, late + 60_000, 0), Ok(0));
        assert_eq!(allowance.day.calls, 1_000);
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let (terms, mut allowance) = (terms(1, Some(86_400)), Allowance::default());
        assert_eq!(allowance.take(terms, 1, NOW, 0), Ok(0));
        assert_eq!(allowance.take(terms, 1, NOW, 0), Err(1_000));
        assert_eq!(allowance.day.calls, 1);
    }
}
