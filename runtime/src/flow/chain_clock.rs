//! The time of a chain, as this process knows it.
//!
//! A deadline is a moment of the chain, since payments are dated by its blocks; but a chain tells its time only when a
//! block arrives. From then on a clock that never jumps counts. Since a provider may lag, and this machine's clock may be
//! wrong, a deadline counts from the later of the two: it may be further away than was promised, but never nearer. Only a
//! machine that is a day ahead is believed by nobody.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    clock::Clock,
    db::chain::Cursor,
    domain::{Millis, network::Manifest},
};

/// Maximum difference between the machine's clock and a chain's newest block, milliseconds, that is normal: blocks come
/// in steps and are seen late.
const AGREES_MS: Millis = 2 * 60_000;
/// Maximum lag of a provider whose chain goes on, milliseconds: a machine that is further ahead has a wrong clock.
const LAGS_MS: Millis = 24 * 3_600_000;
/// Time without news, milliseconds, after which a chain counts as not being read; three polls if that is longer.
const HEARD_MS: Millis = 2 * 60_000;

/// The time from which a new deadline counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: Millis,
    /// True if `at` is the chain's time, false if it is this machine's.
    pub(crate) certain: bool,
}

/// The times of all chains. One per process.
pub(crate) struct ChainClock {
    clock: Clock,
    by_network: Mutex<HashMap<String, ChainState>>,
}

/// State of a chain. Times are [`Clock::passed`], except those of blocks.
#[derive(Debug, Clone, Default)]
struct ChainState {
    height: i64,
    hash: String,
    /// Latest time of a block that was read. The chain's time is at least that.
    time: Millis,
    /// Time at which it was last known to be read to its end.
    heard: Option<Millis>,
    /// Time of a block that arrived while this process watched, and the time of its arrival: the one that was seen
    /// soonest. A block that was there already when this process began may be of any age.
    arrived: Option<(Millis, Millis)>,
}

