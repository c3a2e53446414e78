//! Payments that are proven by their own cells, and an index that lies about them.

use super::cells::comment;
use super::hostile::{hostile, index_with, is_reasoned, is_sound, pointers, replace};
use super::index::*;
use super::ledger::{known, unchecked};
use crate::address::Account;
use crate::base64;
use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::Memo;
use kassa_sdk::upstream::Fault;
use serde_json::{Value, json};

const V2: &str = "/v2/getTransactions";
const LIMITS: ScanLimits =
    ScanLimits { blocks: 200, transfers: 5_000, known: None, next_is_head: false, more: Vec::new() };
fn told(name: &str) -> Value {
    known().into_iter().find(|(known, ..)| known == name).unwrap().1
}

fn account_of(name: &str) -> Account {
    Account::of_raw(told(name)["account"].as_str().unwrap()).unwrap()
}

/// An index with the local chain's transactions of these names. `wallet_of` stands in for the listed master.
fn local(names: &[&str]) -> Index {
    let mut index = Index::new(5_160);
    index.settings = PROOFS.into();
    for (name, told, data) in known() {
        if names.contains(&name.as_str()) {
            index.add_known(told, data);
        }
    }
    let owner = if names.iter().any(|name| is_jetton(name)) { SHOP } else { account_of(names[0]) };
    *index.owners.borrow_mut() = vec![owner];
    let wallet = super::cells::Cell::default().address(Some(&account_of("forged"))).base64();
    index.twisted(move |path, answer| {
        if path == "/runGetMethod" {
            answer["stack"][0]["value"] = json!(wallet);
        }
    })
}

fn is_jetton(name: &str) -> bool {
    name.starts_with("jetton") || name == "forged"
}

/// Scans from the block before the first transaction on.
fn scan(index: &Index) -> Result<ScanResult, ScanError> {
    index.scan_from(index.txs[0].height - 1, &LIMITS)
}

/// Scans with one answer of v3 or v2 changed.
fn with(
    names: &[&str],
    changed: &'static str,
    change: impl Fn(&mut Value) + 'static,
) -> Result<ScanResult, ScanError> {
    let index = local(names);
    let before = index.twist.borrow_mut().take().unwrap();
    scan(&index.twisted(move |path, answer| {
        before(path, answer);
        if path == changed {
            change(answer);
        }
    }))
}

#[test]
fn what_the_local_chain_made_is_proven() {
    for (names, expected) in [
        (&["no contract"][..], vec![(0, 1_000_000_000, "order-1".to_owned())]),
        (&["a contract, a long comment"], vec![(0, 123_456_789, "order-2 ".repeat(40).trim().to_owned())]),
        (&["jetton, inline"], vec![(1, 25_000_000, "order-3".to_owned())]),
        (&["jetton, by reference"], vec![(1, 1, "order-4".to_owned())]),
        (&["a proof beside the comment"], vec![(0, 5, "!".to_owned())]),
        (&["sent back"], vec![]),
        (&["forged"], vec![]),
        (&["bounced"], vec![]),
    ] {
        let index = local(names);
        let result = scan(&index).unwrap();
        let found: Vec<_> = brief(&result)
            .iter()
            .map(|(_, asset, amount, memo)| (*asset, amount.unwrap(), (*memo).to_owned()))
            .collect();
        assert_eq!(found, expected, "{names:?}");
        // One request for each payment, none for what is not reported.
        assert_eq!(index.count(V2), expected.len(), "{names:?}");
        assert_eq!(result.blocks.last().unwrap().height, index.head);
        assert!(index.stored.borrow().keys().all(|key| !key.starts_with("proven/")));
    }
}

/// The transaction, the changes to what the index says of it, and the part that the error names.
type Lie = (&'static str, Vec<(&'static str, Value)>, &'static str);

