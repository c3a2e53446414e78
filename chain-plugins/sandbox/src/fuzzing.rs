//! Entry points for tests/fuzz; not in the product.
#![allow(missing_docs)]

use crate::host::Host;
use kassa_sdk::chain::{Address, AddressError, DeriveError, ScanError, ScanLimits, ScanResult};
use kassa_sdk::simulator::SimulateError;
use kassa_sdk::types::{Network, Position};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

const DEPTH: u64 = 12;

/// The sandbox over storage in memory, where every address is watched.
#[derive(Default)]
pub struct Sandbox {
    map: RefCell<BTreeMap<String, Vec<u8>>>,
    now_ms: Cell<u64>,
}

impl Sandbox {
    pub fn simulate(&self, action: &str) -> Result<String, SimulateError> {
        let before = self.map.borrow().clone();
        let result = crate::actions::simulate(self, DEPTH, action);
        if result.is_err() {
            // The host keeps nothing of a call that fails.
            *self.map.borrow_mut() = before;
        }
        result
    }

    pub fn scan(
        &self,
        network: &Network,
        cursor: Option<&Position>,
        limits: &ScanLimits,
    ) -> Result<ScanResult, ScanError> {
        crate::scan::scan(self, network, DEPTH, cursor, limits)
    }

    pub fn wait(&self, ms: u64) {
        self.now_ms.set(self.now_ms.get().saturating_add(ms));
    }
}

pub fn normalize(text: &str) -> Result<Address, AddressError> {
    crate::address::normalize(text)
}

pub fn derive(key: &str, index: u32) -> Result<Address, DeriveError> {
    crate::address::derive(key, index)
}

impl Host for Sandbox {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.map.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        self.map.borrow_mut().insert(key.into(), value.into());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), String> {
        self.map.borrow_mut().remove(key);
        Ok(())
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, String> {
        let map = self.map.borrow();
        let keys = map.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit.min(1_000) as usize).cloned().collect())
    }

    fn watched(&self, keys: &[u8], width: u32) -> Result<Vec<u32>, String> {
        Ok((0..u32::try_from(keys.len()).unwrap_or(u32::MAX) / width).collect())
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
}
