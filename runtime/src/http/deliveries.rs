//! Deliveries: the state of sending each event to each endpoint.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::deliveries::{Attempt, Delivery, DeliveryState, Of},
    domain::{
        event,
        id::{DeliveryId, EndpointId, EventId},
    },
    flow::{
        deliveries::{self, ResendError},
        resources,
    },
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathParam, Query, named},
        json::{Answer, NoBody},
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, Problem, sentence},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list)).routes(routes!(get)).routes(routes!(resend))
}

/// One event owed to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryView {
    #[schema(example = "dlv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: DeliveryId,
    event_id: EventId,
    event_type: event::Type,
    endpoint_id: EndpointId,
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
    let page = Page::<DeliveryId>::new(params.limit, params.cursor.as_deref())?;
    let of = match (params.endpoint_id.as_deref().map(named), params.event_id.as_deref().map(named)) {
        (None, None) => Of::All,
        (Some(id), None) => Of::Endpoint(id),
        (None, Some(id)) => Of::Event(id),
        (Some(_), Some(_)) => {
            let detail = "Give either endpoint_id or event_id.";
            return Err(Problem::new(Kind::QueryMalformed, detail).field("event_id"));
        }
    };
    let only = (of, params.state);
    let rows = resources::list::<Delivery>(&app, &merchant.tenant, only, page.span()).await?;
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
    let id = id.id("delivery")?;
    let (delivery, attempts) = deliveries::get(&app, &merchant.tenant, &id).await?;
    let attempt_log = attempts.into_iter().map(Into::into).collect();
    Ok(Answer(DeliveryWithAttempts { delivery: delivery.into(), attempt_log }))
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
    let id = id.id("delivery")?;
    let now = app.clock.now();
    let resend = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { deliveries::resend(conn, &merchant.tenant, &id, now).await }),
        |delivery| Reply::ok(&DeliveryView::from(delivery)),
    );
    let reply = resend.await;
    app.wake.deliver.notify_one();
    reply
}

impl From<ResendError> for Problem {
    fn from(error: ResendError) -> Self {
        let text = sentence(&error);
        match error {
            ResendError::Db(error) => error.into(),
            ResendError::Lookup(error) => error.into(),
            ResendError::Pending => Self::new(Kind::DeliveryPending, text),
            ResendError::NoEndpoint => Self::new(Kind::EndpointDeleted, text),
        }
    }
}
