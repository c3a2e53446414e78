//! A TRON node in the shapes of java-tron 4.8 and TronGrid, with blocks many times as full as the main network's.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Payment, Scene, noise::Noise, provider::ReceivedRequest};
use crate::host::Position;

const TRANSACTIONS: usize = 3_000;
const HEAD: u64 = 78_345_678;
const SOLID: u64 = HEAD - 18;
const TIME_MS: u64 = 1_785_330_570_000;
const BLOCK_MS: u64 = 3_000;
/// Tether's contract, and the events that it logs.
const USDT: &str = "a614f803b6fd780986a42c78ec9c7f77e6ded13c";
const TRANSFER_EVENT: &str = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const APPROVAL_EVENT: &str = "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925";
/// Indices of the assets in the network's manifest.
const TRX_INDEX: u32 = 0;
const USDT_INDEX: u32 = 1;
/// Ordinal from which the plugin counts internal transfers.
const INTERNAL: u32 = 1 << 31;
const WATCHED: u64 = 5;
/// Number of transactions among which one of each kind pays a watched address.
const PAID_EVERY: usize = 250;

pub(super) fn scene() -> Scene {
    let head = Block::new(HEAD, true);
    let solid = Block::new(SOLID, false).json.to_string();
    let cursor = Position { height: HEAD - 1, hash: block_id(HEAD - 1) };
    let (block, infos) = (head.json.to_string(), Value::Array(head.infos).to_string());
    let answers = move |asked: &ReceivedRequest| match asked.path.as_str() {
        "/walletsolidity/getnowblock" => Some(solid.clone()),
        "/wallet/getnowblock" => Some(block.clone()),
        "/wallet/getblockbynum" if height(asked) == Some(HEAD) => Some(block.clone()),
        "/wallet/gettransactioninfobyblocknum" if height(asked) == Some(HEAD) => Some(infos.clone()),
        _ => None,
    };
    Scene {
        chain: "tron",
        network: "tron",
        watched: (0..WATCHED).map(|shop| format!("41{}", hex::encode(shop_key(shop)))).collect(),
        before: None,
        cursor,
        payments: head.payments,
        answers: Box::new(answers),
        every_ms: 3_000,
        aim_ms: Some(20.0),
    }
}

fn height(asked: &ReceivedRequest) -> Option<u64> {
    serde_json::from_slice::<Value>(&asked.body).ok()?["num"].as_u64()
}

/// A block's id: its number in eight bytes, and 24 of a hash.
fn block_id(height: u64) -> String {
    format!("{height:016x}{}", Noise::new(height).hex(24))
}

fn shop_key(shop: u64) -> [u8; 20] {
    Noise::new(1_000 + shop).bytes()
}

struct Block {
    json: Value,
    infos: Vec<Value>,
    payments: Vec<Payment>,
}

impl Block {
    fn new(height: u64, pays_us: bool) -> Self {
        let mut noise = Noise::new(height);
        let timestamp = TIME_MS + (height - SOLID) * BLOCK_MS;
        let (mut transactions, mut infos, mut payments) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..TRANSACTIONS {
            let shop = (pays_us && index % PAID_EVERY < 10).then(|| noise.below(WATCHED));
            let tx = Tx::new(index, shop, &mut noise);
            let (json, id) = tx.json(timestamp, &mut noise);
            infos.push(tx.info(&id, height, timestamp, &mut noise));
            payments.extend(tx.payment(id, height));
            transactions.push(json);
        }
        let json = json!({
            "blockID": block_id(height),
            "block_header": {
                "raw_data": {
                    "number": height, "txTrieRoot": noise.hex(32), "witness_address": account(&noise.bytes()),
                    "parentHash": block_id(height - 1), "version": 34, "timestamp": timestamp,
                },
                "witness_signature": noise.hex(65),
            },
            "transactions": transactions,
        });
        Self { json, infos, payments }
    }
}

type Key = [u8; 20];

/// An address as nodes write it.
fn account(key: &Key) -> String {
    format!("41{}", hex::encode(key))
}

fn topic(key: &Key) -> String {
    format!("{:0>64}", hex::encode(key))
}

