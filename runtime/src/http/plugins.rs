//! Plugins, for the operator: bring a component in, make it the active one, go back.
//!
//! A change of the registry commits by itself, so it cannot share the transaction of an Idempotency-Key. Each is
//! made so that a repetition after a crash does no harm: installing or activating again changes nothing, and a
//! rollback may name the version that it is to leave.

use axum::extract::{Request, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::plugins::Origin,
    domain::id::PluginVersionId,
    host::{AdmitError, Difference, Grants, Manifest, PluginVersion, RegistryError, Tally},
    http::{
        auth::Operator,
        idempotent::{Once, Reply, remembered},
        input::{PathParam, Query},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem, sentence},
        time::Time,
        upload::Wasm,
    },
};

/// Lock for one change at a time, so that two requests with one key do not both do it.
static TURN: Mutex<()> = Mutex::const_new(());

pub(super) fn routes() -> Routes {
    Routes::default()
        .routes(routes!(upload, list))
        .routes(routes!(get))
        .routes(routes!(activate))
        .routes(routes!(roll_back))
        .routes(routes!(unload))
        .routes(routes!(grant))
        .routes(routes!(set_shadow, shadow))
}

/// One version of a plugin: an artefact, what it asks for and what it is allowed.
#[derive(Debug, Serialize, ToSchema)]
struct VersionView {
    #[schema(example = "plv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: PluginVersionId,
    plugin: String,
    #[schema(example = "0.1.0")]
    version: String,
    /// Of the component's bytes.
    sha256: String,
    active: bool,
    origin: Origin,
    /// As its author wrote it, with what it asks for.
    manifest: Manifest,
    /// What the operator allows.
    grants: Grants,
    created_at: Time,
}

impl From<PluginVersion> for VersionView {
    fn from(version: PluginVersion) -> Self {
        Self {
            id: version.id,
            plugin: version.manifest.name.clone(),
            version: version.manifest.version.to_string(),
            sha256: version.sha256,
            active: version.active,
            origin: version.origin,
            manifest: version.manifest,
            grants: version.grants,
            created_at: Time(version.created_at),
        }
    }
}

/// A plugin by name.
#[derive(Debug, Serialize, ToSchema)]
struct PluginView {
    #[schema(example = "evm")]
    name: String,
    /// None: unloaded.
    active: Option<VersionView>,
    /// Whether the active version is ready in this process; the log says why if it is not.
    loaded: bool,
}

impl From<AdmitError> for Problem {
    fn from(error: AdmitError) -> Self {
        Self::new(Kind::ComponentRefused, sentence(&error)).with("reason", error.slug())
    }
}

/// Kinds of the registry's refusals.
const ADMISSION: &[Kind] = &[Kind::ComponentRefused, Kind::GrantRefused, Kind::Conflict];

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let text = sentence(&error);
        match error {
            RegistryError::Admit(error) => error.into(),
            RegistryError::NoPlugin(_) => Self::new(Kind::NotFound, "There is no plugin with this name."),
            RegistryError::NoVersion { .. } => Self::not_found("version of this plugin"),
            RegistryError::NothingBefore(_) => Self::new(Kind::Conflict, text),
            RegistryError::NotGranted { .. } => Self::new(Kind::GrantRefused, text),
            RegistryError::Db(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadParams {
    /// Make it the active version at once.
    #[serde(default)]
    #[param(default = false)]
    activate: bool,
}

/// Upload a plugin
///
/// The component is checked, compiled and called once; it becomes a version of the plugin that its manifest names.
/// The same component again is the version that it already is.
#[utoipa::path(post, path = "/v1/operator/plugins", tag = "operator: plugins", params(UploadParams),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = VersionView)),
    extensions(("x-problems" = json!([ADMISSION]))))]
async fn upload(
    _: Operator,
    State(app): State<App>,
    Query(params): Query<UploadParams>,
    request: Request,
) -> Result<Reply, Problem> {
    let wasm = Wasm::read(request, app.config.plugins.artefact_bytes_max).await?;
    change(&app.clone(), wasm.once, async move {
        let registry = app.host.registry();
        let mut version = registry.install(wasm.bytes).await?;
        if params.activate && !version.active {
            version = registry.activate(&version.manifest.name, &version.id).await?;
        }
        Reply::new(StatusCode::CREATED, &VersionView::from(version))
    })
    .await
}

