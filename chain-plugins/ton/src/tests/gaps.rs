//! An index that shows less than there is.

use super::cells::comment;
use super::index::*;
use kassa_sdk::chain::{ScanError, ScanLimits};
use serde_json::json;

const LIMITS: ScanLimits =
    ScanLimits { blocks: 200, transfers: 5_000, known: None, next_is_head: false, more: Vec::new() };

fn lags(index: &Index, cursor: u64) {
    let error = index.scan_from(cursor, &LIMITS).unwrap_err();
    assert!(
        matches!(&error, ScanError::Upstream(why) if why.ends_with("a backend lags or the chain moved")),
        "{error:?}"
    );
}

/// An index with five payments after one that is old, the last of them beyond the head.
fn busy() -> (Index, Vec<[u8; 32]>) {
    let mut index = Index::new(5_004);
    let hashes = [4_999, 5_001, 5_002, 5_002, 5_004]
        .map(|height| index.add(height, paid(SHOP, height, &comment("x"))));
    (index, hashes.to_vec())
}

#[test]
fn any_missing_transaction_is_noticed() {
    let (index, hashes) = busy();
    for hidden in &hashes[2..] {
        *index.hidden.borrow_mut() = vec![*hidden];
        lags(&index, CURSOR);
    }
    // Only the first transaction after the cursor shows which one was a new account's last before it.
    *index.hidden.borrow_mut() = vec![hashes[0]];
    assert_eq!(index.scan().unwrap().transfers.len(), 4);
}

#[test]
fn a_known_account_is_linked_to_its_last_transaction() {
    let (mut index, _) = busy();
    index.head = 5_001;
    index.states_at.set(5_001);
    assert_eq!(index.scan().unwrap().transfers.len(), 1);
    index.states_at.set(u64::MAX);
    let (third, fourth) = (hash_of("tx 5002 0"), hash_of("tx 5002 1"));
    index.head = 5_004;
    for hidden in [third, fourth] {
        *index.hidden.borrow_mut() = vec![hidden];
        lags(&index, 5_001);
    }
    index.hidden.borrow_mut().clear();
    assert_eq!(index.scan_from(5_001, &LIMITS).unwrap().transfers.len(), 3);
}

#[test]
fn states_behind_what_was_read_are_not_believed() {
    let (index, _) = busy();
    index.scan().unwrap();
    let mut index = index;
    index.head = 5_005;
    index.states_at.set(5_002);
    lags(&index, 5_004);
    index.states_at.set(0);
    lags(&index, 5_004);
    index.states_at.set(u64::MAX);
    assert_eq!(index.scan_from(5_004, &LIMITS).unwrap().blocks.len(), 1);
}

/// The index lags in all its answers alike: nothing shows, the cursor moves on, and the payment is found later.
#[test]
fn what_shows_up_late_is_reported_with_the_next_block() {
    for gap in [1, 900, 3_000] {
        let (mut index, hashes) = busy();
        index.states_at.set(5_001);
        *index.hidden.borrow_mut() = hashes[2..].to_vec();
        assert_eq!(brief(&index.scan().unwrap()), [(5_001, 0, Some(5_001), "x")]);
        let mut at = 5_004;
        while at < 5_004 + gap {
            index.head = at + 200;
            at = index.scan_from(at, &LIMITS).unwrap().blocks.last().unwrap().height;
        }
        index.states_at.set(u64::MAX);
        index.hidden.borrow_mut().clear();
        index.head = at + 2;
        let late = [5_002, 5_002, 5_004].map(|amount| (at + 1, 0, Some(amount), "x"));
        assert_eq!(brief(&index.scan_from(at, &LIMITS).unwrap()), late, "{gap}");
        index.head = at + 3;
        assert!(index.scan_from(at + 2, &LIMITS).unwrap().transfers.is_empty());
    }
}

/// The same for an account whose first transactions show up late.
#[test]
fn a_first_payment_that_shows_up_late() {
    let mut index = Index::new(5_002);
    index.add(5_002, paid(SHOP, 7, &comment("x")));
    index.states_at.set(5_000);
    assert!(index.scan().unwrap().transfers.is_empty());
    index.states_at.set(u64::MAX);
    index.head = 5_003;
    assert_eq!(brief(&index.scan_from(5_002, &LIMITS).unwrap()), [(5_003, 0, Some(7), "x")]);
}

#[test]
fn an_account_that_ends_and_begins_anew() {
    let mut index = Index::new(5_001);
    let mut swept = paid(SHOP, 1, &comment("a"));
    swept["end_status"] = json!("nonexist");
    index.add(5_001, swept.clone());
    assert_eq!(index.scan().unwrap().transfers.len(), 1);
    // The account is gone, and some versions of the index have no state of it then.
    index.head = 5_002;
    index.states_at.set(0);
    assert_eq!(index.scan_from(5_001, &LIMITS).unwrap().blocks.len(), 1);
    index.states_at.set(u64::MAX);
    index.head = 5_004;
    index.add(5_003, swept);
    index.add(5_003, paid(SHOP, 2, &comment("b")));
    index.add(5_004, paid(SHOP, 3, &comment("c")));
    assert_eq!(index.scan_from(5_002, &LIMITS).unwrap().transfers.len(), 3);
    // An account that did not end cannot begin anew.
    index.head = 5_005;
    let mut anew = paid(SHOP, 4, &comment("d"));
    anew["end_status"] = json!("active");
    index.add(5_005, anew);
    let last = index.txs.last_mut().unwrap();
    last.json["prev_trans_lt"] = json!("0");
    last.json["prev_trans_hash"] = json!(crate::base64::encode(&[0; 32]));
    lags(&index, 5_004);
}

#[test]
fn blocks_that_are_missing() {
    let without = |missing: u64| {
        let mut index = Index::new(5_006);
        index.add(5_005, paid(SHOP, 1, &comment("x")));
        index.twisted(move |path, answer| {
            if path == "/blocks" {
                answer["blocks"].as_array_mut().unwrap().retain(|block| block["seqno"] != missing);
            }
        })
    };
    lags(&without(5_000), CURSOR);
    lags(&without(5_001), CURSOR);
    // Blocks before the gap are sound.
    let result = without(5_004).scan().unwrap();
    assert_eq!((result.blocks.len(), result.head.height, result.transfers.len()), (3, 5_006, 0));
}
