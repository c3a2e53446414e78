//! Deliveries: the state of sending each event to each endpoint.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::{
        Conn,
        deliveries::{self, Attempt, Delivery, DeliveryState, Of, Resend},
    },
    domain::{event, id::Kind as IdKind},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathParam, Query},
        json::{Answer, NoBody},
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, Problem},
        time::Time,
    },
};

/// Maximum number of a delivery's attempts shown, the last ones.
const ATTEMPTS_SHOWN: i64 = 100;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list)).routes(routes!(get)).routes(routes!(resend))
}

/// One event owed to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryView {
    #[schema(example = "dlv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: String,
    event_id: String,
    event_type: event::Type,
    endpoint_id: String,
    state: DeliveryState,
    /// How often it was tried.
    attempts: i64,
    /// When the next attempt is due.
    next_attempt_at: Option<Time>,
    /// While pending: an earlier event of the same invoice goes first.
    waits_for_earlier: bool,
    created_at: Time,
    /// When it was delivered or given up.
    done_at: Option<Time>,
    /// Why it was given up, if not for its attempts.
    why: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            event_type: delivery.event_kind,
            endpoint_id: delivery.endpoint_id,
            state: delivery.state,
            attempts: delivery.attempts,
            next_attempt_at: delivery.due_at.map(Time),
            waits_for_earlier: delivery.waits,
            created_at: Time(delivery.created_at),
            done_at: delivery.done_at.map(Time),
            why: delivery.why,
        }
    }
}

/// One POST to the endpoint.
#[derive(Debug, Serialize, ToSchema)]
struct AttemptView {
    number: i64,
    at: Time,
    duration_ms: i64,
    /// The HTTP status, if one came.
    status: Option<i64>,
    /// Why it does not count, if it does not.
    error: Option<String>,
    /// The first bytes of the answer.
    response: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: Time(attempt.at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error,
            response: attempt.response,
        }
    }
}

/// A delivery and its attempts, the last one first, 100 at most.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryWithAttempts {
    #[serde(flatten)]
    delivery: DeliveryView,
    attempt_log: Vec<AttemptView>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveryParams {
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those to this endpoint.
    endpoint_id: Option<String>,
    /// Only those of this event. Not together with `endpoint_id`.
    event_id: Option<String>,
    /// Only those that stand so.
    state: Option<DeliveryState>,
}

/// List deliveries
#[utoipa::path(get, path = "/v1/deliveries", tag = "webhooks", params(DeliveryParams),
    responses((status = 200, body = Listed<DeliveryView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<DeliveryParams>,
) -> Result<Answer<Listed<DeliveryView>>, Problem> {
    let page = Page::new(params.limit, params.cursor.as_deref(), IdKind::Delivery)?;
    let of = match (params.endpoint_id, params.event_id) {
        (None, None) => Of::All,
        (Some(id), None) => Of::Endpoint(id),
        (None, Some(id)) => Of::Event(id),
        (Some(_), Some(_)) => {
            let detail = "Give either endpoint_id or event_id.";
            return Err(Problem::new(Kind::QueryMalformed, detail).field("event_id"));
        }
    };
    let mut conn = app.db.read().await?;
    let (before, rows) = (page.before.clone(), page.rows);
    let rows = deliveries::list(&mut conn, &merchant.tenant, of, params.state, before, rows).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Get a delivery and its attempts
#[utoipa::path(get, path = "/v1/deliveries/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryWithAttempts)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<DeliveryWithAttempts>, Problem> {
    let id = id.id_text(IdKind::Delivery, "delivery")?;
    let mut conn = app.db.read().await?;
    let delivery = view_of(&mut conn, &merchant, &id).await?;
    let rows = deliveries::attempts(&mut conn, &merchant.tenant, &id, ATTEMPTS_SHOWN).await?;
    Ok(Answer(DeliveryWithAttempts { delivery, attempt_log: rows.into_iter().map(Into::into).collect() }))
}

async fn view_of(conn: &mut Conn, owner: &Merchant, id: &str) -> Result<DeliveryView, Problem> {
    let found = deliveries::get(conn, &owner.tenant, id).await?;
    Ok(found.ok_or_else(|| Problem::not_found("delivery"))?.into())
}

/// Send again
///
/// A new round of attempts, now, with the same `webhook-id`. Refused while the delivery is still pending.
#[utoipa::path(post, path = "/v1/deliveries/{id}/resend", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView)),
    extensions(("x-problems" = json!([[Kind::DeliveryPending, Kind::EndpointDeleted]]))))]
async fn resend(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id_text(IdKind::Delivery, "delivery")?;
    let now = app.clock.now();
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            match deliveries::resend(conn, &merchant.tenant, &id, now).await? {
                Resend::Queued => Reply::ok(&view_of(conn, &merchant, &id).await?),
                Resend::Pending => {
                    Err(Problem::new(Kind::DeliveryPending, "It is sent by itself when it is due."))
                }
                Resend::NoEndpoint => {
                    let detail = "Make a new endpoint, and read the event itself: GET /v1/events/{id}.";
                    Err(Problem::new(Kind::EndpointDeleted, detail))
                }
                Resend::NotFound => Err(Problem::not_found("delivery")),
            }
        })
    })
    .await;
    app.wake.deliver.notify_one();
    reply
}
