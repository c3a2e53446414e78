//! Ends the process at a chosen commit, so that the suite can sweep a kill over every commit point.
//!
//! Only with the feature `crash-points`; otherwise both functions are empty. `KASSA_CRASH_AT=before:7` ends it
//! when the seventh commit is about to be made, `after:7` when it has been made and nobody was told yet.

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    static PLAN: OnceLock<Option<(bool, u64)>> = OnceLock::new();
    static COMMITS: AtomicU64 = AtomicU64::new(0);

    fn plan() -> Option<(bool, u64)> {
        *PLAN.get_or_init(|| {
            let text = std::env::var("KASSA_CRASH_AT").ok()?;
            let (side, number) = text.split_once(':')?;
            Some((side == "before", number.parse().ok()?))
        })
    }

    pub(in crate::db) fn before_commit() {
        let number = COMMITS.fetch_add(1, Ordering::SeqCst) + 1;
        if plan() == Some((true, number)) {
            std::process::abort();
        }
    }

    pub(in crate::db) fn after_commit() {
        if plan() == Some((false, COMMITS.load(Ordering::SeqCst))) {
            std::process::abort();
        }
    }
}

#[cfg(feature = "crash-points")]
pub(super) use armed::{after_commit, before_commit};

#[cfg(not(feature = "crash-points"))]
pub(super) fn before_commit() {}
#[cfg(not(feature = "crash-points"))]
pub(super) fn after_commit() {}