/// Makes a change in a task of its own: compiling continues after the client hangs up, and the answer is there when it
/// asks again.
async fn change<F>(app: &App, once: Once, work: F) -> Result<Reply, Problem>
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let inside = app.clone();
    let task = tokio::spawn(async move {
        let _turn = TURN.lock().await;
        let reply = remembered(&inside, Operator::OWNER.to_owned(), once, work).await;
        inside.wake.observe.notify_waiters();
        reply
    });
    task.await.unwrap_or_else(|error| Err(Problem::internal(error)))
}

/// List plugins
#[utoipa::path(get, path = "/v1/operator/plugins", tag = "operator: plugins",
    responses((status = 200, body = Listed<PluginView>)))]
async fn list(_: Operator, State(app): State<App>) -> Result<Answer<Listed<PluginView>>, Problem> {
    let plugins = app.host.registry().list().await?;
    let views = plugins.into_iter().map(|plugin| PluginView {
        name: plugin.name,
        active: plugin.active.map(Into::into),
        loaded: plugin.loaded,
    });
    Ok(Answer(Listed::all(views.collect())))
}

/// List the versions of a plugin
///
/// The newest first.
#[utoipa::path(get, path = "/v1/operator/plugins/{name}", tag = "operator: plugins",
    params(("name" = String, Path)), responses((status = 200, body = Listed<VersionView>)))]
async fn get(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
) -> Result<Answer<Listed<VersionView>>, Problem> {
    let versions = app.host.registry().versions(&name.name("plugin")?).await?;
    Ok(Answer(Listed::all(versions.into_iter().map(Into::into).collect())))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Activation {
    #[schema(example = "plv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    version_id: String,
}

/// Activate a version
///
/// The next call runs on it; calls under way end on the version that they began with.
#[utoipa::path(post, path = "/v1/operator/plugins/{name}/activate", tag = "operator: plugins",
    params(("name" = String, Path)), request_body = Activation, responses((status = 200, body = VersionView)),
    extensions(("x-problems" = json!([ADMISSION]))))]
async fn activate(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<Activation>,
) -> Result<Reply, Problem> {
    let name = name.name("plugin")?;
    let id = version_id(&body.value.version_id)?;
    change(&app.clone(), body.once, async move {
        let version = app.host.registry().activate(&name, &id).await?;
        Reply::ok(&VersionView::from(version))
    })
    .await
}

fn version_id(text: &str) -> Result<PluginVersionId, Problem> {
    text.parse().map_err(|_| Problem::not_found("version of this plugin").field("version_id"))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// The version to leave: refused if another one is active by then.
    from: Option<String>,
}

/// Roll back
///
/// Activates the version that was active before the one that is.
#[utoipa::path(post, path = "/v1/operator/plugins/{name}/roll_back", tag = "operator: plugins",
    params(("name" = String, Path)), request_body = Rollback, responses((status = 200, body = VersionView)),
    extensions(("x-problems" = json!([ADMISSION]))))]
async fn roll_back(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<Rollback>,
) -> Result<Reply, Problem> {
    let name = name.name("plugin")?;
    let from = body.value.from.as_deref().map(version_id).transpose()?;
    change(&app.clone(), body.once, async move {
        let registry = app.host.registry();
        if let Some(from) = from {
            let active = registry.versions(&name).await?.into_iter().find(|version| version.active);
            if active.is_none_or(|active| active.id != from) {
                let detail = "from: another version is active now.";
                return Err(Problem::new(Kind::Conflict, detail).field("from"));
            }
        }
        Reply::ok(&VersionView::from(registry.roll_back(&name).await?))
    })
    .await
}

/// Unload a plugin
///
/// Its networks stand still until a version is activated. Its versions and what it has stored stay.
#[utoipa::path(post, path = "/v1/operator/plugins/{name}/unload", tag = "operator: plugins",
    params(("name" = String, Path)), responses((status = 200, body = Listed<VersionView>)))]
