//! A node of Base: the shapes of op-geth, with a block of full transactions and the logs of listed tokens.

use serde_json::{Value, json};

use super::{Payment, Scene, noise::Noise, provider::ReceivedRequest};
use crate::host::Position;

/// Number of transactions, as in Base's blocks of August 2026: 3.1 MB of JSON.
const TRANSACTIONS: u64 = 2_700;
const HEAD: u64 = 38_345_678;
const TIME_S: u64 = 1_785_330_570;
const USDC: &str = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
const USDT: &str = "0xfde4c96c8593536e31f229ea8f37b2ada2699bb2";
const TRANSFER_EVENT: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Indices of the assets in the network's manifest.
const ETH_INDEX: u32 = 0;
const USDC_INDEX: u32 = 1;
const USDT_INDEX: u32 = 2;
const WATCHED: u64 = 5;
/// Number of logs of a call that is not a mere transfer; one of them is USDC's.
const SWAP_LOGS: usize = 6;

pub(super) fn scene() -> Scene {
    let block = Block::new();
    let payments = block.payments.clone();
    Scene {
        chain: "evm",
        network: "base",
        watched: (0..WATCHED).map(|shop| text(&shop_key(shop))).collect(),
        before: None,
        cursor: Position { height: HEAD - 1, hash: block_hash(HEAD - 1) },
        payments,
        answers: Box::new(move |asked: &ReceivedRequest| block.answer(&asked.body)),
        every_ms: 2_000,
        aim_ms: None,
    }
}

fn text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn quantity(number: u64) -> String {
    format!("0x{number:x}")
}

fn block_hash(height: u64) -> String {
    text(&Noise::new(height).bytes::<32>())
}

fn shop_key(shop: u64) -> [u8; 20] {
    Noise::new(1_000 + shop).bytes()
}

/// A block with the given transactions: objects, or hashes alone.
fn block(height: u64, transactions: &[Value]) -> Value {
    let mut noise = Noise::new(height + 1);
    let mut word = || format!("0x{}", noise.hex(32));
    json!({
        "number": quantity(height), "hash": block_hash(height), "parentHash": block_hash(height - 1),
        "timestamp": quantity(TIME_S - 2 * (HEAD - height)), "baseFeePerGas": "0x4c4b40", "blobGasUsed": "0x0",
        "difficulty": "0x0", "excessBlobGas": "0x0", "extraData": "0x000000003200000003", "gasLimit": "0x11e1a300",
        "gasUsed": "0x3473bc0", "miner": "0x4200000000000000000000000000000000000011", "mixHash": word(),
        "nonce": "0x0000000000000000", "parentBeaconBlockRoot": word(), "receiptsRoot": word(),
        "requestsHash": word(), "sha3Uncles": word(), "stateRoot": word(), "transactionsRoot": word(),
        "withdrawalsRoot": word(), "size": "0x2c3f1", "uncles": [], "withdrawals": [],
        // Random bits: the plugin looks at a real bloom only if there are no logs.
        "logsBloom": format!("0x{}", noise.hex(256)), "transactions": transactions,
    })
}

struct Block {
    full: Value,
    /// Logs of listed tokens.
    logs: Vec<Value>,
    receipts: Vec<Value>,
    hashes: Vec<Value>,
    payments: Vec<Payment>,
}

impl Block {
    fn new() -> Self {
        let mut noise = Noise::new(HEAD);
        let (mut full, mut hashes, mut payments) = (Vec::new(), Vec::new(), Vec::new());
        let (mut logs, mut receipts, mut log_index) = (Vec::new(), Vec::new(), 0);
        for index in 0..TRANSACTIONS {
            let tx = Tx::new(index, &mut noise);
            let logs_of_tx = tx.logs(log_index, &mut noise);
            log_index += logs_of_tx.len();
            full.push(tx.json(&mut noise));
            hashes.push(json!(tx.hash));
            payments.extend(tx.payment());
            receipts.push(tx.receipt(&logs_of_tx, &mut noise));
            let is_listed = |log: &Value| log["address"] == USDC || log["address"] == USDT;
            logs.extend(logs_of_tx.into_iter().filter(is_listed));
        }
        Self { full: block(HEAD, &full), logs, receipts, hashes, payments }
    }

