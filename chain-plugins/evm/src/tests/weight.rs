//! Traces that are too much for the host, for the provider, or for anyone's patience.

use super::code::{Code, code};
use super::node::*;
use super::traces::{DIALECTS, run, sends, traced};
use super::txs::*;
use kassa_sdk::chain::{ScanError, ScanLimits};
use serde_json::json;

const LIMITS: ScanLimits =
    ScanLimits { blocks: 1_000, transfers: 10_000, known: None, next_is_head: false, more: Vec::new() };
const HEAVY: u128 = 1_000_000;

fn pays(wei: u128) -> Tx {
    run(vec![sends(OTHER, SHOP, wei)])
}

/// A transaction that pays and has an endless list of other calls.
fn heavy() -> Tx {
    let idle: Vec<Code> = vec![code("STATICCALL", OTHER, USDC, 0, vec![]); 400];
    run([&idle[..], &[sends(OTHER, SHOP, HEAVY)]].concat())
}

fn amounts(node: &Node) -> Vec<u128> {
    let found = brief(&node.scan().unwrap()).into_iter();
    let mut amounts: Vec<_> = found.map(|(.., amount)| amount.unwrap()).collect();
    amounts.sort_unstable();
    amounts
}

#[test]
fn a_block_that_is_too_much_is_read_in_pieces() {
    for dialect in DIALECTS {
        let node = traced(dialect, vec![(1..=60).map(pays).collect()]);
        // A block of them is larger than half of the budget, a piece is not.
        node.budget.set(40_000);
        assert_eq!(amounts(&node).len(), 60, "{dialect}");
        assert!(node.warnings.borrow().is_empty());
        let pieces = node.count("debug_traceTransaction") + node.count("trace_transaction");
        assert!(pieces >= 60, "{pieces}");
    }
}

/// A transaction whose trace nobody can take stops nothing.
#[test]
fn a_transaction_that_is_too_much_by_itself_is_passed_over_with_a_word() {
    for dialect in DIALECTS {
        let txs = (1..=9).map(pays).chain([heavy()]).chain((10..=20).map(pays)).collect();
        let node = traced(dialect, vec![txs, vec![pays(21)]]);
        node.budget.set(60_000);
        let mut found = amounts(&node);
        found.extend(
            brief(&node.scan_from(1, &LIMITS).unwrap()).into_iter().map(|(.., amount)| amount.unwrap()),
        );
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, (1..=21).collect::<Vec<_>>(), "{dialect}");
        let warnings = node.warnings.borrow();
        let named = crate::hex::text(&Node::tx_hash(1, 9));
        assert!(
            warnings.iter().all(|line| line.contains(&named) && line.contains("1 transactions")),
            "{warnings:?}"
        );
        assert_eq!(warnings.len(), 1);
    }
}

#[test]
fn the_budget_that_earlier_blocks_used_is_no_reason_to_pass_over() {
    let node = traced("debug", vec![vec![pays(1)], vec![heavy()], vec![pays(3)]]);
    // The cost of a step as a whole is not the point here; the second block's trace is too much.
    node.budget.set(60_000);
    let result = node.scan_from(0, &LIMITS).unwrap();
    assert_eq!((result.blocks.len(), result.transfers.len()), (1, 1));
    assert!(node.warnings.borrow().is_empty());
    assert_eq!(node.count("debug_traceTransaction"), 0);
    // It is the first block now.
    let result = node.scan_from(1, &LIMITS).unwrap();
    assert_eq!((result.blocks.len(), result.transfers.len()), (2, 1));
    assert_eq!(node.warnings.borrow().len(), 1);
}

/// A provider that refuses with this message, because a block's trace is too large or takes too long.
fn refusing(message: &'static str, txs: Vec<Tx>) -> Node {
    let node = Node { spacing: 60, ..traced("debug", vec![txs]) };
    let refused = [node.hash(1), Node::tx_hash(1, 1)].map(|hash| json!(crate::hex::text(&hash)));
    node.twisted(move |method, params, answer| {
        if method.starts_with("debug") && refused.contains(&params[0]) {
            *answer = json!({"id": answer["id"], "error": {"code": -32000, "message": message}});
        }
    })
}