async fn unload(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: NoBody,
) -> Result<Reply, Problem> {
    let name = name.name("plugin")?;
    change(&app.clone(), body.once, async move {
        let registry = app.host.registry();
        registry.unload(&name).await?;
        let versions = registry.versions(&name).await?;
        Reply::ok(&Listed::all(versions.into_iter().map(VersionView::from).collect()))
    })
    .await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGrants {
    version_id: String,
    grants: Grants,
}

/// Set what a version is allowed
///
/// It counts from the version's next activation on.
#[utoipa::path(put, path = "/v1/operator/plugins/{name}/grants", tag = "operator: plugins",
    params(("name" = String, Path)), request_body = NewGrants, responses((status = 200, body = VersionView)))]
async fn grant(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<NewGrants>,
) -> Result<Answer<VersionView>, Problem> {
    let name = name.name("plugin")?;
    let id = version_id(&body.value.version_id)?;
    let granted = app.host.registry().grant(&name, &id, &body.value.grants).await?;
    Ok(Answer(granted.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPluginShadow {
    /// The version that reads beside the active one; null ends it.
    #[schema(example = "plv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    version_id: Option<String>,
}

/// How a version in the shadow does.
#[derive(Debug, Serialize, ToSchema)]
struct PluginShadowView {
    /// None: no version is in the shadow.
    version_id: Option<PluginVersionId>,
    since: Option<Time>,
    /// Scans that both versions answered.
    scans: u64,
    /// Of those, where they differ.
    different: u64,
    /// Scans of which it read less than the active version: its provider is behind, or it does not read.
    behind: u64,
    /// Scans that say nothing about it, since a provider failed.
    skipped: u64,
    /// The newest differences.
    newest: Vec<PluginDifferenceView>,
}

/// Where a version in the shadow and the active one part.
#[derive(Debug, Serialize, ToSchema)]
struct PluginDifferenceView {
    network: String,
    /// Both read on from this block.
    from_height: i64,
    what: String,
    at: Time,
}

impl From<Difference> for PluginDifferenceView {
    fn from(difference: Difference) -> Self {
        let Difference { network, from, what, at } = difference;
        Self { network, from_height: from, what, at: Time(at) }
    }
}

fn shadow_of(app: &App, plugin: &str) -> PluginShadowView {
    let shadow = app.host.registry().shadows().of(plugin);
    let Tally { scans, different, behind, skipped, newest } =
        shadow.as_ref().map(|shadow| shadow.tally()).unwrap_or_default();
    PluginShadowView {
        version_id: shadow.as_ref().map(|shadow| shadow.version_id().clone()),
        since: shadow.as_ref().map(|shadow| Time(shadow.since)),
        scans,
        different,
        behind,
        skipped,
        newest: newest.into_iter().map(Into::into).collect(),
    }
}

/// Put a version into the shadow
///
/// It reads the same blocks as the active version, on all networks of the plugin, without any effect but its requests;
/// where the two differ is kept. It ends with this process, or when the version is activated.
#[utoipa::path(put, path = "/v1/operator/plugins/{name}/shadow", tag = "operator: plugins",
    params(("name" = String, Path)), request_body = NewPluginShadow,
    responses((status = 200, body = PluginShadowView)))]
async fn set_shadow(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
    body: Json<NewPluginShadow>,
) -> Result<Answer<PluginShadowView>, Problem> {
    let name = name.name("plugin")?;
    let id = body.value.version_id.as_deref().map(version_id).transpose()?;
    app.host.registry().versions(&name).await?;
    app.host.registry().shadow(&name, id.as_ref()).await?;
    Ok(Answer(shadow_of(&app, &name)))
}

/// Get how the version in the shadow does
#[utoipa::path(get, path = "/v1/operator/plugins/{name}/shadow", tag = "operator: plugins",
    params(("name" = String, Path)), responses((status = 200, body = PluginShadowView)))]
async fn shadow(
    _: Operator,
    State(app): State<App>,
    name: PathParam,
) -> Result<Answer<PluginShadowView>, Problem> {
    let name = name.name("plugin")?;
    app.host.registry().versions(&name).await?;
    Ok(Answer(shadow_of(&app, &name)))
}
