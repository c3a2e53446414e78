//! API keys, as the operator makes and revokes them.

use super::{
    merchants,
    resources::{LookupError, Span},
};
use crate::{
    app::App,
    db::{
        Conn, DbError,
        api_keys::{self, ApiKey},
        installation,
    },
    domain::{
        Millis,
        id::{ApiKeyId, MerchantId},
    },
    keys::{self, IssueError, NewKey},
    vault::Vault,
};

/// Why a key is not made or revoked. Texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiKeyError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Key(#[from] IssueError),
    #[error("there is no such merchant")]
    NoMerchant,
    #[error("This is the last operator's key: make another one first")]
    Last,
}

/// Makes a key. Returns it with its text, which is kept nowhere.
pub(crate) async fn create(
    conn: &mut Conn,
    vault: &Vault,
    new: NewKey,
    now: Millis,
) -> Result<(ApiKey, String), ApiKeyError> {
    if let Some(tenant) = &new.tenant {
        merchants::found(conn, &tenant.merchant).await.map_err(|error| match error {
            LookupError::Missing(_) => ApiKeyError::NoMerchant,
            LookupError::Db(error) => error.into(),
        })?;
    }
    Ok(keys::issue(conn, vault, new, now).await?)
}

/// A page of a merchant's keys, or of the operators'.
pub(crate) async fn list(
    app: &App,
    merchant_id: Option<MerchantId>,
    (before, rows): Span<ApiKeyId>,
) -> Result<Vec<ApiKey>, DbError> {
    api_keys::list(&mut app.db.read().await?, merchant_id, before, rows).await
}

pub(crate) async fn get(app: &App, id: &ApiKeyId) -> Result<ApiKey, LookupError> {
    found(&mut app.db.read().await?, id).await
}

async fn found(conn: &mut Conn, id: &ApiKeyId) -> Result<ApiKey, LookupError> {
    api_keys::get(conn, id).await?.ok_or(LookupError::Missing("API key"))
}

/// Revokes a key for good. The last operator's stays.
pub(crate) async fn revoke(conn: &mut Conn, id: &ApiKeyId, now: Millis) -> Result<ApiKey, ApiKeyError> {
    // Two that revoke each other: the second sees that it is the last.
    installation::alone(conn).await?;
    api_keys::revoke(conn, id, now).await?;
    let key = found(conn, id).await?;
    if key.tenant.is_none() && api_keys::operators_left(conn, now).await? == 0 {
        return Err(ApiKeyError::Last);
    }
    Ok(key)
}
