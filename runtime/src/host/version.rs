//! Versions of plugins as they are stored, and as the operator sees them.

use super::manifest::{Grants, Manifest};
use crate::{
    db::{
        DbError,
        plugins::{Origin, VersionRow},
    },
    domain::{Millis, id::PluginVersionId},
};

/// A version as the operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct PluginVersion {
    pub(crate) id: PluginVersionId,
    pub(crate) sha256: String,
    pub(crate) manifest: Manifest,
    pub(crate) grants: Grants,
    pub(crate) origin: Origin,
    pub(crate) created_at: Millis,
    pub(crate) active: bool,
}

/// A plugin as the operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct PluginInfo {
    pub(crate) name: String,
    pub(crate) active: Option<PluginVersion>,
    /// True if the active version is ready in this process; the log says why if it is not.
    pub(crate) loaded: bool,
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(DbError::Unwritable)
}

pub(super) fn manifest_of(row: &VersionRow) -> Result<Manifest, DbError> {
    let unreadable =
        |error: serde_json::Error| DbError::Unreadable { column: "manifest", why: error.to_string() };
    serde_json::from_str(&row.manifest).map_err(unreadable)
}

pub(super) fn grants_of(row: &VersionRow) -> Result<Grants, DbError> {
    let unreadable =
        |error: serde_json::Error| DbError::Unreadable { column: "grants", why: error.to_string() };
    serde_json::from_str(&row.grants).map_err(unreadable)
}

pub(super) fn view(row: &VersionRow, active_id: Option<&PluginVersionId>) -> Result<PluginVersion, DbError> {
    Ok(PluginVersion {
        id: row.id.clone(),
        sha256: row.sha256.clone(),
        manifest: manifest_of(row)?,
        grants: grants_of(row)?,
        origin: row.origin,
        created_at: row.created_at,
        active: active_id == Some(&row.id),
    })
}
