//! Retention: deletes what is old, so that the database does not grow for ever. What may go, and why,
//! [`crate::db::retention`] says.
//!
//! One replica at a time, by a lease; a second one would only find less to do. A pass goes through all kinds, step by step,
//! and rests after each step as long as the step took: whoever wants to write gets in between.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    config::{self, Days},
    db::{
        DbError,
        retention::{self, Kind, Old, Position, Step},
    },
    domain::Millis,
};

const LEASE: &str = "retention";
/// Delay of the first pass after a start: there is other work, and a freshly started machine may not know the time yet.
const FIRST_AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(3600);
/// Bounds of the rest after a step, which is as long as the step took.
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(1);
const DAY_MS: Millis = 86_400_000;

/// Runs until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut wait = first_after();
    loop {
        let passed = tokio::select! {
            () = stop.cancelled() => return,
            // A version of a hook was deleted.
            () = app.wake.retention.notified() => pass(&app, &[Kind::Tapes], &stop).await,
            () = tokio::time::sleep(wait) => {
                let passed = pass(&app, &Kind::ALL, &stop).await;
                // Whoever holds the lease may have died, and what failed may work by then.
                let is_over = passed.as_ref().is_ok_and(|passed| passed.is_over);
                wait = if is_over { EVERY } else { first_after() };
                passed
            }
        };
        match passed {
            Ok(Passed { deleted: 0, .. }) => {}
            Ok(Passed { deleted, .. }) => tracing::info!(rows = deleted, "old rows were deleted"),
            Err(error) => tracing::warn!(%error, "old rows were not deleted; it is tried again"),
        }
    }
}

/// Result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Number of rows.
    pub(crate) deleted: u64,
    /// True if the pass went through everything; otherwise another replica is at it, or this one was told to stop.
    pub(crate) is_over: bool,
}

/// Delay of the first pass after a start, which the suite shortens.
#[cfg(feature = "crash-points")]
fn first_after() -> Duration {
    let said = std::env::var("KASSA_RETENTION_AFTER_MS").ok().and_then(|text| text.parse().ok());
    said.map_or(FIRST_AFTER, Duration::from_millis)
}

#[cfg(not(feature = "crash-points"))]
fn first_after() -> Duration {
    FIRST_AFTER
}

/// Deletes old rows of these kinds.
pub(crate) async fn pass(app: &App, kinds: &[Kind], stop: &CancellationToken) -> Result<Passed, DbError> {
    let mut deleted = 0;
    for &kind in kinds {
        // Of versions that were deleted recordings go however long they are kept.
        let before = match before(app, kind) {
            None if kind == Kind::Tapes => 0,
            None => continue,
            Some(before) => before,
        };
        let mut position = Some(Position::default());
        let mut is_first = true;
        while let Some(at) = position {
            if stop.is_cancelled() || app.leases.claim(LEASE).await?.is_none() {
                return Ok(Passed { deleted, is_over: false });
            }
            let (began, now, begins) = (Instant::now(), app.clock.now(), std::mem::take(&mut is_first));
            let step = app.db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    if begins {
                        retention::begin(conn, kind, before, now).await?;
                    }
                    retention::step(conn, kind, at, before).await
                })
            });
            let Step { deleted: rows, next } = step.await?;
            deleted += rows;
            position = next;
            metrics::counter!("kassa_retention_deleted_total", "kind" => kind.as_str()).increment(rows);
            tokio::time::sleep(began.elapsed().clamp(REST_MIN, REST_MAX)).await;
        }
    }
    Ok(Passed { deleted, is_over: true })
}

/// Days for which rows of this kind are kept; `None` if they are kept for ever.
pub(crate) fn kept_days(config: &config::Retention, kind: Kind) -> Option<u32> {
    let Days(days) = match kind {
        Kind::Deliveries => config.deliveries_days,
        Kind::HookRuns | Kind::HookShadows => config.hook_runs_days,
        Kind::Tapes => config.tapes_days,
        Kind::Events => config.events_days,
        Kind::HookMatches => config.hook_matches_days,
        Kind::Sightings => config.sightings_days,
        Kind::IdempotencyKeys => config.idempotency_keys_days,
    };
    days
}

/// Time before which rows of this kind are deleted; `None` if none are. A machine whose clock is years ahead of the
/// chains deletes nothing.
fn before(app: &App, kind: Kind) -> Option<Millis> {
    let networks = app.networks.all();
    let now = app.chain_clock.earliest(networks.iter().map(AsRef::as_ref));
    kept_days(&app.config.retention, kind).map(|days| now - Millis::from(days) * DAY_MS)
}

/// Counts the rows that a pass would delete now.
pub(crate) async fn old(app: &App, kind: Kind) -> Result<Old, DbError> {
    let before = match before(app, kind) {
        None if kind == Kind::Tapes => 0,
        None => return Ok(Old { rows: 0, oldest: None }),
        Some(before) => before,
    };
    retention::count(&mut app.db.read().await?, kind, before).await
}
