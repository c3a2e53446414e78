//! Time at which a network is asked again: shortly after its next block can be there.
//!
//! Many chains make blocks at even intervals. Asking them every second costs calls that cannot bring anything, and
//! finds a block half a second late all the same. So where blocks were seen to come as evenly as they are dated, the next
//! one is asked for when it is due: a little earlier each time it was there already, and again a quarter of an interval
//! later when it was not. That is a call and a bit for each block. Any unevenness ends it at once, and the network is asked
//! every `poll_ms`, until blocks come evenly again.

use std::time::Duration;

use crate::domain::{Millis, observation::Block};

/// Number of blocks in a row that must come evenly.
const EVEN_MIN: u32 = 8;
/// Maximum interval between blocks, milliseconds. Slower chains are polled: a long silence does not show whether their
/// providers still answer.
const INTERVAL_MAX: Millis = 15_000;
/// Divisor of the interval that gives the time until a question is repeated.
const AGAIN: Millis = 4;
/// Divisor of that time that gives how much earlier the next block is asked for, while each is there at once.
const EARLIER: Millis = 12;
/// Number of blocks that can be there at once in a row; beyond it, since each is asked for earlier, there must be more
/// than one at a time.
const AT_ONCE_MAX: u32 = 16;

/// Rhythm of one network's blocks. Times are [`crate::clock::Clock::passed`], except those of blocks.
#[derive(Debug)]
pub(super) struct Rhythm {
    poll_ms: Millis,
    /// Last block found.
    last: Option<Last>,
    /// Number of blocks in a row that came evenly.
    even: u32,
    /// Number of questions in vain since the last block.
    in_vain: u32,
    /// Number of blocks in a row that were there when they were asked for.
    at_once: u32,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    height: i64,
    time: Millis,
    asked: Millis,
    /// Time since the block before, by their dates.
    passed: Millis,
    /// Time between blocks, by their dates.
    interval: Millis,
    was_early: bool,
}

impl Rhythm {
    pub(super) fn new(poll_ms: u64) -> Self {
        let poll_ms = Millis::try_from(poll_ms).unwrap_or(Millis::MAX / 4);
        Self { poll_ms, last: None, even: 0, in_vain: 0, at_once: 0 }
    }

    /// Records blocks found by a question at `asked`; `more` if there are others.
    pub(super) fn found(&mut self, blocks: &[Block], more: bool, asked: Millis) {
        let (Some(block), in_vain) = (blocks.last(), std::mem::take(&mut self.in_vain)) else { return };
        let passed = self.last.map_or(0, |last| block.time - last.time);
        // A slot may stay empty.
        let slot = self.last.map_or(0, |last| last.interval);
        let slots = if slot > 0 { (passed + slot / 2) / slot } else { 0 };
        let is_dated_evenly = slots > 0 && (passed - slots * slot).abs() <= slot / 8;
        let is_even = self.last.is_some_and(|last| {
            let late = (asked - last.asked - passed).abs();
            !more && is_dated_evenly && last.height + 1 == block.height && late <= slot / 3
        }) && (2 * self.poll_ms..=INTERVAL_MAX).contains(&slot);
        // The same number of empty slots twice in a row: the slots are longer.
        let is_longer = slots > 1 && self.last.is_some_and(|last| last.passed == passed);
        let interval = if is_dated_evenly && !is_longer { slot } else { passed };
        self.even = if is_even { self.even.saturating_add(1) } else { 0 };
        let was_early = in_vain > 0;
        self.at_once =
            if was_early || self.at_once >= AT_ONCE_MAX { 0 } else { self.at_once.saturating_add(1) };
        self.last = Some(Last { height: block.height, time: block.time, asked, passed, interval, was_early });
    }

    /// Records a question in vain.
    pub(super) fn nothing(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
    }

    /// True if the next block, when it is there, will be the only one. After many blocks that were there at once, there
    /// may be others.
    pub(super) fn expects_one(&self) -> bool {
        self.even >= EVEN_MIN && (self.in_vain > 0 || self.at_once < AT_ONCE_MAX)
    }

