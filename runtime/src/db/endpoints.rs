//! Endpoints: the URLs that merchants are told at.
//!
//! What a merchant asks for names the tenant: a function here finds nothing of another's.

use super::{Conn, DbError, Row, args, merchants};
use crate::domain::{
    Millis, event,
    id::{EndpointId, HookId, MerchantId},
    tenant::Tenant,
    word::words,
};

/// Maximum number of active endpoints of a merchant in each mode: each event becomes as many deliveries.
pub(crate) const PER_MERCHANT_MAX: i64 = 32;
/// Maximum number including the disabled ones.
const PER_MERCHANT_EVER_MAX: i64 = 1000;
/// Time for which the secret before the last rotation signs too, milliseconds.
const OLD_SECRET_MS: Millis = 24 * 3600 * 1000;

words! {
    /// Whether an endpoint gets deliveries.
    EndpointState {
        Active = "active",
        /// By the merchant, or because the receiver asked for it. Waiting deliveries are kept.
        Disabled = "disabled",
    }
}

/// An endpoint as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) url: String,
    /// The hook that renders its deliveries; `None` for the form `standard`.
    pub(crate) form_hook_id: Option<HookId>,
    /// Kinds of events that it gets; `None` for all.
    pub(crate) events: Option<Vec<String>>,
    pub(crate) state: EndpointState,
    pub(crate) disabled_why: Option<String>,
    /// Until then the secret before the last rotation signs too.
    pub(crate) old_until: Option<Millis>,
    /// Number of failed attempts in a row.
    pub(crate) failures: i64,
    /// End of the pause after many failures in a row; its deliveries wait until then.
    pub(crate) paused_until: Option<Millis>,
    pub(crate) created_at: Millis,
}

/// An endpoint to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewEndpoint {
    pub(crate) id: EndpointId,
    pub(crate) tenant: Tenant,
    pub(crate) url: String,
    /// The hook that renders its deliveries; none: the form `standard`.
    pub(crate) form_hook_id: Option<HookId>,
    pub(crate) events: Option<Vec<event::Type>>,
    /// Secret, sealed for this id.
    pub(crate) secret: Vec<u8>,
    pub(crate) created_at: Millis,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, url, form_hook_id, events, state, disabled_why, old_until, failures, paused_until, created_at
             FROM endpoint ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<Endpoint, DbError> {
    Ok(Endpoint {
        id: row.id("id")?,
        url: row.text("url")?,
        form_hook_id: row.opt_id("form_hook_id")?,
        events: row.opt_json("events")?,
        state: row.parsed("state")?,
        disabled_why: row.opt_text("disabled_why")?,
        old_until: row.opt_int("old_until")?,
        failures: row.int("failures")?,
        paused_until: row.opt_int("paused_until")?,
        created_at: row.int("created_at")?,
    })
}

/// Adds an endpoint. Returns false if the merchant has [`PER_MERCHANT_MAX`] active ones or [`PER_MERCHANT_EVER_MAX`] in
/// all.
pub(crate) async fn insert(conn: &mut Conn, endpoint: NewEndpoint) -> Result<bool, DbError> {
    merchants::alone(conn, &endpoint.tenant.merchant).await?;
    let events = endpoint.events.map(|kinds| json(&kinds));
    let made = conn
        .exec(
            "INSERT INTO endpoint (id, merchant_id, test, url, events, secret, form_hook_id, state, failures, created_at)
             SELECT $1, $2, $3, $4, $5, $6, $10, 'active', 0, $7
             WHERE (SELECT COUNT(*) FROM endpoint WHERE merchant_id = $2 AND test = $3 AND state = 'active') < $8
               AND (SELECT COUNT(*) FROM endpoint WHERE merchant_id = $2 AND test = $3 AND deleted_at IS NULL) < $9",
            args![
                endpoint.id,
                endpoint.tenant.merchant,
                endpoint.tenant.mode,
                endpoint.url,
                events,
                endpoint.secret,
                endpoint.created_at,
                PER_MERCHANT_MAX,
                PER_MERCHANT_EVER_MAX,
                endpoint.form_hook_id
            ],
        )
        .await?;
    Ok(made == 1)
}

/// The kinds of events as the column holds them.
fn json(kinds: &[event::Type]) -> String {
    serde_json::Value::from_iter(kinds.iter().map(|kind| kind.as_str())).to_string()
}

pub(crate) async fn get(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
) -> Result<Option<Endpoint>, DbError> {
    let sql = select!("WHERE merchant_id = $1 AND test = $2 AND id = $3 AND deleted_at IS NULL");
    conn.row(sql, args![&tenant.merchant, tenant.mode, id]).await?.as_ref().map(read).transpose()
}

/// The endpoints, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    before: EndpointId,
    rows: i64,
) -> Result<Vec<Endpoint>, DbError> {
    let sql = select!(
        "WHERE merchant_id = $1 AND test = $2 AND id /*pg: COLLATE \"C\"*/ < $3 AND deleted_at IS NULL
         ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
    );
    conn.rows(sql, args![&tenant.merchant, tenant.mode, before, rows]).await?.iter().map(read).collect()
}

