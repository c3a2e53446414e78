//! What is read for the first time, what is read again, and what is looked for by its hash.

use kassa_tests::{Answer, Api, Database, Fault, Rule, eventually, text, within};
use serde_json::{Value, json};

use super::{
    chain::Pay,
    stage::{Stage, manifests},
    upstreams::PATIENCE,
};

/// In no block of any chain.
const UNKNOWN: &str = "abababababababababababababababababababababababababababababababab";
/// More than a merchant may look for at once.
const MANY: u32 = 30;

/// Nothing is promised before the network was read once; what is paid right after that is found.
pub(super) async fn a_first_read_comes_before_the_first_invoice(database: Database, folder: &str) {
    let stage = Stage::unwatched(database, folder, manifests(folder).remove(0)).await;
    stage.proxy().add(Rule::new(Fault::HangUp));
    stage.watch("").await;
    stage.share_address(&stage.addresses[0]).await;
    eventually("a provider that was asked", || async {
        let counts = stage.proxy().counts();
        if counts.spoiled > 0 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    let order = stage.order(&stage.token().symbol, "5");
    let refused = stage.api().post("/v1/invoices", &order).await;
    later(&refused, &["network_not_started"]);
    // A customer's address that Kassa were to make.
    let body = json!({"network": stage.network, "unique_id": "customer-17"});
    later(&stage.api().post("/v1/receive_addresses", &body).await, &["network_not_started"]);
    later(&stage.rescan(&json!({"from": 1})).await, &["network_not_started"]);
    later(&stage.find(UNKNOWN).await, &["network_not_started", "provider_failed"]);

    stage.proxy().clear();
    let first = within(PATIENCE, "the first invoice", || async {
        let answer = stage.api().post("/v1/invoices", &order).await;
        if answer.status == 201 {
            return Ok(answer.ok());
        }
        later(&answer, &["network_not_started"]);
        Err(answer.text)
    })
    .await;
    stage.pay(&first).await;
    let second = stage.invoice(&stage.coin().symbol, "5").await;
    stage.pay(&second).await;
    stage.bury().await;
    for invoice in [&first, &second] {
        stage.until(invoice, "paid").await;
    }
    stage.settled().await;
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// Refused for one of these reasons, with the time to come back at.
fn later(answer: &Answer, reasons: &[&str]) {
    let problem = answer.problem(503);
    let slug = problem.rsplit('/').next().expect("a slug");
    assert!(reasons.contains(&slug), "{} {}", answer.asked, answer.body);
    let seconds = answer.header("retry-after").expect("it says when to come back");
    assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{seconds}");
}

/// Blocks that are read again, from a height or from a time, tell nothing twice.
pub(super) async fn what_is_read_again_is_credited_once(stage: Stage) {
    let (head, _) = stage.chain.head(&stage.api()).await;
    for asset in [stage.token(), stage.coin()] {
        let invoice = stage.invoice(&asset.symbol, "5").await;
        stage.pay_times(&invoice, 2).await;
        stage.bury().await;
        stage.until(&invoice, "paid").await;
    }
    stage.settled().await;
    let before = stage.final_books().await;
    assert_eq!(before[0].len(), 4, "{before:?}");
    for order in [json!({"from": head + 1}), json!({"since": before[0][3]["block_time"]})] {
        let done = stage.rescanned(&order).await;
        assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(0)), "{done}");
        assert_eq!((&done["read"], &done["error"]), (&done["blocks"], &json!(null)), "{done}");
        for transfer in &before[0] {
            let (from, to) = (done["from"].as_i64(), done["to"].as_i64());
            assert!((from..=to).contains(&transfer["height"].as_i64()), "{done} is without {transfer}");
        }
        stage.settled().await;
        assert_eq!(stage.books().await, before);
    }
    // The watcher goes on where it was.
    let invoice = stage.invoice(&stage.token().symbol, "5").await;
    stage.pay(&invoice).await;
    stage.bury().await;
    stage.until(&invoice, "paid").await;
    stage.settled().await;
    assert_eq!(stage.transfers().await.len(), 5);
}

pub(super) async fn a_hash_finds_what_was_paid(stage: Stage) {
    let assets = [stage.token(), stage.coin()];
    let (mut paid, mut failed) = (Vec::new(), Vec::new());
    for asset in &assets {
        let invoice = stage.invoice(&asset.symbol, "5").await;
        paid.push((text(&invoice["id"]), stage.pay(&invoice).await));
        let other = stage.invoice(&asset.symbol, "6").await;
        failed.extend(stage.chain.failure(&stage.api(), stage.payment(&other, asset, 1)).await);
    }
    stage.bury().await;
    stage.settled().await;
    let before = stage.final_books().await;
    for (invoice, tx) in &paid {
        for written in [tx.clone(), tx.to_uppercase()] {
            let found = stage.find(&written).await.ok();
            assert_eq!(found["status"], "found", "{found}");
            let transfers = found["transfers"].as_array().expect("transfers");
            assert_eq!(transfers.len(), 1, "{found}");
            assert_eq!((&transfers[0]["tx_hash"], &transfers[0]["height"]), (&json!(tx), &found["height"]));
            assert_eq!(transfers[0]["payments"][0]["invoice_id"], json!(invoice), "{found}");
        }
    }
    for tx in &failed {
        let found = stage.find(tx).await.ok();
        assert_eq!(
            (&found["status"], &found["transfers"]),
            (&json!("nothing_for_you"), &json!([])),
            "{found}"
        );
    }
    let nowhere = stage.find(UNKNOWN).await.ok();
    assert_eq!((&nowhere["status"], &nowhere["height"]), (&json!("not_found"), &json!(null)), "{nowhere}");
    let nonsense = stage.find("a hash, I think").await;
    assert_eq!(nonsense.problem(422), "/problems/transaction_malformed");
    strangers(&stage, &stage.neighbour().await, &paid[0].1).await;
    stage.settled().await;
    assert_eq!(stage.books().await, before);
}

/// A payment before the network was read at all is where nobody looks, until somebody asks; then a person decides.
pub(super) async fn what_came_before_the_first_read_is_found(database: Database, folder: &str) {
    let stage = Stage::unwatched(database, folder, manifests(folder).remove(0)).await;
    let (head, _) = stage.chain.head(&stage.api()).await;
    let mut sent = Vec::new();
    for asset in [stage.token(), stage.coin()] {
        let units = 6 * 10_u128.pow(u32::try_from(asset.decimals).expect("few"));
        let to = &stage.addresses[0];
        let pay = Pay { to, asset: asset.contract.as_deref(), units, memo: None, times: 1 };
        sent.push((asset.symbol, stage.chain.pay(&stage.api(), pay).await));
    }
    stage.bury().await;
    stage.watch("").await;
    stage.watching(&stage.network).await;
    stage.share_address(&stage.addresses[0]).await;
    stage.settled().await;
    assert_eq!(stage.transfers().await, Vec::<Value>::new());

    // One by its hash, the other one by its block.
    let found = stage.find(&sent[0].1).await.ok();
    assert_eq!(
        (&found["status"], &found["transfers"][0]["status"]),
        (&json!("found"), &json!("final")),
        "{found}"
    );
    let done = stage.rescanned(&json!({"from": head + 1})).await;
    assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(1)), "{done}");
    stage.settled().await;
    let unmatched = stage.unmatched().await;
    assert_eq!(unmatched.len(), 2, "{unmatched:?}");
    for (symbol, tx) in &sent {
        let invoice = stage.invoice(symbol, "5").await;
        let transfer = unmatched.iter().find(|one| one["tx_hash"] == *tx).expect("it is listed");
        let path = format!("/v1/transfers/{}/assign", text(&transfer["id"]));
        stage.api().post(&path, &json!({"invoice_id": invoice["id"]})).await.ok();
        stage.until(&invoice, "overpaid").await;
    }
    stage.settled().await;
}

