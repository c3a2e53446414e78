//! What plugins keep: key-value pairs in scopes, written with the result of the call that wrote them.
//!
//! The row with the empty key is the scope's own: its revision, which every write moves on, and the bytes that
//! it holds. It is read together with each value, so that a reader sees when the scope has changed under it.

use std::collections::BTreeMap;

use super::{Conn, DbError, args};

/// Number of writes to a scope, and its size in bytes. A scope never written has the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Revision {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl Revision {
    fn encode(self) -> Vec<u8> {
        [self.number.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }

    fn decode(value: &[u8]) -> Result<Self, DbError> {
        let unreadable = || DbError::Unreadable { column: "value", why: "not a scope's revision".to_owned() };
        let (number, bytes) = value.split_at_checked(8).ok_or_else(unreadable)?;
        Ok(Self {
            number: u64::from_be_bytes(number.try_into().map_err(|_| unreadable())?),
            bytes: u64::from_be_bytes(bytes.try_into().map_err(|_| unreadable())?),
        })
    }
}

/// The writes of a call, based on its reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageWrites {
    pub(crate) scope: String,
    /// The revision that the call saw.
    pub(crate) base: Revision,
    /// Size of the scope afterwards, bytes.
    pub(crate) bytes: u64,
    /// Values by key; `None` deletes the key.
    pub(crate) entries: BTreeMap<String, Option<Vec<u8>>>,
}

/// The value of a key, and the scope's revision at the same moment.
pub(crate) async fn get(
    conn: &mut Conn,
    scope: &str,
    key: &str,
) -> Result<(Revision, Option<Vec<u8>>), DbError> {
    let rows = conn
        .rows(
            "SELECT key, value FROM plugin_storage WHERE scope = $1 AND key IN ('', $2)",
            args![scope.to_owned(), key.to_owned()],
        )
        .await?;
    let mut found = (Revision::default(), None);
    for row in rows {
        match row.text("key")?.as_str() {
            "" => found.0 = Revision::decode(&row.blob("value")?)?,
            _ => found.1 = Some(row.blob("value")?),
        }
    }
    Ok(found)
}

/// The values of the existing ones of several keys, and the scope's revision at the same moment.
pub(crate) async fn get_many(
    conn: &mut Conn,
    scope: &str,
    keys: Vec<String>,
) -> Result<(Revision, BTreeMap<String, Vec<u8>>), DbError> {
    // The scope's own row is among them. All fit into one statement, and so are of one moment.
    let items = std::iter::once(String::new()).chain(keys).flat_map(|key| args![key]).collect();
    let head = "SELECT key, value FROM plugin_storage WHERE scope = $1 AND key IN";
    let rows = conn.rows_in_with(head, args![scope.to_owned()], items, "").await?;
    let mut found = (Revision::default(), BTreeMap::new());
    for row in rows {
        match row.text("key")? {
            key if key.is_empty() => found.0 = Revision::decode(&row.blob("value")?)?,
            key => drop(found.1.insert(key, row.blob("value")?)),
        }
    }
    Ok(found)
}

/// Deletes all data of a scope. Returns its size, bytes.
pub(crate) async fn delete(conn: &mut Conn, scope: &str) -> Result<i64, DbError> {
    // Deletes its own row first, which every write changes: the size in it is then exact.
    let sql = "DELETE FROM plugin_storage WHERE scope = $1 AND key = '' RETURNING value";
    let Some(row) = conn.row(sql, args![scope.to_owned()]).await? else { return Ok(0) };
    let bytes = Revision::decode(&row.blob("value")?)?.bytes;
    conn.exec("DELETE FROM plugin_storage WHERE scope = $1", args![scope.to_owned()]).await?;
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// The keys with a prefix after the key `after`, ascending by bytes, and the scope's revision at the same moment.
pub(crate) async fn keys(
    conn: &mut Conn,
    scope: &str,
    prefix: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<(Revision, Vec<String>), DbError> {
    // PostgreSQL would otherwise sort by language.
    let rows = conn
        .rows(
            "SELECT key, CASE WHEN key = '' THEN value END AS revision FROM plugin_storage
             WHERE scope = $1 AND (key = '' OR (
                 key /*pg: COLLATE \"C\"*/ > $2 AND key /*pg: COLLATE \"C\"*/ >= $3
                 AND ($4 = '' OR key /*pg: COLLATE \"C\"*/ < $4)))
             ORDER BY key /*pg: COLLATE \"C\"*/ LIMIT $5",
            args![
                scope.to_owned(),
                after.unwrap_or_default().to_owned(),
                prefix.to_owned(),
                end_of(prefix),
                limit.saturating_add(1),
            ],
        )
        .await?;
    let mut revision = Revision::default();
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        match row.opt_blob("revision")? {
            Some(value) => revision = Revision::decode(&value)?,
            None => keys.push(row.text("key")?),
        }
    }
    keys.truncate(usize::try_from(limit).unwrap_or(0));
    Ok((revision, keys))
}

/// The first text above all that begin with `prefix`; empty if there is none.
fn end_of(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // A range of chars leaves out the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return chars.into_iter().collect();
        }
    }
    String::new()
}

/// Applies the writes of a call, in the transaction that commits the call's result.
///
/// Errors with [`DbError::Stale`] if the scope has changed since the call read it: undo everything and repeat the call.
pub(crate) async fn apply(conn: &mut Conn, writes: &StorageWrites) -> Result<(), DbError> {
    if writes.entries.is_empty() {
        return Ok(());
    }
    let scope = || writes.scope.clone();
    let next = Revision { number: writes.base.number.saturating_add(1), bytes: writes.bytes };
    let moved = conn
        .exec(
            "INSERT INTO plugin_storage (scope, key, value) VALUES ($1, '', $2)
             ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value
             WHERE plugin_storage.value = $3",
            args![scope(), next.encode(), writes.base.encode()],
        )
        .await?;
    if moved == 0 {
        return Err(DbError::Stale("a plugin's storage"));
    }
    let mut set = Vec::new();
    for (key, value) in &writes.entries {
        match value {
            Some(value) => set.push(args![scope(), key, value.clone()]),
            None => {
                conn.exec("DELETE FROM plugin_storage WHERE scope = $1 AND key = $2", args![scope(), key])
                    .await?;
            }
        }
    }
    conn.insert_many(
        "INSERT INTO plugin_storage (scope, key, value)",
        set,
        "ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value",
    )
    .await?;
    Ok(())
}
