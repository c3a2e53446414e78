//! Whether Kassa is well, for machines that watch it.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth,
    json::Answer,
    problem::{Kind, Problem},
};
use crate::{
    app::App,
    db::{api_keys::Mode, networks},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(health)).routes(routes!(ready)).routes(routes!(metrics))
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

/// What stands ready.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReadyAnswer)]
struct Ready {
    #[schema(example = "ready")]
    status: &'static str,
    #[schema(example = "sqlite")]
    database: &'static str,
    /// Enabled networks.
    networks: usize,
}

/// Can it serve?
///
/// 503 while the database does not answer. Send no requests until it is 200.
#[utoipa::path(get, path = "/ready", tag = "status", security(()), responses((status = 200, body = Ready)))]
async fn ready(State(app): State<App>) -> Result<Answer<Ready>, Problem> {
    let asked = async { networks::list(&mut app.db.read().await?).await };
    asked.await.map_err(|error| {
        tracing::error!(%error, "not ready");
        Problem::new(Kind::NotReady, "The database does not answer.").retry_after(1)
    })?;
    Ok(Answer(Ready { status: "ready", database: app.db.kind(), networks: app.networks.all().len() }))
}

/// Figures for Prometheus
///
/// Needs an operator's key, as `Authorization: Bearer …`.
#[utoipa::path(get, path = "/metrics", tag = "status", security(("bearer" = []), ("api_key" = [])),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let presented = auth::authenticate(&app, &headers).await?;
    if presented.key.mode != Mode::Operator {
        return Err(Problem::new(Kind::OperatorOnly, "This key belongs to a merchant."));
    }
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], crate::metrics::render()).into_response())
}
