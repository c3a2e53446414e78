//! Hooks as forms of endpoints (role `form`).

use super::{Callee, HookState};
use crate::{
    db::{Conn, DbError, args},
    domain::{
        hook::Role,
        id::{EndpointId, HookId},
    },
};

/// Why a hook is no form at present.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoForm {
    #[error("there is no such hook")]
    Missing,
    #[error("the hook {0} is disabled")]
    Disabled(String),
    #[error("the hook {0} has no version in use; activate one")]
    NotActivated(String),
    #[error("the hook {0} has no role `form` in the version that is in use")]
    NoRole(String),
}

/// The version of a hook that renders deliveries.
pub(crate) async fn callee(conn: &mut Conn, hook_id: &HookId) -> Result<Result<Callee, NoForm>, DbError> {
    let sql =
        "SELECT h.id AS hook_id, h.name, h.merchant_id, h.test, h.settings, h.state, v.id AS version_id,
                   v.version, v.sha256, v.manifest, r.role
               FROM hook h
               LEFT JOIN hook_version v ON v.id = h.active_id
               LEFT JOIN hook_role r ON r.hook_id = h.id AND r.role = $2
               WHERE h.id = $1 AND h.deleted_at IS NULL";
    let Some(row) = conn.row(sql, args![hook_id, Role::Form]).await? else {
        return Ok(Err(NoForm::Missing));
    };
    let name = row.text("name")?;
    Ok(if row.parsed::<HookState>("state")? == HookState::Disabled {
        Err(NoForm::Disabled(name))
    } else if row.opt_text("version_id")?.is_none() {
        Err(NoForm::NotActivated(name))
    } else if row.opt_text("role")?.is_none() {
        Err(NoForm::NoRole(name))
    } else {
        Ok(Callee::read(&row)?)
    })
}

/// Endpoints whose deliveries a hook renders.
pub(crate) async fn endpoints_of(conn: &mut Conn, hook_id: &HookId) -> Result<Vec<EndpointId>, DbError> {
    let sql = "SELECT id FROM endpoint WHERE form_hook_id = $1 AND deleted_at IS NULL ORDER BY id";
    conn.rows(sql, args![hook_id]).await?.iter().map(|row| row.id("id")).collect()
}
