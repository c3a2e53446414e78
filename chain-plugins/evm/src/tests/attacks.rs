//! Token movements that strangers make, and what is and is not a payment.

use super::node::*;
use super::txs::*;
use crate::wire::TRANSFER;
use kassa_sdk::chain::ScanError;

#[test]
fn three_equal_transfers_in_one_transaction() {
    let node = Node::new(vec![vec![call(vec![]), call(vec![moved(USDC, SHOP, 5); 3])]]);
    let expected = [(1, 1, 1, Some(5)), (1, 2, 1, Some(5)), (1, 3, 1, Some(5))];
    assert_eq!(brief(&node.scan().unwrap()), expected);
}

#[test]
fn a_look_alike_token_pays_nothing() {
    let node = Node::new(vec![vec![call(vec![moved(FAKE, SHOP, 1_000_000)])]]);
    assert!(node.scan().unwrap().transfers.is_empty());
    // Not even with a node that ignores the filter.
    let node = Node::new(vec![vec![call(vec![moved(FAKE, SHOP, 1), moved(USDC, SHOP, 2)])]]);
    let everything = serde_json::json!(node_logs(&node));
    let node = node.twisted(move |method, _, answer| {
        if method == "eth_getLogs" {
            answer["result"] = everything.clone();
        }
    });
    assert_eq!(brief(&node.scan().unwrap()), [(1, 2, 1, Some(2))]);
}

fn node_logs(node: &Node) -> Vec<serde_json::Value> {
    use crate::host::{Host, Post};
    let call = r#"{"id":0,"method":"eth_getTransactionReceipt","params":["TX"]}"#;
    let call = call.replace("TX", &crate::hex::text(&Node::tx_hash(1, 0)));
    let answer = node.post_all(vec![Post { body: call, calls: 1 }]).remove(0).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    answer["result"]["logs"].as_array().unwrap().clone()
}

#[test]
fn zero_value_is_reported_as_zero() {
    let node = Node::new(vec![vec![call(vec![moved(USDC, SHOP, 0)]), pay(SHOP, 0)]]);
    let mut all = brief(&node.scan().unwrap());
    all.sort_unstable();
    assert_eq!(all, [(1, 0, 0, Some(0)), (1, 1, 1, Some(0))]);
    // A call without value is no payment; one with value is.
    let node =
        Node::new(vec![vec![Tx { input: "0x1234", ..pay(SHOP, 0) }, Tx { input: "0x1234", ..pay(SHOP, 3) }]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 0, 0, Some(3))]);
}

#[test]
fn fee_on_transfer_counts_what_the_log_says() {
    // 100 were sent; the token keeps 3 and logs two movements.
    let node = Node::new(vec![vec![call(vec![moved(USDC, OTHER, 3), moved(USDC, SHOP, 97)])]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 2, 1, Some(97))]);
}

#[test]
fn a_reverted_transaction_pays_nothing() {
    let reverted = Tx { ok: false, ..pay(SHOP, 5) };
    let node = Node::new(vec![vec![reverted, Tx { ok: false, ..call(vec![moved(USDC, SHOP, 5)]) }]]);
    assert!(node.scan().unwrap().transfers.is_empty());
}

/// Logs as on Tempo, where the fee is a token transfer and is paid even so.
#[test]
fn the_logs_of_a_failed_transaction_are_no_payments_and_stop_nothing() {
    let chain = || {
        let failed = Tx { ok: false, ..call(vec![moved(USDC, SHOP, 5), moved(FAKE, SHOP, 5)]) };
        let both = vec![failed.clone(), call(vec![moved(USDC, SHOP, 7)]), failed.clone()];
        Node { failed_logs: true, ..Node::new(vec![both, vec![failed], vec![pay(SHOP, 9)]]) }
    };
    let node = chain();
    assert_eq!(brief(&node.scan().unwrap()), [(1, 1, 1, Some(7)), (3, 0, 0, Some(9))]);
    assert_eq!(node.count("eth_getBlockReceipts"), 2);
    // One answer alone is not believed: neither if the other contradicts it, nor if there is no other.
    for field in ["status", "transactionHash", "blockHash"] {
        let node = chain().twisted(move |method, params, answer| {
            if method == "eth_getBlockReceipts" && params[0] == "0x2" {
                let other = serde_json::json!(crate::hex::text(&[7; 32]));
                answer["result"][0][field] = if field == "status" { "0x1".into() } else { other };
            }
        });
        assert!(matches!(node.scan(), Err(ScanError::Upstream(_))), "{field}");
    }
    let node = chain().twisted(|method, _, answer| {
        if method == "eth_getBlockReceipts" {
            let error = serde_json::json!({"code": -32601, "message": "no such method"});
            *answer = serde_json::json!({"id": answer["id"], "error": error});
        }
    });
    assert!(matches!(node.scan(), Err(ScanError::Upstream(why)) if why.contains("eth_getBlockReceipts")));
}

