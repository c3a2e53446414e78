//! Deliveries: events owed to endpoints, and the attempts made.
//!
//! Here is what a merchant sees of them and may do with them; a function finds nothing of another merchant or
//! mode. What workers do is in [`queue`] and [`report`].

pub(crate) mod leaving;
pub(crate) mod queue;
pub(crate) mod report;

use super::{Conn, DbError, Row, Value, args, events, newest::newest_of_each, queue::Entry};
use crate::domain::{
    Millis,
    event::{self, NewEvent},
    id::{DeliveryId, EndpointId, EventId, Id},
    tenant::Tenant,
    word::{Word as _, words},
};

words! {
    /// How a delivery stands.
    DeliveryState {
        /// Waits for its time, and for its endpoint to be neither disabled nor paused.
        Pending = "pending",
        Delivered = "delivered",
        /// Given up; a resend begins anew.
        Exhausted = "exhausted",
    }
}

/// A delivery as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: DeliveryId,
    pub(crate) event_id: EventId,
    pub(crate) event_kind: event::Type,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) state: DeliveryState,
    pub(crate) attempts: i64,
    pub(crate) created_at: Millis,
    /// Time of the next attempt while pending; while an attempt is under way, the time at which it counts as lost.
    pub(crate) due_at: Option<Millis>,
    /// True if it waits for an earlier event of the same invoice to be delivered or given up.
    pub(crate) waits: bool,
    pub(crate) done_at: Option<Millis>,
    /// Why it was given up, if not for its attempts.
    pub(crate) why: Option<String>,
}

/// One POST.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// Number over all rounds, from 1.
    pub(crate) number: i64,
    pub(crate) at: Millis,
    pub(crate) duration_ms: i64,
    /// The HTTP status, if one came.
    pub(crate) status: Option<i64>,
    /// Why it does not count, if it does not.
    pub(crate) error: Option<String>,
    /// The first bytes of the answer.
    pub(crate) response: Option<String>,
}

/// Filter of a list of deliveries.
#[derive(Debug, Clone)]
pub(crate) enum Of {
    All,
    Endpoint(EndpointId),
    Event(EventId),
}

// Where rows are found by another index than the merchant's, the merchant is compared as an expression: without
// statistics of its tables SQLite might take either index.
macro_rules! select {
    ($($rest:expr),+) => {
        concat!(
            "SELECT d.id, d.event_id, e.kind, d.endpoint_id, d.state, d.attempts, d.created_at,
                 CASE WHEN q.waits = 0 THEN q.due_at END AS due_at, d.done_at, d.why,
                 COALESCE(q.waits, 0) AS waits
             FROM delivery d
             JOIN event e ON e.id = d.event_id
             LEFT JOIN delivery_queue q ON q.delivery_id = d.id
             ",
            $($rest),+
        )
    };
}

fn read(row: &Row) -> Result<Delivery, DbError> {
    Ok(Delivery {
        id: row.id("id")?,
        event_id: row.id("event_id")?,
        event_kind: row.parsed("kind")?,
        endpoint_id: row.id("endpoint_id")?,
        state: row.parsed("state")?,
        attempts: row.int("attempts")?,
        created_at: row.int("created_at")?,
        due_at: row.opt_int("due_at")?,
        waits: row.bool("waits")?,
        done_at: row.opt_int("done_at")?,
        why: row.opt_text("why")?,
    })
}

pub(crate) async fn get(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &DeliveryId,
) -> Result<Option<Delivery>, DbError> {
    let sql = select!("WHERE d.merchant_id = $1 AND d.test = $2 AND d.id = $3");
    conn.row(sql, args![&tenant.merchant, tenant.mode, id]).await?.as_ref().map(read).transpose()
}

