//! The sandbox over storage in memory.

mod own;

use crate::address::{account_of, decode, derive, encode, encode_wrongly, normalize};
use crate::host::Host;
use crate::{actions, find, link, scan};
use kassa_sdk::chain::{
    AddressError, DeriveError, LinkError, PaymentRequest, ScanError, ScanLimits, ScanResult,
};
use kassa_sdk::finder::{FindError, Place};
use kassa_sdk::simulator::SimulateError;
use kassa_sdk::types::{Asset, Memo, Network, Position};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

const DEPTH: u64 = 12;
const WIDE: ScanLimits =
    ScanLimits { blocks: 10_000, transfers: 10_000, known: None, next_is_head: false, more: Vec::new() };

struct Memory {
    map: RefCell<BTreeMap<String, Vec<u8>>>,
    gets: Cell<u32>,
    now_ms: Cell<u64>,
}

impl Host for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.gets.set(self.gets.get() + 1);
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
        Ok(keys.take(usize::try_from(limit.min(1_000)).unwrap()).cloned().collect())
    }

    fn watched(&self, keys: &[u8], width: u32) -> Result<Vec<u32>, String> {
        let keys = keys.chunks(usize::try_from(width).unwrap());
        Ok((0u32..)
            .zip(keys)
            .filter(|(_, key)| **key == account_of("shop"))
            .map(|(index, _)| index)
            .collect())
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
}

fn memory() -> Memory {
    Memory { map: RefCell::default(), gets: Cell::new(0), now_ms: Cell::new(1_800_000_000_000) }
}

fn shop() -> String {
    encode(account_of("shop"))
}

fn network() -> Network {
    let token = |contract: &str, decimals| Asset { contract: Some(contract.into()), decimals, more: None };
    Network {
        name: "sandbox".into(),
        chain_id: "sandbox".into(),
        assets: vec![
            Asset { contract: None, decimals: 9, more: None },
            token("usdt", 6),
            token("usdc18", 18),
        ],
        settings: "{}".into(),
        more: Vec::new(),
    }
}

fn try_act(host: &Memory, action: &Value) -> Result<Value, SimulateError> {
    actions::simulate(host, DEPTH, &action.to_string()).map(|answer| serde_json::from_str(&answer).unwrap())
}

#[allow(clippy::needless_pass_by_value)]
fn act(host: &Memory, action: Value) -> Value {
    try_act(host, &action).unwrap_or_else(|error| panic!("{action}: {error:?}"))
}

fn scan_from(host: &Memory, cursor: u64, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
    let cursor = Position { height: cursor, hash: String::new() };
    scan::scan(host, &network(), DEPTH, Some(&cursor), limits)
}

fn read(host: &Memory) -> ScanResult {
    scan_from(host, 0, &WIDE).unwrap()
}

/// Checks that every block names the one before it as its parent.
fn check_links(result: &ScanResult) {
    for pair in result.blocks.windows(2) {
        assert_eq!((pair[0].height + 1, &pair[0].hash), (pair[1].height, &pair[1].parent));
    }
}

#[test]
fn addresses() {
    let address = shop();
    assert_eq!((address.len(), &address[..4]), (44, "sbx1"));
    assert_eq!(normalize(&address.to_uppercase()).unwrap().text, address);
    assert_eq!(normalize(&address).unwrap().key, account_of("shop"));
    assert_eq!(decode(&encode_wrongly(account_of("shop"))), Err(AddressError::Checksum));
    for wrong in ["", "sbx1", "0x00", &address[1..], &address[..43], &format!("{address}0"), "sbx1\u{e9}"] {
        assert!(matches!(decode(wrong), Err(AddressError::Malformed(_))), "{wrong}");
    }
    let child = |index| derive("sbxpub-alice", index).unwrap().text;
    assert_eq!(child(7), child(7));
    assert_ne!(child(7), child(8));
    normalize(&child(7)).unwrap();
    assert_eq!(derive("sbxpub-alice", 1 << 31), Err(DeriveError::NoChild));
    assert!(matches!(derive("xpub", 0), Err(DeriveError::MalformedKey(_))));
    let made = act(&memory(), json!({"do": "address", "seed": "shop"}));
    assert_eq!(made["address"], json!(address));
    assert_eq!(decode(made["wrong_checksum"].as_str().unwrap()), Err(AddressError::Checksum));
}

