//! Versions of hooks: upload, activate, go back.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{
    HookVersionView, HookView, codes_of, configure::hosts_allowed, fit::Fit, forget_code, found, hook_id,
    manifest_of, secrets, turns::Turn, view,
};
use crate::{
    app::App,
    db::{
        Conn,
        disk::{self, DiskLimit},
        hooks::{self, Hook, Limits, NewVersion, VersionRow, runs},
    },
    domain::{
        Millis, hook::Binding, id::Kind as IdKind, size::SizeClass, tenant::Tenant, verbatim::Verbatim,
    },
    host::Manifest,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent, remembered},
        input::{PathPair, PathParam, Query},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem},
        upload::Wasm,
    },
};

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(upload))
        .routes(routes!(validate))
        .routes(routes!(list))
        .routes(routes!(activate))
        .routes(routes!(roll_back))
        .routes(routes!(delete))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadParams {
    /// Make it the version in use at once.
    #[serde(default)]
    #[param(default = false)]
    activate: bool,
}

/// What was uploaded.
#[derive(Debug, Serialize, ToSchema)]
struct Uploaded {
    hook: HookView,
    version: HookVersionView,
    size: SizeClass,
}

/// Upload a hook
///
/// The component is checked, compiled and started once; it becomes a version of the hook that its manifest names.
/// The same component again is the version that it already is. Send its bytes as they are, or as the file
/// `component` of a form.
#[utoipa::path(post, path = "/v1/hooks", tag = "hooks", params(UploadParams),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = Uploaded)),
    extensions(("x-problems" = json!([
        ACTIVATION, [Kind::UploadsLimited, Kind::HookLimit, Kind::DiskLimit, Kind::ComponentRefused]
    ]))))]
async fn upload(
    merchant: Merchant,
    State(app): State<App>,
    Query(params): Query<UploadParams>,
    request: Request,
) -> Result<Reply, Problem> {
    // Before the body is read: a component takes megabytes.
    let turn = Turn::take(&app, &merchant)?;
    let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
    limit.check(disk::taken(&mut app.db.read().await?, &merchant.tenant.merchant).await?)?;
    let wasm = Wasm::read(request, app.config.hooks.largest.artefact_bytes_max()).await?;
    // In a task of its own: compiling goes on though the client has hung up, and is there when it asks again.
    let task = tokio::spawn(async move {
        let _turn = turn;
        let owner = merchant.owner();
        let bytes: Arc<[u8]> = wasm.bytes.into();
        let work = async {
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
                manifest: serde_json::to_string(&admitted.manifest).map_err(Problem::internal)?,
                binding: Binding { events: admitted.manifest.events.clone(), ..Binding::default() },
            };
            let config = &app.config.hooks;
            let (hooks, versions) = (config.per_merchant, config.versions_max);
            let limits = Limits { hooks, versions, disk: limit };
            let (of, now, size) = (merchant.tenant.clone(), app.clock.now(), admitted.class);
            let config = app.config.clone();
            let fit = if params.activate {
                let hook = hooks::by_name(&mut app.db.read().await?, &of, &new.name).await?;
                let settings = hook.map_or_else(|| Verbatim::of(&json!({})), |hook| hook.settings);
                Fit::of(&app, &of.merchant, &new.sha256, admitted.manifest, &settings).await?
            } else {
                None
            };
            let stored = app.db.write::<_, Problem, _>(move |conn| {
                Box::pin(async move {
                    let (mut hook, version) = hooks::insert(conn, &of, new, limits, now).await?;
                    if params.activate && hook.active_id.as_ref() != Some(&version.id) {
                        make_active(conn, &hook, &version, fit.as_ref(), &config.hooks.hosts, now).await?;
                        hook = found(conn, &of, &hook.id).await?;
                    }
                    let version = HookVersionView::new(version, hook.active_id.as_deref())?;
                    Reply::new(
                        StatusCode::CREATED,
                        &Uploaded { hook: view(conn, hook).await?, version, size },
                    )
                })
            });
            let stored = stored.await;
            if stored.is_err() && is_new {
                app.host.hooks().forget(&sha256);
            }
            stored
        };
        Box::pin(remembered(&app, owner, wasm.once, work)).await
    });
    task.await.unwrap_or_else(|error| Err(Problem::internal(error)))
}

