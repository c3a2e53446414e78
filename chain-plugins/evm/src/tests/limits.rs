//! Providers with caps, and providers that lag.

use super::node::*;
use super::txs::*;
use kassa_sdk::chain::{ScanError, ScanLimits};
use serde_json::{Value, json};

pub(super) fn busy(blocks: usize) -> Node {
    Node::new(vec![vec![call(vec![moved(USDC, SHOP, 5)])]; blocks])
}

#[test]
fn ranges_are_halved_and_the_size_is_remembered() {
    for (max, code, message) in [
        (3, -32602, "range 8 exceeds limit of 3"),
        (1, -32005, "limit exceeded"),
        (5, -32602, "query exceeds max results 20000, retry with the range 1-8"),
        (2, -32000, "exceed maximum block range: 2"),
        (
            1,
            -32600,
            "Under the Free tier plan, you can make eth_getLogs requests with up to a 1 block range.",
        ),
        (4, -32999, "words that nobody has heard yet"),
    ] {
        let mut node = busy(40);
        node.range_max = Some((max, code, message));
        let result = node.scan().unwrap();
        assert_eq!((result.blocks.len(), result.transfers.len()), (40, 40), "{message}");
        let first = node.count("eth_getLogs");
        let refusals = |node: &Node| node.count("eth_getLogs") - first;
        // The next scan knows the limit.
        node.scan().unwrap();
        let pieces: usize = 5 * (8usize.div_ceil(learned(&node, "logs")));
        assert_eq!(refusals(&node), pieces, "{message}");
    }
}

fn learned(node: &Node, name: &str) -> usize {
    let notes = node.notes.borrow();
    let found = notes.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{notes}")).parse().unwrap()
}

#[test]
fn more_is_tried_after_a_while() {
    let mut node = busy(8);
    node.range_max = Some((2, -32005, "limit exceeded"));
    node.scan().unwrap();
    assert_eq!(learned(&node, "logs"), 2);
    node.range_max = None;
    for _ in 0..200 {
        node.scan().unwrap();
    }
    assert_eq!(*node.notes.borrow(), "", "nothing holds it back");
}

#[test]
fn a_range_of_one_block_that_fails_is_the_upstreams_failure() {
    let mut node = busy(4);
    node.range_max = Some((0, -32000, "internal error"));
    let node = node.twisted(|method, _, answer| {
        if method == "eth_getBlockReceipts" {
            *answer = json!({"id": answer["id"], "error": {"code": -32601, "message": "no such method"}});
        }
    });
    let error = node.scan().unwrap_err();
    assert!(matches!(&error, ScanError::Upstream(why) if why.contains("internal error")), "{error:?}");
    assert!(node.http_calls.get() < 10);
    assert_eq!(*node.notes.borrow(), "");
}

#[test]
fn batches_shrink_to_what_the_provider_takes() {
    let object =
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "batch too large"}});
    let list = json!([object]);
    for (max, refusal) in [(10, object.clone()), (3, list), (1, object.clone()), (0, object)] {
        let mut node = busy(40);
        node.batch_max = Some((max, refusal));
        let result = node.scan().unwrap();
        assert_eq!((result.blocks.len(), result.transfers.len()), (40, 40), "{max}");
        let (first, second) = (node.http_calls.get(), node.scan().map(|_| node.http_calls.get()).unwrap());
        assert!(second - first <= first, "{max}");
    }
}

#[test]
fn a_node_that_refuses_everything_is_left_soon() {
    let node = busy(40);
    let refusal = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32603,"message":"internal"}}"#;
    *node.raw.borrow_mut() = Some((200, None, refusal.into()));
    assert!(matches!(node.scan(), Err(ScanError::Upstream(_))));
    assert!(node.http_calls.get() < 8);
}

