//! Finding a transaction, with honest and other nodes.

use super::node::*;
use super::txs::*;
use crate::find::find;
use crate::hex;
use kassa_sdk::finder::{FindError, Place};
use serde_json::{Value, json};

/// A node whose block 2 holds a payment and one that failed.
fn node() -> Node {
    let failed = Tx { ok: false, ..pay(SHOP, 6) };
    Node::new(vec![vec![], vec![pay(SHOP, 5), failed], vec![]])
}

fn id(index: usize) -> String {
    hex::text(&Node::tx_hash(2, index))
}

fn find_in(node: &Node, tx: &str) -> Result<Vec<Place>, FindError> {
    find(node, &node.network(), tx)
}

fn twisted(twist: impl Fn(&mut Value) + 'static) -> Result<Vec<Place>, FindError> {
    let node = node().twisted(move |method, _, answer| {
        if method == "eth_getTransactionReceipt" {
            twist(&mut answer["result"]);
        }
    });
    find_in(&node, &id(0))
}

#[test]
fn every_usual_writing_is_the_same_transaction() {
    let node = node();
    for index in [0, 1] {
        let id = id(index);
        let upper = id.to_uppercase();
        for writing in [&id, &upper, &id[2..], &upper[2..], &format!(" {id}\n")] {
            let found = find_in(&node, writing);
            assert_eq!(found, Ok(vec![Place { height: 2, tx: id.clone(), more: Vec::new() }]), "{writing}");
        }
    }
    // One HTTP request each.
    assert_eq!(node.http_calls.get(), 10);
    assert!(node.stored.borrow().is_empty());
}

#[test]
fn what_is_in_no_block() {
    let unknown = format!("0x{}", "ab".repeat(32));
    assert_eq!(find_in(&node(), &unknown), Ok(vec![]));
    assert_eq!(twisted(|receipt| receipt["blockNumber"] = Value::Null), Ok(vec![]));
}

#[test]
fn what_is_no_id_is_asked_of_nobody() {
    let node = node();
    let address = crate::address::show(&SHOP);
    let long = format!("{}00", id(0));
    for wrong in
        ["", "0x", "0x0x", "hello", &address, &long, &id(0)[..65], &id(0).replace('a', "g"), "0x\u{e9}"]
    {
        assert!(matches!(find_in(&node, wrong), Err(FindError::NotAnId(_))), "{wrong}");
    }
    assert!(matches!(find_in(&node, &"f".repeat(100_000)), Err(FindError::NotAnId(_))));
    assert_eq!(node.http_calls.get(), 0);
}

#[test]
fn a_receipt_is_not_believed_that_is_anothers_or_from_the_future() {
    let other = id(1);
    let found = twisted(move |receipt| receipt["transactionHash"] = json!(other));
    assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
    for height in ["0x4", "0xffffffffffffffff"] {
        let found = twisted(move |receipt| receipt["blockNumber"] = json!(height));
        assert!(matches!(found, Err(FindError::Upstream(_))), "{found:?}");
    }
    let missing = twisted(|receipt| drop(receipt.as_object_mut().unwrap().remove("blockNumber")));
    assert!(matches!(missing, Err(FindError::Malformed(_))), "{missing:?}");
    for value in
        [json!("2"), json!(2), json!(""), json!("0x"), json!(format!("0x1{}", "0".repeat(16))), json!([])]
    {
        let found = twisted(move |receipt| receipt["blockNumber"] = value.clone());
        assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
    }
    for value in [json!(7), json!([]), json!("0x"), json!({})] {
        let found = twisted(move |receipt| *receipt = value.clone());
        assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
    }
}

#[test]
fn another_chain_and_a_provider_that_has_enough() {
    let node = node().twisted(|method, _, answer| {
        if method == "eth_chainId" {
            answer["result"] = json!("0x1");
        }
    });
    assert_eq!(find_in(&node, &id(0)), Err(FindError::WrongNetwork("1".into())));
    *node.raw.borrow_mut() = Some((429, Some("3"), String::new()));
    assert_eq!(find_in(&node, &id(0)), Err(FindError::RateLimited(3_000)));
    *node.raw.borrow_mut() = Some((500, None, "<html>".into()));
    assert!(matches!(find_in(&node, &id(0)), Err(FindError::Upstream(_))));
}
