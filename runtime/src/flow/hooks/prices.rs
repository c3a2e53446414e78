//! What sources of prices said last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Mutex as Turn;

use crate::domain::{Millis, price::Price};

/// What is kept at most; then all is forgotten.
const KEPT_MAX: usize = 10_000;

/// Why there is no price.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoPrice {
    #[error("no hook says what it costs")]
    NoHook,
    #[error("the hook {hook} does not know it")]
    Unknown { hook: String },
    #[error("the hook {hook} has no price: {why}")]
    Failed { hook: String, why: String },
}

/// Which version with which settings said it about what; another of either is asked anew.
pub(super) type About = (String, String, String, String);

/// What a source said last. Times are [`crate::clock::Clock::passed`]. Whoever asks while another does waits for that
/// one's answer.
#[derive(Default)]
pub(super) struct Said {
    /// The last answer, and until when it holds.
    pub(super) last: Option<(Result<Price, NoPrice>, Millis)>,
    /// The last price that was good, and when.
    pub(super) good: Option<(Price, Millis)>,
}

/// The prices of this process.
#[derive(Default)]
pub(crate) struct Prices {
    last: Mutex<HashMap<About, Arc<Turn<Said>>>>,
}

impl Prices {
    pub(super) fn of(&self, about: About) -> Arc<Turn<Said>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= KEPT_MAX {
            last.clear();
        }
        last.entry(about).or_default().clone()
    }
}
