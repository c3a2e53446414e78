//! Retention: the kinds of rows that are deleted when they are old.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    db::retention::{COUNTED, Kind, Old},
    flow::retention::{kept_days, old},
    http::{
        auth::Operator,
        json::Answer,
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::Problem,
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list))
}

/// A kind of rows that is deleted when it is old.
#[derive(Debug, Serialize, ToSchema)]
struct RetentionView {
    kind: Kind,
    /// None: for ever.
    kept_days: Option<u32>,
    /// Number of rows that would be deleted now, counted up to 100000.
    rows: i64,
    /// There are more than that.
    more: bool,
    /// Time at which the oldest of them was made.
    oldest_at: Option<Time>,
}

/// List what is old
///
/// How long each kind is kept (`[retention]` in the configuration), and what the next pass would delete. A pass begins a
/// minute after a start, and then every hour.
#[utoipa::path(get, path = "/v1/operator/retention", tag = "operator", responses((status = 200, body = Listed<RetentionView>)))]
async fn list(_: Operator, State(app): State<App>) -> Result<Answer<Listed<RetentionView>>, Problem> {
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        let Old { rows, oldest } = old(&app, kind).await?;
        let (kept_days, more) = (kept_days(&app.config.retention, kind), rows >= COUNTED);
        kinds.push(RetentionView { kind, kept_days, rows, more, oldest_at: oldest.map(Time) });
    }
    Ok(Answer(Listed::all(kinds)))
}
