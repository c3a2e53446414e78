//! A hook's binding and settings.

use axum::extract::State;
use serde_json::Value;

use super::{HookView, fit::Fit, found, hook_id, manifest_of, secrets, view};
use crate::{
    app::App,
    db::{
        Conn, DbError,
        hooks::{self, Hook, VersionRow},
    },
    domain::{hook::Binding, verbatim::Verbatim},
    host::{Manifest, is_allowed},
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::PathParam,
        json::Json,
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
    },
};

const SETTINGS_BYTES_MAX: usize = 16 << 10;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(bind)).routes(routes!(set))
}

/// Bind a hook
///
/// Says what it is run for from now on. What is left out does not matter.
#[utoipa::path(put, path = "/v1/hooks/{id}/binding", tag = "hooks", params(("id" = String, Path)),
    request_body = Binding, responses((status = 200, body = HookView)),
    extensions(("x-problems" = json!([[Kind::BindingRefused]]))))]
async fn bind(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<Binding>,
) -> Result<Reply, Problem> {
    let (id, binding) = (hook_id(id)?, body.value);
    if let Some(problem) = binding.problem() {
        return Err(Problem::new(Kind::BindingRefused, format!("{problem}.")));
    }
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let tenant = merchant.tenant.clone();
            found(conn, &tenant, &id).await?;
            hooks::set_binding(conn, &id, &binding).await?;
            let hook = found(conn, &tenant, &id).await?;
            Reply::ok(&view(conn, hook).await?)
        })
    })
    .await
}

/// Set a hook's settings
///
/// All of them: a JSON object that fits the schema of the version in use.
#[utoipa::path(put, path = "/v1/hooks/{id}/settings", tag = "hooks", params(("id" = String, Path)),
    request_body = Object, responses((status = 200, body = HookView)),
    extensions(("x-problems" = json!([
        [Kind::SettingsRefused, Kind::HookNotReady, Kind::GrantRefused, Kind::Conflict]
    ]))))]
async fn set(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    body: Json<Verbatim>,
) -> Result<Reply, Problem> {
    let (id, settings) = (hook_id(id)?, body.value);
    let refuse = |why: String| Problem::new(Kind::SettingsRefused, why);
    if !settings.value().is_object() || settings.text().len() > SETTINGS_BYTES_MAX {
        return Err(refuse(format!("A JSON object of at most {SETTINGS_BYTES_MAX} bytes is needed.")));
    }
    let mut conn = app.db.read().await?;
    let version = match hooks::get(&mut conn, &merchant.tenant, &id).await? {
        Some(hook) => fitted(&mut conn, &hook).await?,
        None => None,
    };
    drop(conn);
    let fit = Fit::of_version(&app, &merchant.tenant.merchant, version, &settings).await?;
    let config = app.config.clone();
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let tenant = merchant.tenant.clone();
            let hook = found(conn, &tenant, &id).await?;
            if let Some(version) = fitted(conn, &hook).await?
                && let Some(problem) = Fit::problem(fit.as_ref(), &version, &settings)?
            {
                return Err(refuse(format!("{problem} (version {}).", version.version)));
            }
            if hook.active_id.is_some()
                && let Some(version) = fitted(conn, &hook).await?
            {
                let manifest = manifest_of(&version)?;
                let (before, after) = (hook.settings.value(), settings.value());
                secrets::still_set(conn, &hook, &manifest, &before, &after).await?;
                hosts_allowed(&config.hooks.hosts, &manifest, &after)?;
            }
            hooks::set_settings(conn, &id, &settings).await?;
            let hook = found(conn, &tenant, &id).await?;
            Reply::ok(&view(conn, hook).await?)
        })
    })
    .await
}

/// Refuses a version that, with these settings, would send requests to a host that the operator does not allow.
pub(super) fn hosts_allowed(
    allowed: &[String],
    manifest: &Manifest,
    settings: &Value,
) -> Result<(), Problem> {
    let hosts = manifest.hosts(&manifest.settings_filled(settings.clone()));
    match hosts.into_iter().find(|host| !is_allowed(allowed, host)) {
        None => Ok(()),
        Some(host) => Err(Problem::new(
            Kind::GrantRefused,
            format!("The host {host}: the operator allows {} (hooks.hosts).", allowed.join(", ")),
        )),
    }
}

/// The version that a hook's settings have to fit: the one in use, or before the first activation the newest.
async fn fitted(conn: &mut Conn, hook: &Hook) -> Result<Option<VersionRow>, DbError> {
    match &hook.active_id {
        Some(active) => hooks::version_by_id(conn, active).await,
        None => Ok(hooks::versions(conn, &hook.id).await?.into_iter().next()),
    }
}
