//! Health: the time since a network was last read, and the database written.
//!
//! Each watcher says when a provider has answered well, and this worker writes that down now and then, so that replicas
//! know it of networks that others read. How long ago that was is measured here, by a clock that does not jump, from the
//! moment at which what is written down was seen to change: neither a machine's clock nor the difference of two of them
//! decides. A state is said once when it changes, however often something fails meanwhile.

mod tell;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(crate) use tell::run;

use crate::{
    clock::Clock,
    domain::{Millis, network::Manifest},
};

/// Maximum age, milliseconds, of news from another process while that process is well: it is written every five seconds
/// and read every two.
const LATE_MS: Millis = 10_000;
/// Maximum number of characters kept of an error.
const WHY_CHARS_MAX: usize = 200;

/// Health of each network that is read. One per process.
pub(crate) struct Health {
    clock: Clock,
    stalled_ms: Millis,
    by_network: Mutex<BTreeMap<String, Heard>>,
}

/// State of a network. Times are [`Clock::passed`].
#[derive(Debug, Clone, Default)]
struct Heard {
    /// Time of the last good answer, or of this process's first look.
    at: Millis,
    /// True if there was ever a good answer.
    ever: bool,
    /// True if this process had the answer itself: answers to other processes are learned of a little later.
    here: bool,
    /// Time last found in the database.
    written: Option<Millis>,
    /// True if a watcher of this process has news that is not written down.
    news: bool,
    /// Reason that the last scan here failed.
    why: Option<String>,
    /// True if the log has reported the stall.
    told: bool,
    /// True if the operator's event about the stall is committed.
    alarmed: bool,
}

/// Time since a provider of a network last gave a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) ms: Millis,
    /// True if there was ever a good answer. If not, the age counts from the first look.
    pub(crate) ever: bool,
    /// True if the age is too great.
    pub(crate) stalled: bool,
}

impl Health {
    pub(crate) fn new(clock: Clock, stalled_ms: u64) -> Self {
        let stalled_ms = Millis::try_from(stalled_ms).unwrap_or(Millis::MAX);
        Self { clock, stalled_ms, by_network: Mutex::default() }
    }

    /// Records that a provider gave the watcher of this process a good answer, with a head.
    pub(crate) fn heard(&self, network: &str) {
        let now = self.clock.passed();
        let mut by_network = self.lock();
        let heard = by_network.entry(network.to_owned()).or_default();
        *heard = Heard { at: now, ever: true, here: true, news: true, why: None, ..heard.clone() };
    }

    /// Records that a scan of this process failed.
    pub(crate) fn failed(&self, network: &str, why: &str) {
        if let Some(heard) = self.lock().get_mut(network) {
            heard.why = Some(crate::host::one_line(why, WHY_CHARS_MAX));
        }
    }

    /// Age of the last good answer; `None` if nobody here has looked yet.
    pub(crate) fn age(&self, network: &Manifest) -> Option<Age> {
        let heard = self.lock().get(&network.name).cloned()?;
        let ms = self.clock.passed() - heard.at;
        let poll_ms = Millis::try_from(network.poll_ms).unwrap_or(Millis::MAX / 4);
        let late_ms = if heard.here { 0 } else { LATE_MS };
        let stalled = ms > self.stalled_ms.max(poll_ms.saturating_mul(3)).max(late_ms);
        Some(Age { ms, ever: heard.ever, stalled })
    }

    /// Takes over the times in the database; `now` is the database's time. Forgets networks that are not read.
    fn found(&self, written: &BTreeMap<String, Millis>, enabled: &[&str], now: Millis) {
        let passed = self.clock.passed();
        let mut by_network = self.lock();
        let is_first = by_network.values().all(|heard| heard.written.is_none());
        by_network.retain(|name, _| enabled.contains(&name.as_str()));
        for name in enabled {
            let found = written.get(*name).copied();
            match by_network.get_mut(*name) {
                Some(heard) if heard.written != found => {
                    // Another replica has heard it since the last look.
                    *heard = Heard { at: passed, ever: true, here: false, written: found, ..heard.clone() };
                }
                Some(_) => {}
                None => {
                    // Only a process that has just begun has to believe a clock.
                    let before = if is_first { found.map_or(0, |at| (now - at).max(0)) } else { 0 };
                    let heard = Heard {
                        at: passed - before,
                        ever: found.is_some(),
                        written: found,
                        ..Heard::default()
                    };
                    by_network.insert((*name).to_owned(), heard);
                }
            }
        }
    }

    /// Networks with news since the last call.
    fn news(&self) -> Vec<String> {
        let mut by_network = self.lock();
        let news =
            by_network.iter_mut().filter_map(|(name, heard)| std::mem::take(&mut heard.news).then_some(name));
        news.cloned().collect()
    }

    /// Records that the news of these networks was written down with this time.
    fn wrote(&self, networks: &[String], at: Millis) {
        let mut by_network = self.lock();
        for name in networks {
            if let Some(heard) = by_network.get_mut(name) {
                heard.written = Some(at);
            }
        }
    }

    /// Age and, if known, the reason, when the log has to report that a stall began or ended; else `None`.
    fn to_tell(&self, network: &Manifest) -> Option<(Age, Option<String>)> {
        let age = self.age(network)?;
        let mut by_network = self.lock();
        let heard = by_network.get_mut(&network.name)?;
        if heard.told == age.stalled {
            return None;
        }
        heard.told = age.stalled;
        Some((age, heard.why.clone()))
    }

