//! What merchants' hooks take on disk, and how much they may.
//!
//! One row of each merchant says it, and is changed in the transaction that stores or deletes: by a delta that is
//! committed with what it is of. A limit is looked at in the row as it is then, which is locked until the transaction
//! ends. So it holds however many transactions add something at the same time.
//!
//! Whoever locks this row locks rows of hooks and of their queues before it, and rows of storage and of endpoints after
//! it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Conn, DbError, Row, args, plugin_storage, plugin_storage::StorageWrites};

use crate::domain::id::MerchantId;

/// Approximate size of a row besides its texts, bytes.
const ROW_BYTES: i64 = 256;

/// Bytes, by what takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Taken)]
pub(crate) struct DiskUse {
    /// The versions of all hooks, with their manifests.
    pub(crate) components: i64,
    /// The compiled code.
    pub(crate) compiled_code: i64,
    /// The values that hooks have stored.
    pub(crate) storage: i64,
    /// Calls, questions to matchers and differences of shadows, with their logs and recordings.
    pub(crate) runs: i64,
}

impl DiskUse {
    pub(crate) fn total(&self) -> i64 {
        self.components + self.compiled_code + self.storage + self.runs
    }

    pub(crate) fn of_runs(bytes: i64) -> Self {
        Self { runs: bytes, ..Self::default() }
    }

    /// The same sizes, negated.
    pub(crate) fn freed(self) -> Self {
        Self {
            components: -self.components,
            compiled_code: -self.compiled_code,
            storage: -self.storage,
            runs: -self.runs,
        }
    }

    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            components: row.int("components")?,
            compiled_code: row.int("compiled")?,
            storage: row.int("storage")?,
            runs: row.int("runs")?,
        })
    }
}

/// Maximum size of all that a merchant's hooks keep, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskLimit(pub(crate) i64);

/// The limit is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hooks take {} bytes, {} are allowed", limit.counted(*taken), limit.0)]
pub(crate) struct Full {
    pub(crate) taken: DiskUse,
    pub(crate) limit: DiskLimit,
}

impl DiskLimit {
    /// The limit as the operator writes it, MiB; 0 for no limit.
    pub(crate) fn of_mib(mib: u32) -> Self {
        Self(if mib == 0 { i64::MAX } else { i64::from(mib) << 20 })
    }

    /// Maximum size of the runs. A shop with many orders has many runs; these must not prevent uploads and storage.
    fn of_runs(self) -> i64 {
        self.0 / 2
    }

    /// The part of `taken` that counts against the limit.
    pub(crate) fn counted(self, taken: DiskUse) -> i64 {
        taken.components + taken.compiled_code + taken.storage + taken.runs.min(self.of_runs())
    }

    /// Errors if `taken` is over the limit.
    pub(crate) fn check(self, taken: DiskUse) -> Result<(), Full> {
        if self.counted(taken) > self.0 { Err(Full { taken, limit: self }) } else { Ok(()) }
    }
}

