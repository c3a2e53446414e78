//! Whatever an upstream sends: an error with a reason, never a trap, never a wrong transfer.

use super::node::*;
use super::txs::*;
use kassa_sdk::chain::ScanError;
use serde_json::{Value, json};

fn node() -> Node {
    Node::new(vec![vec![pay(SHOP, 5), call(vec![moved(USDC, OTHER, 1), moved(USDC, SHOP, 7)])]; 2])
}

fn hostile() -> Vec<Option<Value>> {
    let mut values: Vec<_> = [
        json!(null),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!(""),
        json!("0x"),
        json!("-0x1"),
        json!("0x-1"),
        json!("latest"),
        json!("0xzz"),
        json!(format!("0x{}", "f".repeat(17))),
        json!(format!("0x{}", "f".repeat(65))),
        json!(format!("0x{}", "f".repeat(100_000))),
        json!("\u{1F4A5}\u{0}\n\""),
    ]
    .into_iter()
    .map(Some)
    .collect();
    values.push(None);
    values
}

pub(super) fn replace(value: &mut Value, path: &str, with: &Option<Value>) {
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("no {path}"));
    match (with, parent) {
        (Some(with), Value::Object(fields)) => drop(fields.insert(field.into(), with.clone())),
        (None, Value::Object(fields)) => drop(fields.remove(field)),
        (Some(with), Value::Array(items)) => items[field.parse::<usize>().unwrap()] = with.clone(),
        (None, Value::Array(items)) => drop(items.remove(field.parse().unwrap())),
        _ => panic!("no {path}"),
    }
}

