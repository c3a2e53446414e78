//! Transfers that strangers make, and what is and is not a payment.

use super::node::*;
use crate::moves::{INTERNAL, TRANSFER};
use serde_json::json;

#[test]
fn three_equal_transfers_in_one_transaction() {
    let node = Node::new(vec![vec![call(vec![]), call(vec![moved(USDT, SHOP, 5); 3])]]);
    let expected = [(1, 1, 1, Some(5)), (1, 2, 1, Some(5)), (1, 3, 1, Some(5))];
    assert_eq!(brief(&node.scan().unwrap()), expected);
}

#[test]
fn a_look_alike_token_pays_nothing() {
    let node = Node::new(vec![vec![call(vec![moved(FAKE, SHOP, 1_000_000), moved(USDT, SHOP, 2)])]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 2, 1, Some(2))]);
}

#[test]
fn trc_10_pays_nothing_whatever_its_name() {
    let trc_10 = Tx { kind: ("TransferAssetContract", 2), ..pay(SHOP, 7) };
    let internal = sent("call", SHOP, &json!([{}, {"callValue": 9, "tokenId": "1000001"}]));
    let node = Node::new(vec![vec![trc_10, Tx { internal: vec![internal], ..call(vec![]) }]]);
    assert!(node.scan().unwrap().transfers.is_empty());
}

#[test]
fn zero_value_is_reported_as_zero() {
    let node = Node::new(vec![vec![call(vec![moved(USDT, SHOP, 0)]), pay(SHOP, 0)]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 1, 1, Some(0)), (1, 0, 0, Some(0))]);
}

#[test]
fn fee_on_transfer_counts_what_the_log_says() {
    let node = Node::new(vec![vec![call(vec![moved(USDT, OTHER, 3), moved(USDT, SHOP, 97)])]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 2, 1, Some(97))]);
}

#[test]
fn a_failed_transaction_is_in_the_block_and_pays_nothing() {
    let internal = vec![sent("call", SHOP, &json!([{"callValue": 5}]))];
    let failed = |tx: Tx| Tx { ok: false, ..tx };
    let node = Node::new(vec![vec![
        failed(pay(SHOP, 5)),
        failed(Tx { to: SHOP, amount: 5, internal, ..call(vec![moved(USDT, SHOP, 5)]) }),
    ]]);
    assert!(node.scan().unwrap().transfers.is_empty());
}

#[test]
fn other_events_of_the_same_signature_are_no_transfers() {
    let mut nft = moved(USDT, SHOP, 0);
    nft["topics"].as_array_mut().unwrap().push(json!("7".repeat(64)));
    nft.as_object_mut().unwrap().remove("data");
    let mut long = moved(USDT, SHOP, 1);
    long["data"] = json!("0".repeat(128));
    let mut short = moved(USDT, SHOP, 1);
    short["topics"].as_array_mut().unwrap().pop();
    let mut wide = moved(USDT, SHOP, 1);
    wide["topics"][2] = json!("a".repeat(64));
    let mut approval = moved(USDT, SHOP, 1);
    approval["topics"][0] = json!(TRANSFER.replace("ddf2", "8c5b"));
    let bare = json!({"address": hex::encode(USDT)});
    let logs = vec![nft, long, short, wide, approval, bare, moved(USDT, SHOP, 4)];
    assert_eq!(brief(&Node::new(vec![vec![call(logs)]]).scan().unwrap()), [(1, 7, 1, Some(4))]);
}

#[test]
fn words_with_the_prefix_and_words_over_128_bits() {
    let mut prefixed = moved(USDT, SHOP, 4);
    prefixed["topics"][2] = json!(format!("{:0>64}", raw(SHOP)));
    let mut huge = moved(USDT, SHOP, 4);
    huge["data"] = json!("f".repeat(64));
    let node = Node::new(vec![vec![call(vec![prefixed, huge])]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 1, 1, Some(4)), (1, 2, 1, None)]);
}

