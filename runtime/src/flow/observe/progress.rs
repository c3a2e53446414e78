//! Progress of reading a network: in metrics, and in the log during a long catch-up, after a downtime or on a new
//! network.

use std::time::{Duration, Instant};

/// Number of blocks behind the head from which progress is logged.
const BEHIND_FROM: i64 = 500;
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Progress of one network.
#[derive(Default)]
pub(crate) struct Progress(Option<CatchUp>);

struct CatchUp {
    began: Instant,
    from: i64,
    told: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Behind { blocks: i64, percent: i64, seconds_left: i64 },
    CaughtUp { blocks: i64, seconds: u64 },
}

impl Progress {
    /// Records that the blocks up to `last` have been read, of those up to `head`.
    pub(super) fn read(&mut self, network: &str, last: i64, head: i64) {
        match self.word(last, head, Instant::now()) {
            Some(Word::Behind { blocks, percent, seconds_left }) => {
                tracing::info!(network, behind = blocks, percent, seconds_left, "catching up");
            }
            Some(Word::CaughtUp { blocks, seconds }) => tracing::info!(network, blocks, seconds, "caught up"),
            None => {}
        }
    }

    fn word(&mut self, last: i64, head: i64, now: Instant) -> Option<Word> {
        let behind = head - last;
        let Some(catch_up) = &mut self.0 else {
            if behind >= BEHIND_FROM {
                // The first word comes when the rate is known.
                self.0 = Some(CatchUp { began: now, from: last, told: now });
            }
            return None;
        };
        let (read, elapsed) = (last - catch_up.from, now.duration_since(catch_up.began));
        if behind < BEHIND_FROM {
            self.0 = None;
            return Some(Word::CaughtUp { blocks: read, seconds: elapsed.as_secs() });
        }
        if now.duration_since(catch_up.told) < TELL_EVERY {
            return None;
        }
        catch_up.told = now;
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        Some(Word::Behind {
            blocks: behind,
            percent: read.saturating_mul(100) / (read + behind).max(1),
            seconds_left: behind.saturating_mul(elapsed_ms) / read.max(1) / 1000,
        })
    }
}

/// Sets a network's metrics: `(height, head)`, and the numbers of blocks and changes found.
pub(super) fn measure(network: &str, (height, head): (i64, i64), blocks: usize, changed: usize) {
    let blocks = u64::try_from(blocks).unwrap_or(0);
    metrics::counter!("kassa_blocks_read_total", "network" => network.to_owned()).increment(blocks);
    metrics::gauge!("kassa_cursor_height", "network" => network.to_owned()).set(gauge(height));
    metrics::gauge!("kassa_cursor_lag_blocks", "network" => network.to_owned()).set(gauge(head - height));
    tracing::debug!(network, height, head, blocks, changed, "read");
}

/// Converts a height for a gauge; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge is for looking at")]
pub(super) fn gauge(height: i64) -> f64 {
    height as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_catch_up_is_told_of_and_a_short_one_is_not() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(progress.word(1_000, 1_499, at(0)), None);
        assert_eq!(progress.word(1_000, 11_000, at(0)), None);
        assert_eq!(progress.word(1_200, 11_000, at(1)), None);
        let quarter = Word::Behind { blocks: 7_500, percent: 25, seconds_left: 15 };
        assert_eq!(progress.word(3_500, 11_000, at(5)), Some(quarter));
        assert_eq!(progress.word(3_700, 11_000, at(6)), None);
        assert_eq!(
            progress.word(10_900, 11_002, at(21)),
            Some(Word::CaughtUp { blocks: 9_900, seconds: 21 })
        );
        assert_eq!(progress.word(11_002, 11_002, at(22)), None);
    }
}
