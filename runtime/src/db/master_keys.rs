//! Which master key the secrets of a database are sealed with.

use super::{Conn, DbError, args};
use crate::domain::Millis;

/// A key that was in use, by name, and something that it sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterKey {
    pub(crate) id: String,
    pub(crate) canary: Vec<u8>,
}

/// The one of this database. None: nothing was ever sealed in it.
pub(crate) async fn present(conn: &mut Conn) -> Result<Option<MasterKey>, DbError> {
    let row = conn.row("SELECT id, canary FROM master_key ORDER BY created_at DESC LIMIT 1", args![]).await?;
    row.map(|row| Ok(MasterKey { id: row.text("id")?, canary: row.blob("canary")? })).transpose()
}

/// From now on this one is.
pub(crate) async fn keep(conn: &mut Conn, key: MasterKey, now: Millis) -> Result<(), DbError> {
    let sql = "INSERT INTO master_key (id, canary, created_at) VALUES ($1, $2, $3)";
    conn.exec(sql, args![key.id, key.canary, now]).await?;
    Ok(())
}
