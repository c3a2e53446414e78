//! A hook's binding and settings.

use serde_json::Value;

use super::{Fit, HookError, HookInfo, fitted, found, info, manifest_of, secrets};
use crate::{
    db::{Conn, hooks},
    domain::{hook::Binding, tenant::Tenant, verbatim::Verbatim},
    host::{Manifest, is_allowed},
};

/// Sets what a hook is run for from now on.
pub(crate) async fn bind(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &str,
    binding: &Binding,
) -> Result<HookInfo, HookError> {
    found(conn, tenant, id).await?;
    hooks::set_binding(conn, id, binding).await?;
    info(conn, tenant, id).await
}

/// Sets a hook's settings, if they fit the version in use. `fit` is of these settings, `allowed` are the hosts that the
/// operator allows.
pub(crate) async fn set(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &str,
    settings: &Verbatim,
    (fit, allowed): (Option<&Fit>, &[String]),
) -> Result<HookInfo, HookError> {
    let hook = found(conn, tenant, id).await?;
    if let Some(version) = fitted(conn, &hook).await? {
        if let Some(problem) = Fit::problem(fit, &version, settings)? {
            return Err(HookError::SettingsRefused { problem: problem.to_owned(), version: version.version });
        }
        if hook.active_id.is_some() {
            let manifest = manifest_of(&version)?;
            let (before, after) = (hook.settings.value(), settings.value());
            secrets::still_set(conn, &hook, &manifest, &before, &after).await?;
            hosts_allowed(allowed, &manifest, &after)?;
        }
    }
    hooks::set_settings(conn, id, settings).await?;
    info(conn, tenant, id).await
}

/// Refuses a version that, with these settings, would send requests to a host that the operator does not allow.
pub(super) fn hosts_allowed(
    allowed: &[String],
    manifest: &Manifest,
    settings: &Value,
) -> Result<(), HookError> {
    let hosts = manifest.hosts(&manifest.settings_filled(settings.clone()));
    match hosts.into_iter().find(|host| !is_allowed(allowed, host)) {
        None => Ok(()),
        Some(host) => Err(HookError::HostRefused { host, allowed: allowed.join(", ") }),
    }
}
