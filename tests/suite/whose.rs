//! Whose payment it is: after outages, restarts, restored backups and with wrong clocks. The simulator (tests/simulator)
//! tries what nobody thought of; here are the cases that were met, with the server as it is.

use std::time::Duration;

use kassa_tests::{
    Api, Database, Kassa, KassaOptions, Kind, Reply, Sandbox, Shop, Suite, eventually, list, text,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("whose::a_payment_in_time_pays_its_invoice_however_late_it_is_read", outage);
    suite.both("whose::amounts_go_on_after_a_restart_and_begin_anywhere", rings);
    suite.both("whose::a_restored_backup_gives_out_nothing_that_was_given_out", restored);
    suite.both("whose::installations_on_one_wallet_begin_apart", installations);
    suite.both("whose::nothing_is_promised_on_a_network_that_was_never_read", unread);
    suite.both("whose::a_key_that_is_set_again_goes_on_and_fails_no_one", keys);
    suite.both("whose::what_a_wrong_clock_put_off_is_sent", asleep);
    suite.both("whose::a_wrong_clock_decides_nothing", clocks);
    suite.on(Kind::Postgres, "whose::replicas_share_one_ring_and_start_together", replicas);
    suite.both("whose::a_small_price_has_a_small_suffix", suffixes);
}

const HOUR_MS: i64 = 3_600_000;
/// Longer than a worker rests.
const HOLDS_END: Duration = Duration::from_secs(2);

/// Starts the server again with its clock so many hours ahead.
async fn restart_at(kassa: &mut Kassa, hours: i64) {
    kassa.kill();
    kassa.spawn(&[("KASSA_CLOCK_AHEAD_MS", &(hours * HOUR_MS).to_string())]);
    kassa.ready().await;
}

/// What was told of an invoice.
async fn told(shop: &Shop, invoice: &Value) -> Vec<String> {
    let events = list(&shop.api().get("/v1/events?limit=100").await.ok());
    let of = |event: &&Value| event["invoice_id"] == invoice["id"];
    events.iter().filter(of).map(|event| text(&event["type"])).collect()
}

/// Where a payer was asked to pay, and how much.
fn asked(invoice: &Value) -> (String, String) {
    (text(&invoice["destination_address"]), text(&invoice["payable_amount_units"]))
}

fn by(matching: &str) -> Value {
    json!({"matching": matching})
}

async fn set_key(sandbox: &Sandbox, name: &str) -> Value {
    let key = json!({"network": "sandbox", "public_key": name, "first_index": 0});
    sandbox.shop.api().put("/v1/extended_keys", &key).await.ok()
}

