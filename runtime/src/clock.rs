//! Time, handed in from outside so that a test can hold it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::domain::Millis;

/// Where the time comes from. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock {
    /// Added to the machine's time; only tests change it.
    shift_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX) + self.shift_ms.load(Ordering::Relaxed)
    }

    /// Moves this clock, for tests of deadlines.
    pub fn shift(&self, ms: Millis) {
        self.shift_ms.fetch_add(ms, Ordering::Relaxed);
    }
}
