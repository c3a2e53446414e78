//! API keys, for the operator.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    db::api_keys::{ApiKey, KeyMode},
    domain::id::{ApiKeyId, MerchantId},
    flow::api_keys::{self, ApiKeyError},
    http::{
        auth::Operator,
        idempotent::{Reply, idempotent},
        input::{PathParam, Query, check_text, named},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::{Listed, Page},
        problem::{Kind, Problem, sentence},
        time::Time,
    },
    keys::NewKey,
};

const NAME_CHARS_MAX: usize = 100;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(create, list)).routes(routes!(get)).routes(routes!(revoke))
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
struct ApiKeyView {
    #[schema(example = "key_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: ApiKeyId,
    /// None: an operator's.
    merchant_id: Option<MerchantId>,
    mode: KeyMode,
    name: String,
    /// The first characters, to tell keys apart.
    #[schema(example = "live_k3m9p")]
    prefix: String,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            mode: KeyMode::of(key.tenant.as_ref()),
            merchant_id: key.tenant.map(|tenant| tenant.merchant),
            name: key.name,
            prefix: key.prefix,
            created_at: Time(key.created_at),
            expires_at: key.expires_at.map(Time),
            revoked_at: key.revoked_at.map(Time),
        }
    }
}

/// A new API key, with its text: it is shown this once.
#[derive(Debug, Serialize, ToSchema)]
struct NewApiKeyView {
    #[serde(flatten)]
    view: ApiKeyView,
    #[schema(example = "live_k3m9pxw2v8h4q7n5r6t3y9b2c4d8f5gj")]
    key: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApiKey {
    /// Whose it is to be; not for an operator's key.
    merchant_id: Option<String>,
    mode: KeyMode,
    /// What it is for: shown in lists.
    #[schema(max_length = 100, example = "shop backend")]
    name: Option<String>,
    /// When it stops working; without it, never.
    expires_at: Option<Time>,
}

/// Create an API key
///
/// The key's text is in this answer only.
#[utoipa::path(post, path = "/v1/operator/api_keys", tag = "operator: API keys",
    request_body = NewApiKey, responses((status = 201, body = NewApiKeyView)),
    extensions(("x-problems" = json!([[Kind::NotFound]]))))]
async fn create(_: Operator, State(app): State<App>, body: Json<NewApiKey>) -> Result<Reply, Problem> {
    let new = body.value;
    let name = new.name.unwrap_or_default();
    if !name.is_empty() {
        check_text("name", &name, NAME_CHARS_MAX)?;
    }
    let now = app.clock.now();
    if new.expires_at.is_some_and(|at| at.0 <= now) {
        return Err(Problem::new(Kind::FieldMalformed, "expires_at: it has passed.").field("expires_at"));
    }
    let tenant = new.mode.tenant(new.merchant_id.as_deref().map(named)).ok_or_else(|| {
        let detail = "merchant_id: a live or test key needs one, an operator's key has none.";
        Problem::new(Kind::FieldMalformed, detail).field("merchant_id")
    })?;
    let expires_at = new.expires_at.map(|at| at.0);
    let wanted = NewKey { tenant, name, expires_at };
    let vault = app.vault.clone();
    idempotent(
        &app,
        Operator::OWNER.to_owned(),
        body.once,
        move |conn| Box::pin(async move { api_keys::create(conn, &vault, wanted, now).await }),
        |(key, text)| Ok(Reply::created(&NewApiKeyView { view: key.into(), key: text })?.secret()),
    )
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeyParams {
    /// Whose keys; without it, the operators'.
    merchant_id: Option<String>,
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List API keys
#[utoipa::path(get, path = "/v1/operator/api_keys", tag = "operator: API keys",
    params(KeyParams), responses((status = 200, body = Listed<ApiKeyView>)))]
async fn list(
    _: Operator,
    State(app): State<App>,
    Query(params): Query<KeyParams>,
) -> Result<Answer<Listed<ApiKeyView>>, Problem> {
    let page = Page::<ApiKeyId>::new(params.limit, params.cursor.as_deref())?;
    let rows = api_keys::list(&app, params.merchant_id.as_deref().map(named), page.span()).await?;
    Ok(Answer(page.cut(rows, |row| &row.id, Into::into)))
}

/// Get an API key
#[utoipa::path(get, path = "/v1/operator/api_keys/{id}", tag = "operator: API keys",
    params(("id" = String, Path)), responses((status = 200, body = ApiKeyView)))]
async fn get(_: Operator, State(app): State<App>, id: PathParam) -> Result<Answer<ApiKeyView>, Problem> {
    let id = id.id("API key")?;
    Ok(Answer(api_keys::get(&app, &id).await?.into()))
}

/// Revoke an API key
///
/// For good, and at once; other replicas notice within two seconds. The last operator's key cannot be revoked.
#[utoipa::path(post, path = "/v1/operator/api_keys/{id}/revoke", tag = "operator: API keys",
    params(("id" = String, Path)), responses((status = 200, body = ApiKeyView)),
    extensions(("x-problems" = json!([[Kind::Conflict]]))))]
async fn revoke(_: Operator, State(app): State<App>, id: PathParam, body: NoBody) -> Result<Reply, Problem> {
    let id = id.id("API key")?;
    let now = app.clock.now();
    let revoke = idempotent(
        &app,
        Operator::OWNER.to_owned(),
        body.once,
        move |conn| Box::pin(async move { api_keys::revoke(conn, &id, now).await }),
        |key| Reply::ok(&ApiKeyView::from(key)),
    );
    let reply = revoke.await;
    app.keys.forget();
    reply
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        let text = sentence(&error);
        match error {
            ApiKeyError::Db(error) => error.into(),
            ApiKeyError::Lookup(error) => error.into(),
            ApiKeyError::Key(error) => Self::internal(error),
            ApiKeyError::NoMerchant => Self::not_found("merchant").field("merchant_id"),
            ApiKeyError::Last => Self::new(Kind::Conflict, text),
        }
    }
}
