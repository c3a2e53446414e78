//! Plugins: artefacts, versions of plugins, and which of them was active when.

use super::{Conn, DbError, Row, args};
use crate::domain::{Millis, id::PluginVersionId, word::words};

words! {
    /// Who brought a version.
    Origin {
        /// The binary, which a newer binary may replace by its own.
        Embedded = "embedded",
        /// The operator, who alone may replace it.
        Uploaded = "uploaded",
    }
}

/// A version of a plugin: one artefact, and the operator's grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub(crate) id: PluginVersionId,
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    /// JSON.
    pub(crate) manifest: String,
    /// JSON.
    pub(crate) grants: String,
    pub(crate) origin: Origin,
    pub(crate) created_at: Millis,
}

/// A plugin and its active version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginRow {
    pub(crate) name: String,
    pub(crate) active_id: Option<PluginVersionId>,
    /// Number of its activations.
    pub(crate) generation: i64,
}

/// The parts of a new version.
#[derive(Debug, Clone)]
pub(crate) struct NewVersion {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) wasm: Vec<u8>,
    pub(crate) manifest: String,
    pub(crate) grants: String,
    pub(crate) origin: Origin,
}

fn version(row: &Row) -> Result<VersionRow, DbError> {
    Ok(VersionRow {
        id: row.id("id")?,
        plugin: row.text("plugin")?,
        version: row.text("version")?,
        sha256: row.text("sha256")?,
        manifest: row.text("manifest")?,
        grants: row.text("grants")?,
        origin: row.parsed("origin")?,
        created_at: row.int("created_at")?,
    })
}

fn plugin(row: &Row) -> Result<PluginRow, DbError> {
    Ok(PluginRow {
        name: row.text("name")?,
        active_id: row.opt_id("active_id")?,
        generation: row.int("generation")?,
    })
}

/// Stores an artefact as a version of its plugin. The same artefact again yields the existing version.
pub(crate) async fn insert(conn: &mut Conn, new: NewVersion, now: Millis) -> Result<VersionRow, DbError> {
    keep_artefact(conn, &new.sha256, new.wasm, now).await?;
    conn.exec(
        "INSERT INTO plugin (name, active_id, generation, created_at) VALUES ($1, NULL, 0, $2)
         ON CONFLICT (name) DO NOTHING",
        args![&new.plugin, now],
    )
    .await?;
    conn.exec(
        "INSERT INTO plugin_version (id, plugin, version, sha256, manifest, grants, origin, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (plugin, sha256) DO NOTHING",
        args![
            PluginVersionId::new(now),
            &new.plugin,
            new.version,
            &new.sha256,
            new.manifest,
            new.grants,
            new.origin,
            now,
        ],
    )
    .await?;
    let stored = by_sha256(conn, &new.plugin, &new.sha256).await?;
    stored.ok_or(DbError::Vanished("the plugin version"))
}

/// Stores a component's bytes, unless they are there.
pub(super) async fn keep_artefact(
    conn: &mut Conn,
    sha256: &str,
    wasm: Vec<u8>,
    now: Millis,
) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO artefact (sha256, wasm, created_at) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING",
        args![sha256.to_owned(), wasm, now],
    )
    .await?;
    Ok(())
}

/// Deletes a component's bytes, unless a version of a plugin or of any hook uses them.
pub(super) async fn drop_artefact(conn: &mut Conn, sha256: &str) -> Result<(), DbError> {
    conn.exec(
        "DELETE FROM artefact WHERE sha256 = $1
           AND NOT EXISTS (SELECT 1 FROM plugin_version v WHERE v.sha256 = $1)
           AND NOT EXISTS (SELECT 1 FROM hook_version v WHERE v.sha256 = $1)",
        args![sha256.to_owned()],
    )
    .await?;
    Ok(())
}

pub(crate) async fn by_sha256(
    conn: &mut Conn,
    name: &str,
    sha256: &str,
) -> Result<Option<VersionRow>, DbError> {
    conn.row(
        "SELECT * FROM plugin_version WHERE plugin = $1 AND sha256 = $2",
        args![name.to_owned(), sha256.to_owned()],
    )
    .await?
    .map(|row| version(&row))
    .transpose()
}

