//! Hooks: a merchant's own components. Each part is a file: versions, what a hook is run with, its storage, its
//! runs.
//!
//! An upload commits by itself, so it cannot share the transaction of an Idempotency-Key. A repetition does no
//! harm: the same component again is the version that it already is.

mod configure;
mod matches;
mod problem;
mod replay;
mod runs;
mod secrets;
mod storage;
mod versions;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    db::hooks::HookState,
    domain::{
        hook::Binding,
        id::{HookId, HookVersionId},
        verbatim::Verbatim,
    },
    flow::hooks::manage::{self, HookInfo, VersionInfo},
    host::Manifest,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::{Answer, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem},
        time::Time,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(list))
        .routes(routes!(get, delete))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .merge(versions::routes())
        .merge(configure::routes())
        .merge(secrets::routes())
        .merge(storage::routes())
        .merge(replay::routes())
        .merge(runs::routes())
        .merge(matches::routes())
}

/// A merchant's component, bound to what it is run for.
#[derive(Debug, Serialize, ToSchema)]
struct HookView {
    #[schema(example = "hook_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: HookId,
    /// As its manifest says.
    #[schema(example = "license-keys")]
    name: String,
    state: HookState,
    /// The version in use; none: it is not activated yet.
    active: Option<HookVersionView>,
    binding: Binding,
    /// As they were set; what is left out is as the manifest says.
    #[schema(value_type = Object)]
    settings: Verbatim,
    /// Calls in a row that failed.
    failures: i64,
    /// After many of them its runs wait until then; none is dropped.
    paused_until: Option<Time>,
    created_at: Time,
}

/// A version of a hook: one component.
#[derive(Debug, Serialize, ToSchema)]
struct HookVersionView {
    #[schema(example = "hkv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: HookVersionId,
    #[schema(example = "hook_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    hook_id: HookId,
    #[schema(example = "0.1.0")]
    version: String,
    /// Of the component's bytes.
    sha256: String,
    active: bool,
    /// As its author wrote it, with what it asks for.
    manifest: Manifest,
    created_at: Time,
}

impl From<VersionInfo> for HookVersionView {
    fn from(VersionInfo { row, manifest, active }: VersionInfo) -> Self {
        Self {
            id: row.id,
            hook_id: row.hook_id,
            version: row.version,
            sha256: row.sha256,
            active,
            manifest,
            created_at: Time(row.created_at),
        }
    }
}

impl From<HookInfo> for HookView {
    fn from(HookInfo { hook, active }: HookInfo) -> Self {
        Self {
            id: hook.id,
            name: hook.name,
            state: hook.state,
            active: active.map(Into::into),
            binding: hook.binding,
            settings: hook.settings,
            failures: hook.failures,
            paused_until: hook.paused_until.map(Time),
            created_at: Time(hook.created_at),
        }
    }
}

/// The answer that shows a hook.
fn shown(hook: HookInfo) -> Result<Reply, Problem> {
    Reply::ok(&HookView::from(hook))
}

fn hook_id(id: PathParam) -> Result<HookId, Problem> {
    id.id("hook")
}

/// List hooks
#[utoipa::path(get, path = "/v1/hooks", tag = "hooks", responses((status = 200, body = Listed<HookView>)))]
async fn list(merchant: Merchant, State(app): State<App>) -> Result<Answer<Listed<HookView>>, Problem> {
    let hooks = manage::list(&app, &merchant.tenant).await?;
    Ok(Answer(Listed::all(hooks.into_iter().map(Into::into).collect())))
}

/// Get a hook
#[utoipa::path(get, path = "/v1/hooks/{id}", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = HookView)))]
async fn get(merchant: Merchant, State(app): State<App>, id: PathParam) -> Result<Answer<HookView>, Problem> {
    Ok(Answer(manage::get(&app, &merchant.tenant, &hook_id(id)?).await?.into()))
}

/// Delete a hook
///
/// Its versions, secrets and storage go; runs that wait are given up. What it did stays listed. The form of an endpoint is
/// not deleted: choose another one there first.
#[utoipa::path(delete, path = "/v1/hooks/{id}", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = HookView)),
    extensions(("x-problems" = json!([[Kind::HookInUse]]))))]
async fn delete(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let (id, now) = (hook_id(id)?, app.clock.now());
    let artefacts = manage::artefacts_of(&app, &id).await?;
    let delete = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { manage::delete(conn, &merchant.tenant, &id, now).await }),
        shown,
    );
    let reply = delete.await;
    manage::forget_code(&app, artefacts).await?;
    reply
}

/// Enable a hook
///
/// Runs that waited are made now. A pause after failures ends too.
#[utoipa::path(post, path = "/v1/hooks/{id}/enable", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = HookView)))]
async fn enable(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    set_state(merchant, app, id, body, HookState::Active).await
}

/// Disable a hook
///
/// What is due to it waits; nothing new is queued for it.
#[utoipa::path(post, path = "/v1/hooks/{id}/disable", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = HookView)))]
async fn disable(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    set_state(merchant, app, id, body, HookState::Disabled).await
}

async fn set_state(
    merchant: Merchant,
    app: App,
    id: PathParam,
    body: NoBody,
    state: HookState,
) -> Result<Reply, Problem> {
    let (id, now) = (hook_id(id)?, app.clock.now());
    let change = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { manage::set_state(conn, &merchant.tenant, &id, state, now).await }),
        shown,
    );
    let reply = change.await;
    app.wake.fulfill.notify_one();
    reply
}