#[test]
fn the_genesis_block_is_there_before_anything_is_written() {
    let host = memory();
    let result = scan::scan(&host, &network(), DEPTH, None, &WIDE).unwrap();
    assert_eq!((result.blocks.len(), result.blocks[0].height, result.final_), (1, 0, 0));
    assert_eq!(result.head.hash, result.blocks[0].hash);
    act(&host, json!({"do": "mine", "blocks": 1000}));
    let result = scan::scan(&host, &network(), DEPTH, None, &WIDE).unwrap();
    assert_eq!((result.blocks[0].height, result.final_, result.head.height), (988, 988, 1000));
    assert_eq!(host.map.borrow().len(), 2);
}

#[test]
fn transfers_are_seen_once_with_all_they_say() {
    let host = memory();
    let answer = act(
        &host,
        json!({"do": "transfer", "to": shop(), "asset": "usdt", "amount": "1000", "memo": "A-1", "mine": 3}),
    );
    assert_eq!(answer["height"], 1);
    act(&host, json!({"do": "transfer", "to": shop(), "amount": "9".repeat(60), "unreadable_memo": true}));
    act(&host, json!({"do": "transfer", "to": encode(account_of("other")), "amount": "5"}));
    act(&host, json!({"do": "transfer", "to": shop(), "asset": "scam", "amount": "5"}));
    act(&host, json!({"do": "transfer", "to": shop(), "amount": "5", "fail": true}));
    let result = read(&host);
    check_links(&result);
    assert_eq!((result.blocks.len(), result.head.height, result.transfers.len()), (7, 7, 2));
    let [first, second] = result.transfers.as_slice() else { panic!() };
    assert_eq!((&first.tx, first.height, first.asset), (&answer["tx"].as_str().unwrap().to_owned(), 1, 1));
    assert_eq!((first.amount.map(u128::from), &first.memo), (Some(1000), &Memo::Text("A-1".into())));
    assert_eq!((first.recipient.as_str(), first.sender.is_some()), (shop().as_str(), true));
    assert_eq!((second.height, second.amount), (4, None));
    assert!(matches!(second.memo, Memo::Unreadable(_)));
    // From within a segment on, its transaction is not reported again.
    assert_eq!(scan_from(&host, 1, &WIDE).unwrap().transfers.len(), 1);
    assert_eq!(scan_from(&host, 2, &WIDE).unwrap().blocks[0].height, 3);
}

#[test]
fn what_an_account_sends_to_itself_brings_nothing_in() {
    let host = memory();
    act(&host, json!({"do": "transfer", "from": shop(), "to": shop(), "amount": "5"}));
    let list = json!([{"from": shop(), "to": shop(), "amount": "0"}, {"to": shop(), "amount": "7"}]);
    act(&host, json!({"do": "transfers", "list": list}));
    let found = read(&host).transfers;
    let found: Vec<_> =
        found.iter().map(|found| (found.height, found.ordinal, found.amount.map(u128::from))).collect();
    assert_eq!(found, [(2, 1, Some(7))]);
}

#[test]
fn several_movements_and_waiting_transactions() {
    let host = memory();
    let list = json!([{"to": shop(), "amount": "5"}, {"to": shop(), "amount": "5"}]);
    let waiting = act(&host, json!({"do": "transfers", "list": list, "mine": 0}));
    assert_eq!(waiting["height"], Value::Null);
    let gone = act(&host, json!({"do": "transfer", "to": shop(), "amount": "6", "mine": 0}));
    act(&host, json!({"do": "retract", "tx": gone["tx"]}));
    assert!(read(&host).blocks.is_empty());
    act(&host, json!({"do": "mine"}));
    let result = read(&host);
    let ordinals: Vec<_> =
        result.transfers.iter().map(|transfer| (transfer.height, transfer.ordinal)).collect();
    assert_eq!(ordinals, [(1, 0), (1, 1)]);
    assert!(result.transfers.iter().all(|transfer| waiting["tx"] == transfer.tx.as_str()));
}

