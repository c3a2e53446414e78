//! Health and metrics, for machines that watch Kassa.

use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    flow::networks,
    http::{
        auth,
        json::Answer,
        networks::heard,
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(health)).routes(routes!(ready)).routes(routes!(metrics))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthAnswer)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    version: &'static str,
}

/// Is the process up?
#[utoipa::path(get, path = "/health", tag = "status", security(()), responses((status = 200, body = Health)))]
async fn health() -> Answer<Health> {
    Answer(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// The readiness of the server's parts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadyAnswer)]
struct Ready {
    #[schema(example = "ready")]
    status: &'static str,
    #[schema(example = "sqlite")]
    database: &'static str,
    /// Enabled networks.
    networks: usize,
    /// With `?verbose`: how long ago something was written last, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_ms_ago: Option<u64>,
    /// With `?verbose`: how each enabled network is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reading: Option<Vec<Reading>>,
}

/// State of a network: it is read, or not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NetworkReading)]
struct Reading {
    network: String,
    /// Time of the last good answer of a provider.
    heard_at: Option<Time>,
    /// Since when none does, if that is too long.
    stalled_since: Option<Time>,
    /// Time at which the last block was read.
    moved_at: Option<Time>,
    /// Blocks that are still to be read, when it was heard last.
    lag: Option<i64>,
    frozen: bool,
}

/// Can it serve?
///
/// 503 while the database does not answer or takes no writes; it says why. Send no requests until it is 200. A network
/// that is not read is no reason. `?verbose` tells how each network is, to an operator's key.
#[utoipa::path(get, path = "/ready", tag = "status", security((), ("operator_bearer" = []), ("operator_api_key" = [])),
    params(("verbose" = Option<bool>, Query)), responses((status = 200, body = Ready)),
    extensions(("x-problems" = json!([[Kind::NotReady]]))))]
async fn ready(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Answer<Ready>, Problem> {
    let not_ready = |why: String| Problem::new(Kind::NotReady, why).retry_after(1);
    let verbose = query.is_some_and(|query| query == "verbose" || query == "verbose=true");
    networks::list(&app).await.map_err(|error| {
        tracing::debug!(%error, "not ready");
        not_ready("The database does not answer.".to_owned())
    })?;
    let writes = app.db.writes();
    if let Some(trouble) = writes.trouble() {
        let for_s = writes.age().as_secs();
        return Err(not_ready(format!("The database has taken no writes for {for_s} s: {trouble}.")));
    }
    let mut ready = Ready {
        status: "ready",
        database: app.db.kind(),
        networks: app.networks.all().len(),
        written_ms_ago: None,
        reading: None,
    };
    if verbose {
        for_operators(&app, &headers).await?;
        ready.written_ms_ago = u64::try_from(writes.age().as_millis()).ok();
        ready.reading = Some(reading(&app).await?);
    }
    Ok(Answer(ready))
}

async fn reading(app: &App) -> Result<Vec<Reading>, Problem> {
    let readings = networks::enabled(app).await?.into_iter().map(|(network, cursor)| {
        let (heard_at, stalled_since) = heard(app, &network);
        Reading {
            network: network.name.clone(),
            heard_at,
            stalled_since,
            moved_at: cursor.as_ref().map(|cursor| Time(cursor.moved_at)),
            lag: cursor.as_ref().map(|cursor| cursor.head.saturating_sub(cursor.height).max(0)),
            frozen: cursor.is_some_and(|cursor| cursor.frozen.is_some()),
        }
    });
    Ok(readings.collect())
}

async fn for_operators(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let presented = auth::authenticate(app, headers).await?;
    if presented.key.tenant.is_some() {
        return Err(Problem::new(Kind::OperatorOnly, "This key belongs to a merchant."));
    }
    Ok(())
}

/// Figures for Prometheus
///
/// Needs an operator's key, as `Authorization: Bearer …`.
#[utoipa::path(get, path = "/metrics", tag = "status", security(("operator_bearer" = []), ("operator_api_key" = [])),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    for_operators(&app, &headers).await?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], crate::metrics::render()).into_response())
}