fn event(contract: &str, signature: &str, from: &Key, to: &Key, amount: u64) -> Value {
    json!({
        "address": contract, "topics": [signature, topic(from), topic(to)], "data": format!("{amount:064x}"),
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Transfer,
    /// A transfer of Tether.
    Token,
    /// A call of an exchange's contract, which pays out in the native coin.
    Swap,
    Delegate,
}

struct Tx {
    kind: Kind,
    from: Key,
    /// Recipient of the payment.
    to: Key,
    shop: Option<u64>,
    amount: u64,
    memo: String,
    has_succeeded: bool,
}

impl Tx {
    /// Makes a transaction in the main network's mix: of ten, four are transfers of the coin and five of Tether.
    fn new(index: usize, shop: Option<u64>, noise: &mut Noise) -> Self {
        let kind = match (index % 10, index % 20) {
            (0..4, _) => Kind::Transfer,
            (4..9, _) => Kind::Token,
            (_, 9) => Kind::Swap,
            _ => Kind::Delegate,
        };
        // Of the ten that come together one of each kind pays, and one more that fails.
        let shop = shop.filter(|_| matches!(index % 10, 0 | 4 | 5 | 9));
        let memo = match (shop, kind, index % 20) {
            (Some(_), Kind::Transfer | Kind::Token, 10..) => format!("Order {index}"),
            _ => String::new(),
        };
        Self {
            kind,
            from: noise.bytes(),
            to: shop.map_or_else(|| noise.bytes(), shop_key),
            shop,
            amount: 1_000_000 + noise.below(5_000_000_000),
            memo,
            has_succeeded: kind == Kind::Transfer || index % 50 != 5,
        }
    }

    /// Name and number of its contract in the protocol.
    fn contract(&self) -> (&'static str, u64) {
        match self.kind {
            Kind::Transfer => ("TransferContract", 1),
            Kind::Token | Kind::Swap => ("TriggerSmartContract", 31),
            Kind::Delegate => ("DelegateResourceContract", 57),
        }
    }

    fn runs_code(&self) -> bool {
        matches!(self.kind, Kind::Token | Kind::Swap)
    }

    /// The contract that is called.
    fn callee(&self) -> Key {
        let mut key = [0x5c; 20];
        if self.kind == Kind::Token {
            // The constant has a key's length.
            let _ = hex::decode_to_slice(USDT, &mut key);
        }
        key
    }

    fn call_data(&self) -> Vec<u8> {
        let mut data = match self.kind {
            // transfer(address,uint256)
            Kind::Token => vec![0xa9, 0x05, 0x9c, 0xbb],
            _ => vec![0x38, 0xed, 0x17, 0x39],
        };
        data.extend([0; 12]);
        data.extend(self.to);
        data.extend([0; 24]);
        data.extend(self.amount.to_be_bytes());
        if self.kind == Kind::Swap {
            data.extend([0x11; 192]);
        }
        data
    }

    /// The contract's value: its JSON and its protobuf.
    fn value(&self) -> (Value, Vec<u8>) {
        let prefixed = |key: &Key| [&[0x41], key.as_slice()].concat();
        let owner = bytes(1, &prefixed(&self.from));
        match self.kind {
            Kind::Transfer => (
                json!({ "amount": self.amount, "owner_address": account(&self.from), "to_address": account(&self.to) }),
                [owner, bytes(2, &prefixed(&self.to)), number(3, self.amount)].concat(),
            ),
            Kind::Token | Kind::Swap => (
                json!({
                    "data": hex::encode(self.call_data()), "owner_address": account(&self.from),
                    "contract_address": account(&self.callee()),
                }),
                [owner, bytes(2, &prefixed(&self.callee())), bytes(4, &self.call_data())].concat(),
            ),
            Kind::Delegate => (
                json!({
                    "balance": self.amount, "resource": "ENERGY", "receiver_address": account(&self.to),
                    "owner_address": account(&self.from),
                }),
                [owner, number(2, 1), number(3, self.amount), bytes(4, &prefixed(&self.to))].concat(),
            ),
        }
    }

    /// The transaction as it stands in the block, and its id.
    fn json(&self, time_ms: u64, noise: &mut Noise) -> (Value, String) {
        let (kind, kind_number) = self.contract();
        let (value, message) = self.value();
        let type_url = format!("type.googleapis.com/protocol.{kind}");
        let (reference, reference_hash) = (noise.bytes::<2>(), noise.bytes::<8>());
        let timestamp = time_ms - noise.below(3_000);
        let fee_limit = if self.runs_code() { 100_000_000 } else { 0 };
        let any = [bytes(1, type_url.as_bytes()), bytes(2, &message)].concat();
        let raw = [
            bytes(1, &reference),
            bytes(4, &reference_hash),
            number(8, time_ms + 60_000),
            bytes(10, self.memo.as_bytes()),
            bytes(11, &[number(1, kind_number), bytes(2, &any)].concat()),
            number(14, timestamp),
            number(18, fee_limit),
        ]
        .concat();
        let id = hex::encode(Sha256::digest(&raw));
        let mut raw_data = json!({
            "contract": [{ "parameter": { "value": value, "type_url": type_url }, "type": kind }],
            "ref_block_bytes": hex::encode(reference), "ref_block_hash": hex::encode(reference_hash),
            "expiration": time_ms + 60_000, "timestamp": timestamp,
        });
        if fee_limit > 0 {
            raw_data["fee_limit"] = json!(fee_limit);
        }
        if !self.memo.is_empty() {
            raw_data["data"] = json!(hex::encode(&self.memo));
        }
        let json = json!({
            "ret": [{ "contractRet": self.result() }], "signature": [noise.hex(65)], "txID": id,
            "raw_data": raw_data, "raw_data_hex": hex::encode(&raw),
        });
        (json, id)
    }

    fn result(&self) -> &'static str {
        if self.has_succeeded { "SUCCESS" } else { "OUT_OF_ENERGY" }
    }

    /// The node's report of its execution.
    fn info(&self, id: &str, height: u64, time_ms: u64, noise: &mut Noise) -> Value {
        let mut info = json!({
            "id": id, "blockNumber": height, "blockTimeStamp": time_ms, "contractResult": [""],
            "receipt": { "net_usage": 267 + noise.below(80) },
        });
        if !self.runs_code() {
            return info;
        }
        info["fee"] = json!(noise.below(27_000_000));
        info["contract_address"] = json!(account(&self.callee()));
        info["contractResult"] = json!([format!("{:064x}", 0)]);
        info["receipt"] = json!({
            "energy_fee": noise.below(27_000_000), "energy_usage_total": 14_650 + noise.below(50_000),
            "net_usage": 345, "result": self.result(),
        });
        if !self.has_succeeded {
            info["result"] = json!("FAILED");
            info["resMessage"] = json!(hex::encode("Not enough energy for 'SLOAD' operation executing"));
            return info;
        }
        let moved = event(USDT, TRANSFER_EVENT, &self.from, &self.to, self.amount);
        if self.kind == Kind::Token {
            info["log"] = json!([moved]);
            return info;
        }
        // Tether goes in, the native coin comes out.
        let pool = noise.bytes();
        info["log"] = json!([
            event(USDT, TRANSFER_EVENT, &self.from, &pool, self.amount),
            event(USDT, APPROVAL_EVENT, &self.from, &self.callee(), self.amount),
            event(&hex::encode(self.callee()), TRANSFER_EVENT, &pool, &self.callee(), self.amount * 3),
        ]);
        let inner = |from: &Key, to: &Key, value: Value, noise: &mut Noise| {
            json!({
                "hash": noise.hex(32), "caller_address": account(from), "transferTo_address": account(to),
                "callValueInfo": [value], "note": hex::encode("call"),
            })
        };
        info["internal_transactions"] = json!([
            inner(&self.callee(), &pool, json!({}), noise),
            inner(&pool, &self.to, json!({ "callValue": self.amount }), noise),
        ]);
        info
    }

    /// Its payment to a watched address, if it is one.
    fn payment(&self, tx: String, height: u64) -> Option<Payment> {
        let (ordinal, asset) = match self.kind {
            Kind::Transfer => (0, TRX_INDEX),
            Kind::Token => (1, USDT_INDEX),
            Kind::Swap => (INTERNAL + 1, TRX_INDEX),
            Kind::Delegate => return None,
        };
        let shop = usize::try_from(self.shop.filter(|_| self.has_succeeded)?).ok()?;
        let memo = Some(self.memo.clone()).filter(|memo| !memo.is_empty());
        Some(Payment { tx, ordinal, asset, shop, amount: u128::from(self.amount), memo, height })
    }
}

/// Encodes a number field of a protobuf message; zero is left out.
fn number(field: u64, value: u64) -> Vec<u8> {
    if value == 0 { Vec::new() } else { [varint(field << 3), varint(value)].concat() }
}

/// Encodes a bytes field of a protobuf message; empty ones are left out.
fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
    if length == 0 { Vec::new() } else { [varint(field << 3 | 2), varint(length), value.to_vec()].concat() }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}
