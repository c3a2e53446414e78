//! Invoices, and what tells their payments apart.

use super::{Conn, DbError, Row, args, transfers::decimals};
use crate::domain::{Millis, invoice::Invoice};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT i.*, a.symbol, a.decimals, r.address FROM invoice i
             JOIN asset a ON a.id = i.asset_id JOIN receive_address r ON r.id = i.address_id ",
            $rest
        )
    };
}

pub(super) fn invoice(row: &Row) -> Result<Invoice, DbError> {
    Ok(Invoice {
        id: row.text("id")?,
        merchant_id: row.text("merchant_id")?,
        test: row.bool("test")?,
        order_id: row.opt_text("order_id")?,
        title: row.text("title")?,
        tag: row.opt_text("tag")?,
        meta: row.opt_json("meta")?,
        network: row.text("network")?,
        asset_id: row.text("asset_id")?,
        symbol: row.text("symbol")?,
        decimals: decimals(row)?,
        address_id: row.text("address_id")?,
        address: row.text("address")?,
        matching: row.parsed("matching")?,
        memo: row.opt_text("memo")?,
        currency: row.opt_text("currency")?,
        price: row.opt_text("price")?,
        amount: row.amount("amount")?,
        due: row.amount("due")?,
        status: row.parsed("status")?,
        exception: row.parsed("exception")?,
        pending: row.amount("pending")?,
        credited: row.amount("credited")?,
        sequence: row.int("sequence")?,
        payment_uri: row.opt_text("payment_uri")?,
        policy: row.json("policy")?,
        head: row.int("head")?,
        created_at: row.int("created_at")?,
        expires_at: row.int("expires_at")?,
        held_until: row.int("held_until")?,
        expired_at: row.opt_int("expired_at")?,
        cancelled_at: row.opt_int("cancelled_at")?,
        paid_at: row.opt_int("paid_at")?,
    })
}

/// One of the merchant's invoices.
pub(crate) async fn get(
    conn: &mut Conn,
    merchant_id: &str,
    test: bool,
    id: &str,
) -> Result<Option<Invoice>, DbError> {
    let sql = select!("WHERE i.id = $1 AND i.merchant_id = $2 AND i.test = $3");
    let row = conn.row(sql, args![id.to_owned(), merchant_id.to_owned(), test]).await?;
    row.as_ref().map(invoice).transpose()
}

/// The merchant's invoice with this number of the merchant's own.
pub(crate) async fn by_order_ids(
    conn: &mut Conn,
    merchant_id: &str,
    test: bool,
    order_ids: Vec<String>,
) -> Result<Vec<Invoice>, DbError> {
    let items = order_ids.into_iter().map(Into::into).collect();
    let head = select!("WHERE i.merchant_id = $1 AND i.test = $2 AND i.order_id IN");
    let rows = conn.rows_in_with(head, args![merchant_id.to_owned(), test], items, "").await?;
    rows.iter().map(invoice).collect()
}

/// The merchant's invoices, newest first, before the one with the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    merchant_id: &str,
    test: bool,
    status: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Invoice>, DbError> {
    let before = before.unwrap_or(super::AFTER_ALL_IDS).to_owned();
    let mut args = args![merchant_id.to_owned(), test, before, limit];
    let rows = match status {
        None => {
            let sql =
                select!("WHERE i.merchant_id = $1 AND i.test = $2 AND i.id < $3 ORDER BY i.id DESC LIMIT $4");
            conn.rows(sql, args).await?
        }
        Some(status) => {
            args.push(status.to_owned().into());
            let sql = select!(
                "WHERE i.merchant_id = $1 AND i.test = $2 AND i.id < $3 AND i.status = $5
                 ORDER BY i.id DESC LIMIT $4"
            );
            conn.rows(sql, args).await?
        }
    };
    rows.iter().map(invoice).collect()
}

/// These invoices, locked until the transaction ends: whoever changes what they were paid goes one at a time.
pub(crate) async fn lock(conn: &mut Conn, ids: &[String]) -> Result<Vec<Invoice>, DbError> {
    // One order for all that lock several: no two can wait for each other.
    let mut ids = ids.to_vec();
    ids.sort();
    ids.dedup();
    let items = ids.into_iter().map(Into::into).collect();
    let rows = conn.rows_in(select!("WHERE i.id IN"), items, "ORDER BY i.id /*pg: FOR UPDATE OF i*/").await?;
    rows.iter().map(invoice).collect()
}

/// The invoices whose own address is one of these.
pub(crate) async fn by_addresses(
    conn: &mut Conn,
    address_ids: &[String],
) -> Result<Vec<(String, String)>, DbError> {
    let rows = conn
        .rows_in(
            "SELECT id, address_id FROM invoice WHERE matching = 'address' AND address_id IN",
            address_ids.iter().map(Into::into).collect(),
            "",
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("address_id")?, row.text("id")?))).collect()
}

