//! Key-value storage that is transactional with the call.
//!
//! A call reads what was committed before it, through its own writes, which wait here until the caller commits them
//! with the call's result. The scope's revision is read with every value: if it moves during a call, the call has seen
//! values of two different times and is ended, to be made again. The same revision is checked when its writes are
//! applied, so that two calls (of two replicas, say) never overwrite each other.

use std::collections::BTreeMap;

use super::tape::{HostAnswer, HostCall, taped};
use crate::{
    db::{
        Db, DbError,
        disk::{self, DiskLimit},
        plugin_storage::{self, Revision, StorageWrites},
    },
    domain::id::MerchantId,
    host::{
        bindings::services::kassa::plugin::storage::{self, StorageError},
        limits::Limits,
        services::{Behalf, CallState, Subject},
    },
};

const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: u32 = 1 << 20;
const KEYS_MAX: u32 = 1_000;
/// Maximum number of keys of one `get-many`.
const KEYS_AT_ONCE_MAX: usize = 100;

/// The storage changed between two reads of a call.
#[derive(Debug, thiserror::Error)]
#[error("the storage changed during the call")]
pub(crate) struct StaleRead;

pub(in crate::host) struct Storage {
    db: Db,
    scope: String,
    /// The hook's merchant, and the limit of what all its hooks store.
    merchant: Option<(MerchantId, DiskLimit)>,
    /// Remaining room of all the merchant's hooks, bytes, as of the first write of this call that needed more.
    room: Option<i64>,
    /// Revision at the first read.
    base: Option<Revision>,
    /// Size of the scope after this call's writes, bytes.
    bytes: u64,
    bytes_max: u64,
    ops_left: u32,
    write_bytes_left: u64,
    written: BTreeMap<String, Option<Vec<u8>>>,
    /// Sizes of the keys that this call has read, as they are in the database, bytes: a write of one need not read it
    /// again.
    seen: BTreeMap<String, u64>,
}

/// Result of a host function: a trap outside, the guest's own error inside.
type StorageResult<T> = wasmtime::Result<Result<T, StorageError>>;

