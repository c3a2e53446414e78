//! Cache of the last answers of sources of prices.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Mutex as Turn;

use crate::domain::{Millis, id::HookVersionId, price::Price};

/// Maximum number of prices in memory; beyond it all are forgotten.
const KEPT_MAX: usize = 10_000;

/// Reason that there is no price.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoPrice {
    #[error("no hook says what it costs")]
    NoHook,
    #[error("the hook {hook} does not know it")]
    Unknown { hook: String },
    #[error("the hook {hook} has no price: {why}")]
    Failed { hook: String, why: String },
}

/// Key of a price: version, settings, asset and currency. Another version or other settings are asked anew.
pub(super) type About = (HookVersionId, String, String, String);

/// Last answers of a source. Times are [`crate::clock::Clock::passed`]. The lock around it is held while the source is
/// asked, so that concurrent callers share one answer.
#[derive(Default)]
pub(super) struct LastAnswers {
    /// Last answer, and the time until which it holds.
    pub(super) last: Option<(Result<Price, NoPrice>, Millis)>,
    /// Last good price, and its time.
    pub(super) good: Option<(Price, Millis)>,
}

/// The prices of this process.
#[derive(Default)]
pub(crate) struct Prices {
    last: Mutex<HashMap<About, Arc<Turn<LastAnswers>>>>,
}

impl Prices {
    pub(super) fn of(&self, about: About) -> Arc<Turn<LastAnswers>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= KEPT_MAX {
            last.clear();
        }
        last.entry(about).or_default().clone()
    }
}
