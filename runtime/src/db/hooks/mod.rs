//! Merchants' hooks: versions, activations, settings, secrets.
//!
//! What a merchant asks for names the tenant: a function here finds nothing of another's.

mod callee;
pub(crate) mod candidates;
mod deletion;
pub(crate) mod forms;
pub(crate) mod match_queue;
pub(crate) mod matches;
pub(crate) mod run_queue;
pub(crate) mod runs;
pub(crate) mod secrets;
pub(crate) mod shadows;

pub(crate) use callee::Callee;
pub(crate) use deletion::{delete, delete_version};

use super::{
    Conn, DbError, Row, args,
    disk::{self, DiskLimit, DiskUse, Full},
    merchants,
};
use crate::domain::{
    Millis,
    hook::{Binding, Role},
    id::{HookId, HookVersionId, MerchantId},
    tenant::Tenant,
    verbatim::Verbatim,
    word::words,
};

words! {
    /// State of a hook: it is run, or not.
    HookState {
        Active = "active",
        /// Disabled by the merchant. Waiting runs are kept.
        Disabled = "disabled",
    }
}

/// A hook as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) id: HookId,
    pub(crate) name: String,
    /// The version in use.
    pub(crate) active_id: Option<HookVersionId>,
    /// The shadow version, which every run is played to as well.
    pub(crate) shadow_id: Option<HookVersionId>,
    pub(crate) binding: Binding,
    /// JSON object, as the merchant sent it.
    pub(crate) settings: Verbatim,
    pub(crate) state: HookState,
    /// Calls in a row that failed.
    pub(crate) failures: i64,
    /// After many of them its runs wait until then.
    pub(crate) paused_until: Option<Millis>,
    pub(crate) created_at: Millis,
}

/// A version of a hook: one artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub(crate) id: HookVersionId,
    pub(crate) hook_id: HookId,
    pub(crate) version: String,
    pub(crate) sha256: String,
    /// JSON.
    pub(crate) manifest: String,
    pub(crate) created_at: Millis,
}

/// Limits of a merchant's hooks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) hooks: u32,
    pub(crate) versions: u32,
    pub(crate) disk: DiskLimit,
}

/// The parts of a new version.
#[derive(Debug, Clone)]
pub(crate) struct NewVersion {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) wasm: Vec<u8>,
    /// Size of the compiled code, bytes.
    pub(crate) compiled: usize,
    pub(crate) manifest: String,
    /// Binding of the hook, if the hook is new.
    pub(crate) binding: Binding,
}

/// Error of storing a version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(
        "the merchant has {0} hooks already, as many as the operator allows (hooks.per_merchant); delete one"
    )]
    TooManyHooks(u32),
    #[error("the hook has {0} versions already; delete one that is not needed")]
    TooManyVersions(u32),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Db(#[from] DbError),
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, active_id, shadow_id, binding, settings, state, failures, created_at,
                 COALESCE(paused_until, (SELECT m.paused_until FROM matcher m WHERE m.id = hook.id)) AS paused_until
             FROM hook WHERE merchant_id = $1 AND test = $2 AND deleted_at IS NULL ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<Hook, DbError> {
    Ok(Hook {
        id: row.id("id")?,
        name: row.text("name")?,
        active_id: row.opt_id("active_id")?,
        shadow_id: row.opt_id("shadow_id")?,
        binding: row.json("binding")?,
        settings: row.json("settings")?,
        state: row.parsed("state")?,
        failures: row.int("failures")?,
        paused_until: row.opt_int("paused_until")?,
        created_at: row.int("created_at")?,
    })
}

fn version(row: &Row) -> Result<VersionRow, DbError> {
    Ok(VersionRow {
        id: row.id("id")?,
        hook_id: row.id("hook_id")?,
        version: row.text("version")?,
        sha256: row.text("sha256")?,
        manifest: row.text("manifest")?,
        created_at: row.int("created_at")?,
    })
}

fn text<T: serde::Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(DbError::Unwritable)
}

pub(crate) async fn get(conn: &mut Conn, tenant: &Tenant, id: &HookId) -> Result<Option<Hook>, DbError> {
    let args = args![&tenant.merchant, tenant.mode, id];
    conn.row(select!("AND id = $3"), args).await?.as_ref().map(read).transpose()
}

pub(crate) async fn by_name(conn: &mut Conn, tenant: &Tenant, name: &str) -> Result<Option<Hook>, DbError> {
    let args = args![&tenant.merchant, tenant.mode, name.to_owned()];
    conn.row(select!("AND name = $3"), args).await?.as_ref().map(read).transpose()
}

