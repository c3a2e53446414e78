//! Whatever an upstream sends: an error with a reason, never a trap, never a transfer that is not there.

use super::cells::comment;
use super::index::*;
use kassa_sdk::chain::{ScanError, ScanResult};
use kassa_sdk::types::Memo;
use serde_json::{Value, json};

fn index() -> Index {
    index_with("{}")
}

pub(super) fn index_with(settings: &str) -> Index {
    let mut index = Index::new(5_003);
    index.settings = settings.into();
    index.add(4_999, paid(SHOP, 1, &comment("before")));
    index.add(5_001, paid(SHOP, 5, &comment("order 1")));
    index.add(5_002, credited(USDT, SHOP, 7, "order 2"));
    let mut returned = paid(SHOP, 9, &comment("back"));
    returned["description"]["bounce"] = json!({"type": "ok"});
    returned["out_msgs"] = json!([{"bounced": true}]);
    index.add(5_002, returned);
    let mut failed = credited(USDT, SHOP, 11, "forged");
    failed["description"]["compute_ph"]["success"] = json!(false);
    failed["description"]["aborted"] = json!(true);
    index.add(5_003, failed);
    index
}

/// True if the result has only the two payments of the chain, complete, each at most once.
pub(super) fn is_sound(result: &ScanResult) -> bool {
    let known = [(0, Some(5), "order 1"), (1, Some(7), "order 2")];
    let brief = brief(result);
    brief.iter().all(|(_, asset, amount, memo)| known.contains(&(*asset, *amount, *memo))) && brief.len() <= 2
}

pub(super) fn is_reasoned(error: &ScanError) -> bool {
    match error {
        ScanError::Malformed(why) | ScanError::Upstream(why) | ScanError::WrongNetwork(why) => {
            !why.is_empty() && why.len() <= 200 && why.is_ascii()
        }
        ScanError::Behind(_) | ScanError::RateLimited(_) => true,
        ScanError::Settings(_) | ScanError::Other(_) => false,
    }
}

pub(super) fn hostile() -> Vec<Option<Value>> {
    let mut values: Vec<_> = [
        json!(null),
        json!(0),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!(false),
        json!([]),
        json!([null]),
        json!({}),
        json!([[[]]]),
        json!(""),
        json!("0"),
        json!("-1"),
        json!("+1"),
        json!("1e9"),
        json!("18446744073709551616"),
        json!("9".repeat(39)),
        json!("9".repeat(100_000)),
        json!("A".repeat(100_000)),
        json!("te6cckEBAQEAAgAAAEysuc0="),
        json!(PAYER.raw()),
        json!("A".repeat(43) + "="),
        json!("\u{1F4A5}\u{0}\n\""),
    ]
    .into_iter()
    .map(Some)
    .collect();
    values.push(None);
    values
}

/// Collects every field and element of an answer, as JSON pointers.
pub(super) fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            out.push(format!("{at}/{name}"));
            pointers(value, &format!("{at}/{name}"), out);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(number, value)| {
            out.push(format!("{at}/{number}"));
            pointers(value, &format!("{at}/{number}"), out);
        }),
        _ => {}
    }
}

pub(super) fn replace(value: &mut Value, path: &str, with: Option<&Value>) {
    let (parent, field) = path.rsplit_once('/').unwrap();
    match (with, value.pointer_mut(parent)) {
        (Some(with), Some(parent)) if parent.get(field).is_some() => parent[field] = with.clone(),
        (None, Some(Value::Object(fields))) => drop(fields.remove(field)),
        (with, Some(Value::Array(items))) => {
            let number: usize = field.parse().unwrap();
            if number < items.len() {
                items.splice(number..=number, with.cloned());
            }
        }
        _ => {}
    }
}

/// Fields of which any value of the right form is believed: nothing in the answers contradicts it.
const BELIEVED: [&str; 5] = ["/value", "/source", "/bounced", "/bounce", "/description"];

#[test]
fn every_field_of_every_answer() {
    for endpoint in ["/blocks", "/accountStates", "/transactions", "/runGetMethod"] {
        let whole: std::rc::Rc<std::cell::RefCell<Value>> = std::rc::Rc::default();
        let keep = whole.clone();
        let honest = index().twisted(move |path, answer| {
            if path == endpoint {
                *keep.borrow_mut() = answer.clone();
            }
        });
        assert_eq!(honest.scan().unwrap().transfers.len(), 2);
        let mut all = vec![];
        pointers(&whole.borrow(), "", &mut all);
        for pointer in all {
            for value in hostile() {
                let (what, with, at) =
                    (format!("{endpoint}{pointer} = {:.60}", json!(value)), value.clone(), pointer.clone());
                let index = index().twisted(move |path, answer| {
                    if path == endpoint {
                        replace(answer, &at, with.as_ref());
                    }
                });
                match index.scan() {
                    Err(error) => assert!(is_reasoned(&error), "{what}: {error:?}"),
                    Ok(_) if BELIEVED.iter().any(|field| pointer.contains(field)) => {}
                    // A body that is not given is reported with the amount of the message.
                    Ok(result) if pointer.contains("/message_content") => {
                        let read =
                            |memo: &Memo| matches!(memo, Memo::Text(text) if text.starts_with("order"));
                        let mut transfers = result.transfers.iter();
                        assert!(
                            transfers.all(|transfer| read(&transfer.memo) || transfer.asset == 0),
                            "{what}"
                        );
                    }
                    Ok(result) => assert!(is_sound(&result), "{what}: {result:?}"),
                }
            }
        }
    }
}

