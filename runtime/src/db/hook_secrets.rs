//! What merchants keep secret, even from their own hooks.

use super::{Conn, DbError, args};
use crate::domain::Millis;

/// A secret as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct SecretRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Sealed for this id.
    pub(crate) value: Vec<u8>,
    pub(crate) created_at: Millis,
}

/// All of a hook, by name.
pub(crate) async fn list(conn: &mut Conn, hook_id: &str) -> Result<Vec<SecretRow>, DbError> {
    let sql = "SELECT id, name, value, created_at FROM hook_secret WHERE hook_id = $1 ORDER BY name";
    conn.rows(sql, args![hook_id.to_owned()])
        .await?
        .iter()
        .map(|row| {
            Ok(SecretRow {
                id: row.text("id")?,
                name: row.text("name")?,
                value: row.blob("value")?,
                created_at: row.int("created_at")?,
            })
        })
        .collect()
}

/// Sets a secret, in place of the one of this name.
pub(crate) async fn set(conn: &mut Conn, hook_id: &str, secret: SecretRow) -> Result<(), DbError> {
    delete(conn, hook_id, &secret.name).await?;
    conn.exec(
        "INSERT INTO hook_secret (id, hook_id, name, value, created_at) VALUES ($1, $2, $3, $4, $5)",
        args![secret.id, hook_id.to_owned(), secret.name, secret.value, secret.created_at],
    )
    .await?;
    Ok(())
}

/// Whether there was one.
pub(crate) async fn delete(conn: &mut Conn, hook_id: &str, name: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM hook_secret WHERE hook_id = $1 AND name = $2";
    Ok(conn.exec(sql, args![hook_id.to_owned(), name.to_owned()]).await? == 1)
}