/// All hooks of the merchant, by name: they are few.
pub(crate) async fn list(conn: &mut Conn, tenant: &Tenant) -> Result<Vec<Hook>, DbError> {
    let args = args![&tenant.merchant, tenant.mode];
    conn.rows(select!("ORDER BY name"), args).await?.iter().map(read).collect()
}

/// Stores an artefact as a version of the hook that its manifest names; makes the hook if there is none. The same
/// artefact again yields the existing version.
pub(crate) async fn insert(
    conn: &mut Conn,
    tenant: &Tenant,
    new: NewVersion,
    limits: Limits,
    now: Millis,
) -> Result<(Hook, VersionRow), StoreError> {
    merchants::alone(conn, &tenant.merchant).await?;
    let hook = match by_name(conn, tenant, &new.name).await? {
        Some(hook) => hook,
        None => {
            if list(conn, tenant).await?.len() >= usize::try_from(limits.hooks).unwrap_or(usize::MAX) {
                return Err(StoreError::TooManyHooks(limits.hooks));
            }
            conn.exec(
                "INSERT INTO hook (id, merchant_id, test, name, generation, binding, settings, state, failures, created_at)
                 VALUES ($1, $2, $3, $4, 0, $5, '{}', 'active', 0, $6)",
                args![HookId::new(now), &tenant.merchant, tenant.mode, &new.name, text(&new.binding)?, now],
            )
            .await?;
            let made = by_name(conn, tenant, &new.name).await?;
            made.ok_or(DbError::Vanished("the hook"))?
        }
    };
    let known = versions(conn, &hook.id).await?;
    if let Some(same) = known.iter().find(|version| version.sha256 == new.sha256) {
        return Ok((hook, same.clone()));
    }
    if known.len() >= usize::try_from(limits.versions).unwrap_or(usize::MAX) {
        return Err(StoreError::TooManyVersions(limits.versions));
    }
    lock(conn, &hook.id).await?;
    let bytes = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let (components, compiled_code) = (bytes(new.wasm.len() + new.manifest.len()), bytes(new.compiled));
    let more = DiskUse { components, compiled_code, ..DiskUse::default() };
    limits.disk.check(disk::count(conn, &tenant.merchant, more).await?)?;
    super::plugins::keep_artefact(conn, &new.sha256, new.wasm, now).await?;
    let row = VersionRow {
        id: HookVersionId::new(now),
        hook_id: hook.id.clone(),
        version: new.version,
        sha256: new.sha256,
        manifest: new.manifest,
        created_at: now,
    };
    conn.exec(
        "INSERT INTO hook_version (id, hook_id, version, sha256, manifest, created_at, bytes, compiled_bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            &row.id,
            &row.hook_id,
            &row.version,
            &row.sha256,
            &row.manifest,
            now,
            components,
            compiled_code
        ],
    )
    .await?;
    Ok((hook, row))
}

/// Locks a hook until the transaction ends.
pub(crate) async fn lock(conn: &mut Conn, hook_id: &HookId) -> Result<(), DbError> {
    let sql = "SELECT id FROM hook WHERE id = $1 /*pg: FOR NO KEY UPDATE*/";
    conn.row(sql, args![hook_id]).await?;
    Ok(())
}

/// All versions of a hook, the newest first.
pub(crate) async fn versions(conn: &mut Conn, hook_id: &HookId) -> Result<Vec<VersionRow>, DbError> {
    let sql = "SELECT * FROM hook_version WHERE hook_id = $1 ORDER BY id DESC";
    conn.rows(sql, args![hook_id]).await?.iter().map(version).collect()
}

pub(crate) async fn version_by_id(
    conn: &mut Conn,
    id: &HookVersionId,
) -> Result<Option<VersionRow>, DbError> {
    let sql = "SELECT * FROM hook_version WHERE id = $1";
    conn.row(sql, args![id]).await?.as_ref().map(version).transpose()
}

/// Sets the shadow version, which every run is played to as well, or none.
pub(crate) async fn set_shadow(
    conn: &mut Conn,
    hook_id: &HookId,
    version_id: Option<HookVersionId>,
) -> Result<(), DbError> {
    let sql = "UPDATE hook SET shadow_id = $2 WHERE id = $1";
    conn.exec(sql, args![hook_id, version_id]).await?;
    Ok(())
}