/// True if an artefact is a version of some plugin already.
pub(crate) async fn any_by_sha256(conn: &mut Conn, sha256: &str) -> Result<bool, DbError> {
    let row =
        conn.row("SELECT id FROM plugin_version WHERE sha256 = $1 LIMIT 1", args![sha256.to_owned()]).await?;
    Ok(row.is_some())
}

pub(crate) async fn by_id(conn: &mut Conn, id: &PluginVersionId) -> Result<Option<VersionRow>, DbError> {
    conn.row("SELECT * FROM plugin_version WHERE id = $1", args![id])
        .await?
        .map(|row| version(&row))
        .transpose()
}

/// All versions of a plugin, the newest first.
pub(crate) async fn versions(conn: &mut Conn, name: &str) -> Result<Vec<VersionRow>, DbError> {
    let rows = conn
        .rows("SELECT * FROM plugin_version WHERE plugin = $1 ORDER BY id DESC", args![name.to_owned()])
        .await?;
    rows.iter().map(version).collect()
}

/// The component's bytes.
pub(crate) async fn artefact(conn: &mut Conn, sha256: &str) -> Result<Option<Vec<u8>>, DbError> {
    conn.row("SELECT wasm FROM artefact WHERE sha256 = $1", args![sha256.to_owned()])
        .await?
        .map(|row| row.blob("wasm"))
        .transpose()
}

/// Size of the component, bytes.
pub(crate) async fn artefact_bytes(conn: &mut Conn, sha256: &str) -> Result<usize, DbError> {
    let sql = "SELECT CAST(LENGTH(wasm) AS BIGINT) AS n FROM artefact WHERE sha256 = $1";
    let bytes = conn.row(sql, args![sha256.to_owned()]).await?.map_or(Ok(0), |row| row.int("n"))?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// All plugins by name.
pub(crate) async fn list(conn: &mut Conn) -> Result<Vec<PluginRow>, DbError> {
    let rows = conn.rows("SELECT name, active_id, generation FROM plugin ORDER BY name", args![]).await?;
    rows.iter().map(plugin).collect()
}

pub(crate) async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<PluginRow>, DbError> {
    conn.row("SELECT name, active_id, generation FROM plugin WHERE name = $1", args![name.to_owned()])
        .await?
        .map(|row| plugin(&row))
        .transpose()
}

/// Changes a version's grants; they hold for calls once the version is activated again.
pub(crate) async fn set_grants(
    conn: &mut Conn,
    name: &str,
    id: &PluginVersionId,
    grants: String,
) -> Result<u64, DbError> {
    conn.exec(
        "UPDATE plugin_version SET grants = $3 WHERE plugin = $1 AND id = $2",
        args![name.to_owned(), id, grants],
    )
    .await
}

/// Makes a version the active one, or none, and records it. Returns the new generation.
pub(crate) async fn activate(
    conn: &mut Conn,
    name: &str,
    version_id: Option<PluginVersionId>,
    now: Millis,
) -> Result<i64, DbError> {
    let row = conn
        .row(
            "UPDATE plugin SET active_id = $2, generation = generation + 1 WHERE name = $1 RETURNING generation",
            args![name.to_owned(), &version_id],
        )
        .await?;
    let generation = row.map_or(Ok(0), |row| row.int("generation"))?;
    conn.exec(
        "INSERT INTO plugin_activation (plugin, generation, version_id, at) VALUES ($1, $2, $3, $4)",
        args![name.to_owned(), generation, version_id, now],
    )
    .await?;
    Ok(generation)
}

/// The version that was active before the present one; if none is active, the last one that was.
pub(crate) async fn before_active(conn: &mut Conn, name: &str) -> Result<Option<VersionRow>, DbError> {
    conn.row(
        "SELECT v.* FROM plugin_activation a
         JOIN plugin p ON p.name = a.plugin
         JOIN plugin_version v ON v.id = a.version_id
         WHERE a.plugin = $1 AND (p.active_id IS NULL OR a.version_id <> p.active_id)
         ORDER BY a.generation DESC LIMIT 1",
        args![name.to_owned()],
    )
    .await?
    .map(|row| version(&row))
    .transpose()
}
