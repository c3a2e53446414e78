//! What a call needs of a hook.

use super::{Hook, VersionRow};
use crate::domain::tenant::Tenant;
use crate::{
    db::{DbError, Row},
    domain::id::{HookId, HookVersionId},
};

/// The version of a hook to call, and its owner.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    pub(crate) hook_id: HookId,
    pub(crate) hook_name: String,
    pub(crate) tenant: Tenant,
    pub(crate) version_id: HookVersionId,
    pub(crate) version: String,
    pub(crate) sha256: String,
    /// JSON.
    pub(crate) manifest: String,
    /// A JSON object.
    pub(crate) settings: String,
}

impl Callee {
    /// Reads a hook (`hook_id`, `name`, …) with its version (`version_id`, …).
    pub(in crate::db) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            hook_id: row.id("hook_id")?,
            hook_name: row.text("name")?,
            tenant: row.tenant()?,
            version_id: row.id("version_id")?,
            version: row.text("version")?,
            sha256: row.text("sha256")?,
            manifest: row.text("manifest")?,
            settings: row.text("settings")?,
        })
    }
}

impl VersionRow {
    /// Makes this version one to call.
    pub(crate) fn called(&self, tenant: &Tenant, hook: &Hook) -> Callee {
        Callee {
            hook_id: hook.id.clone(),
            hook_name: hook.name.clone(),
            tenant: tenant.clone(),
            version_id: self.id.clone(),
            version: self.version.clone(),
            sha256: self.sha256.clone(),
            manifest: self.manifest.clone(),
            settings: hook.settings.text().to_owned(),
        }
    }
}
