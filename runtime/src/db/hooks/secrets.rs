//! What merchants keep secret, even from their own hooks.

use crate::{
    db::{Conn, DbError, args},
    domain::{
        Millis,
        hook::Purpose,
        id::{HookId, HookSecretId},
    },
};

/// A secret as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct SecretRow {
    pub(crate) id: HookSecretId,
    pub(crate) name: String,
    pub(crate) purpose: Purpose,
    /// Value, sealed for the text of [`SecretRow::sealed_for`].
    pub(crate) value: Vec<u8>,
    pub(crate) created_at: Millis,
}

impl SecretRow {
    /// The text that its value is sealed for: it opens as nothing else, and for no other purpose.
    pub(crate) fn sealed_for(&self) -> String {
        sealed_for(&self.id, &self.purpose)
    }
}

/// The text that the value of a secret with this id and purpose is sealed for.
pub(crate) fn sealed_for(id: &HookSecretId, purpose: &Purpose) -> String {
    sealed_for_text(id.as_str(), &purpose.to_string())
}

/// As [`sealed_for`], with the purpose as text.
pub(in crate::db) fn sealed_for_text(id: &str, purpose: &str) -> String {
    format!("{id} {purpose}")
}

/// All secrets of a hook, by name.
pub(crate) async fn list(conn: &mut Conn, hook_id: &HookId) -> Result<Vec<SecretRow>, DbError> {
    let sql = "SELECT id, name, purpose, value, created_at FROM hook_secret WHERE hook_id = $1
               ORDER BY name, purpose";
    conn.rows(sql, args![hook_id])
        .await?
        .iter()
        .map(|row| {
            Ok(SecretRow {
                id: row.id("id")?,
                name: row.text("name")?,
                purpose: row.parsed("purpose")?,
                value: row.blob("value")?,
                created_at: row.int("created_at")?,
            })
        })
        .collect()
}

/// Sets a secret, and replaces the one with this name and purpose.
pub(crate) async fn set(conn: &mut Conn, hook_id: &HookId, secret: SecretRow) -> Result<(), DbError> {
    let purpose = secret.purpose.to_string();
    let sql = "DELETE FROM hook_secret WHERE hook_id = $1 AND name = $2 AND purpose = $3";
    conn.exec(sql, args![hook_id, &secret.name, &purpose]).await?;
    conn.exec(
        "INSERT INTO hook_secret (id, hook_id, name, purpose, value, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        args![secret.id, hook_id, secret.name, purpose, secret.value, secret.created_at],
    )
    .await?;
    Ok(())
}

/// Deletes the secrets with this name, for all purposes. Returns true if there were any.
pub(crate) async fn delete(conn: &mut Conn, hook_id: &HookId, name: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM hook_secret WHERE hook_id = $1 AND name = $2";
    Ok(conn.exec(sql, args![hook_id, name.to_owned()]).await? > 0)
}
