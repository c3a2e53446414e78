//! The leases that this process holds, so that a worker need not ask the database at every step.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    clock::Clock,
    db::{Db, DbError, leases},
    domain::Millis,
};

/// A lease is let go of after this many failures in a row, and after as many again.
const FAILURES_TO_LET_GO: u32 = 4;

/// What is held, by resource. Renewed after a third of the lease's time, so that two renewals may fail.
pub(crate) struct Leases {
    db: Db,
    clock: Clock,
    /// This process, among the replicas.
    holder: Arc<str>,
    ttl_ms: Millis,
    /// Fence, and when it was asked for by [`Clock::passed`].
    held: Mutex<HashMap<String, (i64, Millis)>>,
}

impl Leases {
    pub(crate) fn new(db: Db, clock: Clock, holder: Arc<str>, ttl_ms: u64) -> Self {
        Self {
            db,
            clock,
            holder,
            ttl_ms: Millis::try_from(ttl_ms).unwrap_or(Millis::MAX),
            held: Mutex::default(),
        }
    }

    /// This process, among the replicas.
    pub(crate) fn holder(&self) -> &Arc<str> {
        &self.holder
    }

    /// How long a lease lasts, milliseconds.
    pub(crate) fn ttl_ms(&self) -> Millis {
        self.ttl_ms
    }

    /// The fence of what only one process at a time should work on; asks the database if it has to. `None`: another one
    /// does.
    pub(crate) async fn claim(&self, resource: &str) -> Result<Option<i64>, DbError> {
        if let Some(fence) = self.held(resource) {
            return Ok(Some(fence));
        }
        let (holder, ttl_ms) = (Arc::clone(&self.holder), self.ttl_ms);
        let (asked, taking) = (self.clock.passed(), resource.to_owned());
        let fence = self
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { leases::take(conn, &taking, &holder, ttl_ms).await })
            })
            .await?;
        self.remember(resource, fence, asked);
        Ok(fence)
    }

    /// Lets another replica try after [`FAILURES_TO_LET_GO`] failures in a row: what is down may be no provider, but this
    /// one's way there. Nobody else need be there; then this process claims it again.
    pub(crate) async fn failed(&self, resource: &str, failures: u32) -> Result<(), DbError> {
        if !failures.is_multiple_of(FAILURES_TO_LET_GO) {
            return Ok(());
        }
        self.remember(resource, None, 0);
        let (resource, holder) = (resource.to_owned(), Arc::clone(&self.holder));
        self.db
            .write(move |conn| Box::pin(async move { leases::release(conn, &resource, &holder).await }))
            .await
    }

    /// Gives all of them back, for the others.
    pub(crate) async fn release_all(&self) -> Result<(), DbError> {
        let holder = Arc::clone(&self.holder);
        self.db.write(move |conn| Box::pin(async move { leases::release_all(conn, &holder).await })).await
    }

    /// The fence, while there is no need to ask again.
    pub(crate) fn held(&self, resource: &str) -> Option<i64> {
        let now = self.clock.passed();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(resource).filter(|(_, asked)| now - asked < self.ttl_ms / 3).map(|(fence, _)| *fence)
    }

    /// What the database answered to a request made at `asked` (by [`Clock::passed`]).
    pub(crate) fn remember(&self, resource: &str, fence: Option<i64>, asked: Millis) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match fence {
            Some(fence) => held.insert(resource.to_owned(), (fence, asked)),
            None => held.remove(resource),
        };
    }
}
