//! Finding a transaction, with honest and other indexes.

use super::cells::comment;
use super::index::*;
use crate::address::hex;
use crate::base64;
use crate::find::find;
use kassa_sdk::chain::ScanLimits;
use kassa_sdk::finder::{FindError, Place};
use serde_json::{Value, json};

/// An index whose block 5,002 holds the payer's own transaction, what the shop received, and one that failed.
fn index() -> (Index, Vec<[u8; 32]>) {
    let mut index = Index::new(5_003);
    let sent = index.add(5_002, message(PAYER, OTHER, 0, &comment("")));
    let received = index.add(5_002, paid(SHOP, 7, &comment("x")));
    let mut failed = paid(SHOP, 8, &comment("x"));
    failed["description"]["bounce"] = json!({"type": "ok"});
    let failed = index.add(5_002, failed);
    (index, vec![sent, received, failed])
}

fn find_in(index: &Index, tx: &str) -> Result<Vec<Place>, FindError> {
    let before = index.stored.borrow().clone();
    let found = find(index, &index.network(), tx);
    assert_eq!(*index.stored.borrow(), before);
    found
}

fn locations(hashes: &[[u8; 32]]) -> Vec<Place> {
    hashes.iter().map(|hash| Place { height: 5_002, tx: hex(hash), more: Vec::new() }).collect()
}

/// Result of a search for the received transaction when the trace is changed.
fn twisted(twist: impl Fn(&mut Value, &str) + 'static) -> Result<Vec<Place>, FindError> {
    let (index, hashes) = index();
    let key = base64::encode(&hashes[1]);
    let index = index.twisted(move |path, answer| {
        if path == "/traces" && answer["traces"][0].is_object() {
            twist(answer, &key);
        }
    });
    find_in(&index, &hex(&hashes[1]))
}

#[test]
fn every_usual_writing_is_the_same_transaction() {
    let (index, hashes) = index();
    let (hash, upper) = (hex(&hashes[1]), hex(&hashes[1]).to_uppercase());
    let (standard, url_safe) = (base64::encode(&hashes[1]), base64::encode_url_safe(&hashes[1]));
    let expected = locations(&[hashes[1], hashes[0], hashes[2]]);
    for writing in [
        &hash,
        &upper,
        &format!("0x{hash}"),
        &format!(" {upper}\n"),
        &standard,
        &url_safe,
        &url_safe.trim_end_matches('=').to_owned(),
    ] {
        assert_eq!(find_in(&index, writing), Ok(expected.clone()), "{writing}");
    }
}

/// A payer's id is that of the payer's own transaction, or of the message that the wallet sent.
#[test]
fn what_a_payer_hands_in_leads_to_what_arrived() {
    let (index, hashes) = index();
    assert_eq!(find_in(&index, &hex(&hashes[0])), Ok(locations(&hashes)));
    assert_eq!(find_in(&index, &hex(&hash_of("msg 5002"))), Ok(locations(&hashes)));
    // Reading that block from the one before it reports just what reading on does.
    let from_before = |from| {
        let position = kassa_sdk::types::Position { height: from, hash: String::new() };
        let limits =
            ScanLimits { blocks: 1, transfers: 100, known: None, next_is_head: false, more: Vec::new() };
        crate::scan::scan(&index, &index.network(), Some(&position), &limits).unwrap()
    };
    let again = from_before(5_001);
    assert_eq!(again.blocks.iter().map(|block| block.height).collect::<Vec<_>>(), [5_002]);
    let on = index
        .scan_from(
            5_001,
            &ScanLimits { blocks: 10, transfers: 100, known: None, next_is_head: false, more: Vec::new() },
        )
        .unwrap();
    assert_eq!(again.transfers, on.transfers);
    assert_eq!(again.transfers[0].tx, hex(&hashes[1]));
    // Also when the host has read further.
    index
        .scan_from(
            5_002,
            &ScanLimits { blocks: 10, transfers: 100, known: None, next_is_head: false, more: Vec::new() },
        )
        .unwrap();
    assert_eq!(from_before(5_001).transfers, on.transfers);
}

