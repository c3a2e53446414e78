//! Statistics of many measurements.

use std::time::Duration;

/// Durations of many measurements.
#[derive(Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Sorts them, for queries.
    pub(super) fn sorted(mut self) -> Sorted {
        self.0.sort_unstable();
        Sorted(self.0)
    }
}

pub(super) struct Sorted(Vec<Duration>);

impl Sorted {
    /// Duration that `share` of a thousand did not exceed. Zero without measurements.
    fn per_mille(&self, share: usize) -> Duration {
        let index = (self.0.len() * share / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }

    pub(super) fn p50(&self) -> Duration {
        self.per_mille(500)
    }

    pub(super) fn p99(&self) -> Duration {
        self.per_mille(990)
    }

    pub(super) fn max(&self) -> Duration {
        self.per_mille(1000)
    }
}

/// Percentiles of several runs, microseconds.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) p50: Vec<f64>,
    pub(super) p99: Vec<f64>,
}

impl Runs {
    pub(super) fn add(&mut self, samples: Samples) {
        let sorted = samples.sorted();
        self.p50.push(us(sorted.p50()));
        self.p99.push(us(sorted.p99()));
    }
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(super) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Rate per second.
pub(super) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The median; of an even number the mean of the middle two. `None` without values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = sorted.get(half).copied()?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted.get(half.checked_sub(1)?)?;
    Some(f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements() {
        let mut samples = Samples::default();
        for ms in (1..=200).rev() {
            samples.push(Duration::from_millis(ms));
        }
        let sorted = samples.sorted();
        assert_eq!(sorted.p50(), Duration::from_millis(101));
        assert_eq!(sorted.p99(), Duration::from_millis(199));
        assert_eq!(sorted.max(), Duration::from_millis(200));
        assert_eq!(Samples::default().sorted().p99(), Duration::ZERO);
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }
}