#[test]
fn what_no_provider_can_trace_is_waited_for_and_then_passed_over() {
    for message in ["execution timeout", "response size exceeded", "words that nobody has heard yet"] {
        let mut node = refusing(message, vec![pays(1), pays(2), pays(3)]);
        // The time since which it waits has to be kept, which a scan that fails cannot do.
        let first = node.scan().unwrap();
        assert!(first.blocks.is_empty() && first.transfers.is_empty());
        assert_eq!(node.warnings.borrow_mut().drain(..).count(), 1);
        for _ in 0..3 {
            let outcome = node.scan();
            assert!(
                matches!(&outcome, Err(ScanError::Upstream(why)) if why.contains(message)),
                "{outcome:?}"
            );
        }
        // The chain goes on for ten minutes. This machine's clock does not matter.
        node.now_ms.set(u64::MAX / 2);
        node.blocks.extend(vec![vec![]; 9]);
        assert!(node.scan().is_err());
        node.blocks.push(vec![pays(4)]);
        assert_eq!(amounts(&node), [1, 3, 4]);
        let warnings = node.warnings.borrow_mut().drain(..).collect::<Vec<_>>();
        let named = crate::hex::text(&Node::tx_hash(1, 1));
        assert!(warnings.len() == 1 && warnings[0].contains(&named) && warnings[0].contains(message));
        // It has caught up, and the next block is waited for as long.
        let before = node.scan_from(1, &LIMITS).unwrap();
        assert_eq!((before.blocks.len(), before.transfers.len()), (10, 1));
        assert!(node.scan().unwrap().blocks.is_empty());
        assert!(node.scan().is_err());
    }
}

#[test]
fn a_provider_that_does_not_answer_at_all_is_another_ones_turn() {
    let node = traced("parity", vec![vec![pays(1)]]).twisted(|method, _, answer| {
        if method.starts_with("trace") {
            *answer = json!("gateway timeout");
        }
    });
    assert!(node.scan().unwrap().blocks.is_empty());
    for _ in 0..3 {
        assert!(matches!(node.scan(), Err(ScanError::Upstream(_))));
    }
    // A node without such a method says what to do, however long it lasts.
    for dialect in DIALECTS {
        let mut node = traced(dialect, vec![vec![pays(1)]]).twisted(|method, _, answer| {
            if method.contains("trace") {
                let error = json!({"code": -32601, "message": "the method does not exist/is not available"});
                *answer = json!({"id": answer["id"], "error": error});
            }
        });
        for _ in 0..2 {
            let outcome = node.scan();
            assert!(
                matches!(&outcome, Err(ScanError::Upstream(why)) if why.contains("`traces`")),
                "{outcome:?}"
            );
            node.blocks.extend(vec![vec![]; 20]);
        }
    }
}

#[test]
fn a_node_that_lacks_the_block_is_behind_however_long_and_one_that_forgot_is_not() {
    let answering = |message: &'static str| {
        let node = Node { spacing: 60, ..traced("debug", vec![vec![pays(1)]]) };
        node.twisted(move |method, _, answer| {
            if method.starts_with("debug") {
                *answer = json!({"id": answer["id"], "error": {"code": -32000, "message": message}});
            }
        })
    };
    let mut node = answering("block 0x12 not found");
    for _ in 0..3 {
        assert!(matches!(node.scan(), Err(ScanError::Upstream(why)) if why.contains("lags")));
        node.blocks.extend(vec![vec![]; 20]);
    }
    let mut node = answering("required historical state unavailable (reexec=128)");
    assert!(node.scan().unwrap().blocks.is_empty() && node.scan().is_err());
    node.blocks.extend(vec![vec![]; 20]);
    assert_eq!(node.scan().unwrap().blocks.len(), 21);
}

/// More heavy transactions than one call can ask for: they are waited for, and then skipped.
#[test]
fn pieces_are_bounded_in_number_and_in_time() {
    let many = || traced("debug", vec![vec![heavy(); 40]]);
    let node = many();
    node.budget.set(60_000);
    assert!(node.scan().unwrap().blocks.is_empty());
    assert!(node.count("debug_traceTransaction") <= 40 * 32 && node.http_calls.get() < 80);
    let node = many();
    node.budget.set(60_000);
    node.ms_a_look.set(16_000);
    assert!(node.scan().unwrap().blocks.is_empty());
    assert!(node.http_calls.get() < 10);
    let mut node = Node { spacing: 60, ..node };
    node.blocks.extend(vec![vec![]; 12]);
    assert_eq!(brief(&node.scan().unwrap()), []);
    assert!(node.warnings.borrow().last().unwrap().contains("40 transactions"));
}
