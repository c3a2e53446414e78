//! Events, and the queue of those that dispatch has not fanned out yet.

use std::collections::HashMap;

use super::{Conn, DbError, Row, Value, args};
use crate::domain::{
    Millis,
    event::{NewEvent, Type},
};

/// Commits events with their cause, and queues them for dispatch.
pub(crate) async fn insert(conn: &mut Conn, events: Vec<NewEvent>) -> Result<(), DbError> {
    let queue = events.iter().map(|event| args![&event.id]).collect();
    let rows = events
        .into_iter()
        .map(|event| {
            args![
                event.id,
                event.merchant_id,
                event.test,
                &event.kind,
                event.invoice_id,
                event.transfer_id,
                event.sequence,
                event.payload,
                event.created_at,
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO event (id, merchant_id, test, kind, invoice_id, transfer_id, sequence, payload, created_at)",
        rows,
        "",
    )
    .await?;
    conn.insert_many("INSERT INTO dispatch_queue (event_id)", queue, "").await?;
    Ok(())
}

/// An event as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: Type,
    pub(crate) invoice_id: Option<String>,
    pub(crate) transfer_id: Option<String>,
    /// Within the invoice, from 1; 0 without an invoice.
    pub(crate) sequence: i64,
    /// The JSON that webhooks carry.
    pub(crate) payload: String,
    pub(crate) created_at: Millis,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, kind, invoice_id, transfer_id, sequence, payload, created_at FROM event ", $rest)
    };
}

fn read(row: &Row) -> Result<Event, DbError> {
    Ok(Event {
        id: row.text("id")?,
        kind: row.parsed("kind")?,
        invoice_id: row.opt_text("invoice_id")?,
        transfer_id: row.opt_text("transfer_id")?,
        sequence: row.int("sequence")?,
        payload: row.text("payload")?,
        created_at: row.int("created_at")?,
    })
}

pub(crate) async fn get(
    conn: &mut Conn,
    merchant_id: &str,
    test: bool,
    id: &str,
) -> Result<Option<Event>, DbError> {
    let sql = select!("WHERE merchant_id = $1 AND test = $2 AND id = $3");
    conn.row(sql, args![merchant_id.to_owned(), test, id.to_owned()]).await?.as_ref().map(read).transpose()
}

/// The newest first, from below the id `before`; of one invoice, or of all.
pub(crate) async fn list(
    conn: &mut Conn,
    merchant_id: &str,
    test: bool,
    invoice_id: Option<String>,
    before: String,
    rows: i64,
) -> Result<Vec<Event>, DbError> {
    let mut args = args![merchant_id.to_owned(), test, before, rows];
    let sql = match invoice_id {
        None => select!("WHERE merchant_id = $1 AND test = $2 AND id < $3 ORDER BY id DESC LIMIT $4"),
        Some(invoice_id) => {
            args.push(invoice_id.into());
            select!(
                "WHERE merchant_id = $1 AND test = $2 AND id < $3 AND invoice_id = $5 ORDER BY id DESC LIMIT $4"
            )
        }
    };
    conn.rows(sql, args).await?.iter().map(read).collect()
}

/// An event that is not fanned out yet.
#[derive(Debug, Clone)]
pub(crate) struct Undispatched {
    pub(crate) id: String,
    pub(crate) merchant_id: String,
    pub(crate) test: bool,
    pub(crate) kind: Type,
}

/// The oldest ones, locked; replicas get different ones.
pub(crate) async fn undispatched(conn: &mut Conn, rows: i64) -> Result<Vec<Undispatched>, DbError> {
    let sql = "SELECT e.id, e.merchant_id, e.test, e.kind
               FROM dispatch_queue q JOIN event e ON e.id = q.event_id
               ORDER BY q.event_id LIMIT $1 /*pg: FOR UPDATE OF q SKIP LOCKED*/";
    conn.rows(sql, args![rows])
        .await?
        .iter()
        .map(|row| {
            Ok(Undispatched {
                id: row.text("id")?,
                merchant_id: row.text("merchant_id")?,
                test: row.bool("test")?,
                kind: row.parsed("kind")?,
            })
        })
        .collect()
}

/// The JSON that these events carry, by their ids.
pub(crate) async fn payloads(conn: &mut Conn, ids: Vec<Value>) -> Result<HashMap<String, String>, DbError> {
    let rows = conn.rows_in("SELECT id, payload FROM event WHERE id IN", ids, "").await?;
    rows.iter().map(|row| Ok((row.text("id")?, row.text("payload")?))).collect()
}

/// Takes them off the queue.
pub(crate) async fn dispatched(conn: &mut Conn, ids: Vec<String>) -> Result<(), DbError> {
    let ids = ids.into_iter().map(Into::into).collect();
    conn.exec_in("DELETE FROM dispatch_queue WHERE event_id IN", ids, "").await?;
    Ok(())
}
