//! A hook's secrets. Each is set for one purpose, to be sent to one host or to sign with, and serves no other: a version
//! (or a setting) that wants it for something else has to be given it anew, by somebody who knows.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hook_id;
use crate::{
    app::App,
    db::hooks::secrets::SecretRow,
    domain::hook::Purpose,
    flow::hooks::manage::secrets,
    host::is_secret_name,
    http::{
        auth::Merchant,
        idempotent::{Reply, idempotent},
        input::{PathPair, PathParam},
        json::{Answer, Json, NoBody},
        openapi::routes::{Routes, routes},
        page::Listed,
        problem::{Kind, Problem},
        time::Time,
    },
};

const SECRET_BYTES_MAX: usize = 4096;
const HOST_LEN_MAX: usize = 253;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(list)).routes(routes!(set, delete))
}

/// What a secret may be used for besides being sent.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Use {
    /// It keys signatures, and is sent nowhere.
    Sign,
}

/// A secret by name, and what it is for. Its value is never shown.
#[derive(Debug, Serialize, ToSchema)]
struct SecretView {
    #[schema(example = "bot_token")]
    name: String,
    /// The one host that it is sent to.
    #[schema(example = "api.telegram.org")]
    host: Option<String>,
    /// What it is for instead.
    #[serde(rename = "use")]
    purpose: Option<Use>,
    set_at: Time,
}

impl From<SecretRow> for SecretView {
    fn from(row: SecretRow) -> Self {
        let (host, purpose) = match row.purpose {
            Purpose::Host(host) => (Some(host), None),
            Purpose::Sign => (None, Some(Use::Sign)),
        };
        Self { name: row.name, host, purpose, set_at: Time(row.created_at) }
    }
}

/// List a hook's secrets
#[utoipa::path(get, path = "/v1/hooks/{id}/secrets", tag = "hooks", params(("id" = String, Path)),
    responses((status = 200, body = Listed<SecretView>)))]
async fn list(
    merchant: Merchant,
    State(app): State<App>,
    id: PathParam,
) -> Result<Answer<Listed<SecretView>>, Problem> {
    let rows = secrets::list(&app, &merchant.tenant, &hook_id(id)?).await?;
    Ok(Answer(listed(rows)))
}

fn listed(rows: Vec<SecretRow>) -> Listed<SecretView> {
    Listed::all(rows.into_iter().map(Into::into).collect())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    #[schema(max_length = 4096)]
    value: String,
    /// The one host that it is sent to, with its port if that is not 443. Without this and `use`, it is for what the
    /// version in use says (or the newest, if none is).
    #[schema(max_length = 253, example = "api.telegram.org")]
    host: Option<String>,
    /// What it is for instead.
    #[serde(rename = "use")]
    purpose: Option<Use>,
}

/// Set a secret
///
/// It is kept sealed and never shown again, to the hook neither: Kassa puts it into requests to the one host that
/// it is for, or signs with it. Another version, or other settings, that would send it elsewhere do not get it; there may
/// be a value for each purpose of a name.
#[utoipa::path(put, path = "/v1/hooks/{id}/secrets/{name}", tag = "hooks",
    params(("id" = String, Path), ("name" = String, Path)), request_body = NewSecret,
    responses((status = 200, body = SecretView)),
    extensions(("x-problems" = json!([[Kind::Conflict]]))))]
async fn set(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: Json<NewSecret>,
) -> Result<Reply, Problem> {
    let (id, name) = path.id("hook")?;
    if !is_secret_name(&name) {
        return Err(refuse("A secret's name: 1 to 40 of a-z, 0-9 and _.", "name"));
    }
    let NewSecret { value, host, purpose } = body.value;
    if !(1..=SECRET_BYTES_MAX).contains(&value.len()) {
        return Err(refuse(format!("value: 1 to {SECRET_BYTES_MAX} bytes."), "value"));
    }
    let new = secrets::NewSecret { name, value, purpose: named_purpose(host, purpose)? };
    let (now, vault) = (app.clock.now(), app.vault.clone());
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| {
            Box::pin(async move { secrets::set(conn, &vault, &merchant.tenant, &id, new, now).await })
        },
        |row| Reply::ok(&SecretView::from(row)),
    )
    .await
}

fn refuse(detail: impl Into<String>, field: &str) -> Problem {
    Problem::new(Kind::FieldMalformed, detail).field(field)
}

/// The purpose that a request names, if it names one.
fn named_purpose(host: Option<String>, purpose: Option<Use>) -> Result<Option<Purpose>, Problem> {
    match (host, purpose) {
        (None, None) => Ok(None),
        (None, Some(Use::Sign)) => Ok(Some(Purpose::Sign)),
        (Some(host), None) => {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
            if !(1..=HOST_LEN_MAX).contains(&host.len()) || !host.bytes().all(plain) {
                return Err(refuse(
                    "host: as it stands in a URL, in small letters: api.example or api.example:8443.",
                    "host",
                ));
            }
            Ok(Some(Purpose::Host(host)))
        }
        (Some(_), Some(_)) => Err(refuse("Give either host or use.", "use")),
    }
}

/// Delete a secret
///
/// With all that is set under this name, whatever it is for.
#[utoipa::path(delete, path = "/v1/hooks/{id}/secrets/{name}", tag = "hooks",
    params(("id" = String, Path), ("name" = String, Path)), responses((status = 200, body = Listed<SecretView>)))]
async fn delete(
    merchant: Merchant,
    State(app): State<App>,
    path: PathPair,
    body: NoBody,
) -> Result<Reply, Problem> {
    let (id, name) = path.id("hook")?;
    idempotent(
        &app,
        merchant.owner(),
        body.once,
        move |conn| Box::pin(async move { secrets::delete(conn, &merchant.tenant, &id, &name).await }),
        |rows| Reply::ok(&listed(rows)),
    )
    .await
}
