//! Replay and shadow over HTTP: what another version would have done, or would do.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{hook_id, runs::UsedView};
use crate::{
    app::App,
    domain::{
        event,
        hook::{MatchOutcome, Outcome},
        id::{EventId, HookVersionId, TransferId},
    },
    flow::hooks::{
        manage::trials::{self, Shadow},
        matching::{DidMatch, Rematched},
        replay::{self, DidFulfil, Replayed},
    },
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent, remembered},
        input::{PathParam, named},
        json::{Answer, Json},
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
        time::Time,
    },
};

const LIMIT_DEFAULT: u32 = 25;
const LIMIT_MAX: u32 = 100;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(replay)).routes(routes!(shadow, tally))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Replay {
    /// The version to try.
    #[schema(example = "hkv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    version_id: String,
    /// How many of the newest events, from 1 to 100; 25 if not said.
    #[schema(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
}

/// How a version did, or would have done.
#[derive(Debug, Serialize, ToSchema)]
struct DidView {
    version_id: HookVersionId,
    outcome: Outcome,
    note: String,
    /// What it stored, sent and queued, in order.
    #[schema(value_type = Vec<Object>)]
    effects: Vec<serde_json::Value>,
    #[serde(flatten)]
    used: UsedView,
}

impl From<DidFulfil> for DidView {
    fn from(did: DidFulfil) -> Self {
        Self {
            version_id: did.version_id,
            outcome: did.outcome,
            note: did.note,
            effects: did.said,
            used: did.used.into(),
        }
    }
}

/// One event, then and now.
#[derive(Debug, Serialize, ToSchema)]
struct ReplayedView {
    event_id: EventId,
    event_type: event::Type,
    /// The same outcome and the same effects.
    same: bool,
    /// None: the hook was not run for it.
    then: Option<DidView>,
    now: DidView,
    /// What was done then and would not be done now.
    #[schema(value_type = Vec<Object>)]
    missing: Vec<serde_json::Value>,
    /// What would be done now and was not done then.
    #[schema(value_type = Vec<Object>)]
    added: Vec<serde_json::Value>,
    /// What was recorded then is not complete, so that a difference says little.
    cut: bool,
}

impl From<Replayed> for ReplayedView {
    fn from(Replayed { event_id, event_kind, compared }: Replayed) -> Self {
        Self {
            same: compared.same,
            event_id,
            event_type: event_kind,
            then: compared.then.map(Into::into),
            now: compared.now.into(),
            missing: compared.missing,
            added: compared.added,
            cut: compared.cut,
        }
    }
}

/// What a matcher said, or would have said.
#[derive(Debug, Serialize, ToSchema)]
struct SaidView {
    version_id: HookVersionId,
    outcome: MatchOutcome,
    note: String,
    /// What the transfer pays by it: objects of `invoice_id` and `amount`, in base units.
    #[schema(value_type = Vec<Object>)]
    parts: serde_json::Value,
    #[serde(flatten)]
    used: UsedView,
}

impl From<DidMatch> for SaidView {
    fn from(did: DidMatch) -> Self {
        Self {
            version_id: did.version_id,
            outcome: did.outcome,
            note: did.note,
            parts: serde_json::json!(did.said),
            used: did.used.into(),
        }
    }
}

/// One question to a matcher, then and now.
#[derive(Debug, Serialize, ToSchema)]
struct RematchedView {
    transfer_id: TransferId,
    /// The same answer and the same effects.
    same: bool,
    then: Option<SaidView>,
    now: SaidView,
    /// What was stored and queued then and would not be now.
    #[schema(value_type = Vec<Object>)]
    missing: Vec<serde_json::Value>,
    /// What would be stored and queued now and was not then.
    #[schema(value_type = Vec<Object>)]
    added: Vec<serde_json::Value>,
}

impl From<Rematched> for RematchedView {
    fn from(Rematched { transfer_id, compared }: Rematched) -> Self {
        Self {
            same: compared.same,
            transfer_id,
            then: compared.then.map(Into::into),
            now: compared.now.into(),
            missing: compared.missing,
            added: compared.added,
        }
    }
}

