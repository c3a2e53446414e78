//! Whatever an upstream sends: an error with a reason, never a trap, never a transfer that is not there.

use super::node::*;
use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Position, Transfer};
use serde_json::{Value, json};

fn node() -> Node {
    let internal =
        vec![sent("call", SHOP, &json!([{"callValue": 30}, {"callValue": 31, "tokenId": "1000001"}]))];
    let memo = b"invoice 7".to_vec();
    Node::new(vec![
        vec![Tx { memo: memo.clone(), ..pay(SHOP, 5) }],
        vec![
            pay(OTHER, 6),
            Tx { internal, memo, ..call(vec![moved(USDT, OTHER, 1), moved(USDT, SHOP, 70)]) },
            Tx { to: SHOP, amount: 8, ..call(vec![]) },
            Tx { ok: false, ..call(vec![]) },
        ],
        vec![pay(SHOP, 9)],
    ])
}

fn hostile() -> Vec<Option<Value>> {
    let values = [
        json!(null),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(true),
        json!([]),
        json!({}),
        json!([[[]]]),
        json!([null]),
        json!(""),
        json!("7"),
        json!("SUCCESS"),
        json!("0x"),
        json!("zz".repeat(32)),
        json!("ab".repeat(20)),
        json!(raw(FAKE)),
        json!("ab".repeat(32)),
        json!("ab".repeat(33)),
        json!("f".repeat(10_000)),
        json!("\u{1F4A5}\u{0}\n\""),
    ];
    values.into_iter().map(Some).chain([None]).collect()
}

fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let mut child = |name: String, value: &Value| {
        let path = format!("{at}/{name}");
        out.push(path.clone());
        pointers(value, &path, out);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| child(name.clone(), value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| child(index.to_string(), value));
        }
        _ => {}
    }
}

fn replace(value: &mut Value, path: &str, with: &Option<Value>) {
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

fn is_sound(error: &ScanError) -> bool {
    match error {
        ScanError::Upstream(why) | ScanError::Malformed(why) => {
            !why.is_empty() && why.len() <= 160 && why.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        }
        ScanError::WrongNetwork(_) | ScanError::Behind(_) => true,
        _ => false,
    }
}

/// True for fields that are believed, so that another value of one is another fact: what code did, that a transaction
/// is one of the kinds that pay, whom a payment to others goes to, and which transactions there are.
fn is_believed(path: &str) -> bool {
    let believed =
        ["/log", "/internal_transactions", "/contract", "/ret", "/transactions/0", "/transactions/2"];
    let proven = ["/amount", "/owner_address", "/txID", "/raw_data_hex", "/raw_data/data"];
    let is_in = |parts: &[&str]| parts.iter().any(|part| path.contains(part));
    is_in(&believed) && !is_in(&proven)
}

/// Replaces each field of each answer by each hostile value.
#[test]
fn every_field_of_every_answer() {
    let honest = node().scan().unwrap();
    assert_eq!(honest.transfers.len(), 5);
    let (mut refused, mut taken) = (0, 0);
    for (name, height) in [
        ("/wallet/getnowblock", Value::Null),
        ("/walletsolidity/getnowblock", Value::Null),
        ("/wallet/getblockbynum", json!(1)),
        ("/wallet/getblockbynum", json!(2)),
        ("/wallet/gettransactioninfobyblocknum", json!(2)),
    ] {
        let mut paths = vec![];
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Value::Null));
        let (keep, asked) = (seen.clone(), height.clone());
        let looking = node().twisted(move |path, question, answer| {
            if path == name && question["num"] == asked {
                *keep.borrow_mut() = answer.clone();
            }
        });
        looking.scan().unwrap();
        pointers(&seen.borrow(), "", &mut paths);
        assert!(paths.len() > 8, "{name}");
        for path in paths {
            for value in hostile() {
                let what = format!(
                    "{name} {height}{path} = {:.60}",
                    value.as_ref().map_or("absent".into(), Value::to_string)
                );
                let (with, asked, at) = (value.clone(), height.clone(), path.clone());
                let node = node().twisted(move |path, question, answer| {
                    if path == name && question["num"] == asked {
                        replace(answer, &at, &with);
                    }
                });
                match node.scan() {
                    Err(error) => {
                        refused += 1;
                        assert!(is_sound(&error), "{what}: {error:?}");
                    }
                    Ok(result) => {
                        taken += 1;
                        check(&result, &honest, &path, &what);
                    }
                }
            }
        }
    }
    assert!(refused > 1_000 && taken > 1_000, "{refused} {taken}");
}