#[test]
fn rate_limits() {
    for (status, header, body, ms) in [
        (429, None, "slow down", 1_000),
        (429, Some("7"), "{}", 7_000),
        (429, Some("9999"), "", 60_000),
        (200, None, r#"{"id":1,"error":{"code":429,"message":"compute units per second"}}"#, 1_000),
        (200, None, r#"[{"id":1,"error":{"code":-32005,"message":"rate limited: rate limit"}}]"#, 1_000),
        (200, None, r#"{"error":"Too Many Requests"}"#, 1_000),
    ] {
        let node = busy(1);
        *node.raw.borrow_mut() = Some((status, header, body.into()));
        assert_eq!(node.scan().unwrap_err(), ScanError::RateLimited(ms), "{body}");
        assert!(node.http_calls.get() <= 4, "it is left alone soon");
        assert!(node.waits.borrow().iter().all(|told| *told == ms) && !node.waits.borrow().is_empty());
    }
}

#[test]
fn a_refusal_in_words_is_one_whatever_its_status() {
    for (status, body) in [
        (
            403,
            r#"{"error": "Exceed the user daily usage (100000), the maximum query frequency is 1 per second"}"#,
        ),
        (
            402,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"daily request count exceeded, request rate limited"}}"#,
        ),
        (200, "rate limit exceeded"),
        (503, "<html>Too Many Requests</html>"),
    ] {
        let node = busy(1);
        *node.raw.borrow_mut() = Some((status, None, body.into()));
        assert_eq!(node.scan().unwrap_err(), ScanError::RateLimited(1_000), "{body}");
    }
    for (status, body) in
        [(403, "<html>Forbidden</html>"), (401, "{}"), (404, ""), (200, "<html>Log in</html>")]
    {
        let node = busy(1);
        *node.raw.borrow_mut() = Some((status, None, body.into()));
        assert!(matches!(node.scan(), Err(ScanError::Upstream(_))), "{body}");
        assert!(node.waits.borrow().is_empty());
    }
}

#[test]
fn calls_of_a_batch_that_are_refused_are_asked_again_and_no_others() {
    let rate = json!({"code": 429, "message": "You've exceeded your calls per second"});
    let bytes = json!({"code": -32003, "message": "response too large"});
    for (refusal, is_rate) in [(rate, true), (bytes, false)] {
        for max in [1, 2, 5, 8] {
            let node = busy(40);
            *node.served_max.borrow_mut() = Some((max, refusal.clone()));
            let result = node.scan().unwrap();
            assert_eq!((result.blocks.len(), result.transfers.len()), (40, 40), "{max}");
            assert_eq!(node.waits.borrow().is_empty(), !is_rate, "{max}");
            // What was answered is not asked for again.
            let again: Vec<_> =
                node.served.borrow().clone().into_iter().filter(|(_, times)| *times > 1).collect();
            assert_eq!(again, [], "{max}");
            // The batches soon are as large as what is served, so that little is refused.
            let sent: usize = node.sizes.borrow().iter().sum();
            assert!(
                sent <= 2 * node.served.borrow().len(),
                "{max}: {sent} for {}",
                node.served.borrow().len()
            );
            let last = node.sizes.borrow().iter().rev().take(10).max().copied();
            assert!(last <= Some(max.max(9)), "{max}: {last:?}");
        }
    }
}

#[test]
fn no_request_has_more_calls_than_go_out_in_a_second() {
    for calls_per_s in [1, 3, 12] {
        let node = busy(40);
        node.calls_per_s.set(calls_per_s);
        let result = node.scan().unwrap();
        assert!(!result.blocks.is_empty());
        assert!(node.sizes.borrow().iter().all(|size| *size <= usize::try_from(calls_per_s).unwrap()));
        assert_eq!(*node.notes.borrow(), "", "that is the host's to know");
    }
}

#[test]
fn a_batch_that_is_refused_under_the_first_calls_id_is_halved() {
    let refusal =
        json!([{"jsonrpc": "2.0", "id": 0, "error": {"code": -32600, "message": "batch too large"}}]);
    let mut node = busy(40);
    node.batch_max = Some((4, refusal));
    assert_eq!(node.scan().unwrap().blocks.len(), 40);
    assert!(learned(&node, "batch") <= 4);
}

#[test]
fn one_call_that_is_too_large_does_not_make_batches_smaller() {
    let node = busy(8).twisted(|method, params, answer| {
        let is_wide = params[0]["toBlock"] != params[0]["fromBlock"];
        if method == "eth_getLogs" && params[0].get("toBlock").is_some() && is_wide {
            *answer =
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": 413, "message": "Payload Too Large"}});
        }
    });
    assert_eq!(node.scan().unwrap().transfers.len(), 8);
    assert_eq!((learned(&node, "logs"), learned(&node, "batch")), (1, 100));
    let first = node.http_calls.get();
    node.scan().unwrap();
    assert!(node.http_calls.get() - first <= 4, "it is not looked for again");
}

#[test]
fn what_is_noted_of_one_provider_is_not_anothers() {
    let mut node = busy(40);
    node.batch_max = Some((3, json!({"error": {"code": -32600, "message": "batch too large"}})));
    node.scan().unwrap();
    let of_the_first = node.notes.replace(String::new());
    node.batch_max = None;
    node.http_calls.set(0);
    node.scan().unwrap();
    assert!(node.http_calls.get() <= 12, "in large batches");
    // The other way round as well; and a malformed note counts as none.
    for notes in [of_the_first.as_str(), "batch=3", "batch=0 blocks=x logs", "\u{1F4A5}", "batch=99999999999"]
    {
        *node.notes.borrow_mut() = notes.into();
        assert_eq!(node.scan().unwrap().blocks.len(), 40, "{notes}");
    }
}

#[test]
fn a_step_that_is_refused_altogether_is_smaller_the_next_time() {
    let node = busy(40).twisted(|method, params, answer| {
        if method == "eth_getBlockByNumber" && params[0].as_str().unwrap().starts_with("0x") {
            *answer = json!({"id": answer["id"], "error": {"code": 429, "message": "slow down"}});
        }
    });
    assert_eq!(node.scan().unwrap_err(), ScanError::RateLimited(1_000));
    assert_eq!(learned(&node, "blocks"), 4);
}

#[test]
fn an_answer_over_the_hosts_budget_is_asked_for_in_smaller_steps() {
    let node = busy(20);
    node.budget.set(9_000);
    let result = node.scan().unwrap();
    assert!(!result.blocks.is_empty() && result.blocks.len() == result.transfers.len());
    assert!(learned(&node, "blocks") < 8);
}

#[test]
fn what_was_read_before_a_failure_is_kept() {
    let node = busy(20).twisted(|method, params, answer| {
        if method == "eth_getBlockByNumber" && params[0] == "0xa" {
            answer["result"] = Value::Null;
        }
    });
    let result = node.scan().unwrap();
    assert_eq!((result.blocks.len(), result.transfers.len()), (8, 8));
    let error = node
        .scan_from(
            8,
            &ScanLimits { blocks: 100, transfers: 100, known: None, next_is_head: false, more: Vec::new() },
        )
        .unwrap_err();
    assert!(matches!(error, ScanError::Upstream(_)), "{error:?}");
}

#[test]
fn answers_that_do_not_fit_together_are_not_used() {
    let other_hash = json!(crate::hex::text(&[7; 32]));
    type Change = fn(&mut Value, &Value);
    let cases: [(&str, Change); 6] = [
        ("eth_getLogs", |result, hash| result[0]["blockHash"] = hash.clone()),
        ("eth_getLogs", |result, _| result[0]["removed"] = json!(true)),
        ("eth_getTransactionReceipt", |result, hash| result["blockHash"] = hash.clone()),
        ("eth_getTransactionReceipt", |result, _| *result = Value::Null),
        ("eth_getTransactionReceipt", |result, _| result["status"] = json!("0x0")),
        ("eth_getTransactionReceipt", |result, _| result["logs"] = json!([])),
    ];
    for (name, change) in cases {
        let hash = other_hash.clone();
        let node = busy(2).twisted(move |method, _, answer| {
            if method == name {
                change(&mut answer["result"], &hash);
            }
        });
        let error = node.scan().unwrap_err();
        assert!(matches!(error, ScanError::Upstream(_)), "{name}: {error:?}");
    }
}

#[test]
fn a_chain_that_moves_while_it_is_read() {
    let node = busy(3).twisted(|method, params, answer| {
        if method == "eth_getBlockByNumber" && params[0] == "0x2" {
            answer["result"]["hash"] = json!(crate::hex::text(&[7; 32]));
        }
    });
    assert!(matches!(node.scan(), Err(ScanError::Upstream(_))));
}
