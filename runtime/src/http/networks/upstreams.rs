//! Upstreams: the RPC providers of a network. Their URLs and headers carry keys, so neither is shown again.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    db::networks::Upstream,
    domain::id::{Id, UpstreamId},
    flow::networks,
    http::{
        auth::Operator,
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::{Answer, Json},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem, sentence},
        time::Time,
    },
    upstreams::{Access, Learned, Terms, UpstreamSpec, UpstreamState, UpstreamStatus},
};

const CALLS_PER_S: u32 = 10;
const CALLS_PER_S_MAX: u32 = 100_000;
const PRIORITY_MAX: i64 = 1000;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(add, list)).routes(routes!(remove))
}

/// An upstream, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamView {
    #[schema(example = "ups_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: UpstreamId,
    network: String,
    /// Scheme, host and port; `/…` stands for what is not shown.
    #[schema(example = "https://mainnet.base.org")]
    url: String,
    /// Whether it is asked with secret headers.
    has_headers: bool,
    /// Calls a second that it is asked with at the most.
    calls_per_s: u32,
    /// The same for a day (UTC); it is spread over the day.
    calls_per_day: Option<u32>,
    /// Lower is asked first.
    priority: i64,
    created_at: Time,
    /// How it does, as this process sees it; none while its network is disabled.
    health: Option<UpstreamHealth>,
}

/// How an upstream does.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamHealth {
    state: UpstreamState,
    retry_at: Option<Time>,
    /// The head that it told last.
    head: Option<u64>,
    /// HTTP requests since this process began, and those that failed.
    requests: u64,
    errors: u64,
    /// Calls since 00:00 UTC.
    calls_today: u64,
    /// Calls a second that it takes at present, since it refused more; none: `calls_per_s`.
    #[schema(example = "2.5")]
    pace_per_s: Option<String>,
    /// What the chain plugin has learned of its limits, in the plugin's words.
    learned: Option<String>,
    last_error: Option<String>,
    last_error_at: Option<Time>,
}

impl From<UpstreamStatus> for UpstreamHealth {
    fn from(status: UpstreamStatus) -> Self {
        Self {
            state: status.state,
            retry_at: status.retry_at.map(Time),
            head: status.head,
            requests: status.requests,
            errors: status.errors,
            calls_today: status.calls_today,
            pace_per_s: status.pace_milli.map(|milli| format!("{}.{:03}", milli / 1_000, milli % 1_000)),
            learned: Some(status.notes).filter(|notes| !notes.is_empty()),
            last_error: status.last_error,
            last_error_at: status.last_error_at.map(Time),
        }
    }
}

fn view(row: Upstream, health: Option<UpstreamStatus>) -> UpstreamView {
    UpstreamView {
        id: row.id,
        url: row.shown,
        network: row.network,
        has_headers: row.has_headers,
        calls_per_s: row.terms.calls_per_s,
        calls_per_day: row.terms.calls_per_day,
        priority: row.priority,
        created_at: Time(row.created_at),
        health: health.map(Into::into),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUpstream {
    #[schema(example = "https://mainnet.base.org")]
    url: String,
    /// Secret headers, as `{"Authorization": "Bearer …"}`. Kept sealed, never shown.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Calls a second that the provider allows (the entries of a batch are calls of their own); 10 if not said.
    #[schema(minimum = 1, maximum = 100_000)]
    calls_per_s: Option<u32>,
    /// Calls a day (UTC) that it allows; as many as come if not said.
    #[schema(minimum = 1)]
    calls_per_day: Option<u32>,
    /// Lower is asked first; 0 if not said.
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i64>,
}

/// Checks that requests can be sent with this access.
pub(super) fn check(access: &Access) -> Result<(), Problem> {
    let terms = Terms { calls_per_s: 1, calls_per_day: None };
    UpstreamSpec::new(UpstreamId::of_body(""), access, terms, 0, Learned::default())
        .check()
        .map_err(|error| Problem::new(Kind::UrlRefused, sentence(&error)).field("url"))
}

/// Add an upstream
#[utoipa::path(post, path = "/v1/operator/networks/{name}/upstreams", tag = "operator: networks",
    params(("name" = String, Path)), request_body = NewUpstream, responses((status = 201, body = UpstreamView)),
    extensions(("x-problems" = json!([[Kind::UrlRefused]]))))]
async fn add(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<NewUpstream>,
) -> Result<Reply, Problem> {
    let network = name.name("network")?;
    let Json { value: new, once } = body;
    let access = Access { url: new.url, headers: new.headers };
    check(&access)?;
    let calls_per_s = new.calls_per_s.unwrap_or(CALLS_PER_S);
    if !(1..=CALLS_PER_S_MAX).contains(&calls_per_s) {
        let detail = format!("calls_per_s is from 1 to {CALLS_PER_S_MAX}.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("calls_per_s"));
    }
    if new.calls_per_day == Some(0) {
        return Err(Problem::new(Kind::FieldMalformed, "calls_per_day is at least 1.").field("calls_per_day"));
    }
    let terms = Terms { calls_per_s, calls_per_day: new.calls_per_day };
    let priority = new.priority.unwrap_or(0);
    if !(0..=PRIORITY_MAX).contains(&priority) {
        let detail = format!("priority is from 0 to {PRIORITY_MAX}.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("priority"));
    }
    let (now, vault) = (app.clock.now(), app.vault.clone());
    let add = idempotent(
        &app,
        Operator::OWNER.to_owned(),
        once,
        move |conn| {
            Box::pin(async move {
                networks::add_upstream(conn, &vault, &network, access, (terms, priority), now).await
            })
        },
        |row| Reply::created(&view(row, None)),
    );
    let reply = add.await;
    networks::reload(&app).await?;
    reply
}

/// List the upstreams of a network
#[utoipa::path(get, path = "/v1/operator/networks/{name}/upstreams", tag = "operator: networks",
    params(("name" = String, Path)), responses((status = 200, body = Listed<UpstreamView>)))]
async fn list(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
) -> Result<Answer<Listed<UpstreamView>>, Problem> {
    let name = name.name("network")?;
    let rows = networks::upstreams(&app, &name).await?;
    Ok(Answer(Listed::all(rows.into_iter().map(|(row, health)| view(row, health)).collect())))
}

/// Remove an upstream
#[utoipa::path(delete, path = "/v1/operator/upstreams/{id}", tag = "operator: networks",
    params(("id" = String, Path)), responses((status = 200, body = UpstreamView)))]
async fn remove(_: Operator, State(app): State<App>, id: PathParam) -> Result<Answer<UpstreamView>, Problem> {
    let id = id.id("upstream")?;
    Ok(Answer(view(networks::remove_upstream(&app, id).await?, None)))
}
