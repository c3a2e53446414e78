//! Events, and the queue of those that dispatch has not fanned out yet.

use std::collections::{BTreeSet, HashMap};

use super::{Conn, DbError, Row, Value, args, queue::Place};
use crate::domain::{
    Millis,
    event::{NewEvent, Type},
    id::{EventId, InvoiceId, TransferId},
    tenant::Tenant,
};

/// Stores events in the transaction of their cause, and queues them for dispatch. The caller has locked the invoice of
/// events of an invoice, so that they are queued in the order of their sequence.
pub(crate) async fn insert(conn: &mut Conn, events: Vec<NewEvent>) -> Result<(), DbError> {
    let queue = events.iter().map(|event| args![&event.id]).collect();
    insert_told(conn, events).await?;
    conn.insert_many("INSERT INTO dispatch_queue (event_id)", queue, "").await?;
    Ok(())
}

/// Stores events that are not for dispatch.
pub(super) async fn insert_told(conn: &mut Conn, events: Vec<NewEvent>) -> Result<(), DbError> {
    let rows = events
        .into_iter()
        .map(|event| {
            args![
                event.id,
                event.tenant.merchant,
                event.tenant.mode,
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
    Ok(())
}

/// Records the run or match in which a hook sent an event, or of which the event tells.
pub(crate) async fn caused_by(conn: &mut Conn, event_id: &EventId, cause: &str) -> Result<(), DbError> {
    let sql = "UPDATE event SET cause = $2 WHERE id = $1";
    conn.exec(sql, args![event_id, cause.to_owned()]).await?;
    Ok(())
}

/// An event as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) kind: Type,
    pub(crate) invoice_id: Option<InvoiceId>,
    pub(crate) transfer_id: Option<TransferId>,
    /// Number within the invoice, from 1; 0 without an invoice.
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
        id: row.id("id")?,
        kind: row.parsed("kind")?,
        invoice_id: row.opt_id("invoice_id")?,
        transfer_id: row.opt_id("transfer_id")?,
        sequence: row.int("sequence")?,
        payload: row.text("payload")?,
        created_at: row.int("created_at")?,
    })
}

pub(crate) async fn get(conn: &mut Conn, tenant: &Tenant, id: &EventId) -> Result<Option<Event>, DbError> {
    let sql = select!("WHERE merchant_id = $1 AND test = $2 AND id = $3");
    conn.row(sql, args![&tenant.merchant, tenant.mode, id]).await?.as_ref().map(read).transpose()
}

/// The events of one invoice or of all, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    invoice_id: Option<InvoiceId>,
    before: EventId,
    rows: i64,
) -> Result<Vec<Event>, DbError> {
    let mut args = args![&tenant.merchant, tenant.mode, before, rows];
    let sql = match invoice_id {
        None => select!(
            "WHERE merchant_id = $1 AND test = $2 AND id /*pg: COLLATE \"C\"*/ < $3
             ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
        ),
        Some(invoice_id) => {
            args.push(invoice_id.into());
            select!(
                "WHERE merchant_id = $1 AND test = $2 AND id /*pg: COLLATE \"C\"*/ < $3 AND invoice_id = $5
                 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            )
        }
    };
    conn.rows(sql, args).await?.iter().map(read).collect()
}

/// An event that is not fanned out yet.
#[derive(Debug, Clone)]
pub(crate) struct Undispatched {
    /// Number in the queue.
    pub(crate) n: i64,
    pub(crate) id: EventId,
    pub(crate) tenant: Tenant,
    pub(crate) kind: Type,
    pub(crate) place: Option<Place>,
}

/// The line of an event and its place there: that of its invoice by the sequence, or that of its transfer by the time.
pub(super) fn place(row: &Row) -> Result<Option<Place>, DbError> {
    let sequence = row.int("sequence")?;
    if let Some(of) = row.opt_text("invoice_id")?.filter(|_| sequence > 0) {
        return Ok(Some(Place { of, place: sequence }));
    }
    let place = row.int("event_at")?;
    Ok(row.opt_text("transfer_id")?.map(|of| Place { of, place }))
}

fn undispatched_row(row: &Row) -> Result<Undispatched, DbError> {
    Ok(Undispatched {
        n: row.int("n")?,
        id: row.id("id")?,
        tenant: row.tenant()?,
        kind: row.parsed("kind")?,
        place: place(row)?,
    })
}

macro_rules! undispatched {
    ($rest:literal) => {
        concat!(
            "SELECT q.n, e.id, e.merchant_id, e.test, e.kind, e.invoice_id, e.transfer_id, e.sequence,
                 e.created_at AS event_at
             FROM dispatch_queue q JOIN event e ON e.id = q.event_id ",
            $rest
        )
    };
}

/// The oldest events of the queue, locked; replicas get different ones. An event stays if another replica has an
/// earlier one of its line, so that the events of a line are fanned out in order.
pub(crate) async fn undispatched(conn: &mut Conn, rows: i64) -> Result<Vec<Undispatched>, DbError> {
    let (mut after, mut ours) = (i64::MIN, BTreeSet::new());
    loop {
        let sql = undispatched!("WHERE q.n > $1 ORDER BY q.n LIMIT $2 /*pg: FOR UPDATE OF q SKIP LOCKED*/");
        let found = conn.rows(sql, args![after, rows]).await?;
        let mut found = found.iter().map(undispatched_row).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = found.last().map(|event| event.n) else { return Ok(found) };
        after = last;
        ours.extend(found.iter().map(|event| event.n));
        let others = elsewhere(conn, last, &ours).await?;
        found.retain(|event| {
            let earlier = event.place.as_ref().and_then(|place| others.get(&place.of));
            earlier.is_none_or(|earlier| *earlier > event.n)
        });
        if !found.is_empty() {
            return Ok(found);
        }
    }
}

/// The lines up to `last` that other replicas work on, each with the number of its first event.
async fn elsewhere(
    conn: &mut Conn,
    last: i64,
    ours: &BTreeSet<i64>,
) -> Result<HashMap<String, i64>, DbError> {
    let sql = "SELECT COUNT(*) AS n FROM dispatch_queue WHERE n <= $1";
    let count = conn.row(sql, args![last]).await?.map_or(Ok(0), |row| row.int("n"))?;
    let mut others = HashMap::new();
    if usize::try_from(count).is_ok_and(|count| count == ours.len()) {
        return Ok(others);
    }
    // Each other replica has one batch at most.
    for row in conn.rows(undispatched!("WHERE q.n < $1 ORDER BY q.n"), args![last]).await? {
        let event = undispatched_row(&row)?;
        if let (false, Some(place)) = (ours.contains(&event.n), event.place) {
            others.entry(place.of).or_insert(event.n);
        }
    }
    Ok(others)
}

/// The JSON of these events, by id.
pub(crate) async fn payloads(conn: &mut Conn, ids: Vec<Value>) -> Result<HashMap<EventId, String>, DbError> {
    let rows = conn.rows_in("SELECT id, payload FROM event WHERE id IN", ids, "").await?;
    rows.iter().map(|row| Ok((row.id("id")?, row.text("payload")?))).collect()
}

/// Takes these events off the queue.
pub(crate) async fn dispatched(conn: &mut Conn, events: &[Undispatched]) -> Result<(), DbError> {
    let numbers = events.iter().map(|event| event.n.into()).collect();
    conn.exec_in("DELETE FROM dispatch_queue WHERE n IN", numbers, "").await?;
    Ok(())
}
