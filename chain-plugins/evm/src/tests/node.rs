//! A node that answers JSON-RPC from a chain that a test writes, and misbehaves on demand.

use super::code::Traced;
use super::txs::{PAYER, SHOP, Tx, USDC, USDT};
use crate::address::keccak;
use crate::bloom::{Bits, Bloom};
use crate::fault::Fault;
use crate::hex::{self, Hash, Key};
use crate::host::{Host, Post};

use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Asset, Network, Position};
use kassa_sdk::upstream::{Answer, UpstreamTerms, retry_after_ms};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Generous limits.
pub(super) const WIDE: ScanLimits =
    ScanLimits { blocks: 1_000, transfers: 10_000, known: None, next_is_head: false, more: Vec::new() };

/// Change that a test makes to an answer before it goes out. Its arguments are the method, the params and the answer.
type Twist = Box<dyn Fn(&str, &Value, &mut Value)>;

pub(super) struct Node {
    pub(super) blocks: Vec<Vec<Tx>>,
    pub(super) branch: u8,
    pub(super) native: bool,
    /// True if failed transactions leave their logs behind.
    pub(super) failed_logs: bool,
    /// Time between two blocks, seconds.
    pub(super) spacing: u64,
    pub(super) settings: String,
    pub(super) range_max: Option<(u64, i64, &'static str)>,
    pub(super) batch_max: Option<(usize, Value)>,
    pub(super) twist: RefCell<Option<Twist>>,
    pub(super) raw: RefCell<Option<(u16, Option<&'static str>, String)>>,
    pub(super) budget: Cell<usize>,
    pub(super) http_calls: Cell<usize>,
    pub(super) methods: RefCell<HashMap<String, usize>>,
    pub(super) stored: RefCell<HashMap<String, Vec<u8>>>,
    pub(super) notes: RefCell<String>,
    /// Number of calls that the host lets out in a second.
    pub(super) calls_per_s: Cell<u32>,
    /// Waits that the host was told of, milliseconds.
    pub(super) waits: RefCell<Vec<u32>>,
    /// Maximum number of calls of one request that are served, and the error that the rest gets.
    pub(super) served_max: RefCell<Option<(usize, Value)>>,
    /// Number of calls in each request.
    pub(super) sizes: RefCell<Vec<usize>>,
    /// Number of times that each call was answered by more than a refusal.
    pub(super) served: RefCell<HashMap<String, usize>>,
    pub(super) now_ms: Cell<u64>,
    /// Milliseconds by which the time moves on each time it is read.
    pub(super) ms_a_look: Cell<u64>,
    pub(super) warnings: RefCell<Vec<String>>,
}

impl Node {
    /// A chain whose block 0 is empty; `blocks` follow it.
    pub(super) fn new(blocks: Vec<Vec<Tx>>) -> Self {
        let mut all = vec![vec![]];
        all.extend(blocks);
        Self {
            blocks: all,
            branch: 0,
            native: true,
            failed_logs: false,
            spacing: 2,
            settings: "{}".into(),
            range_max: None,
            batch_max: None,
            twist: RefCell::new(None),
            raw: RefCell::new(None),
            budget: Cell::new(usize::MAX),
            http_calls: Cell::new(0),
            methods: RefCell::default(),
            stored: RefCell::default(),
            notes: RefCell::default(),
            calls_per_s: Cell::new(1_000),
            waits: RefCell::default(),
            served_max: RefCell::default(),
            sizes: RefCell::default(),
            served: RefCell::default(),
            now_ms: Cell::new(0),
            ms_a_look: Cell::new(100),
            warnings: RefCell::default(),
        }
    }

    /// Changes results. `twist` is called with the method, the params and the result.
    pub(super) fn twisted(self, twist: impl Fn(&str, &Value, &mut Value) + 'static) -> Self {
        *self.twist.borrow_mut() = Some(Box::new(twist));
        self
    }

    pub(super) fn hash(&self, height: u64) -> Hash {
        keccak(format!("block {height} {}", self.branch).as_bytes())
    }

    pub(super) fn tx_hash(height: u64, index: usize) -> Hash {
        keccak(format!("tx {height} {index}").as_bytes())
    }

    pub(super) fn network(&self) -> Network {
        let token = |key: &Key| Asset { contract: Some(crate::address::show(key)), decimals: 6, more: None };
        let mut assets = vec![token(&USDC), token(&USDT)];
        if self.native {
            assets.insert(0, Asset { contract: None, decimals: 18, more: None });
        }
        Network {
            name: "test".into(),
            chain_id: "8453".into(),
            assets,
            settings: self.settings.clone(),
            more: Vec::new(),
        }
    }

    pub(super) fn scan_from(&self, cursor: u64, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
        let position = Position { height: cursor, hash: hex::text(&self.hash(cursor)) };
        crate::scan::scan(self, &self.network(), Some(&position), limits)
    }

    /// Scans from block 0, with generous limits.
    pub(super) fn scan(&self) -> Result<ScanResult, ScanError> {
        self.scan_from(0, &WIDE)
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.methods.borrow().get(method).copied().unwrap_or(0)
    }

    fn txs(&self, height: u64) -> &[Tx] {
        &self.blocks[usize::try_from(height).unwrap()]
    }

    fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    fn block_logs(&self, height: u64) -> Vec<Value> {
        let mut logs = Vec::new();
        for (index, tx) in self.txs(height).iter().enumerate() {
            for log in tx.logs.iter().filter(|_| tx.ok || self.failed_logs) {
                logs.push(json!({
                    "address": hex::text(&log.contract), "topics": log.topics, "data": log.data,
                    "blockHash": hex::text(&self.hash(height)), "blockNumber": format!("0x{height:x}"),
                    "blockTimestamp": "0x6b02600c", "transactionHash": hex::text(&Self::tx_hash(height, index)),
                    "transactionIndex": format!("0x{index:x}"), "logIndex": format!("0x{:x}", logs.len()),
                    "removed": false,
                }));
            }
        }
        logs
    }

    fn block(&self, height: u64, full: bool) -> Value {
        let mut bloom = Bloom::new([0; 256]);
        let with_logs = self.txs(height).iter().filter(|tx| tx.ok || self.failed_logs);
        for log in with_logs.flat_map(|tx| &tx.logs) {
            bloom.set(&Bits::of(&log.contract));
            for topic in &log.topics {
                bloom.set(&Bits::of(&hex::bytes::<32>(topic).unwrap()));
            }
        }
        let txs = self.txs(height).iter().enumerate().map(|(index, tx)| {
            let hash = hex::text(&Self::tx_hash(height, index));
            if !full {
                return json!(hash);
            }
            json!({
                "hash": hash, "type": "0x7e", "from": hex::text(&PAYER), "value": tx.value, "gas": "0x1",
                "to": tx.to.map(|to| hex::text(&to)), "input": tx.input, "mint": "0x0", "sourceHash": "0x00",
            })
        });
        let parent = height.checked_sub(1).map_or([0; 32], |below| self.hash(below));
        json!({
            "number": format!("0x{height:x}"), "hash": hex::text(&self.hash(height)),
            "parentHash": hex::text(&parent), "timestamp": format!("0x{:x}", 1_700_000_000 + height * self.spacing),
            "logsBloom": bloom.text(), "transactions": txs.collect::<Vec<_>>(), "withdrawals": [],
        })
    }

    fn receipt(&self, height: u64, index: usize) -> Value {
        let hash = json!(hex::text(&Self::tx_hash(height, index)));
        let logs: Vec<_> =
            self.block_logs(height).into_iter().filter(|log| log["transactionHash"] == hash).collect();
        json!({
            "transactionHash": hash, "blockHash": hex::text(&self.hash(height)), "logs": logs,
            "blockNumber": format!("0x{height:x}"),
            "status": if self.txs(height)[index].ok { "0x1" } else { "0x0" }, "type": "0x2",
        })
    }

    fn result(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let head = self.head();
        let height = |value: &Value| match value.as_str().unwrap() {
            "latest" => head,
            "safe" => head.saturating_sub(5),
            "finalized" => head.saturating_sub(10),
            number => hex::quantity(number).unwrap(),
        };
        match method {
            "eth_chainId" => Ok(json!("0x2105")),
            "eth_blockNumber" => Ok(json!(format!("0x{head:x}"))),
            "eth_getBlockByNumber" => {
                let height = height(&params[0]);
                Ok(if height > head { Value::Null } else { self.block(height, params[1] == true) })
            }
            "eth_getLogs" => {
                let filter = &params[0];
                let (from, to) = match filter.get("blockHash") {
                    Some(hash) => {
                        let found = (0..=head).find(|at| *hash == json!(hex::text(&self.hash(*at))));
                        let height = found.ok_or(json!({"code": -32000, "message": "unknown block"}))?;
                        (height, height)
                    }
                    None => (height(&filter["fromBlock"]), height(&filter["toBlock"])),
                };
                if let Some((max, code, message)) = self.range_max
                    && to - from + 1 > max
                {
                    return Err(json!({"code": code, "message": message}));
                }
                let addresses = filter["address"].as_array().unwrap();
                let logs = (from..=to.min(head)).flat_map(|at| self.block_logs(at));
                Ok(logs
                    .filter(|log| addresses.contains(&log["address"]))
                    .filter(|log| log["topics"][0] == filter["topics"][0])
                    .collect())
            }
            "eth_getTransactionReceipt" => {
                for height in 0..=head {
                    for index in 0..self.txs(height).len() {
                        if params[0] == json!(hex::text(&Self::tx_hash(height, index))) {
                            return Ok(self.receipt(height, index));
                        }
                    }
                }
                Ok(Value::Null)
            }
            "eth_getBalance" => {
                let (of, to) = (&params[0], height(&params[1]));
                if to > head {
                    return Err(json!({"code": -32000, "message": "header not found"}));
                }
                let txs = (0..=to).flat_map(|height| self.txs(height)).filter(|tx| tx.ok);
                let paid = txs.filter(|tx| tx.to.is_some_and(|to| *of == json!(hex::text(&to))));
                let held = paid.map(|tx| hex::big_quantity(&tx.value).unwrap().unwrap()).sum::<u128>();
                Ok(json!(format!("0x{held:x}")))
            }
            "eth_getBlockReceipts" => {
                let height = height(&params[0]);
                Ok((0..self.txs(height).len()).map(|index| self.receipt(height, index)).collect())
            }
            _ => self.trace(method, params),
        }
    }

    fn trace(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let found = |hash: Hash| params[0] == json!(hex::text(&hash));
        let traced = |height: u64, index: usize| Traced {
            block: self.hash(height),
            height,
            hash: Self::tx_hash(height, index),
            index,
            tx: &self.txs(height)[index],
        };
        let all = |height: u64| (0..self.txs(height).len()).map(move |index| traced(height, index));
        let mut txs = (0..=self.head()).flat_map(|height| all(height).collect::<Vec<_>>());
        let missing = || json!({"code": -32000, "message": "block not found"});
        match method {
            "debug_traceBlockByHash" => {
                let height =
                    (0..=self.head()).find(|height| found(self.hash(*height))).ok_or_else(missing)?;
                assert_eq!(params[1], json!({"tracer": "callTracer"}));
                Ok(all(height)
                    .map(|tx| json!({"txHash": hex::text(&tx.hash), "result": tx.frame()}))
                    .collect())
            }
            "debug_traceTransaction" => {
                assert_eq!(params[1], json!({"tracer": "callTracer"}));
                Ok(txs.find(|tx| found(tx.hash)).ok_or_else(missing)?.frame())
            }
            "trace_block" => {
                let height = hex::quantity(params[0].as_str().unwrap()).unwrap();
                let reward = Traced::reward(self.hash(height), height);
                Ok(all(height).flat_map(|tx| tx.list()).chain([reward]).collect())
            }
            "trace_transaction" => Ok(txs.find(|tx| found(tx.hash)).ok_or_else(missing)?.list().into()),
            _ => Err(json!({"code": -32601, "message": "method not found"})),
        }
    }

    fn answer(&self, request: &Value) -> Value {
        let (id, method) = (&request["id"], request["method"].as_str().unwrap());
        *self.methods.borrow_mut().entry(method.into()).or_default() += 1;
        let mut answer = match self.result(method, &request["params"]) {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
        };
        if let Some(twist) = &*self.twist.borrow() {
            twist(method, &request["params"], &mut answer);
        }
        answer
    }
}

impl Host for Node {
    fn post_all(&self, posts: Vec<Post>) -> Vec<Result<Answer, Fault>> {
        // The budget is shared among requests that go out together, as the host does.
        let share = self.budget.get() / posts.len().clamp(1, 8);
        let post = |Post { body, calls }: Post| {
            self.sizes.borrow_mut().push(usize::try_from(calls).unwrap());
            self.http_calls.set(self.http_calls.get() + 1);
            if let Some((status, retry_after, body)) = &*self.raw.borrow() {
                let (status, body) = (*status, body.clone().into_bytes());
                return Ok(Answer { status, retry_after_ms: retry_after_ms(*retry_after), body });
            }
            let request: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(request.as_array().map_or(1, Vec::len), usize::try_from(calls).unwrap());
            let mut answer = match &request {
                Value::Array(calls) => match &self.batch_max {
                    Some((max, refusal)) if calls.len() > *max => refusal.clone(),
                    // Batches are answered in another order.
                    _ => calls.iter().rev().map(|call| self.answer(call)).collect(),
                },
                single => self.answer(single),
            };
            if let (Some((max, refusal)), Value::Array(entries)) = (&*self.served_max.borrow(), &mut answer) {
                for entry in entries.iter_mut().rev().skip(*max) {
                    *entry = json!({"jsonrpc": "2.0", "id": entry["id"], "error": refusal});
                }
            }
            let asked = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
            for entry in answer.as_array().unwrap_or(&vec![answer.clone()]) {
                if let (Some(call), Some(_)) =
                    (asked.iter().find(|call| call["id"] == entry["id"]), entry.get("result"))
                {
                    let call = format!("{} {}", call["method"], call["params"]);
                    *self.served.borrow_mut().entry(call).or_default() += 1;
                }
            }
            let body = answer.to_string().into_bytes();
            if body.len() > share {
                return Err(Fault::Budget("the answer is larger than what is left".into()));
            }
            Ok(Answer { status: 200, retry_after_ms: retry_after_ms(None), body })
        };
        posts.into_iter().map(post).collect()
    }

    fn terms(&self) -> Result<UpstreamTerms, Fault> {
        let (calls_per_second, notes) = (self.calls_per_s.get(), self.notes.borrow().clone());
        Ok(UpstreamTerms { calls_per_second, notes })
    }

    fn note(&self, notes: &str) {
        assert!(notes.len() <= 1_024);
        *self.notes.borrow_mut() = notes.into();
    }

    fn refused(&self, _: u32, retry_ms: u32) {
        self.waits.borrow_mut().push(retry_ms);
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault> {
        assert_eq!(keys.len() % 20, 0);
        let indexes = (0u32..).zip(keys.chunks(20));
        Ok(indexes.filter(|(_, key)| **key == SHOP).map(|(index, _)| index).collect())
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.stored.borrow().get(key).cloned()
    }

    fn keep(&self, key: &str, value: &[u8]) {
        self.stored.borrow_mut().insert(key.into(), value.into());
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.replace(self.now_ms.get() + self.ms_a_look.get())
    }

    fn warn(&self, line: &str) {
        self.warnings.borrow_mut().push(line.into());
    }
}

/// `(height, ordinal, asset, amount)` of each transfer.
pub(super) fn brief(result: &ScanResult) -> Vec<(u64, u32, u32, Option<u128>)> {
    let brief = |transfer: &kassa_sdk::types::Transfer| {
        (transfer.height, transfer.ordinal, transfer.asset, transfer.amount.map(u128::from))
    };
    result.transfers.iter().map(brief).collect()
}