fn check(result: &ScanResult, honest: &ScanResult, path: &str, what: &str) {
    let is_there = |transfer: &Transfer| {
        let is_it = |other: &Transfer| {
            // What the infos say is believed: the numbers of a log or of an internal transaction, and its location.
            let (mut transfer, path) = (transfer.clone(), path.strip_prefix("/1/").unwrap_or_default());
            match path.split('/').next_back() {
                Some("callValue" | "data") => transfer.amount = other.amount,
                Some("caller_address") => transfer.sender.clone_from(&other.sender),
                Some("0") if path == "log/0" => transfer.ordinal = other.ordinal,
                _ => {}
            }
            format!("{transfer:?}") == format!("{other:?}")
        };
        honest.transfers.iter().any(is_it)
    };
    assert!(result.transfers.iter().all(is_there), "{what}: {:?}", result.transfers);
    let is_whole =
        result.transfers.len() == honest.transfers.len() || result.blocks.len() < honest.blocks.len();
    assert!(is_whole || is_believed(path), "{what}: {:?}", result.transfers);
}

/// A reported transfer is the one that was signed.
#[test]
fn a_payment_that_was_not_signed() {
    let with_memo = |tx: Tx| Tx { memo: b"7".to_vec(), ..tx };
    let (ours, others) = (with_memo(pay(SHOP, 5)), with_memo(pay(OTHER, 5)));
    let trc_10 = Tx { kind: ("TransferAssetContract", 2), ..ours.clone() };
    let value = |field: &str| format!("/raw_data/contract/0/parameter/value/{field}");
    for (tx, field, value) in [
        (&ours, value("amount"), json!(6)),
        (&ours, value("owner_address"), json!(raw(OTHER))),
        (&others, value("to_address"), json!(raw(SHOP))),
        (&trc_10, "/raw_data/contract/0/type".into(), json!("TransferContract")),
        (&ours, "/raw_data/data".into(), json!("3131")),
        (&ours, "/txID".into(), json!("ab".repeat(32))),
        (&ours, "/raw_data_hex".into(), json!(hex::encode(pay(SHOP, 6).raw_data(100_000)))),
    ] {
        let path = format!("/transactions/0{field}");
        let node = Node::new(vec![vec![tx.clone()]]).twisted(move |_, _, answer| {
            if answer.pointer(&path).is_some() {
                replace(answer, &path, &Some(value.clone()));
            }
        });
        assert!(matches!(node.scan(), Err(ScanError::Malformed(_))), "{field}");
    }
}

#[test]
fn a_block_and_its_infos_that_disagree() {
    for (path, field, value) in [
        ("/wallet/getnowblock", "/transactions/0/ret/0/contractRet", json!("REVERT")),
        ("/wallet/gettransactioninfobyblocknum", "/0/receipt/result", json!("REVERT")),
        ("/wallet/gettransactioninfobyblocknum", "/0/result", json!("FAILED")),
        ("/wallet/gettransactioninfobyblocknum", "/0/result", json!("SUCESS")),
    ] {
        let node =
            Node::new(vec![vec![call(vec![moved(USDT, SHOP, 5)])]]).twisted(move |asked, _, answer| {
                if asked == path {
                    replace(answer, field, &Some(value.clone()));
                }
            });
        assert!(matches!(node.scan(), Err(ScanError::Malformed(_))), "{path}{field}");
    }
}