/// What a version would have done.
#[derive(Debug, Serialize, ToSchema)]
struct ReplayView {
    /// The newest event first.
    data: Vec<ReplayedView>,
    /// Questions to a matcher, the newest first.
    matches: Vec<RematchedView>,
    /// Of all of them.
    different: usize,
    /// Not all events were played: the time was over.
    stopped_early: bool,
}

impl From<replay::Replay> for ReplayView {
    fn from(replay::Replay { events, matches, stopped_early }: replay::Replay) -> Self {
        let data: Vec<ReplayedView> = events.into_iter().map(Into::into).collect();
        let matches: Vec<RematchedView> = matches.into_iter().map(Into::into).collect();
        let different = data.iter().filter(|one| !one.same).count();
        let different = different + matches.iter().filter(|one| !one.same).count();
        Self { data, matches, different, stopped_early }
    }
}

/// Replay
///
/// Plays the newest events (and questions to a matcher) to a version and shows what it would have done, beside what was really done. Nothing is
/// stored, sent or queued.
#[utoipa::path(post, path = "/v1/hooks/{id}/replay", tag = "hooks", params(("id" = String, Path)),
    request_body = Replay, responses((status = 200, body = ReplayView)),
    extensions(("x-problems" = json!([[Kind::HookNotReady]]))))]
async fn replay(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<Replay>,
) -> Result<Reply, Problem> {
    let id = hook_id(id)?;
    let Json { value: wanted, once } = body;
    let limit = wanted.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit: from 1 to {LIMIT_MAX}.");
        return Err(Problem::new(Kind::FieldMalformed, detail).field("limit"));
    }
    let work = async {
        let replayed = trials::replay(&app, &merchant.tenant, &id, &named(&wanted.version_id), limit).await?;
        Reply::ok(&ReplayView::from(replayed))
    };
    Box::pin(remembered(&app, merchant.owner(), once, work)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewShadow {
    /// The version to play runs to; null ends it.
    #[schema(example = "hkv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    version_id: Option<String>,
}

/// How the version in the shadow does.
#[derive(Debug, Serialize, ToSchema)]
struct ShadowView {
    /// None: there is none.
    version_id: Option<HookVersionId>,
    /// Calls that it was played.
    calls: i64,
    different: i64,
    /// The newest differences.
    newest: Vec<DifferenceView>,
}

/// Where the version in the shadow would have done otherwise.
#[derive(Debug, Serialize, ToSchema)]
struct DifferenceView {
    /// The run's; the question's (`mat_…`) of a matcher.
    run_id: String,
    /// Of the call.
    number: i64,
    at: Time,
    /// `then`, `now`, `missing` and `added`, as a replay shows them.
    #[schema(value_type = Object)]
    difference: serde_json::Value,
}

impl From<Shadow> for ShadowView {
    fn from(shadow: Shadow) -> Self {
        let (version_id, tally) = shadow.map_or_else(Default::default, |(id, tally)| (Some(id), tally));
        let newest = tally.newest.into_iter().map(|one| DifferenceView {
            run_id: one.run_id,
            number: one.number,
            at: Time(one.at),
            difference: one.difference,
        });
        Self { version_id, calls: tally.calls, different: tally.different, newest: newest.collect() }
    }
}

/// Set the version in the shadow
///
/// Every run is played to it as well, right after it has ended: nothing that it does has an effect, and what it
/// would have done otherwise is written down. Activating it ends its shadow.
#[utoipa::path(put, path = "/v1/hooks/{id}/shadow", tag = "hooks", params(("id" = String, Path)),
    request_body = NewShadow, responses((status = 200, body = ShadowView)),
    extensions(("x-problems" = json!([[Kind::Conflict, Kind::HookNotReady]]))))]
async fn shadow(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<NewShadow>,
) -> Result<Reply, Problem> {
    let (id, version_id) = (hook_id(id)?, body.value.version_id.as_deref().map(named));
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(async move { trials::set_shadow(conn, &merchant.tenant, &id, version_id).await })
        },
        |shadow| Reply::ok(&ShadowView::from(shadow)),
    )
    .await
}

/// Get how the version in the shadow does
#[utoipa::path(get, path = "/v1/hooks/{id}/shadow", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = ShadowView)))]
async fn tally(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<ShadowView>, Problem> {
    Ok(Answer(trials::shadow(&app, &merchant.tenant, &hook_id(id)?).await?.into()))
}
