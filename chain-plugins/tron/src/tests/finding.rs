//! Finding a transaction, with honest and other nodes.

use super::node::*;
use crate::find::find;
use kassa_sdk::finder::{FindError, Place};
use serde_json::{Value, json};

const INFO: &str = "/wallet/gettransactioninfobyid";

/// A node whose block 2 holds a payment and a call that failed.
fn node() -> Node {
    let failed = Tx { ok: false, ..call(vec![]) };
    Node::new(vec![vec![], vec![pay(SHOP, 5), failed], vec![]])
}

fn find_in(node: &Node, tx: &str) -> Result<Vec<Place>, FindError> {
    find(node, &node.network(), tx)
}

fn twisted(twist: impl Fn(&mut Value) + 'static) -> Result<Vec<Place>, FindError> {
    let node = node().twisted(move |path, _, answer| {
        if path == INFO {
            twist(answer);
        }
    });
    let id = node.tx_id(2, 0);
    find_in(&node, &id)
}

#[test]
fn every_usual_writing_is_the_same_transaction() {
    let node = node();
    for index in [0, 1] {
        let id = node.tx_id(2, index);
        let upper = id.to_uppercase();
        for writing in [&id, &upper, &format!("0x{id}"), &format!("0X{upper}"), &format!(" {id}\n")] {
            let found = find_in(&node, writing);
            assert_eq!(found, Ok(vec![Place { height: 2, tx: id.clone(), more: Vec::new() }]), "{writing}");
        }
    }
}

#[test]
fn what_is_in_no_block() {
    assert_eq!(find_in(&node(), &"ab".repeat(32)), Ok(vec![]));
    assert_eq!(twisted(|info| *info = json!({})), Ok(vec![]));
}

#[test]
fn what_is_no_id_is_asked_of_nobody() {
    let node = node();
    let (address, id) = (crate::address::show(&SHOP), node.tx_id(2, 0));
    for wrong in ["", "0x", "hello", &address, &format!("{id}00"), &id[1..], &format!("0x0x{id}"), "\u{e9}"] {
        assert!(matches!(find_in(&node, wrong), Err(FindError::NotAnId(_))), "{wrong}");
    }
    assert!(matches!(find_in(&node, &"f".repeat(100_000)), Err(FindError::NotAnId(_))));
    assert_eq!(node.requests(), 0);
}

#[test]
fn an_info_is_not_believed_that_is_anothers_or_from_the_future() {
    let other = node().tx_id(2, 1);
    let found = twisted(move |info| info["id"] = json!(other));
    assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
    for height in [4, u64::MAX] {
        let found = twisted(move |info| info["blockNumber"] = json!(height));
        assert!(matches!(found, Err(FindError::Upstream(_))), "{found:?}");
    }
    for field in ["id", "blockNumber"] {
        let found = twisted(move |info| drop(info.as_object_mut().unwrap().remove(field)));
        assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
        for value in [json!(null), json!(-1), json!(1.5), json!("2"), json!([]), json!({})] {
            let found = twisted(move |info| info[field] = value.clone());
            assert!(matches!(found, Err(FindError::Malformed(_))), "{found:?}");
        }
    }
    for value in [json!([]), json!(null), json!(7), json!("text")] {
        assert!(twisted(move |info| *info = value.clone()).is_err());
    }
}

#[test]
fn another_chain_and_a_provider_that_has_enough() {
    let mut other = node();
    other.chain_id = "0xcd8690dc";
    let id = other.tx_id(2, 0);
    assert_eq!(find_in(&other, &id), Err(FindError::WrongNetwork("0x2b6653dc".into())));
    *other.raw.borrow_mut() = Some((429, Some("3"), vec![]));
    assert_eq!(find_in(&other, &id), Err(FindError::RateLimited(3_000)));
    *other.raw.borrow_mut() = Some((200, None, b"<html>".to_vec()));
    assert!(matches!(find_in(&other, &id), Err(FindError::Upstream(_))));
}
