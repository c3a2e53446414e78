//! Deliveries to endpoints that were deleted: what waits is given up, visibly; what is being sent ends as it ends.

use super::queue::{due_by, lock_owners, settle_due};
use crate::{
    db::{Conn, DbError, args, queue::FENCES_PER_ATTEMPT},
    domain::{Millis, id::EndpointId},
};

/// Reason given for the deliveries that are given up.
const WHY: &str = "the endpoint was deleted";

/// A deleted endpoint with deliveries that can be given up now, if there is one.
pub(crate) async fn any(conn: &mut Conn, now: Millis) -> Result<Option<EndpointId>, DbError> {
    let sql = "SELECT id FROM endpoint WHERE deleted_at IS NOT NULL AND due_at IS NOT NULL AND due_at <= $1 LIMIT 1";
    conn.row(sql, args![now]).await?.map(|row| row.id("id")).transpose()
}

/// Gives up waiting deliveries of a deleted endpoint, at most `rows`. Those under way (more claims than ends) are left
/// until they or their leases end.
pub(crate) async fn give_up(
    conn: &mut Conn,
    endpoint_id: &EndpointId,
    rows: i64,
    now: Millis,
) -> Result<(), DbError> {
    let waiting = conn
        .rows(
            "SELECT q.delivery_id FROM delivery_queue q JOIN delivery d ON d.id = q.delivery_id
             WHERE q.endpoint_id = $1
               AND (q.due_at <= $2 OR q.fence - q.attempts_before * $3 = d.attempts - q.attempts_before)
             ORDER BY q.delivery_id LIMIT $4 /*pg: FOR UPDATE OF q SKIP LOCKED*/",
            args![endpoint_id, now, FENCES_PER_ATTEMPT, rows],
        )
        .await?;
    let ended = waiting.iter().map(|row| Ok(args![row.text("delivery_id")?, now, WHY]));
    conn.insert_many(
        "WITH v (id, done_at, why) AS (",
        ended.collect::<Result<_, DbError>>()?,
        ") UPDATE delivery SET state = 'exhausted', done_at = v.done_at, why = v.why FROM v WHERE delivery.id = v.id",
    )
    .await?;
    let ids = waiting.iter().map(|row| Ok(row.text("delivery_id")?.into()));
    let ids = ids.collect::<Result<_, DbError>>()?;
    conn.exec_in("DELETE FROM delivery_queue WHERE delivery_id IN", ids, "").await?;
    let owner = endpoint_id.clone();
    lock_owners(conn, std::iter::once(&owner)).await?;
    if i64::try_from(waiting.len()).unwrap_or(i64::MAX) < rows {
        return settle_due(conn, vec![owner.into()]).await;
    }
    // There may be more, whatever their due time.
    due_by(conn, [(owner, now)].into()).await
}
