//! Entry points for tests/fuzz; not in the product.

use super::node::{FAKE, Node, OTHER, OTHER_TOKEN, PAYER, SHOP, Tx, USDT, call, moved, pay, sent};
use crate::address::{self, Key};
use crate::host::{Call, Host};
use crate::ownership;
use crate::wire::Payment;
use crate::{memo, proof};
use kassa_sdk::chain::{Address, AddressError, DeriveError, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Memo, Network, Position};
use kassa_sdk::upstream::Answer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cell::RefCell;

/// Chooses a number below the one given; 0 when the input is used up.
pub type Pick<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Changes the status and the body of an answer. Returns false if the host refuses the request.
pub type Tamper<'a> = dyn FnMut(&mut u16, &mut Vec<u8>) -> bool + 'a;

/// The scripted node over a chain that the fuzzer writes.
pub struct Script(Node);

impl Script {
    pub fn new(pick: &mut Pick<'_>) -> Self {
        let blocks = 3 + pick(8);
        let mut node = Node::new((0..blocks).map(|_| (0..pick(4)).map(|_| tx(pick)).collect()).collect());
        node.native = pick(3) != 2;
        node.solid_below = pick(20);
        node.settings = match pick(4) {
            0 | 1 => "{}".into(),
            2 => format!(r#"{{"blocks_at_once":{}}}"#, pick(52)),
            _ => String::from_utf8_lossy(&bytes(pick, 32)).into_owned(),
        };
        Self(node)
    }

    pub fn network(&self) -> Network {
        self.0.network()
    }

    /// Position at which the scripted chain begins.
    pub fn begin(&self) -> Position {
        Position { height: 0, hash: self.0.hash(0) }
    }

    pub fn watched(&self) -> Vec<String> {
        vec![address::show(&SHOP)]
    }

    pub fn scan(
        &self,
        cursor: Option<&Position>,
        limits: &ScanLimits,
        tamper: &mut Tamper<'_>,
    ) -> Result<ScanResult, ScanError> {
        crate::scan::scan(&Tampered(&self.0, RefCell::new(tamper)), &self.network(), cursor, limits)
    }
}

pub fn normalize(text: &str) -> Result<Address, AddressError> {
    address::normalize(text)
}

pub fn derive(key: &str, index: u32) -> Result<Address, DeriveError> {
    address::derive(key, index)
}

pub fn owns(address: &str, statement: &str, proof: &str) -> bool {
    ownership::verify(address, statement, proof).is_ok()
}

pub fn memo(data: &[u8]) -> Memo {
    memo::read(data)
}

/// Payer, recipient and amount of the native coin.
pub type Paid = (Key, Key, u64);

/// The payment and the memo of a transaction, read from its signed bytes alone.
pub fn transaction(raw: &[u8]) -> Result<(Option<Paid>, Vec<u8>), ScanError> {
    let content = proof::content(&hex::encode(raw), &Sha256::digest(raw).into())?;
    Ok((content.payment.map(|Payment { from, to, amount }| (from, to, amount)), content.memo))
}

/// Memo of a transaction, read from any `raw_data_hex` that a node may send.
pub fn transaction_hex(text: &str, id: &[u8; 32]) -> Result<Vec<u8>, ScanError> {
    proof::content(text, id).map(|content| content.memo)
}

/// The signed bytes of a payment, with the payment and the memo that have to be read from them.
pub fn payment(pick: &mut Pick<'_>) -> (Vec<u8>, Option<Paid>, Vec<u8>) {
    let tx = tx(pick);
    let paid = (tx.kind.1 == 1 || (tx.kind.1 == 31 && tx.amount > 0)).then_some((PAYER, tx.to, tx.amount));
    (tx.raw_data(pick(u64::MAX)), paid, tx.memo)
}

fn bytes(pick: &mut Pick<'_>, below: u64) -> Vec<u8> {
    (0..pick(below)).map(|_| u8::try_from(pick(256)).unwrap_or(0)).collect()
}

fn tx(pick: &mut Pick<'_>) -> Tx {
    let to = [SHOP, OTHER, PAYER][pick(3) as usize];
    let amount = match pick(4) {
        0 => 5,
        1 => 0,
        _ => pick(u64::MAX),
    };
    let mut tx = match pick(2) {
        0 => call((0..pick(4)).map(|_| log(pick)).collect()),
        _ => pay(to, amount),
    };
    match pick(10) {
        1 => tx.ok = false,
        2 => tx.amount = 7,
        3 => tx.memo = bytes(pick, 40),
        4 => tx.memo = vec![b'x'; pick(1_100) as usize],
        5 => tx.kind = ("TransferAssetContract", 2),
        6 => tx.internal = (0..pick(4)).map(|_| internal(pick)).collect(),
        7 => tx.kind = ("CreateSmartContract", 30),
        _ => {}
    }
    tx
}

fn log(pick: &mut Pick<'_>) -> Value {
    let contract = [USDT, OTHER_TOKEN, FAKE][pick(3) as usize];
    let to = [SHOP, OTHER][pick(2) as usize];
    let mut log = moved(contract, to, [5, 0, u128::MAX][pick(3) as usize]);
    match pick(8) {
        1 => log["data"] = json!("f".repeat(64)),
        2 => log["topics"][pick(3) as usize] = json!("f".repeat(64)),
        3 => log["topics"] = json!([]),
        _ => {}
    }
    log
}

fn internal(pick: &mut Pick<'_>) -> Value {
    let note = ["call", "create", "suicide", "freezeForEnergy"][pick(4) as usize];
    let values = match pick(4) {
        0 => json!([{"callValue": pick(u64::MAX)}]),
        1 => json!([{}]),
        2 => json!([{"callValue": 3}, {"callValue": 4, "tokenId": "1"}]),
        _ => json!([{"callValue": 3}, {"callValue": 4}]),
    };
    let mut sent = sent(note, [SHOP, OTHER, USDT][pick(3) as usize], &values);
    if pick(8) == 1 {
        sent["rejected"] = json!(true);
    }
    sent
}

struct Tampered<'a, 'b>(&'a Node, RefCell<&'a mut Tamper<'b>>);

impl Host for Tampered<'_, '_> {
    fn ask_all(&self, calls: &[Call]) -> Vec<Result<Answer, ScanError>> {
        let ask = |call: &Call| {
            let mut answer = self.0.ask_all(std::slice::from_ref(call)).remove(0)?;
            match self.1.borrow_mut()(&mut answer.status, &mut answer.body) {
                true => Ok(answer),
                false => Err(ScanError::Upstream("the fuzzer says so".into())),
            }
        };
        calls.iter().map(ask).collect()
    }

    fn refused(&self, calls: u32, retry_ms: u32) {
        self.0.refused(calls, retry_ms);
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, ScanError> {
        self.0.watched(keys)
    }
}
