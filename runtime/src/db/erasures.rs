//! A payer's personal data, taken out of what is kept about an invoice.
//!
//! What was written in a merchant's or a hook's own words goes; amounts, addresses, transfers, payments and the ledger
//! stay. What is under way at that moment has the old text in its memory: its claim is made stale, so that it writes
//! nothing, and it is made again with what is left.

use super::{
    Conn, DbError, Row, Value, args,
    disk::{self, DiskUse},
    events,
};
use crate::domain::{
    Millis, erasure,
    id::{ApiKeyId, EventId, HookMatchId, HookRunId, Id, InvoiceId, MerchantId},
    invoice::Invoice,
};

/// The record of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) invoice_id: InvoiceId,
    pub(crate) key_id: ApiKeyId,
    pub(crate) at: Millis,
}

/// Erases the data of the invoice itself, so that later events hold none, and records who did it. The caller has locked
/// the invoice. Returns the first record if it was erased before.
pub(crate) async fn begin(
    conn: &mut Conn,
    invoice: &Invoice,
    key_id: &ApiKeyId,
    now: Millis,
) -> Result<Erasure, DbError> {
    let sql = "UPDATE invoice SET title = '', tag = NULL, meta = NULL WHERE id = $1";
    conn.exec(sql, args![&invoice.id]).await?;
    conn.exec(
        "INSERT INTO erasure (invoice_id, merchant_id, test, key_id, at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (invoice_id) DO NOTHING",
        args![&invoice.id, &invoice.tenant.merchant, invoice.tenant.mode, key_id, now],
    )
    .await?;
    let row = conn.row("SELECT key_id, at FROM erasure WHERE invoice_id = $1", args![&invoice.id]).await?;
    let row = row.ok_or(DbError::Vanished("the erasure"))?;
    Ok(Erasure { invoice_id: invoice.id.clone(), key_id: row.id("key_id")?, at: row.int("at")? })
}

/// Ids of an invoice's events.
pub(crate) async fn events_of(conn: &mut Conn, invoice: &Invoice) -> Result<Vec<EventId>, DbError> {
    let sql = "SELECT id FROM event WHERE merchant_id = $1 AND test = $2 AND invoice_id = $3";
    let rows = conn.rows(sql, args![&invoice.tenant.merchant, invoice.tenant.mode, &invoice.id]).await?;
    rows.iter().map(|row| row.id("id")).collect()
}

/// Ids of the questions to matchers that offered an invoice, as far as they are kept, and of those whose answer was
/// that the transfer pays it.
pub(crate) async fn matches_about(conn: &mut Conn, invoice: &Invoice) -> Result<Vec<HookMatchId>, DbError> {
    let sql = "SELECT m.id FROM hook h JOIN hook_match m ON m.hook_id = h.id
               WHERE h.merchant_id = $1 AND h.test = $2 AND m.id >= $3 AND (m.question LIKE $4 OR m.parts LIKE $4)";
    // Nobody was offered it before it was made.
    let since = HookMatchId::first_at(invoice.created_at);
    // The underscore in an id matches any character in `LIKE`, which does no harm here.
    let about = format!("%\"{}\"%", invoice.id);
    let rows = conn.rows(sql, args![&invoice.tenant.merchant, invoice.tenant.mode, since, about]).await?;
    rows.iter().map(|row| row.id("id")).collect()
}

