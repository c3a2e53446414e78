//! Merchants: the tenants of this installation.

use super::{Conn, DbError, Row, args};
use crate::domain::{Millis, id::MerchantId, policy::Policy};

#[derive(Debug, Clone)]
pub(crate) struct Merchant {
    pub(crate) id: MerchantId,
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// True if the merchant gets the operator's events.
    pub(crate) operator_events: bool,
    pub(crate) created_at: Millis,
    /// Time at which it was disabled; `None` while enabled. A disabled merchant's keys open nothing; its payments are
    /// still credited.
    pub(crate) disabled_at: Option<Millis>,
}

fn read(row: &Row) -> Result<Merchant, DbError> {
    Ok(Merchant {
        id: row.id("id")?,
        name: row.text("name")?,
        policy: row.json("policy")?,
        operator_events: row.bool("operator_events")?,
        created_at: row.int("created_at")?,
        disabled_at: row.opt_int("disabled_at")?,
    })
}

/// The policy as its column holds it.
fn policy_text(policy: &Policy) -> Result<String, DbError> {
    serde_json::to_string(policy)
        .map_err(|error| DbError::Unreadable { column: "policy", why: error.to_string() })
}

/// Locks out others who count what a merchant has waiting, until the transaction ends: the count still holds when
/// something is added.
pub(crate) async fn alone(conn: &mut Conn, merchant_id: &MerchantId) -> Result<(), DbError> {
    let sql = "SELECT id FROM merchant WHERE id = $1 /*pg: FOR NO KEY UPDATE*/";
    conn.row(sql, args![merchant_id]).await?;
    Ok(())
}

pub(crate) async fn insert(conn: &mut Conn, merchant: &Merchant) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO merchant (id, name, policy, created_at, disabled_at, operator_events)
         VALUES ($1, $2, $3, $4, $5, $6)",
        args![
            &merchant.id,
            &merchant.name,
            policy_text(&merchant.policy)?,
            merchant.created_at,
            merchant.disabled_at,
            merchant.operator_events
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn get(conn: &mut Conn, id: &MerchantId) -> Result<Option<Merchant>, DbError> {
    let sql = "SELECT id, name, policy, operator_events, created_at, disabled_at FROM merchant WHERE id = $1";
    conn.row(sql, args![id]).await?.as_ref().map(read).transpose()
}

/// The merchants, the newest first, below the id `before`.
pub(crate) async fn list(conn: &mut Conn, before: MerchantId, rows: i64) -> Result<Vec<Merchant>, DbError> {
    let sql = "SELECT id, name, policy, operator_events, created_at, disabled_at FROM merchant
               WHERE id < $1 ORDER BY id DESC LIMIT $2";
    conn.rows(sql, args![before, rows]).await?.iter().map(read).collect()
}

/// Writes the fields that may change: name, policy, disabled or not, operator's events. Returns false if there is no
/// such merchant.
pub(crate) async fn update(conn: &mut Conn, merchant: &Merchant) -> Result<bool, DbError> {
    let changed = conn
        .exec(
            "UPDATE merchant SET name = $2, policy = $3, disabled_at = $4, operator_events = $5 WHERE id = $1",
            args![
                &merchant.id,
                &merchant.name,
                policy_text(&merchant.policy)?,
                merchant.disabled_at,
                merchant.operator_events
            ],
        )
        .await?;
    Ok(changed == 1)
}
