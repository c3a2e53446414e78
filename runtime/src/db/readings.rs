//! When a provider of each network has answered well, as its watcher wrote it down.

use std::collections::BTreeMap;

use super::{Conn, DbError, alarms, args};
use crate::domain::Millis;

/// Records that providers of these networks answered, and tells that those that stalled no longer do. Returns the
/// recorded time, by the database's clock, which all replicas share.
pub(crate) async fn heard(conn: &mut Conn, networks: &[String]) -> Result<Millis, DbError> {
    let now = conn.now().await?;
    let rows = networks.iter().map(|network| args![network, now]).collect();
    let again = "ON CONFLICT (network) DO UPDATE SET heard_at = excluded.heard_at";
    conn.insert_many("INSERT INTO reading (network, heard_at)", rows, again).await?;
    alarms::resumed(conn, networks, now).await?;
    Ok(now)
}

/// Times of the last answers, by network; networks without an answer yet are missing.
pub(crate) async fn all(conn: &mut Conn) -> Result<BTreeMap<String, Millis>, DbError> {
    let rows = conn.rows("SELECT network, heard_at FROM reading", args![]).await?;
    rows.iter().map(|row| Ok((row.text("network")?, row.int("heard_at")?))).collect()
}