/// Condition for the deliveries after `$id` in a list; `$made_at` is the time to use if that delivery is gone.
macro_rules! behind {
    ($id:literal, $made_at:literal) => {
        concat!(
            "(d.created_at, d.id /*pg: COLLATE \"C\"*/) <
               (COALESCE((SELECT b.created_at FROM delivery b WHERE b.id = ",
            $id,
            "), ",
            $made_at,
            "), ",
            $id,
            ")
             ORDER BY d.created_at DESC, d.id /*pg: COLLATE \"C\"*/ DESC LIMIT "
        )
    };
}

/// Ids of the newest pending deliveries of each of a merchant's endpoints, found one after the other.
macro_rules! pending_of_merchant {
    () => {
        concat!(
            "SELECT id FROM (WITH RECURSIVE walk (endpoint_id, id, step) AS (
                 SELECT n.id, (SELECT d.id FROM delivery d WHERE d.endpoint_id = n.id AND d.state = 'pending' AND ",
            behind!("$3", "$5"),
            "1), CAST(1 AS BIGINT)
                 FROM endpoint n
                 WHERE n.id IN (
                     SELECT id FROM endpoint WHERE merchant_id = $1 AND test = $2 AND deleted_at IS NULL
                     UNION ALL SELECT id FROM endpoint WHERE merchant_id || '' = $1 AND test + 0 = $2
                         AND deleted_at IS NOT NULL AND due_at IS NOT NULL)
                 UNION ALL
                 SELECT w.endpoint_id, (SELECT d.id FROM delivery d
                     WHERE d.endpoint_id = w.endpoint_id AND d.state = 'pending' AND ",
            behind!("w.id", "$5"),
            "1), w.step + 1
                 FROM walk w WHERE w.id IS NOT NULL AND w.step < $4)
             SELECT id FROM walk WHERE id IS NOT NULL) AS pending"
        )
    };
}

/// Ids of an endpoint's newest pending deliveries.
macro_rules! pending_of_endpoint {
    () => {
        concat!(
            "SELECT id FROM (SELECT d.id FROM delivery d WHERE d.endpoint_id = $6 AND d.state = 'pending' AND ",
            behind!("$3", "$5"),
            "$4) AS pending"
        )
    };
}

/// Ids of the newest deliveries in each of these end states; `$of` says whose.
macro_rules! ended {
    ($of:literal, [$($state:literal),+]) => {
        concat!(
            "SELECT id FROM ",
            newest_of_each!(
                concat!("SELECT d.id FROM delivery d WHERE ", $of, " AND d.state <> 'pending' AND d.state = "),
                concat!("AND ", behind!("$3", "$5"), "$4"),
                [$($state),+]
            ),
            " AS ended"
        )
    };
}

/// The deliveries, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    of: Of,
    state: Option<DeliveryState>,
    before: DeliveryId,
    rows: i64,
) -> Result<Vec<Delivery>, DbError> {
    macro_rules! listed {
        ($($ids:expr),+) => {
            select!(
                "WHERE d.merchant_id || '' = $1 AND d.test + 0 = $2 AND d.id IN (", $($ids),+,
                ") ORDER BY d.created_at DESC, d.id DESC LIMIT $4"
            )
        };
    }
    use DeliveryState::{Delivered, Exhausted, Pending};
    // The id of a delivery that is gone still tells its time.
    let made_at = before.made_at();
    let mut args = args![&tenant.merchant, tenant.mode, before, rows, made_at];
    let sql = match (&of, state) {
        (Of::All, None) => listed!(
            pending_of_merchant!(),
            " UNION ALL ",
            ended!("d.merchant_id = $1 AND d.test = $2", ["delivered", "exhausted"])
        ),
        (Of::All, Some(Pending)) => listed!(pending_of_merchant!()),
        (Of::All, Some(Delivered)) => listed!(ended!("d.merchant_id = $1 AND d.test = $2", ["delivered"])),
        (Of::All, Some(Exhausted)) => listed!(ended!("d.merchant_id = $1 AND d.test = $2", ["exhausted"])),
        (Of::Endpoint(_), None) => listed!(
            pending_of_endpoint!(),
            " UNION ALL ",
            ended!("d.endpoint_id = $6", ["delivered", "exhausted"])
        ),
        (Of::Endpoint(_), Some(Pending)) => listed!(pending_of_endpoint!()),
        (Of::Endpoint(_), Some(Delivered)) => listed!(ended!("d.endpoint_id = $6", ["delivered"])),
        (Of::Endpoint(_), Some(Exhausted)) => listed!(ended!("d.endpoint_id = $6", ["exhausted"])),
        // An event has few deliveries: one for each endpoint.
        (Of::Event(_), _) => select!(
            "WHERE d.merchant_id || '' = $1 AND d.test + 0 = $2 AND d.event_id = $6 AND ($7 IS NULL OR d.state = $7) AND ",
            behind!("$3", "$5"),
            "$4"
        ),
    };
    match of {
        Of::All => {}
        Of::Endpoint(id) => args.push(id.into()),
        Of::Event(id) => args.extend(args![id, state.map(|state| state.word().to_owned())]),
    }
    conn.rows(sql, args).await?.iter().map(read).collect()
}

/// The attempts of a delivery, the last one first.
pub(crate) async fn attempts(
    conn: &mut Conn,
    tenant: &Tenant,
    delivery_id: &DeliveryId,
    rows: i64,
) -> Result<Vec<Attempt>, DbError> {
    let sql = "SELECT a.number, a.at, a.duration_ms, a.status, a.error, a.response
               FROM attempt a JOIN delivery d ON d.id = a.delivery_id
               WHERE d.merchant_id = $1 AND d.test = $2 AND d.id = $3
               ORDER BY a.number DESC LIMIT $4";
    let args = args![&tenant.merchant, tenant.mode, delivery_id, rows];
    let rows = conn.rows(sql, args).await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt {
                number: row.int("number")?,
                at: row.int("at")?,
                duration_ms: row.int("duration_ms")?,
                status: row.opt_int("status")?,
                error: row.opt_text("error")?,
                response: row.opt_text("response")?,
            })
        })
        .collect()
}

