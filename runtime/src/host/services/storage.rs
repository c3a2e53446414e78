//! Key-value storage that is transactional with the call.
//!
//! A call reads what was committed before it, through its own writes, which wait here until the caller commits
//! them with the call's result. The scope's revision is read with every value: when it moves during a call,
//! what the call has seen is of two times, and the call is ended to be made again. The same revision is
//! checked when its writes are applied, so that two calls (of two replicas, say) never overwrite each other.

use std::collections::BTreeMap;

use crate::{
    db::{
        Db, DbError,
        plugin_storage::{self, Revision, StorageWrites},
    },
    host::{
        bindings::services::kassa::plugin::storage::{self, StorageError},
        call::CallState,
        limits::Limits,
    },
};

const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: u32 = 1 << 20;
const KEYS_MAX: u32 = 1_000;

/// The storage changed between two reads of a call.
#[derive(Debug, thiserror::Error)]
#[error("the storage changed during the call")]
pub(crate) struct StaleRead;

pub(in crate::host) struct Storage {
    db: Db,
    scope: String,
    /// As it was at the first read.
    base: Option<Revision>,
    /// What the scope would hold after this call's writes.
    bytes: u64,
    bytes_max: u64,
    ops_left: u32,
    write_bytes_left: u64,
    written: BTreeMap<String, Option<Vec<u8>>>,
}

/// A host function's answer: a trap outside, the guest's own error inside.
type Answer<T> = wasmtime::Result<Result<T, StorageError>>;

/// Takes a value out of an answer, or ends with the guest's error.
macro_rules! known {
    ($answer:expr) => {
        match $answer {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}

impl Storage {
    pub(super) fn new(db: Db, scope: String, limits: &Limits) -> Self {
        Self {
            db,
            scope,
            base: None,
            bytes: 0,
            bytes_max: limits.storage_bytes,
            ops_left: limits.storage_ops,
            write_bytes_left: limits.storage_write_bytes,
            written: BTreeMap::new(),
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

    /// Compares what a read saw with what the first read of this call saw.
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

    async fn committed(&mut self, key: &str) -> Answer<Option<Vec<u8>>> {
        let read = async { plugin_storage::get(&mut self.db.read().await?, &self.scope, key).await };
        let (revision, value) = known!(read.await.map_err(|error| unavailable(&error)));
        self.check(revision)?;
        Ok(Ok(value))
    }

    async fn get(&mut self, key: &str) -> Answer<Option<Vec<u8>>> {
        known!(check_key(key).and_then(|()| self.take_op()));
        if let Some(own) = self.written.get(key) {
            return Ok(Ok(own.clone()));
        }
        self.committed(key).await
    }

    async fn put(&mut self, key: String, value: Option<Vec<u8>>) -> Answer<()> {
        known!(check_key(&key).and_then(|()| self.take_op()));
        let size =
            |value: &Option<Vec<u8>>| value.as_ref().map_or(0, |value| length(key.len() + value.len()));
        if value.as_ref().is_some_and(|value| length(value.len()) > u64::from(VALUE_BYTES_MAX)) {
            return Ok(Err(StorageError::TooLarge(VALUE_BYTES_MAX)));
        }
        let before = match self.written.get(&key) {
            Some(own) => size(own),
            None => size(&known!(self.committed(&key).await?)),
        };
        let after = size(&value);
        let Some(write_bytes_left) = self.write_bytes_left.checked_sub(after) else {
            return Ok(Err(StorageError::Quota("bytes written in this call".to_owned())));
        };
        let bytes = self.bytes.saturating_sub(before).saturating_add(after);
        // What shrinks is always let through: it is the way out of a full storage.
        if bytes > self.bytes_max && after > before {
            return Ok(Err(StorageError::Quota(format!("{} bytes for this plugin here", self.bytes_max))));
        }
        self.write_bytes_left = write_bytes_left;
        self.bytes = bytes;
        self.written.insert(key, value);
        Ok(Ok(()))
    }

    async fn keys(&mut self, prefix: &str, after: Option<&str>, limit: u32) -> Answer<Vec<String>> {
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

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A NUL is what PostgreSQL's text cannot hold.
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
    async fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        self.count()?;
        self.services.storage.get(&key).await
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Answer<()> {
        self.count()?;
        self.services.storage.put(key, Some(value)).await
    }

    async fn delete(&mut self, key: String) -> Answer<()> {
        self.count()?;
        self.services.storage.put(key, None).await
    }

    async fn keys(&mut self, prefix: String, after: Option<String>, limit: u32) -> Answer<Vec<String>> {
        self.count()?;
        self.services.storage.keys(&prefix, after.as_deref(), limit).await
    }
}