#[test]
fn every_single_lie_is_caught_and_named() {
    let hash = base64::encode(&[7; 32]);
    let (native, jetton, back, forged) = ("no contract", "jetton, inline", "sent back", "forged");
    let lies: Vec<Lie> = vec![
        (native, vec![("/in_msg/value", json!("1000000001"))], "value"),
        (native, vec![("/in_msg/source", json!(PAYER.raw()))], "source"),
        (native, vec![("/description/aborted", json!(false))], "aborted"),
        (native, vec![("/description/compute_ph", json!({"success": true}))], "compute_ph"),
        (native, vec![("/end_status", json!("nonexist"))], "end_status"),
        (native, vec![("/prev_trans_lt", json!("7"))], "prev_trans_lt"),
        (native, vec![("/prev_trans_hash", json!(hash))], "prev_trans_hash"),
        (native, vec![("/in_msg/message_content", content("order-9"))], "body"),
        (
            back,
            vec![
                ("/description/bounce", Value::Null),
                ("/out_msgs", json!([])),
                ("/in_msg/bounce", json!(false)),
            ],
            "bounce",
        ),
        (
            "bounced",
            vec![("/in_msg/bounced", json!(false)), ("/in_msg/message_content", content("x"))],
            "bounced",
        ),
        (jetton, vec![("/in_msg/value", json!("1"))], "value"),
        (jetton, vec![("/in_msg/source", json!(FAKE.raw()))], "source"),
        (jetton, vec![("/in_msg/message_content", credit(26_000_000))], "body"),
        (
            forged,
            vec![("/description/aborted", json!(false)), ("/description/compute_ph/success", json!(true))],
            "aborted",
        ),
        (
            forged,
            vec![
                ("/description/aborted", json!(false)),
                ("/description/compute_ph/success", json!(true)),
                ("/description/bounce", Value::Null),
            ],
            "aborted",
        ),
    ];
    for (name, lie, part) in lies {
        let what = format!("{name}: {lie:?}");
        let error = with(&[name], "/transactions", move |answer| {
            for (at, value) in &lie {
                replace(&mut answer["transactions"][0], at, Some(value));
            }
        })
        .unwrap_err();
        let why = format!("{part} of a payment is not what its cells (v2) say");
        assert_eq!(error, ScanError::Malformed(why), "{what}");
    }
}

fn content(text: &str) -> Value {
    json!({"hash": base64::encode(&comment(text).hash()), "body": comment(text).base64()})
}

fn credit(units: u128) -> Value {
    credited(USDT, SHOP, units, "order-3")["in_msg"]["message_content"].clone()
}

/// A real transaction of another account, told as one of the owner's.
#[test]
fn a_payment_to_somebody_else() {
    let mut index = local(&["no contract"]);
    *index.owners.borrow_mut() = vec![OTHER];
    let json = &mut index.txs[0].json;
    (json["account"], json["in_msg"]["destination"]) = (json!(OTHER.raw()), json!(OTHER.raw()));
    index.txs[0].account = OTHER;
    assert!(matches!(scan(&index), Err(ScanError::Malformed(why)) if why.starts_with("account of")));
}

#[test]
fn cells_of_another_transaction() {
    let (_, _, other) = known().remove(1);
    let error =
        with(&["no contract"], V2, move |answer| answer["result"][0]["data"] = json!(other)).unwrap_err();
    assert_eq!(error, ScanError::Malformed("a transaction's cells: they have not its hash".into()));
    // Even with its own id it is another one.
    let error = with(&["no contract"], V2, |answer| {
        answer["result"][0]["transaction_id"]["lt"] = json!("5");
    });
    assert!(matches!(error, Err(ScanError::Malformed(why)) if why.contains("another transaction")));
    let error = with(&["no contract"], V2, |answer| {
        let row = answer["result"][0].clone();
        answer["result"].as_array_mut().unwrap().push(row);
    });
    assert!(matches!(error, Err(ScanError::Malformed(why)) if why.contains("more than was asked for")));
}