/// Erases the data of a merchant's events, and all that was made of it. With `invoice_id`, the events are the invoice's
/// own; without, a hook sent them. Returns the ids of the hooks' runs for them.
pub(crate) async fn of_events(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    ids: &[EventId],
    invoice_id: Option<&InvoiceId>,
) -> Result<Vec<HookRunId>, DbError> {
    let items = || -> Vec<Value> { ids.iter().map(Into::into).collect() };
    let mut left = Vec::with_capacity(ids.len());
    for (id, payload) in events::payloads(conn, items()).await? {
        let payload = match invoice_id {
            Some(invoice_id) => erasure::payload(&payload, invoice_id),
            None => erasure::payload_of_hook(&payload),
        };
        left.push(args![id, payload]);
    }
    let update = ") UPDATE event SET payload = v.payload FROM v WHERE event.id = v.id";
    conn.insert_many("WITH v (id, payload) AS (", left, update).await?;

    let deliveries = texts(&conn.rows_in("SELECT id FROM delivery WHERE event_id IN", items(), "").await?)?;
    let sql = "UPDATE delivery_queue SET fence = fence + 1 WHERE delivery_id IN";
    conn.exec_in(sql, deliveries.clone(), "").await?;
    // Receivers may echo what they were sent.
    conn.exec_in("UPDATE attempt SET response = NULL WHERE delivery_id IN", deliveries, "").await?;

    let runs = conn.rows_in("SELECT id FROM hook_run WHERE event_id IN", items(), "").await?;
    let items = texts(&runs)?;
    conn.exec_in("UPDATE hook_run_queue SET fence = fence + 1 WHERE run_id IN", items.clone(), "").await?;
    conn.exec_in("UPDATE hook_run SET note = NULL WHERE id IN", items.clone(), "").await?;
    let sql = "SELECT bytes FROM hook_attempt WHERE run_id IN";
    let calls = conn.rows_in(sql, items.clone(), "/*pg: FOR UPDATE*/").await?;
    let sql = r#"UPDATE hook_attempt SET note = '', log = '[]', tape = '{"steps":[],"cut":true}', tape_bytes = 0,
                     bytes = 256 WHERE run_id IN"#;
    conn.exec_in(sql, items.clone(), "").await?;
    let freed = freed(&calls)? + of_shadows(conn, items).await?;
    disk::count(conn, merchant_id, DiskUse::of_runs(-freed)).await?;
    runs.iter().map(|row| row.id("id")).collect()
}

/// Erases the data of questions to matchers. Payments by their answers stay.
pub(crate) async fn of_matches(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    ids: &[HookMatchId],
) -> Result<(), DbError> {
    let items: Vec<Value> = ids.iter().map(Into::into).collect();
    let sql = "SELECT bytes - OCTET_LENGTH(parts) AS bytes FROM hook_match WHERE id IN";
    let matches = conn.rows_in(sql, items.clone(), "/*pg: FOR UPDATE*/").await?;
    let sql = "UPDATE hook_match SET note = '', log = '[]', question = 'null', tape = 'null', tape_bytes = 0,
                   bytes = 256 + OCTET_LENGTH(parts) WHERE id IN";
    conn.exec_in(sql, items.clone(), "").await?;
    let freed = freed(&matches)? + of_shadows(conn, items).await?;
    disk::count(conn, merchant_id, DiskUse::of_runs(-freed)).await?;
    Ok(())
}

/// Erases the differences of shadow versions in these runs or matches. Returns the bytes freed.
async fn of_shadows(conn: &mut Conn, runs: Vec<Value>) -> Result<i64, DbError> {
    let sql = "SELECT bytes FROM hook_shadow WHERE run_id IN";
    let shadows = conn.rows_in(sql, runs.clone(), "/*pg: FOR UPDATE*/").await?;
    let sql = "UPDATE hook_shadow SET difference = 'null', bytes = 256 WHERE run_id IN";
    conn.exec_in(sql, runs, "").await?;
    freed(&shadows)
}

/// Number of bytes freed when only the bare rows remain.
fn freed(rows: &[Row]) -> Result<i64, DbError> {
    rows.iter().map(|row| Ok((row.int("bytes")? - 256).max(0))).sum()
}

/// Ids of the events that hooks sent in these runs or matches.
pub(crate) async fn events_by(conn: &mut Conn, causes: &[String]) -> Result<Vec<EventId>, DbError> {
    let items = causes.iter().map(Into::into).collect();
    let rows = conn.rows_in("SELECT id FROM event WHERE cause IN", items, "").await?;
    rows.iter().map(|row| row.id("id")).collect()
}

/// A kept answer: its key and its text.
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
}

/// Answers kept for this owner, after the key `after`.
pub(crate) async fn kept(conn: &mut Conn, owner: &str, after: &str, rows: i64) -> Result<Vec<Kept>, DbError> {
    let sql = "SELECT key, body FROM idempotency WHERE owner = $1 AND key > $2 ORDER BY key LIMIT $3";
    let rows = conn.rows(sql, args![owner.to_owned(), after.to_owned(), rows]).await?;
    rows.iter().map(|row| Ok(Kept { key: row.text("key")?, body: row.blob("body")? })).collect()
}

/// Replaces the text of a kept answer.
pub(crate) async fn keep(conn: &mut Conn, owner: &str, kept: Kept) -> Result<(), DbError> {
    let sql = "UPDATE idempotency SET body = $3 WHERE owner = $1 AND key = $2";
    conn.exec(sql, args![owner.to_owned(), kept.key, kept.body]).await?;
    Ok(())
}

fn texts(rows: &[Row]) -> Result<Vec<Value>, DbError> {
    rows.iter().map(|row| Ok(row.text("id")?.into())).collect()
}
