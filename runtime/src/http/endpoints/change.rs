//! Changing and deleting endpoints.

use axum::extract::State;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{EndpointView, check_events, check_url, form, missing, too_many, view_of};
use crate::{
    app::App,
    db::{
        deliveries::leaving,
        endpoints::{self, Change, EndpointState},
    },
    domain::{event, id::Kind as IdKind},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::{Json, NoBody},
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
    },
};

/// Maximum number of deliveries given up in the request itself; the rest follows.
const GIVEN_UP_AT_ONCE: i64 = 500;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(update)).routes(routes!(delete))
}

/// What is to be different. What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointChange {
    /// Public, over https.
    #[schema(example = "https://shop.example/webhooks/kassa", max_length = 2048)]
    url: Option<String>,
    /// `standard`, or the id or the name of a hook of yours whose version in use has the role `form`.
    #[schema(example = "standard", max_length = 100)]
    form: Option<String>,
    /// The types of events that it is to get; null: all.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<event::Type>>)]
    events: Option<Option<Vec<event::Type>>>,
    state: Option<EndpointState>,
}

/// Reads a field that may be null, so that null differs from a missing field.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Change an endpoint
///
/// What waits for it goes to the new URL, in the new form; what is being sent at this moment still goes to the old one.
/// Another choice of events counts for what happens from now on.
#[utoipa::path(patch, path = "/v1/endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    request_body = EndpointChange, responses((status = 200, body = EndpointView)),
    extensions(("x-problems" = json!([[Kind::UrlRefused, Kind::FormRefused]]))))]
async fn update(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<EndpointChange>,
) -> Result<Reply, Problem> {
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    let Json { value: EndpointChange { url, form, events, state }, once } = body;
    url.as_deref().map_or(Ok(()), |url| check_url(&app, url))?;
    check_events(events.as_ref().and_then(Option::as_deref))?;
    let reply = idempotent(&app, merchant.owner(), once, move |conn| {
        Box::pin(async move {
            let tenant = &merchant.tenant;
            let form_hook_id = form::chosen(conn, &merchant, form.as_deref()).await?;
            if !endpoints::change(conn, tenant, &id, Change { url, form_hook_id, events }).await? {
                return Err(missing());
            }
            match state {
                Some(EndpointState::Active) if !endpoints::enable(conn, tenant, &id).await? => {
                    return Err(too_many());
                }
                Some(EndpointState::Disabled) => {
                    endpoints::disable(conn, tenant, &id, "by the merchant".to_owned()).await?;
                }
                Some(EndpointState::Active) | None => {}
            }
            Reply::ok(&view_of(conn, &merchant, &id).await?)
        })
    })
    .await;
    app.wake.deliver.notify_one();
    reply
}

/// Delete an endpoint
///
/// What waits for it is given up, and listed so; what is being sent at this moment ends by itself. What was delivered
/// stays listed under `GET /v1/deliveries`.
#[utoipa::path(delete, path = "/v1/endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = EndpointView)))]
async fn delete(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    let now = app.clock.now();
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let view = view_of(conn, &merchant, &id).await?;
            endpoints::delete(conn, &merchant.tenant, &id, now).await?;
            leaving::give_up(conn, &id, GIVEN_UP_AT_ONCE, now).await?;
            Reply::ok(&view)
        })
    })
    .await;
    app.wake.deliver.notify_one();
    reply
}
