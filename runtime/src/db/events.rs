//! Events, and the queue of those that dispatch has not fanned out yet.

use super::{Conn, DbError, args};
use crate::domain::event::NewEvent;

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
                event.kind,
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
