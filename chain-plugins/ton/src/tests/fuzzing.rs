//! Entry points for tests/fuzz; not in the product.

use super::cells::{Cell, comment, internal_transfer, operation, snake};
use super::index::{
    CURSOR, FAKE, Index, OTHER, PAYER, PROOFS, SHOP, USDT, account, credited, hash_of, message, paid,
};
use crate::address::{self, Account, hex};
use crate::base64;
use crate::boc::{self, Boc};
use crate::body::{Body, InternalTransfer};
use crate::hashes::Hashes;
use crate::host::{Answer, Host, Request};
use crate::ownership;
use crate::slice::Slice;
use crate::transaction::Transaction;
use kassa_sdk::chain::{Address, AddressError, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Memo, Network, Position};
use kassa_sdk::upstream::Fault;
use serde_json::{Value, json};
use std::cell::RefCell;

/// Chooses a number below the one given; 0 when the input is used up.
pub type Pick<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Changes the status and the body of an answer. Returns false if the host's budget is used up.
pub type Tamper<'a> = dyn FnMut(&mut u16, &mut Vec<u8>) -> bool + 'a;

/// The scripted index over a chain that the fuzzer writes.
pub struct Script(Index);

impl Script {
    pub fn new(pick: &mut Pick<'_>) -> Self {
        let mut index = Index::new(CURSOR + 3 + pick(12));
        let is_proven = pick(4) == 1;
        if is_proven {
            index.settings = PROOFS.into();
        }
        let mut height = CURSOR - pick(3);
        for _ in 0..2 + pick(8) {
            height = (height + pick(4)).min(index.head);
            let tx = tx(pick);
            index.add(height, tx);
        }
        index.native = pick(4) != 3;
        if pick(4) == 1 {
            index.owners.borrow_mut().extend((0..pick(6)).map(|owner| account(owner as u8)));
        }
        if pick(4) == 1 {
            index.states_at.set(CURSOR + pick(12));
        }
        index.settings = match pick(5) {
            _ if is_proven => PROOFS.into(),
            0..=2 => "{}".into(),
            3 => format!(
                r#"{{"max_blocks_per_call":{},"max_accounts_per_request":{}}}"#,
                1 + pick(8),
                1 + pick(2)
            ),
            _ => String::from_utf8_lossy(&bytes(pick, 32)).into_owned(),
        };
        for key in ["at", "accounts/aa", "wallets/aa"] {
            if pick(16) == 1 {
                index.stored.borrow_mut().insert(key.into(), bytes(pick, 200));
            }
        }
        Self(index)
    }

    pub fn network(&self) -> Network {
        self.0.network()
    }

    /// Position from which the scripted chain is read.
    pub fn begin(&self) -> Position {
        Position { height: CURSOR, hash: hex(&hash_of(&format!("block {CURSOR}"))) }
    }

    pub fn watched(&self) -> Vec<String> {
        self.0.owners.borrow().iter().map(|owner| owner.show(false)).collect()
    }

    pub fn scan(
        &self,
        cursor: Option<&Position>,
        limits: &ScanLimits,
        tamper: &mut Tamper<'_>,
    ) -> Result<ScanResult, ScanError> {
        let before = self.0.stored.borrow().clone();
        let host = Tampered(&self.0, RefCell::new(tamper));
        let result = crate::scan::scan(&host, &self.network(), cursor, limits);
        if result.is_err() {
            *self.0.stored.borrow_mut() = before;
        }
        result
    }
}

pub fn normalize(text: &str, is_testnet: bool) -> Result<Address, AddressError> {
    address::normalize(text, is_testnet)
}

/// One of the written forms of an account: 0 and 1 raw, 2 to 5 user-friendly with the tag and the alphabet.
pub fn write_account(workchain: i8, hash: [u8; 32], tag: u8, writing: u8) -> String {
    let account = Account { workchain, hash };
    let mut bytes = [&[tag][..], &account.key()].concat();
    bytes.extend(address::crc16(&bytes).to_be_bytes());
    match writing % 4 {
        0 => account.raw(),
        1 => account.raw().to_ascii_lowercase(),
        2 => base64::encode(&bytes),
        _ => base64::encode_url_safe(&bytes),
    }
}

pub fn owns(address: &str, statement: &str, proof: &str) -> bool {
    ownership::verify(&Index::new(CURSOR + 3).network(), address, statement, proof).is_ok()
}

pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    base64::decode(text)
}

pub fn base64_encode(bytes: &[u8], is_url_safe: bool) -> String {
    if is_url_safe { base64::encode_url_safe(bytes) } else { base64::encode(bytes) }
}

pub fn crc32c(bytes: &[u8]) -> u32 {
    boc::crc32c(bytes)
}

/// Reads a bag of cells from end to end. Returns the number of bits and references from the root down along the first
/// references, and its hash.
pub fn bag(bytes: &[u8]) -> Option<(usize, Option<[u8; 32]>)> {
    let boc = Boc::parse(bytes).ok()?;
    let mut seen = 0;
    let mut next = Slice::root(&boc);
    while let Some(mut slice) = next {
        let left = (slice.bits_left(), slice.refs_left());
        assert!(left.0 <= 1_023 && left.1 <= 4);
        seen += left.0 + left.1;
        let (mut as_bits, mut as_bytes) = (slice, Vec::new());
        let whole = slice.bytes_into(&mut as_bytes).is_some();
        assert_eq!(whole, left.0 % 8 == 0);
        let bits = (0..left.0).map(|_| as_bits.bit().unwrap_or_default()).collect::<Vec<_>>();
        assert!(as_bits.bit().is_none());
        assert!(
            as_bytes
                .iter()
                .zip(bits.chunks(8))
                .all(|(byte, bits)| { *byte == bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)) })
        );
        next = slice.next_ref();
    }
    if let Some(hashes) = Hashes::of(&boc) {
        let _ = Transaction::read(&boc, &hashes);
    }
    Some((seen, boc.hash()))
}

