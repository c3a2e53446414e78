//! Runs of hooks: one event owed to one hook, every call that was made for it, and what they used.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::hook_id;
use crate::{
    app::App,
    db::hooks::runs::{Attempt, Run, Usage, Used},
    domain::{
        hook::{Outcome, RunState},
        id::{EventId, HookId, HookRunId, HookVersionId},
        verbatim::Verbatim,
    },
    flow::hooks::manage::runs::{self, RunInfo},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathParam, Query, named},
        json::{Answer, NoBody},
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, Problem},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(run_again))
        .routes(routes!(usage))
}

/// An event owed to a hook.
#[derive(Debug, Serialize, ToSchema)]
struct RunView {
    /// What the hook's own requests carry as `Idempotency-Key`.
    #[schema(example = "run_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: HookRunId,
    hook_id: HookId,
    hook_name: String,
    event_id: EventId,
    #[schema(example = "invoice.paid")]
    event_type: String,
    state: RunState,
    /// Calls made so far.
    attempts: i64,
    /// What the last one said, or why it failed.
    note: Option<String>,
    /// While pending: when the next call is due.
    due_at: Option<Time>,
    /// While pending: it is made after the run for an earlier event of the same invoice.
    waits_for_earlier: bool,
    created_at: Time,
    done_at: Option<Time>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            hook_id: run.hook_id,
            hook_name: run.hook_name,
            event_id: run.event_id,
            event_type: run.event_kind,
            state: run.state,
            attempts: run.attempts,
            note: run.note,
            due_at: run.due_at.map(Time),
            waits_for_earlier: run.waits,
            created_at: Time(run.created_at),
            done_at: run.done_at.map(Time),
        }
    }
}

/// One call of a hook, and what it used.
#[derive(Debug, Serialize, ToSchema)]
struct CallView {
    /// From 1.
    number: i64,
    at: Time,
    /// The version that ran.
    version_id: HookVersionId,
    outcome: Outcome,
    /// What the hook said, or why it failed.
    note: String,
    #[serde(flatten)]
    used: UsedView,
    /// What it wrote into its log: objects of `level` and `text`.
    #[schema(value_type = Vec<Object>)]
    log: Vec<serde_json::Value>,
}

impl From<Attempt> for CallView {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: Time(attempt.at),
            version_id: attempt.version_id,
            outcome: attempt.outcome,
            note: attempt.note,
            used: attempt.used.into(),
            log: attempt.log,
        }
    }
}

/// What a call used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsedView {
    /// On the clock, waiting included.
    duration_us: i64,
    /// Of a processor.
    cpu_us: i64,
    /// Instructions, about; the same for the same input on every machine.
    fuel: i64,
    memory_bytes: i64,
    host_calls: i64,
    http_requests: i64,
}

impl From<Used> for UsedView {
    fn from(used: Used) -> Self {
        Self {
            duration_us: used.duration_us,
            cpu_us: used.cpu_us,
            fuel: used.fuel,
            memory_bytes: used.memory_bytes,
            host_calls: used.host_calls,
            http_requests: used.http_requests,
        }
    }
}

/// A run with its input and its calls.
#[derive(Debug, Serialize, ToSchema)]
struct RunDetails {
    #[serde(flatten)]
    run: RunView,
    /// The event's payload, as the hook was given it.
    #[schema(value_type = Object)]
    input: Verbatim,
    /// The last 50, the oldest first.
    calls: Vec<CallView>,
}

impl From<RunInfo> for RunDetails {
    fn from(RunInfo { run, input, calls }: RunInfo) -> Self {
        Self { run: run.into(), input, calls: calls.into_iter().map(Into::into).collect() }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RunParams {
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those of this hook.
    hook_id: Option<String>,
    /// Only those that stand like this.
    state: Option<RunState>,
}

/// List runs
#[utoipa::path(get, path = "/v1/hook_runs", tag = "hooks", params(RunParams),
    responses((status = 200, body = Listed<RunView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<RunParams>,
) -> Result<Answer<Listed<RunView>>, Problem> {
    let page = Page::<HookRunId>::new(params.limit, params.cursor.as_deref())?;
    let only = (params.hook_id.as_deref().map(named), params.state);
    let rows = runs::list(&app, &merchant.tenant, only, page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Get a run
///
/// With what the hook was given, its last calls, what each said, wrote into its log and used.
#[utoipa::path(get, path = "/v1/hook_runs/{id}", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = RunDetails)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<RunDetails>, Problem> {
    let id = id.id("run")?;
    Ok(Answer(runs::get(&app, &merchant.tenant, &id).await?.into()))
}

/// Run again
///
/// A run that has ended, whatever came of it, or that waits for another try: under the same id, on the version in
/// use.
#[utoipa::path(post, path = "/v1/hook_runs/{id}/run_again", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = RunDetails)),
    extensions(("x-problems" = json!([[Kind::Conflict, Kind::RunPending]]))))]
async fn run_again(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("run")?;
    let now = app.clock.now();
    let again = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { runs::run_again(conn, &merchant.tenant, &id, now).await }),
        |run| Reply::ok(&RunDetails::from(run)),
    );
    let reply = again.await;
    app.wake.fulfill.notify_one();
    reply
}

/// What a hook used on one day, of UTC.
#[derive(Debug, Serialize, ToSchema)]
struct UsageView {
    day: Time,
    calls: i64,
    /// Calls that gave no answer.
    failed: i64,
    cpu_us: i64,
    http_requests: i64,
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        Self {
            day: Time(usage.day),
            calls: usage.attempts,
            failed: usage.failed,
            cpu_us: usage.cpu_us,
            http_requests: usage.http_requests,
        }
    }
}

/// Get what a hook used
///
/// The last 31 days on which it was run, the newest first.
#[utoipa::path(get, path = "/v1/hooks/{id}/usage", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = Listed<UsageView>)))]
async fn usage(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<Listed<UsageView>>, Problem> {
    let days = runs::usage(&app, &merchant.tenant, &hook_id(id)?).await?;
    Ok(Answer(Listed::all(days.into_iter().map(Into::into).collect())))
}