async fn outage(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let policy = json!({"policy": {"late_window_s": 3600}});
    let merchant = format!("/v1/operator/merchants/{}", sandbox.shop.merchant.id);
    sandbox.shop.kassa.operator().patch(&merchant, &policy).await.ok();
    let a = sandbox.invoice("5", &json!({"expires_in_s": 60})).await;
    sandbox.simulate(&json!({"do": "outage", "ms": 3 * HOUR_MS})).await;
    sandbox.pay(std::slice::from_ref(&a)).await;

    // Two hours later the provider is still away; deadline and late window have passed by the clock.
    restart_at(&mut sandbox.shop.kassa, 2).await;
    let b = sandbox.invoice("5", &json!({"expires_in_s": 60})).await;
    assert_ne!(a["payable_amount"], b["payable_amount"], "it is held until the chain was read past it");
    let waits = sandbox.shop.get_invoice(&a).await;
    assert_eq!((&waits["status"], &waits["awaiting_chain"]), (&json!("new"), &json!(true)), "{waits}");

    restart_at(&mut sandbox.shop.kassa, 4).await;
    let paid = sandbox.shop.until(&a, "paid").await;
    assert_eq!((&paid["exception"], &paid["awaiting_chain"]), (&json!("none"), &json!(false)), "{paid}");
    let kinds = told(&sandbox.shop, &a).await;
    assert!(kinds.iter().any(|kind| kind == "invoice.paid"), "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind == "invoice.expired"), "{kinds:?}");
    // The other's deadline has passed, and the chain was read past it.
    let other = sandbox.shop.until(&b, "expired").await;
    assert_eq!(other["credited_amount_units"], "0", "{other}");
    assert!(sandbox.shop.unmatched().await.is_empty());
}

async fn rings(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let mut seen = vec![asked(&sandbox.invoice("5", &json!({})).await)];
    for _ in 0..3 {
        sandbox.shop.kassa.restart().await;
        for _ in 0..2 {
            let told = asked(&sandbox.invoice("5", &json!({})).await);
            assert!(!seen.contains(&told), "{told:?} comes again: {seen:?}");
            seen.push(told);
        }
    }

    // Nor when nobody holds them any more: the late payer of one would pay another's. (Once: each such downtime leaps up to
    // half of the ring.)
    restart_at(&mut sandbox.shop.kassa, 10 * 24).await;
    let shop = &sandbox.shop;
    eventually("all of them expired", || async {
        let all = list(&shop.api().get("/v1/invoices?limit=100").await.ok());
        let open = all.iter().filter(|invoice| invoice["status"] != "expired").count();
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await;
    // Holds end with the next look; no answer tells of it.
    tokio::time::sleep(HOLDS_END).await;
    for _ in 0..7 {
        let told = asked(&sandbox.invoice("5", &json!({})).await);
        assert!(!seen.contains(&told), "{told:?} comes again after ten days: {seen:?}");
        seen.push(told);
    }
}

async fn restored(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    set_key(&sandbox, "sbxpub-restored").await;
    for matching in ["amount", "address"] {
        sandbox.invoice("5", &by(matching)).await;
    }
    assert!(sandbox.shop.kassa.stop().await);
    sandbox.shop.database.back_up().await;
    restart_at(&mut sandbox.shop.kassa, 0).await;
    let mut lost = Vec::new();
    for _ in 0..5 {
        for matching in ["amount", "address"] {
            lost.push(asked(&sandbox.invoice("5", &by(matching)).await));
        }
    }
    let forgotten = json!({"network": "sandbox", "public_key": "sbxpub-forgotten"});
    let before = sandbox.shop.api().put("/v1/extended_keys", &forgotten).await.ok();

    // All of that is forgotten; it took an hour to restore the backup.
    sandbox.shop.kassa.kill();
    sandbox.shop.database.restore().await;
    restart_at(&mut sandbox.shop.kassa, 1).await;
    let mut new = Vec::new();
    for _ in 0..5 {
        for matching in ["amount", "address"] {
            let invoice = sandbox.invoice("5", &by(matching)).await;
            assert!(!lost.contains(&asked(&invoice)), "{invoice} was given out before");
            new.push(invoice);
        }
    }
    // A key that it has forgotten altogether goes on past where it began.
    let after = sandbox.shop.api().put("/v1/extended_keys", &forgotten).await.ok();
    let index = |key: &Value| key["next_index"].as_i64().unwrap();
    assert!((1_000..=500_000).contains(&(index(&after) - index(&before))), "{before} {after}");
    // The payer of a lost order pays nobody else's.
    let (_, units) = &lost[0];
    sandbox.send(units.parse().unwrap()).await;
    eventually("the lost order's payment to be listed", || async {
        let unmatched = sandbox.shop.unmatched().await;
        if unmatched.len() == 1 { Ok(()) } else { Err(format!("{unmatched:?}")) }
    })
    .await;
    for invoice in new {
        assert_eq!(sandbox.shop.get_invoice(&invoice).await["status"], "new");
    }
}

async fn installations(database: Database) {
    let first = Sandbox::start(database.another().await).await;
    let second = Sandbox::start(database).await;
    let key = json!({"network": "sandbox", "public_key": "sbxpub-shared"});
    let mut told = Vec::new();
    for sandbox in [&first, &second] {
        sandbox.shop.api().put("/v1/extended_keys", &key).await.ok();
        for matching in ["amount", "amount", "address", "address"] {
            told.push(asked(&sandbox.invoice("99", &by(matching)).await));
        }
    }
    // Chance alone lets two of 9,999 amounts or of 1,073 beginnings meet once in a thousand times; never both.
    let all = told.len();
    told.sort();
    told.dedup();
    assert!(told.len() > all - 2, "{told:?}");
}

async fn unread(database: Database) {
    let kassa = Kassa::start(&database, KassaOptions::default()).await;
    let shop = Shop::open(kassa, database, "base", "live").await;
    let operator = shop.kassa.operator();
    let upstreams = "/v1/operator/networks/base/upstreams";
    for upstream in list(&operator.get(upstreams).await.ok()) {
        operator.delete(&format!("/v1/operator/upstreams/{}", text(&upstream["id"]))).await.ok();
    }
    // A provider that does not answer.
    shop.add_upstream("base", "http://127.0.0.1:9/").await;
    operator.post("/v1/operator/networks/base/enable", &json!({})).await.ok();
    shop.share_address("0x00000000000000000000000000000000000000aa").await;
    let refused = shop.api().post("/v1/invoices", &shop.order("USDC", "5")).await;
    assert_eq!(refused.problem(503), "/problems/network_not_started");
    assert!(refused.header("retry-after").is_some(), "it says when to come back");
    // Nor is a customer told an address, of the shop's own or a derived one.
    let own = "0x00000000000000000000000000000000000000bb";
    for customer in [
        json!({"network": "base", "unique_id": "c"}),
        json!({"network": "base", "unique_id": "d", "address": own}),
    ] {
        let refused = shop.api().post("/v1/receive_addresses", &customer).await;
        assert_eq!(refused.problem(503), "/problems/network_not_started");
    }
}

async fn keys(database: Database) {
    let sandbox = Sandbox::start(database).await;
    set_key(&sandbox, "sbxpub-one").await;
    for _ in 0..30 {
        sandbox.invoice("5", &by("address")).await;
    }
    set_key(&sandbox, "sbxpub-two").await;
    sandbox.invoice("5", &by("address")).await;
    assert_eq!(set_key(&sandbox, "sbxpub-one").await["next_index"], 30, "it goes on where it was");

    let other = sandbox.shop.new_merchant("neighbour", "test").await;
    let neighbour = sandbox.shop.api().with_key(&other.key);
    let key = json!({"network": "sandbox", "public_key": "sbxpub-neighbour"});
    neighbour.put("/v1/extended_keys", &key).await.ok();
    let mut orders = Vec::new();
    for number in 0..40 {
        let api = if number % 2 == 0 { sandbox.shop.api() } else { neighbour.clone() };
        let mut order = sandbox.shop.order("USDT", "5");
        order["matching"] = json!("address");
        orders.push(tokio::spawn(async move { api.post("/v1/invoices", &order).await.status }));
    }
    for order in orders {
        assert_eq!(order.await.unwrap(), 201, "nobody's order fails another's");
    }
}

async fn asleep(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    // A clock that is years ahead, and a receiver that fails.
    restart_at(&mut sandbox.shop.kassa, 4 * 365 * 24).await;
    sandbox.shop.receiver.then(Reply::Status(500));
    sandbox.paid("5", &json!({})).await;
    let failed = "SELECT CAST(COUNT(*) AS TEXT) FROM attempt WHERE status = 500";
    eventually("deliveries that failed", || async {
        let failed = sandbox.shop.database.number(failed).await;
        if failed > 1 { Ok(()) } else { Err(failed.to_string()) }
    })
    .await;
    // The clock is right again: nothing waits for years.
    sandbox.shop.receiver.then(Reply::Status(204));
    restart_at(&mut sandbox.shop.kassa, 0).await;
    sandbox.shop.delivered().await;
}

async fn clocks(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    for years in [-30, 60, 0] {
        restart_at(&mut sandbox.shop.kassa, years * 365 * 24).await;
        let paid = sandbox.paid("5", &json!({})).await;
        assert_eq!(paid["exception"], "none", "{years} years ahead: {paid}");
    }
}

async fn replicas(database: Database) {
    // All at once on an empty database: none of them ends for it.
    let mut replicas: Vec<Kassa> =
        (0..3).map(|number| Kassa::replica(&database, KassaOptions::default(), number)).collect();
    for replica in &mut replicas {
        replica.spawn(&[]);
    }
    for replica in &mut replicas {
        replica.ready().await;
    }
    let urls: Vec<String> = replicas.iter().map(|replica| replica.url().to_owned()).collect();
    let others: Vec<Kassa> = replicas.drain(1..).collect();
    let shop = Shop::open(replicas.remove(0), database, "sandbox", "test").await;
    let action = json!({"do": "address", "seed": "replicas"});
    let address = text(&shop.api().post("/v1/sandbox/sandbox", &action).await.ok()["address"]);
    shop.share_address(&address).await;

    // A price with a hundred suffixes, asked for by all of them at once: each is given once, and none is refused before.
    let order = shop.order("USDT", "0.01");
    let mut asking = Vec::new();
    for number in 0..100 {
        let (api, order) = (Api::new(&urls[number % urls.len()], shop.api().key()), order.clone());
        asking.push(tokio::spawn(async move { api.post("/v1/invoices", &order).await }));
    }
    let mut told = Vec::new();
    for answer in asking {
        told.push(asked(&answer.await.unwrap().ok()));
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 100);
    for url in &urls {
        let refused = Api::new(url, shop.api().key()).post("/v1/invoices", &order).await;
        assert_eq!(refused.problem(503), "/problems/amount_space_exhausted");
    }
    drop(others);
}

async fn suffixes(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let small = sandbox.invoice("0.05", &json!({})).await;
    let (_, units) = asked(&small);
    let units: u64 = units.parse().unwrap();
    assert!((50_001..=50_500).contains(&units), "one percent at most: {small}");
    let refused = sandbox.shop.api().post("/v1/invoices", &sandbox.shop.order("USDT", "0.00005")).await;
    assert_eq!(refused.problem(400), "/problems/amount_too_small");
}
