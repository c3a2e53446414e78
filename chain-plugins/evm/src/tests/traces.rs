//! Native coin that contracts send, in both dialects.

use super::code::{Code, code, failed};
use super::node::*;
use super::txs::*;
use crate::hex::{self, Key};
use crate::settings::Dialect;
use crate::traces::INTERNAL;
use kassa_sdk::chain::{ScanError, ScanResult};
use serde_json::{Value, json};

/// The entry point of smart accounts, which carries out what many of them have signed.
const ENTRY: Key = [0xe0; 20];
const ACCOUNT: Key = [0xe1; 20];
const SINGLETON: Key = [0xe2; 20];

pub(super) const DIALECTS: [&str; 2] = ["debug", "parity"];

pub(super) fn traced(dialect: &str, blocks: Vec<Vec<Tx>>) -> Node {
    Node { settings: format!(r#"{{"traces":"{dialect}"}}"#), ..Node::new(blocks) }
}

/// A transaction to a contract that itself pays nobody.
pub(super) fn run(inside: Vec<Code>) -> Tx {
    Tx { to: Some(ENTRY), inside, ..call(vec![]) }
}

pub(super) fn sends(from: Key, to: Key, wei: u128) -> Code {
    code("CALL", from, to, wei, vec![])
}

/// Result of a scan, which has to be exactly the same in both dialects.
fn both(blocks: &[Vec<Tx>]) -> ScanResult {
    let [debug, parity] = DIALECTS.map(|dialect| traced(dialect, blocks.to_vec()).scan().unwrap());
    assert_eq!(debug, parity);
    debug
}

/// Ordinal counted from [`INTERNAL`], amount, and the sender.
fn internal(txs: Vec<Tx>) -> Vec<(u32, u128, Key)> {
    let sender = |text: Option<String>| hex::bytes(&text.unwrap()).unwrap();
    let found = both(&[txs]).transfers.into_iter().map(|found| {
        assert_eq!((found.asset, found.recipient), (0, crate::address::show(&SHOP)));
        (found.ordinal.wrapping_sub(INTERNAL), found.amount.unwrap().into(), sender(found.sender))
    });
    found.collect()
}

#[test]
fn smart_accounts_that_one_bundle_pays_for() {
    let operation = |to, wei| {
        let execute = code("CALL", ENTRY, ACCOUNT, 0, vec![sends(ACCOUNT, to, wei)]);
        code("CALL", ENTRY, ENTRY, 0, vec![code("DELEGATECALL", ACCOUNT, SINGLETON, 0, vec![execute])])
    };
    let check = code("CALL", ENTRY, ACCOUNT, 0, vec![sends(ACCOUNT, ENTRY, 3)]);
    let gas = sends(ENTRY, PAYER, 2);
    let bundle = run(vec![check, operation(SHOP, 5), operation(OTHER, 6), operation(SHOP, 5), gas]);
    assert_eq!(internal(vec![bundle]), [(1, 5, ACCOUNT), (3, 5, ACCOUNT)]);
}

#[test]
fn a_safe_that_pays_out() {
    // The proxy runs the singleton's code as its own: the value that comes with that moves nothing.
    let inside = vec![
        code("STATICCALL", ACCOUNT, SINGLETON, 0, vec![]),
        code("CALL", ACCOUNT, SHOP, 7, vec![code("DELEGATECALL", SHOP, SINGLETON, 7, vec![])]),
    ];
    let safe = run(vec![code("DELEGATECALL", ACCOUNT, SINGLETON, 9, inside)]);
    assert_eq!(internal(vec![safe]), [(0, 7, ACCOUNT)]);
}

#[test]
fn what_was_undone_did_not_happen() {
    let pays = |wei| sends(ACCOUNT, SHOP, wei);
    let caught =
        failed(code("CALL", ENTRY, ACCOUNT, 0, vec![pays(1), code("CALL", ENTRY, OTHER, 4, vec![pays(2)])]));
    let refused = failed(pays(3));
    let unmade = failed(code("CREATE", ENTRY, OTHER, 6, vec![pays(4)]));
    let tx = run(vec![caught, refused, pays(5), unmade, pays(6)]);
    // Nor do they take an ordinal.
    assert_eq!(internal(vec![tx.clone()]), [(0, 5, ACCOUNT), (1, 6, ACCOUNT)]);
    assert_eq!(internal(vec![Tx { ok: false, ..tx }]), []);
}

#[test]
fn contracts_that_are_made_and_that_end() {
    let ends = |to, wei| code("SELFDESTRUCT", ACCOUNT, to, wei, vec![]);
    let tx = run(vec![
        code("CALL", ENTRY, ACCOUNT, 0, vec![sends(ACCOUNT, SHOP, 1), ends(SHOP, 2)]),
        code("CALL", ENTRY, ACCOUNT, 0, vec![ends(SHOP, 0)]),
        code("CALL", ENTRY, SHOP, 0, vec![code("SELFDESTRUCT", SHOP, SHOP, 9, vec![])]),
        code("CREATE", ENTRY, SHOP, 3, vec![ends(SHOP, 4)]),
        code("CREATE2", ENTRY, SHOP, 5, vec![]),
        failed(code("CALL", ENTRY, ACCOUNT, 0, vec![ends(SHOP, 6)])),
    ]);
    let expected = [(0, 1, ACCOUNT), (1, 2, ACCOUNT), (2, 3, ENTRY), (3, 4, ACCOUNT), (4, 5, ENTRY)];
    assert_eq!(internal(vec![tx]), expected);
    // By the transaction itself, whose recipient the block does not give.
    let made = Tx { to: None, inside: vec![ends(SHOP, 2)], ..pay(SHOP, 7) };
    assert_eq!(internal(vec![made.clone()]), [(0, 7, PAYER), (1, 2, ACCOUNT)]);
    assert_eq!(internal(vec![Tx { ok: false, ..made }]), []);
}

#[test]
fn code_of_others_moves_nothing() {
    let kinds = ["DELEGATECALL", "STATICCALL", "CALLCODE"];
    let inside = kinds.map(|kind| code(kind, ACCOUNT, SHOP, 5, vec![]));
    let nothing = [sends(ACCOUNT, SHOP, 0), sends(SHOP, SHOP, 9), sends(SHOP, OTHER, 8)];
    let tx = run([&inside[..], &nothing, &[sends(ACCOUNT, SHOP, 1)]].concat());
    assert_eq!(internal(vec![tx]), [(1, 1, ACCOUNT)]);
}

#[test]
fn the_transactions_own_value_counts_once() {
    let sweeps = Tx { inside: vec![sends(SHOP, OTHER, 5), sends(OTHER, SHOP, 2)], ..pay(SHOP, 5) };
    let both_ways = Tx {
        logs: vec![moved(USDC, SHOP, 6)],
        inside: vec![sends(ACCOUNT, SHOP, 7), sends(ACCOUNT, SHOP, 7)],
        ..call(vec![])
    };
    let mut all = brief(&both(&[vec![sweeps], vec![both_ways]]));
    all.sort_unstable();
    let expected = [
        (1, 0, 0, Some(5)),
        (1, INTERNAL + 1, 0, Some(2)),
        (2, 1, 1, Some(6)),
        (2, INTERNAL, 0, Some(7)),
        (2, INTERNAL + 1, 0, Some(7)),
    ];
    assert_eq!(all, expected);
}

#[test]
fn a_transaction_that_is_included_again_keeps_its_ordinals() {
    let tx = run(vec![sends(ACCOUNT, OTHER, 1), sends(ACCOUNT, SHOP, 3)]);
    let ordinal = |blocks: &[Vec<Tx>]| {
        let found = brief(&both(blocks)).into_iter().find(|(.., amount)| *amount == Some(3));
        found.map(|(_, ordinal, ..)| ordinal)
    };
    let here = ordinal(&[vec![tx.clone()]]);
    assert_eq!(here, Some(INTERNAL + 1));
    assert_eq!(ordinal(&[vec![pay(OTHER, 1)], vec![run(vec![sends(ACCOUNT, SHOP, 9)]), tx]]), here);
}

#[test]
fn it_is_asked_only_where_it_is_wanted() {
    let block = vec![run(vec![sends(ACCOUNT, SHOP, 5)])];
    for dialect in ["debug", "parity", "none"] {
        let settings = format!(r#"{{"traces":"{dialect}"}}"#);
        let node = Node { settings, native: false, ..Node::new(vec![block.clone()]) };
        assert_eq!(brief(&node.scan().unwrap()), []);
        assert_eq!(node.http_calls.get(), 2, "{dialect}: heads, and the block with its logs");
    }
    let node = Node::new(vec![block.clone()]);
    assert_eq!((brief(&node.scan().unwrap()), node.http_calls.get()), (vec![], 2));
    // Two more for each block that has transactions.
    for dialect in DIALECTS {
        let node = traced(dialect, vec![vec![], block.clone(), vec![], block.clone()]);
        assert_eq!(node.scan().unwrap().transfers.len(), 2);
        assert_eq!(node.http_calls.get(), 2 + 2 * 2 + 1, "{dialect}");
        assert_eq!(node.count("debug_traceBlockByHash") + node.count("trace_block"), 2);
    }
    let wrong = Node { settings: r#"{"traces":"geth"}"#.into(), ..Node::new(vec![]) };
    assert!(matches!(wrong.scan(), Err(ScanError::Settings(why)) if why.contains("parity")));
    assert_eq!(
        crate::settings::Settings::parse(r#"{"traces":"debug"}"#, true).unwrap().traces,
        Some(Dialect::Debug)
    );
}

/// Answers that contradict the block or themselves.
#[test]
fn traces_that_do_not_fit() {
    let block = || vec![run(vec![sends(ACCOUNT, SHOP, 5)]), pay(SHOP, 7), run(vec![sends(ACCOUNT, SHOP, 6)])];
    type Change = fn(&mut Vec<Value>);
    let debug: [(&str, Change); 9] = [
        ("a transaction too few", |list| drop(list.pop())),
        ("none", Vec::clear),
        ("one too many", |list| list.push(list[0].clone())),
        ("others than the block's", |list| list.swap(0, 2)),
        ("of another block", |list| list[1]["txHash"] = json!(hex::text(&[7; 32]))),
        ("without its hash", |list| drop(list[1].as_object_mut().unwrap().remove("txHash"))),
        ("without result", |list| list[1]["result"] = Value::Null),
        ("a call of an unknown kind", |list| list[0]["result"]["calls"][0]["type"] = json!("PAYCALL")),
        ("a call that is none", |list| list[0]["result"]["calls"][0] = json!([7])),
    ];
    let parity: [(&str, Change); 9] = [
        ("a transaction too few", |list| list.retain(|trace| trace["transactionPosition"] != 1)),
        ("the last one", |list| list.retain(|trace| trace["transactionPosition"] != 2)),
        ("one too many", |list| list.push(list[0].clone())),
        ("others than the block's", |list| list.swap(0, 2)),
        ("of another transaction", |list| list[2]["transactionHash"] = json!(hex::text(&[7; 32]))),
        ("of none", |list| list[1]["transactionHash"] = Value::Null),
        ("without its root", |list| drop(list.remove(0))),
        ("twice", |list| list.insert(1, list[1].clone())),
        ("a call of an unknown kind", |list| list[1]["action"]["callType"] = json!("paycall")),
    ];
    for (dialect, method, changes) in
        [("debug", "debug_traceBlockByHash", debug), ("parity", "trace_block", parity)]
    {
        assert_eq!(traced(dialect, vec![block()]).scan().unwrap().transfers.len(), 3);
        for (what, change) in changes {
            let node = traced(dialect, vec![block()]).twisted(move |asked, _, answer| {
                if asked == method {
                    change(answer["result"].as_array_mut().unwrap());
                }
            });
            assert!(matches!(node.scan(), Err(ScanError::Malformed(_))), "{dialect}: {what}");
        }
    }
    // Of another block at this height: the chain moved, or the node is behind.
    for answer in [json!([]), Value::Null, json!([{"blockHash": hex::text(&[7; 32])}])] {
        let node = traced("parity", vec![block()]).twisted(move |asked, _, whole| {
            match (asked == "trace_block", &answer[0]["blockHash"]) {
                (true, Value::Null) => whole["result"] = answer.clone(),
                (true, hash) => whole["result"][0]["blockHash"] = hash.clone(),
                _ => {}
            }
        });
        assert!(matches!(node.scan(), Err(ScanError::Upstream(_))));
    }
    // Traces of a transaction that failed, according to its receipt.
    for dialect in DIALECTS {
        let node = traced(dialect, vec![block()]).twisted(|method, _, answer| {
            if method == "eth_getTransactionReceipt" {
                answer["result"]["status"] = json!("0x0");
            }
        });
        assert!(matches!(node.scan(), Err(ScanError::Upstream(_))), "{dialect}");
    }
}

/// A call that moves something has to name its parts.
#[test]
fn what_decides_about_money_has_to_be_said() {
    let ends = code("SELFDESTRUCT", ACCOUNT, SHOP, 6, vec![]);
    let block =
        || vec![run(vec![sends(ACCOUNT, SHOP, 5), ends.clone(), code("CREATE", ENTRY, SHOP, 7, vec![])])];
    let nonsense =
        [None, Some(json!(null)), Some(json!(7)), Some(json!("")), Some(json!("0x")), Some(json!([]))];
    let fields = [
        ("debug", "/result/0/result/calls/0/type"),
        ("debug", "/result/0/result/calls/0/from"),
        ("debug", "/result/0/result/calls/0/to"),
        ("debug", "/result/0/result/calls/0/value"),
        ("debug", "/result/0/result/calls/1/value"),
        ("debug", "/result/0/result/calls/1/to"),
        ("debug", "/result/0/result/calls/2/to"),
        ("debug", "/result/0/result/type"),
        ("debug", "/result/0/txHash"),
        ("parity", "/result/0/traceAddress"),
        ("parity", "/result/1/type"),
        ("parity", "/result/1/traceAddress"),
        ("parity", "/result/1/action/refundAddress"),
        ("parity", "/result/1/action/balance"),
        ("parity", "/result/1/blockHash"),
        ("parity", "/result/2/action/callType"),
        ("parity", "/result/2/action/from"),
        ("parity", "/result/2/action/to"),
        ("parity", "/result/2/action/value"),
        ("parity", "/result/3/result"),
        ("parity", "/result/3/result/address"),
        ("parity", "/result/3/action/value"),
    ];
    for (dialect, path) in fields {
        let method = if dialect == "debug" { "debug_traceBlockByHash" } else { "trace_block" };
        for value in nonsense.iter().cloned().chain([Some(json!(format!("0x{}", "f".repeat(33))))]) {
            // An empty path is that of the root.
            if path == "/result/0/traceAddress" && value == Some(json!([])) {
                continue;
            }
            let with = value.clone();
            let node = traced(dialect, vec![block()]).twisted(move |asked, _, answer| {
                if asked == method {
                    super::hostile::replace(answer, path, &with);
                }
            });
            let outcome = node.scan();
            assert!(matches!(outcome, Err(ScanError::Malformed(_))), "{path} = {value:?}: {outcome:?}");
        }
    }
}
