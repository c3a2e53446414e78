//! Fulfill: claims hook runs that are due, calls the hooks, and writes down what came of it.
//!
//! A run is made at least once: a claim lasts for a lease, so what was claimed by a worker that died is claimed
//! again, under the same id. What a call wrote into its storage, the webhooks that it queued and its outcome are
//! one transaction; only what it sent over HTTP has happened, and carries the run's id for that reason. When
//! another run of the same hook has changed the storage meanwhile, the call is made again with what is there now.

pub(super) mod call;

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::hook_work::{self, Ran};
use crate::{
    app::App,
    db::{
        DbError,
        hook_runs::queue::{self, Claimed, DueHook},
    },
    domain::Millis,
};

/// A claim lasts so much longer than a call may, to write it down in.
pub(super) const LEASE_MARGIN_MS: Millis = 30_000;
/// How often hooks that are not used are let go.
const LET_GO_EVERY: Duration = Duration::from_secs(60);
/// How often the compiled code of hooks that are gone is deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Runs until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    tokio::join!(hook_work::run::<Runs>(&app, &stop), tidy_up(&app, &stop));
}

struct Runs;

impl hook_work::Queue for Runs {
    const NAME: &'static str = "hook runs";
    type Claimed = Claimed;

    fn bell(app: &App) -> &Notify {
        &app.wake.fulfill
    }

    async fn due(app: &App, now: Millis) -> Result<Vec<DueHook>, DbError> {
        queue::due_hooks(&mut app.db.read().await?, now).await
    }

    async fn claim(app: &App, hooks: Vec<(String, usize)>, now: Millis) -> Result<Vec<Claimed>, DbError> {
        let wall_ms = Millis::try_from(app.config.hooks.wall_ms).unwrap_or(Millis::MAX / 2);
        let lease_until = now + wall_ms + LEASE_MARGIN_MS;
        app.db.write(move |conn| Box::pin(queue::claim(conn, hooks, now, lease_until))).await
    }

    fn owner(claimed: &Claimed) -> (&str, &str) {
        (&claimed.callee.hook_id, &claimed.callee.merchant_id)
    }

    fn unheard(claimed: &Claimed) -> i64 {
        claimed.unheard
    }

    async fn make(app: App, claimed: Claimed) -> Ran {
        call::run_once(&app, claimed).await
    }
}

/// Lets go what hooks left in memory and on disk.
async fn tidy_up(app: &App, stop: &CancellationToken) {
    let mut let_go = tokio::time::interval(LET_GO_EVERY);
    let mut sweep = tokio::time::interval_at(tokio::time::Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = let_go.tick() => app.host.hooks().let_go(),
            _ = sweep.tick() => {
                if let Err(error) = app.host.hooks().sweep().await {
                    tracing::warn!(%error, "compiled code of hooks that are gone was not deleted");
                }
            }
        }
    }
}
