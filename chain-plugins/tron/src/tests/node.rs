//! A node that answers in java-tron's shapes from a chain that a test writes, and misbehaves on demand.

use crate::address::{Key, show};
use crate::host::{Call, Host};
use crate::moves::TRANSFER;
use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Asset, Network, Position};
use kassa_sdk::upstream::{Answer, retry_after_ms};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

pub(super) const USDT: Key = [0x55; 20];
pub(super) const OTHER_TOKEN: Key = [0x77; 20];
pub(super) const FAKE: Key = [0x66; 20];
pub(super) const SHOP: Key = [0xaa; 20];
pub(super) const OTHER: Key = [0xbb; 20];
pub(super) const PAYER: Key = [0xcc; 20];
pub(super) const WIDE: ScanLimits =
    ScanLimits { blocks: 1_000, transfers: 10_000, known: None, next_is_head: false, more: Vec::new() };

/// An address in the form of nodes.
pub(super) fn raw(key: Key) -> String {
    format!("41{}", hex::encode(key))
}

fn topic(key: Key) -> String {
    format!("{:0>64}", hex::encode(key))
}

#[derive(Clone)]
pub(super) struct Tx {
    /// Name and number of the kind.
    pub(super) kind: (&'static str, u8),
    pub(super) to: Key,
    pub(super) amount: u64,
    pub(super) memo: Vec<u8>,
    pub(super) ok: bool,
    pub(super) logs: Vec<Value>,
    pub(super) internal: Vec<Value>,
}

pub(super) fn pay(to: Key, sun: u64) -> Tx {
    let kind = ("TransferContract", 1);
    Tx { kind, to, amount: sun, memo: vec![], ok: true, logs: vec![], internal: vec![] }
}

pub(super) fn call(logs: Vec<Value>) -> Tx {
    Tx { kind: ("TriggerSmartContract", 31), logs, ..pay(USDT, 0) }
}

/// A genuine TRC-20 transfer.
pub(super) fn moved(contract: Key, to: Key, amount: u128) -> Value {
    json!({
        "address": hex::encode(contract), "topics": [TRANSFER, topic(PAYER), topic(to)],
        "data": format!("{amount:064x}"),
    })
}

/// An internal transaction.
pub(super) fn sent(note: &str, to: Key, values: &Value) -> Value {
    json!({
        "hash": "00".repeat(32), "caller_address": raw(USDT), "transferTo_address": raw(to),
        "callValueInfo": values, "note": hex::encode(note),
    })
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
    out
}

pub(super) fn number(field: u8, value: u64) -> Vec<u8> {
    if value == 0 { vec![] } else { [varint(u64::from(field) << 3), varint(value)].concat() }
}

pub(super) fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    if value.is_empty() {
        return vec![];
    }
    [varint(u64::from(field) << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

impl Tx {
    /// The signed bytes; `nonce` makes equal transactions differ.
    pub(super) fn raw_data(&self, nonce: u64) -> Vec<u8> {
        let address = |key: Key| [&[0x41][..], &key].concat();
        let value = [bytes(1, &address(PAYER)), bytes(2, &address(self.to)), number(3, self.amount)].concat();
        let url = format!("type.googleapis.com/protocol.{}", self.kind.0);
        let any = [bytes(1, url.as_bytes()), bytes(2, &value)].concat();
        let contract = [number(1, self.kind.1.into()), bytes(2, &any)].concat();
        [bytes(1, &[0x26, 0x2d]), bytes(10, &self.memo), bytes(11, &contract), number(14, nonce)].concat()
    }
}

/// Status, `Retry-After` and body of every answer.
type Raw = (u16, Option<&'static str>, Vec<u8>);

/// Change that a test makes to an answer before it goes out. Its arguments are the path, the request and the answer.
type Twist = Box<dyn Fn(&str, &Value, &mut Value)>;

pub(super) struct Node {
    pub(super) blocks: Vec<Vec<Tx>>,
    /// Height from which on blocks are those of another branch.
    pub(super) fork_from: u64,
    pub(super) native: bool,
    pub(super) settings: String,
    pub(super) chain_id: &'static str,
    /// Depth of the solid block below the head.
    pub(super) solid_below: u64,
    pub(super) raw: RefCell<Option<Raw>>,
    pub(super) asked: RefCell<HashMap<&'static str, usize>>,
    pub(super) filters: Cell<usize>,
    /// Maximum number of calls that are served of those that come at once.
    pub(super) served_max: Cell<usize>,
    /// Waits that the host was told of, milliseconds.
    pub(super) waits: RefCell<Vec<u32>>,
    pub(super) twist: RefCell<Option<Twist>>,
}

impl Node {
    /// A chain whose block 0 is empty; `blocks` follow it.
    pub(super) fn new(blocks: Vec<Vec<Tx>>) -> Self {
        let mut all = vec![vec![]];
        all.extend(blocks);
        Self {
            blocks: all,
            fork_from: u64::MAX,
            native: true,
            settings: "{}".into(),
            chain_id: "0x2b6653dc",
            solid_below: 18,
            raw: RefCell::default(),
            asked: RefCell::default(),
            filters: Cell::default(),
            served_max: Cell::new(usize::MAX),
            waits: RefCell::default(),
            twist: RefCell::default(),
        }
    }

    pub(super) fn twisted(self, twist: impl Fn(&str, &Value, &mut Value) + 'static) -> Self {
        *self.twist.borrow_mut() = Some(Box::new(twist));
        self
    }

    pub(super) fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    pub(super) fn hash(&self, height: u64) -> String {
        if height == 0 {
            return format!("{}2b6653dc", "0".repeat(56));
        }
        let digest = Sha256::digest(format!("{height} {}", height >= self.fork_from));
        format!("{height:016x}{}", &hex::encode(digest)[16..])
    }

    fn txs(&self, height: u64) -> Option<&[Tx]> {
        self.blocks.get(usize::try_from(height).unwrap()).map(Vec::as_slice)
    }

    pub(super) fn tx_id(&self, height: u64, index: usize) -> String {
        hex::encode(Sha256::digest(self.txs(height).unwrap()[index].raw_data(nonce(height, index))))
    }

    pub(super) fn network(&self) -> Network {
        let token = |key: &Key| Asset { contract: Some(show(key)), decimals: 6, more: None };
        let mut assets = vec![token(&USDT), token(&OTHER_TOKEN)];
        if self.native {
            assets.insert(0, Asset { contract: None, decimals: 6, more: None });
        }
        let (chain_id, settings) = (self.chain_id.into(), self.settings.clone());
        Network { name: "test".into(), chain_id, assets, settings, more: Vec::new() }
    }

    pub(super) fn scan_at(&self, cursor: &Position, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
        crate::scan::scan(self, &self.network(), Some(cursor), limits)
    }

    pub(super) fn scan_from(&self, height: u64, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
        self.scan_at(&Position { height, hash: self.hash(height) }, limits)
    }

    /// Scans from block 0, with generous limits.
    pub(super) fn scan(&self) -> Result<ScanResult, ScanError> {
        self.scan_from(0, &WIDE)
    }

    pub(super) fn scan_new(&self) -> Result<ScanResult, ScanError> {
        crate::scan::scan(self, &self.network(), None, &WIDE)
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.asked.borrow().get(path).copied().unwrap_or(0)
    }

    pub(super) fn requests(&self) -> usize {
        self.asked.borrow().values().sum()
    }

    pub(super) fn block(&self, height: u64) -> Value {
        let Some(txs) = self.txs(height) else { return json!({}) };
        let txs: Vec<Value> = txs.iter().enumerate().map(|(index, tx)| self.tx(tx, height, index)).collect();
        let mut header = json!({
            "number": height, "parentHash": height.checked_sub(1).map_or("e5".repeat(32), |below| self.hash(below)),
            "timestamp": 1_700_000_000_000u64 + height * 3_000, "version": 34, "witness_address": raw(OTHER),
            "txTrieRoot": if txs.is_empty() { "0".repeat(64) } else { "fa".repeat(32) },
        });
        if height == 0 {
            header.as_object_mut().unwrap().remove("number");
        }
        let mut block = json!({
            "blockID": self.hash(height), "block_header": {"raw_data": header, "witness_signature": "5b"},
        });
        if !txs.is_empty() {
            block["transactions"] = json!(txs);
        }
        block
    }

    fn tx(&self, tx: &Tx, height: u64, index: usize) -> Value {
        let is_transfer = tx.kind.0.starts_with("Transfer");
        let mut value = json!({"owner_address": raw(PAYER), "data": "a9059cbb"});
        value[if is_transfer { "to_address" } else { "contract_address" }] = json!(raw(tx.to));
        if tx.amount > 0 {
            value[if is_transfer { "amount" } else { "call_value" }] = json!(tx.amount);
        }
        let url = format!("type.googleapis.com/protocol.{}", tx.kind.0);
        let mut raw_data = json!({
            "contract": [{"parameter": {"value": value, "type_url": url}, "type": tx.kind.0}],
            "ref_block_bytes": "262d", "expiration": 1_700_000_060_000u64, "timestamp": nonce(height, index),
        });
        if !tx.memo.is_empty() {
            raw_data["data"] = json!(hex::encode(&tx.memo));
        }
        json!({
            "ret": [{"contractRet": if tx.ok { "SUCCESS" } else { "OUT_OF_ENERGY" }}], "signature": ["00"],
            "txID": self.tx_id(height, index), "raw_data": raw_data,
            "raw_data_hex": hex::encode(tx.raw_data(nonce(height, index))),
        })
    }

    fn info(&self, tx: &Tx, height: u64, index: usize) -> Value {
        let mut info = json!({
            "id": self.tx_id(height, index), "fee": 267_000, "blockNumber": height,
            "blockTimeStamp": 1_700_000_000_000u64 + height * 3_000, "contractResult": ["0".repeat(64)],
            "receipt": {"net_fee": 267_000},
        });
        if tx.kind.1 >= 30 {
            info["receipt"]["result"] = json!(if tx.ok { "SUCCESS" } else { "OUT_OF_ENERGY" });
        }
        if !tx.ok {
            info["result"] = json!("FAILED");
        }
        if !tx.logs.is_empty() {
            info["log"] = json!(tx.logs);
        }
        if !tx.internal.is_empty() {
            info["internal_transactions"] = json!(tx.internal);
        }
        info
    }

    fn info_of(&self, id: &Value) -> Value {
        let all = self.blocks.iter().enumerate().flat_map(|(height, txs)| {
            txs.iter().enumerate().map(move |(index, tx)| (tx, height as u64, index))
        });
        let found = all.into_iter().find(|(_, height, index)| *id == self.tx_id(*height, *index));
        found.map_or(json!({}), |(tx, height, index)| self.info(tx, height, index))
    }

    fn answer(&self, call: &Call) -> Value {
        let question: Value = serde_json::from_str(&call.body).unwrap();
        let height = question["num"].as_u64().unwrap_or(0);
        let mut answer = match call.path {
            "/wallet/getnowblock" => self.block(self.head()),
            "/walletsolidity/getnowblock" => self.block(self.head().saturating_sub(self.solid_below)),
            "/wallet/getblockbynum" => self.block(height),
            "/wallet/gettransactioninfobyid" => self.info_of(&question["value"]),
            "/wallet/gettransactioninfobyblocknum" => match self.txs(height) {
                Some(txs) => txs.iter().enumerate().map(|(index, tx)| self.info(tx, height, index)).collect(),
                None => json!([]),
            },
            path => panic!("{path} is not a path of the node"),
        };
        if let Some(twist) = &*self.twist.borrow() {
            twist(call.path, &question, &mut answer);
        }
        answer
    }
}

fn nonce(height: u64, index: usize) -> u64 {
    height * 100_000 + index as u64
}

impl Host for Node {
    fn ask_all(&self, calls: &[Call]) -> Vec<Result<Answer, ScanError>> {
        let ask = |call: &Call| {
            *self.asked.borrow_mut().entry(call.path).or_default() += 1;
            let (status, retry_after, body) = match &*self.raw.borrow() {
                Some(raw) => raw.clone(),
                None => (200, None, self.answer(call).to_string().into_bytes()),
            };
            Ok(Answer { status, retry_after_ms: retry_after_ms(retry_after), body })
        };
        let served = self.served_max.get();
        let refused = |_: &Call| {
            let why =
                "Exceed the user daily usage (100000), the maximum query frequency is 1 time per second";
            let body = format!(r#"{{"Error":"{why}"}}"#).into_bytes();
            Ok(Answer { status: 403, retry_after_ms: retry_after_ms(None), body })
        };
        calls.iter().take(served).map(ask).chain(calls.iter().skip(served).map(refused)).collect()
    }

    fn refused(&self, _: u32, retry_ms: u32) {
        self.waits.borrow_mut().push(retry_ms);
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, ScanError> {
        assert_eq!(keys.len() % 20, 0);
        self.filters.set(self.filters.get() + 1);
        let indexes = (0u32..).zip(keys.chunks(20));
        Ok(indexes.filter(|(_, key)| **key == SHOP).map(|(index, _)| index).collect())
    }
}

/// `(height, ordinal, asset, amount)` of each transfer.
pub(super) fn brief(result: &ScanResult) -> Vec<(u64, u32, u32, Option<u128>)> {
    let brief = |transfer: &kassa_sdk::types::Transfer| {
        (transfer.height, transfer.ordinal, transfer.asset, transfer.amount.map(u128::from))
    };
    result.transfers.iter().map(brief).collect()
}
