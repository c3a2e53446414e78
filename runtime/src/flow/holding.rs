//! The leases that this process holds, so that a worker need not ask the database at every step.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What is held, by resource. Renewed after a third of the lease's time, so that two renewals may fail.
pub(crate) struct Leases {
    renew_after: Duration,
    held: Mutex<HashMap<String, (i64, Instant)>>,
}

impl Leases {
    pub(crate) fn new(ttl_ms: u64) -> Self {
        Self { renew_after: Duration::from_millis(ttl_ms / 3), held: Mutex::default() }
    }

    /// The fence, while there is no need to ask again.
    pub(crate) fn held(&self, resource: &str) -> Option<i64> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(resource).filter(|(_, asked)| asked.elapsed() < self.renew_after).map(|(fence, _)| *fence)
    }

    /// What the database answered to a request made at `asked`.
    pub(crate) fn remember(&self, resource: &str, fence: Option<i64>, asked: Instant) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match fence {
            Some(fence) => held.insert(resource.to_owned(), (fence, asked)),
            None => held.remove(resource),
        };
    }
}
