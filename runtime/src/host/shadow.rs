//! Versions of chain plugins in the shadow: each reads what the active version reads, and only differences are kept.
//!
//! It lives in this process and ends with it. What it would store is thrown away, so that it always begins where the
//! active version stands.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::loaded::Loaded;
use crate::domain::Millis;

/// Differences that are kept, the newest.
const KEPT: usize = 20;

/// A version that is tried beside the active one.
pub(crate) struct Shadow {
    pub(super) loaded: Loaded,
    /// Since when.
    pub(crate) since: Millis,
    tally: Mutex<Tally>,
}

/// How it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Scans that both answered.
    pub(crate) scans: u64,
    /// Of those, where they differ.
    pub(crate) different: u64,
    /// Scans of which it read less than the active version: its provider is behind, or it does not read.
    pub(crate) behind: u64,
    /// Scans that say nothing about it: a provider failed.
    pub(crate) skipped: u64,
    pub(crate) newest: VecDeque<Difference>,
}

/// Where the two part.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) network: String,
    /// The scan began behind this block.
    pub(crate) from: i64,
    pub(crate) what: String,
    pub(crate) at: Millis,
}

/// What came of one scan.
#[derive(Debug)]
pub(crate) enum Beside {
    Same,
    Different(Difference),
    Behind,
    Skipped,
}

impl Shadow {
    pub(super) fn new(loaded: Loaded, since: Millis) -> Self {
        Self { loaded, since, tally: Mutex::default() }
    }

    pub(crate) fn version_id(&self) -> &str {
        &self.loaded.version_id
    }

    pub(crate) fn count(&self, beside: Beside) {
        let mut tally = self.lock();
        match beside {
            Beside::Same => tally.scans += 1,
            Beside::Behind => tally.behind += 1,
            Beside::Skipped => tally.skipped += 1,
            Beside::Different(difference) => {
                tally.scans += 1;
                tally.different += 1;
                tally.newest.push_front(difference);
                tally.newest.truncate(KEPT);
            }
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shadows of all plugins, by the plugin's name.
#[derive(Default)]
pub(crate) struct Shadows(Mutex<HashMap<String, Arc<Shadow>>>);

impl Shadows {
    pub(crate) fn of(&self, plugin: &str) -> Option<Arc<Shadow>> {
        self.lock().get(plugin).cloned()
    }

    /// This version is the active one now.
    pub(super) fn promoted(&self, plugin: &str, version_id: &str) {
        self.lock().retain(|name, shadow| name != plugin || shadow.version_id() != version_id);
    }

    pub(super) fn set(&self, plugin: &str, shadow: Option<Arc<Shadow>>) {
        match shadow {
            Some(shadow) => self.lock().insert(plugin.to_owned(), shadow),
            None => self.lock().remove(plugin),
        };
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Shadow>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
