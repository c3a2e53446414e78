//! Health of an upstream: a pure function of the verdicts on it and the time.
//!
//! | verdict | effect |
//! |---|---|
//! | good | ready; passed over for a while if its head is far behind the best known one |
//! | bad | rests: 1 s, then twice as long each time in a row, at most half a minute |
//! | rate limited | rests as long as the upstream said; at least 1 s, then twice as long each time in a row, at most 15
//! s |
//! | wrong network | rests for 10 min; its head is forgotten |
//! | behind | passed over for 30 s while another is fresher |
//! | past | none, except that a probe is given back |
//!
//! When a rest is over the upstream is *due*: one caller may probe it, the others do not see it until the
//! verdict on that probe is there (or the probe is given up).

use super::{UpstreamState, Verdict};
use crate::domain::Millis;

const REST_MS: Millis = 1000;
const REST_MS_MAX: Millis = 30_000;
/// Maximum rest of an upstream that refuses everything (as when its daily quota is used up), milliseconds.
const LIMITED_MS_MAX: Millis = 15_000;
/// Maximum wait that an upstream can ask for, milliseconds; a longer one is cut.
const WAIT_MS_MAX: Millis = 300_000;
const WRONG_NETWORK_MS: Millis = 600_000;
const BEHIND_MS: Millis = 30_000;
/// Maximum time of a probe without a verdict, milliseconds: that of a plugin's call.
const PROBE_MS: Millis = 60_000;
/// Number of blocks that an upstream may be behind the best head. Load balancers differ by a few all the time.
const BEHIND_BLOCKS: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Health {
    /// Number of bad verdicts in a row.
    failures: u32,
    /// Number of rate-limited verdicts in a row.
    limited: u32,
    rest: Option<Rest>,
    probe_until: Millis,
    behind_until: Millis,
    pub(super) head: Option<u64>,
    pub(super) last_error: Option<(String, Millis)>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Millis,
    why: UpstreamState,
}

/// Readiness of an upstream for being picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready {
        behind: bool,
    },
    /// Its rest is over; one caller may probe it.
    Due {
        behind: bool,
    },
    /// Not before `until`.
    Resting {
        until: Millis,
    },
}

impl Health {
    pub(super) fn standing(&self, now: Millis) -> Readiness {
        let behind = ahead(self.behind_until, now);
        match self.rest {
            None => Readiness::Ready { behind },
            Some(rest) if ahead(rest.until, now) => Readiness::Resting { until: rest.until },
            Some(_) if ahead(self.probe_until, now) => Readiness::Resting { until: self.probe_until },
            Some(_) => Readiness::Due { behind },
        }
    }

    pub(super) fn begin_probe(&mut self, now: Millis) {
        self.probe_until = now + PROBE_MS;
    }

    /// Records a verdict. `best_head` is the highest head that any upstream of the network has reported.
    pub(super) fn record(&mut self, verdict: Verdict, best_head: u64, now: Millis) {
        self.probe_until = 0;
        match verdict {
            Verdict::Good { head } => {
                (self.failures, self.limited) = (0, 0);
                self.rest = None;
                self.head = Some(head);
                let behind = head.saturating_add(BEHIND_BLOCKS) < best_head;
                self.behind_until = if behind { now + BEHIND_MS } else { 0 };
            }
            Verdict::Behind => {
                (self.failures, self.limited) = (0, 0);
                self.rest = None;
                self.behind_until = now + BEHIND_MS;
            }
            Verdict::Past => {}
            Verdict::PastUnanswered(why) => self.last_error = Some((why, now)),
            Verdict::Bad(why) => {
                let ms = (REST_MS << self.failures.min(20)).min(REST_MS_MAX);
                self.failures = self.failures.saturating_add(1);
                self.rest(now + ms, UpstreamState::Paused);
                self.last_error = Some((why, now));
            }
            Verdict::WrongNetwork => {
                self.head = None;
                self.rest(now + WRONG_NETWORK_MS, UpstreamState::WrongNetwork);
                self.last_error = Some(("it serves another network".to_owned(), now));
            }
            Verdict::RateLimited { ms } => {
                let in_a_row = (REST_MS << self.limited.min(20)).min(LIMITED_MS_MAX);
                self.limited = self.limited.saturating_add(1);
                self.rest(now + Millis::from(ms).clamp(in_a_row, WAIT_MS_MAX), UpstreamState::RateLimited);
            }
        }
    }

    fn rest(&mut self, until: Millis, why: UpstreamState) {
        self.rest = Some(Rest { until, why });
    }

