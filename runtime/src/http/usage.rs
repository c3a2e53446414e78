//! A merchant's use of this server's disk.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    app::App,
    db::disk::{DiskLimit, DiskUse, Full},
    flow::merchants,
    http::{
        auth::Merchant,
        json::Answer,
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(get))
}

/// A merchant's rules for payments.
#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    /// By the hooks of both modes together.
    hooks: HooksUsage,
}

#[derive(Debug, Serialize, ToSchema)]
struct HooksUsage {
    /// Bytes, by what takes them.
    #[serde(flatten)]
    taken: DiskUse,
    /// Bytes in all.
    total: i64,
    /// Bytes that they may take, of which runs count for half at the most; none: as many as there are.
    limit: Option<i64>,
}

/// Get what you take
///
/// Bytes on disk, by what takes them, and how many the operator allows (`hooks.disk_mib_per_merchant`). To make room
/// delete versions that are not in use, stored values, or hooks. Runs take half of it at the most: beyond that calls are
/// kept without logs and recordings, and all of them go when they are old.
#[utoipa::path(get, path = "/v1/usage", tag = "hooks", responses((status = 200, body = Usage)))]
async fn get(merchant: Merchant, State(app): State<App>) -> Result<Answer<Usage>, Problem> {
    let taken = merchants::disk_use(&app, &merchant.tenant.merchant).await?;
    let mib = app.config.hooks.disk_mib_per_merchant;
    let limit = (mib > 0).then(|| DiskLimit::of_mib(mib).0);
    Ok(Answer(Usage { hooks: HooksUsage { total: taken.total(), taken, limit } }))
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        let Full { taken, limit } = full;
        let (counted, DiskLimit(limit)) = (limit.counted(taken), limit);
        let mib = |bytes: i64| format!("{}.{}", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20);
        let detail = format!(
            "It would be {} MiB of {}: components {}, compiled code {}, storage {}, runs {}. Delete versions that are \
             not in use (DELETE /v1/hooks/{{id}}/versions/{{version_id}}), stored values, or hooks; GET /v1/usage shows \
             what is left.",
            mib(counted),
            limit >> 20,
            mib(taken.components),
            mib(taken.compiled_code),
            mib(taken.storage),
            mib(taken.runs),
        );
        Self::new(Kind::DiskLimit, detail).with("would_take", json!(taken)).with("limit", limit)
    }
}
