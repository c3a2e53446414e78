//! The allowance of a provider that counts calls.

use std::time::{Duration, Instant};

use super::Fault;

#[derive(Default)]
pub(super) struct Allowance {
    /// The present second, and the number of calls that were served in it.
    served: Option<(Instant, u32)>,
    /// Beginning of the first of the periods.
    began: Option<Instant>,
    /// Number of calls that a quota allowed.
    of_quota: u32,
}

impl Allowance {
    /// True if `calls` more calls are served now. Counts them.
    pub(super) fn serves(&mut self, calls: u32, limit: &Fault) -> bool {
        let now = Instant::now();
        let most = match limit {
            Fault::PerSecond(most, _) => *most,
            Fault::Quota(all, _) if self.of_quota + calls <= *all => {
                self.of_quota += calls;
                u32::MAX
            }
            Fault::Quota(..) => 1,
            Fault::Alternately { period, odd, .. } => {
                let began = *self.began.get_or_insert(now);
                let number = (now - began).as_millis() / period.as_millis();
                if number.is_multiple_of(2) == *odd { 0 } else { u32::MAX }
            }
            _ => u32::MAX,
        };
        let (since, served) =
            self.served.filter(|(since, _)| now - *since < Duration::from_secs(1)).unwrap_or((now, 0));
        let is_served = served.saturating_add(calls) <= most;
        self.served = Some((since, if is_served { served + calls } else { served }));
        is_served
    }
}
