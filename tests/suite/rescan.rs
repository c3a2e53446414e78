//! Blocks that are read again and transactions that are looked for: what a provider kept back, what nobody keeps, and
//! what is refused. What every chain has to do with them is in `conformance`.

use std::time::Duration;

use kassa_tests::{
    Answer, Change, Database, Fault, Rule, SHARED_ADDRESS, Sandbox, Suite, World, eventually, list, text,
    within,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("rescan::a_gap_of_a_provider_is_mended_by_a_rescan_and_by_a_find", gap);
    suite.both("rescan::what_nobody_keeps_is_given_up_and_an_archive_has_it", archive);
    suite.both("rescan::it_goes_on_after_a_kill", killed);
    suite.both("rescan::what_cannot_be_read_again_is_refused", refused);
    suite.both("rescan::a_transaction_is_found_once_it_is_in_a_block", pending);
    suite.both("rescan::a_find_tells_nobody_of_anothers_payments", others);
}

/// An answer is good for some seconds: what is asked again shortly after is not asked anew.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the answer to a call, of one or of a batch, was changed by this.
fn each_result(mut answer: Value, change: &dyn Fn(&mut Value) -> bool) -> Option<Vec<u8>> {
    let changed = match &mut answer {
        Value::Array(calls) => calls.iter_mut().fold(false, |any, call| change(&mut call["result"]) | any),
        call => change(&mut call["result"]),
    };
    changed.then(|| answer.to_string().into_bytes())
}

/// Blocks without a trace of any log, as an index tells them that has lost some.
fn without_logs(result: &mut Value) -> bool {
    if let Some(logs) = result.as_array_mut() {
        logs.clear();
        return true;
    }
    let Some(bloom) = result.get_mut("logsBloom") else { return false };
    *bloom = json!(format!("0x{}", "0".repeat(512)));
    true
}

async fn gap(database: Database) {
    let world = World::start(database).await;
    let change = Change::new(|_, answer| each_result(answer, &without_logs));
    world.proxy.add(Rule::new(Fault::Changed(change)));
    let from = world.anvil.head().await + 1;
    let [first, second] = [world.invoice("USDT", "5").await, world.invoice("USDT", "6").await];
    let mut txs = Vec::new();
    for invoice in [&first, &second] {
        txs.push(world.pay(invoice).await);
    }
    // For nobody's invoice.
    txs.push(world.send("USDT", SHARED_ADDRESS, 7_000_000).await);
    world.anvil.mine(40).await;
    world.settled().await;
    assert_eq!(world.transfers().await, Vec::<Value>::new());
    world.proxy.clear();

    let found = world.find(&txs[0]).await.ok();
    assert_eq!(found["status"], "found", "{found}");
    assert_eq!(found["transfers"][0]["payments"][0]["invoice_id"], first["id"], "{found}");
    // All that is in the block was taken in, whoever asked.
    for invoice in [&first, &second] {
        let paid = world.until(invoice, "paid").await;
        assert_eq!(paid["exception"], "none", "{paid}");
    }
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    let third = world.invoice("USDT", "6.50").await;
    let path = format!("/v1/transfers/{}/assign", text(&unmatched[0]["id"]));
    world.api().post(&path, &json!({"invoice_id": third["id"]})).await.ok();
    let over = world.until(&third, "overpaid").await;
    assert_eq!(over["exception"], "manual", "{over}");

    // The same of a rescan, with another gap.
    let change = Change::new(|_, answer| each_result(answer, &without_logs));
    world.proxy.add(Rule::new(Fault::Changed(change)));
    let fourth = world.invoice("DAI", "8").await;
    world.pay(&fourth).await;
    world.anvil.mine(40).await;
    world.settled().await;
    assert_eq!(world.get_invoice(&fourth).await["status"], "new");
    world.proxy.clear();
    for found in [1, 0] {
        let done = world.rescanned(&json!({"from": from})).await;
        assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(found)), "{done}");
        world.until(&fourth, "paid").await;
        world.settled().await;
    }
    assert_eq!(world.receiver.got_kind("invoice.paid").len(), 3);
    assert_eq!(world.transfers().await.len(), 4);
}