/// A field that is absent or empty, and decides whether there is a payment, is an error.
#[test]
fn what_decides_about_money_has_to_be_said() {
    const BLOCK: &str = "/wallet/getblockbynum";
    const INFOS: &str = "/wallet/gettransactioninfobyblocknum";
    let said = |ret: Value| (BLOCK, "/transactions/0/ret", Some(ret));
    for (path, field, value) in [
        (BLOCK, "/transactions/0/ret", None),
        said(json!([])),
        said(json!([{}])),
        said(json!([{"fee": 7}])),
        said(json!([{"contractRet": ""}])),
        said(json!([{"contractRet": "DEFAULT"}])),
        said(json!([{"contractRet": "SUCCESS"}, {"contractRet": "SUCCESS"}])),
        (BLOCK, "/transactions/0/raw_data_hex", None),
        (BLOCK, "/transactions/0/raw_data/contract", None),
        (BLOCK, "/block_header/raw_data/timestamp", None),
        (BLOCK, "/block_header/raw_data/timestamp", Some(json!(0))),
        (BLOCK, "/block_header/raw_data/number", None),
        (BLOCK, "/transactions/1/ret", None),
        (INFOS, "/1/receipt", None),
        (INFOS, "/1/receipt/result", None),
        (INFOS, "/1/log/0/data", None),
        (INFOS, "/1/internal_transactions/0/callValueInfo", None),
        (INFOS, "/1/internal_transactions/0/callValueInfo", Some(json!([]))),
        (INFOS, "/1/internal_transactions/0/note", None),
        (INFOS, "/1/internal_transactions/0/caller_address", None),
        (INFOS, "/1/internal_transactions/0/transferTo_address", None),
    ] {
        let internal = vec![sent("call", SHOP, &json!([{"callValue": 30}]))];
        let txs = vec![pay(SHOP, 5), Tx { internal, ..call(vec![moved(USDT, SHOP, 7)]) }];
        // The block is not the head, which comes as a whole by another question.
        let honest = Node::new(vec![txs, vec![]]);
        assert_eq!(honest.scan().unwrap().transfers.len(), 3);
        let with = value.clone();
        let node = honest.twisted(move |asked, question, answer| {
            if asked == path && question["num"] == 1 {
                replace(answer, field, &with);
            }
        });
        assert!(matches!(node.scan(), Err(ScanError::Malformed(_))), "{path}{field} = {value:?}");
    }
}

/// A gateway cuts the transactions off, and the root over them as well.
#[test]
fn a_block_without_its_transactions() {
    for root in [None, Some(json!(""))] {
        let node = Node::new(vec![vec![pay(SHOP, 5)], vec![]]).twisted(move |_, question, answer| {
            if question["num"] == 1 {
                replace(answer, "/transactions", &None);
                replace(answer, "/block_header/raw_data/txTrieRoot", &root);
            }
        });
        assert!(matches!(node.scan(), Err(ScanError::Malformed(_))));
    }
}

/// A missing field in a transaction that pays nobody here stops nothing.
#[test]
fn a_strangers_transaction_stops_nothing() {
    let node = Node::new(vec![vec![pay(OTHER, 5), pay(SHOP, 7)], vec![]]).twisted(|_, _, answer| {
        if let Some(Value::Array(txs)) = answer.get_mut("transactions") {
            replace(&mut txs[0], "/ret", &None);
        }
    });
    assert_eq!(brief(&node.scan().unwrap()), [(1, 0, 0, Some(7))]);
}

#[test]
fn the_same_transaction_twice() {
    let node = Node::new(vec![vec![pay(SHOP, 5)]]).twisted(|_, _, answer| {
        if let Some(Value::Array(txs)) = answer.get_mut("transactions") {
            txs.push(txs[0].clone());
        }
    });
    assert!(matches!(node.scan(), Err(ScanError::Malformed(_))));
}

