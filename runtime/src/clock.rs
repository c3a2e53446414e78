//! Time, injected so that a test can control it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::domain::Millis;

/// Source of the time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

struct Source {
    /// `None` if time stands still and only a test moves it.
    started: Option<Instant>,
    /// Added to the machine's time, milliseconds; only tests change it.
    wall_ms: AtomicI64,
    /// Added to the time since the start, milliseconds; only tests change it.
    passed_ms: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        let source = Source {
            started: Some(Instant::now()),
            wall_ms: AtomicI64::new(ahead_ms()),
            passed_ms: AtomicI64::new(0),
        };
        Self(Arc::new(source))
    }
}

/// Milliseconds by which the suite sets the machine's clock ahead.
#[cfg(feature = "crash-points")]
fn ahead_ms() -> Millis {
    std::env::var("KASSA_CLOCK_AHEAD_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(not(feature = "crash-points"))]
fn ahead_ms() -> Millis {
    0
}

impl Clock {
    /// A clock that stands still at this time.
    #[must_use]
    pub fn standing(at: Millis) -> Self {
        Self(Arc::new(Source { started: None, wall_ms: AtomicI64::new(at), passed_ms: AtomicI64::new(0) }))
    }

    /// Milliseconds since 1970 by this machine's clock. It may be wrong, and may jump.
    #[must_use]
    pub fn now(&self) -> Millis {
        let shift = self.0.wall_ms.load(Ordering::Relaxed);
        if self.0.started.is_none() {
            return shift;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(shift)
    }

    /// Milliseconds since this process began: never goes back, never jumps. For measuring how long something took or
    /// holds.
    #[must_use]
    pub fn passed(&self) -> Millis {
        let elapsed = self.0.started.map_or(0, |started| started.elapsed().as_millis());
        i64::try_from(elapsed).unwrap_or(i64::MAX).saturating_add(self.0.passed_ms.load(Ordering::Relaxed))
    }

    /// Lets time pass, for tests of deadlines.
    pub fn shift(&self, ms: Millis) {
        self.0.passed_ms.fetch_add(ms, Ordering::Relaxed);
        self.jump(ms);
    }

    /// Sets the machine's clock forward or back, for tests of wrong clocks.
    pub fn jump(&self, ms: Millis) {
        self.0.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }
}
