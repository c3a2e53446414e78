//! Endpoints: the URLs that a merchant's events are sent to.

mod change;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    db::{
        deliveries::Range,
        endpoints::{Endpoint, EndpointState},
    },
    domain::{
        event,
        id::{DeliveryId, EndpointId, EventId},
    },
    flow::{
        endpoints::{self, EndpointError, Queued, Resent, STANDARD, WithSecret},
        resources,
    },
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathParam, Query},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::{Listed, PageParams},
        problem::{Kind, Problem, sentence},
        time::Time,
    },
    outbound::{Reach, parse_url},
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(rotate_secret))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(test))
        .routes(routes!(resend))
        .merge(change::routes())
}

/// A URL that events are sent to.
#[derive(Debug, Serialize, ToSchema)]
struct EndpointView {
    #[schema(example = "ep_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: EndpointId,
    url: String,
    /// What its deliveries look like: `standard`, or the id of the hook that renders them.
    #[schema(example = "standard")]
    form: String,
    /// The types of events that it gets; none: all.
    events: Option<Vec<String>>,
    state: EndpointState,
    disabled_why: Option<String>,
    /// Until then the secret before the last rotation signs too.
    old_secret_until: Option<Time>,
    /// Failed attempts in a row.
    failures: i64,
    /// After many failures its deliveries wait until then; none is dropped.
    paused_until: Option<Time>,
    created_at: Time,
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url,
            form: endpoint.form_hook_id.map_or_else(|| STANDARD.to_owned(), |hook_id| hook_id.to_string()),
            events: endpoint.events,
            state: endpoint.state,
            disabled_why: endpoint.disabled_why,
            old_secret_until: endpoint.old_until.map(Time),
            failures: endpoint.failures,
            paused_until: endpoint.paused_until.map(Time),
            created_at: Time(endpoint.created_at),
        }
    }
}

/// An endpoint and its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
struct EndpointWithSecret {
    #[serde(flatten)]
    endpoint: EndpointView,
    /// Verify signatures with it (standardwebhooks.com).
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: String,
}

impl From<WithSecret> for EndpointWithSecret {
    fn from(WithSecret { endpoint, secret }: WithSecret) -> Self {
        Self { endpoint: endpoint.into(), secret }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEndpointBody {
    /// Public, over https.
    #[schema(example = "https://shop.example/webhooks/kassa", max_length = 2048)]
    url: String,
    /// What its deliveries look like: `standard`, or the id or the name of a hook of yours whose version in use has the
    /// role `form`; `standard` if it is left out.
    #[schema(example = "standard", max_length = 100)]
    form: Option<String>,
    /// The types of events that it is to get; all if it is left out.
    events: Option<Vec<event::Type>>,
}

/// The answer that shows an endpoint.
fn shown(endpoint: Endpoint) -> Result<Reply, Problem> {
    Reply::ok(&EndpointView::from(endpoint))
}

fn check_url(app: &App, url: &str) -> Result<(), Problem> {
    let reach = if app.config.webhooks.allow_private { Reach::Any } else { Reach::Public };
    parse_url(url, reach).map_err(|error| Problem::new(Kind::UrlRefused, sentence(&error)).field("url"))?;
    Ok(())
}

fn check_events(events: Option<&[event::Type]>) -> Result<(), Problem> {
    if events.is_some_and(<[_]>::is_empty) {
        let detail = "events: name at least one type, or leave it out to get all.";
        return Err(Problem::new(Kind::FieldMalformed, detail).field("events"));
    }
    Ok(())
}

impl From<EndpointError> for Problem {
    fn from(error: EndpointError) -> Self {
        let text = sentence(&error);
        match error {
            EndpointError::Db(error) => error.into(),
            EndpointError::Lookup(error) => error.into(),
            EndpointError::Vault(error) => Self::internal(error),
            EndpointError::Secret(error) => Self::internal(error),
            EndpointError::TooMany => Self::new(Kind::EndpointLimit, text),
            EndpointError::NoHook | EndpointError::NoForm(_) => {
                Self::new(Kind::FormRefused, text).field("form")
            }
            EndpointError::Disabled => Self::new(Kind::EndpointDisabled, text),
        }
    }
}

/// Create an endpoint
///
/// Its secret is in this answer only. What happens from now on is sent to it, signed as standardwebhooks.com says, or as
/// the hook renders it that is its `form`.
#[utoipa::path(post, path = "/v1/endpoints", tag = "webhooks", request_body = NewEndpointBody,
    responses((status = 201, body = EndpointWithSecret)),
    extensions(("x-problems" = json!([[Kind::UrlRefused, Kind::FormRefused, Kind::EndpointLimit]]))))]
async fn create(
    merchant: Merchant,
    State(app): State<App>,
    body: Json<NewEndpointBody>,
) -> Result<Reply, Problem> {
    let Json { value: NewEndpointBody { url, form, events }, once } = body;
    check_url(&app, &url)?;
    check_events(events.as_deref())?;
    let new = endpoints::NewEndpoint { url, form, events };
    let (now, vault) = (app.clock.now(), app.vault.clone());
    idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| {
            Box::pin(async move { endpoints::create(conn, &vault, &merchant.tenant, new, now).await })
        },
        |made| Ok(Reply::created(&EndpointWithSecret::from(made))?.secret()),
    )
    .await
}

