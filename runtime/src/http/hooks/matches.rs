//! Questions to matchers: which invoices were offered for a transfer, what the hook said, and what it used.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{hook_id, runs::UsedView};
use crate::{
    app::App,
    db::hooks::matches::Match,
    domain::{
        hook::MatchOutcome,
        id::{HookMatchId, HookVersionId, TransferId},
        verbatim::Verbatim,
    },
    flow::hooks::manage::runs,
    http::{
        auth::Merchant,
        input::{PathParam, Query},
        json::Answer,
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::Problem,
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list))
}

/// A question to a matcher, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
struct MatchView {
    #[schema(example = "mat_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: HookMatchId,
    transfer_id: TransferId,
    at: Time,
    /// The version that was asked.
    version_id: HookVersionId,
    outcome: MatchOutcome,
    /// Why: what the hook said, or what was wrong with it.
    note: String,
    /// What the transfer pays by it: objects of `invoice_id` and `amount`, in base units.
    #[schema(value_type = Vec<Object>)]
    parts: serde_json::Value,
    /// What it was asked: the transfer and the `offers`, as they were then. Amounts are in base units. Null of all but
    /// the hook's newest thousand.
    #[schema(value_type = Option<Object>)]
    question: Verbatim,
    #[serde(flatten)]
    used: UsedView,
    /// What it wrote into its log: objects of `level` and `text`.
    #[schema(value_type = Vec<Object>)]
    log: Vec<serde_json::Value>,
}

impl From<Match> for MatchView {
    fn from(one: Match) -> Self {
        Self {
            id: one.id,
            transfer_id: one.transfer_id,
            at: Time(one.at),
            version_id: one.version_id,
            outcome: one.outcome,
            note: one.note,
            parts: serde_json::json!(one.parts),
            question: one.question,
            used: one.used.into(),
            log: one.log,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MatchParams {
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List what a matcher was asked
///
/// The newest first: each with what it was offered, what it said and used.
#[utoipa::path(get, path = "/v1/hooks/{id}/matches", tag = "hooks", params(("id" = String, Path), MatchParams),
    responses((status = 200, body = Listed<MatchView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    Query(params): Query<MatchParams>,
) -> Result<Answer<Listed<MatchView>>, Problem> {
    let page = Page::<HookMatchId>::new(params.limit, params.cursor.as_deref())?;
    let rows = runs::matches(&app, &merchant.tenant, &hook_id(id)?, page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}
