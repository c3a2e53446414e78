//! Versions of chain plugins in the shadow: each reads what the active version reads, and only differences are kept.
//!
//! A shadow lives in this process and ends with it. Its writes are thrown away, so that it always begins where the
//! active version stands.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::loaded::Loaded;
use crate::domain::{Millis, id::PluginVersionId};

/// Number of differences that are kept, the newest.
const KEPT: usize = 20;

/// A version that is tried beside the active one.
pub(crate) struct Shadow {
    pub(super) loaded: Loaded,
    /// Time at which it began.
    pub(crate) since: Millis,
    tally: Mutex<Tally>,
}

/// Counts of the scans, and the newest differences.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Scans that both answered.
    pub(crate) scans: u64,
    /// Number of those with different answers.
    pub(crate) different: u64,
    /// Scans in which the shadow read less than the active version: its provider is behind, or it does not read.
    pub(crate) behind: u64,
    /// Scans that say nothing about the shadow, since a provider failed.
    pub(crate) skipped: u64,
    pub(crate) newest: VecDeque<Difference>,
}

/// A difference between the two versions.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) network: String,
    /// The block after which the scan began.
    pub(crate) from: i64,
    pub(crate) what: String,
    pub(crate) at: Millis,
}

/// Outcome of one scan.
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

    pub(crate) fn version_id(&self) -> &PluginVersionId {
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

    /// Ends the shadow of a version that has become the active one.
    pub(super) fn promoted(&self, plugin: &str, version_id: &PluginVersionId) {
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
