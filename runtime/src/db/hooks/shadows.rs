//! What a version in the shadow would have done, beside what was really done.

use crate::{
    db::{
        Conn, DbError, args,
        disk::{self, DiskLimit},
    },
    domain::{
        Millis,
        id::{HookId, HookVersionId, MerchantId},
    },
};

/// Maximum number of differences shown.
const SHOWN: i64 = 50;

/// A call, compared with the shadow version's.
#[derive(Debug, Clone)]
pub(crate) struct Shadowed {
    pub(crate) run_id: String,
    pub(crate) number: i64,
    pub(crate) same: bool,
    /// JSON.
    pub(crate) difference: serde_json::Value,
    pub(crate) at: Millis,
}

/// The results of a shadow version so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) calls: i64,
    pub(crate) different: i64,
    /// The newest differences.
    pub(crate) newest: Vec<Shadowed>,
}

/// Stores a comparison. The difference is left out if there is none, or if the merchant's hooks have reached their
/// `limit`.
pub(crate) async fn insert(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    hook_id: &HookId,
    version_id: &HookVersionId,
    shadowed: Shadowed,
    limit: DiskLimit,
) -> Result<(), DbError> {
    // If the version was deleted meanwhile, its results are of no use.
    super::lock(conn, hook_id).await?;
    let sql = "SELECT 1 AS one FROM hook_version WHERE id = $1
                 AND NOT EXISTS (SELECT 1 FROM hook_shadow s WHERE s.hook_id = $2 AND s.version_id = $1
                     AND s.run_id = $3 AND s.number = $4)
                 -- It was played what was erased meanwhile.
                 AND NOT EXISTS (SELECT 1 FROM hook_run r JOIN event e ON e.id = r.event_id
                     JOIN erasure x ON x.invoice_id = e.invoice_id WHERE r.id = $3)";
    let about = args![version_id, hook_id, &shadowed.run_id, shadowed.number];
    if conn.row(sql, about).await?.is_none() {
        return Ok(());
    }
    let none = "null";
    let mut difference = if shadowed.same { none.to_owned() } else { shadowed.difference.to_string() };
    let without = disk::row_bytes(&[none]);
    let mut bytes = disk::row_bytes(&[&difference]);
    if !disk::count_call(conn, merchant_id, (bytes, without), limit).await? {
        (difference, bytes) = (none.to_owned(), without);
    }
    conn.exec(
        "INSERT INTO hook_shadow (hook_id, version_id, run_id, number, same, difference, at, bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        args![
            hook_id.clone(),
            version_id.clone(),
            shadowed.run_id,
            shadowed.number,
            shadowed.same,
            difference,
            shadowed.at,
            bytes,
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn tally(
    conn: &mut Conn,
    hook_id: &HookId,
    version_id: &HookVersionId,
) -> Result<Tally, DbError> {
    let args = || args![hook_id, version_id];
    let counted =
        "SELECT COUNT(*) AS calls, COUNT(CASE WHEN same = 0 THEN 1 END) AS different FROM hook_shadow
                   WHERE hook_id = $1 AND version_id = $2";
    let (calls, different) = match conn.row(counted, args()).await? {
        Some(row) => (row.int("calls")?, row.int("different")?),
        None => (0, 0),
    };
    let sql = "SELECT run_id, number, same, difference, at FROM hook_shadow
               WHERE hook_id = $1 AND version_id = $2 AND same = 0 ORDER BY at DESC LIMIT $3";
    let mut with_limit = args();
    with_limit.push(SHOWN.into());
    let rows = conn.rows(sql, with_limit).await?;
    let newest = rows
        .iter()
        .map(|row| {
            Ok(Shadowed {
                run_id: row.text("run_id")?,
                number: row.int("number")?,
                same: row.bool("same")?,
                difference: row.json("difference")?,
                at: row.int("at")?,
            })
        })
        .collect::<Result<_, DbError>>()?;
    Ok(Tally { calls, different, newest })
}
