//! Reading an honest node: everything is found, in few calls.

use super::node::*;
use super::txs::*;
use crate::hex;
use kassa_sdk::chain::{Finality, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Memo, Position};

#[test]
fn without_a_cursor_the_final_block_alone() {
    let node = Node::new(vec![vec![call(vec![moved(USDC, SHOP, 5)])]; 20]);
    let result = crate::scan::scan(&node, &node.network(), None, &WIDE).unwrap();
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
    let result = node.scan_from(3, &WIDE).unwrap();
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
    // The log's index in its transaction counts, not that in the block.
    assert_eq!(all, [(2, 0, 0, Some(1_000_000)), (2, 2, 2, Some(7)), (4, 1, 1, Some(u128::MAX))]);
    let transfer = result.transfers.iter().find(|transfer| transfer.asset == 2).unwrap();
    assert_eq!(transfer.tx, hex::text(&Node::tx_hash(2, 2)));
    assert_eq!(transfer.recipient, crate::address::show(&SHOP));
    assert_eq!(transfer.sender, Some(crate::address::show(&PAYER)));
    assert_eq!(transfer.memo, Memo::None);
    assert_eq!(result.blocks.iter().map(|block| block.height).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(result.blocks[1].parent, result.blocks[0].hash);
    // One request each for heads, blocks with logs, and receipts.
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
    let scan = |blocks, transfers| {
        node.scan_from(
            0,
            &ScanLimits { blocks, transfers, known: None, next_is_head: false, more: Vec::new() },
        )
        .unwrap()
    };
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
    let error = crate::scan::scan(&node, &network, None, &WIDE).unwrap_err();
    assert_eq!(error, ScanError::WrongNetwork("8453".into()));
    assert_eq!(node.scan_from(7, &WIDE).unwrap_err(), ScanError::Behind(3));
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
    let new = crate::scan::scan(&node, &node.network(), None, &WIDE);
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

const KNOWN: Finality = Finality { safe: Some(1), final_: 1 };

/// Scans as the host does at the head of a chain with regular blocks.
fn next(node: &Node, cursor: &Position) -> Result<ScanResult, ScanError> {
    let limits = ScanLimits { known: Some(KNOWN), next_is_head: true, ..WIDE };
    crate::scan::scan(node, &node.network(), Some(cursor), &limits)
}

fn at(node: &Node, height: u64) -> Position {
    Position { height, hash: hex::text(&node.hash(height)) }
}

#[test]
fn what_is_final_is_asked_when_it_is_wanted_and_said_again_when_it_is_not() {
    let node = Node::new(vec![vec![]; 30]);
    let limits = ScanLimits { known: Some(KNOWN), ..WIDE };
    let result = crate::scan::scan(&node, &node.network(), Some(&at(&node, 30)), &limits).unwrap();
    assert_eq!((result.safe, result.final_, result.head.height), (Some(1), 1, 30));
    assert_eq!(*node.sizes.borrow(), [1], "the head");
    let result = node.scan_from(30, &WIDE).unwrap();
    assert_eq!((result.safe, result.final_), (Some(25), 20));
    assert_eq!(node.count("eth_chainId"), 1);
    // With a depth the final block follows from the head's number.
    let node = Node { settings: r#"{"finality_depth":20}"#.into(), ..Node::new(vec![vec![]; 30]) };
    let result = crate::scan::scan(&node, &node.network(), Some(&at(&node, 30)), &limits).unwrap();
    assert_eq!(result.final_, 1);
}

#[test]
fn at_the_head_a_call_asks_for_the_next_block_itself() {
    let mut node = Node::new(vec![vec![]; 3]);
    let result = next(&node, &at(&node, 3)).unwrap();
    assert_eq!((result.blocks.len(), result.head, result.final_), (0, at(&node, 3), 1));
    assert_eq!(*node.sizes.borrow(), [1]);
    // The block exists, with a payment in it.
    let cursor = at(&node, 3);
    node.blocks.push(vec![call(vec![moved(USDC, SHOP, 7)])]);
    let result = next(&node, &cursor).unwrap();
    assert_eq!((brief(&result), result.head), (vec![(4, 1, 1, Some(7))], at(&node, 4)));
    assert_eq!(*node.sizes.borrow(), [1, 1, 1, 1], "the block, its logs, the receipt");
    // An empty block, which needs no further request.
    node.blocks.push(vec![]);
    node.sizes.borrow_mut().clear();
    assert_eq!(next(&node, &at(&node, 4)).unwrap().blocks.len(), 1);
    assert_eq!(*node.sizes.borrow(), [1, 1]);
    // Some nodes have an error for what does not exist.
    let node = Node::new(vec![vec![]; 3]).twisted(|_, _, answer| {
        *answer = serde_json::json!({"id": answer["id"], "error": {"code": -32000, "message": "header not found"}});
    });
    assert_eq!(next(&node, &at(&node, 3)).unwrap().blocks.len(), 0);
    let node = Node::new(vec![vec![]; 3]).twisted(|_, _, answer| {
        *answer = serde_json::json!({"id": answer["id"], "error": {"code": -32603, "message": "oops"}});
    });
    assert!(matches!(next(&node, &at(&node, 3)), Err(ScanError::Upstream(_))));
}

#[test]
fn a_block_on_another_one_is_reported_for_a_reorg_if_the_chain_is_the_same() {
    let node = Node::new(vec![vec![]; 4]);
    let old = Position { height: 3, hash: hex::text(&[7; 32]) };
    let result = next(&node, &old).unwrap();
    assert_eq!(result.blocks[0].parent, hex::text(&node.hash(3)));
    assert_eq!(node.count("eth_chainId"), 1);
    let foreign = || node_of("0x1");
    assert_eq!(next(&foreign(), &old).unwrap_err(), ScanError::WrongNetwork("1".into()));
    let scan = |cursor: &Position| crate::scan::scan(&foreign(), &foreign().network(), Some(cursor), &WIDE);
    assert_eq!(scan(&old).unwrap_err(), ScanError::WrongNetwork("1".into()));
    let above = Position { height: 9, ..old.clone() };
    assert_eq!(scan(&above).unwrap_err(), ScanError::WrongNetwork("1".into()));
    // The cursor's chain is not known.
    let unknown = Position { hash: String::new(), ..old };
    assert_eq!(scan(&unknown).unwrap_err(), ScanError::WrongNetwork("1".into()));
    assert_eq!(next(&foreign(), &unknown).unwrap_err(), ScanError::WrongNetwork("1".into()));
}

fn node_of(chain: &'static str) -> Node {
    Node::new(vec![vec![]; 4]).twisted(move |method, _, answer| {
        if method == "eth_chainId" {
            answer["result"] = chain.into();
        }
    })
}