/// List endpoints
#[utoipa::path(get, path = "/v1/endpoints", tag = "webhooks", params(PageParams),
    responses((status = 200, body = Listed<EndpointView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<PageParams>,
) -> Result<Answer<Listed<EndpointView>>, Problem> {
    let page = params.page::<EndpointId>()?;
    let rows = resources::list::<Endpoint>(&app, &merchant.tenant, (), page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Get an endpoint
#[utoipa::path(get, path = "/v1/endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = EndpointView)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<EndpointView>, Problem> {
    let id = id.id("endpoint")?;
    Ok(Answer(resources::get::<Endpoint>(&app, &merchant.tenant, &id).await?.into()))
}

/// Rotate the secret
///
/// The new secret is in this answer only. For 24 hours both secrets sign, so that receivers can change over
/// without losing an event.
#[utoipa::path(post, path = "/v1/endpoints/{id}/rotate_secret", tag = "webhooks",
    params(("id" = String, Path)), responses((status = 200, body = EndpointWithSecret)))]
async fn rotate_secret(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("endpoint")?;
    let (now, vault) = (app.clock.now(), app.vault.clone());
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(async move { endpoints::rotate_secret(conn, &vault, &merchant.tenant, &id, now).await })
        },
        |rotated| Ok(Reply::ok(&EndpointWithSecret::from(rotated))?.secret()),
    )
    .await
}

/// Disable an endpoint
///
/// What is due to it waits; nothing new is queued for it.
#[utoipa::path(post, path = "/v1/endpoints/{id}/disable", tag = "webhooks",
    params(("id" = String, Path)), responses((status = 200, body = EndpointView)))]
async fn disable(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("endpoint")?;
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { endpoints::disable(conn, &merchant.tenant, &id).await }),
        shown,
    )
    .await
}

/// Enable an endpoint
///
/// What waited for it is sent. A pause after failures ends too.
#[utoipa::path(post, path = "/v1/endpoints/{id}/enable", tag = "webhooks",
    params(("id" = String, Path)), responses((status = 200, body = EndpointView)),
    extensions(("x-problems" = json!([[Kind::EndpointLimit]]))))]
async fn enable(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("endpoint")?;
    let enable = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { endpoints::enable(conn, &merchant.tenant, &id).await }),
        shown,
    );
    let reply = enable.await;
    app.wake.deliver.notify_one();
    reply
}

/// A delivery that was queued.
#[derive(Debug, Serialize, ToSchema)]
struct QueuedDelivery {
    event_id: EventId,
    delivery_id: DeliveryId,
}

impl From<Queued> for QueuedDelivery {
    fn from(Queued { event_id, delivery_id }: Queued) -> Self {
        Self { event_id, delivery_id }
    }
}

/// Send a test event
///
/// An event of the type `endpoint.test`, to this endpoint alone, whatever types it gets otherwise.
#[utoipa::path(post, path = "/v1/endpoints/{id}/test", tag = "webhooks",
    params(("id" = String, Path)), responses((status = 201, body = QueuedDelivery)),
    extensions(("x-problems" = json!([[Kind::EndpointDisabled]]))))]
async fn test(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let id = id.id("endpoint")?;
    let now = app.clock.now();
    let test = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { endpoints::test(conn, &merchant.tenant, id, now).await }),
        |queued| Reply::created(&QueuedDelivery::from(queued)),
    );
    let reply = test.await;
    app.wake.deliver.notify_one();
    reply
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResendRange {
    /// Deliveries made at or after this time …
    from: Time,
    /// … and before this one.
    to: Time,
    /// Those that were delivered too, not only those that were given up.
    #[serde(default)]
    delivered_too: bool,
    /// `next_after` of the answer before, to go on.
    after: Option<String>,
}

/// What was queued.
#[derive(Debug, Serialize, ToSchema)]
struct ResentRange {
    queued: usize,
    /// None: that was all. Otherwise give it as `after` to go on.
    next_after: Option<DeliveryId>,
}

impl From<Resent> for ResentRange {
    fn from(Resent { queued, last }: Resent) -> Self {
        Self { queued, next_after: last }
    }
}

/// Send again what was sent in a range of time
///
/// The oldest first, at most 1000 at a time.
#[utoipa::path(post, path = "/v1/endpoints/{id}/resend", tag = "webhooks", params(("id" = String, Path)),
    request_body = ResendRange, responses((status = 200, body = ResentRange)))]
async fn resend(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<ResendRange>,
) -> Result<Reply, Problem> {
    let endpoint_id: EndpointId = id.id("endpoint")?;
    let Json { value, once } = body;
    if value.from >= value.to {
        return Err(Problem::new(Kind::FieldMalformed, "to: it is not after `from`.").field("to"));
    }
    let after = value.after.as_deref().map(str::parse).transpose().map_err(|_| {
        let detail = "after: take next_after of the answer before, unchanged.";
        Problem::new(Kind::CursorMalformed, detail).field("after")
    })?;
    let range =
        Range { endpoint_id, from: value.from.0, to: value.to.0, delivered_too: value.delivered_too, after };
    let now = app.clock.now();
    let resend = idempotent(
        &app,
        merchant.owner(),
        once,
        move |conn| Box::pin(async move { endpoints::resend(conn, &merchant.tenant, range, now).await }),
        |resent| Reply::ok(&ResentRange::from(resent)),
    );
    let reply = resend.await;
    app.wake.deliver.notify_one();
    reply
}