/// What a component would be.
#[derive(Debug, Serialize, ToSchema)]
struct Validated {
    manifest: Manifest,
    sha256: String,
    size: SizeClass,
}

/// Validate a hook
///
/// Does to a component what an upload does, and keeps nothing.
#[utoipa::path(post, path = "/v1/hooks/validate", tag = "hooks",
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = Validated)),
    extensions(("x-problems" = json!([[Kind::UploadsLimited, Kind::HookLimit, Kind::ComponentRefused]]))))]
async fn validate(
    merchant: Merchant,
    State(app): State<App>,
    request: Request,
) -> Result<Answer<Validated>, Problem> {
    let _turn = Turn::take(&app, &merchant)?;
    let wasm = Wasm::read(request, app.config.hooks.largest.artefact_bytes_max()).await?;
    let admitted = app.host.hooks().admit(wasm.bytes.into()).await?;
    Ok(Answer(Validated { manifest: admitted.manifest, sha256: admitted.sha256, size: admitted.class }))
}

/// List the versions of a hook
///
/// The newest first.
#[utoipa::path(get, path = "/v1/hooks/{id}/versions", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = Listed<HookVersionView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<Listed<HookVersionView>>, Problem> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, &merchant.tenant, &hook_id(id)?).await?;
    let versions = hooks::versions(&mut conn, &hook.id).await?;
    let views = versions.into_iter().map(|version| HookVersionView::new(version, hook.active_id.as_deref()));
    Ok(Answer(Listed::all(views.collect::<Result<_, _>>()?)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HookActivation {
    #[schema(example = "hkv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    version_id: String,
}

/// Activate a version
///
/// The next call runs on it; calls under way end on the version that they began with. Refused while its settings
/// do not fit or a secret is missing.
#[utoipa::path(post, path = "/v1/hooks/{id}/activate", tag = "hooks", params(("id" = String, Path)),
    request_body = HookActivation, responses((status = 200, body = HookView)),
    extensions(("x-problems" = json!([ACTIVATION]))))]
async fn activate(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<HookActivation>,
) -> Result<Reply, Problem> {
    let (id, now) = (hook_id(id)?, app.clock.now());
    let version_id = body.value.version_id;
    let fit = Fit::of_hook(&app, &merchant.tenant, &id, Some(&version_id)).await?;
    let config = app.config.clone();
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let tenant = merchant.tenant.clone();
            let hook = found(conn, &tenant, &id).await?;
            let version = version_of(conn, &hook, &version_id).await?;
            make_active(conn, &hook, &version, fit.as_ref(), &config.hooks.hosts, now).await?;
            active_view(conn, &tenant, &id).await
        })
    })
    .await;
    app.wake.fulfill.notify_one();
    reply
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HookRollback {
    /// The version to leave: refused if another one is in use by then.
    from: Option<String>,
}

/// Roll back
///
/// Activates the version that was in use before the one that is.
#[utoipa::path(post, path = "/v1/hooks/{id}/roll_back", tag = "hooks", params(("id" = String, Path)),
    request_body = HookRollback, responses((status = 200, body = HookView)),
    extensions(("x-problems" = json!([ACTIVATION]))))]
