//! Versions of hooks: upload, activate, go back.

use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{HookVersionView, HookView, hook_id, shown};
use crate::{
    app::App,
    domain::size::SizeClass,
    flow::hooks::manage::{self, Fit, VersionInfo, turns::Turn, upload, versions},
    host::Manifest,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent, remembered},
        input::{PathPair, PathParam, Query, named},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem},
        upload::Wasm,
    },
};

/// Kinds of the refusals to activate a version.
const ACTIVATION: &[Kind] = &[Kind::HookNotReady, Kind::GrantRefused, Kind::Conflict];

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

impl From<upload::Uploaded> for Uploaded {
    fn from(upload::Uploaded { hook, version, size }: upload::Uploaded) -> Self {
        Self { hook: hook.into(), version: version.into(), size }
    }
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
    let turn = upload::begin(&app, &merchant.tenant).await?;
    let wasm = Wasm::read(request, app.config.hooks.largest.artefact_bytes_max()).await?;
    // In a task of its own: compiling goes on though the client has hung up, and is there when it asks again.
    let task = tokio::spawn(async move {
        let _turn = turn;
        let work = async {
            let uploaded = upload::upload(&app, &merchant.tenant, wasm.bytes, params.activate).await?;
            Reply::created(&Uploaded::from(uploaded))
        };
        Box::pin(remembered(&app, merchant.owner(), wasm.once, work)).await
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
    let _turn = Turn::take(&app, &merchant.tenant.merchant)?;
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
    Ok(Answer(listed(versions::list(&app, &merchant.tenant, &hook_id(id)?).await?)))
}

fn listed(versions: Vec<VersionInfo>) -> Listed<HookVersionView> {
    Listed::all(versions.into_iter().map(Into::into).collect())
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
    let version_id = named(&body.value.version_id);
    let fit = Fit::of_hook(&app, &merchant.tenant, &id, Some(&version_id)).await?;
    let activate = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(
                async move { versions::activate(conn, &merchant.tenant, &id, &version_id, &fit, now).await },
            )
        },
        shown,
    );
    let reply = activate.await;
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
    let roll_back = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(async move {
                versions::roll_back(conn, &merchant.tenant, &id, from.as_deref().map(named), &fit, now).await
            })
        },
        shown,
    );
    let reply = roll_back.await;
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
    let (id, version_id) = path.id("hook")?;
    let artefacts = manage::artefacts_of(&app, &id).await?;
    let delete = idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(async move { versions::delete(conn, &merchant.tenant, &id, &named(&version_id)).await })
        },
        |left| Reply::ok(&listed(left)),
    );
    let reply = delete.await;
    manage::forget_code(&app, artefacts).await?;
    reply
}