    /// Time of the last good answer, as written down, and the reason of the stall, if the operator is still to be told
    /// of it: until [`Health::alarmed`].
    fn to_alarm(&self, network: &Manifest) -> Option<(Option<Millis>, Option<String>)> {
        let stalled = self.age(network)?.stalled;
        let mut by_network = self.lock();
        let heard = by_network.get_mut(&network.name)?;
        heard.alarmed &= stalled;
        (stalled && !heard.alarmed).then(|| (heard.written, heard.why.clone()))
    }

    fn alarmed(&self, network: &Manifest) {
        if let Some(heard) = self.lock().get_mut(&network.name) {
            heard.alarmed = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Heard>> {
        self.by_network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;
    const STALLED: u64 = 60_000;

    fn network(name: &str) -> Manifest {
        serde_json::from_value(serde_json::json!({
            "name": name, "title": "Base", "caip2": "eip155:8453", "plugin": "evm", "credit": 3, "poll_ms": 2000,
            "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18}],
        }))
        .unwrap()
    }

    fn written(at: Millis) -> BTreeMap<String, Millis> {
        [("base".to_owned(), at)].into()
    }

    fn age(health: &Health) -> (Millis, bool) {
        let age = health.age(&network("base")).unwrap();
        (age.ms, age.stalled)
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let clock = Clock::standing(NOW);
        let health = Health::new(clock.clone(), STALLED);
        health.found(&BTreeMap::new(), &["base"], NOW);
        assert_eq!(health.age(&network("base")), Some(Age { ms: 0, ever: false, stalled: false }));
        health.heard("base");
        clock.shift(60_000);
        assert_eq!(health.to_tell(&network("base")), None);
        clock.shift(1);
        health.failed("base", "no upstream");
        let (stalled, why) = health.to_tell(&network("base")).unwrap();
        assert_eq!((stalled.ms, stalled.stalled, why.as_deref()), (60_001, true, Some("no upstream")));
        clock.shift(60_000);
        assert_eq!(health.to_tell(&network("base")), None);
        health.heard("base");
        assert!(!health.to_tell(&network("base")).unwrap().0.stalled);
        assert_eq!(health.to_tell(&network("base")), None);
        // The operator's event is tried until it is committed, and once for each stall.
        assert_eq!(health.to_alarm(&network("base")), None);
        clock.shift(60_001);
        assert_eq!(health.to_alarm(&network("base")), Some((None, None)));
        health.failed("base", "no upstream");
        assert_eq!(health.to_alarm(&network("base")), Some((None, Some("no upstream".to_owned()))));
        health.alarmed(&network("base"));
        assert_eq!(health.to_alarm(&network("base")), None);
        health.heard("base");
        assert_eq!(health.to_alarm(&network("base")), None);
        clock.shift(60_001);
        assert!(health.to_alarm(&network("base")).is_some());
        health.heard("base");
        // A slow network is asked seldom.
        let slow = Manifest { poll_ms: 60_000, ..network("base") };
        clock.shift(180_000);
        assert!(!health.age(&slow).unwrap().stalled && age(&health).1);
    }

    #[test]
    fn what_another_replica_hears_counts_and_no_clock_does() {
        let clock = Clock::standing(NOW);
        let health = Health::new(clock.clone(), STALLED);
        // At its start a process knows only what is written down.
        health.found(&written(NOW - 90_000), &["base"], NOW);
        assert_eq!(age(&health), (90_000, true));
        health.found(&written(NOW - 90_000), &["base"], NOW + 5_000);
        clock.shift(1_000);
        // The other's clock may be anywhere: that it moves is all that counts.
        health.found(&written(NOW - 7_200_000), &["base"], NOW);
        assert_eq!(age(&health), (0, false));
        clock.jump(3_600_000);
        health.found(&written(NOW - 7_200_000), &["base"], NOW + 3_600_000);
        assert_eq!(age(&health), (0, false));
        clock.jump(-7_200_000);
        clock.shift(61_000);
        health.found(&written(NOW - 7_200_000), &["base"], NOW - 3_600_000);
        assert_eq!(age(&health), (61_000, true));
        // Where a few seconds are a stall already, what others hear is not known so soon.
        let health = Health::new(clock.clone(), 4_000);
        health.found(&written(NOW), &["base"], NOW);
        health.heard("base");
        clock.shift(7_000);
        assert_eq!(age(&health), (7_000, true));
        health.found(&written(NOW + 1), &["base"], NOW);
        clock.shift(7_000);
        assert_eq!(age(&health), (7_000, false));
        // A clock that was ahead at the start.
        let health = Health::new(clock, STALLED);
        health.found(&written(NOW + 1_000_000_000), &["base"], NOW);
        assert_eq!(age(&health), (0, false));
    }

    #[test]
    fn what_one_hears_itself_is_not_made_younger_by_writing_it_down() {
        let clock = Clock::standing(NOW);
        let health = Health::new(clock.clone(), STALLED);
        health.found(&written(NOW), &["base"], NOW);
        health.heard("base");
        assert_eq!(health.news(), ["base"]);
        assert!(health.news().is_empty());
        clock.shift(3_000);
        health.wrote(&["base".to_owned()], NOW + 3_000);
        health.found(&written(NOW + 3_000), &["base"], NOW + 5_000);
        assert_eq!(age(&health), (3_000, false));
        // Disabled, and enabled again: it begins anew.
        health.found(&written(NOW + 3_000), &[], NOW);
        assert_eq!(health.age(&network("base")), None);
        health.found(&written(NOW - 90_000), &["base", "other"], NOW);
        assert_eq!(health.age(&network("other")), Some(Age { ms: 0, ever: false, stalled: false }));
    }
}
