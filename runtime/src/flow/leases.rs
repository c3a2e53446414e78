//! The leases that this process holds, so that a worker need not ask the database at every step.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    clock::Clock,
    db::{Db, DbError, leases},
    domain::{Millis, id::RequestId},
};

/// Number of failures in a row after which a lease is given up, and after as many again.
const FAILURES_TO_LET_GO: u32 = 4;

/// Leases that this process holds, by resource. Each is renewed after a third of its time, so that two renewals may
/// fail.
pub(crate) struct Leases {
    db: Db,
    clock: Clock,
    /// Id of this process among the replicas.
    holder: RequestId,
    ttl_ms: Millis,
    /// The fence, and the time at which it was asked for, by [`Clock::passed`].
    held: Mutex<HashMap<String, (i64, Millis)>>,
}

impl Leases {
    pub(crate) fn new(db: Db, clock: Clock, holder: RequestId, ttl_ms: u64) -> Self {
        Self {
            db,
            clock,
            holder,
            ttl_ms: Millis::try_from(ttl_ms).unwrap_or(Millis::MAX),
            held: Mutex::default(),
        }
    }

    /// Id of this process among the replicas.
    pub(crate) fn holder(&self) -> &RequestId {
        &self.holder
    }

    /// Duration of a lease, milliseconds.
    pub(crate) fn ttl_ms(&self) -> Millis {
        self.ttl_ms
    }

    /// Claims a resource and returns its fence; asks the database if need be. `None` if another process has it.
    pub(crate) async fn claim(&self, resource: &str) -> Result<Option<i64>, DbError> {
        if let Some(fence) = self.held(resource) {
            return Ok(Some(fence));
        }
        let (holder, ttl_ms) = (self.holder.clone(), self.ttl_ms);
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

    /// Gives the lease up after [`FAILURES_TO_LET_GO`] failures in a row, so that another replica can try: the fault
    /// may lie with this machine's network rather than with the provider. Without other replicas this process claims it
    /// again.
    pub(crate) async fn failed(&self, resource: &str, failures: u32) -> Result<(), DbError> {
        if !failures.is_multiple_of(FAILURES_TO_LET_GO) {
            return Ok(());
        }
        self.remember(resource, None, 0);
        let (resource, holder) = (resource.to_owned(), self.holder.clone());
        self.db
            .write(move |conn| Box::pin(async move { leases::release(conn, &resource, &holder).await }))
            .await
    }

    /// Releases all leases, so that others can claim them.
    pub(crate) async fn release_all(&self) -> Result<(), DbError> {
        let holder = self.holder.clone();
        self.db.write(move |conn| Box::pin(async move { leases::release_all(conn, &holder).await })).await
    }

    /// The fence, as long as it needs no renewal.
    pub(crate) fn held(&self, resource: &str) -> Option<i64> {
        let now = self.clock.passed();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(resource).filter(|(_, asked)| now - asked < self.ttl_ms / 3).map(|(fence, _)| *fence)
    }

    /// Records the database's answer to a claim made at `asked` (by [`Clock::passed`]).
    pub(crate) fn remember(&self, resource: &str, fence: Option<i64>, asked: Millis) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match fence {
            Some(fence) => held.insert(resource.to_owned(), (fence, asked)),
            None => held.remove(resource),
        };
    }
}
