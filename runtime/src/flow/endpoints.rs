//! Endpoints: the URLs that a merchant's events are sent to.

use crate::{
    db::{
        Conn, DbError,
        deliveries::{self, leaving},
        endpoints::{self, Change, Endpoint, EndpointState, PER_MERCHANT_MAX},
        hooks::{
            self,
            forms::{self, NoForm},
        },
    },
    domain::{
        Millis,
        event::{self, Data, NewEvent, data::TestEvent},
        id::{DeliveryId, EndpointId, EventId, HookId},
        signature::{Secret, SignatureError},
        tenant::Tenant,
    },
    flow::resources::{LookupError, found},
    vault::{Vault, VaultError},
};

/// The form that is none of the merchant's own. A hook of this name is chosen by its id.
pub(crate) const STANDARD: &str = "standard";
/// Maximum number of deliveries that one request may send again.
const RESENT_MAX: i64 = 1000;
/// Maximum number of deliveries given up in the request itself; the rest follows.
const GIVEN_UP_AT_ONCE: i64 = 500;

/// Why something that a merchant wants of its endpoints is refused. Texts are for the merchant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Secret(#[from] SignatureError),
    #[error("At most {PER_MERCHANT_MAX} are active: disable one of them")]
    TooMany,
    #[error("There is no hook of yours with this id or name")]
    NoHook,
    #[error(transparent)]
    NoForm(#[from] NoForm),
    #[error("Enable it first")]
    Disabled,
}

/// What a new endpoint is to be. Without a form it is told in the standard one, without types of events it gets all.
pub(crate) struct NewEndpoint {
    pub(crate) url: String,
    pub(crate) form: Option<String>,
    pub(crate) events: Option<Vec<event::Type>>,
}

/// What is to be different. `events` may be set to none, which is all.
pub(crate) struct EndpointChange {
    pub(crate) url: Option<String>,
    pub(crate) form: Option<String>,
    pub(crate) events: Option<Option<Vec<event::Type>>>,
    pub(crate) state: Option<EndpointState>,
}

/// An endpoint and its secret in clear.
pub(crate) struct WithSecret {
    pub(crate) endpoint: Endpoint,
    pub(crate) secret: String,
}

pub(crate) async fn create(
    conn: &mut Conn,
    vault: &Vault,
    tenant: &Tenant,
    new: NewEndpoint,
    now: Millis,
) -> Result<WithSecret, EndpointError> {
    let id = EndpointId::new(now);
    let (sealed, secret) = new_secret(vault, &id)?;
    let row = endpoints::NewEndpoint {
        id: id.clone(),
        tenant: tenant.clone(),
        url: new.url,
        form_hook_id: chosen(conn, tenant, new.form.as_deref()).await?.flatten(),
        events: new.events,
        secret: sealed,
        created_at: now,
    };
    if !endpoints::insert(conn, row).await? {
        return Err(EndpointError::TooMany);
    }
    Ok(WithSecret { endpoint: found::<Endpoint>(conn, tenant, &id).await?, secret })
}

/// A new secret, sealed for its row and in clear.
fn new_secret(vault: &Vault, endpoint_id: &EndpointId) -> Result<(Vec<u8>, String), EndpointError> {
    let text = Secret::generate()?.to_text();
    Ok((vault.seal(endpoint_id.as_str(), text.as_bytes())?, text.to_string()))
}

/// The form that is chosen by this name, if one is given; inside: the hook that renders, which stays until the transaction
/// ends, or none for [`STANDARD`].
async fn chosen(
    conn: &mut Conn,
    tenant: &Tenant,
    form: Option<&str>,
) -> Result<Option<Option<HookId>>, EndpointError> {
    let Some(form) = form else { return Ok(None) };
    if form == STANDARD {
        return Ok(Some(None));
    }
    let hook = match form.parse() {
        Ok(id) => hooks::get(conn, tenant, &id).await?,
        Err(_) => hooks::by_name(conn, tenant, form).await?,
    };
    let hook = hook.ok_or(EndpointError::NoHook)?;
    hooks::lock(conn, &hook.id).await?;
    Ok(Some(Some(forms::callee(conn, &hook.id).await??.hook_id)))
}