/// Stops deliveries to an endpoint. Returns false if there is none.
pub(crate) async fn disable(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
    why: String,
) -> Result<bool, DbError> {
    let sql = "UPDATE endpoint SET state = 'disabled', disabled_why = $4
               WHERE merchant_id = $1 AND test = $2 AND id = $3 AND deleted_at IS NULL";
    let changed = conn.exec(sql, args![&tenant.merchant, tenant.mode, id, why]).await?;
    Ok(changed == 1)
}

/// Resumes deliveries, the waiting ones first, and ends a pause. Returns false if there is no such endpoint, or if it
/// is disabled and the merchant has [`PER_MERCHANT_MAX`] active ones.
pub(crate) async fn enable(conn: &mut Conn, tenant: &Tenant, id: &EndpointId) -> Result<bool, DbError> {
    merchants::alone(conn, &tenant.merchant).await?;
    let sql = "UPDATE endpoint SET state = 'active', disabled_why = NULL, failures = 0, paused_until = NULL
               WHERE merchant_id = $1 AND test = $2 AND id = $3 AND deleted_at IS NULL
                 AND (state = 'active' OR (SELECT COUNT(*)
                   FROM endpoint WHERE merchant_id = $1 AND test = $2 AND state = 'active') < $4)";
    Ok(conn.exec(sql, args![&tenant.merchant, tenant.mode, id, PER_MERCHANT_MAX]).await? == 1)
}

/// Changes to an endpoint; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) url: Option<String>,
    /// The inner value: the hook that renders its deliveries; `None` for the form `standard`.
    pub(crate) form_hook_id: Option<Option<HookId>>,
    /// The inner value: the kinds of events that it gets; `None` for all.
    pub(crate) events: Option<Option<Vec<event::Type>>>,
}

/// Changes the URL, the form and the events of an endpoint, for all deliveries that are not being sent yet. Failures at
/// the old URL or in the old form do not count against the new one. Returns false if there is no such endpoint.
pub(crate) async fn change(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
    change: Change,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE endpoint SET url = COALESCE($4, url), events = CASE WHEN $5 = 1 THEN $6 ELSE events END,
                 form_hook_id = CASE WHEN $7 IS NULL THEN form_hook_id ELSE NULLIF($7, '') END,
                 failures = CASE WHEN $4 <> url OR $7 <> COALESCE(form_hook_id, '') THEN 0 ELSE failures END,
                 paused_until =
                     CASE WHEN $4 <> url OR $7 <> COALESCE(form_hook_id, '') THEN NULL ELSE paused_until END
               WHERE merchant_id = $1 AND test = $2 AND id = $3 AND deleted_at IS NULL";
    let events = change.events.as_ref().and_then(Option::as_ref).map(|kinds| json(kinds));
    let set_events = change.events.is_some();
    // The form `standard` is the empty text here.
    let form = change.form_hook_id.map(|form| form.map_or_else(String::new, |hook_id| hook_id.to_string()));
    let args = args![&tenant.merchant, tenant.mode, id, change.url, set_events, events, form];
    Ok(conn.exec(sql, args).await? == 1)
}

/// Deletes an endpoint: it is no longer listed, and nothing new is queued for it. [`super::deliveries::leaving`] gives
/// its waiting deliveries up. Returns false if there is no such endpoint.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
    now: Millis,
) -> Result<bool, DbError> {
    // The old secret has no use any more.
    let sql =
        "UPDATE endpoint SET deleted_at = $4, state = 'disabled', disabled_why = 'deleted', old_secret = NULL
               WHERE merchant_id = $1 AND test = $2 AND id = $3 AND deleted_at IS NULL";
    Ok(conn.exec(sql, args![&tenant.merchant, tenant.mode, id, now]).await? == 1)
}

/// Replaces an endpoint's secret (sealed for its id). The previous secret signs too for 24 hours; earlier ones do not
/// sign any more. Returns false if there is no such endpoint.
pub(crate) async fn rotate(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &EndpointId,
    secret: Vec<u8>,
    now: Millis,
) -> Result<bool, DbError> {
    let sql = "UPDATE endpoint SET old_secret = secret, old_until = $5, secret = $4
               WHERE merchant_id = $1 AND test = $2 AND id = $3 AND deleted_at IS NULL";
    let args = args![&tenant.merchant, tenant.mode, id, secret, now + OLD_SECRET_MS];
    Ok(conn.exec(sql, args).await? == 1)
}

/// An active endpoint, reduced to what dispatch needs.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) id: EndpointId,
    pub(crate) tenant: Tenant,
    /// Kinds of events that it gets; `None` for all.
    pub(crate) events: Option<Vec<String>>,
}

/// The active endpoints of these merchants.
pub(crate) async fn subscribers(
    conn: &mut Conn,
    merchant_ids: impl Iterator<Item = MerchantId>,
) -> Result<Vec<Subscriber>, DbError> {
    let rows = conn
        .rows_in(
            "SELECT id, merchant_id, test, events FROM endpoint WHERE state = 'active' AND merchant_id IN",
            merchant_ids.map(Into::into).collect(),
            "ORDER BY id",
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Subscriber { id: row.id("id")?, tenant: row.tenant()?, events: row.opt_json("events")? })
        })
        .collect()
}
