//! Ends the process at a chosen commit, so that every commit can be tried as the last one.
//!
//! With the feature `crash-points` the process ends for real, for the suite: `KASSA_CRASH_AT=before:7` when the seventh
//! commit is about to be made, `after:7` when it has been made and nobody was told yet; `KASSA_CRASH_IN_HOOK=name` in each
//! call of a hook of that name. With the feature `simulation` it ends as far as anyone can tell: from then on no commit of
//! this thread is made, until [`simulated::revive`]. Without either, nothing here does anything.

use super::DbError;

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

    pub(super) fn before_commit() -> u64 {
        let number = COMMITS.fetch_add(1, Ordering::SeqCst) + 1;
        if plan() == Some((true, number)) {
            std::process::abort();
        }
        number
    }

    pub(super) fn after_commit(number: u64) {
        if plan() == Some((false, number)) {
            std::process::abort();
        }
    }
}

/// A crash of one thread's simulated process.
#[cfg(feature = "simulation")]
pub(crate) mod simulated {
    use std::cell::Cell;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum State {
        Well,
        /// Crashes after `left` more commits; `made` tells whether the last of them takes effect.
        Doomed {
            left: u32,
            made: bool,
        },
        Dead,
    }

    thread_local! {
        static STATE: Cell<State> = const { Cell::new(State::Well) };
    }

    /// Crashes the process at its `nth` commit from now, which takes effect if `made`.
    pub(crate) fn doom(nth: u32, made: bool) {
        STATE.set(State::Doomed { left: nth.max(1), made });
    }

    /// True if the process has crashed.
    pub(crate) fn is_dead() -> bool {
        STATE.get() == State::Dead
    }

    /// Starts another process.
    pub(crate) fn revive() {
        STATE.set(State::Well);
    }

    /// Counts a commit. True if it takes effect.
    pub(super) fn before_commit() -> bool {
        match STATE.get() {
            State::Well => true,
            State::Dead => false,
            State::Doomed { left: 1, made } => {
                STATE.set(State::Dead);
                made
            }
            State::Doomed { left, made } => {
                STATE.set(State::Doomed { left: left - 1, made });
                true
            }
        }
    }
}

/// Crashes here if the plugin of this worker is set to crash at its first call.
pub(crate) fn in_call(resource: &str) {
    #[cfg(feature = "crash-points")]
    if std::env::var("KASSA_CRASH_IN_CALL").is_ok_and(|poison| poison == resource) {
        std::process::abort();
    }
    let _ = resource;
}

/// Crashes here if the hook of this name is set to crash.
pub(crate) fn in_hook(name: &str) {
    #[cfg(feature = "crash-points")]
    if std::env::var("KASSA_CRASH_IN_HOOK").is_ok_and(|poison| poison == name) {
        std::process::abort();
    }
    let _ = name;
}

/// The number of a commit of this process: several may run at the same moment.
#[must_use]
#[derive(Clone, Copy)]
pub(super) struct Commit {
    #[cfg(feature = "crash-points")]
    number: u64,
}

/// Errors if the commit must not be made.
pub(super) fn before_commit() -> Result<Commit, DbError> {
    let commit = Commit {
        #[cfg(feature = "crash-points")]
        number: armed::before_commit(),
    };
    #[cfg(feature = "simulation")]
    if !simulated::before_commit() {
        return Err(DbError::Closed);
    }
    Ok(commit)
}

/// Errors if nobody may learn of the commit.
pub(super) fn after_commit(commit: Commit) -> Result<(), DbError> {
    #[cfg(feature = "crash-points")]
    armed::after_commit(commit.number);
    #[cfg(not(feature = "crash-points"))]
    let Commit {} = commit;
    #[cfg(feature = "simulation")]
    if simulated::is_dead() {
        return Err(DbError::Closed);
    }
    Ok(())
}
