//! Native coin that contracts send, on a node that nobody asks for traces: balances show it, and a person decides.

use kassa_tests::{
    Database, Fault, NETWORK, Proxy, Rule, SHARED_ADDRESS, Suite, World, contract, eventually, list, text,
    word,
};
use serde_json::{Value, json};

/// Blocks until all that is mined is final: the node calls final what is 16 blocks below its head.
const TO_FINAL: u64 = 17;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("rises::what_a_contract_pays_is_listed_once_and_assigned", listed_and_assigned);
    suite.both("rises::whatever_a_provider_does_costs_time_alone", bad_providers);
    suite.both("rises::a_provider_that_makes_up_a_rise_is_not_believed_alone", made_up);
}

/// Pays an invoice in native coin by a contract.
async fn forward(world: &World, sender: &str, invoice: &Value) {
    let data = contract("Sender").call("forward(address)", &[word(SHARED_ADDRESS)]);
    let value = format!("{:#x}", world.due(invoice));
    let payer = &world.anvil.accounts[3];
    let call = json!({"from": payer, "to": sender, "data": data, "value": value, "gas": "0x30d40"});
    let tx = world.anvil.send(call).await;
    world.anvil.mine(1).await;
    assert!(world.anvil.receipt(&tx).await.succeeded);
}