#[test]
fn what_is_in_no_block() {
    let (index, _) = index();
    assert_eq!(find_in(&index, &"ab".repeat(32)), Ok(vec![]));
    for (field, value) in
        [("mc_block_seqno", json!(null)), ("finality", json!("pending")), ("emulated", json!(true))]
    {
        let found = twisted(move |answer, _| {
            let txs = answer["traces"][0]["transactions"].as_object_mut().unwrap();
            txs.values_mut().for_each(|tx| tx[field] = value.clone());
        });
        assert_eq!(found, Ok(vec![]), "{field}");
    }
    assert_eq!(twisted(|answer, _| answer["traces"] = json!(null)), Ok(vec![]));
}

#[test]
fn what_is_no_id_is_asked_of_nobody() {
    let (index, hashes) = index();
    let (address, hash) = (SHOP.show(false), hex(&hashes[0]));
    let raw = SHOP.raw();
    for wrong in ["", "0x", "hello", &address, &raw, &format!("{hash}00"), &hash[1..], "%3D", "\u{e9}"] {
        assert!(matches!(find_in(&index, wrong), Err(FindError::NotAnId(_))), "{wrong}");
    }
    assert!(matches!(find_in(&index, &"f".repeat(100_000)), Err(FindError::NotAnId(_))));
    assert!(index.requests.borrow().is_empty());
}

#[test]
fn a_trace_is_not_believed_that_is_anothers_or_from_the_future() {
    let without = twisted(|answer, key| {
        drop(answer["traces"][0]["transactions"].as_object_mut().unwrap().remove(key));
    });
    assert!(matches!(without, Err(FindError::Malformed(_))), "{without:?}");
    let several = twisted(|answer, _| {
        let trace = answer["traces"][0].clone();
        answer["traces"] = json!([trace, trace]);
    });
    assert!(matches!(several, Err(FindError::Malformed(_))), "{several:?}");
    let future =
        twisted(|answer, key| answer["traces"][0]["transactions"][key]["mc_block_seqno"] = json!(5_004));
    assert!(matches!(future, Err(FindError::Upstream(_))), "{future:?}");
    for field in ["hash", "lt", "mc_block_seqno"] {
        for value in
            [None, Some(json!(-1)), Some(json!(1.5)), Some(json!("x")), Some(json!([])), Some(json!({}))]
        {
            let found = twisted(move |answer, key| {
                let tx = answer["traces"][0]["transactions"][key].as_object_mut().unwrap();
                match &value {
                    Some(value) => drop(tx.insert(field.into(), value.clone())),
                    None => drop(tx.remove(field)),
                }
            });
            assert!(matches!(found, Err(FindError::Malformed(_))), "{field} {found:?}");
        }
    }
    for value in [json!(7), json!("x"), json!({}), json!([7]), json!([{}]), json!([{"transactions": []}])] {
        let found = twisted(move |answer, _| answer["traces"] = value.clone());
        assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
    }
}

#[test]
fn no_more_than_is_asked_for_is_named() {
    let mut index = Index::new(5_003);
    let hashes: Vec<_> = (0..100).map(|_| index.add(5_002, paid(SHOP, 7, &comment("x")))).collect();
    let found = find_in(&index, &hex(&hashes[99])).unwrap();
    assert_eq!(found.len(), 64);
    assert_eq!(found[..2], locations(&[hashes[99], hashes[0]]));
}

#[test]
fn another_chain_and_an_index_that_has_enough() {
    let (mut index, hashes) = index();
    index.global_id = -3;
    assert_eq!(find_in(&index, &hex(&hashes[0])), Err(FindError::WrongNetwork("-3".into())));
    *index.raw.borrow_mut() = Some((429, Some("3"), String::new()));
    assert_eq!(find_in(&index, &hex(&hashes[0])), Err(FindError::RateLimited(3_000)));
    *index.raw.borrow_mut() = Some((404, None, "<html>".into()));
    assert!(matches!(find_in(&index, &hex(&hashes[0])), Err(FindError::Upstream(_))));
}

#[test]
fn with_proofs_the_index_lies_elsewhere() {
    let mut index = Index::new(5_003);
    index.settings = PROOFS.into();
    let hash = index.add(5_002, paid(SHOP, 7, &comment("x")));
    assert_eq!(find_in(&index, &hex(&hash)), Ok(locations(&[hash])));
}