#[test]
fn what_code_sends_on() {
    let value = |sun: u64| json!([{"callValue": sun}]);
    let rejected = {
        let mut internal = sent("call", SHOP, &value(1));
        internal["rejected"] = json!(true);
        internal
    };
    let to_itself = {
        let mut internal = sent("suicide", SHOP, &value(2));
        internal["caller_address"] = json!(raw(SHOP));
        internal
    };
    let internal = vec![
        rejected,
        to_itself,
        sent("call", SHOP, &json!([{}])),
        sent("call", SHOP, &value(3)),
        sent("delegateResourceOfEnergy", SHOP, &value(4)),
        sent("freezeForBandwidth", SHOP, &value(5)),
        sent("suicide", SHOP, &json!([{"callValue": 6}, {"callValue": 60, "tokenId": "1000001"}])),
        sent("call", OTHER, &value(7)),
        sent("create", SHOP, &value(8)),
        sent("withdrawExpireUnfreezeWhileSuiciding", SHOP, &value(9)),
    ];
    let node = Node::new(vec![vec![Tx { internal, ..call(vec![moved(USDT, SHOP, 1)]) }]]);
    let expected = [
        (1, 1, 1, Some(1)),
        (1, INTERNAL + 3, 0, Some(3)),
        (1, INTERNAL + 6, 0, Some(6)),
        (1, INTERNAL + 8, 0, Some(8)),
        (1, INTERNAL + 9, 0, Some(9)),
    ];
    assert_eq!(brief(&node.scan().unwrap()), expected);
}

#[test]
fn a_contract_that_is_watched_is_paid_by_calls() {
    let paid = Tx { to: SHOP, amount: 5, ..call(vec![moved(USDT, SHOP, 6)]) };
    let unpaid = Tx { to: SHOP, ..call(vec![]) };
    let node = Node::new(vec![vec![paid, unpaid]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 0, 0, Some(5)), (1, 1, 1, Some(6))]);
}

#[test]
fn a_transaction_that_is_included_again_keeps_its_ordinals() {
    let tx = Tx {
        internal: vec![sent("call", SHOP, &json!([{"callValue": 3}]))],
        ..call(vec![moved(USDT, SHOP, 1)])
    };
    let here = Node::new(vec![vec![tx.clone()]]).scan().unwrap();
    let there = Node::new(vec![vec![pay(OTHER, 1), call(vec![moved(USDT, SHOP, 9)]), tx]]).scan().unwrap();
    let ordinals = |result: &kassa_sdk::chain::ScanResult| {
        result.transfers.iter().rev().take(2).map(|transfer| transfer.ordinal).collect::<Vec<_>>()
    };
    assert_eq!(ordinals(&here), ordinals(&there));
}

#[test]
fn what_an_account_sends_to_itself_brings_nothing_in() {
    let from_itself = |mut log: serde_json::Value| {
        log["topics"][1] = log["topics"][2].clone();
        log
    };
    let node = Node::new(vec![vec![
        call(vec![
            from_itself(moved(USDT, SHOP, 5)),
            from_itself(moved(USDT, SHOP, 0)),
            moved(USDT, SHOP, 7),
        ]),
        // A watched contract that is called by its own owner's address; TRON refuses such a transfer of coin.
        Tx { to: SHOP, amount: 5, ..call(vec![]) },
        pay(SHOP, 5),
    ]])
    .twisted(|_, _, answer| {
        for tx in answer.get_mut("transactions").and_then(|txs| txs.as_array_mut()).into_iter().flatten() {
            let value = &mut tx["raw_data"]["contract"][0]["parameter"]["value"];
            if value["call_value"] == 5 || value["amount"] == 5 {
                value["owner_address"] = json!(raw(SHOP));
            }
        }
    });
    assert_eq!(brief(&node.scan().unwrap()), [(1, 3, 1, Some(7))]);
}
