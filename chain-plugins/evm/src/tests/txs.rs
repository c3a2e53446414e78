//! Transactions, as tests write them.

use super::code::Code;
use crate::hex::{self, Key};
use crate::wire::TRANSFER;

pub(super) const USDC: Key = [0x83; 20];
pub(super) const USDT: Key = [0xfd; 20];
pub(super) const FAKE: Key = [0x66; 20];
pub(super) const SHOP: Key = [0xaa; 20];
pub(super) const OTHER: Key = [0xbb; 20];
pub(super) const PAYER: Key = [0xcc; 20];

#[derive(Clone)]
pub(super) struct Log {
    pub(super) contract: Key,
    pub(super) topics: Vec<String>,
    pub(super) data: String,
}

#[derive(Clone)]
pub(super) struct Tx {
    pub(super) to: Option<Key>,
    pub(super) value: String,
    pub(super) input: &'static str,
    pub(super) ok: bool,
    pub(super) logs: Vec<Log>,
    /// Calls that its code made.
    pub(super) inside: Vec<Code>,
}

pub(super) fn topic(key: Key) -> String {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&key);
    hex::text(&word)
}

/// A genuine ERC-20 transfer.
pub(super) fn moved(contract: Key, to: Key, amount: u128) -> Log {
    Log { contract, topics: vec![TRANSFER.into(), topic(PAYER), topic(to)], data: format!("0x{amount:064x}") }
}

pub(super) fn call(logs: Vec<Log>) -> Tx {
    Tx { to: Some(USDC), value: "0x0".into(), input: "0xa9059cbb", ok: true, logs, inside: vec![] }
}

pub(super) fn pay(to: Key, wei: u128) -> Tx {
    Tx { to: Some(to), value: format!("0x{wei:x}"), input: "0x", ok: true, logs: vec![], inside: vec![] }
}
