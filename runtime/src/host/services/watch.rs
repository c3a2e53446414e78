//! Addresses of each network that the host waits for.
//!
//! Each network has a set of 64-bit keyed hashes of its address keys: 19 MB for a million. It has no false negatives; a
//! false positive happens once in 10^13 questions, and costs a query of the database. A chain cannot provoke one, since
//! nobody outside knows the hash's key.
//!
//! A question first takes in the rows that were committed since the last one. So an address that was handed
//! out before a scan asks is always seen by it.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use super::Shared;
use crate::{
    db::{Db, DbError, watch as rows},
    host::{
        bindings::services::kassa::plugin::watch::{self, WatchError},
        services::CallState,
    },
};

/// Maximum length of an address key, bytes. No chain has longer ones.
const KEY_BYTES_MAX: u32 = 64;
const LIST_MAX: u32 = 1_000;
/// Maximum number of rows that one query reads.
const ROWS_PER_QUERY: i64 = 10_000;
/// Number of keys looked up before others on this thread have a turn.
const KEYS_PER_TURN: usize = 16_384;

/// The sets of all networks.
#[derive(Default)]
pub(crate) struct WatchSets {
    networks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<WatchSet>>>>,
    hasher: RandomState,
}

#[derive(Default)]
struct WatchSet {
    /// Sequence number of the last row in the set.
    seq: i64,
    hashes: HashSet<u64>,
}

impl WatchSets {
    fn of(&self, network: &str) -> Arc<tokio::sync::Mutex<WatchSet>> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.entry(network.to_owned()).or_default().clone()
    }

    /// Indices of the keys that may be watched, ascending.
    pub(in crate::host) async fn filter(
        &self,
        db: &Db,
        network: &str,
        keys: &[u8],
        width: usize,
    ) -> Result<Vec<u32>, DbError> {
        let set = self.of(network);
        let mut set = set.lock().await;
        self.refresh(db, network, &mut set).await?;
        let mut found = Vec::new();
        let mut index: u32 = 0;
        for turn in keys.chunks(width.saturating_mul(KEYS_PER_TURN)) {
            for key in turn.chunks_exact(width) {
                if set.hashes.contains(&self.hasher.hash_one(key)) {
                    found.push(index);
                }
                index += 1;
            }
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    async fn refresh(&self, db: &Db, network: &str, set: &mut WatchSet) -> Result<(), DbError> {
        let mut conn = db.read().await?;
        loop {
            let rows = rows::keys_after(&mut conn, network, set.seq, ROWS_PER_QUERY).await?;
            let complete = i64::try_from(rows.len()).unwrap_or(i64::MAX) < ROWS_PER_QUERY;
            for (seq, key) in rows {
                set.hashes.insert(self.hasher.hash_one(key.as_slice()));
                set.seq = seq;
            }
            if complete {
                return Ok(());
            }
        }
    }
}

fn unavailable(error: &DbError) -> WatchError {
    tracing::warn!(%error, "watched addresses cannot be read");
    WatchError::Unavailable
}

impl watch::Host for CallState {
    async fn filter(&mut self, keys: Vec<u8>, width: u32) -> wasmtime::Result<Result<Vec<u32>, WatchError>> {
        self.count()?;
        let width_bytes = usize::try_from(width).unwrap_or(0);
        if !(1..=KEY_BYTES_MAX).contains(&width) || !keys.len().is_multiple_of(width_bytes) {
            let why =
                format!("{} bytes are not keys of {width} (1 to {KEY_BYTES_MAX}) bytes each", keys.len());
            return Ok(Err(WatchError::Malformed(why)));
        }
        let Shared { db, watch, .. } = &*self.services.shared;
        let found = watch.filter(db, self.services.subject.network(), &keys, width_bytes).await;
        Ok(found.map_err(|error| unavailable(&error)))
    }

    async fn list(
        &mut self,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, WatchError>> {
        self.count()?;
        let network = self.services.subject.network();
        let limit = i64::from(limit.min(LIST_MAX));
        let read = async {
            let mut conn = self.services.shared.db.read().await?;
            rows::addresses_after(&mut conn, network, after.as_deref().unwrap_or(""), limit).await
        };
        Ok(read.await.map_err(|error| unavailable(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::args, testing};

    async fn add(db: &Db, network: &'static str, seqs: std::ops::Range<i64>) {
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                conn.exec(
                    "INSERT INTO merchant (id, name, policy, created_at) VALUES ('m', 'm', '{}', 0)
                     ON CONFLICT (id) DO NOTHING",
                    args![],
                )
                .await?;
                conn.exec(
                    "INSERT INTO network (name, plugin, manifest, test, enabled, created_at)
                     VALUES ($1, 'p', '{}', 1, 1, 0) ON CONFLICT (name) DO NOTHING",
                    args![network],
                )
                .await?;
                let row = |seq: i64| {
                    let id = format!("{network}-{seq:08}");
                    args![id.clone(), "m", network, id, key(seq), "customer", seq, 0_i64]
                };
                conn.insert_many(
                    "INSERT INTO receive_address (id, merchant_id, network, address, key, kind, seq, created_at)",
                    seqs.map(row).collect(),
                    "",
                )
                .await
            })
        })
        .await
        .unwrap();
    }

    fn key(seq: i64) -> Vec<u8> {
        let mut key = vec![0; 12];
        key.extend(seq.to_be_bytes());
        key
    }

    async fn filter(sets: &WatchSets, db: &Db, network: &str, seqs: &[i64]) -> Vec<u32> {
        let keys: Vec<u8> = seqs.iter().flat_map(|seq| key(*seq)).collect();
        sets.filter(db, network, &keys, 20).await.unwrap()
    }

    #[tokio::test]
    async fn every_address_is_seen_from_its_commit_on() {
        for db in testing::databases().await {
            let sets = WatchSets::default();
            assert!(filter(&sets, &db, "one", &[1, 2]).await.is_empty());
            add(&db, "one", 1..25_001).await;
            let seqs = [25_001, 1, -7, 12_345, 25_000, 12_345];
            assert_eq!(filter(&sets, &db, "one", &seqs).await, [1, 3, 4, 5]);
            add(&db, "one", 25_001..25_002).await;
            assert_eq!(filter(&sets, &db, "one", &seqs).await, [0, 1, 3, 4, 5]);
            assert!(filter(&sets, &db, "two", &seqs).await.is_empty());
            add(&db, "two", 1..2).await;
            assert_eq!(filter(&sets, &db, "two", &seqs).await, [1]);
            let mut conn = db.read().await.unwrap();
            let list = rows::addresses_after(&mut conn, "one", "one-00000002", 2).await.unwrap();
            assert_eq!(list, ["one-00000003", "one-00000004"]);
        }
    }
}
