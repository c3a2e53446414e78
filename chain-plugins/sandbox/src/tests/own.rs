//! Actions of merchants, which reach only what is theirs.

use super::*;

const LONGEST: u64 = crate::ledger::OWN_OUTAGE_MS_MAX;

/// The same action, made by a merchant.
fn by(merchant: &str, mut action: Value) -> Value {
    action["by"] = json!(merchant);
    action
}

fn pay(amount: &str) -> Value {
    json!({"do": "transfer", "to": shop(), "amount": amount})
}

fn malformed(host: &Memory, action: &Value) -> String {
    match try_act(host, action) {
        Err(SimulateError::Malformed(why)) => why,
        other => panic!("{action:.200}: {other:?}"),
    }
}

/// Heights and amounts of the transfers that were read.
fn seen(host: &Memory) -> Vec<(u64, u128)> {
    let found = read(host).transfers;
    found.iter().map(|found| (found.height, found.amount.unwrap().into())).collect()
}

#[test]
fn only_ones_own_can_be_taken_back() {
    let host = memory();
    let theirs = act(&host, by("b", pay("1")));
    let waiting = act(&host, by("b", json!({"do": "transfer", "to": shop(), "amount": "2", "mine": 0})));
    let own = act(&host, by("a", pay("3")));
    assert_eq!(own["to"], json!([shop()]));
    for tx in [&theirs["tx"], &waiting["tx"], &json!("nothing")] {
        for again in [false, true] {
            let retract = by("a", json!({"do": "retract", "tx": tx, "again": again}));
            let error = try_act(&host, &retract).unwrap_err();
            assert_eq!(error, SimulateError::NotFound(tx.as_str().unwrap().into()));
        }
    }
    // A reorganization from below all that is there leaves the others' where they are.
    let before = read(&host);
    act(&host, by("a", json!({"do": "retract", "tx": own["tx"]})));
    assert_eq!(seen(&host), [(1, 1)]);
    let after = read(&host);
    assert_eq!(before.blocks[0], after.blocks[0]);
    assert_ne!(before.blocks[1].hash, after.blocks[1].hash);
    // The operator may do so.
    act(&host, json!({"do": "retract", "tx": theirs["tx"]}));
    assert_eq!(seen(&host), []);
    // Final is final, whoever asks; and what is old is not searched for.
    let old = act(&host, by("a", pay("4")));
    act(&host, by("b", json!({"do": "mine", "blocks": 12})));
    let retract = by("a", json!({"do": "retract", "tx": old["tx"]}));
    assert!(matches!(try_act(&host, &retract), Err(SimulateError::TooDeep(_))));
    act(&host, by("b", json!({"do": "mine", "blocks": 100})));
    assert!(matches!(try_act(&host, &retract), Err(SimulateError::NotFound(_))));
}

#[test]
fn nobodys_block_takes_along_what_waits_for_anothers() {
    let host = memory();
    act(&host, by("a", json!({"do": "transfer", "to": shop(), "amount": "1", "mine": 0})));
    act(&host, by("b", pay("2")));
    act(&host, json!({"do": "mine"}));
    assert_eq!(seen(&host), [(1, 2)]);
    act(&host, by("a", json!({"do": "mine"})));
    assert_eq!(seen(&host), [(1, 2), (3, 1)]);
}

#[test]
fn an_outage_holds_up_ones_own() {
    let host = memory();
    let answer = act(&host, by("a", json!({"do": "outage", "ms": 5_000})));
    assert_eq!(answer["until_ms"], host.now_ms() + 5_000);
    assert_eq!(act(&host, by("a", pay("1")))["height"], Value::Null);
    act(&host, by("a", json!({"do": "mine", "blocks": 4})));
    assert!(read(&host).blocks.is_empty());
    assert_eq!(act(&host, by("b", pay("2")))["height"], 1);
    assert_eq!(seen(&host), [(1, 2)]);
    // The scan itself ends it, once: what it writes is committed with it.
    host.now_ms.set(host.now_ms() + 5_000);
    assert_eq!(seen(&host), [(1, 2), (2, 1)]);
    assert_eq!(read(&host).head.height, 6);
    assert_eq!(act(&host, by("a", pay("3")))["height"], 7);

    // By hand; what waits for a block goes on waiting, and an outage without anything leaves no block.
    act(&host, by("a", json!({"do": "outage", "ms": 5_000})));
    act(&host, by("a", json!({"do": "transfer", "to": shop(), "amount": "4", "mine": 0})));
    act(&host, by("a", json!({"do": "outage", "ms": 0})));
    assert_eq!(read(&host).head.height, 7);
    act(&host, by("a", json!({"do": "mine"})));
    assert_eq!(seen(&host).last(), Some(&(8, 4)));

    // What was sent can be taken back before it has reached the chain.
    act(&host, by("a", json!({"do": "outage", "ms": 5_000})));
    let doomed = act(&host, by("a", pay("5")));
    act(&host, by("a", json!({"do": "retract", "tx": doomed["tx"]})));
    act(&host, by("a", json!({"do": "outage", "ms": 0})));
    assert_eq!((seen(&host).len(), read(&host).head.height), (4, 9));
    // A clock that is set back does not prolong it.
    act(&host, by("a", json!({"do": "outage", "ms": LONGEST})));
    act(&host, by("a", pay("6")));
    host.now_ms.set(host.now_ms() - 1);
    assert_eq!(seen(&host).last(), Some(&(10, 6)));
}

