//! A hook's secrets. Each is set for one purpose, to be sent to one host or to sign with, and serves no other: a version
//! (or a setting) that wants it for something else has to be given it anew, by somebody who knows.

use serde_json::Value;

use super::{HookError, error::MissingSecret, found, manifest_of};
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
        Millis,
        hook::Purpose,
        id::{HookId, HookSecretId},
        tenant::Tenant,
    },
    host::Manifest,
    vault::Vault,
};

/// Of a hook.
const SECRETS_MAX: usize = 32;

/// A secret as its merchant sets it. Without a purpose it is for what a version says.
pub(crate) struct NewSecret {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) purpose: Option<Purpose>,
}

/// All secrets of a hook, by name.
pub(crate) async fn list(app: &App, tenant: &Tenant, id: &HookId) -> Result<Vec<SecretRow>, HookError> {
    let mut conn = app.db.read().await?;
    let hook = found(&mut conn, tenant, id).await?;
    Ok(secrets::list(&mut conn, &hook.id).await?)
}

/// Sets a secret, and replaces the one with its name and purpose.
pub(crate) async fn set(
    conn: &mut Conn,
    vault: &Vault,
    tenant: &Tenant,
    id: &HookId,
    new: NewSecret,
    now: Millis,
) -> Result<SecretRow, HookError> {
    let NewSecret { name, value, purpose } = new;
    merchants::alone(conn, &tenant.merchant).await?;
    let hook = found(conn, tenant, id).await?;
    let purpose = match purpose {
        Some(purpose) => purpose,
        None => wanted_purpose(conn, &hook, &name).await?,
    };
    fits(conn, &hook, &name, &purpose, &value).await?;
    let known = secrets::list(conn, &hook.id).await?;
    let is_new = known.iter().all(|secret| secret.name != name || secret.purpose != purpose);
    if known.len() >= SECRETS_MAX && is_new {
        return Err(HookError::TooManySecrets(SECRETS_MAX));
    }
    let row_id = HookSecretId::new(now);
    let value = vault.seal(&sealed_for(&row_id, &purpose), value.as_bytes())?;
    let row = SecretRow { id: row_id, name, purpose, value, created_at: now };
    secrets::set(conn, &hook.id, row.clone()).await?;
    Ok(row)
}

/// Deletes the secrets with this name, for all purposes. Returns those that are left.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &HookId,
    name: &str,
) -> Result<Vec<SecretRow>, HookError> {
    let hook = found(conn, tenant, id).await?;
    if !secrets::delete(conn, &hook.id, name).await? {
        return Err(HookError::Missing("secret of this hook"));
    }
    Ok(secrets::list(conn, &hook.id).await?)
}

/// The purpose that the version in use, or else the newest, has for a secret.
async fn wanted_purpose(conn: &mut Conn, hook: &Hook, name: &str) -> Result<Purpose, HookError> {
    let versions = hooks::versions(conn, &hook.id).await?;
    let settings = hook.settings.value();
    let active = versions.iter().filter(|version| Some(&version.id) == hook.active_id.as_ref());
    for version in active.chain(&versions) {
        let manifest = manifest_of(version)?;
        if let Some(purpose) = manifest.purpose_of(name, &manifest.settings_filled(settings.clone())) {
            return Ok(purpose);
        }
    }
    Err(HookError::NoPurpose(name.to_owned()))
}

/// Refuses a value that is unfit for its purpose: one that no header can carry, or that is no key of the algorithm that
/// the version in use (or else the newest) signs with.
async fn fits(
    conn: &mut Conn,
    hook: &Hook,
    name: &str,
    purpose: &Purpose,
    value: &str,
) -> Result<(), HookError> {
    // A private key in PEM has lines.
    let is_key = *purpose == Purpose::Sign && value.trim_start().starts_with("-----BEGIN ");
    if value.chars().any(|c| c.is_control() && !(is_key && matches!(c, '\r' | '\n'))) {
        let why = "no line breaks or other controls, but for those of a key in PEM to sign with";
        return Err(HookError::SecretUnfit(why.to_owned()));
    }
    if *purpose != Purpose::Sign {
        return Ok(());
    }
    let versions = hooks::versions(conn, &hook.id).await?;
    let active = versions.iter().find(|version| Some(&version.id) == hook.active_id.as_ref());
    let Some(version) = active.or(versions.first()) else { return Ok(()) };
    let manifest = manifest_of(version)?;
    match manifest.secrets.get(name).and_then(|asked| asked.algorithm) {
        Some(algorithm) => algorithm.check(value).map_err(|why| HookError::SecretUnfit(why.to_string())),
        None => Ok(()),
    }
}

/// Refuses a version if secrets that it requires are not set for the purposes that it states. A secret whose host comes
/// from a setting that is not set is not required.
pub(super) async fn are_set(conn: &mut Conn, hook: &Hook, manifest: &Manifest) -> Result<(), HookError> {
    let filled = manifest.settings_filled(hook.settings.value());
    let wanted =
        manifest.secrets.keys().filter_map(|name| Some((name.as_str(), manifest.purpose_of(name, &filled)?)));
    check(conn, hook, wanted.collect()).await
}

/// Refuses settings that give secrets of the version in use purposes for which they are not set.
pub(super) async fn still_set(
    conn: &mut Conn,
    hook: &Hook,
    manifest: &Manifest,
    before: &Value,
    after: &Value,
) -> Result<(), HookError> {
    let (before, after) = (manifest.settings_filled(before.clone()), manifest.settings_filled(after.clone()));
    let wanted =
        manifest.secrets.keys().filter_map(|name| Some((name.as_str(), manifest.purpose_of(name, &after)?)));
    let changed = wanted.filter(|(name, wanted)| Some(wanted) != manifest.purpose_of(name, &before).as_ref());
    check(conn, hook, changed.collect()).await
}

/// Errors if secrets are not set for these purposes.
async fn check(conn: &mut Conn, hook: &Hook, wanted: Vec<(&str, Purpose)>) -> Result<(), HookError> {
    let set = secrets::list(conn, &hook.id).await?;
    let is_set = |(name, wanted): &(&str, Purpose)| {
        set.iter().any(|secret| secret.name == *name && secret.purpose == *wanted)
    };
    let missing: Vec<MissingSecret> = wanted
        .into_iter()
        .filter(|one| !is_set(one))
        .map(|(name, wanted)| {
            let set_otherwise = set.iter().any(|secret| secret.name == name);
            MissingSecret { name: name.to_owned(), wanted, set_otherwise }
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(HookError::SecretsMissing { hook_id: hook.id.clone(), missing })
}