/// Stores an event for one endpoint alone, whatever types the endpoint gets otherwise. Returns the delivery's id.
pub(crate) async fn send_to(
    conn: &mut Conn,
    event: NewEvent,
    endpoint_id: EndpointId,
    now: Millis,
) -> Result<DeliveryId, DbError> {
    let owed = queue::Owed {
        delivery_id: DeliveryId::new(now),
        event_id: event.id.clone(),
        endpoint_id,
        tenant: event.tenant.clone(),
        place: None,
    };
    // Fanned out here, to this endpoint alone, and not by dispatch.
    events::insert_told(conn, vec![event]).await?;
    let delivery_id = owed.delivery_id.clone();
    queue::insert(conn, vec![owed], now).await?;
    Ok(delivery_id)
}

/// The result of a request to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resend {
    Queued,
    /// It is still pending and will be sent anyway.
    Pending,
    /// Its endpoint was deleted.
    NoEndpoint,
    NotFound,
}

/// Starts a new round of attempts for a delivery that was delivered or given up, due now.
pub(crate) async fn resend(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &DeliveryId,
    now: Millis,
) -> Result<Resend, DbError> {
    let sql = "SELECT d.id, d.endpoint_id, d.attempts, d.state, n.deleted_at, e.invoice_id, e.transfer_id, e.sequence,
                   e.created_at AS event_at
               FROM delivery d JOIN endpoint n ON n.id = d.endpoint_id JOIN event e ON e.id = d.event_id
               WHERE d.merchant_id = $1 AND d.test = $2 AND d.id = $3 /*pg: FOR UPDATE OF d*/";
    let Some(row) = conn.row(sql, args![&tenant.merchant, tenant.mode, id]).await? else {
        return Ok(Resend::NotFound);
    };
    if row.parsed::<DeliveryState>("state")? == DeliveryState::Pending {
        return Ok(Resend::Pending);
    }
    if row.opt_int("deleted_at")?.is_some() {
        return Ok(Resend::NoEndpoint);
    }
    requeue(conn, &[row], now).await?;
    Ok(Resend::Queued)
}

/// The deliveries of an endpoint to send again.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) endpoint_id: EndpointId,
    /// Start of the range of times at which they were made, inclusive; the end is exclusive.
    pub(crate) from: Millis,
    pub(crate) to: Millis,
    /// Those that were delivered too, not only those that were given up.
    pub(crate) delivered_too: bool,
    /// Id after which to go on: where the last call ended.
    pub(crate) after: Option<DeliveryId>,
}

/// Sends the deliveries made in a range of time again, the oldest first, at most `rows`. Returns the ids that were
/// queued; if they are as many as `rows`, there may be more after the last of them.
pub(crate) async fn resend_range(
    conn: &mut Conn,
    tenant: &Tenant,
    range: Range,
    rows: i64,
    now: Millis,
) -> Result<Vec<DeliveryId>, DbError> {
    let sql = concat!(
        "SELECT d.id, d.endpoint_id, d.attempts, e.invoice_id, e.transfer_id, e.sequence, e.created_at AS event_at
               FROM delivery d JOIN event e ON e.id = d.event_id
               WHERE d.merchant_id || '' = $1 AND d.test + 0 = $2 AND d.id IN ",
        newest_of_each!(
            "SELECT id FROM delivery
             WHERE endpoint_id = $3 AND created_at >= $4 AND created_at < $5 AND state <> 'pending' AND state = ",
            "AND ($7 = 1 OR state = 'exhausted') AND (created_at, id /*pg: COLLATE \"C\"*/) >
                 (COALESCE((SELECT b.created_at FROM delivery b WHERE b.id = $6), $9), $6)
             ORDER BY created_at, id /*pg: COLLATE \"C\"*/ LIMIT $8",
            ["exhausted", "delivered"]
        ),
        " ORDER BY d.created_at, d.id LIMIT $8 /*pg: FOR UPDATE OF d*/"
    );
    // The id of a delivery that is gone still tells its time.
    let after_at = range.after.as_ref().map_or(-1, Id::made_at);
    let args = args![
        &tenant.merchant,
        tenant.mode,
        range.endpoint_id,
        range.from,
        range.to,
        range.after.map_or_else(String::new, |after| after.to_string()),
        range.delivered_too,
        rows,
        after_at
    ];
    let rows = conn.rows(sql, args).await?;
    requeue(conn, &rows, now).await?;
    rows.iter().map(|row| row.id("id")).collect()
}

async fn requeue(conn: &mut Conn, deliveries: &[Row], now: Millis) -> Result<(), DbError> {
    let mut ids: Vec<Value> = Vec::with_capacity(deliveries.len());
    let mut entries = Vec::with_capacity(deliveries.len());
    for row in deliveries {
        let (id, endpoint_id) = (row.id::<DeliveryId>("id")?, row.id("endpoint_id")?);
        ids.push((&id).into());
        entries.push(Entry::new(id, endpoint_id, events::place(row)?.as_ref()).again(row.int("attempts")?));
    }
    let sql = "UPDATE delivery SET state = 'pending', done_at = NULL, why = NULL WHERE id IN";
    conn.exec_in(sql, ids, "").await?;
    queue::push(conn, entries, now).await
}
