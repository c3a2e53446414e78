//! A hook's storage, as its merchant sees and fills it: license keys put in, what was given out read back.

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::hook_id;
use crate::{
    app::App,
    flow::hooks::manage::storage,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathPair, PathParam, Query},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        problem::{Kind, Problem},
    },
};

const KEY_BYTES_MAX: usize = 256;
const KEYS_MAX: u32 = 1_000;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(keys)).routes(routes!(get, put, delete))
}

/// What stands under a key: text, or bytes in base64.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StoredValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "AAAA-BBBB-CCCC")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl From<Vec<u8>> for StoredValue {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), base64: None },
            Err(error) => Self { text: None, base64: Some(BASE64_STANDARD.encode(error.as_bytes())) },
        }
    }
}

impl StoredValue {
    fn bytes(self) -> Result<Vec<u8>, Problem> {
        let refused =
            |field: &str, why: &str| Problem::new(Kind::FieldMalformed, why.to_owned()).field(field);
        match (self.text, self.base64) {
            (Some(text), None) => Ok(text.into_bytes()),
            (None, Some(text)) => {
                BASE64_STANDARD.decode(text).map_err(|_| refused("base64", "base64: it is none."))
            }
            _ => Err(refused("text", "Give either text or base64.")),
        }
    }
}

fn checked(key: String) -> Result<String, Problem> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) && !key.contains('\0') {
        return Ok(key);
    }
    Err(Problem::new(Kind::FieldMalformed, format!("A key has 1 to {KEY_BYTES_MAX} bytes and no NUL."))
        .field("key"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeysParams {
    /// Only keys that begin with this.
    #[serde(default)]
    prefix: String,
    /// `next_after` of the answer before.
    after: Option<String>,
    /// How many to give, from 1 to 1000; 100 if not said.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Keys, ascending.
#[derive(Debug, Serialize, ToSchema)]
struct Keys {
    data: Vec<String>,
    /// None: that was all. Otherwise give it as `after` to go on.
    next_after: Option<String>,
}

/// List the keys of a hook's storage
#[utoipa::path(get, path = "/v1/hooks/{id}/storage", tag = "hooks", params(("id" = String, Path), KeysParams),
    responses((status = 200, body = Keys)))]
async fn keys(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
    Query(params): Query<KeysParams>,
) -> Result<Answer<Keys>, Problem> {
    let limit = params.limit.unwrap_or(100);
    if !(1..=KEYS_MAX).contains(&limit) {
        let detail = format!("limit is from 1 to {KEYS_MAX}.");
        return Err(Problem::new(Kind::QueryMalformed, detail).field("limit"));
    }
    let range = (params.prefix.as_str(), params.after.as_deref(), limit);
    let data = storage::keys(&app, &merchant.tenant, &hook_id(id)?, range).await?;
    let full = u32::try_from(data.len()).is_ok_and(|count| count >= limit);
    Ok(Answer(Keys { next_after: data.last().cloned().filter(|_| full), data }))
}

/// Get a value from a hook's storage
#[utoipa::path(get, path = "/v1/hooks/{id}/storage/{key}", tag = "hooks",
    params(("id" = String, Path), ("key" = String, Path)), responses((status = 200, body = StoredValue)))]
async fn get(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
) -> Result<Answer<StoredValue>, Problem> {
    let (id, key) = path.id("hook")?;
    Ok(Answer(storage::get(&app, &merchant.tenant, &id, &checked(key)?).await?.into()))
}

/// Put a value into a hook's storage
#[utoipa::path(put, path = "/v1/hooks/{id}/storage/{key}", tag = "hooks",
    params(("id" = String, Path), ("key" = String, Path)), request_body = StoredValue,
    responses((status = 200, body = StoredValue)),
    extensions(("x-problems" = json!([[Kind::StorageFull, Kind::DiskLimit]]))))]
async fn put(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: Json<StoredValue>,
) -> Result<Reply, Problem> {
    let (id, key) = path.id("hook")?;
    let (key, value) = (checked(key)?, body.value.bytes()?);
    let (shown, config) = (value.clone(), app.config.clone());
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(
                async move { storage::put(conn, &merchant.tenant, &id, (key, value), &config.hooks).await },
            )
        },
        |()| Reply::ok(&StoredValue::from(shown)),
    )
    .await
}

/// Delete a value from a hook's storage
#[utoipa::path(delete, path = "/v1/hooks/{id}/storage/{key}", tag = "hooks",
    params(("id" = String, Path), ("key" = String, Path)), responses((status = 200, body = StoredValue)))]
async fn delete(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: NoBody,
) -> Result<Reply, Problem> {
    let (id, key) = path.id("hook")?;
    let key = checked(key)?;
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { storage::delete(conn, &merchant.tenant, &id, key).await }),
        |old| Reply::ok(&StoredValue::from(old)),
    )
    .await
}
