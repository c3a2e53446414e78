//! A merchant that means harm to others by what it has its test key do to the chain that all test keys share.

use std::time::Instant;

use futures_util::future::join_all;
use kassa_tests::{Answer, Api, Database, Kassa, KassaOptions, Kind, Suite, list, text};
use serde_json::{Value, json};

use super::{Stage, said};

pub(super) fn cases(suite: &mut Suite) {
    suite.both("hostile::sandbox_outage_holds_up_nobody_else", outage);
    suite.both("hostile::sandbox_reorg_takes_back_only_ones_own", reorg);
    suite.on(Kind::Sqlite, "hostile::sandbox_is_flooded", flood);
    suite.on(Kind::Postgres, "hostile::sandbox_of_two_replicas_loses_nothing", replicas);
}

impl Stage {
    async fn evil_does(&self, action: &Value) -> Answer {
        self.sandbox.act(&self.evil(), action).await
    }

    /// The attacker is refused; answers the words.
    async fn evil_fails(&self, action: &Value) -> String {
        let answer = self.evil_does(action).await;
        assert_eq!(answer.problem(422), "/problems/simulation_refused", "{action}");
        text(&answer.body["detail"])
    }

    /// The other merchant pays its own invoice, in a block.
    async fn neighbour_pays(&self, invoice: &Value) -> Value {
        self.sandbox.act(&self.sandbox.shop.api(), &payment(invoice)).await.ok()
    }
}

fn payment(invoice: &Value) -> Value {
    json!({
        "do": "transfer", "to": invoice["destination_address"], "asset": "usdt",
        "amount": invoice["payable_amount_units"], "memo": invoice["payment_comment"],
    })
}

fn mine(blocks: u64) -> Value {
    json!({"do": "mine", "blocks": blocks})
}

