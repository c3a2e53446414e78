//! A call's permits among those of the calls at work. A call that waits for something outside gives its permits up
//! after a moment, and takes them again when it goes on, so that waiting for the network does not take permits from
//! computing. The pool's room bounds the number of calls that wait like that.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::host::error::CallError;

/// Maximum time that a call waits for a permit before it is refused.
const PERMIT_WAIT: Duration = Duration::from_secs(5);
/// Time within which an answer lets the call keep its permits.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sets of permits, of each of which a call holds one while it is at work.
pub(super) struct Seat {
    permits: Vec<Arc<Semaphore>>,
    held: Vec<OwnedSemaphorePermit>,
    /// Permits for calls that wait. `None` keeps the permit while waiting.
    waiting: Option<Arc<Semaphore>>,
}

impl Seat {
    /// A seat that holds no permit yet.
    pub(super) fn new(waiting: Option<Arc<Semaphore>>) -> Self {
        Self { permits: Vec::new(), held: Vec::new(), waiting }
    }

    /// Takes one of these permits too. No timer runs if one is free. Errors if none is free in time.
    pub(super) async fn take(&mut self, permits: &Arc<Semaphore>) -> Result<(), CallError> {
        let permit = match permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(PERMIT_WAIT, permits.clone().acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                // The semaphore is never closed.
                _ => return Err(CallError::Busy),
            },
        };
        self.permits.push(permits.clone());
        self.held.push(permit);
        Ok(())
    }

    /// Waits for something outside; after a moment the call gives up its permits meanwhile.
    pub(super) async fn wait_for<T>(&mut self, outside: impl Future<Output = T>) -> T {
        let Some(waiting) = &self.waiting else { return outside.await };
        let mut outside = std::pin::pin!(outside);
        if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut outside).await {
            return answer;
        }
        let Ok(waits) = waiting.clone().try_acquire_owned() else { return outside.await };
        self.held.clear();
        let answer = outside.await;
        // In the order in which they were taken, so that no two calls wait for each other.
        for permits in &self.permits {
            if let Ok(permit) = permits.clone().acquire_owned().await {
                self.held.push(permit);
            }
        }
        drop(waits);
        answer
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    async fn seat(permits: &Arc<Semaphore>, waiting: &Arc<Semaphore>) -> Seat {
        let mut seat = Seat::new(Some(waiting.clone()));
        seat.take(permits).await.unwrap();
        seat
    }

    #[tokio::test]
    async fn who_waits_leaves_the_permit_and_takes_one_again() {
        let (permits, waiting) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
        let mut slow = seat(&permits, &waiting).await;
        let (answer, answered) = oneshot::channel::<u32>();
        let going_on = tokio::spawn(async move {
            let answer = slow.wait_for(answered).await;
            (answer, slow)
        });
        // The next one can start only while this one waits.
        assert!(permits.clone().try_acquire_owned().is_err());
        let other = seat(&permits, &waiting).await;
        answer.send(7).unwrap();
        tokio::time::sleep(PATIENCE).await;
        assert!(!going_on.is_finished(), "there is one permit, and another has it");
        drop(other);
        let (answer, slow) = going_on.await.unwrap();
        assert_eq!(answer, Ok(7));
        assert_eq!((permits.available_permits(), waiting.available_permits()), (0, 1));
        drop(slow);
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test]
    async fn more_than_may_wait_keep_their_permits() {
        let (permits, waiting) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(1)));
        for _ in 0..2 {
            let mut slow = seat(&permits, &waiting).await;
            tokio::spawn(async move { slow.wait_for(std::future::pending::<()>()).await });
        }
        // One leaves its permit, and no other can.
        let quick = seat(&permits, &waiting).await;
        tokio::time::sleep(2 * PATIENCE).await;
        assert_eq!((permits.available_permits(), waiting.available_permits()), (0, 0));
        drop(quick);
        // A call that is answered at once needs neither.
        let mut quick = seat(&permits, &waiting).await;
        assert!(quick.wait_for(async {}).now_or_never().is_some());
        assert_eq!(permits.available_permits(), 0);
    }
}
