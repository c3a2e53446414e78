//! This database, among the installations on the same wallets, and whether it may be older than what it told.
//!
//! A restored backup does not know which amounts and addresses were given out after it was made. It is told by a gap:
//! whoever runs on a database says so in it all the time. When nobody has for a while, it may be a backup, and begins a
//! new *life*: rings of amounts and extended keys then leave out what may have been given out ([`super::holds`],
//! [`super::addresses`]). A downtime looks the same; then what is left out merely comes a round later.

use super::{Conn, DbError, args};
use crate::domain::Millis;

/// Number of the present life of the database.
pub(crate) async fn life(conn: &mut Conn) -> Result<i64, DbError> {
    let row = conn.row("SELECT life FROM installation WHERE one = 1", args![]).await?;
    row.map_or(Ok(0), |row| row.int("life"))
}

/// Maximum silence of a process that runs on a database, milliseconds.
const SILENT_MAX: Millis = 60_000;

/// Registers a process that starts on this database: one at a time, until the transaction ends. Returns true if a new
/// life of the database has begun.
pub(crate) async fn start(conn: &mut Conn, now: Millis) -> Result<bool, DbError> {
    alone(conn).await?;
    let row = conn.row("SELECT alive_at FROM installation WHERE one = 1", args![]).await?;
    // Also after a time that has not come yet: then a clock was wrong, and nobody knows for how long.
    let silent = match row {
        Some(row) => now.saturating_sub(row.int("alive_at")?).saturating_abs() > SILENT_MAX,
        None => false,
    };
    if silent {
        begin_life(conn, now).await?;
    } else {
        alive(conn, now).await?;
    }
    Ok(silent)
}

/// Waits until no other process is at its start, and keeps others waiting until the transaction ends.
pub(crate) async fn alone(conn: &mut Conn) -> Result<(), DbError> {
    // Any number that nothing else of this database locks.
    conn.row("SELECT 1 AS one /*pg: FROM pg_advisory_xact_lock(7261534008) AS lock*/", args![]).await?;
    Ok(())
}

/// Records that a process runs on the database.
pub(crate) async fn alive(conn: &mut Conn, now: Millis) -> Result<(), DbError> {
    let sql = "INSERT INTO installation (one, life, alive_at) VALUES (1, 0, $1)
               ON CONFLICT (one) DO UPDATE SET alive_at = excluded.alive_at";
    conn.exec(sql, args![now]).await?;
    Ok(())
}

/// Begins a new life.
pub(super) async fn begin_life(conn: &mut Conn, now: Millis) -> Result<(), DbError> {
    let sql = "INSERT INTO installation (one, life, alive_at) VALUES (1, 1, $1)
               ON CONFLICT (one) DO UPDATE SET life = installation.life + 1, alive_at = excluded.alive_at";
    conn.exec(sql, args![now]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::Db, testing};

    async fn started(db: &Db, now: Millis) -> (bool, i64) {
        let start = db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { Ok((start(conn, now).await?, life(conn).await?)) })
        });
        start.await.unwrap()
    }

    #[tokio::test]
    async fn a_silence_begins_a_new_life() {
        for db in testing::databases().await {
            assert_eq!(started(&db, 1_000_000).await, (false, 0), "the first start");
            assert_eq!(started(&db, 1_000_000 + SILENT_MAX).await, (false, 0), "a restart");
            assert_eq!(started(&db, 1_000_001 + 2 * SILENT_MAX).await, (true, 1), "a backup, or a downtime");
            db.write::<_, DbError, _>(|conn| Box::pin(async { alive(conn, 9_000_000).await })).await.unwrap();
            assert_eq!(started(&db, 9_000_001).await, (false, 1), "another replica");
            assert_eq!(started(&db, 1_000_000).await, (true, 2), "a clock that went back");
        }
    }
}
