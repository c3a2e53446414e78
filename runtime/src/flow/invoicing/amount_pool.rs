//! Unique amounts that this process may ask for.
//!
//! The database gives them out in runs, each amount to one process only, and remembers where it was before anyone is
//! asked for one ([`holds::reserve`]). What is kept here is merely the rest of a run; if it is forgotten, those
//! amounts come a round later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::sync::Mutex as Turn;

use crate::{
    db::{Db, DbError, holds},
    domain::{
        id::{AddressId, Ids},
        matching::amount_key,
        money::Amount,
        slots::Ring,
    },
};

/// Maximum number of prices kept in memory; further ones take new runs.
const RINGS_MAX: usize = 4096;
/// Maximum number of amounts in a run.
const RUN_MAX: i64 = 64;
/// Divisor of a ring's size that gives the maximum size of a run: amounts that lie in other processes' runs are given
/// out by nobody.
const RUNS_OF_RING: i64 = 128;

#[derive(Default)]
pub(super) struct AmountPool {
    by_price: Mutex<HashMap<String, Arc<Run>>>,
}

/// The remaining amounts of a price's run.
#[derive(Default)]
struct Run {
    left: Turn<Left>,
    /// Number of callers that wait for an amount of it.
    waiting: AtomicI64,
}

#[derive(Default)]
struct Left {
    amounts: VecDeque<Amount>,
    /// Size of the last run; the next is twice as long.
    taken: i64,
}

/// A price on an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priced<'a> {
    pub(super) address_id: &'a AddressId,
    pub(super) asset_id: &'a str,
    pub(super) amount: Amount,
    pub(super) ring: Ring,
}

impl Priced<'_> {
    fn key(&self) -> String {
        amount_key(self.address_id, self.asset_id, self.amount)
    }
}

impl AmountPool {
    /// Takes an amount for the price that nobody else is asked for. `None` if none is free.
    pub(super) async fn take(
        &self,
        db: &Db,
        ids: &Ids,
        price: Priced<'_>,
    ) -> Result<Option<Amount>, DbError> {
        let run = self.of(&price.key());
        run.waiting.fetch_add(1, Ordering::Relaxed);
        let mut left = run.left.lock().await;
        let waiting = run.waiting.fetch_sub(1, Ordering::Relaxed);
        if left.amounts.is_empty() {
            let most = (i64::from(price.ring.slots()) / RUNS_OF_RING).clamp(1, RUN_MAX);
            let wanted = (left.taken * 2).max(waiting).clamp(1, most);
            left.amounts = reserve(db, ids, price, wanted).await?.into();
            left.taken = wanted;
        }
        Ok(left.amounts.pop_front())
    }

    /// Returns an amount that was not asked for after all.
    pub(super) async fn give_back(&self, price: Priced<'_>, due: Amount) {
        self.of(&price.key()).left.lock().await.amounts.push_front(due);
    }

    fn of(&self, key: &str) -> Arc<Run> {
        let mut by_price = self.by_price.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = by_price.get(key) {
            return Arc::clone(run);
        }
        if by_price.len() >= RINGS_MAX {
            by_price.clear();
        }
        Arc::clone(by_price.entry(key.to_owned()).or_default())
    }
}

async fn reserve(db: &Db, ids: &Ids, price: Priced<'_>, wanted: i64) -> Result<Vec<Amount>, DbError> {
    let Priced { amount, ring, .. } = price;
    let (address_id, asset_id) = (price.address_id.clone(), price.asset_id.to_owned());
    let [random, _] = ids.random();
    db.write::<_, DbError, _>(move |conn| {
        Box::pin(async move {
            let price = holds::Price { address_id: &address_id, asset_id: &asset_id, amount, ring };
            holds::reserve(conn, &price, wanted, random).await
        })
    })
    .await
}