/// Unwraps the value of a result, or returns the guest's error.
macro_rules! known {
    ($answer:expr) => {
        match $answer {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}

impl Storage {
    pub(super) fn new(db: Db, subject: &Subject, limits: &Limits) -> Self {
        Self {
            db,
            scope: subject.scope(),
            merchant: match &subject.behalf {
                Behalf::Merchant(of) => Some((of.tenant.merchant.clone(), limits.disk)),
                Behalf::Network(_) => None,
            },
            room: None,
            base: None,
            bytes: 0,
            bytes_max: limits.storage_bytes,
            ops_left: limits.storage_ops,
            write_bytes_left: limits.storage_write_bytes,
            written: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(in crate::host) fn into_writes(self) -> StorageWrites {
        StorageWrites {
            scope: self.scope,
            base: self.base.unwrap_or_default(),
            bytes: self.bytes,
            entries: self.written,
        }
    }

    fn take_op(&mut self) -> Result<(), StorageError> {
        self.ops_left = self
            .ops_left
            .checked_sub(1)
            .ok_or_else(|| StorageError::Quota("storage operations of this call".to_owned()))?;
        Ok(())
    }

    /// Compares the revision of a read with that of this call's first read. Errors if they differ.
    fn check(&mut self, seen: Revision) -> wasmtime::Result<()> {
        match self.base {
            None => {
                self.base = Some(seen);
                self.bytes = seen.bytes;
            }
            Some(base) if base != seen => return Err(StaleRead.into()),
            Some(_) => {}
        }
        Ok(())
    }

    async fn committed(&mut self, key: &str) -> StorageResult<Option<Vec<u8>>> {
        let read = async { plugin_storage::get(&mut self.db.read().await?, &self.scope, key).await };
        let (revision, value) = known!(read.await.map_err(|error| unavailable(&error)));
        self.check(revision)?;
        self.seen.insert(key.to_owned(), taken(key, value.as_ref()));
        Ok(Ok(value))
    }

    async fn get(&mut self, key: &str) -> StorageResult<Option<Vec<u8>>> {
        known!(check_key(key).and_then(|()| self.take_op()));
        if let Some(own) = self.written.get(key) {
            return Ok(Ok(own.clone()));
        }
        self.committed(key).await
    }

    /// Values of keys: those that this call has written from its writes, the others by one query.
    async fn get_many(&mut self, keys: &[String]) -> StorageResult<Vec<Option<Vec<u8>>>> {
        if keys.len() > KEYS_AT_ONCE_MAX {
            return Ok(Err(StorageError::Quota(format!("{KEYS_AT_ONCE_MAX} keys at once"))));
        }
        for key in keys {
            known!(check_key(key).and_then(|()| self.take_op()));
        }
        let unwritten: Vec<String> =
            keys.iter().filter(|key| !self.written.contains_key(*key)).cloned().collect();
        let mut committed = BTreeMap::new();
        if !unwritten.is_empty() {
            let read =
                async { plugin_storage::get_many(&mut self.db.read().await?, &self.scope, unwritten).await };
            let (revision, values) = known!(read.await.map_err(|error| unavailable(&error)));
            self.check(revision)?;
            committed = values;
            for key in keys.iter().filter(|key| !self.written.contains_key(*key)) {
                self.seen.insert(key.clone(), taken(key, committed.get(key)));
            }
        }
        let value = |key: &String| match self.written.get(key) {
            Some(own) => own.clone(),
            None => committed.get(key).cloned(),
        };
        Ok(Ok(keys.iter().map(value).collect()))
    }

    async fn put(&mut self, key: String, value: Option<Vec<u8>>) -> StorageResult<()> {
        known!(check_key(&key).and_then(|()| self.take_op()));
        if value.as_ref().is_some_and(|value| length(value.len()) > u64::from(VALUE_BYTES_MAX)) {
            return Ok(Err(StorageError::TooLarge(VALUE_BYTES_MAX)));
        }
        let before = match (self.written.get(&key), self.seen.get(&key)) {
            (Some(own), _) => taken(&key, own.as_ref()),
            (None, Some(seen)) => *seen,
            (None, None) => taken(&key, known!(self.committed(&key).await?).as_ref()),
        };
        let after = taken(&key, value.as_ref());
        let Some(write_bytes_left) = self.write_bytes_left.checked_sub(after) else {
            return Ok(Err(StorageError::Quota("bytes written in this call".to_owned())));
        };
        let bytes = self.bytes.saturating_sub(before).saturating_add(after);
        // A shrinking value is always allowed: it is the way out of a full storage.
        if bytes > self.bytes_max && after > before {
            return Ok(Err(StorageError::Quota(format!("{} bytes for this plugin here", self.bytes_max))));
        }
        if after > before && !known!(self.has_room(bytes).await) {
            let full = "all hooks of this merchant together take what they may (hooks.disk_mib_per_merchant)";
            return Ok(Err(StorageError::Quota(full.to_owned())));
        }
        self.write_bytes_left = write_bytes_left;
        self.bytes = bytes;
        self.written.insert(key, value);
        Ok(Ok(()))
    }

    /// True if the merchant's hooks have room for the scope to grow to `bytes`.
    async fn has_room(&mut self, bytes: u64) -> Result<bool, StorageError> {
        let Some((merchant_id, limit)) = &self.merchant else { return Ok(true) };
        let room = match self.room {
            Some(room) => room,
            None => {
                let read = async { disk::taken(&mut self.db.read().await?, merchant_id).await };
                limit.0 - limit.counted(read.await.map_err(|error| unavailable(&error))?)
            }
        };
        self.room = Some(room);
        let base = self.base.unwrap_or_default().bytes;
        Ok(i64::try_from(bytes.saturating_sub(base)).is_ok_and(|more| more <= room))
    }

    async fn keys(&mut self, prefix: &str, after: Option<&str>, limit: u32) -> StorageResult<Vec<String>> {
        known!(self.take_op());
        if prefix.len() > KEY_BYTES_MAX || after.is_some_and(|after| after.len() > KEY_BYTES_MAX) {
            return Ok(Err(StorageError::BadKey));
        }
        let limit = usize::try_from(limit.min(KEYS_MAX)).unwrap_or(0);
        // Each own write can hide one committed key.
        let wanted = i64::try_from(limit.saturating_add(self.written.len())).unwrap_or(i64::MAX);
        let read = async {
            plugin_storage::keys(&mut self.db.read().await?, &self.scope, prefix, after, wanted).await
        };
        let (revision, committed) = known!(read.await.map_err(|error| unavailable(&error)));
        self.check(revision)?;
        let own = self.written.iter().filter(|(key, value)| {
            value.is_some() && key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        let mut keys: Vec<String> =
            committed.into_iter().filter(|key| !self.written.contains_key(key)).collect();
        keys.extend(own.map(|(key, _)| key.clone()));
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(Ok(keys))
    }
}

/// Size of a key with its value, bytes.
fn taken(key: &str, value: Option<&Vec<u8>>) -> u64 {
    value.map_or(0, |value| length(key.len() + value.len()))
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Checks a key. PostgreSQL's text cannot hold a NUL.
fn check_key(key: &str) -> Result<(), StorageError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
        return Err(StorageError::BadKey);
    }
    Ok(())
}

fn unavailable(error: &DbError) -> StorageError {
    tracing::warn!(%error, "a plugin's storage cannot be read");
    StorageError::Unavailable
}

impl storage::Host for CallState {
    async fn get(&mut self, key: String) -> StorageResult<Option<Vec<u8>>> {
        self.count()?;
        if self.services.storage.written.contains_key(&key) {
            // The tape may say otherwise, but this call's own write counts.
            return self.services.storage.get(&key).await;
        }
        Ok(taped!(self, Get(key.clone()), self.services.storage.get(&key).await?))
    }

    async fn get_many(&mut self, keys: Vec<String>) -> StorageResult<Vec<Option<Vec<u8>>>> {
        self.count()?;
        let storage = &mut self.services.storage;
        if !self.services.tape.is_playing() {
            let answer = storage.get_many(&keys).await?;
            self.services.tape.note(HostCall::GetMany(keys), HostAnswer::GetMany(answer.clone()));
            return Ok(answer);
        }
        // As with `get`, this call's own writes count, whatever the tape says.
        let own: Vec<_> = keys.iter().map(|key| storage.written.get(key).cloned()).collect();
        let mut answer = taped!(self, GetMany(keys.clone()), self.services.storage.get_many(&keys).await?);
        if let Ok(values) = &mut answer {
            for (value, own) in values.iter_mut().zip(own) {
                if let Some(own) = own {
                    *value = own;
                }
            }
        }
        Ok(answer)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> StorageResult<()> {
        self.count()?;
        let asked = self.services.tape.is_on().then(|| HostCall::Set(key.clone(), value.clone()));
        let answer = self.services.storage.put(key, Some(value)).await?;
        if let Some(asked) = asked {
            self.services.tape.note(asked, HostAnswer::Set(answer.clone()));
        }
        Ok(answer)
    }

    async fn delete(&mut self, key: String) -> StorageResult<()> {
        self.count()?;
        let asked = self.services.tape.is_on().then(|| HostCall::Delete(key.clone()));
        let answer = self.services.storage.put(key, None).await?;
        if let Some(asked) = asked {
            self.services.tape.note(asked, HostAnswer::Delete(answer.clone()));
        }
        Ok(answer)
    }

    async fn keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> StorageResult<Vec<String>> {
        self.count()?;
        Ok(taped!(
            self,
            Keys(prefix.clone(), after.clone(), limit),
            self.services.storage.keys(&prefix, after.as_deref(), limit).await?
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, testing};

    fn limits() -> Limits {
        let config =
            config::Config::load(std::path::Path::new("/nonexistent"), false, std::iter::empty()).unwrap();
        Limits { storage_bytes: 100, storage_ops: 30, ..Limits::new(&config.plugins, 1, 0) }
    }

    fn storage(db: &Db) -> Storage {
        on(db, "n")
    }

    fn on(db: &Db, network: &str) -> Storage {
        let (plugin, behalf) = ("p".to_owned(), Behalf::Network(network.to_owned()));
        let (version, version_id, passed_over) = (String::new(), String::new(), Vec::new());
        Storage::new(db.clone(), &Subject { plugin, version, version_id, behalf, passed_over }, &limits())
    }

    async fn commit(db: &Db, storage: Storage) -> Result<(), DbError> {
        let writes = storage.into_writes();
        db.write(move |conn| Box::pin(async move { plugin_storage::apply(conn, &writes).await })).await
    }

    fn value(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    async fn put(storage: &mut Storage, key: &str, text: &str) {
        storage.put(key.to_owned(), value(text)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn reads_see_own_writes_and_nothing_is_there_before_the_commit() {
        for db in testing::databases().await {
            let mut first = storage(&db);
            put(&mut first, "a", "1").await;
            put(&mut first, "b", "2").await;
            first.put("b".to_owned(), None).await.unwrap().unwrap();
            assert_eq!(first.get("a").await.unwrap(), Ok(value("1")));
            assert_eq!(first.get("b").await.unwrap(), Ok(None));
            assert_eq!(storage(&db).get("a").await.unwrap(), Ok(None));
            commit(&db, first).await.unwrap();
            assert_eq!(storage(&db).get("a").await.unwrap(), Ok(value("1")));
            let mut elsewhere = on(&db, "m");
            assert_eq!(elsewhere.get("a").await.unwrap(), Ok(None));
        }
    }

    #[tokio::test]
    async fn keys_ascend_by_bytes_through_own_writes() {
        for db in testing::databases().await {
            let mut first = storage(&db);
            for key in ["B", "a", "aa", "ab", "b", "a\u{10FFFF}", "ä"] {
                put(&mut first, key, "").await;
            }
            commit(&db, first).await.unwrap();
            let mut next = storage(&db);
            put(&mut next, "ac", "").await;
            next.put("aa".to_owned(), None).await.unwrap().unwrap();
            let keys = async |storage: &mut Storage, prefix: &str, after: Option<&str>, limit| {
                storage.keys(prefix, after, limit).await.unwrap().unwrap()
            };
            assert_eq!(keys(&mut next, "", None, 99).await, ["B", "a", "ab", "ac", "a\u{10FFFF}", "b", "ä"]);
            assert_eq!(keys(&mut next, "a", None, 99).await, ["a", "ab", "ac", "a\u{10FFFF}"]);
            assert_eq!(keys(&mut next, "a", None, 2).await, ["a", "ab"]);
            assert_eq!(keys(&mut next, "a", Some("ab"), 99).await, ["ac", "a\u{10FFFF}"]);
            assert!(keys(&mut next, "", None, 0).await.is_empty());
        }
    }

    #[tokio::test]
    async fn the_quota_counts_what_is_there_after_the_call() {
        let db = testing::sqlite().await;
        let mut first = storage(&db);
        put(&mut first, "a", &"x".repeat(90)).await;
        put(&mut first, "a", &"y".repeat(99)).await;
        let refused = first.put("b".to_owned(), value("z")).await.unwrap();
        assert!(matches!(refused, Err(StorageError::Quota(_))), "{refused:?}");
        commit(&db, first).await.unwrap();
        let mut next = storage(&db);
        assert!(next.put("b".to_owned(), value("z")).await.unwrap().is_err());
        put(&mut next, "a", "").await;
        put(&mut next, "b", &"z".repeat(98)).await;
        assert!(next.put("c".to_owned(), None).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn many_keys_are_one_question() {
        for db in testing::databases().await {
            let mut first = storage(&db);
            put(&mut first, "a", "1").await;
            put(&mut first, "b", "2").await;
            commit(&db, first).await.unwrap();
            let mut next = storage(&db);
            put(&mut next, "b", "own").await;
            next.put("c".to_owned(), None).await.unwrap().unwrap();
            let keys = ["c", "b", "a", "a", "no"].map(str::to_owned);
            let values = vec![None, value("own"), value("1"), value("1"), None];
            assert_eq!(next.get_many(&keys).await.unwrap(), Ok(values));
            assert_eq!(next.get_many(&[]).await.unwrap(), Ok(Vec::new()));
            let wrong = next.get_many(&["a".to_owned(), String::new()]).await.unwrap();
            assert_eq!(wrong, Err(StorageError::BadKey));
            let many = vec!["a".to_owned(); 101];
            assert!(matches!(next.get_many(&many).await.unwrap(), Err(StorageError::Quota(_))));
            // Each key counts: 30 of this call's operations are used up.
            let many = vec!["a".to_owned(); 30];
            assert!(matches!(next.get_many(&many).await.unwrap(), Err(StorageError::Quota(_))));
        }
    }

    /// A write of a key that was read needs no second read, and the count of bytes stays right.
    #[tokio::test]
    async fn a_write_of_what_was_read_counts_what_was_there() {
        for db in testing::databases().await {
            let mut first = storage(&db);
            put(&mut first, "a", &"x".repeat(89)).await;
            commit(&db, first).await.unwrap();
            let mut next = storage(&db);
            next.get_many(&["a".to_owned(), "b".to_owned()]).await.unwrap().unwrap();
            put(&mut next, "b", "12345678").await;
            let over = next.put("a".to_owned(), value(&"x".repeat(91))).await.unwrap();
            assert!(matches!(over, Err(StorageError::Quota(_))), "{over:?}");
            next.put("a".to_owned(), None).await.unwrap().unwrap();
            put(&mut next, "b", &"y".repeat(99)).await;
            commit(&db, next).await.unwrap();
            let mut last = storage(&db);
            assert_eq!(last.get("b").await.unwrap(), Ok(value(&"y".repeat(99))));
            assert!(last.put("c".to_owned(), value("z")).await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn budgets_and_keys() {
        let db = testing::sqlite().await;
        let mut storage = storage(&db);
        for key in ["", "a\0b", &"k".repeat(257)] {
            assert_eq!(storage.get(key).await.unwrap(), Err(StorageError::BadKey));
        }
        let large = Some(vec![0; (1 << 20) + 1]);
        let refused = storage.put("a".to_owned(), large).await.unwrap();
        assert_eq!(refused, Err(StorageError::TooLarge(1 << 20)));
        let mut last = Ok(None);
        for _ in 0..30 {
            last = storage.get("a").await.unwrap();
        }
        assert!(matches!(last, Err(StorageError::Quota(_))), "{last:?}");
    }

    #[tokio::test]
    async fn what_was_written_meanwhile_is_never_overwritten_unseen() {
        for db in testing::databases().await {
            let (mut one, mut two) = (storage(&db), storage(&db));
            put(&mut one, "a", "1").await;
            put(&mut two, "a", "2").await;
            commit(&db, one).await.unwrap();
            // A read at another revision than the first one.
            assert!(two.get("b").await.unwrap_err().is::<StaleRead>());
            assert!(matches!(commit(&db, two).await, Err(DbError::Stale(_))));
            let (mut one, mut two) = (storage(&db), storage(&db));
            put(&mut one, "a", "3").await;
            put(&mut two, "b", "4").await;
            commit(&db, two).await.unwrap();
            assert!(matches!(commit(&db, one).await, Err(DbError::Stale(_))));
            assert_eq!(storage(&db).get("a").await.unwrap(), Ok(value("1")));
        }
    }

    #[tokio::test]
    async fn a_hook_hears_when_its_merchant_has_no_room() {
        let db = testing::sqlite().await;
        let mut full = on(&db, "n");
        full.merchant = Some(("mer_1".into(), DiskLimit(50)));
        put(&mut full, "a", &"x".repeat(49)).await;
        let refused = full.put("b".to_owned(), value("")).await.unwrap();
        assert!(
            matches!(&refused, Err(StorageError::Quota(what)) if what.contains("disk_mib")),
            "{refused:?}"
        );
        put(&mut full, "a", "").await;
        put(&mut full, "b", "").await;
    }
}
