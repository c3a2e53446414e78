//! Changing and deleting endpoints.

use axum::extract::State;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{EndpointView, check_events, check_url, shown};
use crate::{
    app::App,
    db::endpoints::EndpointState,
    domain::event,
    flow::endpoints,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::{Json, NoBody},
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
    },
};

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
    let id = id.id("endpoint")?;
    let Json { value: EndpointChange { url, form, events, state }, once } = body;
    url.as_deref().map_or(Ok(()), |url| check_url(&app, url))?;
    check_events(events.as_ref().and_then(Option::as_deref))?;
    let change = endpoints::EndpointChange { url, form, events, state };
    let update = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| Box::pin(async move { endpoints::change(conn, &merchant.tenant, &id, change).await }),
        shown,
    );
    let reply = update.await;
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
    let id = id.id("endpoint")?;
    let now = app.clock.now();
    let delete = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { endpoints::delete(conn, &merchant.tenant, &id, now).await }),
        shown,
    );
    let reply = delete.await;
    app.wake.deliver.notify_one();
    reply
}
