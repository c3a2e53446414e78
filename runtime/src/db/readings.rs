//! When a provider of each network has answered well, as its watcher wrote it down.

use std::collections::BTreeMap;

use super::{Conn, DbError, alarms, args};
use crate::domain::Millis;

/// Somebody has heard these networks; who was told that one stalls hears that it does no more. Answers the time that is
/// kept: by the database's clock, which all replicas share.
pub(crate) async fn heard(conn: &mut Conn, networks: &[String]) -> Result<Millis, DbError> {
    let now = conn.now().await?;
    let rows = networks.iter().map(|network| args![network, now]).collect();
    let again = "ON CONFLICT (network) DO UPDATE SET heard_at = excluded.heard_at";
    conn.insert_many("INSERT INTO reading (network, heard_at)", rows, again).await?;
    alarms::resumed(conn, networks, now).await?;
    Ok(now)
}

/// By network; one that nobody has heard yet is not there.
pub(crate) async fn all(conn: &mut Conn) -> Result<BTreeMap<String, Millis>, DbError> {
    let rows = conn.rows("SELECT network, heard_at FROM reading", args![]).await?;
    rows.iter().map(|row| Ok((row.text("network")?, row.int("heard_at")?))).collect()
}
