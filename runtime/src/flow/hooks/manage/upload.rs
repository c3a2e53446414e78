//! An upload: a component becomes a version of the hook that its manifest names.

use std::sync::Arc;

use serde_json::json;

use super::{Fit, HookError, HookInfo, VersionInfo, found, turns::Turn, versions::make_active};
use crate::{
    app::App,
    db::{
        DbError,
        disk::{self, DiskLimit},
        hooks::{self, Limits, NewVersion},
    },
    domain::{hook::Binding, size::SizeClass, tenant::Tenant, verbatim::Verbatim},
};

/// An uploaded hook.
pub(crate) struct Uploaded {
    pub(crate) hook: HookInfo,
    pub(crate) version: VersionInfo,
    pub(crate) size: SizeClass,
}

/// Takes the right to an upload, if the merchant's hooks have any room left.
pub(crate) async fn begin(app: &App, tenant: &Tenant) -> Result<Turn, HookError> {
    let turn = Turn::take(app, &tenant.merchant)?;
    limit(app).check(disk::taken(&mut app.db.read().await?, &tenant.merchant).await?)?;
    Ok(turn)
}

fn limit(app: &App) -> DiskLimit {
    DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant)
}

/// Admits a component, stores it as a version and makes that the one in use if `activate` says so.
pub(crate) async fn upload(
    app: &App,
    tenant: &Tenant,
    wasm: Vec<u8>,
    activate: bool,
) -> Result<Uploaded, HookError> {
    let bytes: Arc<[u8]> = wasm.into();
    let admitted = app.host.hooks().admit(bytes.clone()).await?;
    // Before it can be called: otherwise the first call would compile it again.
    let (sha256, is_new) = (admitted.sha256.clone(), admitted.code.is_some());
    if let Some(code) = admitted.code {
        app.host.hooks().keep(&sha256, code).await;
    }
    let new = NewVersion {
        name: admitted.manifest.name.clone(),
        version: admitted.manifest.version.to_string(),
        sha256: admitted.sha256,
        wasm: bytes.to_vec(),
        compiled: admitted.compiled,
        manifest: serde_json::to_string(&admitted.manifest).map_err(DbError::Unwritable)?,
        binding: Binding { events: admitted.manifest.events.clone(), ..Binding::default() },
    };
    let fit = if activate {
        let hook = hooks::by_name(&mut app.db.read().await?, tenant, &new.name).await?;
        let settings = hook.map_or_else(|| Verbatim::of(&json!({})), |hook| hook.settings);
        let component = (new.sha256.clone(), admitted.manifest);
        Some(Fit::of(app, tenant, component, &settings).await?)
    } else {
        None
    };
    let stored = store(app, tenant.clone(), new, fit).await;
    if stored.is_err() && is_new {
        app.host.hooks().forget(&sha256);
    }
    let (hook, version) = stored?;
    Ok(Uploaded { hook, version, size: admitted.class })
}

/// Stores a version, and makes it the one in use if there is a `fit` of its settings.
async fn store(
    app: &App,
    tenant: Tenant,
    new: NewVersion,
    fit: Option<Fit>,
) -> Result<(HookInfo, VersionInfo), HookError> {
    let config = &app.config.hooks;
    let limits = Limits { hooks: config.per_merchant, versions: config.versions_max, disk: limit(app) };
    let now = app.clock.now();
    app.db
        .write(move |conn| {
            Box::pin(async move {
                let (mut hook, version) = hooks::insert(conn, &tenant, new, limits, now).await?;
                if let Some(fit) = fit.filter(|_| hook.active_id.as_ref() != Some(&version.id)) {
                    make_active(conn, &hook, &version, &fit, now).await?;
                    hook = found(conn, &tenant, &hook.id).await?;
                }
                let version = VersionInfo::new(version, &hook)?;
                Ok((HookInfo::read(conn, hook).await?, version))
            })
        })
        .await
}
