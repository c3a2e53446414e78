//! A hook's storage, as its merchant sees and fills it: license keys put in, what was given out read back.

use axum::extract::State;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{found, hook_id, manifest_of};
use crate::{
    app::App,
    db::{
        Conn,
        disk::{self, DiskLimit},
        hooks,
        plugin_storage::{self, StorageWrites},
    },
    domain::id::{Kind as IdKind, MerchantId},
    host::scope_of_hook,
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
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, &merchant.tenant, &hook_id(id)?).await?;
    let scope = scope_of_hook(&hook.id);
    let (prefix, after) = (params.prefix, params.after);
    let (_, data) =
        plugin_storage::keys(&mut conn, &scope, &prefix, after.as_deref(), i64::from(limit)).await?;
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
    let (id, key) = path.id_text(IdKind::Hook, "hook")?;
    let key = checked(key)?;
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, &merchant.tenant, &id).await?;
    let (_, value) = plugin_storage::get(&mut conn, &scope_of_hook(&hook.id), &key).await?;
    Ok(Answer(value.ok_or_else(|| Problem::not_found("value under this key"))?.into()))
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
    let (id, key) = path.id_text(IdKind::Hook, "hook")?;
    let (key, value) = (checked(key)?, body.value.bytes()?);
    let bytes_max = u64::from(app.config.hooks.storage_kib) * 1024;
    let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            hooks::lock(conn, &id).await?;
            let hook = found(conn, &merchant.tenant, &id).await?;
            let shown = StoredValue::from(value.clone());
            change(conn, &merchant.tenant.merchant, &hook, (key, Some(value)), bytes_max, limit).await?;
            Reply::ok(&shown)
        })
    })
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
    let (id, key) = path.id_text(IdKind::Hook, "hook")?;
    let key = checked(key)?;
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            hooks::lock(conn, &id).await?;
            let hook = found(conn, &merchant.tenant, &id).await?;
            let old =
                change(conn, &merchant.tenant.merchant, &hook, (key, None), 0, DiskLimit::of_mib(0)).await?;
            Reply::ok(&StoredValue::from(old.ok_or_else(|| Problem::not_found("value under this key"))?))
        })
    })
    .await
}

/// Changes one value as the hook itself would. Returns the previous one.
async fn change(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    hook: &hooks::Hook,
    (key, value): (String, Option<Vec<u8>>),
    bytes_max: u64,
    limit: DiskLimit,
) -> Result<Option<Vec<u8>>, Problem> {
    let granted = match &hook.active_id {
        Some(id) => hooks::version_by_id(conn, id).await?,
        None => hooks::versions(conn, &hook.id).await?.into_iter().next(),
    };
    let granted = granted.map(|version| manifest_of(&version)).transpose()?;
    let granted = granted.map_or(0, |manifest| u64::from(manifest.grants.storage_kib) * 1024);
    let scope = scope_of_hook(&hook.id);
    let (base, old) = plugin_storage::get(conn, &scope, &key).await?;
    let size = |value: &Option<Vec<u8>>| {
        value.as_ref().map_or(0, |value| u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX))
    };
    let bytes = base.bytes.saturating_sub(size(&old)).saturating_add(size(&value));
    if value.is_some() && bytes > granted.min(bytes_max) {
        let detail = format!("Its manifest asks for {} KiB (grants.storage_kib).", granted / 1024);
        return Err(Problem::new(Kind::StorageFull, detail));
    }
    let writes = StorageWrites { scope, base, bytes, entries: [(key, value)].into() };
    disk::try_store(conn, merchant_id, &writes, limit).await??;
    Ok(old)
}
