//! What a hook is run for and with: its binding, its settings, its secrets.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{HookView, fit::Fit, found, hook_id, view};
use crate::{
    app::App,
    db::{
        Conn, DbError,
        hook_secrets::{self, SecretRow},
        hooks::{self, Hook, VersionRow},
        merchants,
    },
    domain::{
        hook::Binding,
        id::{self, Kind as IdKind},
        verbatim::Verbatim,
    },
    host::is_secret_name,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathPair, PathParam},
        json::{Answer, Json, NoBody},
        page::Listed,
        problem::{Kind, Problem},
        time::Time,
    },
};

const SECRET_BYTES_MAX: usize = 4096;
const SETTINGS_BYTES_MAX: usize = 16 << 10;
const SECRETS_MAX: usize = 32;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(bind))
        .routes(routes!(set))
        .routes(routes!(secrets))
        .routes(routes!(set_secret, delete_secret))
}

/// Bind a hook
///
/// Says what it is run for from now on. What is left out does not matter.
#[utoipa::path(put, path = "/v1/hooks/{id}/binding", tag = "hooks", params(("id" = String, Path)),
    request_body = Binding, responses((status = 200, body = HookView)))]
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
            let owner = merchant.of_hooks();
            found(conn, &owner, &id).await?;
            hooks::set_binding(conn, &id, &binding).await?;
            let hook = found(conn, &owner, &id).await?;
            Reply::ok(&view(conn, hook).await?)
        })
    })
    .await
}

/// Set a hook's settings
///
/// All of them: a JSON object that fits the schema of the version in use.
#[utoipa::path(put, path = "/v1/hooks/{id}/settings", tag = "hooks", params(("id" = String, Path)),
    request_body = Object, responses((status = 200, body = HookView)))]
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
    let version = match hooks::get(&mut conn, &merchant.of_hooks(), &id).await? {
        Some(hook) => fitted(&mut conn, &hook).await?,
        None => None,
    };
    drop(conn);
    let fit = Fit::of_version(version, &settings).await?;
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let owner = merchant.of_hooks();
            let hook = found(conn, &owner, &id).await?;
            if let Some(version) = fitted(conn, &hook).await?
                && let Some(problem) = Fit::problem(fit.as_ref(), &version, &settings)?
            {
                return Err(refuse(format!("{problem} (version {}).", version.version)));
            }
            hooks::set_settings(conn, &id, &settings).await?;
            let hook = found(conn, &owner, &id).await?;
            Reply::ok(&view(conn, hook).await?)
        })
    })
    .await
}

/// The version that a hook's settings have to fit: before the first activation it is the newest.
async fn fitted(conn: &mut Conn, hook: &Hook) -> Result<Option<VersionRow>, DbError> {
    match &hook.active_id {
        Some(active) => hooks::version_by_id(conn, active).await,
        None => Ok(hooks::versions(conn, &hook.id).await?.into_iter().next()),
    }
}

/// A secret by name. Its value is never shown.
#[derive(Debug, Serialize, ToSchema)]
struct SecretView {
    #[schema(example = "bot_token")]
    name: String,
    set_at: Time,
}

impl From<SecretRow> for SecretView {
    fn from(row: SecretRow) -> Self {
        Self { name: row.name, set_at: Time(row.created_at) }
    }
}

/// List a hook's secrets
///
/// Their names; what each is for, the version's manifest says.
#[utoipa::path(get, path = "/v1/hooks/{id}/secrets", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = Listed<SecretView>)))]
async fn secrets(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<Listed<SecretView>>, Problem> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, &merchant.of_hooks(), &hook_id(id)?).await?;
    let rows = hook_secrets::list(&mut conn, &hook.id).await?;
    Ok(Answer(Listed::all(rows.into_iter().map(Into::into).collect())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    #[schema(max_length = 4096)]
    value: String,
}

/// Set a secret
///
/// It is kept sealed and never shown again, to the hook neither: Kassa puts it into requests to the one host that
/// it is bound to, or signs with it, as the manifest says.
#[utoipa::path(put, path = "/v1/hooks/{id}/secrets/{name}", tag = "hooks",
    params(("id" = String, Path), ("name" = String, Path)), request_body = NewSecret,
    responses((status = 200, body = SecretView)))]
async fn set_secret(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: Json<NewSecret>,
) -> Result<Reply, Problem> {
    let (id, name) = path.id(IdKind::Hook, "hook")?;
    let refuse = |detail: String, field: &str| Problem::new(Kind::FieldMalformed, detail).field(field);
    if !is_secret_name(&name) {
        return Err(refuse("A secret's name: 1 to 40 of a-z, 0-9 and _.".to_owned(), "name"));
    }
    let value = body.value.value;
    if !(1..=SECRET_BYTES_MAX).contains(&value.len()) || value.chars().any(char::is_control) {
        let detail = format!("value: 1 to {SECRET_BYTES_MAX} bytes without line breaks or other controls.");
        return Err(refuse(detail, "value"));
    }
    let now = app.clock.now();
    let row_id = id::new(IdKind::HookSecret, now);
    let sealed = app.vault.seal(&row_id, value.as_bytes()).map_err(Problem::internal)?;
    let row = SecretRow { id: row_id, name, value: sealed, created_at: now };
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            merchants::alone(conn, &merchant.id).await?;
            let hook = found(conn, &merchant.of_hooks(), &id).await?;
            let known = hook_secrets::list(conn, &hook.id).await?;
            if known.len() >= SECRETS_MAX && known.iter().all(|secret| secret.name != row.name) {
                return Err(Problem::new(
                    Kind::Conflict,
                    format!("A hook has at most {SECRETS_MAX} secrets."),
                ));
            }
            hook_secrets::set(conn, &hook.id, row.clone()).await?;
            Reply::ok(&SecretView::from(row))
        })
    })
    .await
}

/// Delete a secret
#[utoipa::path(delete, path = "/v1/hooks/{id}/secrets/{name}", tag = "hooks",
    params(("id" = String, Path), ("name" = String, Path)), responses((status = 200, body = Listed<SecretView>)))]
async fn delete_secret(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: NoBody,
) -> Result<Reply, Problem> {
    let (id, name) = path.id(IdKind::Hook, "hook")?;
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let hook = found(conn, &merchant.of_hooks(), &id).await?;
            if !hook_secrets::delete(conn, &hook.id, &name).await? {
                return Err(Problem::not_found("secret of this hook"));
            }
            let rows = hook_secrets::list(conn, &hook.id).await?;
            Reply::ok(&Listed::all(rows.into_iter().map(SecretView::from).collect()))
        })
    })
    .await
}
