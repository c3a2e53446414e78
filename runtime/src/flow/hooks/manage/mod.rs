//! What a merchant does with its hooks.
//!
//! The cast:
//! - [`turns`] bounds uploads; [`upload`] makes a component a version of a hook; [`versions`] lists, activates, rolls back
//!   and deletes them.
//! - [`configure`] is what a hook is run with: its binding and its settings; [`secrets`] its secrets. Whether settings
//!   [`fit`] a version is checked before the transaction that depends on it.
//! - [`storage`] is what it has stored; [`runs`] are its calls and what they used; [`trials`] are versions that run without
//!   effects.
//! - [`HookError`] is why something is refused.

pub(crate) mod configure;
mod error;
mod fit;
pub(crate) mod runs;
pub(crate) mod secrets;
pub(crate) mod storage;
pub(crate) mod trials;
pub(crate) mod turns;
pub(crate) mod upload;
pub(crate) mod versions;

pub(crate) use error::HookError;
pub(crate) use fit::Fit;

use crate::{
    app::App,
    db::{
        Conn, DbError,
        hooks::{self, Hook, HookState, VersionRow, forms, runs as run_rows},
        plugins,
    },
    domain::{Millis, id::HookId, tenant::Tenant},
    host::{Manifest, scope_of_hook},
};

/// A hook with the version in use, if there is one.
#[derive(Debug)]
pub(crate) struct HookInfo {
    pub(crate) hook: Hook,
    pub(crate) active: Option<VersionInfo>,
}

/// A version of a hook with its manifest.
#[derive(Debug)]
pub(crate) struct VersionInfo {
    pub(crate) row: VersionRow,
    pub(crate) manifest: Manifest,
    /// True if it is the version in use.
    pub(crate) active: bool,
}

impl VersionInfo {
    fn new(row: VersionRow, hook: &Hook) -> Result<Self, DbError> {
        let active = hook.active_id.as_ref() == Some(&row.id);
        Ok(Self { manifest: manifest_of(&row)?, active, row })
    }
}

impl HookInfo {
    async fn read(conn: &mut Conn, hook: Hook) -> Result<Self, DbError> {
        let active = match &hook.active_id {
            Some(id) => hooks::version_by_id(conn, id).await?,
            None => None,
        };
        Ok(Self { active: active.map(|row| VersionInfo::new(row, &hook)).transpose()?, hook })
    }
}

fn manifest_of(version: &VersionRow) -> Result<Manifest, DbError> {
    serde_json::from_str(&version.manifest)
        .map_err(|error| DbError::Unreadable { column: "manifest", why: error.to_string() })
}

async fn found(conn: &mut Conn, tenant: &Tenant, id: &HookId) -> Result<Hook, HookError> {
    hooks::get(conn, tenant, id).await?.ok_or(HookError::Missing("hook"))
}

/// The hook as it is now, for an answer.
async fn info(conn: &mut Conn, tenant: &Tenant, id: &HookId) -> Result<HookInfo, HookError> {
    let hook = found(conn, tenant, id).await?;
    Ok(HookInfo::read(conn, hook).await?)
}

/// The version that a hook's settings and storage have to fit: the one in use, or before the first activation the newest.
async fn fitted(conn: &mut Conn, hook: &Hook) -> Result<Option<VersionRow>, DbError> {
    match &hook.active_id {
        Some(active) => hooks::version_by_id(conn, active).await,
        None => Ok(hooks::versions(conn, &hook.id).await?.into_iter().next()),
    }
}

/// All hooks of the merchant, by name.
pub(crate) async fn list(app: &App, tenant: &Tenant) -> Result<Vec<HookInfo>, HookError> {
    let mut conn = app.db.read().await?;
    let mut infos = Vec::new();
    for hook in hooks::list(&mut conn, tenant).await? {
        infos.push(HookInfo::read(&mut conn, hook).await?);
    }
    Ok(infos)
}

pub(crate) async fn get(app: &App, tenant: &Tenant, id: &HookId) -> Result<HookInfo, HookError> {
    info(&mut app.db.read().await?, tenant, id).await
}

/// Enables or disables a hook. What waited for one that is enabled is due now.
pub(crate) async fn set_state(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    state: HookState,
    now: Millis,
) -> Result<HookInfo, HookError> {
    found(conn, tenant, id).await?;
    hooks::set_state(conn, id, state).await?;
    if state == HookState::Active {
        run_rows::hurry(conn, id, None, now).await?;
    }
    info(conn, tenant, id).await
}

/// Deletes a hook that is no endpoint's form. Returns it as it was.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    now: Millis,
) -> Result<HookInfo, HookError> {
    let was = info(conn, tenant, id).await?;
    // Held until it is deleted, so that no endpoint takes it meanwhile.
    hooks::lock(conn, id).await?;
    let endpoints = forms::endpoints_of(conn, id).await?;
    if !endpoints.is_empty() {
        return Err(HookError::IsForm { endpoints });
    }
    hooks::delete(conn, &tenant.merchant, id, scope_of_hook(id), now).await?;
    Ok(was)
}

/// SHA-256 of each artefact of a hook.
pub(crate) async fn artefacts_of(app: &App, hook_id: &HookId) -> Result<Vec<String>, DbError> {
    let versions = hooks::versions(&mut app.db.read().await?, hook_id).await?;
    Ok(versions.into_iter().map(|version| version.sha256).collect())
}

/// Deletes the compiled code of those artefacts that no longer exist, and has recordings of their calls deleted. Other
/// replicas delete their copies in their own sweep.
pub(crate) async fn forget_code(app: &App, artefacts: Vec<String>) -> Result<(), DbError> {
    app.wake.retention.notify_one();
    let mut conn = app.db.read().await?;
    for sha256 in artefacts {
        if plugins::artefact_bytes(&mut conn, &sha256).await? == 0 {
            app.host.hooks().forget(&sha256);
        }
    }
    Ok(())
}