    /// Answers a batch or a single call.
    fn answer(&self, body: &[u8]) -> Option<String> {
        let one = |call: &Value| {
            let result = self.result(call["method"].as_str()?, &call["params"])?;
            Some(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }))
        };
        let answer = match serde_json::from_slice(body).ok()? {
            Value::Array(calls) => Value::Array(calls.iter().map(one).collect::<Option<_>>()?),
            call => one(&call)?,
        };
        Some(answer.to_string())
    }

    fn result(&self, method: &str, params: &Value) -> Option<Value> {
        let header = |height| block(height, &self.hashes);
        Some(match (method, params[0].as_str(), &params[1]) {
            ("eth_chainId", ..) => json!("0x2105"),
            ("eth_getBlockByNumber", Some("latest"), _) => header(HEAD),
            ("eth_getBlockByNumber", Some("safe"), _) => header(HEAD - 60),
            ("eth_getBlockByNumber", Some("finalized"), _) => header(HEAD - 600),
            ("eth_getBlockByNumber", Some(height), Value::Bool(true)) if height == quantity(HEAD) => {
                self.full.clone()
            }
            ("eth_getLogs", ..) => json!(self.logs),
            ("eth_getTransactionReceipt", Some(hash), _) => {
                self.receipts.iter().find(|receipt| receipt["transactionHash"] == hash)?.clone()
            }
            _ => return None,
        })
    }
}

type Key = [u8; 20];

