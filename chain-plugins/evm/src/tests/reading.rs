//! What an honest node says is read completely, in few calls.

use super::node::*;
use crate::hex;
use kassa_sdk::chain::{ScanError, ScanLimits};
use kassa_sdk::types::Memo;

const WIDE: ScanLimits = ScanLimits { blocks: 1_000, transfers: 10_000 };

#[test]
fn without_a_cursor_the_final_block_alone() {
    let node = Node::new(vec![vec![call(vec![moved(USDC, SHOP, 5)])]; 20]);
    let result = crate::scan::scan(&node, &node.network(), None, WIDE).unwrap();
    assert_eq!(result.blocks.len(), 1);
    assert_eq!((result.blocks[0].height, result.head.height), (10, 20));
    assert_eq!(result.blocks[0].hash, hex::text(&node.hash(10)));
    assert_eq!(result.blocks[0].time_ms, 1_700_000_020_000);
    assert_eq!((result.safe, result.final_), (Some(15), 10));
    assert!(result.transfers.is_empty());
    assert_eq!(node.http_calls.get(), 2);
}

#[test]
fn an_idle_scan_is_one_request() {
    let node = Node::new(vec![vec![]; 3]);
    let result = node.scan_from(3, WIDE).unwrap();
    assert!(result.blocks.is_empty() && result.transfers.is_empty());
    assert_eq!(node.http_calls.get(), 1);
    assert!(node.stored.borrow().is_empty());
}

#[test]
fn native_and_token_payments_with_their_ordinals() {
    let mut blocks = vec![vec![]; 4];
    blocks[1] =
        vec![pay(OTHER, 9), pay(SHOP, 1_000_000), call(vec![moved(USDC, OTHER, 1), moved(USDT, SHOP, 7)])];
    blocks[3] = vec![Tx { to: None, ..pay(SHOP, 1) }, call(vec![moved(USDC, SHOP, u128::MAX)])];
    let node = Node::new(blocks);
    let result = node.scan().unwrap();
    let mut all = brief(&result);
    all.sort_unstable();
    // The log's place in its transaction is what counts, not that in the block.
    assert_eq!(all, [(2, 0, 0, Some(1_000_000)), (2, 2, 2, Some(7)), (4, 1, 1, Some(u128::MAX))]);
    let transfer = result.transfers.iter().find(|transfer| transfer.asset == 2).unwrap();
    assert_eq!(transfer.tx, hex::text(&Node::tx_hash(2, 2)));
    assert_eq!(transfer.recipient, crate::address::show(&SHOP));
    assert_eq!(transfer.sender, Some(crate::address::show(&PAYER)));
    assert_eq!(transfer.memo, Memo::None);
    assert_eq!(result.blocks.iter().map(|block| block.height).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(result.blocks[1].parent, result.blocks[0].hash);
    // Heads, blocks with logs, receipts.
    assert_eq!(node.http_calls.get(), 3);
}

#[test]
fn catching_up_costs_far_less_than_a_request_a_block() {
    let node = Node::new(vec![vec![call(vec![moved(USDC, OTHER, 5)])]; 200]);
    assert_eq!(node.scan().unwrap().blocks.len(), 200);
    assert_eq!(node.http_calls.get(), 1 + 200 / 8);
    let node = Node { native: false, ..Node::new(vec![vec![call(vec![moved(USDC, OTHER, 5)])]; 200]) };
    assert_eq!(node.scan().unwrap().blocks.len(), 200);
    assert_eq!(node.http_calls.get(), 1 + 200 / 25);
}

#[test]
fn limits_cut_between_blocks() {
    let two = || vec![call(vec![moved(USDC, SHOP, 1), moved(USDC, SHOP, 2)])];
    let node = Node::new(vec![two(), two(), vec![], two(), two()]);
    let scan = |blocks, transfers| node.scan_from(0, ScanLimits { blocks, transfers }).unwrap();
    let sizes = |blocks, transfers| {
        let result = scan(blocks, transfers);
        (result.blocks.len(), result.transfers.len())
    };
    assert_eq!(sizes(2, 100), (2, 4));
    assert_eq!(sizes(100, 5), (3, 4));
    assert_eq!(sizes(100, 4), (3, 4));
    // A single block that holds more than the limit is still read.
    assert_eq!(sizes(100, 1), (1, 2));
    assert_eq!(sizes(0, 0), (1, 2));
}

#[test]
fn another_chain_and_a_node_that_is_behind() {
    let node = Node::new(vec![vec![]; 3]);
    let mut network = node.network();
    network.chain_id = "1".into();
    let error = crate::scan::scan(&node, &network, None, WIDE).unwrap_err();
    assert_eq!(error, ScanError::WrongNetwork("8453".into()));
    assert_eq!(node.scan_from(7, WIDE).unwrap_err(), ScanError::Behind(3));
}

#[test]
fn finality_without_the_tag() {
    let unknown = |_: &str, params: &serde_json::Value, answer: &mut serde_json::Value| {
        if params[0] == "safe" || params[0] == "finalized" {
            *answer =
                serde_json::json!({"id": answer["id"], "error": {"code": -32602, "message": "invalid"}});
        }
    };
    let node = Node::new(vec![vec![]; 30]).twisted(unknown);
    let result = node.scan().unwrap();
    assert_eq!((result.safe, result.final_), (None, 0));
    // A new network would have to start at the genesis block.
    let new = crate::scan::scan(&node, &node.network(), None, WIDE);
    assert!(matches!(new, Err(ScanError::Settings(_))));
    let node = Node { settings: r#"{"finality_depth":20}"#.into(), ..node };
    assert_eq!(node.scan().unwrap().final_, 10);
    let node = Node { settings: r#"{"finality_dept":20}"#.into(), ..node };
    assert!(matches!(node.scan(), Err(ScanError::Settings(_))));
}

#[test]
fn a_failing_finalized_is_not_an_unknown_one() {
    let node = Node::new(vec![vec![]; 30]).twisted(|_, params, answer| {
        if params[0] == "finalized" {
            *answer = serde_json::json!({"id": answer["id"], "error": {"code": -32603, "message": "oops"}});
        }
    });
    let node = Node { settings: r#"{"finality_depth":1}"#.into(), ..node };
    assert!(matches!(node.scan(), Err(ScanError::Upstream(_))));
}
