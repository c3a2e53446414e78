//! Simulations: turns of those who act on a chain that exists only here.
//!
//! Such a chain lies in its plugin's storage: one action at a time, each on what the one before left, and no scan in
//! between. All merchants share it, so each has a bucket of actions and a queue of its own, of which only the
//! first waits with those of others. Of this process alone; replicas are kept apart by the storage's revision.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Plain, PoisonError},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::domain::{Millis, id::MerchantId};

/// Capacity of a merchant's bucket of actions, and the time in which one comes back.
const STORE: i64 = 600;
const BACK_MS: Millis = 50;
/// Number of merchants remembered before idle ones are forgotten.
const KEPT_MAX: usize = 1_000;

/// All turns in this process.
#[derive(Default)]
pub(crate) struct Simulations {
    turn: Arc<Mutex<()>>,
    merchants: Plain<HashMap<MerchantId, Merchant>>,
}

/// A token bucket, kept as the time at which it is full again, and a queue.
#[derive(Default)]
struct Merchant {
    full_at: Millis,
    turn: Arc<Mutex<()>>,
}

/// The right to act, until it is dropped.
pub(crate) struct Turn {
    _all: OwnedMutexGuard<()>,
    _own: Option<OwnedMutexGuard<()>>,
}

/// Error: a merchant has no action left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) retry_s: u64,
}

impl Simulations {
    /// Waits for the turn of a caller who is not a merchant.
    pub(crate) async fn turn(&self) -> Turn {
        Turn { _all: Arc::clone(&self.turn).lock_owned().await, _own: None }
    }

    /// Waits for a merchant's turn, which takes one of its actions. `now` is [`crate::clock::Clock::passed`].
    pub(crate) async fn turn_of(&self, merchant_id: &MerchantId, now: Millis) -> Result<Turn, Limited> {
        let own = self.take(merchant_id, now)?.lock_owned().await;
        Ok(Turn { _own: Some(own), ..self.turn().await })
    }

    fn take(&self, merchant_id: &MerchantId, now: Millis) -> Result<Arc<Mutex<()>>, Limited> {
        let mut merchants = self.merchants.lock().unwrap_or_else(PoisonError::into_inner);
        if merchants.len() >= KEPT_MAX {
            merchants.retain(|_, one| one.full_at > now || Arc::strong_count(&one.turn) > 1);
        }
        let merchant = merchants.entry(merchant_id.clone()).or_default();
        let full_at = merchant.full_at.max(now) + BACK_MS;
        let wait_ms = full_at - now - STORE * BACK_MS;
        if wait_ms > 0 {
            return Err(Limited { retry_s: u64::try_from((wait_ms + 999) / 1000).unwrap_or(1) });
        }
        merchant.full_at = full_at;
        Ok(Arc::clone(&merchant.turn))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_merchant_has_so_many_and_then_twenty_a_second() {
        let all = Simulations::default();
        for _ in 0..STORE {
            assert!(all.turn_of(&"a".into(), 0).await.is_ok());
        }
        assert_eq!(all.turn_of(&"a".into(), 0).await.err(), Some(Limited { retry_s: 1 }));
        assert!(all.turn_of(&"b".into(), 0).await.is_ok(), "each merchant has its own");
        let mut later = 0;
        while all.turn_of(&"a".into(), 1_000).await.is_ok() {
            later += 1;
        }
        assert_eq!(later, 20);
        for number in 0..3_000 {
            let _ = all.turn_of(&number.to_string().as_str().into(), 100_000 + number * BACK_MS).await;
        }
        assert!(all.merchants.lock().unwrap().len() <= KEPT_MAX);
    }

    /// Of a merchant's many, one waits with those of others.
    #[tokio::test]
    async fn a_queue_of_one_merchant_is_no_queue_for_another() {
        let all = Arc::new(Simulations::default());
        let first = all.turn_of(&"a".into(), 0).await.ok().unwrap();
        let served = Arc::new(Plain::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["a", "a", "a", "b"] {
            let (all, served) = (Arc::clone(&all), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let turn = all.turn_of(&name.into(), 0).await.ok().unwrap();
                served.lock().unwrap().push(name);
                drop(turn);
            }));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        let served = served.lock().unwrap().clone();
        assert!(served.iter().position(|name| *name == "b") < Some(2), "{served:?}");
    }
}