pub(crate) async fn change(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
    change: EndpointChange,
) -> Result<Endpoint, EndpointError> {
    let EndpointChange { url, form, events, state } = change;
    let form_hook_id = chosen(conn, tenant, form.as_deref()).await?;
    endpoints::change(conn, tenant, id, Change { url, form_hook_id, events }).await?;
    match state {
        Some(EndpointState::Active) => enable(conn, tenant, id).await,
        Some(EndpointState::Disabled) => disable(conn, tenant, id).await,
        None => Ok(found(conn, tenant, id).await?),
    }
}

/// Makes what waited for an endpoint due, and ends a pause after failures.
pub(crate) async fn enable(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
) -> Result<Endpoint, EndpointError> {
    let enabled = endpoints::enable(conn, tenant, id).await?;
    let endpoint = found(conn, tenant, id).await?;
    if enabled { Ok(endpoint) } else { Err(EndpointError::TooMany) }
}

pub(crate) async fn disable(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
) -> Result<Endpoint, EndpointError> {
    endpoints::disable(conn, tenant, id, "by the merchant".to_owned()).await?;
    Ok(found(conn, tenant, id).await?)
}

/// Deletes an endpoint and gives up what waits for it. Returns it as it was.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
    now: Millis,
) -> Result<Endpoint, EndpointError> {
    let was = found(conn, tenant, id).await?;
    endpoints::delete(conn, tenant, id, now).await?;
    leaving::give_up(conn, id, GIVEN_UP_AT_ONCE, now).await?;
    Ok(was)
}

/// Gives an endpoint a new secret. The old one signs too for a day.
pub(crate) async fn rotate_secret(
    conn: &mut Conn,
    vault: &Vault,
    tenant: &Tenant,
    id: &EndpointId,
    now: Millis,
) -> Result<WithSecret, EndpointError> {
    let (sealed, secret) = new_secret(vault, id)?;
    endpoints::rotate(conn, tenant, id, sealed, now).await?;
    Ok(WithSecret { endpoint: found(conn, tenant, id).await?, secret })
}

/// A delivery that was queued.
pub(crate) struct Queued {
    pub(crate) event_id: EventId,
    pub(crate) delivery_id: DeliveryId,
}

/// Queues an event of the type `endpoint.test` for this endpoint alone, whatever types it gets otherwise.
pub(crate) async fn test(
    conn: &mut Conn,
    tenant: &Tenant,
    id: EndpointId,
    now: Millis,
) -> Result<Queued, EndpointError> {
    found::<Endpoint>(conn, tenant, &id).await?;
    let active = endpoints::subscribers(conn, std::iter::once(tenant.merchant.clone())).await?;
    if !active.iter().any(|subscriber| subscriber.id == id) {
        return Err(EndpointError::Disabled);
    }
    let event_id = EventId::new(now);
    let data = Data::EndpointTest(TestEvent { endpoint_id: id.clone() }.into());
    let event = NewEvent::new(event_id.clone(), tenant, &data, now);
    let delivery_id = deliveries::send_to(conn, event, id, now).await?;
    Ok(Queued { event_id, delivery_id })
}

/// What was sent again.
pub(crate) struct Resent {
    pub(crate) queued: usize,
    /// The last delivery, if there may be more after it.
    pub(crate) last: Option<DeliveryId>,
}

/// Sends the deliveries of a range of time again, the oldest first.
pub(crate) async fn resend(
    conn: &mut Conn,
    tenant: &Tenant,
    range: deliveries::Range,
    now: Millis,
) -> Result<Resent, EndpointError> {
    found::<Endpoint>(conn, tenant, &range.endpoint_id).await?;
    let mut ids = deliveries::resend_range(conn, tenant, range, RESENT_MAX, now).await?;
    let queued = ids.len();
    let more = i64::try_from(queued).unwrap_or(i64::MAX) >= RESENT_MAX;
    Ok(Resent { queued, last: ids.pop().filter(|_| more) })
}
