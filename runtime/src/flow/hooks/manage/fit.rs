//! Check of a hook's settings against the schema of a version. Both are untrusted, so it is made before the transaction
//! that depends on it begins, on a thread that may take its time.

use std::sync::Arc;

use serde_json::Value;

use super::{HookError, fitted, manifest_of};
use crate::{
    app::App,
    config::Config,
    db::hooks::{self, VersionRow},
    domain::{
        id::{HookId, HookVersionId},
        tenant::Tenant,
        verbatim::Verbatim,
    },
    host::{Manifest, is_allowed},
};

/// Result of checking a version against settings, and what the operator allows.
pub(crate) struct Fit {
    /// None: there was no version.
    checked: Option<Checked>,
    config: Arc<Config>,
}

struct Checked {
    sha256: String,
    settings: String,
    problem: Option<String>,
}

impl Fit {
    fn new(app: &App, checked: Option<Checked>) -> Self {
        Self { checked, config: Arc::clone(&app.config) }
    }

    /// Checks these settings against the manifest of the component with this SHA-256.
    pub(super) async fn of(
        app: &App,
        tenant: &Tenant,
        (sha256, manifest): (String, Manifest),
        settings: &Verbatim,
    ) -> Result<Self, HookError> {
        let values = settings.value();
        let _place = app.fits.enter(tenant.merchant.as_str()).await;
        let look = move || manifest.settings_problem(&manifest.settings_filled(values));
        let problem = tokio::task::spawn_blocking(look).await?;
        Ok(Self::new(app, Some(Checked { sha256, settings: settings.text().to_owned(), problem })))
    }

    /// Does the same for a stored version, if there is one.
    async fn of_version(
        app: &App,
        tenant: &Tenant,
        version: Option<VersionRow>,
        settings: &Verbatim,
    ) -> Result<Self, HookError> {
        let Some(version) = version else { return Ok(Self::new(app, None)) };
        let manifest = manifest_of(&version)?;
        Self::of(app, tenant, (version.sha256, manifest), settings).await
    }

    /// Checks a hook's settings against this version of it, or else against the one before the one in use.
    pub(crate) async fn of_hook(
        app: &App,
        tenant: &Tenant,
        hook_id: &HookId,
        version_id: Option<&HookVersionId>,
    ) -> Result<Self, HookError> {
        let mut conn = app.db.read().await?;
        let Some(hook) = hooks::get(&mut conn, tenant, hook_id).await? else {
            return Ok(Self::new(app, None));
        };
        let version = match version_id {
            Some(id) => hooks::version_by_id(&mut conn, id).await?,
            None => hooks::before_active(&mut conn, hook_id).await?,
        };
        drop(conn);
        let version = version.filter(|version| version.hook_id == hook.id);
        Self::of_version(app, tenant, version, &hook.settings).await
    }

    /// Checks new settings against the version that they have to fit.
    pub(crate) async fn of_settings(
        app: &App,
        tenant: &Tenant,
        hook_id: &HookId,
        settings: &Verbatim,
    ) -> Result<Self, HookError> {
        let mut conn = app.db.read().await?;
        let version = match hooks::get(&mut conn, tenant, hook_id).await? {
            Some(hook) => fitted(&mut conn, &hook).await?,
            None => None,
        };
        drop(conn);
        Self::of_version(app, tenant, version, settings).await
    }

    /// The problem found, if there is one. Errors if other settings or another version were checked.
    pub(super) fn problem(
        &self,
        version: &VersionRow,
        settings: &Verbatim,
    ) -> Result<Option<&str>, HookError> {
        let same = |fit: &&Checked| fit.sha256 == version.sha256 && fit.settings == settings.text();
        Ok(self.checked.as_ref().filter(same).ok_or(HookError::Changed)?.problem.as_deref())
    }

    /// Refuses a version that, with these settings, would send requests to a host that the operator does not allow.
    pub(super) fn check_hosts(&self, manifest: &Manifest, settings: &Value) -> Result<(), HookError> {
        let allowed = &self.config.hooks.hosts;
        let hosts = manifest.hosts(&manifest.settings_filled(settings.clone()));
        match hosts.into_iter().find(|host| !is_allowed(allowed, host)) {
            None => Ok(()),
            Some(host) => Err(HookError::HostRefused { host, allowed: allowed.join(", ") }),
        }
    }
}
