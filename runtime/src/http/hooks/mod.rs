//! Hooks: a merchant's own components. Each part is a file: versions, what a hook is run with, its storage, its
//! runs.
//!
//! An upload commits by itself, so it cannot share the transaction of an Idempotency-Key. A repetition does no
//! harm: the same component again is the version that it already is.

mod configure;
mod fit;
mod matches;
mod replay;
mod runs;
mod secrets;
mod storage;
mod turns;
mod versions;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    db::{
        Conn,
        hooks::{self, Hook, HookState, StoreError, VersionRow, forms, runs as run_rows},
        plugins,
    },
    domain::{hook::Binding, id::Kind as IdKind, tenant::Tenant, verbatim::Verbatim},
    host::{Manifest, scope_of_hook},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::{Answer, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem, sentence},
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
    id: String,
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
    id: String,
    #[schema(example = "hook_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    hook_id: String,
    #[schema(example = "0.1.0")]
    version: String,
    /// Of the component's bytes.
    sha256: String,
    active: bool,
    /// As its author wrote it, with what it asks for.
    manifest: Manifest,
    created_at: Time,
}

fn manifest_of(version: &VersionRow) -> Result<Manifest, Problem> {
    serde_json::from_str(&version.manifest).map_err(Problem::internal)
}

impl HookVersionView {
    fn new(version: VersionRow, active_id: Option<&str>) -> Result<Self, Problem> {
        Ok(Self {
            active: active_id == Some(version.id.as_str()),
            manifest: manifest_of(&version)?,
            id: version.id,
            hook_id: version.hook_id,
            version: version.version,
            sha256: version.sha256,
            created_at: Time(version.created_at),
        })
    }
}

async fn view(conn: &mut Conn, hook: Hook) -> Result<HookView, Problem> {
    let active = match &hook.active_id {
        Some(id) => hooks::version_by_id(conn, id).await?,
        None => None,
    };
    Ok(HookView {
        active: active.map(|version| HookVersionView::new(version, hook.active_id.as_deref())).transpose()?,
        id: hook.id,
        name: hook.name,
        state: hook.state,
        binding: hook.binding,
        settings: hook.settings,
        failures: hook.failures,
        paused_until: hook.paused_until.map(Time),
        created_at: Time(hook.created_at),
    })
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Db(error) => error.into(),
            StoreError::Full(full) => full.into(),
            limit => Self::new(Kind::HookLimit, sentence(&limit)),
        }
    }
}

fn hook_id(id: PathParam) -> Result<String, Problem> {
    id.id_text(IdKind::Hook, "hook")
}

/// The merchant's hook with this id.
async fn found(conn: &mut Conn, tenant: &Tenant, id: &str) -> Result<Hook, Problem> {
    hooks::get(conn, tenant, id).await?.ok_or_else(|| Problem::not_found("hook"))
}

/// List hooks
#[utoipa::path(get, path = "/v1/hooks", tag = "hooks", responses((status = 200, body = Listed<HookView>)))]
async fn list(merchant: Merchant, State(app): State<App>) -> Result<Answer<Listed<HookView>>, Problem> {
    let mut conn = app.db.read().await?;
    let mut views = Vec::new();
    for hook in hooks::list(&mut conn, &merchant.tenant).await? {
        views.push(view(&mut conn, hook).await?);
    }
    Ok(Answer(Listed::all(views)))
}

/// Get a hook
#[utoipa::path(get, path = "/v1/hooks/{id}", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = HookView)))]
async fn get(merchant: Merchant, State(app): State<App>, id: PathParam) -> Result<Answer<HookView>, Problem> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, &merchant.tenant, &hook_id(id)?).await?;
    Ok(Answer(view(&mut conn, hook).await?))
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
    let codes = codes_of(&app, &id).await?;
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let hook = found(conn, &merchant.tenant, &id).await?;
            let view = view(conn, hook).await?;
            // Held until it is deleted, so that no endpoint takes it meanwhile.
            hooks::lock(conn, &id).await?;
            check_unused(conn, &id).await?;
            hooks::delete(conn, &merchant.tenant.merchant, &id, scope_of_hook(&id), now).await?;
            Reply::ok(&view)
        })
    })
    .await;
    forget_code(&app, codes).await?;
    reply
}

/// Refuses a hook that is the form of an endpoint.
async fn check_unused(conn: &mut Conn, hook_id: &str) -> Result<(), Problem> {
    let endpoints = forms::endpoints_of(conn, hook_id).await?;
    if endpoints.is_empty() {
        return Ok(());
    }
    let detail = "Endpoints are told in this form: choose another one for them, or delete them.";
    Err(Problem::new(Kind::HookInUse, detail).with("endpoints", endpoints))
}

/// SHA-256 of each artefact of a hook.
async fn codes_of(app: &App, hook_id: &str) -> Result<Vec<String>, Problem> {
    let versions = hooks::versions(&mut app.db.read().await?, hook_id).await?;
    Ok(versions.into_iter().map(|version| version.sha256).collect())
}

/// Deletes the compiled code of those artefacts that no longer exist, and has recordings of their calls deleted. Other
/// replicas delete their copies in their own sweep.
async fn forget_code(app: &App, artefacts: Vec<String>) -> Result<(), Problem> {
    app.wake.retention.notify_one();
    let mut conn = app.db.read().await?;
    for sha256 in artefacts {
        if plugins::artefact_bytes(&mut conn, &sha256).await? == 0 {
            app.host.hooks().forget(&sha256);
        }
    }
    Ok(())
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
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let tenant = merchant.tenant.clone();
            found(conn, &tenant, &id).await?;
            hooks::set_state(conn, &id, state).await?;
            if state == HookState::Active {
                run_rows::hurry(conn, &id, None, now).await?;
            }
            let hook = found(conn, &tenant, &id).await?;
            Reply::ok(&view(conn, hook).await?)
        })
    })
    .await;
    app.wake.fulfill.notify_one();
    reply
}