    /// Time to wait from now.
    pub(super) fn wait(&self, now: Millis) -> Duration {
        let ms = match self.last.filter(|_| self.even >= EVEN_MIN) {
            Some(Last { asked, interval, was_early, .. }) => {
                let again = (interval / AGAIN).min(self.poll_ms);
                let earlier = if was_early { 0 } else { again / EARLIER };
                match self.in_vain {
                    0 => (asked + interval - earlier - now).max(0),
                    1 => again,
                    _ => self.poll_ms,
                }
            }
            None => self.poll_ms,
        };
        Duration::from_millis(ms.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Millis = 1_000;

    fn block(height: i64, time: Millis) -> Block {
        Block { height, hash: height.to_string(), parent: (height - 1).to_string(), time }
    }

    /// Lets blocks arrive at these times, dated by `dated`. Returns the number of questions, and each block's delay.
    fn watch(poll_ms: Millis, arrivals: &[Millis], dated: impl Fn(usize) -> Millis) -> (usize, Vec<Millis>) {
        let mut rhythm = Rhythm::new(poll_ms.unsigned_abs());
        let (mut now, mut next, mut asked, mut late) = (0, 0, 0, Vec::new());
        while next < arrivals.len() {
            asked += 1;
            let there = arrivals.iter().filter(|arrival| **arrival <= now).count();
            if there > next {
                let blocks: Vec<Block> =
                    (next..there).map(|index| block(i64::try_from(index).unwrap(), dated(index))).collect();
                late.extend((next..there).map(|index| now - arrivals[index]));
                rhythm.found(&blocks, false, now);
                next = there;
            } else {
                rhythm.nothing();
            }
            now += Millis::try_from(rhythm.wait(now).as_millis()).unwrap().max(1);
        }
        (asked, late)
    }

    fn mean(late: &[Millis]) -> Millis {
        late.iter().sum::<Millis>() / Millis::try_from(late.len()).unwrap()
    }

    #[test]
    fn even_blocks_cost_a_call_and_a_bit_and_are_found_sooner() {
        for (interval, poll_ms) in [(2 * SECOND, SECOND), (12 * SECOND, 4 * SECOND), (3 * SECOND, SECOND)] {
            let mut random: u64 = 7;
            let mut jitter = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                Millis::try_from((random >> 33) % 100).unwrap()
            };
            let arrivals: Vec<Millis> = (0..2_000).map(|n| 777 + n * interval + jitter()).collect();
            let dated = |index| Millis::try_from(index).unwrap() * interval;
            let (asked, late) = watch(poll_ms, &arrivals, dated);
            assert!(asked < 2_000 * 135 / 100, "{interval}: asked {asked} times");
            assert!(mean(&late) <= poll_ms / 2, "{interval}: {} ms late", mean(&late));
            assert!(late.iter().max() <= Some(&poll_ms), "{interval}: {:?}", late.iter().max());
        }
    }

    #[test]
    fn a_beginning_that_divides_the_interval_is_forgotten() {
        // One second, and two from then on.
        let arrivals: Vec<Millis> = (0..200).map(|n| if n == 0 { SECOND } else { n * 2 * SECOND }).collect();
        let dated = |index: usize| arrivals[index];
        let (asked, _) = watch(SECOND, &arrivals, dated);
        assert!(asked < 200 * 135 / 100 + 20, "asked {asked} times");
    }

    #[test]
    fn a_slot_that_stays_empty_is_asked_for_no_more_often_than_every_poll() {
        // Every tenth is missing.
        let arrivals: Vec<Millis> = (0..1_000).filter(|n| n % 10 != 9).map(|n| n * 12 * SECOND).collect();
        let dated = |index: usize| arrivals[index];
        let (asked, late) = watch(4 * SECOND, &arrivals, dated);
        assert!(asked < 900 * 3, "asked {asked} times");
        assert!(late.iter().max() <= Some(&(4 * SECOND)));
    }

    #[test]
    fn a_slow_chain_is_polled_for_however_even_it_is() {
        let mut rhythm = Rhythm::new(4_000);
        for height in 0..100 {
            rhythm.found(&[block(height, height * 60_000)], false, height * 60_000);
            assert_eq!(rhythm.wait(height * 60_000), Duration::from_secs(4));
            assert!(!rhythm.expects_one());
        }
    }

    #[test]
    fn when_the_next_one_is_always_there_at_once_the_head_is_asked_for_now_and_then() {
        let mut rhythm = Rhythm::new(1_000);
        let mut asked_for_the_head = 0;
        for height in 0..100 {
            rhythm.found(&[block(height, height * 2_000)], false, height * 2_000);
            asked_for_the_head += u32::from(height > 20 && !rhythm.expects_one());
        }
        assert!((4..=6).contains(&asked_for_the_head), "{asked_for_the_head}");
    }

    #[test]
    fn blocks_that_are_dated_evenly_and_come_as_they_like_are_polled_for() {
        // As a local chain does: blocks when somebody wants them, each a second after the one before by its date.
        let arrivals: Vec<Millis> = (0..500).map(|n| n * 137 + (n / 7) * 900).collect();
        let (_, late) = watch(100, &arrivals, |index| Millis::try_from(index).unwrap() * SECOND);
        assert!(late.iter().max() <= Some(&100));
        // From one moment to the next.
        let even = (0..50).map(|n| n * 2 * SECOND);
        let arrivals: Vec<Millis> = even.chain((0..50).map(|n| 100 * SECOND + n * 50)).collect();
        let (_, late) = watch(SECOND, &arrivals, |index| Millis::try_from(index).unwrap() * 2 * SECOND);
        assert!(late.iter().skip(60).max() <= Some(&(2 * SECOND)));
    }
}
