//! Upstreams: the RPC providers of a network. Their URLs and headers carry keys, so neither is shown again.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Operator,
    idempotent::{Reply, idempotent},
    input::PathParam,
    json::{Answer, Json},
    networks::{missing, reload},
    page::Listed,
    problem::{Kind, Problem, sentence},
    time::Time,
};
use crate::{
    app::App,
    db::networks::{self, Upstream},
    domain::id::{self, Kind as IdKind},
    upstreams::{Access, UpstreamSpec, UpstreamState, UpstreamStatus},
};

const RATE_PER_S: u32 = 10;
const RATE_PER_S_MAX: u32 = 100_000;
const PRIORITY_MAX: i64 = 1000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(add, list)).routes(routes!(remove))
}

/// An upstream, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamView {
    #[schema(example = "ups_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: String,
    network: String,
    /// Scheme, host and port; `/…` stands for what is not shown.
    #[schema(example = "https://mainnet.base.org")]
    url: String,
    /// Whether it is asked with secret headers.
    has_headers: bool,
    rate_per_s: u32,
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
    requests: u64,
    errors: u64,
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
        rate_per_s: row.rate_per_s,
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
    /// Requests a second that the provider allows; 10 if not said.
    #[schema(minimum = 1, maximum = 100_000)]
    rate_per_s: Option<u32>,
    /// Lower is asked first; 0 if not said.
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i64>,
}

/// Whether requests can be sent so.
pub(super) fn check(access: &Access) -> Result<(), Problem> {
    UpstreamSpec::new(String::new(), access, 1, 0)
        .check()
        .map_err(|error| Problem::new(Kind::UrlRefused, sentence(&error)).field("url"))
}

/// Add an upstream
#[utoipa::path(post, path = "/v1/operator/networks/{name}/upstreams", tag = "operator: networks",
    params(("name" = String, Path)), request_body = NewUpstream, responses((status = 201, body = UpstreamView)))]
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
    let rate_per_s = new.rate_per_s.unwrap_or(RATE_PER_S);
    if !(1..=RATE_PER_S_MAX).contains(&rate_per_s) {
        let detail = format!("rate_per_s is from 1 to {RATE_PER_S_MAX}.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("rate_per_s"));
    }
    let priority = new.priority.unwrap_or(0);
    if !(0..=PRIORITY_MAX).contains(&priority) {
        let detail = format!("priority is from 0 to {PRIORITY_MAX}.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("priority"));
    }
    let created_at = app.clock.now();
    let id = id::new(IdKind::Upstream, created_at);
    let row = access.into_row(&app.vault, id, &network, (rate_per_s, priority), created_at);
    let row = row.map_err(Problem::internal)?;
    let reply = idempotent(&app, Operator::OWNER.to_owned(), once, move |conn| {
        Box::pin(async move {
            networks::get(conn, &row.network).await?.ok_or_else(missing)?;
            networks::insert_upstream(conn, row.clone()).await?;
            Reply::created(&view(row, None))
        })
    })
    .await;
    reload(&app).await?;
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
    let mut conn = app.db.read().await?;
    networks::get(&mut conn, &name).await?.ok_or_else(missing)?;
    let rows = networks::upstreams_of(&mut conn, &name).await?;
    let mut known = app.upstreams.status(&name);
    let views = rows.into_iter().map(|row| {
        let place = known.iter().position(|status| status.id == row.id);
        view(row, place.map(|place| known.swap_remove(place)))
    });
    Ok(Answer(Listed::all(views.collect())))
}

/// Remove an upstream
#[utoipa::path(delete, path = "/v1/operator/upstreams/{id}", tag = "operator: networks",
    params(("id" = String, Path)), responses((status = 200, body = UpstreamView)))]
async fn remove(_: Operator, State(app): State<App>, id: PathParam) -> Result<Answer<UpstreamView>, Problem> {
    let id = id.id(IdKind::Upstream, "upstream")?;
    let removed = app
        .db
        .write::<_, Problem, _>(move |conn| {
            Box::pin(async move {
                let all = networks::upstreams(conn).await?;
                let row =
                    all.into_iter().find(|row| row.id == id).ok_or_else(|| Problem::not_found("upstream"))?;
                networks::delete_upstream(conn, &id).await?;
                Ok(row)
            })
        })
        .await?;
    reload(&app).await?;
    Ok(Answer(view(removed, None)))
}