pub(crate) async fn insert(conn: &mut Conn, invoices: &[Invoice]) -> Result<(), DbError> {
    let rows = invoices
        .iter()
        .map(|i| {
            args![
                &i.id,
                &i.merchant_id,
                i.test,
                &i.order_id,
                &i.title,
                &i.tag,
                i.meta.as_ref().map(ToString::to_string),
                &i.network,
                &i.asset_id,
                &i.address_id,
                i.matching,
                &i.memo,
                &i.currency,
                &i.price,
                i.amount,
                i.due,
                i.status,
                i.exception,
                i.pending,
                i.credited,
                i.sequence,
                &i.payment_uri,
                serde_json::to_string(&i.policy).unwrap_or_default(),
                i.head,
                i.created_at,
                i.expires_at,
                i.held_until,
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO invoice (id, merchant_id, test, order_id, title, tag, meta, network, asset_id, address_id,
             matching, memo, currency, price, amount, due, status, exception, pending, credited, sequence,
             payment_uri, policy, head, created_at, expires_at, held_until)",
        rows,
        "",
    )
    .await?;
    Ok(())
}

/// Writes what changes in an invoice's life. Nothing else of it ever changes.
pub(crate) async fn update(conn: &mut Conn, invoices: &[Invoice]) -> Result<(), DbError> {
    let rows = invoices
        .iter()
        .map(|i| {
            args![
                &i.id,
                i.status,
                i.exception,
                i.pending,
                i.credited,
                i.sequence,
                i.expired_at,
                i.cancelled_at,
                i.paid_at,
            ]
        })
        .collect();
    conn.insert_many(
        "UPDATE invoice SET status = v.column2, exception = v.column3, pending = v.column4,
             credited = v.column5, sequence = v.column6, expired_at = v.column7, cancelled_at = v.column8,
             paid_at = v.column9 FROM (",
        rows,
        ") AS v WHERE invoice.id = v.column1",
    )
    .await?;
    Ok(())
}

/// The open invoices whose deadline has passed, the oldest first.
pub(crate) async fn overdue(conn: &mut Conn, now: Millis, limit: i64) -> Result<Vec<String>, DbError> {
    let rows = conn
        .rows(
            "SELECT id FROM invoice WHERE expires_at <= $1 AND expired_at IS NULL AND cancelled_at IS NULL
             AND status IN ('new', 'detected', 'underpaid') ORDER BY expires_at LIMIT $2",
            args![now, limit],
        )
        .await?;
    rows.iter().map(|row| row.text("id")).collect()
}

// ------------------------------------------------------------------ holds

/// What an invoice waits under.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) key: String,
    /// The ring of amounts that the key belongs to; the key itself for a memo.
    pub(crate) ring: String,
    pub(crate) invoice_id: String,
    pub(crate) held_until: Millis,
}

/// Takes these holds. Answers the keys that were free; the others belong to someone.
pub(crate) async fn hold(conn: &mut Conn, holds: &[Hold]) -> Result<Vec<String>, DbError> {
    let mut taken = Vec::with_capacity(holds.len());
    let rows = holds.iter().map(|h| args![&h.key, &h.ring, &h.invoice_id, h.held_until]).collect();
    let changed = conn
        .insert_many(
            "INSERT INTO hold (key, ring, invoice_id, held_until)",
            rows,
            "ON CONFLICT (key) DO NOTHING",
        )
        .await?;
    if usize::try_from(changed).is_ok_and(|changed| changed == holds.len()) {
        taken.extend(holds.iter().map(|h| h.key.clone()));
        return Ok(taken);
    }
    let owners = holders(conn, holds.iter().map(|h| h.key.clone()).collect()).await?;
    for hold in holds {
        if owners.iter().any(|(key, owner)| *key == hold.key && *owner == hold.invoice_id) {
            taken.push(hold.key.clone());
        }
    }
    Ok(taken)
}

/// Which invoice holds each of these keys.
pub(crate) async fn holders(conn: &mut Conn, keys: Vec<String>) -> Result<Vec<(String, String)>, DbError> {
    let items = keys.into_iter().map(Into::into).collect();
    let rows = conn.rows_in("SELECT key, invoice_id FROM hold WHERE key IN", items, "").await?;
    rows.iter().map(|row| Ok((row.text("key")?, row.text("invoice_id")?))).collect()
}

/// The keys held in a ring, the latest taken last.
pub(crate) async fn held_in(conn: &mut Conn, ring: &str) -> Result<Vec<String>, DbError> {
    let rows =
        conn.rows("SELECT key FROM hold WHERE ring = $1 ORDER BY invoice_id", args![ring.to_owned()]).await?;
    rows.iter().map(|row| row.text("key")).collect()
}

/// Lets go of what was held long enough. Answers keys and rings.
pub(crate) async fn release(
    conn: &mut Conn,
    now: Millis,
    limit: i64,
) -> Result<Vec<(String, String)>, DbError> {
    let rows = conn
        .rows(
            "DELETE FROM hold WHERE key IN (SELECT key FROM hold WHERE held_until <= $1 LIMIT $2)
             RETURNING key, ring",
            args![now, limit],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("key")?, row.text("ring")?))).collect()
}

/// Whether there is anything to let go of.
pub(crate) async fn releasable(conn: &mut Conn, now: Millis) -> Result<bool, DbError> {
    let row = conn.row("SELECT key FROM hold WHERE held_until <= $1 LIMIT 1", args![now]).await?;
    Ok(row.is_some())
}
