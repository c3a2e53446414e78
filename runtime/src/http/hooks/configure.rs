//! A hook's binding and settings.

use axum::extract::State;

use super::{HookView, hook_id, shown};
use crate::{
    app::App,
    domain::{hook::Binding, verbatim::Verbatim},
    flow::hooks::manage::{Fit, configure},
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
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { configure::bind(conn, &merchant.tenant, &id, &binding).await }),
        shown,
    )
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
    if !settings.value().is_object() || settings.text().len() > SETTINGS_BYTES_MAX {
        let detail = format!("A JSON object of at most {SETTINGS_BYTES_MAX} bytes is needed.");
        return Err(Problem::new(Kind::SettingsRefused, detail));
    }
    let fit = Fit::of_settings(&app, &merchant.tenant, &id, &settings).await?;
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(async move { configure::set(conn, &merchant.tenant, &id, &settings, &fit).await })
        },
        shown,
    )
    .await
}
