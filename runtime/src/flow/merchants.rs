//! Merchants, as the operator makes and changes them.

use super::resources::{LookupError, Span};
use crate::{
    app::App,
    db::{
        Conn, DbError,
        disk::{self, DiskUse},
        merchants::{self, Merchant},
    },
    domain::{Millis, id::MerchantId, policy::Policy, tenant::Tenant},
};

/// What a new merchant is to be.
pub(crate) struct NewMerchant {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) operator_events: bool,
}

/// What is to be different.
pub(crate) struct MerchantChange {
    pub(crate) name: Option<String>,
    pub(crate) policy: Option<Policy>,
    pub(crate) disabled: Option<bool>,
    pub(crate) operator_events: Option<bool>,
}

pub(crate) async fn create(conn: &mut Conn, new: NewMerchant, now: Millis) -> Result<Merchant, DbError> {
    let NewMerchant { name, policy, operator_events } = new;
    let id = MerchantId::new(now);
    let merchant = Merchant { id, name, policy, operator_events, created_at: now, disabled_at: None };
    merchants::insert(conn, &merchant).await?;
    Ok(merchant)
}

pub(crate) async fn list(app: &App, (before, rows): Span<MerchantId>) -> Result<Vec<Merchant>, DbError> {
    merchants::list(&mut app.db.read().await?, before, rows).await
}

pub(crate) async fn get(app: &App, id: &MerchantId) -> Result<Merchant, LookupError> {
    found(&mut app.db.read().await?, id).await
}

/// The merchant of a key that is in use.
pub(crate) async fn of_key(app: &App, tenant: &Tenant) -> Result<Merchant, DbError> {
    let found = merchants::get(&mut app.db.read().await?, &tenant.merchant).await?;
    let error = DbError::Unreadable { column: "merchant_id", why: "a key without its merchant".to_owned() };
    found.ok_or(error)
}

pub(super) async fn found(conn: &mut Conn, id: &MerchantId) -> Result<Merchant, LookupError> {
    merchants::get(conn, id).await?.ok_or(LookupError::Missing("merchant"))
}

pub(crate) async fn update(
    app: &App,
    id: MerchantId,
    change: MerchantChange,
) -> Result<Merchant, LookupError> {
    let now = app.clock.now();
    let merchant = app.db.write::<_, LookupError, _>(move |conn| {
        Box::pin(async move {
            let mut merchant = found(conn, &id).await?;
            merchant.name = change.name.unwrap_or(merchant.name);
            merchant.policy = change.policy.unwrap_or(merchant.policy);
            merchant.operator_events = change.operator_events.unwrap_or(merchant.operator_events);
            merchant.disabled_at = match change.disabled {
                Some(true) => merchant.disabled_at.or(Some(now)),
                Some(false) => None,
                None => merchant.disabled_at,
            };
            merchants::update(conn, &merchant).await?;
            Ok(merchant)
        })
    });
    let merchant = merchant.await?;
    app.keys.forget();
    Ok(merchant)
}

/// Bytes that the merchant's hooks take on disk.
pub(crate) async fn disk_use(app: &App, id: &MerchantId) -> Result<DiskUse, DbError> {
    disk::taken(&mut app.db.read().await?, id).await
}
