//! Logs that look too few, and logs that are not served: the bloom filter and the receipts decide.

use super::limits::busy;
use super::node::*;
use super::txs::*;
use kassa_sdk::chain::{ScanError, ScanLimits};
use serde_json::{Value, json};

/// A node that lacks the blocks answers the range, and one that has them everything else.
fn lagging(also: &'static str) -> Node {
    busy(3).twisted(move |method, params, answer| {
        let by_range = method == "eth_getLogs" && params[0].get("fromBlock").is_some();
        let by_hash = method == "eth_getLogs" && params[0].get("blockHash").is_some();
        if by_range || (by_hash && also != "nothing") {
            answer["result"] = json!([]);
        }
        if method == "eth_getBlockReceipts" {
            match also {
                "short" => {
                    answer["result"].as_array_mut().unwrap().pop();
                }
                "unsupported" => {
                    *answer =
                        json!({"id": answer["id"], "error": {"code": -32601, "message": "no such method"}});
                }
                _ => {}
            }
        }
    })
}

#[test]
fn empty_logs_are_doubted_where_the_bloom_speaks_for_some() {
    let node = lagging("nothing");
    assert_eq!(node.scan().unwrap().transfers.len(), 3);
    assert_eq!(node.count("eth_getBlockReceipts"), 0);
    let node = lagging("hash");
    assert_eq!(node.scan().unwrap().transfers.len(), 3);
    assert_eq!(node.count("eth_getBlockReceipts"), 3);
    assert!(matches!(lagging("short").scan(), Err(ScanError::Upstream(_))));
    // Without the method the answer by hash stands: nothing contradicts it.
    assert!(lagging("unsupported").scan().unwrap().transfers.is_empty());
}

#[test]
fn blocks_without_a_sign_of_tokens_are_not_doubted() {
    let node = Node::new(vec![vec![pay(OTHER, 1)]; 8]);
    node.scan().unwrap();
    assert_eq!(node.count("eth_getLogs"), 1);
}

/// Answers like those of BSC's public nodes, of a node without the method, and of one that has it and refuses this
/// call.
#[test]
fn where_logs_are_not_served_receipts_are_read() {
    for (code, message, scans) in [
        (-32005, "limit exceeded", 2),
        (-32601, "the method does not exist", 1),
        (-32603, "internal error", 2),
    ] {
        let mut node = busy(30);
        node.range_max = Some((0, code, message));
        let limits =
            ScanLimits { blocks: 10, transfers: 100, known: None, next_is_head: false, more: Vec::new() };
        for begin in [0, 10] {
            let result = node.scan_from(begin, &limits).unwrap();
            assert_eq!((result.blocks.len(), result.transfers.len()), (10, 10), "{message}");
        }
        // It is noted, of this provider.
        assert!(node.notes.borrow().contains("refused=2"), "{message}: {}", node.notes.borrow());
        let (asked, receipts) = (node.count("eth_getLogs"), node.count("eth_getBlockReceipts"));
        assert_eq!(receipts, 20, "{message}");
        assert!(asked <= scans * 5, "{message}: {asked}");
        let result = node.scan_from(20, &limits).unwrap();
        assert_eq!((result.blocks.len(), result.transfers.len()), (10, 10));
        assert_eq!(node.count("eth_getLogs"), asked);
        // The next block alone, where it is expected.
        let finality = kassa_sdk::chain::Finality { safe: None, final_: 0 };
        let next = ScanLimits { known: Some(finality), next_is_head: true, ..limits };
        assert_eq!(node.scan_from(29, &next).unwrap().transfers.len(), 1);
        assert_eq!(node.count("eth_getLogs"), asked);
        // One call in vain after a while; once served again, logs are asked for again.
        for _ in 0..70 {
            node.scan_from(29, &next).unwrap();
        }
        assert_eq!(node.count("eth_getLogs"), asked + 1, "{message}");
        node.range_max = None;
        for _ in 0..70 {
            node.scan_from(29, &next).unwrap();
        }
        assert!(node.count("eth_getLogs") > asked + 5);
        assert_eq!(*node.notes.borrow(), "", "{message}");
    }
}

/// A block's receipts are complete or an error.
#[test]
fn receipts_instead_of_logs_have_to_be_whole() {
    type Change = fn(&mut Value);
    let cases: [Change; 4] = [
        |receipts| drop(receipts.as_array_mut().unwrap().pop()),
        |receipts| receipts[0]["blockHash"] = json!(crate::hex::text(&[7; 32])),
        |receipts| receipts[0]["logs"] = json!([]),
        |receipts| *receipts = Value::Null,
    ];
    for (index, change) in cases.into_iter().enumerate() {
        let mut node = busy(2).twisted(move |method, _, answer| {
            if method == "eth_getBlockReceipts" {
                change(&mut answer["result"]);
            }
        });
        node.range_max = Some((0, -32005, "limit exceeded"));
        let error = node.scan().unwrap_err();
        assert!(matches!(error, ScanError::Upstream(_) | ScanError::Malformed(_)), "{index}: {error:?}");
    }
}

#[test]
fn an_error_that_has_no_reason_is_asked_again_twice() {
    for (method, message, times, is_read) in [
        ("eth_chainId", "internal error", 2, true),
        ("eth_chainId", "internal error", 3, false),
        ("eth_getBlockByNumber", "limit exceeded", 2, true),
        ("eth_getTransactionReceipt", "internal error", 2, true),
        // These errors have a reason.
        ("eth_chainId", "method not found", 1, false),
    ] {
        let left = std::cell::Cell::new(times);
        let node = busy(3).twisted(move |asked, _, answer| {
            if asked == method && left.get() > 0 {
                left.set(left.get() - 1);
                *answer = json!({"id": answer["id"], "error": {"code": -32603, "message": message}});
            }
        });
        let read = node.scan();
        assert_eq!(read.is_ok(), is_read, "{method} {message} {times}: {read:?}");
        assert_eq!(*node.notes.borrow(), "", "nothing is learned of it");
    }
}