#[test]
fn a_transaction_that_v2_does_not_have_yet() {
    for answer in [
        json!({"ok": true, "result": []}),
        json!({"ok": false, "error": "LITE_SERVER_UNKNOWN: lt not in db", "code": 500}),
        json!({"ok": false, "result": []}),
    ] {
        let error = with(&["no contract"], V2, move |sent| *sent = answer.clone()).unwrap_err();
        assert!(matches!(error, ScanError::Upstream(_)), "{error:?}");
    }
    let limit = json!({"ok": false, "result": "Ratelimit exceed", "code": 429});
    let error = with(&["no contract"], V2, move |sent| *sent = limit.clone()).unwrap_err();
    assert_eq!(error, ScanError::RateLimited(1_000));
    // What is proven before it is reported.
    let mut index = several(5_003, 2);
    let late = index.txs[4].json["hash"].clone();
    index.twist = std::cell::RefCell::new(Some(Box::new(move |path, answer: &mut Value| {
        if path == V2 && answer["result"][0]["transaction_id"]["hash"] == late {
            *answer = json!({"ok": true, "result": []});
        }
    })));
    let result = index.scan().unwrap();
    assert_eq!((result.blocks.len(), result.transfers.len(), result.head.height), (2, 4, 5_003));
    // The other one of that block was proven in the scan before.
    let error = index.scan_from(5_002, &LIMITS).unwrap_err();
    assert!(matches!(&error, ScanError::Upstream(why) if why.contains("not have")), "{error:?}");
}

#[test]
fn every_field_of_the_answer() {
    let answer = std::rc::Rc::new(std::cell::RefCell::new(Value::Null));
    let keep = answer.clone();
    with(&["no contract"], V2, move |sent| *keep.borrow_mut() = sent.clone()).unwrap();
    let mut all = vec![];
    pointers(&answer.borrow(), "", &mut all);
    assert!(all.len() > 7);
    for pointer in all {
        for value in hostile() {
            let (at, with_value) = (pointer.clone(), value.clone());
            let result = with(&["no contract"], V2, move |answer| replace(answer, &at, with_value.as_ref()));
            match result {
                Err(error) => assert!(is_reasoned(&error), "{pointer} {error:?}"),
                Ok(result) => assert_eq!(brief(&result), [(5_121, 0, Some(1_000_000_000), "order-1")]),
            }
        }
    }
}

/// Changes everything that the index says of a transaction. A payment that is not there is never reported, nor one as
/// another than it is. Keeping one back, or leaving out a body, is all that the index can do.
#[test]
fn every_field_of_what_the_index_tells() {
    let row = index_with(PROOFS).txs[1].json.clone();
    let mut all = vec![];
    pointers(&row, "", &mut all);
    for pointer in all {
        for value in hostile().into_iter().filter(|value| json!(value).to_string().len() < 200) {
            let (at, value_there) = (pointer.clone(), value.clone());
            let index = index_with(PROOFS).twisted(move |path, answer| {
                for row in answer["transactions"]
                    .as_array_mut()
                    .filter(|_| path == "/transactions")
                    .into_iter()
                    .flatten()
                {
                    replace(row, &at, value_there.as_ref());
                }
            });
            match index.scan() {
                Err(error) => assert!(is_reasoned(&error), "{pointer} {value:?}: {error:?}"),
                Ok(mut result) => {
                    result.transfers.retain(|transfer| !matches!(transfer.memo, Memo::Unreadable(_)));
                    assert!(is_sound(&result), "{pointer} {value:?}: {result:?}");
                }
            }
        }
    }
}

#[test]
fn any_byte_of_the_cells() {
    let (_, _, data) = known().remove(0);
    let sound = unchecked(&data);
    for offset in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[offset] ^= 1 << (offset % 8);
        let data = base64::encode(&bytes);
        match with(&["no contract"], V2, move |answer| answer["result"][0]["data"] = json!(data)) {
            Err(error) => assert!(matches!(error, ScanError::Malformed(_)), "{offset}: {error:?}"),
            Ok(result) => assert_eq!(result.transfers.len(), 1),
        }
    }
}

/// An index with `count` payments of both kinds in each of the blocks from 5,001 to `head`.
fn several(head: u64, count: u64) -> Index {
    let mut index = Index::new(head);
    index.settings = PROOFS.into();
    for height in 5_001..=head {
        for number in 0..count {
            let json = match number % 2 {
                0 => paid(SHOP, 1 + number, &comment("x")),
                _ => credited(USDT, SHOP, 1 + u128::from(number), "x"),
            };
            index.add(height, json);
        }
    }
    index
}

