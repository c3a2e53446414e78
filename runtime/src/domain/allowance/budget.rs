//! How many calls an upstream takes in a second.

use crate::domain::Millis;

/// Length of the burst that may be sent at once, microseconds.
const BURST_US: i64 = 1_000_000;
/// Maximum length of a hold, milliseconds; a longer one comes from a clock that was set back.
const HOLD_MS_MAX: Millis = 300_000;

/// A token bucket, kept as the one moment at which it is full again (GCRA).
#[derive(Debug, Default)]
pub(super) struct Budget {
    full_at_us: i64,
}

impl Budget {
    /// Takes permits for this number of calls at a rate of `milli` (thousandths of a call per second). Returns the
    /// wait before sending, milliseconds. Errors with that wait, and takes nothing, if it is more than `wait_ms_max`.
    pub(super) fn take(
        &mut self,
        milli: u32,
        calls: u32,
        now: Millis,
        wait_ms_max: Millis,
    ) -> Result<u64, u64> {
        let now_us = now * 1000;
        let interval_us = 1_000_000_000 * i64::from(calls) / i64::from(milli.clamp(1, 1_000_000_000));
        let interval_us = interval_us.min(HOLD_MS_MAX * 1000);
        if self.full_at_us - now_us > HOLD_MS_MAX * 1000 + BURST_US {
            self.full_at_us = now_us;
        }
        let full_at_us = self.full_at_us.max(now_us) + interval_us;
        let wait_us = (full_at_us - BURST_US.max(interval_us) - now_us).max(0);
        let wait_ms = u64::try_from((wait_us + 999) / 1000).unwrap_or(0);
        if wait_us > wait_ms_max * 1000 {
            return Err(wait_ms);
        }
        self.full_at_us = full_at_us;
        Ok(wait_ms)
    }

    /// Holds all calls back for `ms` milliseconds from now, as the upstream itself asked.
    pub(super) fn hold(&mut self, now: Millis, ms: Millis) {
        let until_us = (now + ms.clamp(0, HOLD_MS_MAX)) * 1000;
        self.full_at_us = self.full_at_us.max(until_us + BURST_US);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;

    #[test]
    fn a_second_has_its_rate_and_the_next_request_waits() {
        let mut budget = Budget::default();
        for _ in 0..10 {
            assert_eq!(budget.take(10_000, 1, NOW, 0), Ok(0));
        }
        assert_eq!(budget.take(10_000, 1, NOW, 99), Err(100));
        assert_eq!(budget.take(10_000, 1, NOW, 100), Ok(100));
        assert_eq!(budget.take(10_000, 1, NOW, 1000), Ok(200));
        assert_eq!(budget.take(10_000, 1, NOW + 200, 0), Err(100));
        assert_eq!(budget.take(10_000, 1, NOW + 300, 0), Ok(0));
        assert_eq!(budget.take(1_000, 1, NOW + 60_000, 0), Ok(0));
        assert_eq!(budget.take(1_000, 1, NOW + 60_000, 0), Err(1000));
    }

    #[test]
    fn a_batch_is_as_many_calls_as_it_has() {
        let mut budget = Budget::default();
        assert_eq!(budget.take(10_000, 10, NOW, 0), Ok(0));
        assert_eq!(budget.take(10_000, 5, NOW, 0), Err(500));
        // A request larger than a second's worth is sent when nothing is owed, and is owed afterwards.
        assert_eq!(budget.take(10_000, 54, NOW + 60_000, 0), Ok(0));
        assert_eq!(budget.take(10_000, 1, NOW + 60_000, 0), Err(4_500));
        assert_eq!(budget.take(200, 1, NOW + 120_000, 0), Ok(0));
        assert_eq!(budget.take(200, 1, NOW + 120_000, 0), Err(5_000));
    }

    #[test]
    fn a_held_budget_gives_nothing_until_then_and_survives_a_clock_set_back() {
        let mut budget = Budget::default();
        budget.hold(NOW, 5000);
        assert!(matches!(budget.take(10_000, 1, NOW, 4999), Err(5000..=5100)));
        assert!(budget.take(10_000, 1, NOW + 5100, 0).is_ok());
        budget.hold(NOW, 5000);
        assert_eq!(budget.take(10_000, 1, NOW - 3_600_000, 0), Ok(0));
    }
}
