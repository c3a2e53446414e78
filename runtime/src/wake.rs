//! Wake-up calls between workers of one process: work was committed for you, do not wait for your poll.
//!
//! A wake-up call carries nothing and may be lost; every worker also polls.

use std::sync::Arc;

use tokio::sync::Notify;

/// One `Notify` for each kind of worker. Cheap to clone.
///
/// `observe`, `settle` and `rescan` run once a network, so theirs are notified with `notify_waiters`, and they begin to
/// listen before they look. `dispatch`, `deliver`, `fulfill`, `matching` and `retention` run once, so theirs are
/// notified with `notify_one`, which waits for a worker that is not listening yet.
#[derive(Clone, Default)]
pub(crate) struct Wake {
    pub(crate) observe: Arc<Notify>,
    pub(crate) settle: Arc<Notify>,
    pub(crate) dispatch: Arc<Notify>,
    pub(crate) deliver: Arc<Notify>,
    pub(crate) fulfill: Arc<Notify>,
    pub(crate) matching: Arc<Notify>,
    pub(crate) rescan: Arc<Notify>,
    pub(crate) retention: Arc<Notify>,
}