#[test]
fn what_a_merchant_asks_for_is_bounded() {
    let host = memory();
    for (action, limit) in [
        (json!({"do": "mine", "blocks": 101}), "100"),
        (json!({"do": "mine", "blocks": 1_000_000_000}), "100"),
        (json!({"do": "transfer", "to": shop(), "amount": "1", "mine": 101}), "100"),
        (json!({"do": "outage", "ms": LONGEST + 1}), "600000"),
        (json!({"do": "outage", "ms": 1_000_000_000_000_000u64}), "600000"),
        (json!({"do": "outage", "ms": 5, "kind": "behind"}), "operator"),
        (json!({"do": "transfers", "list": vec![json!({"to": shop(), "amount": "1"}); 100]}), "6144"),
    ] {
        let why = malformed(&host, &by("a", action));
        assert!(why.contains(limit), "{why}");
    }
    assert!(host.map.borrow().is_empty());
    // What waits: for a block, and for the end of an outage.
    let waits =
        by("a", json!({"do": "transfer", "to": shop(), "amount": "1", "memo": "m".repeat(1_000), "mine": 0}));
    for _ in 0..5 {
        act(&host, waits.clone());
    }
    assert!(malformed(&host, &waits).contains("mine one"));
    act(&host, by("b", waits));
    act(&host, by("c", json!({"do": "outage", "ms": 5_000})));
    for _ in 0..10 {
        act(&host, by("c", json!({"do": "mine", "blocks": 100})));
    }
    assert!(malformed(&host, &by("c", json!({"do": "mine"}))).contains("1000"));
}

#[test]
fn whatever_one_does_the_chain_fits_its_storage() {
    let host = memory();
    let moves: Vec<Value> =
        (0..5).map(|_| json!({"to": shop(), "amount": "1", "memo": "m".repeat(1_000)})).collect();
    let mut largest = 0;
    for _ in 0..300 {
        act(&host, by("a", json!({"do": "transfers", "list": moves, "mine": 0})));
        let tx = act(&host, by("a", json!({"do": "transfers", "list": moves})))["tx"].clone();
        act(&host, by("a", json!({"do": "retract", "tx": tx, "again": true})));
        let stored = host.map.borrow();
        let blocks = stored.iter().filter(|(key, _)| key.starts_with("b/"));
        largest = largest.max(blocks.map(|(key, value)| key.len() + value.len()).max().unwrap());
    }
    assert!(largest <= 2 * crate::ledger::SHARE_BYTES + 100, "{largest}");
    // With all that is kept, and the pools of a thousand merchants: what plugin.toml asks for.
    assert!(4_100 * largest + 1_000 * crate::ledger::SHARE_BYTES < 64 << 20);
    for _ in 0..200 {
        act(&host, by("b", json!({"do": "mine", "blocks": 100})));
    }
    let stored: usize = host.map.borrow().iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(stored < 1 << 20, "old blocks are forgotten: {stored}");
}

#[test]
fn ids_and_addresses_are_not_guessed_from_others() {
    let (one, other) = (memory(), memory());
    assert_ne!(act(&one, by("a", pay("1")))["tx"], act(&other, by("b", pay("1")))["tx"]);
    let address = |by: Option<&str>| {
        let mut action = json!({"do": "address", "seed": "shop"});
        action["by"] = by.map_or(Value::Null, Value::from);
        if by.is_none() {
            action.as_object_mut().unwrap().remove("by");
        }
        act(&one, action)["address"].clone()
    };
    let all = [address(None), address(Some("a")), address(Some("b"))];
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{all:?}");
    assert_eq!(address(Some("a")), all[1]);
}

#[test]
fn a_chain_of_the_version_before_goes_on() {
    let host = memory();
    let head = r#"{"height":2,"time_ms":1800000000000,"txs":2,"eras":[[0,0]],"next_era":1,"outage":null}"#;
    let tx = |id: &str| json!({"id": id, "moves": [{"from": "sbx1x", "to": shop(), "amount": "5"}]});
    let segment = json!({"from": 1, "time_ms": 1_800_000_000_000u64, "txs": [tx("one")]});
    for (key, value) in [
        ("head", head.to_owned()),
        ("b/0000000000000002", segment.to_string()),
        ("pool", json!([tx("two")]).to_string()),
    ] {
        host.set(key, value.as_bytes()).unwrap();
    }
    assert_eq!(seen(&host), [(1, 5)]);
    let retract = by("a", json!({"do": "retract", "tx": "one"}));
    assert!(matches!(try_act(&host, &retract), Err(SimulateError::NotFound(_))));
    act(&host, json!({"do": "mine"}));
    assert_eq!(seen(&host), [(1, 5), (3, 5)]);
}