async fn roll_back(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<HookRollback>,
) -> Result<Reply, Problem> {
    let (id, now) = (hook_id(id)?, app.clock.now());
    let from = body.value.from;
    let fit = Fit::of_hook(&app, &merchant.tenant, &id, None).await?;
    let config = app.config.clone();
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let tenant = merchant.tenant.clone();
            let hook = found(conn, &tenant, &id).await?;
            if from.is_some() && from != hook.active_id {
                let detail = "from: another version is in use now.";
                return Err(Problem::new(Kind::Conflict, detail).field("from"));
            }
            let before = hooks::before_active(conn, &hook.id).await?;
            let before = before.ok_or_else(|| {
                Problem::new(Kind::Conflict, "The hook had no other version before this one.")
            })?;
            make_active(conn, &hook, &before, fit.as_ref(), &config.hooks.hosts, now).await?;
            active_view(conn, &tenant, &id).await
        })
    })
    .await;
    app.wake.fulfill.notify_one();
    reply
}

/// Delete a version
///
/// One that is not in use. The recordings of its calls and its compiled code go with it.
#[utoipa::path(delete, path = "/v1/hooks/{id}/versions/{version_id}", tag = "hooks",
    params(("id" = String, Path), ("version_id" = String, Path)),
    responses((status = 200, body = Listed<HookVersionView>)),
    extensions(("x-problems" = json!([[Kind::Conflict]]))))]
async fn delete(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: NoBody,
) -> Result<Reply, Problem> {
    let (id, version_id) = path.id_text(IdKind::Hook, "hook")?;
    let codes = codes_of(&app, &id).await?;
    let reply = idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            // As it is: nobody activates the version meanwhile.
            hooks::lock(conn, &id).await?;
            let hook = found(conn, &merchant.tenant, &id).await?;
            let version = version_of(conn, &hook, &version_id).await?;
            if hook.active_id.as_ref() == Some(&version.id) {
                return Err(Problem::new(
                    Kind::Conflict,
                    "The version is in use; activate another one first.",
                ));
            }
            hooks::delete_version(conn, &merchant.tenant.merchant, &version).await?;
            let versions = hooks::versions(conn, &hook.id).await?;
            let views =
                versions.into_iter().map(|version| HookVersionView::new(version, hook.active_id.as_deref()));
            Reply::ok(&Listed::all(views.collect::<Result<_, _>>()?))
        })
    })
    .await;
    forget_code(&app, codes).await?;
    reply
}

async fn active_view(conn: &mut Conn, tenant: &Tenant, id: &str) -> Result<Reply, Problem> {
    let hook = found(conn, tenant, id).await?;
    Reply::ok(&view(conn, hook).await?)
}

pub(super) async fn version_of(
    conn: &mut Conn,
    hook: &Hook,
    version_id: &str,
) -> Result<VersionRow, Problem> {
    let missing = || Problem::not_found("version of this hook").field("version_id");
    if !IdKind::HookVersion.accepts(version_id) {
        return Err(missing());
    }
    let version = hooks::version_by_id(conn, version_id).await?;
    version.filter(|version| version.hook_id == hook.id).ok_or_else(missing)
}

/// Kinds of [`make_active`]'s refusals.
const ACTIVATION: &[Kind] = &[Kind::HookNotReady, Kind::GrantRefused, Kind::Conflict];

/// Activates a version, if everything that it requires is set.
async fn make_active(
    conn: &mut Conn,
    hook: &Hook,
    version: &VersionRow,
    fit: Option<&Fit>,
    allowed: &[String],
    now: Millis,
) -> Result<(), Problem> {
    let manifest = manifest_of(version)?;
    if let Some(problem) = Fit::problem(fit, version, &hook.settings)? {
        return Err(Problem::new(
            Kind::HookNotReady,
            format!("{problem}. Set them first: PUT /v1/hooks/{}/settings.", hook.id),
        ));
    }
    secrets::are_set(conn, hook, &manifest).await?;
    hosts_allowed(allowed, &manifest, &hook.settings.value())?;
    let roles: Vec<_> = manifest.roles.iter().filter_map(|role| role.of_hook()).collect();
    hooks::activate(conn, &hook.id, &version.id, &roles, now).await?;
    // What the other version failed at is tried again at once.
    runs::hurry(conn, &hook.id, None, now).await?;
    Ok(())
}
