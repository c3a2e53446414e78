//! The host's functions that the sandbox uses, as a trait so that tests can replace them.

use kassa_sdk::{clock, storage, watch};

/// Storage, watched addresses and time.
pub(crate) trait Host {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String>;
    fn set(&self, key: &str, value: &[u8]) -> Result<(), String>;
    fn delete(&self, key: &str) -> Result<(), String>;
    /// Keys with the prefix that sort after `after`, ascending.
    fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, String>;
    /// Indexes of the watched keys among `keys`, each of `width` bytes.
    fn watched(&self, keys: &[u8], width: u32) -> Result<Vec<u32>, String>;
    fn now_ms(&self) -> u64;
}

/// The host of a plugin that runs in Kassa.
pub(crate) struct Real;

impl Host for Real {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        storage::get(key).map_err(|error| format!("{error:?}"))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        storage::set(key, value).map_err(|error| format!("{error:?}"))
    }

    fn delete(&self, key: &str) -> Result<(), String> {
        storage::delete(key).map_err(|error| format!("{error:?}"))
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, String> {
        storage::keys(prefix, after, limit).map_err(|error| format!("{error:?}"))
    }

    fn watched(&self, keys: &[u8], width: u32) -> Result<Vec<u32>, String> {
        watch::filter(keys, width).map_err(|error| format!("{error:?}"))
    }

    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }
}
