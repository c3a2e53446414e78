use super::*;
use kassa_sdk::hook::testing::{Scripted, paid};
use kassa_sdk::webhooks::WebhooksError;
use serde_json::{Value, json};

/// A host with keys for sale.
fn shop(keys: &[&str]) -> Scripted {
    let host = Scripted::default();
    for (index, key) in keys.iter().enumerate() {
        host.set(&format!("key/{index}"), key.as_bytes()).unwrap();
    }
    host
}

fn run(host: &Scripted, invoice: Value) -> Outcome {
    fulfill(host, &paid(invoice)).into()
}

fn stored(host: &Scripted) -> Vec<(String, String)> {
    let storage = host.storage.borrow();
    storage.iter().map(|(key, value)| (key.clone(), String::from_utf8(value.clone()).unwrap())).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_invoice_gets_one_key_and_only_one() {
    let host = shop(&["AAAA-BBBB", "CCCC-DDDD"]);
    let first = run(&host, json!({}));
    assert_eq!(first, Outcome::Done("key …BBBB for A-7".into()));
    assert_eq!(stored(&host), pairs(&[("key/1", "CCCC-DDDD"), ("sold/inv_1", "AAAA-BBBB")]));
    let issued = json!({"invoice_id": "inv_1", "order_id": "A-7", "key": "AAAA-BBBB"});
    assert_eq!(*host.queued.borrow(), [("hook.license.issued".to_owned(), issued)]);

    // The same invoice again (another try, or overpaid after paid): the same note, nothing else.
    assert_eq!(run(&host, json!({})), first);
    assert_eq!((stored(&host).len(), host.queued.borrow().len()), (2, 1));

    let second = run(&host, json!({"id": "inv_2", "order_id": null}));
    assert_eq!(second, Outcome::Done("key …DDDD for inv_2".into()));
    assert_eq!(stored(&host), pairs(&[("sold/inv_1", "AAAA-BBBB"), ("sold/inv_2", "CCCC-DDDD")]));
    assert_eq!(host.queued.borrow()[1].1["order_id"], Value::Null);
}

#[test]
fn without_keys_it_waits_for_more() {
    let host = shop(&[]);
    let wait = Outcome::retry(300, "no keys left; put more into storage under key/");
    assert_eq!(run(&host, json!({})), wait);
    host.set("keys", b"not under key/").unwrap();
    assert_eq!(run(&host, json!({})), wait);
    host.set("key/x", b"AAAA-BBBB").unwrap();
    assert!(matches!(run(&host, json!({})), Outcome::Done(_)));
}

#[test]
fn what_is_no_key_is_not_sold() {
    for value in [&b"\xff\xfe"[..], b""] {
        let host = shop(&[]);
        host.set("key/a", value).unwrap();
        let Outcome::Retry((300, why)) = run(&host, json!({})) else { panic!() };
        assert!(why.contains("key/a") && why.contains("replace"), "{why}");
        assert_eq!(host.storage.borrow().len(), 1);
    }
}

#[test]
fn a_sale_that_stops_half_way_is_taken_back() {
    // Its webhook is refused.
    for error in [WebhooksError::Quota("full".into()), WebhooksError::Malformed("data".into())] {
        let mut host = shop(&["AAAA-BBBB"]);
        host.refuses_webhooks = Some(error);
        assert!(!matches!(run(&host, json!({})), Outcome::Done(_)));
        assert_eq!(stored(&host), pairs(&[("key/0", "AAAA-BBBB")]));
        host.refuses_webhooks = None;
        assert!(matches!(run(&host, json!({})), Outcome::Done(_)));
    }
    // Its storage is full.
    let host = shop(&["AAAA-BBBB"]);
    host.sets_left.set(Some(0));
    assert_eq!(run(&host, json!({})), Outcome::retry(300, "storage: full"));
    assert_eq!(stored(&host), pairs(&[("key/0", "AAAA-BBBB")]));
    // The invoice's id is no key of storage.
    let host = shop(&["AAAA-BBBB"]);
    let Outcome::Reject(why) = run(&host, json!({"id": "x".repeat(300)})) else { panic!() };
    assert!(why.contains("256"), "{why}");
    assert_eq!(stored(&host), pairs(&[("key/0", "AAAA-BBBB")]));
}

#[test]
fn notes_show_no_more_than_the_end_of_a_key() {
    for (key, end) in [("AAAA-BBBB", "BBBB"), ("ключ-один", "один"), ("AB", "AB"), ("🔑🔑🔑🔑🔑", "🔑🔑🔑🔑")]
    {
        let Outcome::Done(note) = run(&shop(&[key]), json!({})) else { panic!() };
        assert_eq!(note, format!("key …{end} for A-7"));
    }
}

#[test]
fn events_without_an_invoice_are_rejected() {
    for payload in ["", "null", "{", r#"{"data":{"transfer":{}}}"#, &"[".repeat(10_000)] {
        let host = shop(&["AAAA-BBBB"]);
        let event = Event { payload: payload.into(), ..paid(json!({})) };
        assert!(matches!(fulfill(&host, &event), Err(Outcome::Reject(_))));
        assert_eq!(host.storage.borrow().len(), 1);
    }
}