#[test]
fn what_an_account_sends_to_itself_brings_nothing_in() {
    let from_itself = |amount| {
        let mut log = moved(USDC, SHOP, amount);
        log.topics[1] = topic(SHOP);
        log
    };
    let block = vec![
        call(vec![from_itself(5), from_itself(0), moved(USDC, SHOP, 7)]),
        pay(SHOP, 5),
        pay(SHOP, 0),
        pay(SHOP, 9),
    ];
    let chain = |mint: Option<&'static str>| {
        Node::new(vec![block.clone()]).twisted(move |method, params, answer| {
            if method == "eth_getBlockByNumber" && params[0] == "0x1" {
                for index in [1, 2] {
                    let tx = &mut answer["result"]["transactions"][index];
                    tx["from"] = tx["to"].clone();
                    tx["mint"] = serde_json::json!(mint);
                }
            }
        })
    };
    let sorted = |node: Node| {
        let mut all = brief(&node.scan().unwrap());
        all.sort_unstable();
        all
    };
    assert_eq!(sorted(chain(None)), [(1, 0, 0, Some(9)), (1, 3, 1, Some(7))]);
    assert_eq!(sorted(chain(Some("0x0"))), [(1, 0, 0, Some(9)), (1, 3, 1, Some(7))]);
    // From another layer to the same address on this one, so that it was not there before.
    let bridged = [(1, 0, 0, Some(4)), (1, 0, 0, Some(4)), (1, 0, 0, Some(9)), (1, 3, 1, Some(7))];
    assert_eq!(sorted(chain(Some("0x4"))), bridged);
    assert!(matches!(chain(Some("4")).scan(), Err(ScanError::Malformed(_))));
}

#[test]
fn other_events_of_the_same_signature_are_no_transfers() {
    let mut nft = moved(USDC, SHOP, 0);
    nft.topics.push(format!("0x{:064x}", 7));
    nft.data = "0x".into();
    let mut long = moved(USDC, SHOP, 1);
    long.data.push_str(&"0".repeat(64));
    let mut short = moved(USDC, SHOP, 1);
    short.topics.pop();
    let mut wide = moved(USDC, SHOP, 1);
    wide.topics[2] = format!("0x{}", "a".repeat(64));
    let mut approval = moved(USDC, SHOP, 1);
    approval.topics[0] = TRANSFER.replace("0xddf2", "0x8c5b");
    let node = Node::new(vec![vec![call(vec![nft, long, short, wide, approval, moved(USDC, SHOP, 4)])]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 6, 1, Some(4))]);
}

#[test]
fn a_mint_is_a_transfer_and_more_than_128_bits_has_no_amount() {
    let mut mint = moved(USDC, SHOP, 4);
    mint.topics[1] = topic([0; 20]);
    let mut huge = moved(USDC, SHOP, 4);
    huge.data = format!("0x{}", "f".repeat(64));
    let whale = Tx { value: format!("0x1{}", "0".repeat(32)), ..pay(SHOP, 0) };
    let node = Node::new(vec![vec![call(vec![mint, huge]), whale]]);
    let result = node.scan().unwrap();
    let mut all = brief(&result);
    all.sort_unstable();
    assert_eq!(all, [(1, 0, 0, None), (1, 1, 1, Some(4)), (1, 2, 1, None)]);
    let minted = result.transfers.iter().find(|transfer| transfer.ordinal == 1).unwrap();
    assert_eq!(minted.sender.as_deref(), Some("0x0000000000000000000000000000000000000000"));
}

#[test]
fn one_transaction_can_pay_in_both_ways() {
    let both = Tx { to: Some(SHOP), value: "0x5".into(), ..call(vec![moved(USDC, SHOP, 6)]) };
    let node = Node::new(vec![vec![both]]);
    assert_eq!(brief(&node.scan().unwrap()), [(1, 0, 0, Some(5)), (1, 1, 1, Some(6))]);
}