/// Another merchant learns nothing of a payment, and may ask often but not without end.
async fn strangers(stage: &Stage, neighbour: &Api, tx: &str) {
    let ask = async |tx: &str| {
        let body = json!({"network": stage.network, "tx": tx});
        neighbour.post("/v1/transfers/find", &body).await
    };
    let theirs = ask(tx).await.ok();
    assert_eq!((&theirs["status"], &theirs["transfers"]), (&json!("nothing_for_you"), &json!([])));
    let mut answered = 0;
    for number in 0..MANY {
        let answer = ask(&format!("{number:064x}")).await;
        if answer.status == 429 {
            assert_eq!(answer.problem(429), "/problems/finds_limited");
            assert!(answer.header("retry-after").is_some(), "it says when to come back");
        } else {
            assert_eq!(answer.ok()["status"], "not_found");
            answered += 1;
        }
    }
    println!("  conformance: {answered} of {MANY} searches in a row were answered");
    assert!(answered > 5);
}

/// TON: a payer's own transaction, and each one that it set off, names what arrived.
pub(super) async fn every_transaction_of_a_payment_finds_it(database: Database) {
    let stage = Stage::start(database, "ton").await;
    let token = stage.token();
    let invoice = stage.invoice(&token.symbol, "5").await;
    let pay = stage.payment(&invoice, &token, 1);
    let transfer = json!({
        "from": "payer", "jetton": token.contract, "to": pay.to, "units": pay.units.to_string(), "comment": pay.memo,
    });
    let told = stage.chain.facade().control("send_jetton", transfer).await;
    stage.bury().await;
    stage.until(&invoice, "paid").await;
    stage.settled().await;
    let before = stage.final_books().await;
    let set_off = told["transactions"].as_array().expect("transactions");
    assert!(set_off.len() >= 4, "{told}");
    for transaction in set_off {
        let found = stage.find(&text(&transaction["hash"])).await.ok();
        assert_eq!(found["status"], "found", "{transaction}: {found}");
        assert_eq!(found["transfers"][0]["id"], before[0][0]["id"], "{found}");
    }
    stage.settled().await;
    assert_eq!(stage.books().await, before);
}
