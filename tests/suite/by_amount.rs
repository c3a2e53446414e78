//! Credits by amount: what is more waits longer, and a large one for two providers.

use kassa_tests::{
    AnvilOptions, Change, Database, Fault, NETWORK, Proxy, Rule, Suite, World, eventually, text,
};
use serde_json::{Value, json};

/// A customer's own address.
const CUSTOMER: &str = "0x00000000000000000000000000000000000c0575";
/// Blocks until all that is mined is final: the node calls final what is 16 blocks below its head.
const TO_FINAL: u64 = 17;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("by_amount::what_is_more_waits_longer", waits_longer);
    suite.both("by_amount::large_ones_are_seen_by_two_providers", seen_by_two);
    suite.both("by_amount::what_one_provider_makes_up_is_never_credited", made_up);
}

/// A world that credits USDT by these tiers, and the coin after three confirmations.
async fn with_tiers(database: Database, tiers: Value) -> World {
    let world = World::start(database).await;
    let mut manifest = world.manifest(NETWORK, &json!(3), &json!({}), AnvilOptions::default().chain_id);
    manifest["asset"][1]["credit"] = tiers;
    world.put_network(&manifest).await;
    let networks = world.api().get("/v1/networks").await.ok();
    let network = networks["data"].as_array().expect("networks").iter().find(|one| one["name"] == NETWORK);
    assert_eq!(network.expect("the network")["assets"][1]["credit"], manifest["asset"][1]["credit"]);
    world.caught_up().await;
    world
}

async fn statuses(world: &World, invoices: &[&Value]) -> Vec<String> {
    let mut statuses = Vec::new();
    for invoice in invoices {
        statuses.push(text(&world.get_invoice(invoice).await["status"]));
    }
    statuses
}

async fn transfer(world: &World, tx: &str) -> Value {
    let all = world.transfers().await;
    all.into_iter().find(|one| one["tx_hash"] == tx).expect("the transfer")
}

async fn waits_longer(database: Database) {
    let tiers = json!([{"up_to": "100", "at": 2}, {"up_to": "1000", "at": 5}, {"at": "final"}]);
    let world = with_tiers(database, tiers).await;
    world.customer("customer 1", CUSTOMER).await;
    let (small, large) = (world.invoice("USDT", "50").await, world.invoice("USDT", "500").await);
    let (huge, coin) = (world.invoice("USDT", "1000").await, world.invoice("ETH", "5000").await);
    for invoice in [&small, &large, &huge, &coin] {
        world.pay(invoice).await;
    }
    // Parts of what counts together.
    let parts =
        [world.send("USDT", CUSTOMER, 60_000_000).await, world.send("USDT", CUSTOMER, 60_000_000).await];
    let of_parts = |status: &'static str| {
        let (world, parts) = (&world, &parts);
        async move {
            for tx in parts {
                assert_eq!(transfer(world, tx).await["status"], status);
            }
        }
    };
    world.anvil.mine(2).await;
    world.caught_up().await;
    let all = [&small, &large, &huge, &coin];
    assert_eq!(statuses(&world, &all).await, ["paid", "detected", "detected", "detected"]);
    of_parts("included").await;
    world.anvil.mine(1).await;
    world.caught_up().await;
    assert_eq!(statuses(&world, &all).await, ["paid", "detected", "detected", "paid"]);
    world.anvil.mine(1).await;
    world.caught_up().await;
    assert_eq!(statuses(&world, &all).await, ["paid", "detected", "detected", "paid"]);
    of_parts("included").await;
    world.anvil.mine(1).await;
    world.caught_up().await;
    assert_eq!(statuses(&world, &all).await, ["paid", "paid", "detected", "paid"]);
    of_parts("confirmed").await;
    // A small one beside them counts with them while they can still be taken back, and alone when they are final.
    let third = world.send("USDT", CUSTOMER, 60_000_000).await;
    world.anvil.mine(2).await;
    world.caught_up().await;
    assert_eq!(transfer(&world, &third).await["status"], "included");
    world.anvil.mine(TO_FINAL).await;
    world.until(&huge, "paid").await;
    world.settled().await;
    let fourth = world.send("USDT", CUSTOMER, 60_000_000).await;
    world.anvil.mine(2).await;
    world.caught_up().await;
    assert_eq!(transfer(&world, &fourth).await["status"], "confirmed");
    world.settled().await;
    // A reorg takes back what is not as deep as its amount wants on the new branch.
    let again = world.invoice("USDT", "600").await;
    let tx = world.pay(&again).await;
    world.anvil.mine(5).await;
    world.until(&again, "paid").await;
    let raw = world.anvil.raw(&tx).await;
    world.anvil.reorg(5).await;
    world.anvil.send_raw(&raw).await;
    world.anvil.mine(4).await;
    world.caught_up().await;
    assert_eq!(statuses(&world, &[&again]).await, ["detected"]);
    world.anvil.mine(TO_FINAL).await;
    world.until(&again, "paid").await;
    world.settled().await;
}