#[test]
fn any_byte_of_a_body() {
    for offset in 0..400 {
        for value in [0u8, 1, 0x7f, 0x80, 0xff] {
            let index = index().twisted(move |path, answer| {
                let rows = answer["transactions"].as_array_mut().filter(|_| path == "/transactions");
                for row in rows.into_iter().flatten() {
                    let body = &mut row["in_msg"]["message_content"]["body"];
                    let mut bytes = crate::base64::decode(body.as_str().unwrap()).unwrap();
                    if let Some(byte) = bytes.get_mut(offset) {
                        *byte ^= value;
                        *body = json!(crate::base64::encode(&bytes));
                    }
                }
            });
            match index.scan() {
                Err(error) => assert!(is_reasoned(&error), "{offset}: {error:?}"),
                Ok(result) => assert!(is_sound(&result), "{offset}: {result:?}"),
            }
        }
    }
}

#[test]
fn whole_answers() {
    let deep = "[".repeat(100_000);
    let deep_rows = format!(r#"{{"blocks":{}"#, "[".repeat(100_000));
    let deep_unread = format!(r#"{{"x":{}{},"blocks":[]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (status, body) in [
        (200, ""),
        (200, "null"),
        (200, "7"),
        (200, "\"text\""),
        (200, "[]"),
        (200, "{}"),
        (200, "<html><body>502 Bad Gateway</body></html>"),
        (502, "<html>"),
        (500, r#"{"error":"timeout: context deadline exceeded"}"#),
        (503, ""),
        (404, "Cannot GET /api/v3/blocks"),
        (403, r#"{"ok":false,"error":"API key is invalid","code":403}"#),
        (422, r#"{"code":422,"error":"limit is not allowed: 2000 > 1000"}"#),
        (500, r#"{"blocks":[]}"#),
        (200, r#"{"blocks":null}"#),
        (200, r#"{"blocks":[null]}"#),
        (200, r#"{"blocks":[{}]"#),
        (200, r#"{"blocks":[]}"#),
        (200, &deep),
        (200, &deep_rows),
        (200, &deep_unread),
    ] {
        let index = index();
        *index.raw.borrow_mut() = Some((status, None, body.into()));
        let error = index.scan().unwrap_err();
        assert!(is_reasoned(&error), "{status} {body:.60}: {error:?}");
        assert!(matches!(error, ScanError::Upstream(_) | ScanError::Malformed(_)), "{status} {body:.60}");
    }
}

#[test]
fn rate_limits_of_every_form() {
    for (status, retry_after, body, ms) in [
        (429, Some("7"), "", 7_000),
        (429, None, "<html>", 1_000),
        (429, None, r#"{"ok":false,"result":"Ratelimit exceed","code":429}"#, 1_000),
        (200, Some("2"), r#"{"ok":false,"result":"Ratelimit exceed","code":429}"#, 2_000),
        (403, None, r#"{"error":"Ratelimit exceed"}"#, 1_000),
    ] {
        let index = index();
        *index.raw.borrow_mut() = Some((status, retry_after, body.into()));
        assert_eq!(index.scan(), Err(ScanError::RateLimited(ms)), "{body}");
        assert_eq!(*index.waits.borrow(), [ms; 4], "{body}");
    }
}

#[test]
fn rows_twice_out_of_order_and_of_others() {
    let twisted = |change: fn(&mut Vec<Value>)| {
        index().twisted(move |path, answer| {
            if path == "/transactions" {
                change(answer["transactions"].as_array_mut().unwrap());
            }
        })
    };
    let twice = twisted(|rows| {
        let copies: Vec<_> = rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
        *rows = copies;
    });
    assert_eq!(twice.scan().unwrap().transfers.len(), 2);
    assert!(matches!(twisted(|rows| rows.reverse()).scan(), Err(ScanError::Malformed(_))));
    let other = twisted(|rows| rows[0]["account"] = json!(OTHER.raw()));
    assert!(matches!(other.scan(), Err(ScanError::Malformed(_))));
    let same_hash = twisted(|rows| {
        let hash = rows[1]["hash"].clone();
        rows[2]["hash"] = hash;
    });
    assert!(same_hash.scan().is_err());
    let lower = twisted(|rows| rows[1]["mc_block_seqno"] = json!(4_000));
    assert!(lower.scan().is_err());
}

#[test]
fn stored_bytes_that_are_broken_are_as_good_as_none() {
    let index = index();
    let first = index.scan().unwrap();
    let keys: Vec<_> = index.stored.borrow().keys().cloned().collect();
    assert!(keys.len() >= 3);
    for key in keys {
        for value in [vec![], vec![0; 3], vec![0xff; 99], vec![0xff; 82]] {
            index.stored.borrow_mut().insert(key.clone(), value);
            match index.scan() {
                Ok(result) => assert_eq!(result, first),
                Err(error) => assert!(is_reasoned(&error)),
            }
            index.stored.borrow_mut().clear();
            assert_eq!(index.scan().unwrap(), first);
        }
    }
}

#[test]
fn what_is_served_of_several_is_kept_and_the_rest_asked_one_by_one() {
    let all = index();
    let expected = all.scan().unwrap();
    for served in [1, 2] {
        let index = index();
        index.served_max.set(served);
        assert_eq!(index.scan(), Ok(expected.clone()), "{served}");
        assert_eq!(*index.requests.borrow(), *all.requests.borrow(), "nothing is asked twice");
    }
}