/// Makes a version with these roles the active one, and records it.
pub(crate) async fn activate(
    conn: &mut Conn,
    hook_id: &HookId,
    version_id: &HookVersionId,
    roles: &[Role],
    now: Millis,
) -> Result<(), DbError> {
    let row = conn
        .row(
            "UPDATE hook SET active_id = $2, generation = generation + 1, failures = 0, paused_until = NULL,
                 shadow_id = CASE WHEN shadow_id = $2 THEN NULL ELSE shadow_id END
             WHERE id = $1 RETURNING generation",
            args![hook_id, version_id],
        )
        .await?;
    let generation = row.map_or(Ok(0), |row| row.int("generation"))?;
    conn.exec(
        "INSERT INTO hook_activation (hook_id, generation, version_id, at) VALUES ($1, $2, $3, $4)",
        args![hook_id, generation, version_id, now],
    )
    .await?;
    conn.exec("DELETE FROM hook_role WHERE hook_id = $1", args![hook_id]).await?;
    let rows = roles.iter().map(|role| args![hook_id, *role]).collect();
    conn.insert_many("INSERT INTO hook_role (hook_id, role)", rows, "").await?;
    if roles.contains(&Role::Matcher) { match_queue::begin(conn, hook_id).await } else { Ok(()) }
}

/// The version that was active before the present one.
pub(crate) async fn before_active(conn: &mut Conn, hook_id: &HookId) -> Result<Option<VersionRow>, DbError> {
    conn.row(
        "SELECT v.* FROM hook_activation a
         JOIN hook h ON h.id = a.hook_id
         JOIN hook_version v ON v.id = a.version_id
         WHERE a.hook_id = $1 AND (h.active_id IS NULL OR a.version_id <> h.active_id)
         ORDER BY a.generation DESC LIMIT 1",
        args![hook_id],
    )
    .await?
    .as_ref()
    .map(version)
    .transpose()
}

pub(crate) async fn set_binding(conn: &mut Conn, hook_id: &HookId, binding: &Binding) -> Result<(), DbError> {
    let sql = "UPDATE hook SET binding = $2 WHERE id = $1";
    conn.exec(sql, args![hook_id, text(binding)?]).await?;
    Ok(())
}

pub(crate) async fn set_settings(
    conn: &mut Conn,
    hook_id: &HookId,
    settings: &Verbatim,
) -> Result<(), DbError> {
    let sql = "UPDATE hook SET settings = $2 WHERE id = $1";
    conn.exec(sql, args![hook_id, settings]).await?;
    Ok(())
}

/// Enables or disables a hook. Ends a pause too.
pub(crate) async fn set_state(conn: &mut Conn, hook_id: &HookId, state: HookState) -> Result<(), DbError> {
    let sql = "UPDATE hook SET state = $2, failures = 0, paused_until = NULL WHERE id = $1";
    conn.exec(sql, args![hook_id, state]).await?;
    match_queue::forgive(conn, hook_id).await
}

/// The merchant's hooks that price assets, the oldest first.
pub(crate) async fn that_price(conn: &mut Conn, tenant: &Tenant) -> Result<Vec<(Callee, Binding)>, DbError> {
    let sql =
        "SELECT h.id AS hook_id, h.name, h.merchant_id, h.test, h.settings, h.binding, v.id AS version_id,
                   v.version, v.sha256, v.manifest
               FROM hook h
               JOIN hook_role r ON r.hook_id = h.id AND r.role = 'rates'
               JOIN hook_version v ON v.id = h.active_id
               WHERE h.merchant_id = $1 AND h.test = $2 AND h.state = 'active'
                 AND h.deleted_at IS NULL ORDER BY h.id";
    let rows = conn.rows(sql, args![&tenant.merchant, tenant.mode]).await?;
    rows.iter().map(|row| Ok((Callee::read(row)?, row.json("binding")?))).collect()
}

/// A hook that may want an event, reduced to what dispatch needs.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) id: HookId,
    pub(crate) tenant: Tenant,
    pub(crate) binding: Binding,
}

/// The hooks of these merchants that run for events.
pub(crate) async fn bound(
    conn: &mut Conn,
    merchants: impl Iterator<Item = MerchantId>,
) -> Result<Vec<Bound>, DbError> {
    let sql = "SELECT h.id, h.merchant_id, h.test, h.binding FROM hook h
               JOIN hook_role r ON r.hook_id = h.id AND r.role = 'fulfiller'
               WHERE h.state = 'active' AND h.deleted_at IS NULL AND h.merchant_id IN";
    conn.rows_in(sql, merchants.map(Into::into).collect(), "")
        .await?
        .iter()
        .map(|row| Ok(Bound { id: row.id("id")?, tenant: row.tenant()?, binding: row.json("binding")? }))
        .collect()
}
