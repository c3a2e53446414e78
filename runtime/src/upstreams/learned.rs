//! Facts learned of an upstream while it is asked, and the times to store them.

use std::sync::{Arc, PoisonError};

use super::{Record, Upstream, Upstreams, lock};
use crate::domain::{
    Millis,
    allowance::{Allowance, Learned},
};

/// Maximum size of a plugin's notes on one upstream, bytes.
pub(crate) const NOTES_MAX: usize = 1_024;
/// Time between writes of the day's count of calls, milliseconds.
const COUNT_EVERY_MS: Millis = 60_000;

impl Record {
    pub(super) fn of(learned: &Learned) -> Self {
        let Learned { notes, pace, day } = learned.clone();
        let allowance = Allowance::of(pace, day);
        Self {
            allowance: allowance.into(),
            notes: notes.into(),
            kept: (learned.clone(), 0).into(),
            ..Self::default()
        }
    }

    pub(super) fn learned(&self) -> Learned {
        let notes = lock(&self.notes).clone();
        let allowance = lock(&self.allowance);
        Learned { notes, pace: allowance.pace, day: allowance.day }
    }
}

impl Upstream {
    /// Number of calls that may go out per second, and the plugin's notes.
    pub(crate) fn terms(&self) -> (u32, String) {
        let milli = lock(&self.record.allowance).milli(self.terms);
        ((milli / 1_000).max(1), lock(&self.record.notes).clone())
    }

    /// Sets the plugin's notes, at most [`NOTES_MAX`] bytes.
    pub(crate) fn note(&self, notes: String) {
        *lock(&self.record.notes) = notes;
    }

    /// Records that the database has stored this.
    pub(crate) fn kept(&self, learned: Learned) {
        *lock(&self.record.kept) = (learned, self.clock.now());
    }

    /// Records that the upstream was asked too often, and refused `calls` calls within requests that it answered.
    /// Nothing goes out for `ms` milliseconds, and less after that.
    pub(crate) fn refused(&self, calls: u32, ms: Millis) {
        lock(&self.record.allowance).refused(self.terms, calls, ms, self.clock.now());
    }
}

impl Upstreams {
    /// Learned facts that are not stored yet. A change of the daily count alone is included once a minute.
    pub(crate) fn news(&self) -> Vec<(Arc<Upstream>, Learned)> {
        let now = self.clock.now();
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        let news = networks.values().flatten().filter_map(|upstream| {
            let learned = upstream.record.learned();
            let kept = lock(&upstream.record.kept);
            let is_count_alone = Learned { day: kept.0.day, ..learned.clone() } == kept.0;
            let is_early = (0..COUNT_EVERY_MS).contains(&(now - kept.1));
            (kept.0 != learned && !(is_count_alone && is_early)).then(|| (Arc::clone(upstream), learned))
        });
        news.collect()
    }
}
