//! Versions that run without effects: a replay of what has been, and the shadow of what is.

use super::{HookError, found, versions::version_of};
use crate::{
    app::App,
    db::{
        Conn,
        hooks::{
            self, Hook,
            shadows::{self, Tally},
        },
    },
    domain::{
        id::{HookId, HookVersionId},
        tenant::Tenant,
    },
    flow::hooks::replay::{self, Replay},
};

/// Replays the newest events and questions, at most `limit` of each, to a version. A merchant has one replay at a time: it
/// makes many calls, one after the other, outside of every queue.
pub(crate) async fn replay(
    app: &App,
    tenant: &Tenant,
    id: &HookId,
    version_id: &HookVersionId,
    limit: u32,
) -> Result<Replay, HookError> {
    let _place = app.replays.enter(tenant.merchant.as_str()).await;
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, id).await?;
    let version = version_of(&mut conn, &hook, version_id).await?;
    drop(conn);
    Ok(replay::replay(app, tenant, &hook, &version, i64::from(limit)).await?)
}

/// The version in the shadow, if there is one, and how it does.
pub(crate) type Shadow = Option<(HookVersionId, Tally)>;

/// Sets the version in the shadow, or none. Errors if it is the one in use.
pub(crate) async fn set_shadow(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    version_id: Option<HookVersionId>,
) -> Result<Shadow, HookError> {
    let hook = found(conn, tenant, id).await?;
    if let Some(version_id) = &version_id {
        version_of(conn, &hook, version_id).await?;
        if hook.active_id.as_ref() == Some(version_id) {
            return Err(HookError::ShadowInUse);
        }
    }
    hooks::set_shadow(conn, id, version_id).await?;
    let hook = found(conn, tenant, id).await?;
    shadow_of(conn, &hook).await
}

pub(crate) async fn shadow(app: &App, tenant: &Tenant, id: &HookId) -> Result<Shadow, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, id).await?;
    shadow_of(&mut conn, &hook).await
}

async fn shadow_of(conn: &mut Conn, hook: &Hook) -> Result<Shadow, HookError> {
    let Some(version_id) = hook.shadow_id.clone() else { return Ok(None) };
    let tally = shadows::tally(conn, &hook.id, &version_id).await?;
    Ok(Some((version_id, tally)))
}
