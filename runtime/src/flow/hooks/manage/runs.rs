//! Runs of a merchant's hooks, what matchers were asked, and what both used.

use super::{HookError, found};
use crate::{
    app::App,
    db::{
        Conn, DbError, events,
        hooks::{
            matches::{self, Match},
            runs::{self, Attempt, Run, Usage},
        },
    },
    domain::{
        Millis,
        hook::RunState,
        id::{HookId, HookMatchId, HookRunId},
        tenant::Tenant,
        verbatim::Verbatim,
    },
};

const USAGE_DAYS: i64 = 31;
/// Maximum number of calls shown with a run. Each may have some kilobytes of log.
const CALLS_MAX: i64 = 50;
/// Number of calls after which a run is not made again by hand: each call is stored.
const CALLS_OF_RUN_MAX: i64 = 1_000;

/// A run with its input and its last calls.
pub(crate) struct RunInfo {
    pub(crate) run: Run,
    /// The event's payload, as the hook was given it.
    pub(crate) input: Verbatim,
    /// The oldest first.
    pub(crate) calls: Vec<Attempt>,
}

/// A page of the merchant's runs, the newest first.
pub(crate) async fn list(
    app: &App,
    tenant: &Tenant,
    (hook_id, state): (Option<HookId>, Option<RunState>),
    (before, rows): (HookRunId, i64),
) -> Result<Vec<Run>, DbError> {
    runs::list(&mut app.db.read().await?, tenant, hook_id, state, before, rows).await
}

pub(crate) async fn get(app: &App, tenant: &Tenant, id: &HookRunId) -> Result<RunInfo, HookError> {
    info(&mut app.db.read().await?, tenant, id).await
}

async fn info(conn: &mut Conn, tenant: &Tenant, id: &HookRunId) -> Result<RunInfo, HookError> {
    let run = run_of(conn, tenant, id).await?;
    let event = events::get(conn, tenant, &run.event_id).await?;
    let payload = event.map(|event| event.payload).unwrap_or_default();
    let calls = runs::attempts(conn, &run.id, CALLS_MAX).await?;
    let unreadable =
        |error: serde_json::Error| DbError::Unreadable { column: "payload", why: error.to_string() };
    Ok(RunInfo { run, input: Verbatim::of_text(payload).map_err(unreadable)?, calls })
}

async fn run_of(conn: &mut Conn, tenant: &Tenant, id: &HookRunId) -> Result<Run, HookError> {
    runs::get(conn, tenant, id).await?.ok_or(HookError::Missing("run"))
}

/// Makes a run again that has ended or waits, on the version in use.
pub(crate) async fn run_again(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookRunId,
    now: Millis,
) -> Result<RunInfo, HookError> {
    let run = run_of(conn, tenant, id).await?;
    found(conn, tenant, &run.hook_id).await?;
    if run.attempts >= CALLS_OF_RUN_MAX {
        return Err(HookError::RunSpent(run.attempts));
    }
    if !runs::run_again(conn, &run, now).await? {
        return Err(HookError::RunUnderWay);
    }
    info(conn, tenant, id).await
}

/// What a hook used on the last days on which it was run, the newest first.
pub(crate) async fn usage(app: &App, tenant: &Tenant, hook_id: &HookId) -> Result<Vec<Usage>, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, hook_id).await?;
    Ok(runs::usage(&mut conn, &hook.id, USAGE_DAYS).await?)
}

/// A page of what a matcher was asked, the newest first.
pub(crate) async fn matches(
    app: &App,
    tenant: &Tenant,
    hook_id: &HookId,
    (before, rows): (HookMatchId, i64),
) -> Result<Vec<Match>, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, hook_id).await?;
    Ok(matches::list(&mut conn, tenant, &hook.id, before, rows).await?)
}