fn topic(key: &Key) -> String {
    format!("0x{:0>64}", hex::encode(key))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The transaction with which each block begins.
    Deposit,
    Coin,
    Token(&'static str),
    Swap,
}

struct Tx {
    kind: Kind,
    index: u64,
    hash: String,
    from: Key,
    to: Key,
    shop: Option<u64>,
    amount: u64,
}

impl Tx {
    /// Makes a transaction. Of ten, three move the coin, four a listed token, three call something larger.
    fn new(index: u64, noise: &mut Noise) -> Self {
        let kind = match index % 10 {
            _ if index == 0 => Kind::Deposit,
            0..3 => Kind::Coin,
            3..6 => Kind::Token(USDC),
            6 => Kind::Token(USDT),
            _ => Kind::Swap,
        };
        let pays = matches!(kind, Kind::Coin | Kind::Token(_)) && matches!(index % 450, 10 | 13 | 16);
        let shop = pays.then(|| noise.below(WATCHED));
        Self {
            kind,
            index,
            hash: text(&noise.bytes::<32>()),
            from: noise.bytes(),
            to: shop.map_or_else(|| noise.bytes(), shop_key),
            shop,
            amount: 1_000_000 + noise.below(1_000_000_000_000),
        }
    }

    /// The account that is called or paid, the coins sent along, and the data.
    fn call(&self, noise: &mut Noise) -> (String, u64, String) {
        match self.kind {
            Kind::Deposit => {
                ("0x4200000000000000000000000000000000000015".to_owned(), 0, format!("0x{}", noise.hex(176)))
            }
            Kind::Coin => (text(&self.to), self.amount, "0x".to_owned()),
            Kind::Token(token) => {
                (token.to_owned(), 0, format!("0xa9059cbb{:0>64}{:064x}", hex::encode(self.to), self.amount))
            }
            Kind::Swap => {
                let words = usize::try_from(8 + noise.below(40)).unwrap_or(8);
                (text(&self.to), 0, format!("0x3593564c{}", noise.hex(words * 32)))
            }
        }
    }

    fn json(&self, noise: &mut Noise) -> Value {
        let (to, value, input) = self.call(noise);
        let mut json = json!({
            "blockHash": block_hash(HEAD), "blockNumber": quantity(HEAD), "transactionIndex": quantity(self.index),
            "hash": self.hash, "type": "0x2", "chainId": "0x2105", "from": text(&self.from), "to": to,
            "value": quantity(value), "input": input, "nonce": quantity(noise.below(5_000)), "gas": "0x3d090",
            "gasPrice": "0x4f5881", "maxFeePerGas": "0x7a1200", "maxPriorityFeePerGas": "0x30d41",
            "accessList": [], "v": "0x1", "yParity": "0x1", "r": format!("0x{}", noise.hex(32)),
            "s": format!("0x{}", noise.hex(32)),
        });
        if self.kind == Kind::Deposit {
            json["type"] = json!("0x7e");
            json["sourceHash"] = json!(format!("0x{}", noise.hex(32)));
            json["mint"] = json!("0x0");
        }
        json
    }

    /// Its logs, numbered from `first` in the block.
    fn logs(&self, first: usize, noise: &mut Noise) -> Vec<Value> {
        let log = |index: usize, address: &str, topics: Vec<String>, data: String| {
            json!({
                "address": address, "topics": topics, "data": data, "blockHash": block_hash(HEAD),
                "blockNumber": quantity(HEAD), "blockTimestamp": quantity(TIME_S), "removed": false,
                "transactionHash": self.hash, "transactionIndex": quantity(self.index),
                "logIndex": format!("0x{:x}", first + index),
            })
        };
        let topics = || vec![TRANSFER_EVENT.to_owned(), topic(&self.from), topic(&self.to)];
        let moved = |index, token| log(index, token, topics(), format!("0x{:064x}", self.amount));
        match self.kind {
            Kind::Deposit | Kind::Coin => Vec::new(),
            Kind::Token(token) => vec![moved(0, token)],
            Kind::Swap => {
                let other = |index: usize| {
                    let (address, event) = (text(&noise.bytes::<20>()), text(&noise.bytes::<32>()));
                    log(index, &address, vec![event, topic(&self.from)], format!("0x{}", noise.hex(160)))
                };
                let mut logs = vec![moved(0, USDC)];
                logs.extend((1..SWAP_LOGS).map(other));
                logs
            }
        }
    }

    fn receipt(&self, logs: &[Value], noise: &mut Noise) -> Value {
        json!({
            "transactionHash": self.hash, "transactionIndex": quantity(self.index), "blockHash": block_hash(HEAD),
            "blockNumber": quantity(HEAD), "from": text(&self.from), "to": self.call(noise).0, "status": "0x1",
            "type": "0x2", "gasUsed": "0xd3b4", "cumulativeGasUsed": "0x1473bc0", "effectiveGasPrice": "0x4f5881",
            "contractAddress": null, "logs": logs, "logsBloom": format!("0x{}", noise.hex(256)), "l1Fee": "0x2540be4",
            "l1GasPrice": "0x1dcd6500", "l1GasUsed": "0x640", "l1BaseFeeScalar": "0x8dd", "l1BlobBaseFee": "0x1",
            "l1BlobBaseFeeScalar": "0x101c12",
        })
    }

    /// Its payment to a watched address, if it is one.
    fn payment(&self) -> Option<Payment> {
        let (ordinal, asset) = match self.kind {
            Kind::Coin => (0, ETH_INDEX),
            Kind::Token(USDC) => (1, USDC_INDEX),
            Kind::Token(_) => (1, USDT_INDEX),
            Kind::Deposit | Kind::Swap => return None,
        };
        Some(Payment {
            tx: self.hash.clone(),
            ordinal,
            asset,
            shop: usize::try_from(self.shop?).ok()?,
            amount: u128::from(self.amount),
            memo: None,
            height: HEAD,
        })
    }
}