impl ChainClock {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, by_network: Mutex::default() }
    }

    /// Takes over the cursor as it is now, moved by this process or by another.
    pub(crate) fn saw(&self, cursor: &Cursor) {
        let now = self.clock.passed();
        let mut by_network = self.lock();
        let known = by_network.entry(cursor.network.clone()).or_default();
        if known.height == cursor.height && known.hash == cursor.hash {
            return;
        }
        let at_end = cursor.height >= cursor.head;
        let watched = known.heard.is_some_and(|heard| now - heard <= HEARD_MS);
        // No block is from the future: of all that arrived, the one that makes it latest is the nearest to the truth.
        let later = |(time, arrived): (Millis, Millis)| cursor.time - now > time - arrived;
        if at_end && watched && cursor.height > known.height && known.arrived.is_none_or(later) {
            known.arrived = Some((cursor.time, now));
        }
        known.height = cursor.height;
        known.time = known.time.max(cursor.time);
        known.hash.clone_from(&cursor.hash);
        if at_end {
            known.heard = Some(now);
        }
    }

    /// Records that the watcher of this process has asked and there was nothing newer.
    pub(crate) fn still(&self, network: &str) {
        let now = self.clock.passed();
        if let Some(known) = self.lock().get_mut(network) {
            known.heard = Some(now);
        }
    }

    /// The chain's time; `None` if the chain is not being read. It is behind the true time by at most the delay
    /// with which its newest block was seen.
    pub(crate) fn now(&self, network: &Manifest) -> Option<Millis> {
        let passed = self.clock.passed();
        let by_network = self.lock();
        let known = by_network.get(&network.name)?;
        if network.is_simulated() {
            // Its blocks are dated by this machine, and never go back.
            return Some(self.clock.now().max(known.time));
        }
        let poll_ms = Millis::try_from(network.poll_ms).unwrap_or(Millis::MAX / 4);
        known.heard.filter(|heard| passed - heard <= HEARD_MS.max(3 * poll_ms))?;
        known.arrived.map(|(time, arrived)| time.saturating_add(passed - arrived))
    }

    /// Milliseconds by which the machine's clock is ahead of the chain's; `None` if the chain is not being read. Some
    /// seconds are normal.
    pub(crate) fn ahead(&self, network: &Manifest) -> Option<Millis> {
        self.now(network).map(|chain| self.clock.now().saturating_sub(chain))
    }

    /// The earlier of this machine's time and the times of these chains, as far as they are being read. For actions
    /// that may come late but must not come early because of a wrong clock.
    pub(crate) fn earliest<'a>(&self, networks: impl IntoIterator<Item = &'a Manifest>) -> Millis {
        networks.into_iter().filter_map(|network| self.now(network)).fold(self.clock.now(), Millis::min)
    }

    /// True if the machine's clock and the chain differ by more than blocks explain.
    pub(crate) fn differs(ahead_ms: Millis) -> bool {
        ahead_ms.saturating_abs() > AGREES_MS
    }

    /// The time from which a deadline that is set now counts.
    pub(crate) fn moment(&self, network: &Manifest) -> Moment {
        let machine = self.clock.now();
        match self.now(network) {
            None => Moment { at: machine, certain: false },
            Some(chain) if machine.saturating_sub(chain) > LAGS_MS => Moment { at: chain, certain: true },
            // The later of the two: what was promised is not cut short, whether the clock is slow or the provider.
            Some(chain) => Moment { at: machine.max(chain), certain: true },
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ChainState>> {
        self.by_network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;
    const HOUR: Millis = 3_600_000;

    fn network() -> Manifest {
        serde_json::from_value(serde_json::json!({
            "name": "base", "title": "Base", "caip2": "eip155:8453", "plugin": "evm", "credit": 3, "poll_ms": 2000,
            "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18}],
        }))
        .unwrap()
    }

    fn cursor(height: i64, head: i64, time: Millis) -> Cursor {
        Cursor {
            network: "base".to_owned(),
            height,
            hash: format!("0x{height}"),
            head,
            safe: None,
            r#final: 0,
            time,
            final_time: 0,
            frozen: None,
            moved_at: NOW,
        }
    }

    #[test]
    fn a_chain_that_is_read_tells_its_time() {
        let clock = Clock::standing(NOW);
        let chains = ChainClock::new(clock.clone());
        assert_eq!(chains.moment(&network()), Moment { at: NOW, certain: false });
        chains.saw(&cursor(7, 7, NOW - HOUR));
        assert_eq!(chains.now(&network()), None, "nobody knows when that block came");
        clock.shift(2_000);
        chains.saw(&cursor(8, 8, NOW - 2_000));
        assert_eq!(chains.now(&network()), Some(NOW - 2_000));
        assert_eq!(chains.moment(&network()), Moment { at: NOW + 2_000, certain: true });
        clock.shift(60_000);
        assert_eq!(chains.now(&network()), Some(NOW + 58_000));
        // The machine's clock jumps; the chain does not.
        clock.jump(-HOUR);
        assert_eq!(chains.moment(&network()), Moment { at: NOW + 58_000, certain: true });
        clock.jump(24 * HOUR);
        assert_eq!(chains.moment(&network()), Moment { at: NOW + 62_000 + 23 * HOUR, certain: true });
        clock.jump(24 * HOUR);
        assert_eq!(chains.moment(&network()), Moment { at: NOW + 58_000, certain: true });
        assert!(ChainClock::differs(chains.ahead(&network()).unwrap()));
        assert_eq!(chains.earliest([&network()]), NOW + 58_000);
        // Not heard of for long: nothing is certain.
        clock.shift(HEARD_MS);
        assert!(!chains.moment(&network()).certain);
        chains.still("base");
        assert!(chains.moment(&network()).certain);
    }

    #[test]
    fn a_block_that_was_not_seen_to_arrive_tells_nothing() {
        let clock = Clock::standing(NOW);
        let chains = ChainClock::new(clock.clone());
        chains.saw(&cursor(7, 7, NOW));
        chains.saw(&cursor(7, 7, NOW));
        chains.saw(&cursor(8, 9, NOW + 1));
        assert_eq!(chains.now(&network()), None, "there are newer blocks");
        // After an outage the newest block may be of any age: the chain may have stood still too.
        clock.shift(HEARD_MS + 1);
        chains.saw(&cursor(20, 20, NOW));
        assert_eq!(chains.now(&network()), None);
        chains.saw(&cursor(21, 21, NOW + 5));
        assert_eq!(chains.now(&network()), Some(NOW + 5));
        // A provider that stood still, and goes on where it was: what was known is nearer to the truth.
        clock.shift(HOUR);
        chains.still("base");
        chains.saw(&cursor(22, 22, NOW + 10));
        assert_eq!(chains.now(&network()), Some(NOW + 5 + HOUR));
    }
}
