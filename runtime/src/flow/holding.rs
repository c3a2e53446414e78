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

/// Whether this process may work on what only one at a time should; asks the database if it has to.
pub(crate) async fn claim(app: &App, resource: &str) -> Result<bool, DbError> {
    if app.leases.held(resource).is_some() {
        return Ok(true);
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
    Ok(fence.is_some())
}
