//! What goes when a hook or a version of one is deleted, and what that frees.

use super::{VersionRow, lock, versions};
use crate::{
    db::{
        Conn, DbError, args,
        disk::{self, DiskUse},
        hooks::{matches, runs},
        plugin_storage, plugins,
    },
    domain::{
        Millis,
        id::{HookId, MerchantId},
    },
};

/// Maximum number of recordings deleted together with their version; the writer is not held for longer.
const TAPES_AT_ONCE: i64 = 200;

/// Deletes an inactive version of a merchant's hook, with the recordings of its calls; if they are many, retention
/// deletes the rest.
pub(crate) async fn delete_version(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    version: &VersionRow,
) -> Result<(), DbError> {
    let freed = forget(conn, version, TAPES_AT_ONCE).await?;
    disk::count(conn, merchant_id, freed.freed()).await?;
    Ok(())
}

/// Deletes a version, with its results in the shadow and `tapes` recordings of its calls. Returns the sizes freed.
async fn forget(conn: &mut Conn, version: &VersionRow, tapes: i64) -> Result<DiskUse, DbError> {
    lock(conn, &version.hook_id).await?;
    conn.exec("DELETE FROM hook_activation WHERE version_id = $1", args![&version.id]).await?;
    let sql = "DELETE FROM hook_shadow WHERE hook_id = $1 AND version_id = $2 RETURNING bytes";
    let shadows = conn.rows(sql, args![&version.hook_id, &version.id]).await?;
    let mut runs = disk::sum(&shadows, "bytes")?;
    conn.exec(
        "UPDATE hook SET shadow_id = NULL WHERE id = $1 AND shadow_id = $2",
        args![&version.hook_id, &version.id],
    )
    .await?;
    runs += runs::forget_tapes(conn, &version.id, None, tapes).await?.1;
    runs += matches::forget_tapes(conn, &version.id, None, tapes).await?.1;
    let sql = "DELETE FROM hook_version WHERE id = $1 RETURNING bytes, compiled_bytes";
    let gone = conn.rows(sql, args![&version.id]).await?;
    plugins::drop_artefact(conn, &version.sha256).await?;
    let (components, compiled_code) = (disk::sum(&gone, "bytes")?, disk::sum(&gone, "compiled_bytes")?);
    Ok(DiskUse { components, compiled_code, storage: 0, runs })
}

/// Deletes a merchant's hook, with its secrets, its storage (`scope`) and its waiting runs. Past runs stay listed;
/// retention deletes their recordings.
pub(crate) async fn delete(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    hook_id: &HookId,
    scope: String,
    now: Millis,
) -> Result<(), DbError> {
    let hook = || hook_id.clone();
    conn.exec(
        "UPDATE hook SET deleted_at = $2, active_id = NULL, due_at = NULL WHERE id = $1",
        args![hook(), now],
    )
    .await?;
    conn.exec(
        "UPDATE hook_run SET state = 'exhausted', done_at = $2, note = 'the hook was deleted'
         WHERE state = 'pending' AND hook_id = $1",
        args![hook(), now],
    )
    .await?;
    conn.exec("DELETE FROM hook_run_queue WHERE hook_id = $1", args![hook()]).await?;
    conn.exec("DELETE FROM hook_secret WHERE hook_id = $1", args![hook()]).await?;
    let storage = plugin_storage::delete(conn, &scope).await?;
    let mut freed = DiskUse { storage, ..DiskUse::default() };
    for version in versions(conn, hook_id).await? {
        let DiskUse { components, compiled_code, runs, .. } = forget(conn, &version, 0).await?;
        freed.components += components;
        freed.compiled_code += compiled_code;
        freed.runs += runs;
    }
    disk::count(conn, merchant_id, freed.freed()).await?;
    Ok(())
}