#[test]
fn a_reorganization_renames_blocks_and_moves_one_transaction() {
    for again in [false, true] {
        let host = memory();
        act(&host, json!({"do": "mine", "blocks": 2}));
        let doomed = act(&host, json!({"do": "transfer", "to": shop(), "amount": "5"}));
        act(&host, json!({"do": "transfer", "to": shop(), "amount": "6", "mine": 2}));
        let before = read(&host);
        let answer = act(&host, json!({"do": "retract", "tx": doomed["tx"], "again": again}));
        assert_eq!(answer["height"], if again { 6 } else { 5 });
        let after = read(&host);
        check_links(&after);
        for (old, new) in before.blocks.iter().zip(&after.blocks) {
            assert_eq!(old.hash == new.hash, old.height < 3, "{}", old.height);
        }
        let heights = |result: &ScanResult| {
            result.transfers.iter().map(|transfer| (transfer.height, transfer.tx.clone())).collect::<Vec<_>>()
        };
        let mut expected = heights(&before).split_off(1);
        if again {
            expected.push((6, doomed["tx"].as_str().unwrap().to_owned()));
        }
        assert_eq!(heights(&after), expected);
        // The same again: a third branch, not the first one.
        if again {
            act(&host, json!({"do": "retract", "tx": doomed["tx"], "again": true}));
            assert_eq!(read(&host).transfers.last().unwrap().height, 7);
            check_links(&read(&host));
        }
    }
}

#[test]
fn what_is_final_stays() {
    let host = memory();
    let answer = act(&host, json!({"do": "transfer", "to": shop(), "amount": "5", "mine": 12}));
    let tx = answer["tx"].clone();
    act(&host, json!({"do": "mine"}));
    let error = try_act(&host, &json!({"do": "retract", "tx": tx})).unwrap_err();
    assert!(matches!(error, SimulateError::TooDeep(_)), "{error:?}");
    let error = try_act(&host, &json!({"do": "retract", "tx": "nowhere"})).unwrap_err();
    assert_eq!(error, SimulateError::NotFound("nowhere".into()));
}

#[test]
fn outages_end_by_the_clock() {
    let host = memory();
    act(&host, json!({"do": "mine", "blocks": 5}));
    for (kind, expected) in [
        ("rate-limited", ScanError::RateLimited(500)),
        ("behind", ScanError::Behind(2)),
        ("upstream", ScanError::Upstream("the sandbox is down, as it was told to".into())),
        ("malformed", ScanError::Malformed("the sandbox talks nonsense, as it was told to".into())),
    ] {
        act(&host, json!({"do": "outage", "ms": 500, "kind": kind}));
        assert_eq!(scan_from(&host, 3, &WIDE).unwrap_err(), expected);
        host.now_ms.set(host.now_ms.get() + 500);
        assert_eq!(scan_from(&host, 3, &WIDE).unwrap().blocks.len(), 2);
    }
    act(&host, json!({"do": "outage", "ms": 500}));
    act(&host, json!({"do": "outage", "ms": 0}));
    assert!(scan_from(&host, 3, &WIDE).is_ok());
    assert_eq!(scan_from(&host, 9, &WIDE).unwrap_err(), ScanError::Behind(5));
}

#[test]
fn limits_and_the_price_of_an_idle_scan() {
    let host = memory();
    for _ in 0..3 {
        act(&host, json!({"do": "transfer", "to": shop(), "amount": "5", "mine": 10}));
    }
    let sizes = |blocks, transfers| {
        let result = scan_from(
            &host,
            0,
            &ScanLimits { blocks, transfers, known: None, next_is_head: false, more: Vec::new() },
        )
        .unwrap();
        check_links(&result);
        (result.blocks.len(), result.transfers.len())
    };
    assert_eq!(sizes(15, 100), (15, 2));
    assert_eq!(sizes(100, 2), (20, 2));
    assert_eq!(sizes(100, 0), (10, 1));
    host.gets.set(0);
    assert!(scan_from(&host, 30, &WIDE).unwrap().blocks.is_empty());
    assert_eq!(host.gets.get(), 1);
}

#[test]
fn old_segments_are_forgotten_and_the_gap_is_an_error() {
    let host = memory();
    for _ in 0..30 {
        act(&host, json!({"do": "mine", "blocks": 1000}));
    }
    assert!(host.map.borrow().len() < 15);
    assert!(matches!(scan_from(&host, 0, &WIDE), Err(ScanError::Upstream(_))));
    assert_eq!(scan_from(&host, 25_000, &WIDE).unwrap().blocks.len(), 5_000);
}

