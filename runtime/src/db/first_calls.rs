//! First calls of a plugin that were begun, and of which nothing was heard yet.

use super::{Conn, DbError, alarms, args};
use crate::domain::{Millis, event::Data, id::PluginVersionId};

/// Number of calls of this version in a row that ended without a result.
pub(crate) async fn unheard(
    conn: &mut Conn,
    resource: &str,
    version_id: &PluginVersionId,
) -> Result<i64, DbError> {
    let sql = "SELECT unheard FROM first_call WHERE resource = $1 AND version_id = $2";
    let row = conn.row(sql, args![resource.to_owned(), version_id]).await?;
    row.map_or(Ok(0), |row| row.int("unheard"))
}

/// Counts a call that begins.
pub(crate) async fn begin(
    conn: &mut Conn,
    resource: &str,
    network: &str,
    version_id: &PluginVersionId,
) -> Result<(), DbError> {
    let sql = "INSERT INTO first_call (resource, network, version_id, unheard) VALUES ($1, $2, $3, 1)
               ON CONFLICT (resource) DO UPDATE SET version_id = excluded.version_id,
                   unheard = CASE WHEN first_call.version_id = excluded.version_id THEN first_call.unheard + 1 ELSE 1 END,
                   told = CASE WHEN first_call.version_id = excluded.version_id THEN first_call.told ELSE 0 END";
    conn.exec(sql, args![resource.to_owned(), network.to_owned(), version_id]).await?;
    Ok(())
}

/// Tells once that this version is called no more.
pub(crate) async fn set_aside(
    conn: &mut Conn,
    resource: &str,
    version_id: &PluginVersionId,
    alarm: &Data,
    now: Millis,
) -> Result<(), DbError> {
    let sql = "UPDATE first_call SET told = 1 WHERE resource = $1 AND version_id = $2 AND told = 0";
    if conn.exec(sql, args![resource.to_owned(), version_id]).await? == 1 {
        alarms::tell(conn, alarm, now).await?;
    }
    Ok(())
}

/// Forgets the calls: one had a result, or calls are to be made again regardless.
pub(crate) async fn heard(conn: &mut Conn, resource: &str) -> Result<(), DbError> {
    conn.exec("DELETE FROM first_call WHERE resource = $1", args![resource.to_owned()]).await?;
    Ok(())
}

/// As [`heard`], for all workers of a network.
pub(crate) async fn forget(conn: &mut Conn, network: &str) -> Result<(), DbError> {
    conn.exec("DELETE FROM first_call WHERE network = $1", args![network.to_owned()]).await?;
    Ok(())
}
