//! Leases: which replica works on what. They give progress, never correctness; what a lease guards checks the
//! fence as well, so that a holder that slept past its lease changes nothing.

use super::{Conn, DbError, args};

use crate::domain::id::RequestId;

/// Maximum length of a lease, milliseconds. A lease that ends later was taken when the database's clock was ahead, and
/// has no holder.
const LONGEST_MS: i64 = 3_600_000;

/// Takes the lease, or renews it for its holder. `None` if another holds it. The fence grows with every change of
/// hands. Times are the database's own.
pub(crate) async fn take(
    conn: &mut Conn,
    resource: &str,
    holder: &RequestId,
    ttl_ms: i64,
) -> Result<Option<i64>, DbError> {
    let now = conn.now().await?;
    let row = conn
        .row(
            "INSERT INTO lease (resource, holder, fence, expires_at) VALUES ($1, $2, 1, $3)
             ON CONFLICT (resource) DO UPDATE SET
                 fence = CASE WHEN lease.holder = excluded.holder THEN lease.fence ELSE lease.fence + 1 END,
                 holder = excluded.holder,
                 expires_at = excluded.expires_at
             WHERE lease.holder = excluded.holder OR lease.expires_at < $4 OR lease.expires_at > $5
             RETURNING fence",
            args![resource.to_owned(), holder, now + ttl_ms, now, now + LONGEST_MS],
        )
        .await?;
    row.map(|row| row.int("fence")).transpose()
}

/// Releases a lease if this holder has it.
pub(crate) async fn release(conn: &mut Conn, resource: &str, holder: &RequestId) -> Result<(), DbError> {
    let sql = "UPDATE lease SET expires_at = 0 WHERE resource = $1 AND holder = $2";
    conn.exec(sql, args![resource.to_owned(), holder]).await?;
    Ok(())
}

/// Releases all leases of this holder, so that the next one does not have to wait for their end.
pub(crate) async fn release_all(conn: &mut Conn, holder: &RequestId) -> Result<(), DbError> {
    conn.exec("UPDATE lease SET expires_at = 0 WHERE holder = $1", args![holder]).await?;
    Ok(())
}

/// Ends all leases, whoever holds them: for the start of the only possible process.
pub(crate) async fn end_all(conn: &mut Conn) -> Result<(), DbError> {
    conn.exec("UPDATE lease SET expires_at = 0", args![]).await?;
    Ok(())
}