async fn outage(database: Database) {
    let stage = Stage::start(database).await;
    let (sandbox, evil, began) = (&stage.sandbox, stage.evil(), Instant::now());
    for (action, limit) in [
        (json!({"do": "outage", "ms": 1_000_000_000_000_000u64}), "600000"),
        (json!({"do": "outage", "ms": 600_001}), "600000"),
        (json!({"do": "outage", "ms": 5, "kind": "upstream"}), "operator"),
    ] {
        let why = stage.evil_fails(&action).await;
        assert!(why.contains(limit), "{why}");
    }
    stage.evil_does(&json!({"do": "outage", "ms": 600_000})).await.ok();
    let held = stage.evil_invoice().await;
    let sent = sandbox.act(&evil, &payment(&held)).await.ok();
    assert_eq!(sent["height"], Value::Null, "{sent}");
    sandbox.act(&evil, &mine(5)).await.ok();

    let invoice = sandbox.invoice("5", &json!({})).await;
    stage.neighbour_pays(&invoice).await;
    sandbox.act(&sandbox.shop.api(), &mine(3)).await.ok();
    sandbox.shop.until(&invoice, "paid").await;
    let seen = evil.get(&format!("/v1/invoices/{}", text(&held["id"]))).await.ok();
    assert_eq!(seen["status"], "new", "{seen}");
    said("sandbox-outage", "only the attacker's own payment waited", began.elapsed());

    // Nobody else can end it; when it is over, all is there.
    sandbox.act(&sandbox.shop.api(), &json!({"do": "outage", "ms": 0})).await.ok();
    stage.evil_does(&json!({"do": "outage", "ms": 0})).await.ok();
    kassa_tests::eventually("what the outage held up", || async {
        let seen = evil.get(&format!("/v1/invoices/{}", text(&held["id"]))).await.ok();
        if seen["status"] == "paid" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    // One that nobody ends is over by itself, without an action of anybody's.
    stage.evil_does(&json!({"do": "outage", "ms": 500})).await.ok();
    let held = stage.evil_invoice().await;
    sandbox.act(&evil, &payment(&held)).await.ok();
    kassa_tests::eventually("the end of an outage", || async {
        let seen = evil.get(&format!("/v1/invoices/{}", text(&held["id"]))).await.ok();
        if seen["status"] == "detected" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    stage.is_well().await;
}

async fn reorg(database: Database) {
    let stage = Stage::start(database).await;
    let (sandbox, began) = (&stage.sandbox, Instant::now());
    let own = stage.evil_does(&payment(&stage.evil_invoice().await)).await.ok();
    let invoice = sandbox.invoice("5", &json!({})).await;
    let theirs = stage.neighbour_pays(&invoice).await;
    sandbox.shop.until(&invoice, "detected").await;
    let waits = sandbox.invoice("5", &json!({})).await;
    let mut action = payment(&waits);
    action["mine"] = json!(0);
    let waiting = sandbox.act(&sandbox.shop.api(), &action).await.ok();
    let mut refusals = Vec::new();
    for tx in [&theirs["tx"], &waiting["tx"], &json!("ab".repeat(32))] {
        let why = stage.evil_fails(&json!({"do": "retract", "tx": tx})).await;
        refusals.push(why.replace(tx.as_str().expect("an id"), "…"));
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "another's and none are told apart: {refusals:?}");
    let found =
        stage.evil().post("/v1/transfers/find", &json!({"network": "sandbox", "tx": theirs["tx"]})).await;
    assert_eq!(list(&json!({"data": found.ok()["transfers"]})), Vec::<Value>::new());

    // From below the other's payment, again and again, until it is final.
    for _ in 0..20 {
        stage.evil_does(&json!({"do": "retract", "tx": own["tx"], "again": true})).await;
    }
    stage.evil_does(&json!({"do": "retract", "tx": own["tx"]})).await;
    sandbox.act(&sandbox.shop.api(), &mine(3)).await.ok();
    sandbox.shop.until(&invoice, "paid").await;
    sandbox.shop.until(&waits, "paid").await;
    said("sandbox-reorg", "the neighbour's payments stayed and were credited", began.elapsed());
    stage.is_well().await;
    let merchant = &sandbox.shop.merchant.id;
    let retracted = format!(
        "SELECT g.kind FROM sighting g JOIN transfer t ON t.id = g.transfer_id
         WHERE t.merchant_id = '{merchant}' AND g.kind = 'retracted'"
    );
    assert_eq!(sandbox.shop.database.rows(&retracted).await.len(), 0);
    let told: Vec<String> =
        list(&sandbox.shop.api().get(&format!("/v1/events?invoice_id={}", text(&invoice["id"]))).await.ok())
            .iter()
            .map(|event| text(&event["type"]))
            .collect();
    assert_eq!(told.iter().filter(|kind| *kind == "invoice.paid").count(), 1, "{told:?}");
}

async fn flood(database: Database) {
    let stage = Stage::start(database).await;
    let sandbox = &stage.sandbox;
    let own = text(&stage.evil_invoice().await["destination_address"]);
    let theirs = text(&sandbox.invoice("5", &json!({})).await["destination_address"]);
    let to = |to: &str, more: Value| {
        let mut action = json!({"do": "transfer", "to": to, "amount": "1"});
        action.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        action
    };
    for action in [
        mine(1_000_000_000),
        mine(101),
        json!({"do": "mine", "blocks": u64::MAX}),
        json!({"do": "mine", "blocks": 1e300}),
        to(&own, json!({"mine": 1_000_000_000})),
        to(&own, json!({"amount": "9".repeat(81)})),
        to(&own, json!({"memo": "m".repeat(1_025)})),
        to(&own, json!({"asset": "a".repeat(129)})),
        to(&own, json!({"from": "f".repeat(10_000)})),
        json!({"do": "transfers", "list": vec![json!({"to": own, "amount": "1"}); 200]}),
        json!({"do": "address", "seed": "s".repeat(257)}),
        // Another merchant's address, alone and among others.
        to(&theirs, json!({})),
        to(&format!(" {} ", theirs.to_uppercase()), json!({"mine": 0})),
        json!({"do": "transfers", "list": [{"to": own, "amount": "1"}, {"to": theirs, "amount": "1"}]}),
    ] {
        stage.evil_fails(&action).await;
    }
    for by in [json!(sandbox.shop.merchant.id), json!(null)] {
        let answer = stage.evil_does(&to(&own, json!({"by": by}))).await;
        assert_eq!(answer.problem(400), "/problems/field_unknown");
    }
    let long = "m".repeat(70_000);
    assert_eq!(
        stage.evil_does(&to(&own, json!({"memo": long}))).await.problem(413),
        "/problems/body_too_large"
    );

    // As much as it can, at once, while the neighbour's payment goes its way.
    let began = Instant::now();
    let blocks = mine(100);
    let flooding = join_all((0..900).map(|_| stage.evil_does(&blocks)));
    let invoice = sandbox.invoice("5", &json!({})).await;
    let served = async {
        stage.neighbour_pays(&invoice).await;
        sandbox.act(&sandbox.shop.api(), &mine(3)).await.ok();
        sandbox.shop.until(&invoice, "paid").await;
        began.elapsed()
    };
    let (answers, took) = tokio::join!(flooding, served);
    // On a busy machine the attacker's own queue may be longer than a request waits.
    let late = answers.iter().filter(|answer| answer.status == 503).count();
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(refused.len() >= 100, "{} of 900 were refused, {late} were late", refused.len());
    for answer in &refused {
        assert_eq!(answer.problem(429), "/problems/simulations_limited");
        assert!(answer.header("retry-after").is_some());
    }
    said("sandbox-flood", &format!("{} of 900 actions were refused", refused.len()), took);
    stage.is_well().await;
}

/// Two merchants at two replicas, all at once: whatever was answered is there, once.
async fn replicas(database: Database) {
    let stage = Stage::start(database).await;
    let mut other = Kassa::replica(&stage.sandbox.shop.database, KassaOptions::default(), 1);
    other.spawn(&[]);
    other.ready().await;
    let sandbox = &stage.sandbox;
    let (one, two) = (sandbox.shop.api(), Api::new(other.url(), &stage.evil.key));
    let mut orders = Vec::new();
    for _ in 0..20 {
        orders.push((one.clone(), sandbox.invoice("5", &json!({})).await));
        orders.push((two.clone(), stage.evil_invoice().await));
    }
    let sent = join_all(orders.iter().map(async |(api, invoice)| {
        loop {
            let answer = sandbox.act(api, &payment(invoice)).await;
            if answer.status != 503 {
                return text(&answer.ok()["tx"]);
            }
        }
    }))
    .await;
    sandbox.act(&one, &mine(3)).await.ok();
    for (api, invoice) in &orders {
        kassa_tests::eventually("a payment at one of two replicas", || async {
            let seen = api.get(&format!("/v1/invoices/{}", text(&invoice["id"]))).await.ok();
            if seen["status"] == "paid" { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    }
    let mut distinct = sent.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), orders.len());
    stage.is_well().await;
    drop(other);
}
