//! Versions of hooks: which there are, which is in use, and which was before.

use super::{Fit, HookError, HookInfo, VersionInfo, found, info, manifest_of, secrets};
use crate::{
    app::App,
    db::{
        Conn,
        hooks::{self, Hook, VersionRow, runs},
    },
    domain::{
        Millis,
        id::{HookId, HookVersionId},
        tenant::Tenant,
    },
};

/// All versions of a hook, the newest first.
pub(crate) async fn list(app: &App, tenant: &Tenant, id: &HookId) -> Result<Vec<VersionInfo>, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, id).await?;
    of_hook(&mut conn, &hook).await
}

async fn of_hook(conn: &mut Conn, hook: &Hook) -> Result<Vec<VersionInfo>, HookError> {
    let versions = hooks::versions(conn, &hook.id).await?;
    Ok(versions.into_iter().map(|row| VersionInfo::new(row, hook)).collect::<Result<_, _>>()?)
}

/// Makes a version the one in use. `fit` is of its settings.
pub(crate) async fn activate(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    version_id: &HookVersionId,
    fit: &Fit,
    now: Millis,
) -> Result<HookInfo, HookError> {
    let hook = found(conn, tenant, id).await?;
    let version = version_of(conn, &hook, version_id).await?;
    make_active(conn, &hook, &version, fit, now).await?;
    info(conn, tenant, id).await
}

/// Makes the version before the one in use the one in use again. Errors if `from` is not the one in use.
pub(crate) async fn roll_back(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    from: Option<HookVersionId>,
    fit: &Fit,
    now: Millis,
) -> Result<HookInfo, HookError> {
    let hook = found(conn, tenant, id).await?;
    if from.is_some() && from != hook.active_id {
        return Err(HookError::NotActive);
    }
    let before = hooks::before_active(conn, &hook.id).await?.ok_or(HookError::NothingBefore)?;
    make_active(conn, &hook, &before, fit, now).await?;
    info(conn, tenant, id).await
}

/// Deletes a version that is not in use. Returns those that are left.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    version_id: &HookVersionId,
) -> Result<Vec<VersionInfo>, HookError> {
    // As it is: nobody activates the version meanwhile.
    hooks::lock(conn, id).await?;
    let hook = found(conn, tenant, id).await?;
    let version = version_of(conn, &hook, version_id).await?;
    if hook.active_id.as_ref() == Some(&version.id) {
        return Err(HookError::VersionInUse);
    }
    hooks::delete_version(conn, &tenant.merchant, &version).await?;
    of_hook(conn, &hook).await
}

/// The version of this hook with this id.
pub(super) async fn version_of(
    conn: &mut Conn,
    hook: &Hook,
    version_id: &HookVersionId,
) -> Result<VersionRow, HookError> {
    let version = hooks::version_by_id(conn, version_id).await?;
    version.filter(|version| version.hook_id == hook.id).ok_or(HookError::NoVersion)
}

/// Activates a version, if everything that it requires is set.
pub(super) async fn make_active(
    conn: &mut Conn,
    hook: &Hook,
    version: &VersionRow,
    fit: &Fit,
    now: Millis,
) -> Result<(), HookError> {
    let manifest = manifest_of(version)?;
    if let Some(problem) = fit.problem(version, &hook.settings)? {
        return Err(HookError::SettingsUnset { hook_id: hook.id.clone(), problem: problem.to_owned() });
    }
    secrets::are_set(conn, hook, &manifest).await?;
    fit.check_hosts(&manifest, &hook.settings.value())?;
    let roles: Vec<_> = manifest.roles.iter().filter_map(|role| role.of_hook()).collect();
    hooks::activate(conn, &hook.id, &version.id, &roles, now).await?;
    // What the other version failed at is tried again at once.
    runs::hurry(conn, &hook.id, None, now).await?;
    Ok(())
}
