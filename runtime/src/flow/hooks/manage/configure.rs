//! A hook's binding and settings.

use super::{Fit, HookError, HookInfo, fitted, found, info, manifest_of, secrets};
use crate::{
    db::{Conn, hooks},
    domain::{hook::Binding, id::HookId, tenant::Tenant, verbatim::Verbatim},
};

/// Sets what a hook is run for from now on.
pub(crate) async fn bind(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    binding: &Binding,
) -> Result<HookInfo, HookError> {
    found(conn, tenant, id).await?;
    hooks::set_binding(conn, id, binding).await?;
    info(conn, tenant, id).await
}

/// Sets a hook's settings, if they fit the version in use. `fit` is of these settings.
pub(crate) async fn set(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    settings: &Verbatim,
    fit: &Fit,
) -> Result<HookInfo, HookError> {
    let hook = found(conn, tenant, id).await?;
    if let Some(version) = fitted(conn, &hook).await? {
        if let Some(problem) = fit.problem(&version, settings)? {
            return Err(HookError::SettingsRefused { problem: problem.to_owned(), version: version.version });
        }
        if hook.active_id.is_some() {
            let manifest = manifest_of(&version)?;
            let (before, after) = (hook.settings.value(), settings.value());
            secrets::still_set(conn, &hook, &manifest, &before, &after).await?;
            fit.check_hosts(&manifest, &after)?;
        }
    }
    hooks::set_settings(conn, id, settings).await?;
    info(conn, tenant, id).await
}
