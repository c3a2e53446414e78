//! API keys, as keyed hashes.

use super::{Conn, DbError, Row, args};
use crate::domain::{
    Millis,
    id::{ApiKeyId, MerchantId},
    policy::Policy,
    tenant::{Mode, Tenant},
    word::words,
};

words! {
    /// What a key opens.
    KeyMode {
        Operator = "operator",
        /// A merchant's key for networks with real money.
        Live = "live",
        /// A merchant's key for test networks.
        Test = "test",
    }
}

impl KeyMode {
    /// None: an operator's.
    pub(crate) fn of(tenant: Option<&Tenant>) -> Self {
        match tenant.map(|tenant| tenant.mode) {
            None => Self::Operator,
            Some(Mode::Live) => Self::Live,
            Some(Mode::Test) => Self::Test,
        }
    }

    /// The tenant of a key of this mode; `Some(None)` for an operator's. `None` if merchant and mode do not go
    /// together.
    pub(crate) fn tenant(self, merchant: Option<MerchantId>) -> Option<Option<Tenant>> {
        match (self, merchant) {
            (Self::Operator, None) => Some(None),
            (Self::Live, Some(merchant)) => Some(Some(Tenant::live(merchant))),
            (Self::Test, Some(merchant)) => Some(Some(Tenant::test(merchant))),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ApiKey {
    pub(crate) id: ApiKeyId,
    /// None: an operator's.
    pub(crate) tenant: Option<Tenant>,
    pub(crate) name: String,
    /// First characters of the key, to tell keys apart in a list.
    pub(crate) prefix: String,
    pub(crate) created_at: Millis,
    pub(crate) expires_at: Option<Millis>,
    pub(crate) revoked_at: Option<Millis>,
}

/// A presented key, and its owner.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    pub(crate) key: ApiKey,
    /// None: an operator's.
    pub(crate) merchant: Option<Holder>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) policy: Policy,
    pub(crate) disabled_at: Option<Millis>,
}

fn read(row: &Row) -> Result<ApiKey, DbError> {
    Ok(ApiKey {
        id: row.id("id")?,
        tenant: row.parsed::<KeyMode>("mode")?.tenant(row.opt_id("merchant_id")?).ok_or_else(|| {
            DbError::Unreadable { column: "mode", why: "not with this merchant_id".to_owned() }
        })?,
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        created_at: row.int("created_at")?,
        expires_at: row.opt_int("expires_at")?,
        revoked_at: row.opt_int("revoked_at")?,
    })
}

/// Stores a key. `hash` is the keyed hash of the secret, which itself is never stored.
pub(crate) async fn insert(conn: &mut Conn, key: &ApiKey, hash: Vec<u8>) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO api_key (id, merchant_id, mode, name, prefix, hash, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            &key.id,
            key.tenant.as_ref().map(|tenant| tenant.merchant.clone()),
            KeyMode::of(key.tenant.as_ref()),
            &key.name,
            &key.prefix,
            hash,
            key.created_at,
            key.expires_at,
            key.revoked_at
        ],
    )
    .await?;
    Ok(())
}

/// Finds the key with this hash, expired or not.
pub(crate) async fn by_hash(conn: &mut Conn, hash: Vec<u8>) -> Result<Option<Presented>, DbError> {
    let row = conn
        .row(
            "SELECT k.id, k.merchant_id, k.mode, k.name, k.prefix, k.created_at, k.expires_at, k.revoked_at,
                    m.policy, m.disabled_at
             FROM api_key k LEFT JOIN merchant m ON m.id = k.merchant_id WHERE k.hash = $1",
            args![hash],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let merchant = match row.opt_json("policy")? {
        None => None,
        Some(policy) => Some(Holder { policy, disabled_at: row.opt_int("disabled_at")? }),
    };
    Ok(Some(Presented { key: read(&row)?, merchant }))
}

/// A merchant's keys, or the operators' without a merchant; the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    merchant_id: Option<MerchantId>,
    before: ApiKeyId,
    rows: i64,
) -> Result<Vec<ApiKey>, DbError> {
    let found = match merchant_id {
        Some(merchant) => {
            conn.rows(
                "SELECT id, merchant_id, mode, name, prefix, created_at, expires_at, revoked_at FROM api_key
                 WHERE merchant_id = $1 AND id /*pg: COLLATE \"C\"*/ < $2
                 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $3",
                args![merchant, before, rows],
            )
            .await?
        }
        None => {
            conn.rows(
                "SELECT id, merchant_id, mode, name, prefix, created_at, expires_at, revoked_at FROM api_key
                 WHERE merchant_id IS NULL AND id /*pg: COLLATE \"C\"*/ < $1
                 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $2",
                args![before, rows],
            )
            .await?
        }
    };
    found.iter().map(read).collect()
}

pub(crate) async fn get(conn: &mut Conn, id: &ApiKeyId) -> Result<Option<ApiKey>, DbError> {
    let sql = "SELECT id, merchant_id, mode, name, prefix, created_at, expires_at, revoked_at FROM api_key
               WHERE id = $1";
    conn.row(sql, args![id]).await?.as_ref().map(read).transpose()
}

/// Revokes a key for good. A key that was revoked before keeps its time.
pub(crate) async fn revoke(conn: &mut Conn, id: &ApiKeyId, now: Millis) -> Result<(), DbError> {
    let sql = "UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    conn.exec(sql, args![id, now]).await?;
    Ok(())
}

/// Number of operators' keys that are still valid at `now`.
pub(crate) async fn operators_left(conn: &mut Conn, now: Millis) -> Result<i64, DbError> {
    let sql = "SELECT count(*) AS n FROM api_key
               WHERE mode = 'operator' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)";
    conn.row(sql, args![now]).await?.map_or(Ok(0), |row| row.int("n"))
}

/// True if there is an operator's key, revoked or not: this is not the first start.
pub(crate) async fn any_operator(conn: &mut Conn) -> Result<bool, DbError> {
    let row = conn.row("SELECT id FROM api_key WHERE mode = 'operator' LIMIT 1", args![]).await?;
    Ok(row.is_some())
}
