//! Permits of which each owner has at most a share.
//!
//! A caller waits first for its own share and only then for a permit. So however much one owner asks for at once, no
//! more than its share waits in front of others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of remembered owners above which those with nothing under way are forgotten.
const OWNERS_MAX: usize = 1000;

/// A number of permits, and each owner's share of them.
pub(crate) struct Shares {
    permits: Arc<Semaphore>,
    share: usize,
    owners: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A permit, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
    _of_share: OwnedSemaphorePermit,
}

impl Shares {
    pub(crate) fn new(permits: usize, share: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), share, owners: Mutex::default() }
    }

    /// Waits for a permit. `None` if the process is shutting down.
    pub(crate) async fn enter(&self, owner: &str) -> Option<Permit> {
        let of_share = self.of(owner).acquire_owned().await.ok()?;
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        Some(Permit { _permit: permit, _of_share: of_share })
    }

    fn of(&self, owner: &str) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = owners.get(owner).and_then(Weak::upgrade) {
            return share;
        }
        if owners.len() >= OWNERS_MAX {
            owners.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share));
        owners.insert(owner.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn one_who_wants_everything_leaves_permits_to_others() {
        let shares = Shares::new(4, 3);
        let held = join_all((0..3).map(|_| shares.enter("a"))).await;
        let mut more: Vec<_> = (0..100).map(|_| Box::pin(shares.enter("a"))).collect();
        for wish in &mut more {
            assert!(wish.now_or_never().is_none(), "its share is used up");
        }
        // Those hundred wait for their share, and not in front of another owner.
        let other = shares.enter("b").now_or_never();
        assert!(other.is_some());
        let mut third = Box::pin(shares.enter("c"));
        assert!((&mut third).now_or_never().is_none(), "all permits are taken");
        drop(other);
        assert!((&mut third).now_or_never().is_some());
        drop((held, more));
        assert!(shares.enter("a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_has_nothing_under_way_is_forgotten() {
        let shares = Shares::new(4, 1);
        for owner in 0..OWNERS_MAX {
            shares.enter(&owner.to_string()).await;
        }
        let kept = shares.enter("kept").await;
        assert_eq!(shares.owners.lock().unwrap().len(), 1);
        assert!(shares.enter("kept").now_or_never().is_none());
        drop(kept);
    }
}