/// Size of a text, bytes.
pub(super) fn bytes(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// Size of a row with these texts, bytes.
pub(super) fn row_bytes(texts: &[&str]) -> i64 {
    texts.iter().map(|text| bytes(text)).sum::<i64>() + ROW_BYTES
}

/// Sum of a column of sizes, bytes.
pub(super) fn sum(rows: &[Row], column: &'static str) -> Result<i64, DbError> {
    rows.iter().map(|row| row.int(column)).sum()
}

pub(crate) async fn taken(conn: &mut Conn, merchant_id: &MerchantId) -> Result<DiskUse, DbError> {
    let sql = "SELECT components, compiled, storage, runs FROM hook_disk WHERE merchant_id = $1";
    let row = conn.row(sql, args![merchant_id]).await?;
    row.as_ref().map_or(Ok(DiskUse::default()), DiskUse::read)
}

/// Adds to the sizes, or subtracts. Returns the sums, which stay until the transaction ends.
pub(crate) async fn count(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    more: DiskUse,
) -> Result<DiskUse, DbError> {
    let row = conn
        .row(
            "INSERT INTO hook_disk (merchant_id, components, compiled, storage, runs) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (merchant_id) DO UPDATE SET components = hook_disk.components + excluded.components,
                 compiled = hook_disk.compiled + excluded.compiled, storage = hook_disk.storage + excluded.storage,
                 runs = hook_disk.runs + excluded.runs
             RETURNING components, compiled, storage, runs",
            args![merchant_id, more.components, more.compiled_code, more.storage, more.runs],
        )
        .await?;
    row.as_ref().map_or(Ok(DiskUse::default()), DiskUse::read)
}

/// Counts the record of a call: its size as a `whole`, or `without` recording and log if there is no room for them.
/// Returns false in the latter case.
pub(super) async fn count_call(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    (whole, without): (i64, i64),
    limit: DiskLimit,
) -> Result<bool, DbError> {
    let taken = count(conn, merchant_id, DiskUse::of_runs(whole)).await?;
    if taken.runs <= limit.of_runs() && limit.check(taken).is_ok() {
        return Ok(true);
    }
    count(conn, merchant_id, DiskUse::of_runs(without - whole)).await?;
    Ok(false)
}

/// Writes the storage of a hook's call. [`DbError::Stale`] if the storage has changed since the call read it, or if
/// there is no room any more: undo everything and repeat the call, which is then told that there is no room.
pub(crate) async fn store(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    writes: &StorageWrites,
    limit: DiskLimit,
) -> Result<(), DbError> {
    match try_store(conn, merchant_id, writes, limit).await? {
        Ok(()) => Ok(()),
        Err(Full { .. }) => Err(DbError::Stale("the room for a merchant's hooks")),
    }
}

/// As [`store`], with a result of its own for the limit.
pub(crate) async fn try_store(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    writes: &StorageWrites,
    limit: DiskLimit,
) -> Result<Result<(), Full>, DbError> {
    if writes.entries.is_empty() {
        return Ok(Ok(()));
    }
    let held = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let more = held(writes.bytes) - held(writes.base.bytes);
    let taken = count(conn, merchant_id, DiskUse { storage: more, ..DiskUse::default() }).await?;
    if let (true, Err(full)) = (more > 0, limit.check(taken)) {
        return Ok(Err(full));
    }
    plugin_storage::apply(conn, writes).await?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        db::{
            Db,
            hooks::{self, Limits, NewVersion, StoreError},
            merchants::{self, Merchant},
            plugin_storage::Revision,
        },
        domain::{
            hook::Binding,
            policy::Policy,
            tenant::{Mode, Tenant},
        },
        testing,
    };

    const SIZE: usize = 100;
    const AT_ONCE: usize = 8;

    async fn merchant(db: &Db) {
        let (id, name) = ("mer_1".into(), "Shop".to_owned());
        let policy = Policy::default();
        let merchant =
            Merchant { id, name, policy, operator_events: false, created_at: 1, disabled_at: None };
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { merchants::insert(conn, &merchant).await })
        })
        .await
        .unwrap();
    }

    fn version(number: usize) -> NewVersion {
        NewVersion {
            name: format!("hook-{}", number % 2),
            version: "0.1.0".to_owned(),
            sha256: format!("{number}"),
            wasm: vec![0; SIZE - 2],
            compiled: SIZE,
            manifest: "{}".to_owned(),
            binding: Binding::default(),
        }
    }

    #[tokio::test]
    async fn the_limit_holds_when_all_ask_at_once() {
        for db in testing::databases().await {
            merchant(&db).await;
            // Room for three and a half versions.
            let limits = Limits { hooks: 99, versions: 99, disk: DiskLimit(700) };
            let uploads = (0..AT_ONCE).map(|number| {
                let (db, new) = ((*db).clone(), version(number));
                let tenant = Tenant { merchant: "mer_1".into(), mode: Mode::of_test(number % 3 == 0) };
                tokio::spawn(async move {
                    db.write(move |conn| {
                        Box::pin(async move { hooks::insert(conn, &tenant, new, limits, 5).await })
                    })
                    .await
                })
            });
            let mut refused = 0;
            for upload in uploads.collect::<Vec<_>>() {
                match upload.await.unwrap() {
                    Ok(_) => {}
                    Err(StoreError::Full(_)) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(refused, AT_ONCE - 3);
            let mut conn = db.read().await.unwrap();
            let all = taken(&mut conn, &"mer_1".into()).await.unwrap();
            assert_eq!((all.components, all.compiled_code), (300, 300));
            let stored = conn.rows("SELECT id FROM hook_version", Vec::new()).await.unwrap();
            assert_eq!(stored.len(), 3);
        }
    }

    #[tokio::test]
    async fn runs_take_half_and_then_go_without_recordings() {
        for db in testing::databases().await {
            merchant(&db).await;
            let limit = DiskLimit(1000);
            let call = || {
                db.write::<_, DbError, _>(move |conn| {
                    Box::pin(async move { count_call(conn, &"mer_1".into(), (200, 50), limit).await })
                })
            };
            let mut whole = Vec::new();
            for _ in 0..30 {
                whole.push(call().await.unwrap());
            }
            assert!(whole[..2].iter().all(|whole| *whole) && whole[2..].iter().all(|whole| !whole));
            let all = taken(&mut db.read().await.unwrap(), &"mer_1".into()).await.unwrap();
            assert_eq!((all.runs, limit.counted(all)), (2 * 200 + 28 * 50, 500));
            // Uploads and storage still have room.
            assert!(limit.check(DiskUse { storage: 500, ..all }).is_ok());
            assert!(limit.check(DiskUse { storage: 501, ..all }).is_err());
        }
    }

    #[tokio::test]
    async fn storage_that_finds_no_room_is_stale_and_less_always_fits() {
        for db in testing::databases().await {
            merchant(&db).await;
            let write = async |base: (u64, u64), bytes: u64| {
                let base = Revision { number: base.0, bytes: base.1 };
                let entries = BTreeMap::from([("k".to_owned(), Some(vec![7]))]);
                let writes = StorageWrites { scope: "hook:1".to_owned(), base, bytes, entries };
                db.write(move |conn| {
                    Box::pin(async move { store(conn, &"mer_1".into(), &writes, DiskLimit(500)).await })
                })
                .await
            };
            write((0, 0), 500).await.unwrap();
            assert!(matches!(write((1, 500), 501).await, Err(DbError::Stale(_))));
            // Data read before another's write is not accepted.
            assert!(matches!(write((0, 0), 100).await, Err(DbError::Stale(_))));
            assert_eq!(taken(&mut db.read().await.unwrap(), &"mer_1".into()).await.unwrap().storage, 500);
            write((1, 500), 499).await.unwrap();
            assert_eq!(taken(&mut db.read().await.unwrap(), &"mer_1".into()).await.unwrap().storage, 499);
        }
    }
}
