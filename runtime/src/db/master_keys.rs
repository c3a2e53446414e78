//! Which master keys the secrets of a database were and are sealed with.

use super::{Conn, DbError, Row, args};
use crate::{domain::Millis, vault::MasterKeyId};

/// A key's id, and a value that the key sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownKey {
    pub(crate) id: MasterKeyId,
    pub(crate) canary: Vec<u8>,
    pub(crate) created_at: Millis,
}

/// A key sealed by another one: the owner of `under` can open `id` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) id: MasterKeyId,
    pub(crate) under: MasterKeyId,
    pub(crate) sealed: Vec<u8>,
}

impl Copy {
    /// The text that the copy is sealed for.
    pub(crate) fn sealed_for(&self) -> String {
        format!("master key {}", self.id)
    }
}

fn id(row: &Row, column: &'static str) -> Result<MasterKeyId, DbError> {
    let text = row.text(column)?;
    MasterKeyId::parse(&text)
        .ok_or_else(|| DbError::Unreadable { column, why: "it is no id of a key".to_owned() })
}

/// All keys that were ever used, the newest last. Empty if nothing was ever sealed.
pub(crate) async fn all(conn: &mut Conn) -> Result<Vec<KnownKey>, DbError> {
    let rows = conn.rows("SELECT id, canary, created_at FROM master_key ORDER BY place", args![]).await?;
    let read = |row: &Row| {
        Ok(KnownKey { id: id(row, "id")?, canary: row.blob("canary")?, created_at: row.int("created_at")? })
    };
    rows.iter().map(read).collect()
}

/// Adds the newest key.
pub(crate) async fn keep(conn: &mut Conn, key: KnownKey) -> Result<(), DbError> {
    let sql = "INSERT INTO master_key (id, canary, created_at, place)
               SELECT $1, $2, $3, COALESCE(MAX(place), 0) + 1 FROM master_key";
    conn.exec(sql, args![key.id.to_string(), key.canary, key.created_at]).await?;
    Ok(())
}

pub(crate) async fn copies(conn: &mut Conn) -> Result<Vec<Copy>, DbError> {
    let rows = conn.rows("SELECT id, under, sealed FROM master_key_copy", args![]).await?;
    let read =
        |row: &Row| Ok(Copy { id: id(row, "id")?, under: id(row, "under")?, sealed: row.blob("sealed")? });
    rows.iter().map(read).collect()
}

pub(crate) async fn keep_copy(conn: &mut Conn, copy: Copy) -> Result<(), DbError> {
    let sql = "INSERT INTO master_key_copy (id, under, sealed) VALUES ($1, $2, $3)";
    conn.exec(sql, args![copy.id.to_string(), copy.under.to_string(), copy.sealed]).await?;
    Ok(())
}

/// Deletes the copies of this key that others have sealed.
pub(crate) async fn forget_copies_of(conn: &mut Conn, id: MasterKeyId) -> Result<(), DbError> {
    conn.exec("DELETE FROM master_key_copy WHERE id = $1", args![id.to_string()]).await?;
    Ok(())
}