/// A provider that has forgotten old blocks, as nodes do that are no archives; then one beside it that has them.
async fn archive(database: Database) {
    let world = World::start(database).await;
    world.anvil.mine(60).await;
    world.caught_up().await;
    let kept = world.anvil.head().await;
    let forgotten = move |result: &mut Value| {
        let number = result["number"].as_str().and_then(|text| text.strip_prefix("0x"));
        let number = number.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let forgets = number.is_some_and(|number| number + 20 < kept);
        if forgets {
            *result = Value::Null;
        }
        forgets
    };
    let change = Change::new(move |_, answer| each_result(answer, &forgotten));
    world.proxy.add(Rule::new(Fault::Changed(change)));
    let from = json!({"from": kept - 50});
    let made = world.rescan(&from).await.ok();
    // New blocks are read all the while: so it is the old ones that nobody has.
    let given_up = within(PATIENCE, "a rescan that is given up", || async {
        world.anvil.mine(1).await;
        let one = rescans(&world).await.into_iter().find(|one| one["id"] == made["id"]).ok_or("gone")?;
        if one["state"] == "running" { Err(one.to_string()) } else { Ok(one) }
    })
    .await;
    assert_eq!((&given_up["state"], &given_up["read"]), (&json!("failed"), &json!(0)), "{given_up}");
    let why = text(&given_up["error"]);
    assert!(why.contains(&format!("block {}", kept - 50)) && why.contains("archive"), "{why}");
    // What it could not tell is not held against the provider.
    let invoice = world.invoice("USDT", "5").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;

    world.add_upstream(&world.network, world.anvil.url()).await;
    let done = world.rescanned(&from).await;
    assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(0)), "{done}");
    world.settled().await;
}

async fn rescans(world: &World) -> Vec<Value> {
    let path = format!("/v1/operator/networks/{}/rescans", world.network);
    list(&world.kassa.operator().get(&path).await.ok())
}

async fn killed(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let address = sandbox.address("a customer").await;
    let sent = json!({"do": "transfer", "to": address, "asset": "usdt", "amount": "5000000"});
    sandbox.simulate(&sent).await;
    for _ in 0..3 {
        sandbox.simulate(&json!({"do": "mine", "blocks": 1000})).await;
    }
    sandbox.simulate(&sent).await;
    sandbox.simulate(&json!({"do": "mine", "blocks": 40})).await;
    eventually("the chain to be read", || async {
        let height = sandbox.shop.watching("sandbox").await;
        if height > 3_040 { Ok(()) } else { Err(height.to_string()) }
    })
    .await;
    sandbox.shop.customer("customer-17", &address).await;
    let made = sandbox.shop.rescan(&json!({"from": 1})).await.ok();
    sandbox.shop.kassa.restart().await;
    let path = "/v1/operator/networks/sandbox/rescans";
    let done = eventually("the end of the rescan", || async {
        let one = list(&sandbox.shop.kassa.operator().get(path).await.ok()).remove(0);
        if one["state"] == "running" { Err(one.to_string()) } else { Ok(one) }
    })
    .await;
    assert_eq!(done["id"], made["id"]);
    assert_eq!((&done["state"], &done["found"], &done["read"]), (&json!("done"), &json!(2), &done["blocks"]));
    sandbox.shop.receiver.wait_for("deposit.credited", 2).await;
    sandbox.shop.delivered().await;
    assert_eq!(sandbox.shop.transfers().await.len(), 2);
}

fn slug(answer: &Answer, status: u16) -> String {
    text(&json!(answer.problem(status).rsplit('/').next()))
}

async fn refused(database: Database) {
    let sandbox = Sandbox::start(database).await;
    sandbox.send(1).await;
    let head = sandbox.simulate(&json!({"do": "state"})).await["height"].as_i64().expect("a height");
    eventually("the chain to be read", || async {
        let height = sandbox.shop.watching("sandbox").await;
        if height == head { Ok(()) } else { Err(height.to_string()) }
    })
    .await;
    for (order, status, problem, field) in [
        (json!({}), 400, "field_missing", "from"),
        (json!({"to": 3}), 400, "field_missing", "from"),
        (json!({"from": 1, "since": "2026-01-01T00:00:00Z"}), 400, "field_malformed", "since"),
        (json!({"from": "1"}), 400, "field_malformed", "from"),
        (json!({"from": 1.5}), 400, "field_malformed", "from"),
        (json!({"from": 1, "to": "head"}), 400, "field_malformed", "to"),
        (json!({"since": "yesterday"}), 400, "field_malformed", "since"),
        (json!({"from": 1, "blocks": 3}), 400, "field_unknown", "blocks"),
        (json!({"from": 0}), 422, "rescan_refused", "from"),
        (json!({"from": -7}), 422, "rescan_refused", "from"),
        (json!({"from": head + 1}), 422, "rescan_refused", "from"),
        (json!({"from": 1, "to": head + 1}), 422, "rescan_refused", "to"),
        (json!({"from": 3, "to": 2}), 422, "rescan_refused", "to"),
        (json!({"from": 1, "to": i64::MAX}), 422, "rescan_refused", "to"),
        (json!({"since": "2199-01-01T00:00:00Z"}), 422, "rescan_refused", "since"),
    ] {
        let answer = sandbox.shop.rescan(&order).await;
        assert_eq!(
            (slug(&answer, status).as_str(), &answer.body["field"]),
            (problem, &json!(field)),
            "{order}"
        );
    }
    let operator = sandbox.shop.kassa.operator();
    let asked = async |network: &str| {
        operator.post(&format!("/v1/operator/networks/{network}/rescans"), &json!({"from": 1})).await
    };
    assert_eq!(slug(&asked("base").await, 409), "network_disabled");
    assert_eq!(slug(&asked("nowhere").await, 404), "not_found");
    let path = "/v1/operator/networks/sandbox/rescans";
    let answer = sandbox.shop.api().post(path, &json!({"from": 1})).await;
    assert_eq!(slug(&answer, 403), "operator_only");
    // A disabled network keeps what was read of it, and is not read again.
    operator.post("/v1/operator/networks/sandbox/disable", &json!({})).await.ok();
    assert_eq!(slug(&asked("sandbox").await, 409), "network_disabled");
    operator.post("/v1/operator/networks/sandbox/enable", &json!({})).await.ok();

    // One at a time, told once for one Idempotency-Key, and cancelled for good.
    sandbox.simulate(&json!({"do": "outage", "ms": 600_000})).await;
    let first = operator.post_once(path, "again", &json!({"from": 1})).await.ok();
    assert_eq!(operator.post_once(path, "again", &json!({"from": 1})).await.ok()["id"], first["id"]);
    let second = asked("sandbox").await;
    assert_eq!(slug(&second, 409), "rescan_running");
    assert_eq!(second.body["rescan_id"], first["id"]);
    let one = format!("/v1/operator/rescans/{}", text(&first["id"]));
    assert_eq!(operator.delete(&one).await.ok()["state"], "cancelled");
    sandbox.simulate(&json!({"do": "outage", "ms": 0})).await;
    let done = sandbox.shop.rescanned(&json!({"from": 1})).await;
    assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(0)), "{done}");
    assert_eq!(
        slug(&operator.delete(&format!("/v1/operator/rescans/{}", text(&done["id"]))).await, 409),
        "conflict"
    );
    assert_eq!(list(&operator.get(path).await.ok()).len(), 2);
}

