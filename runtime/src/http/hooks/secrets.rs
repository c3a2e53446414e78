//! A hook's secrets. Each is set for one purpose, to be sent to one host or to sign with, and serves no other: a version
//! (or a setting) that wants it for something else has to be given it anew, by somebody who knows.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{found, hook_id, manifest_of};
use crate::{
    app::App,
    db::{
        Conn,
        hooks::{
            self, Hook,
            secrets::{self, SecretRow, sealed_for},
        },
        merchants,
    },
    domain::{
        hook::Purpose,
        id::{self, Kind as IdKind},
    },
    host::{Manifest, is_secret_name},
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
/// Of a hook.
const SECRETS_MAX: usize = 32;
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
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, &merchant.tenant, &hook_id(id)?).await?;
    let rows = secrets::list(&mut conn, &hook.id).await?;
    Ok(Answer(Listed::all(rows.into_iter().map(Into::into).collect())))
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
    let (id, name) = path.id_text(IdKind::Hook, "hook")?;
    if !is_secret_name(&name) {
        return Err(refuse("A secret's name: 1 to 40 of a-z, 0-9 and _.", "name"));
    }
    let NewSecret { value, host, purpose } = body.value;
    if !(1..=SECRET_BYTES_MAX).contains(&value.len()) {
        return Err(refuse(format!("value: 1 to {SECRET_BYTES_MAX} bytes."), "value"));
    }
    let purpose = named_purpose(host, purpose)?;
    let (now, vault) = (app.clock.now(), app.vault.clone());
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            merchants::alone(conn, &merchant.tenant.merchant).await?;
            let hook = found(conn, &merchant.tenant, &id).await?;
            let purpose = match purpose {
                Some(purpose) => purpose,
                None => wanted_purpose(conn, &hook, &name).await?,
            };
            fits(conn, &hook, &name, &purpose, &value).await?;
            let known = secrets::list(conn, &hook.id).await?;
            let is_new = known.iter().all(|secret| secret.name != name || secret.purpose != purpose);
            if known.len() >= SECRETS_MAX && is_new {
                let detail =
                    format!("A hook has at most {SECRETS_MAX} secrets; delete one that is not needed.");
                return Err(Problem::new(Kind::Conflict, detail));
            }
            let row_id = id::new(IdKind::HookSecret, now);
            let sealed = vault.seal(&sealed_for(&row_id, &purpose), value.as_bytes());
            let value = sealed.map_err(Problem::internal)?;
            let row = SecretRow { id: row_id, name, purpose, value, created_at: now };
            secrets::set(conn, &hook.id, row.clone()).await?;
            Reply::ok(&SecretView::from(row))
        })
    })
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

/// The purpose that the version in use, or else the newest, has for a secret.
async fn wanted_purpose(conn: &mut Conn, hook: &Hook, name: &str) -> Result<Purpose, Problem> {
    let versions = hooks::versions(conn, &hook.id).await?;
    let settings = hook.settings.value();
    let active = versions.iter().filter(|version| Some(&version.id) == hook.active_id.as_ref());
    for version in active.chain(&versions) {
        let manifest = manifest_of(version)?;
        if let Some(purpose) = manifest.purpose_of(name, &manifest.settings_filled(settings.clone())) {
            return Ok(purpose);
        }
    }
    let detail =
        format!("No version says what {name} is for: name the host that it is sent to, or use: \"sign\".");
    Err(refuse(detail, "host"))
}

/// Refuses a value that is unfit for its purpose: one that no header can carry, or that is no key of the algorithm that
/// the version in use (or else the newest) signs with.
async fn fits(
    conn: &mut Conn,
    hook: &Hook,
    name: &str,
    purpose: &Purpose,
    value: &str,
) -> Result<(), Problem> {
    // A private key in PEM has lines.
    let is_key = *purpose == Purpose::Sign && value.trim_start().starts_with("-----BEGIN ");
    if value.chars().any(|c| c.is_control() && !(is_key && matches!(c, '\r' | '\n'))) {
        let detail = "value: no line breaks or other controls, but for those of a key in PEM to sign with.";
        return Err(refuse(detail, "value"));
    }
    if *purpose != Purpose::Sign {
        return Ok(());
    }
    let versions = hooks::versions(conn, &hook.id).await?;
    let active = versions.iter().find(|version| Some(&version.id) == hook.active_id.as_ref());
    let Some(version) = active.or(versions.first()) else { return Ok(()) };
    let manifest = manifest_of(version)?;
    match manifest.secrets.get(name).and_then(|asked| asked.algorithm) {
        Some(algorithm) => algorithm.check(value).map_err(|why| refuse(format!("value: {why}."), "value")),
        None => Ok(()),
    }
}

/// Refuses a version if secrets that it requires are not set for the purposes that it states. A secret whose host comes
/// from a setting that is not set is not required.
pub(super) async fn are_set(conn: &mut Conn, hook: &Hook, manifest: &Manifest) -> Result<(), Problem> {
    let filled = manifest.settings_filled(hook.settings.value());
    let wanted =
        manifest.secrets.keys().filter_map(|name| Some((name.as_str(), manifest.purpose_of(name, &filled)?)));
    missing(conn, hook, wanted.collect()).await
}

/// Refuses settings that give secrets of the version in use purposes for which they are not set.
pub(super) async fn still_set(
    conn: &mut Conn,
    hook: &Hook,
    manifest: &Manifest,
    before: &Value,
    after: &Value,
) -> Result<(), Problem> {
    let (before, after) = (manifest.settings_filled(before.clone()), manifest.settings_filled(after.clone()));
    let wanted =
        manifest.secrets.keys().filter_map(|name| Some((name.as_str(), manifest.purpose_of(name, &after)?)));
    let changed = wanted.filter(|(name, wanted)| Some(wanted) != manifest.purpose_of(name, &before).as_ref());
    missing(conn, hook, changed.collect()).await
}

async fn missing(conn: &mut Conn, hook: &Hook, wanted: Vec<(&str, Purpose)>) -> Result<(), Problem> {
    let set = secrets::list(conn, &hook.id).await?;
    let is_set = |(name, wanted): &(&str, Purpose)| {
        set.iter().any(|secret| secret.name == *name && secret.purpose == *wanted)
    };
    let missing: Vec<String> = wanted
        .iter()
        .filter(|one| !is_set(one))
        .map(|(name, wanted)| {
            let wanted = match wanted {
                Purpose::Host(host) => format!("for the host {host}"),
                Purpose::Sign => "to sign with".to_owned(),
            };
            let other =
                if set.iter().any(|secret| secret.name == *name) { ", set for something else" } else { "" };
            format!("{name} ({wanted}{other})")
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "Secrets are missing: {}. Set them first: PUT /v1/hooks/{}/secrets/<name>, with the host (or use) that you mean.",
        missing.join(", "),
        hook.id
    );
    Err(Problem::new(Kind::HookNotReady, detail))
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
    let (id, name) = path.id_text(IdKind::Hook, "hook")?;
    idempotent(&app, merchant.owner(), body.once, move |conn| {
        Box::pin(async move {
            let hook = found(conn, &merchant.tenant, &id).await?;
            if !secrets::delete(conn, &hook.id, &name).await? {
                return Err(Problem::not_found("secret of this hook"));
            }
            let rows = secrets::list(conn, &hook.id).await?;
            Reply::ok(&Listed::all(rows.into_iter().map(SecretView::from).collect()))
        })
    })
    .await
}
