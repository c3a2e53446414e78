//! Entry points for tests/fuzz; not in the product.

use super::code::{Code, code};
use super::node::Node;
use super::txs::{FAKE, Log, OTHER, PAYER, SHOP, Tx, USDC, USDT, call, moved, pay, topic};
use crate::address;
use crate::fault::Fault;
use crate::hex;
use crate::host::{Host, Post};
use crate::ownership;
use kassa_sdk::chain::{Address, AddressError, DeriveError, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Network, Position};
use kassa_sdk::upstream::{Answer, UpstreamTerms};
use std::cell::RefCell;

/// Chooses a number below the one given; 0 when the input is used up.
pub type Pick<'a> = dyn FnMut(u64) -> u64 + 'a;

/// Changes the status and the body of an answer. Returns false if the host's budget is used up.
pub type Tamper<'a> = dyn FnMut(&mut u16, &mut Vec<u8>) -> bool + 'a;

/// The scripted node over a chain that the fuzzer writes.
pub struct Script(Node);

impl Script {
    pub fn new(pick: &mut Pick<'_>) -> Self {
        let blocks = 3 + pick(8);
        let mut node = Node::new((0..blocks).map(|_| (0..pick(4)).map(|_| tx(pick)).collect()).collect());
        node.native = pick(3) != 2;
        node.settings = match pick(9) {
            0 | 1 => "{}".into(),
            5 => r#"{"traces":"debug"}"#.into(),
            6 => r#"{"traces":"parity","max_blocks_per_call":3}"#.into(),
            7 => r#"{"traces":"debug","max_batch":2}"#.into(),
            2 => r#"{"finality_depth":2,"max_blocks_per_call":2}"#.into(),
            3 => r#"{"max_batch":2,"max_log_range":3}"#.into(),
            4 => r#"{"max_blocks_per_call":1000,"max_batch":1000,"max_log_range":1000}"#.into(),
            _ => String::from_utf8_lossy(&(0..pick(32)).map(|_| byte(pick)).collect::<Vec<_>>()).into_owned(),
        };
        match pick(8) {
            1 => node.range_max = Some((1 + pick(4), -32005, "limit exceeded")),
            2 => node.batch_max = Some((1 + byte(pick) as usize, serde_json::json!({"error": "no batch"}))),
            3 => node.host_keeps(
                format!("logs={} blocks={} batch={} good={}", pick(30), pick(30), pick(200), pick(99))
                    .as_bytes(),
            ),
            4 => node.host_keeps(&(0..pick(40)).map(|_| byte(pick)).collect::<Vec<_>>()),
            _ => {}
        }
        Self(node)
    }

    pub fn network(&self) -> Network {
        self.0.network()
    }

    /// Position at which the scripted chain begins.
    pub fn begin(&self) -> Position {
        Position { height: 0, hash: hex::text(&self.0.hash(0)) }
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
        let host = Tampered(&self.0, RefCell::new(tamper));
        crate::scan::scan(&host, &self.network(), cursor, limits)
    }
}

impl Node {
    fn host_keeps(&self, notes: &[u8]) {
        *self.notes.borrow_mut() = String::from_utf8_lossy(notes).into_owned();
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

fn byte(pick: &mut Pick<'_>) -> u8 {
    u8::try_from(pick(256)).unwrap_or(0)
}

fn tx(pick: &mut Pick<'_>) -> Tx {
    let amounts = [1_000_000, 0, 1, u128::MAX];
    let to = [SHOP, OTHER, PAYER][pick(3) as usize];
    let mut tx = match pick(2) {
        0 => call((0..1 + pick(3)).map(|_| log(pick)).collect()),
        _ => pay(to, amounts[pick(4) as usize]),
    };
    match pick(12) {
        1 => tx.ok = false,
        2 => tx.to = None,
        3 => tx.value = format!("0x{}", "f".repeat(pick(66) as usize)),
        4 => tx.input = "0xa9059cbb",
        5 => tx.value = "0x7".into(),
        _ => {}
    }
    tx.inside = (0..pick(3)).map(|_| inside(pick, 3)).collect();
    tx
}

fn inside(pick: &mut Pick<'_>, depth: u8) -> Code {
    let kinds = ["CALL", "CREATE", "SELFDESTRUCT", "DELEGATECALL", "STATICCALL"];
    let kind = kinds[pick(5) as usize];
    let (from, to) = ([OTHER, USDC][pick(2) as usize], [SHOP, OTHER, PAYER][pick(3) as usize]);
    let wei = [1_000_000, 0, 1, u128::MAX][pick(4) as usize];
    let calls = (0..if depth == 0 { 0 } else { pick(3) }).map(|_| inside(pick, depth - 1)).collect();
    Code { has_failed: pick(6) == 5, ..code(kind, from, to, wei, calls) }
}

fn log(pick: &mut Pick<'_>) -> Log {
    let contract = [USDC, USDT, FAKE][pick(3) as usize];
    let to = [SHOP, OTHER, USDC][pick(3) as usize];
    let mut log = moved(contract, to, [5, 0, u128::MAX][pick(3) as usize]);
    match pick(10) {
        1 => log.topics.push(topic(OTHER)),
        2 => log.data = format!("0x{}", "f".repeat(64)),
        3 => log.data.truncate(pick(66) as usize),
        4 => log.topics.truncate(pick(3) as usize),
        5 => log.topics[pick(3) as usize] = format!("0x{}", "f".repeat(64)),
        _ => {}
    }
    log
}

struct Tampered<'a, 'b>(&'a Node, RefCell<&'a mut Tamper<'b>>);

impl Host for Tampered<'_, '_> {
    fn post_all(&self, posts: Vec<Post>) -> Vec<Result<Answer, Fault>> {
        let post = |post: Post| {
            let mut answer = self.0.post_all(vec![post]).remove(0)?;
            match self.1.borrow_mut()(&mut answer.status, &mut answer.body) {
                true => Ok(answer),
                false => Err(Fault::Budget("the fuzzer says so".into())),
            }
        };
        posts.into_iter().map(post).collect()
    }

    fn terms(&self) -> Result<UpstreamTerms, Fault> {
        self.0.terms()
    }

    fn note(&self, notes: &str) {
        self.0.note(notes);
    }

    fn refused(&self, calls: u32, retry_ms: u32) {
        self.0.refused(calls, retry_ms);
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault> {
        self.0.watched(keys)
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.0.load(key)
    }

    fn keep(&self, key: &str, value: &[u8]) {
        self.0.keep(key, value);
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn warn(&self, line: &str) {
        self.0.warn(line);
    }
}
