//! The leases that this process holds, so that a worker need not ask the database at every step.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    app::App,
    clock::Clock,
    db::{DbError, leases},
    domain::Millis,
};

/// What is held, by resource. Renewed after a third of the lease's time, so that two renewals may fail.
pub(crate) struct Leases {
    clock: Clock,
    renew_after_ms: Millis,
    /// Fence, and when it was asked for by [`Clock::passed`].
    held: Mutex<HashMap<String, (i64, Millis)>>,
}

impl Leases {
    pub(crate) fn new(ttl_ms: u64, clock: Clock) -> Self {
        let renew_after_ms = Millis::try_from(ttl_ms / 3).unwrap_or(Millis::MAX);
        Self { clock, renew_after_ms, held: Mutex::default() }
    }

    /// The fence, while there is no need to ask again.
    pub(crate) fn held(&self, resource: &str) -> Option<i64> {
        let now = self.clock.passed();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(resource).filter(|(_, asked)| now - asked < self.renew_after_ms).map(|(fence, _)| *fence)
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

/// The fence of what only one process at a time should work on; asks the database if it has to. `None`: another one does.
pub(crate) async fn claim(app: &App, resource: &str) -> Result<Option<i64>, DbError> {
    if let Some(fence) = app.leases.held(resource) {
        return Ok(Some(fence));
    }
    let (holder, ttl) = (app.holder.clone(), app.lease_ms());
    let (asked, taking) = (app.clock.passed(), resource.to_owned());
    let fence = app
        .db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move { leases::take(conn, &taking, &holder, ttl).await })
        })
        .await?;
    app.leases.remember(resource, fence, asked);
    Ok(fence)
}

/// After so many failures in a row a lease is let go of, and after as many again.
const FAILURES_TO_LET_GO: u32 = 4;

/// Lets another replica try after this many failures in a row: what is down may be no provider, but this one's way there.
/// Nobody else need be there; then this process claims it again.
pub(crate) async fn failed(app: &App, resource: &str, failures: u32) -> Result<(), DbError> {
    if !failures.is_multiple_of(FAILURES_TO_LET_GO) {
        return Ok(());
    }
    app.leases.remember(resource, None, 0);
    let (resource, holder) = (resource.to_owned(), app.holder.clone());
    app.db.write(move |conn| Box::pin(async move { leases::release(conn, &resource, &holder).await })).await
}