#[test]
fn whole_answers() {
    let deep = "[".repeat(200_000);
    let deep_block = format!(r#"{{"blockID":{}"#, r#"{"a":"#.repeat(200_000));
    let honest = node().block(3).to_string();
    let mut not_text = honest.clone().into_bytes();
    let offset = honest.find("TransferContract").unwrap();
    not_text[offset] = 0xff;
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "null",
        "true",
        "7",
        "\"text\"",
        "[]",
        "{}",
        "[{}]",
        "[null]",
        "{\"blockID\":7}",
        "{\"Error\":7}",
        "{\"Error\":\"\"}",
        "[\"text\"]",
        "{\"blockID\":\"\",\"blockID\":\"\"}",
        "\u{feff}{}",
        &deep,
        &deep_block,
    ]
    .into_iter()
    .map(Into::into)
    .collect();
    bodies.extend([not_text, vec![0xff; 100], vec![0; 100_000], b"{\"Error\":\"\xff\"}".to_vec()]);
    // Cut off at every offset of the header and at some of the rest.
    bodies.extend((0..honest.len()).filter(|end| end % 7 == 0).map(|end| honest.as_bytes()[..end].to_vec()));
    for body in bodies {
        let node = node();
        *node.raw.borrow_mut() = Some((200, None, body.clone()));
        for error in [node.scan().unwrap_err(), node.scan_new().unwrap_err()] {
            assert!(is_sound(&error), "{:.60}: {error:?}", String::from_utf8_lossy(&body));
        }
    }
}

#[test]
fn heights_at_the_end_of_the_numbers() {
    let far = node().twisted(|path, _, answer| {
        if path == "/wallet/getnowblock" {
            answer["block_header"]["raw_data"]["number"] = json!(u64::MAX);
            answer["blockID"] = json!("f".repeat(64));
        }
    });
    // The node claims a head that it cannot show blocks for.
    let node = Node { settings: r#"{"blocks_at_once":1}"#.into(), ..far };
    assert_eq!(node.scan().unwrap().blocks.len(), 3);
    let limits = ScanLimits {
        blocks: u32::MAX,
        transfers: u32::MAX,
        known: None,
        next_is_head: false,
        more: Vec::new(),
    };
    let top = Position { height: u64::MAX, hash: "f".repeat(64) };
    assert!(node.scan_at(&top, &limits).unwrap().blocks.is_empty());
    let below = Position { height: u64::MAX - 1, hash: String::new() };
    assert_eq!(node.scan_at(&below, &limits).unwrap().blocks.len(), 1);
    assert_eq!(self::node().scan_at(&top, &limits).unwrap_err(), ScanError::Behind(3));
}

/// The chain moves between the request for the head and the one for its block.
#[test]
fn a_head_that_is_not_the_block_at_its_height() {
    let moved = node().twisted(|path, _, answer| {
        if path == "/wallet/getnowblock" {
            answer["blockID"] = json!(format!("{:016x}{}", 3, "7".repeat(48)));
            answer["block_header"]["raw_data"]["txTrieRoot"] = json!("0".repeat(64));
            answer.as_object_mut().unwrap().remove("transactions");
        }
    });
    assert!(matches!(moved.scan(), Err(ScanError::Upstream(_))));
    // A new network starts at the solid block, which may be the head.
    let start = Node { solid_below: 0, ..moved };
    assert!(matches!(start.scan_new(), Err(ScanError::Upstream(_))));
}

/// The two blocks are read in two steps, so that neither shows it.
#[test]
fn a_transaction_in_two_blocks() {
    let mut node = node();
    node.settings = r#"{"blocks_at_once":1}"#.into();
    let first = node.block(1)["transactions"].clone();
    let twice = node.twisted(move |_, _, answer| {
        if answer["block_header"]["raw_data"]["number"] == 3 {
            answer["transactions"] = first.clone();
        }
    });
    assert!(matches!(twice.scan(), Err(ScanError::Malformed(_))));
}