/// A tree of the fuzzer's in one of the forms, and the hash that reading it has to give.
pub fn written_bag(pick: &mut Pick<'_>) -> (Vec<u8>, [u8; 32]) {
    let flags = [0, 0x40, 0x80, 0xc0, 0xa0, 0xe0][pick(6) as usize];
    let cell = tree(pick, 4);
    (cell.bag(flags), cell.hash())
}

/// The memo of a native payment's body. `None` if the body is an operation.
pub fn body_memo(bag: &[u8]) -> Option<Memo> {
    let boc = Boc::parse(bag).ok()?;
    match Body::read(Slice::root(&boc)?) {
        Body::Memo(memo) => Some(memo),
        Body::Operation(_) => None,
    }
}

/// Amount and memo of a credit, read with its operation.
pub fn credit(bag: &[u8]) -> Option<(u128, Memo)> {
    let boc = Boc::parse(bag).ok()?;
    let mut slice = Slice::root(&boc)?;
    slice.op()?;
    InternalTransfer::read(slice).map(|credit| (credit.amount, credit.memo))
}

pub fn written_comment(text: &[u8], chunk: usize) -> Vec<u8> {
    snake(Cell::default().uint(0, 32), text, chunk).bag(0)
}

pub fn written_credit(amount: u128, text: &[u8], chunk: usize, by_ref: bool) -> Vec<u8> {
    let payload = snake(Cell::default().uint(0, 32), text, chunk);
    internal_transfer(amount, Some(&PAYER), &payload, by_ref).bag(0)
}

pub fn written_body(pick: &mut Pick<'_>) -> Vec<u8> {
    body(pick).bag(0)
}

fn bytes(pick: &mut Pick<'_>, below: u64) -> Vec<u8> {
    (0..pick(below)).map(|_| u8::try_from(pick(256)).unwrap_or(0)).collect()
}

fn tree(pick: &mut Pick<'_>, depth: u64) -> Cell {
    let mut cell = Cell::default().bytes(&bytes(pick, 100)).uint(pick(256).into(), pick(8) as usize);
    for _ in 0..if depth > 0 { pick(4) } else { 0 } {
        cell = cell.reference(tree(pick, depth - 1));
    }
    cell.is_exotic = false;
    cell
}

fn body(pick: &mut Pick<'_>) -> Cell {
    let amount = [5, 0, 1 << 100][pick(3) as usize];
    let op = [0, 0x2167_da4b, 0xd532_76db, 0x7362_d09c, 0xffff_ffff, 0x178d_4519, 7][pick(7) as usize];
    match pick(7) {
        0 => comment(&String::from_utf8_lossy(&bytes(pick, 40))),
        1 => Cell::default(),
        2 => internal_transfer(amount, Some(&PAYER), &tree(pick, 2), pick(2) == 0),
        3 => operation(op).slice(&Cell::default().bytes(&bytes(pick, 40))),
        4 => snake(Cell::default().uint(op.into(), 32), &bytes(pick, 200), 1 + pick(30) as usize),
        5 => Cell::default().uint(op.into(), 32).reference(tree(pick, 2)),
        _ => tree(pick, 3),
    }
}

fn tx(pick: &mut Pick<'_>) -> Value {
    let to = [SHOP, OTHER][pick(2) as usize];
    let nano = [1_000_000_000, 0, 1][pick(3) as usize];
    let mut tx = match pick(4) {
        0 => paid(to, nano, &body(pick)),
        1 => credited(USDT, to, pick(u64::MAX).into(), "order 1"),
        2 => credited(FAKE, to, 5, "order 1"),
        _ => message(super::index::wallet(&USDT, &SHOP), PAYER, nano, &body(pick)),
    };
    match pick(12) {
        1 => tx["description"]["aborted"] = json!(true),
        2 => tx["description"]["bounce"] = json!({"type": "ok"}),
        3 => tx["in_msg"]["bounced"] = json!(true),
        4 => tx["in_msg"] = Value::Null,
        5 => tx["end_status"] = json!("nonexist"),
        6 => tx["finality"] = json!("pending"),
        7 => tx["out_msgs"] = json!([{"bounced": true}]),
        _ => {}
    }
    tx
}

struct Tampered<'a, 'b>(&'a Index, RefCell<&'a mut Tamper<'b>>);

impl Host for Tampered<'_, '_> {
    fn send_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, Fault>> {
        let send = |request: Request| {
            let mut answer = self.0.send_all(vec![request]).remove(0)?;
            match self.1.borrow_mut()(&mut answer.status, &mut answer.body) {
                true => Ok(answer),
                false => Err(Fault::Budget("the fuzzer says so".into())),
            }
        };
        requests.into_iter().map(send).collect()
    }

    fn refused(&self, calls: u32, retry_ms: u32) {
        self.0.refused(calls, retry_ms);
    }

    fn watched(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, Fault> {
        self.0.watched(after, limit)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        self.0.keys(prefix)
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.0.load(key)
    }

    fn keep(&self, key: &str, value: &[u8]) -> Result<(), Fault> {
        self.0.keep(key, value)
    }

    fn forget(&self, key: &str) -> Result<(), Fault> {
        self.0.forget(key)
    }
}
