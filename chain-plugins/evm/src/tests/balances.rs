//! Reading balances, with honest and other nodes.

use super::node::*;
use super::txs::*;
use crate::address::show;
use crate::balances::{needed, read};
use kassa_sdk::balances::{BalanceError, Point};
use kassa_sdk::types::Amount;
use serde_json::{Value, json};

/// A node whose blocks 2 and 4 hold payments, the latter also one that failed.
fn node() -> Node {
    let failed = Tx { ok: false, ..pay(SHOP, 6) };
    Node::new(vec![vec![], vec![pay(SHOP, 5)], vec![], vec![failed, pay(SHOP, 7), pay(OTHER, 1)]])
}

fn at(key: crate::hex::Key, height: u64) -> Point {
    Point { address: show(&key), height }
}

fn held(node: &Node, points: &[Point]) -> Result<Vec<u128>, BalanceError> {
    let held = read(node, &node.network(), points)?;
    Ok(held.iter().map(|amount: &Amount| u128::from(amount)).collect())
}

/// Result of reading a balance if this is the node's answer.
fn answered(value: Value) -> Result<Vec<u128>, BalanceError> {
    let node = node().twisted(move |method, _, answer| {
        if method == "eth_getBalance" {
            answer["result"] = value.clone();
        }
    });
    held(&node, &[at(SHOP, 2)])
}

#[test]
fn each_point_is_answered_in_its_place() {
    let node = node();
    let points = [at(SHOP, 4), at(OTHER, 3), at(SHOP, 1), at(OTHER, 4), at(SHOP, 3)];
    assert_eq!(held(&node, &points), Ok(vec![12, 0, 0, 1, 5]));
    assert_eq!(node.http_calls.get(), 1);
    assert!(node.stored.borrow().is_empty());
    assert_eq!(held(&node, &[]), Ok(vec![]));
    // As many as the host asks for, from a provider that takes few at once.
    let mut node = node;
    node.batch_max =
        Some((10, json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "batch"}})));
    let many: Vec<Point> = (0..200).map(|index| at(SHOP, index % 5)).collect();
    let expected: Vec<u128> = (0..200).map(|index| [0, 0, 5, 5, 12][index % 5]).collect();
    assert_eq!(held(&node, &many), Ok(expected));
}

#[test]
fn they_are_needed_for_native_coin_that_nobody_traces() {
    let with = |native: bool, settings: &str| {
        let mut node = node();
        (node.native, node.settings) = (native, settings.to_owned());
        needed(&node.network())
    };
    for settings in ["{}", "", r#"{"traces": "none"}"#] {
        assert_eq!(with(true, settings), Ok(true), "{settings}");
    }
    assert_eq!(with(false, "{}"), Ok(false));
    for settings in [r#"{"traces": "debug"}"#, r#"{"traces": "parity"}"#] {
        assert_eq!(with(true, settings), Ok(false), "{settings}");
    }
    assert!(matches!(with(true, r#"{"what": 1}"#), Err(BalanceError::Settings(_))));
}

#[test]
fn what_is_no_balance_is_none() {
    let largest = format!("0x{}", "f".repeat(32));
    assert_eq!(answered(json!(largest)), Ok(vec![u128::MAX]));
    for value in [
        json!(null),
        json!(5),
        json!(""),
        json!("0x"),
        json!("5"),
        json!("-0x5"),
        json!("0xg"),
        json!(format!("0x1{}", "0".repeat(32))),
        json!(format!("0x{}", "0".repeat(65))),
        json!(["0x5"]),
        json!({"balance": "0x5"}),
    ] {
        let found = answered(value.clone());
        assert!(matches!(found, Err(BalanceError::Malformed(_))), "{value}: {found:?}");
    }
}

#[test]
fn a_block_that_is_not_there_or_no_longer_is_not_answered() {
    let node = node();
    let ahead = held(&node, &[at(SHOP, 2), at(SHOP, 5)]);
    assert!(matches!(ahead, Err(BalanceError::Upstream(_))), "{ahead:?}");
    // A node that always answers with the state of its head.
    let node = node.twisted(|method, _, answer| {
        if method == "eth_getBalance" {
            *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "result": "0xc"});
        }
    });
    let ahead = held(&node, &[at(SHOP, 5)]);
    assert!(matches!(ahead, Err(BalanceError::Upstream(_))), "{ahead:?}");
    let node = node.twisted(|method, _, answer| {
        if method == "eth_getBalance" {
            let error = json!({"code": -32000, "message": "missing trie node 0x12 (path )"});
            *answer = json!({"jsonrpc": "2.0", "id": answer["id"], "error": error});
        }
    });
    let pruned = held(&node, &[at(SHOP, 2)]);
    assert!(
        matches!(&pruned, Err(BalanceError::Upstream(why)) if why.contains("missing trie node")),
        "{pruned:?}"
    );
}

#[test]
fn another_chain_no_address_and_a_provider_that_has_enough() {
    let node = node().twisted(|method, _, answer| {
        if method == "eth_chainId" {
            answer["result"] = json!("0x1");
        }
    });
    let ask = || held(&node, &[at(SHOP, 2)]);
    assert_eq!(ask(), Err(BalanceError::WrongNetwork("1".into())));
    *node.raw.borrow_mut() = Some((429, Some("3"), String::new()));
    assert_eq!(ask(), Err(BalanceError::RateLimited(3_000)));
    *node.raw.borrow_mut() = Some((500, None, "<html>".into()));
    assert!(matches!(ask(), Err(BalanceError::Upstream(_))));
    let calls = node.http_calls.get();
    let nobody = held(&node, &[Point { address: "0x\u{e9}".into(), height: 2 }]);
    assert!(matches!(nobody, Err(BalanceError::Malformed(_))), "{nobody:?}");
    assert_eq!(node.http_calls.get(), calls);
}