async fn seen_by_two(database: Database) {
    let mut world = with_tiers(database, json!([{"up_to": "100", "at": 2}, {"at": 3, "agreed": true}])).await;
    let operator = world.operators_receiver().await;
    let (small, large) = (world.invoice("USDT", "99").await, world.invoice("USDT", "500").await);
    world.pay(&small).await;
    let tx = world.pay(&large).await;
    world.anvil.mine(3).await;
    world.until(&small, "paid").await;
    let told = operator.wait_for("network.second_provider_missing", 1).await.remove(0).json();
    assert_eq!((&told["data"]["network"], &told["data"]["tx"]), (&json!(NETWORK), &json!(tx)), "{told}");
    // Not even when it is final, and over a restart.
    world.anvil.mine(TO_FINAL).await;
    world.caught_up().await;
    world.kassa.kill();
    world.kassa.restart().await;
    world.anvil.mine(1).await;
    world.caught_up().await;
    assert_eq!(statuses(&world, &[&large]).await, ["detected"]);
    assert_eq!(transfer(&world, &tx).await["status"], "included");

    // One that is behind is waited for.
    let second = Proxy::start(world.anvil.url()).await;
    second.add(Rule::new(Fault::Stale));
    world.add_upstream(NETWORK, &second.url()).await;
    eventually("the second provider to be asked", || async {
        let counts = second.counts();
        if counts.spoiled > 2 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert_eq!(statuses(&world, &[&large]).await, ["detected"]);
    second.clear();
    world.until(&large, "paid").await;
    // From now on it takes no longer than its confirmations.
    let next = world.invoice("USDT", "5000").await;
    world.pay(&next).await;
    world.anvil.mine(2).await;
    world.caught_up().await;
    assert_eq!(statuses(&world, &[&next]).await, ["detected"]);
    world.anvil.mine(1).await;
    world.until(&next, "paid").await;
    world.anvil.mine(TO_FINAL).await;
    world.settled().await;
    assert_eq!(operator.got_kind("network.second_provider_missing").len(), 1);
    assert_eq!(operator.got_kind("transfer.disputed").len(), 0);
}

/// A provider that lies consistently: it replaces one amount by another wherever it stands.
fn another_amount(units: u128, told: u128) -> Rule {
    let (from, to) = (format!("{units:064x}"), format!("{told:064x}"));
    Rule::new(Fault::Changed(Change::new(move |_, answer| {
        Some(answer.to_string().replace(&from, &to).into_bytes())
    })))
}

async fn made_up(database: Database) {
    let world = with_tiers(database, json!([{"up_to": "100", "at": 2}, {"at": 2, "agreed": true}])).await;
    let operator = world.operators_receiver().await;
    let second = Proxy::start(world.anvil.url()).await;
    let body = json!({"url": second.url(), "calls_per_s": 1000, "priority": 9});
    let upstreams = format!("/v1/operator/networks/{NETWORK}/upstreams");
    world.kassa.operator().post(&upstreams, &body).await.ok();
    let (made_up, real) = (world.invoice("USDT", "500").await, world.invoice("USDT", "600").await);
    world.proxy.add(another_amount(1_000_017, world.due(&made_up)));
    let tx = world.pay_units(&made_up, 1_000_017).await;
    world.pay(&real).await;
    world.anvil.mine(2).await;
    world.until(&real, "paid").await;
    world.until(&made_up, "detected").await;
    let told = operator.wait_for("transfer.disputed", 1).await.remove(0).json();
    let data = &told["data"];
    assert_eq!((&data["network"], &data["tx"]), (&json!(NETWORK), &json!(tx)), "{told}");
    let answers = data["answers"].as_array().expect("answers");
    assert_eq!(answers.len(), 2, "{told}");
    let host = |url: String| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    for (answer, url, says) in
        [(&answers[0], world.proxy.url(), "as it was read"), (&answers[1], second.url(), "1000017")]
    {
        assert_eq!(text(&answer["provider"]), host(url), "{told}");
        assert!(text(&answer["answer"]).contains(says), "{told}");
    }
    // Whatever happens then, and however often they are asked.
    world.anvil.mine(TO_FINAL).await;
    world.caught_up().await;
    // The second one has no other work.
    second.reset_counts();
    eventually("both to be asked again", || async {
        let counts = second.counts();
        if counts.requests > 2 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert_eq!(statuses(&world, &[&made_up, &real]).await, ["detected", "paid"]);
    assert_eq!(operator.got_kind("transfer.disputed").len(), 1);
    // The liar is taken away for another: what was made up is still not there.
    let listed = world.kassa.operator().get(&upstreams).await.ok();
    let liar = listed["data"].as_array().expect("upstreams").iter().find(|one| one["priority"] != 9);
    let path = format!("/v1/operator/upstreams/{}", text(&liar.expect("the first")["id"]));
    world.kassa.operator().delete(&path).await.ok();
    let third = Proxy::start(world.anvil.url()).await;
    world.add_upstream(NETWORK, &third.url()).await;
    let next = world.invoice("USDT", "700").await;
    world.pay(&next).await;
    world.anvil.mine(2).await;
    world.until(&next, "paid").await;
    assert_eq!(statuses(&world, &[&made_up]).await, ["detected"]);
}