/// Scans to the head. Returns the number of transfers of each scan, and checks that each came once.
fn counts(index: &Index) -> Vec<usize> {
    let (mut at, mut counts, mut ids) = (CURSOR, vec![], std::collections::HashSet::new());
    while at < index.head {
        let result = index.scan_from(at, &LIMITS).unwrap();
        at = result.blocks.last().map_or(at, |block| block.height);
        assert!(result.transfers.iter().all(|transfer| ids.insert(transfer.tx.clone())));
        counts.push(result.transfers.len());
        assert!(counts.len() < 200);
    }
    assert_eq!(ids.len(), index.txs.len());
    counts
}

#[test]
fn a_scan_proves_so_many_and_reports_fewer_blocks() {
    let index = several(5_010, 10);
    // 32 proofs: three whole blocks and two payments of the fourth, which are kept.
    assert_eq!(counts(&index), [30, 30, 30, 10]);
    assert_eq!(index.count(V2), 100);
    assert!(index.stored.borrow().keys().all(|key| !key.starts_with("proven/")));
    // More in one block than one scan proves.
    let index = several(5_001, 100);
    assert_eq!(counts(&index), [0, 0, 0, 100]);
    assert_eq!(index.count(V2), 100);
}

#[test]
fn budgets_that_end_early() {
    // Some requests fail, whatever the reason.
    let reasons: [fn() -> Fault; 2] =
        [|| Fault::Budget("requests of this call".into()), || Fault::upstream("timeout")];
    for reason in reasons {
        let index = several(5_004, 10);
        *index.refusal.borrow_mut() = Some(Box::new(move |count| (count % 16 > 11).then(reason)));
        let counts = counts(&index);
        assert!(counts.len() > 2, "{counts:?}");
    }
    // Refusals are waited for.
    let index = several(5_004, 10);
    let refused = || Fault::Scan(ScanError::RateLimited(9_000));
    *index.refusal.borrow_mut() = Some(Box::new(move |count| (count % 16 > 13).then(refused)));
    assert_eq!(counts(&index), [30, 10]);
    // Nothing is proven: the scan says why, and the cursor stays.
    let index = several(5_001, 1);
    *index.refusal.borrow_mut() = Some(Box::new(|_| Some(Fault::Scan(ScanError::RateLimited(9_000)))));
    assert_eq!(index.scan(), Err(ScanError::RateLimited(9_000)));
    // Blocks before the first payment need no proof.
    let mut index = Index::new(5_005);
    index.settings = PROOFS.into();
    index.add(5_003, paid(SHOP, 5, &comment("x")));
    *index.refusal.borrow_mut() = Some(Box::new(|_| Some(Fault::upstream("timeout"))));
    let result = index.scan().unwrap();
    assert_eq!((result.blocks.len(), result.transfers.len()), (2, 0));
}

/// A payment is proven in one scan and told otherwise in the next.
#[test]
fn what_was_proven_is_not_what_is_told_later() {
    let index = several(5_001, 40);
    assert!(index.scan().unwrap().blocks.is_empty());
    let index = index.twisted(|path, answer| {
        if path == "/transactions" {
            answer["transactions"][0]["in_msg"]["value"] = json!("77");
        }
    });
    assert!(matches!(index.scan(), Err(ScanError::Malformed(why)) if why.starts_with("value of")));
}

#[test]
fn settings() {
    let parse = |json: &str| crate::settings::Settings::parse(json).map(|settings| settings.index());
    assert_eq!(parse("{}"), Ok(""));
    assert_eq!(parse(r#"{"proofs":"none"}"#), Ok(""));
    assert_eq!(parse(PROOFS), Ok("/v3"));
    for wrong in [r#"{"proofs":"v4"}"#, r#"{"proofs":true}"#, r#"{"proof":"v2"}"#, r#"{"proofs":"V2"}"#] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
