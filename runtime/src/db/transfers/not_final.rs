//! What is not final yet.

use super::transfer;
use crate::{
    db::{Conn, DbError, addresses, args},
    domain::{credit::AtRisk, transfer::Transfer},
};

/// The transfers on chain that are not final yet, or not confirmed.
pub(crate) async fn at_risk(conn: &mut Conn, network: &str) -> Result<Vec<AtRisk>, DbError> {
    let sql = "SELECT t.id, t.asset_id, t.address_id, t.memo, t.amount, r.kind AS address_kind
               FROM transfer t JOIN receive_address r ON r.id = t.address_id
               WHERE t.network = $1 AND t.status IN ('included', 'confirmed')";
    let rows = conn.rows(sql, args![network.to_owned()]).await?;
    rows.iter()
        .map(|row| {
            Ok(AtRisk {
                transfer_id: row.id("id")?,
                asset_id: row.text("asset_id")?,
                address_id: row.id("address_id")?,
                is_shared: row.parsed::<addresses::Kind>("address_kind")? == addresses::Kind::Shared,
                memo: row.opt_text("memo")?,
                amount: row.opt_amount("amount")?,
            })
        })
        .collect()
}

/// The included transfers up to `height`, which become confirmed now.
pub(crate) async fn included_to(
    conn: &mut Conn,
    network: &str,
    height: i64,
) -> Result<Vec<Transfer>, DbError> {
    let rows = conn
        .rows(
            "SELECT * FROM transfer WHERE network = $1 AND height <= $2 AND status = 'included'
             AND status IN ('included', 'confirmed') ORDER BY id",
            args![network.to_owned(), height],
        )
        .await?;
    rows.iter().map(transfer).collect()
}

/// Marks the transfers that are final by now.
pub(crate) async fn finalize_to(conn: &mut Conn, network: &str, height: i64) -> Result<u64, DbError> {
    conn.exec(
        "UPDATE transfer SET status = 'final' WHERE network = $1 AND height <= $2 AND status = 'confirmed'
         AND status IN ('included', 'confirmed')",
        args![network.to_owned(), height],
    )
    .await
}