async fn pending(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("USDT", "5").await;
    let tx = world.pay(&invoice).await;
    let waits = world.find(&tx).await.ok();
    assert_eq!((&waits["status"], &waits["height"]), (&json!("not_found"), &json!(null)), "{waits}");
    assert!(waits["ask_again_s"].as_u64() > Some(0), "{waits}");
    world.anvil.mine(3).await;
    let found = within(PATIENCE, "a transaction that is found", || async {
        let answer = world.find(&tx).await;
        if answer.status == 200 && answer.body["status"] == "found" {
            Ok(answer.body)
        } else {
            Err(answer.text)
        }
    })
    .await;
    assert_eq!(found["transfers"][0]["payments"][0]["invoice_id"], invoice["id"], "{found}");
    world.until(&invoice, "paid").await;
    world.settled().await;
    assert_eq!(world.transfers().await.len(), 1);
    // One that is in a block and moved nothing to the shop.
    let other = world.anvil.send_native(&world.anvil.accounts[1], &world.usdt, 0).await;
    world.anvil.mine(1).await;
    world.caught_up().await;
    assert_eq!(world.find(&other).await.ok()["status"], "nothing_for_you");
    for (tx, problem) in [
        ("0x1234", "transaction_malformed"),
        ("te6cckEBAQEAAgAAAEysuc0=", "transaction_malformed"),
        ("", "field_malformed"),
        ("0x\u{7}", "field_malformed"),
    ] {
        let answer = world.find(tx).await;
        assert_eq!(answer.body["type"], format!("/problems/{problem}"), "{tx:?}: {}", answer.body);
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    let body = json!({"network": "sandbox", "tx": tx});
    assert_eq!(slug(&world.api().post("/v1/transfers/find", &body).await, 422), "network_mode_mismatch");
}

async fn others(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let shop = &sandbox.shop;
    let invoice = sandbox.paid("5", &json!({})).await;
    let tx = text(&shop.transfers().await[0]["tx_hash"]);
    let other = shop.new_merchant("neighbour", "test").await;
    let neighbour = shop.api().with_key(&other.key);
    let body = json!({"network": "sandbox", "tx": tx});
    for asked in 0..2 {
        // Whoever asks first: the other one's answer is its own.
        let theirs = neighbour.post_once("/v1/transfers/find", "once", &body).await.ok();
        assert_eq!(
            (&theirs["status"], &theirs["transfers"]),
            (&json!("nothing_for_you"), &json!([])),
            "{asked}"
        );
        for secret in [text(&invoice["id"]), text(&invoice["destination_address"]), shop.merchant.id.clone()]
        {
            assert!(!theirs.to_string().contains(&secret), "{theirs}");
        }
        let ours = shop.api().post_once("/v1/transfers/find", "once", &body).await.ok();
        assert_eq!(
            (&ours["status"], &ours["transfers"][0]["tx_hash"]),
            (&json!("found"), &json!(tx)),
            "{ours}"
        );
    }
    assert_eq!(list(&neighbour.get("/v1/transfers").await.ok()), Vec::<Value>::new());
    assert_eq!(slug(&shop.kassa.operator().post("/v1/transfers/find", &body).await, 403), "merchant_only");
    shop.delivered().await;
    assert_eq!(shop.receiver.got_kind("invoice.paid").len(), 1);
}