/// Each needed field, replaced by each hostile value, is an error.
#[test]
fn every_needed_field() {
    let fields = [
        ("eth_chainId", "/result"),
        ("eth_getBlockByNumber", "/result"),
        ("eth_getBlockByNumber", "/result/number"),
        ("eth_getBlockByNumber", "/result/hash"),
        ("eth_getBlockByNumber", "/result/parentHash"),
        ("eth_getBlockByNumber", "/result/timestamp"),
        ("eth_getBlockByNumber", "/result/logsBloom"),
        ("eth_getLogs", "/result"),
        ("eth_getLogs", "/result/1/address"),
        ("eth_getLogs", "/result/1/topics"),
        ("eth_getLogs", "/result/1/topics/2"),
        ("eth_getLogs", "/result/1/data"),
        ("eth_getLogs", "/result/1/blockHash"),
        ("eth_getLogs", "/result/1/blockNumber"),
        ("eth_getLogs", "/result/1/transactionHash"),
        ("eth_getLogs", "/result/1/logIndex"),
        ("eth_getTransactionReceipt", "/result"),
        ("eth_getTransactionReceipt", "/result/transactionHash"),
        ("eth_getTransactionReceipt", "/result/blockHash"),
        ("eth_getTransactionReceipt", "/result/status"),
        ("eth_getTransactionReceipt", "/result/logs"),
        ("eth_getTransactionReceipt", "/result/logs/1/topics"),
        ("eth_getTransactionReceipt", "/result/logs/1/data"),
    ];
    for (name, path) in fields {
        for value in hostile() {
            let what =
                format!("{name}{path} = {:.60}", value.as_ref().map_or("absent".into(), Value::to_string));
            let with = value.clone();
            let node = node().twisted(move |method, params, answer| {
                let is_block = params[0].as_str().is_some_and(|text| text.starts_with("0x"));
                let is_native_receipt = answer.pointer("/result/logs").is_some_and(|logs| logs[1].is_null());
                let is_it = match method {
                    "eth_getBlockByNumber" => is_block,
                    "eth_getTransactionReceipt" => !is_native_receipt,
                    _ => true,
                };
                if method == name && is_it {
                    replace(answer, path, &with);
                }
            });
            match node.scan() {
                Err(ScanError::Malformed(why) | ScanError::Upstream(why)) => {
                    assert!(!why.is_empty() && why.len() <= 200 && why.is_ascii(), "{what}: {why}");
                }
                // Empty logs are repaired by the blocks' receipts.
                Ok(result) if result.transfers.len() == 4 => {}
                // A log that is not an ERC-20 transfer is ignored.
                Ok(_) if path.contains("/1/topics") || path.ends_with("/1/data") => {}
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

/// Fields that are not always needed: no trap, and never more than was paid.
#[test]
fn transactions_of_unknown_kinds() {
    for field in ["hash", "from", "to", "value", "input", "type"] {
        for value in hostile() {
            let path = format!("/result/transactions/0/{field}");
            let with = value.clone();
            let node = node().twisted(move |method, params, answer| {
                if method == "eth_getBlockByNumber" && params[1] == true {
                    replace(answer, &path, &with);
                }
            });
            if let Ok(result) = node.scan() {
                assert!(result.transfers.iter().all(|transfer| transfer.height <= 2));
                let is_paid = |amount: Option<u128>| amount.is_some_and(|amount| amount <= 7);
                assert!(field == "value" || brief(&result).iter().all(|(.., amount)| is_paid(*amount)));
            }
        }
    }
}

/// A recipient that is left out does not mean that a contract is created; later kinds may have none.
#[test]
fn a_recipient_that_is_left_out() {
    let scan = |kind: Option<Value>, to: Option<Value>, value: &'static str| {
        let node = node().twisted(move |method, params, answer| {
            if method == "eth_getBlockByNumber" && params[1] == true {
                replace(answer, "/result/transactions/0/type", &kind);
                replace(answer, "/result/transactions/0/to", &to);
                replace(answer, "/result/transactions/0/value", &Some(json!(value)));
            }
        });
        node.scan().map(|result| result.transfers.len())
    };
    for kind in [None, Some(json!(null)), Some(json!("0x0")), Some(json!("0x2")), Some(json!("0x7e"))] {
        assert!(matches!(scan(kind.clone(), None, "0x5"), Err(ScanError::Malformed(_))), "{kind:?}");
        assert_eq!(scan(kind.clone(), None, "0x0"), Ok(2), "{kind:?}");
        assert_eq!(scan(kind, Some(json!(null)), "0x5"), Ok(2));
    }
    assert_eq!(scan(Some(json!("0x76")), None, "0x5"), Ok(2));
}

#[test]
fn whole_answers() {
    let deep = format!("[{}", "[".repeat(100_000));
    let deep_result = format!(r#"{{"id":0,"result":{}"#, r#"{"a":"#.repeat(100_000));
    let twice = r#"[{"id":0,"result":"0x2105"},{"id":0,"result":"0x2105"}]"#;
    for (status, body) in [
        (200, ""),
        (200, "null"),
        (200, "true"),
        (200, "\"text\""),
        (200, "<html><body>502 Bad Gateway</body></html>"),
        (502, "<html>"),
        (503, "{\"message\":"),
        (500, ""),
        (403, "Forbidden"),
        (301, ""),
        (200, "[]"),
        (200, "{}"),
        (200, "[{}]"),
        (200, "[null]"),
        (200, "[1]"),
        (200, r#"[{"id":0}]"#),
        (200, r#"[{"id":"0","result":"0x2105"}]"#),
        (200, r#"[{"id":-1,"result":"0x2105"}]"#),
        (200, r#"[{"id":99,"result":"0x2105"}]"#),
        (200, r#"[{"id":18446744073709551616,"result":"0x2105"}]"#),
        (200, r#"[{"id":0,"result":"0x2105"},"#),
        (200, r#"[{"id":0,"result":"0x2105"}"#),
        (200, r#"[{"id":0,"error":{"code":"x","message":7}}]"#),
        (200, r#"[{"id":0,"error":[]}]"#),
        (200, r#"{"id":0,"result":"0x2105"}"#),
        (200, twice),
        (200, deep.as_str()),
        (200, deep_result.as_str()),
    ] {
        let node = node();
        *node.raw.borrow_mut() = Some((status, None, body.into()));
        let error = node.scan().unwrap_err();
        let is_sound =
            matches!(&error, ScanError::Upstream(why) | ScanError::Malformed(why) if why.len() <= 200);
        assert!(is_sound, "{status} {body:.60}: {error:?}");
    }
}

#[test]
fn heights_at_the_end_of_the_numbers() {
    let node = node().twisted(|method, params, answer| {
        if method == "eth_getBlockByNumber" && params[0] == "latest" {
            answer["result"]["number"] = json!("0xffffffffffffffff");
        }
    });
    // The node claims a head that it cannot show blocks for.
    assert!(node.scan().is_err() || node.scan().unwrap().blocks.len() <= 2);
    let top = kassa_sdk::types::Position { height: u64::MAX, hash: "0x".into() };
    let limits = kassa_sdk::chain::ScanLimits {
        blocks: u32::MAX,
        transfers: u32::MAX,
        known: None,
        next_is_head: false,
        more: Vec::new(),
    };
    assert!(crate::scan::scan(&node, &node.network(), Some(&top), &limits).unwrap().blocks.is_empty());
    let known = Some(kassa_sdk::chain::Finality { safe: Some(u64::MAX), final_: u64::MAX });
    let limits = kassa_sdk::chain::ScanLimits { known, next_is_head: true, ..limits };
    assert!(crate::scan::scan(&node, &node.network(), Some(&top), &limits).unwrap().blocks.is_empty());
}

#[test]
fn the_same_log_twice_and_logs_that_nobody_asked_for() {
    let twice = node().twisted(|method, _, answer| {
        if method == "eth_getLogs" {
            let log = answer["result"][1].clone();
            answer["result"].as_array_mut().unwrap().push(log);
        }
    });
    assert!(matches!(twice.scan(), Err(ScanError::Malformed(_))));
    let far = node().twisted(|method, _, answer| {
        if method == "eth_getLogs" {
            answer["result"][1]["blockNumber"] = json!("0x77");
        }
    });
    assert!(matches!(far.scan(), Err(ScanError::Malformed(_))));
}

/// The chain moves between the request for the head and the one for its block.
#[test]
fn a_head_that_is_not_the_block_at_its_height() {
    let moved = node().twisted(|method, params, answer| {
        if method == "eth_getBlockByNumber" && params[0] == "latest" {
            answer["result"]["hash"] = json!(format!("0x{}", "7".repeat(64)));
        }
    });
    assert!(matches!(moved.scan(), Err(ScanError::Upstream(_))));
}

/// There is a receipt for each of them.
#[test]
fn a_transaction_in_two_blocks() {
    let node = Node::new(vec![vec![pay(SHOP, 5)]; 2]);
    let (first, second) = (crate::hex::text(&Node::tx_hash(1, 0)), crate::hex::text(&node.hash(2)));
    let twice = node.twisted(move |method, params, answer| match method {
        "eth_getBlockByNumber" if params[0] == "0x2" => {
            answer["result"]["transactions"][0]["hash"] = json!(first);
        }
        "eth_getTransactionReceipt" if answer["id"] == 1 => answer["result"]["blockHash"] = json!(second),
        _ => {}
    });
    assert!(matches!(twice.scan(), Err(ScanError::Malformed(_))));
}
