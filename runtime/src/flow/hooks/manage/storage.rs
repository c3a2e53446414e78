//! A hook's storage, as its merchant sees and fills it.

use super::{HookError, fitted, found, manifest_of};
use crate::{
    app::App,
    config::Hooks,
    db::{
        Conn,
        disk::{self, DiskLimit},
        hooks::{self, Hook},
        plugin_storage::{self, StorageWrites},
    },
    domain::{id::HookId, tenant::Tenant},
    host::scope_of_hook,
};

/// Keys that begin with `prefix`, ascending, at most `limit` after the key `after`.
pub(crate) async fn keys(
    app: &App,
    tenant: &Tenant,
    id: &HookId,
    (prefix, after, limit): (&str, Option<&str>, u32),
) -> Result<Vec<String>, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, id).await?;
    let scope = scope_of_hook(&hook.id);
    let (_, keys) = plugin_storage::keys(&mut conn, &scope, prefix, after, i64::from(limit)).await?;
    Ok(keys)
}

/// The value under a key.
pub(crate) async fn get(app: &App, tenant: &Tenant, id: &HookId, key: &str) -> Result<Vec<u8>, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, id).await?;
    let (_, value) = plugin_storage::get(&mut conn, &scope_of_hook(&hook.id), key).await?;
    value.ok_or(MISSING)
}

const MISSING: HookError = HookError::Missing("value under this key");

/// Puts a value under a key, within what the version's manifest asks for and the operator allows.
pub(crate) async fn put(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    (key, value): (String, Vec<u8>),
    config: &Hooks,
) -> Result<(), HookError> {
    hooks::lock(conn, id).await?;
    let hook = found(conn, tenant, id).await?;
    let bytes_max = u64::from(config.storage_kib) * 1024;
    let limit = DiskLimit::of_mib(config.disk_mib_per_merchant);
    change(conn, tenant, &hook, (key, Some(value)), bytes_max, limit).await?;
    Ok(())
}

/// Deletes a value. Returns it.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    key: String,
) -> Result<Vec<u8>, HookError> {
    hooks::lock(conn, id).await?;
    let hook = found(conn, tenant, id).await?;
    change(conn, tenant, &hook, (key, None), 0, DiskLimit::of_mib(0)).await?.ok_or(MISSING)
}

/// Changes one value as the hook itself would. Returns the previous one.
async fn change(
    conn: &mut Conn,
    tenant: &Tenant,
    hook: &Hook,
    (key, value): (String, Option<Vec<u8>>),
    bytes_max: u64,
    limit: DiskLimit,
) -> Result<Option<Vec<u8>>, HookError> {
    let granted = fitted(conn, hook).await?.map(|version| manifest_of(&version)).transpose()?;
    let granted_kib = granted.map_or(0, |manifest| u64::from(manifest.grants.storage_kib));
    let scope = scope_of_hook(&hook.id);
    let (base, old) = plugin_storage::get(conn, &scope, &key).await?;
    let size = |value: &Option<Vec<u8>>| {
        value.as_ref().map_or(0, |value| u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX))
    };
    let bytes = base.bytes.saturating_sub(size(&old)).saturating_add(size(&value));
    if value.is_some() && bytes > (granted_kib * 1024).min(bytes_max) {
        return Err(HookError::StorageFull { granted_kib });
    }
    let writes = StorageWrites { scope, base, bytes, entries: [(key, value)].into() };
    disk::try_store(conn, &tenant.merchant, &writes, limit).await??;
    Ok(old)
}