#[test]
fn actions_that_are_refused() {
    let host = memory();
    for wrong in [
        json!(null),
        json!({}),
        json!({"do": "fly"}),
        json!({"do": "mine", "blocks": 0}),
        json!({"do": "mine", "blocks": 1001}),
        json!({"do": "mine", "block": 1}),
        json!({"do": "transfer", "to": shop()}),
        json!({"do": "transfer", "to": shop(), "amount": 5}),
        json!({"do": "transfer", "to": shop(), "amount": "-5"}),
        json!({"do": "transfer", "to": shop(), "amount": ""}),
        json!({"do": "transfer", "to": shop(), "amount": "5", "mine": 1001}),
        json!({"do": "transfer", "to": shop(), "amount": "5", "aset": "usdt"}),
        json!({"do": "transfer", "to": "sbx1", "amount": "5"}),
        json!({"do": "transfer", "to": shop(), "amount": "5", "memo": "m".repeat(2_000)}),
        json!({"do": "transfer", "to": shop(), "amount": "5", "asset": "a".repeat(129)}),
        json!({"do": "transfer", "to": shop(), "amount": "5".repeat(81)}),
        json!({"do": "transfer", "to": shop(), "amount": "5", "by": 7}),
        json!({"do": "transfers", "list": vec![json!({"to": shop(), "amount": "5"}); 1_001]}),
        json!({"do": "address", "seed": "s".repeat(257)}),
        json!({"do": "outage", "ms": 24 * 3_600_000 + 1}),
        json!({"do": "outage", "ms": u64::MAX}),
        json!({"do": "outage", "ms": -1}),
        json!({"do": "transfers", "list": []}),
        json!({"do": "outage", "ms": 5, "kind": "earthquake"}),
    ] {
        let error = try_act(&host, &wrong).unwrap_err();
        assert!(matches!(error, SimulateError::Malformed(_)), "{wrong}: {error:?}");
    }
    assert!(host.map.borrow().is_empty());
}

#[test]
fn links() {
    let request = |asset| PaymentRequest {
        recipient: shop(),
        asset,
        amount: 1_000u128.into(),
        memo: Some("A 1&b".into()),
        more: Vec::new(),
    };
    let link = link::payment_link(&network(), &request(1)).unwrap();
    assert_eq!(link.qr, format!("sbx:{}?amount=1000&asset=usdt&memo=A%201%26b", shop()));
    assert_eq!(link.uri, Some(link.qr));
    assert!(matches!(link::payment_link(&network(), &request(7)), Err(LinkError::Malformed(_))));
}

#[test]
fn a_transaction_is_found_in_its_block_and_nowhere_else() {
    let host = memory();
    let pay = |mine: u64, fail: bool| {
        let action = json!({"do": "transfer", "to": shop(), "amount": "1", "mine": mine, "fail": fail});
        act(&host, action)["tx"].as_str().unwrap().to_owned()
    };
    let found = |tx: &str| find::find(&host, tx);
    let at = |height, tx: &str| Ok(vec![Place { height, tx: tx.to_owned(), more: Vec::new() }]);
    let (first, failed) = (pay(900, false), pay(3, true));
    assert_eq!(found(&first), at(1, &first));
    assert_eq!(found(&format!(" 0X{} ", failed.to_uppercase())), at(901, &failed));
    // A reorg puts it elsewhere; one that waits is nowhere.
    act(&host, json!({"do": "retract", "tx": failed, "again": true}));
    assert_eq!(found(&failed), at(904, &failed));
    let waits = pay(0, false);
    assert_eq!(found(&waits), Ok(vec![]));
    act(&host, json!({"do": "retract", "tx": waits}));
    assert_eq!(found(&waits), Ok(vec![]));
    for wrong in ["", "0x", "hello", &shop(), &first[1..], &format!("{first}0"), "\u{e9}"] {
        assert!(matches!(found(wrong), Err(FindError::NotAnId(_))), "{wrong}");
    }
    act(&host, json!({"do": "outage", "ms": 5_000, "kind": "rate-limited"}));
    assert_eq!(found(&first), Err(FindError::RateLimited(5_000)));
    act(&host, json!({"do": "outage", "ms": 0}));
    // Whoever looks for something old is told how far it was looked for.
    for blocks in [1_000, 1_000, 1_000, 999] {
        act(&host, json!({"do": "mine", "blocks": blocks}));
    }
    assert_eq!(found(&failed), at(904, &failed));
    assert!(matches!(found(&first), Err(FindError::Upstream(_))));
    assert!(matches!(found(&"ab".repeat(32)), Err(FindError::Upstream(_))));
}