    /// The state, and the time at which a resting upstream is asked again, for people.
    pub(super) fn state(&self, now: Millis) -> (UpstreamState, Option<Millis>) {
        match (self.standing(now), self.rest) {
            (Readiness::Ready { behind: false }, _) => (UpstreamState::Ready, None),
            (Readiness::Ready { behind: true }, _) => (UpstreamState::Behind, Some(self.behind_until)),
            (Readiness::Resting { until }, Some(rest)) => (rest.why, Some(until)),
            (Readiness::Due { .. } | Readiness::Resting { .. }, _) => (UpstreamState::Due, None),
        }
    }
}

/// True if `until` is still to come. A time further ahead than any set here comes from a clock that was set back, and
/// counts as past.
fn ahead(until: Millis, now: Millis) -> bool {
    until > now && until - now <= WRONG_NETWORK_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;

    #[test]
    fn who_refuses_everything_is_left_alone_for_longer_each_time() {
        let mut health = Health::default();
        let rest = |health: &mut Health, ms| {
            health.record(Verdict::RateLimited { ms }, 0, NOW);
            health.rest.map(|rest| rest.until - NOW)
        };
        for expected in [1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            assert_eq!(rest(&mut health, 1), Some(expected));
        }
        // Its own wait is kept, up to five minutes.
        assert_eq!(rest(&mut health, 60_000), Some(60_000));
        assert_eq!(rest(&mut health, u32::MAX), Some(300_000));
        health.record(Verdict::Good { head: 1 }, 1, NOW);
        assert_eq!(rest(&mut health, 1), Some(1_000));
    }

    fn bad() -> Verdict {
        Verdict::Bad("no".to_owned())
    }

    #[test]
    fn rests_grow_and_a_good_answer_ends_them() {
        let mut health = Health::default();
        let mut now = NOW;
        for expected in [1000, 2000, 4000, 8000] {
            health.record(bad(), 0, now);
            assert_eq!(health.standing(now), Readiness::Resting { until: now + expected });
            now += expected;
            assert_eq!(health.standing(now), Readiness::Due { behind: false });
        }
        for _ in 0..100 {
            health.record(bad(), 0, now);
        }
        assert_eq!(health.standing(now), Readiness::Resting { until: now + REST_MS_MAX });
        health.record(Verdict::Good { head: 5 }, 5, now);
        assert_eq!(health.standing(now), Readiness::Ready { behind: false });
        health.record(bad(), 5, now);
        assert_eq!(health.standing(now), Readiness::Resting { until: now + 1000 });
    }

    #[test]
    fn one_probe_at_a_time_and_a_lost_one_is_given_up() {
        let mut health = Health::default();
        health.record(bad(), 0, NOW);
        let due = NOW + 1000;
        health.begin_probe(due);
        assert_eq!(health.standing(due), Readiness::Resting { until: due + PROBE_MS });
        assert_eq!(health.standing(due + PROBE_MS), Readiness::Due { behind: false });
    }

    #[test]
    fn what_it_does_not_know_of_the_past_is_not_held_against_it() {
        let unanswered = || Verdict::PastUnanswered("no such block".to_owned());
        let mut health = Health::default();
        health.record(Verdict::Good { head: 5 }, 5, NOW);
        (0..100).for_each(|_| health.record(unanswered(), 5, NOW));
        assert_eq!(health.standing(NOW), Readiness::Ready { behind: false });
        assert_eq!(health.head, Some(5));
        // Nor does it count as good: a probe that it was lent for is given back.
        health.record(bad(), 5, NOW);
        health.begin_probe(NOW + 1000);
        health.record(unanswered(), 5, NOW + 1000);
        assert_eq!(health.standing(NOW + 1000), Readiness::Due { behind: false });
        assert_eq!(health.last_error, Some(("no such block".to_owned(), NOW + 1000)));
        health.begin_probe(NOW + 1000);
        health.record(Verdict::Past, 5, NOW + 1000);
        assert_eq!(health.standing(NOW + 1000), Readiness::Due { behind: false });
    }

    #[test]
    fn far_behind_is_behind_and_a_little_is_not() {
        let mut health = Health::default();
        health.record(Verdict::Good { head: 100 }, 120, NOW);
        assert_eq!(health.standing(NOW), Readiness::Ready { behind: false });
        health.record(Verdict::Good { head: 100 }, 121, NOW);
        assert_eq!(health.standing(NOW), Readiness::Ready { behind: true });
        assert_eq!(health.standing(NOW + BEHIND_MS), Readiness::Ready { behind: false });
    }

    #[test]
    fn a_clock_set_back_does_not_prolong_a_rest() {
        let mut health = Health::default();
        health.record(Verdict::WrongNetwork, 0, NOW);
        assert_eq!(health.standing(NOW), Readiness::Resting { until: NOW + WRONG_NETWORK_MS });
        assert_eq!(health.standing(NOW - 3_600_000), Readiness::Due { behind: false });
    }
}