/// Waits until all addresses were looked at, at the final block that the node has now.
async fn compared(world: &World) {
    let r#final = world.anvil.head().await - (TO_FINAL - 1);
    let behind = format!("SELECT address_id FROM balance WHERE amount IS NULL OR height < {final}");
    eventually("all balances to be compared", || async {
        let rows = world.database.rows(&behind).await;
        if rows.is_empty() { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    world.settled().await;
}

async fn rises(world: &World) -> Vec<Value> {
    let mut all = world.transfers().await;
    all.retain(|transfer| transfer["kind"] == "rise");
    all
}

async fn listed_and_assigned(database: Database) {
    let mut world = World::start(database).await;
    let networks = list(&world.api().get("/v1/networks").await.ok());
    let network = networks.iter().find(|network| network["name"] == NETWORK).expect("the network");
    for asset in network["assets"].as_array().expect("assets") {
        assert_eq!(asset["payer_note"].is_string(), asset["symbol"] == "ETH", "{asset}");
    }
    let sender = world.anvil.deploy(&contract("Sender"), &[]).await;
    world.caught_up().await;
    let (invoice, ordinary) = (world.invoice("ETH", "0.25").await, world.invoice("ETH", "0.25").await);
    forward(&world, &sender, &invoice).await;
    world.pay(&ordinary).await;
    world.anvil.mine(3).await;
    world.until(&ordinary, "paid").await;
    world.settled().await;
    assert!(rises(&world).await.is_empty(), "it is not final");
    world.anvil.mine(TO_FINAL).await;
    compared(&world).await;
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    let rise = &unmatched[0];
    assert_eq!((&rise["kind"], &rise["reason"]), (&json!("rise"), &json!("unexplained_rise")), "{rise}");
    assert_eq!((&rise["tx_hash"], &rise["sender"]), (&Value::Null, &Value::Null), "{rise}");
    assert_eq!((&rise["invoice_id"], &rise["status"]), (&invoice["id"], &json!("final")), "{rise}");
    assert_eq!(rise["amount_units"], world.due(&invoice).to_string());
    let height = rise["height"].as_u64().expect("a height");
    assert_eq!(rise["block_hash"], world.anvil.block_hash(height).await);
    let told = world.receiver.wait_for("transfer.unmatched", 1).await;
    assert_eq!(told[0].json()["data"]["reason"], "unexplained_rise");
    assert_eq!(world.get_invoice(&invoice).await["status"], "new");

    world.kassa.kill();
    world.anvil.mine(TO_FINAL).await;
    world.kassa.restart().await;
    let third = world.invoice("ETH", "0.25").await;
    world.pay(&third).await;
    world.anvil.mine(TO_FINAL).await;
    world.until(&third, "paid").await;
    compared(&world).await;
    assert_eq!(rises(&world).await.len(), 1);
    assert_eq!(world.receiver.got_kind("transfer.unmatched").len(), 1);

    let path = format!("/v1/transfers/{}/assign", text(&rise["id"]));
    world.api().post(&path, &json!({"invoice_id": invoice["id"]})).await.ok();
    let paid = world.until(&invoice, "paid").await;
    assert_eq!(
        (&paid["exception"], &paid["credited_amount"]),
        (&json!("manual"), &invoice["payable_amount"])
    );
    let payments =
        list(&world.api().get(&format!("/v1/payments?invoice_id={}", text(&invoice["id"]))).await.ok());
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!((&payments[0]["tx_hash"], &payments[0]["status"]), (&Value::Null, &json!("credited")));
    world.anvil.mine(TO_FINAL).await;
    compared(&world).await;
    assert_eq!(rises(&world).await.len(), 1);
    assert!(world.unmatched().await.is_empty());
}

async fn bad_providers(database: Database) {
    let world = World::start(database).await;
    let sender = world.anvil.deploy(&contract("Sender"), &[]).await;
    world.caught_up().await;
    let on_balances = |fault| Rule::new(fault).on("eth_getBalance");
    let pruned = Fault::Error { code: -32000, message: "missing trie node 0x12 (path )" };
    let faults = [
        ("no number", on_balances(Fault::Result(json!("0xzz")))),
        ("more than there is", on_balances(Fault::Result(json!(format!("0x{}", "f".repeat(64)))))),
        ("nothing", on_balances(Fault::Result(Value::Null))),
        ("another shape", on_balances(Fault::Result(json!({"balance": "0x1"})))),
        ("a block that is no longer kept", on_balances(pruned)),
        ("a head below the block", Rule::new(Fault::Result(json!("0x1"))).on("eth_blockNumber")),
        ("another id", on_balances(Fault::WrongId)),
        ("half an answer", on_balances(Fault::Truncated)),
        ("no answer", on_balances(Fault::HangUp)),
        ("429", on_balances(Fault::Status { code: 429, retry_after_s: Some(1) })),
    ];
    for (index, (name, rule)) in faults.into_iter().enumerate() {
        // One fault strikes the first look, the next one a later one.
        let invoice = world.invoice("ETH", &format!("0.{}", index + 1)).await;
        if index % 2 == 0 {
            world.anvil.mine(TO_FINAL).await;
            compared(&world).await;
        }
        world.proxy.reset_counts();
        world.proxy.add(rule);
        forward(&world, &sender, &invoice).await;
        world.anvil.mine(TO_FINAL).await;
        eventually("a spoiled answer", || async {
            let counts = world.proxy.counts();
            if counts.spoiled > 0 { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        assert_eq!(rises(&world).await.len(), index, "{name}");
        world.proxy.clear();
        compared(&world).await;
        let rises = rises(&world).await;
        assert_eq!(rises.len(), index + 1, "{name}: {rises:?}");
        assert_eq!(rises[0]["invoice_id"], invoice["id"], "{name}");
        assert_eq!(rises[0]["amount_units"], world.due(&invoice).to_string(), "{name}");
        println!("  rises: made up for {name}");
    }
}

async fn made_up(database: Database) {
    let world = World::start(database).await;
    let second = Proxy::start(world.anvil.url()).await;
    let body = json!({"url": second.url(), "calls_per_s": 1000, "priority": 5});
    let path = format!("/v1/operator/networks/{NETWORK}/upstreams");
    world.kassa.operator().post(&path, &body).await.ok();
    let sender = world.anvil.deploy(&contract("Sender"), &[]).await;
    world.caught_up().await;
    let invoice = world.invoice("ETH", "0.25").await;
    world.anvil.mine(TO_FINAL).await;
    compared(&world).await;
    // Much more than there is.
    world.proxy.add(Rule::new(Fault::Result(json!("0xde0b6b3a7640000"))).on("eth_getBalance"));
    world.proxy.reset_counts();
    for _ in 0..3 {
        world.anvil.mine(1).await;
        compared(&world).await;
    }
    assert!(world.proxy.counts().spoiled > 0);
    assert!(rises(&world).await.is_empty());
    // What is there is found all the same.
    forward(&world, &sender, &invoice).await;
    world.anvil.mine(TO_FINAL).await;
    compared(&world).await;
    let rises = rises(&world).await;
    assert_eq!(rises.len(), 1, "{rises:?}");
    assert_eq!(rises[0]["amount_units"], world.due(&invoice).to_string());
}
