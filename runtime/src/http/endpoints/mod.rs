//! Endpoints: the URLs that a merchant's events are sent to.

mod change;
mod form;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::form::STANDARD;
use crate::{
    app::App,
    db::{
        Conn, deliveries,
        endpoints::{self, Endpoint, EndpointState, NewEndpoint, PER_MERCHANT_MAX},
    },
    domain::{
        Millis,
        event::{self, Data, NewEvent, data::TestEvent},
        id::{self, Kind as IdKind},
        signature::Secret,
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

/// Maximum number of deliveries that one request may send again.
const RESENT_MAX: i64 = 1000;

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
    id: String,
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
            form: endpoint.form_hook_id.unwrap_or_else(|| STANDARD.to_owned()),
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

async fn view_of(conn: &mut Conn, owner: &Merchant, id: &str) -> Result<EndpointView, Problem> {
    let found = endpoints::get(conn, &owner.tenant, id).await?;
    Ok(found.ok_or_else(missing)?.into())
}

fn too_many() -> Problem {
    Problem::new(Kind::EndpointLimit, format!("At most {PER_MERCHANT_MAX} are active: disable one of them."))
}

fn missing() -> Problem {
    Problem::not_found("endpoint")
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

/// A new secret, encrypted for its row and in clear for the answer.
fn new_secret(app: &App, endpoint_id: &str) -> Result<(Vec<u8>, String), Problem> {
    let text = Secret::generate().map_err(Problem::internal)?.to_text();
    let sealed = app.vault.seal(endpoint_id, text.as_bytes()).map_err(Problem::internal)?;
    Ok((sealed, text.to_string()))
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
    let Json { value: new, once } = body;
    check_url(&app, &new.url)?;
    check_events(new.events.as_deref())?;
    let created_at = app.clock.now();
    let id = id::new(IdKind::Endpoint, created_at);
    let (secret, shown) = new_secret(&app, &id)?;
    let row = NewEndpoint {
        id: id.clone(),
        tenant: merchant.tenant.clone(),
        url: new.url,
        form_hook_id: None,
        events: new.events,
        secret,
        created_at,
    };
    idempotent(&app, merchant.owner(), once, move |conn| {
        Box::pin(async move {
            let mut row = row;
            row.form_hook_id = form::chosen(conn, &merchant, new.form.as_deref()).await?.flatten();
            if !endpoints::insert(conn, row).await? {
                return Err(too_many());
            }
            let endpoint = view_of(conn, &merchant, &id).await?;
            Ok(Reply::created(&EndpointWithSecret { endpoint, secret: shown })?.secret())
        })
    })
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
    let page = params.page(IdKind::Endpoint)?;
    let mut conn = app.db.read().await?;
    let rows = endpoints::list(&mut conn, &merchant.tenant, page.before.clone(), page.rows).await?;
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
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    Ok(Answer(view_of(&mut app.db.read().await?, &merchant, &id).await?))
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
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    let (sealed, shown) = new_secret(&app, &id)?;
    let now = app.clock.now();
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            if !endpoints::rotate(conn, &merchant.tenant, &id, sealed, now).await? {
                return Err(missing());
            }
            let endpoint = view_of(conn, &merchant, &id).await?;
            Ok(Reply::ok(&EndpointWithSecret { endpoint, secret: shown })?.secret())
        })
    })
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
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let why = "by the merchant".to_owned();
            if !endpoints::disable(conn, &merchant.tenant, &id, why).await? {
                return Err(missing());
            }
            Reply::ok(&view_of(conn, &merchant, &id).await?)
        })
    })
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
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let enabled = endpoints::enable(conn, &merchant.tenant, &id).await?;
            let view = view_of(conn, &merchant, &id).await?;
            if enabled { Reply::ok(&view) } else { Err(too_many()) }
        })
    })
    .await;
    app.wake.deliver.notify_one();
    reply
}

/// A delivery that was queued.
#[derive(Debug, Serialize, ToSchema)]
struct QueuedDelivery {
    event_id: String,
    delivery_id: String,
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
    let id = id.id_text(IdKind::Endpoint, "endpoint")?;
    let now = app.clock.now();
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move { Reply::created(&queue_test(conn, &merchant, id, now).await?) })
    })
    .await;
    app.wake.deliver.notify_one();
    reply
}

async fn queue_test(
    conn: &mut Conn,
    merchant: &Merchant,
    endpoint_id: String,
    now: Millis,
) -> Result<QueuedDelivery, Problem> {
    view_of(conn, merchant, &endpoint_id).await?;
    let active = endpoints::subscribers(conn, std::iter::once(merchant.tenant.merchant.clone())).await?;
    if !active.iter().any(|subscriber| subscriber.id == endpoint_id) {
        return Err(Problem::new(Kind::EndpointDisabled, "Enable it first."));
    }
    let event_id = id::new(IdKind::Event, now);
    let data = Data::EndpointTest(TestEvent { endpoint_id: endpoint_id.clone() }.into());
    let event = NewEvent::new(event_id.clone(), &merchant.tenant, &data, now);
    let delivery_id = deliveries::send_to(conn, event, endpoint_id, now).await?;
    Ok(QueuedDelivery { event_id, delivery_id })
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
    next_after: Option<String>,
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
    let endpoint_id = id.id_text(IdKind::Endpoint, "endpoint")?;
    let Json { value, once } = body;
    if value.from >= value.to {
        return Err(Problem::new(Kind::FieldMalformed, "to: it is not after `from`.").field("to"));
    }
    if value.after.as_ref().is_some_and(|after| !IdKind::Delivery.accepts(after)) {
        let detail = "after: take next_after of the answer before, unchanged.";
        return Err(Problem::new(Kind::CursorMalformed, detail).field("after"));
    }
    let range = deliveries::Range {
        endpoint_id: endpoint_id.clone(),
        from: value.from.0,
        to: value.to.0,
        delivered_too: value.delivered_too,
        after: value.after,
    };
    let now = app.clock.now();
    let reply = idempotent(&app, merchant.owner(), once, move |conn| {
        Box::pin(async move {
            view_of(conn, &merchant, &endpoint_id).await?;
            let mut ids = deliveries::resend_range(conn, &merchant.tenant, range, RESENT_MAX, now).await?;
            let queued = ids.len();
            let more = i64::try_from(queued).unwrap_or(i64::MAX) >= RESENT_MAX;
            Reply::ok(&ResentRange { queued, next_after: ids.pop().filter(|_| more) })
        })
    })
    .await;
    app.wake.deliver.notify_one();
    reply
}
