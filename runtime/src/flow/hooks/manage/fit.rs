//! Check of a hook's settings against the schema of a version. Both are untrusted, so it is made before the transaction
//! that depends on it begins, on a thread that may take its time.

use super::{HookError, fitted, manifest_of};
use crate::{
    app::App,
    db::hooks::{self, VersionRow},
    domain::{id::MerchantId, tenant::Tenant, verbatim::Verbatim},
    host::Manifest,
};

/// Result of checking a version against settings.
pub(crate) struct Fit {
    sha256: String,
    settings: String,
    problem: Option<String>,
}

impl Fit {
    /// Checks these settings against the manifest of the component with this SHA-256.
    pub(super) async fn of(
        app: &App,
        merchant_id: &MerchantId,
        sha256: &str,
        manifest: Manifest,
        settings: &Verbatim,
    ) -> Result<Self, HookError> {
        let values = settings.value();
        let _place = app.fits.enter(merchant_id).await;
        let look = move || manifest.settings_problem(&manifest.settings_filled(values));
        Ok(Self {
            sha256: sha256.to_owned(),
            settings: settings.text().to_owned(),
            problem: tokio::task::spawn_blocking(look).await?,
        })
    }

    /// Does the same for a stored version. `None` if there is none.
    async fn of_version(
        app: &App,
        merchant_id: &MerchantId,
        version: Option<VersionRow>,
        settings: &Verbatim,
    ) -> Result<Option<Self>, HookError> {
        let Some(version) = version else { return Ok(None) };
        let manifest = manifest_of(&version)?;
        Self::of(app, merchant_id, &version.sha256, manifest, settings).await.map(Some)
    }

    /// Checks a hook's settings against this version of it, or else against the one before the one in use. `None` if
    /// there is none.
    pub(crate) async fn of_hook(
        app: &App,
        tenant: &Tenant,
        hook_id: &str,
        version_id: Option<&str>,
    ) -> Result<Option<Self>, HookError> {
        let mut conn = app.db.read().await?;
        let Some(hook) = hooks::get(&mut conn, tenant, hook_id).await? else { return Ok(None) };
        let version = match version_id {
            Some(id) => hooks::version_by_id(&mut conn, id).await?,
            None => hooks::before_active(&mut conn, hook_id).await?,
        };
        drop(conn);
        let version = version.filter(|version| version.hook_id == hook.id);
        Self::of_version(app, &tenant.merchant, version, &hook.settings).await
    }

    /// Checks new settings against the version that they have to fit. `None` if there is none.
    pub(crate) async fn of_settings(
        app: &App,
        tenant: &Tenant,
        hook_id: &str,
        settings: &Verbatim,
    ) -> Result<Option<Self>, HookError> {
        let mut conn = app.db.read().await?;
        let version = match hooks::get(&mut conn, tenant, hook_id).await? {
            Some(hook) => fitted(&mut conn, &hook).await?,
            None => None,
        };
        drop(conn);
        Self::of_version(app, &tenant.merchant, version, settings).await
    }

    /// The problem found, if there is one. Errors if other settings or another version were checked.
    pub(super) fn problem<'f>(
        fit: Option<&'f Self>,
        version: &VersionRow,
        settings: &Verbatim,
    ) -> Result<Option<&'f str>, HookError> {
        let same = |fit: &&Self| fit.sha256 == version.sha256 && fit.settings == settings.text();
        Ok(fit.filter(same).ok_or(HookError::Changed)?.problem.as_deref())
    }
}
