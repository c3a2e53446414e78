//! Matchers: what merchants' hooks say a transfer pays, and what becomes of it when they say what cannot be.

use std::collections::BTreeSet;

use kassa_tests::{Database, Sandbox, Source, Suite, component, eventually, invariants, list, text};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("matchers::split_divides_a_transfer_and_a_reorg_takes_all_parts_back", split);
    suite.both("matchers::tolerance_finds_what_a_fee_made_short", tolerance);
    suite.both("matchers::what_cannot_be_is_passed_over_and_told", nonsense);
    suite.both("matchers::one_that_is_asked_first_decides_and_a_person_still_can", first);
    suite.both("matchers::a_question_under_way_at_a_kill_is_put_again", killed);
}

fn units(invoice: &Value) -> u128 {
    text(&invoice["payable_amount_units"]).parse().expect("units")
}

/// The one transfer with this reason.
async fn listed(sandbox: &Sandbox, reason: &str) -> Value {
    eventually(&format!("a transfer that is listed as {reason}"), || async {
        let unmatched = sandbox.shop.unmatched().await;
        let found = unmatched.iter().find(|one| one["reason"] == reason).cloned();
        found.ok_or(format!("{unmatched:?}"))
    })
    .await
}

/// What an invoice is, as its payments say: transaction, part and status.
async fn payments(sandbox: &Sandbox, invoice: &Value) -> Vec<(String, u64, String)> {
    let path = format!("/v1/payments?invoice_id={}", text(&invoice["id"]));
    let paid = list(&sandbox.shop.api().get(&path).await.ok());
    let one = |p: &Value| (text(&p["tx_hash"]), p["part"].as_u64().expect("a part"), text(&p["status"]));
    paid.iter().map(one).collect()
}

async fn split(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, _) = hooks.upload(Source::Rust("split"), true).await;
    let mut invoices = Vec::new();
    for amount in ["20", "40", "41"] {
        invoices.push(sandbox.invoice(amount, &json!({})).await);
    }
    let [a, b, c] = invoices.as_slice() else { panic!("three") };

    // An exact amount is nobody's question.
    let alone = sandbox.paid("7", &json!({})).await;
    assert_eq!(payments(&sandbox, &alone).await.len(), 1);

    let both = sandbox.send(units(a) + units(b)).await;
    sandbox.shop.until(a, "paid").await;
    let paid = sandbox.shop.until(b, "paid").await;
    assert_eq!(paid["exception"], "none", "{paid}");
    assert_eq!(payments(&sandbox, a).await, [(both.clone(), 0, "credited".to_owned())]);
    assert_eq!(payments(&sandbox, b).await, [(both.clone(), 1, "credited".to_owned())]);
    let asked = hooks.matches(&hook, 1).await;
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["outcome"], "pay");
    assert_eq!(asked[0]["parts"][1], json!({"invoice_id": b["id"], "amount": units(b).to_string()}));
    assert_eq!(list(&json!({"data": asked[0]["question"]["offers"]})).len(), 3);
    assert!(asked[0]["fuel"].as_u64().unwrap() > 1000, "{asked:?}");
    assert!(sandbox.shop.receiver.got_kind("transfer.unmatched").is_empty(), "it was never in doubt");

    // A reorg takes both parts back, and brings both again.
    sandbox.simulate(&json!({"do": "retract", "tx": both})).await;
    sandbox.shop.until(a, "new").await;
    sandbox.shop.until(b, "new").await;
    assert_eq!(payments(&sandbox, b).await[0].2, "retracted");
    invariants::check(&sandbox.shop.database).await;
    let again = sandbox.send(units(a) + units(b)).await;
    sandbox.shop.until(a, "paid").await;
    sandbox.simulate(&json!({"do": "retract", "tx": again, "again": true})).await;
    eventually("both credited anew", || async {
        let paid = [payments(&sandbox, a).await, payments(&sandbox, b).await].concat();
        let fine = paid.iter().filter(|(tx, _, status)| *tx == again && status == "credited").count() == 2;
        if fine {
            Ok(())
        } else {
            sandbox.simulate(&json!({"do": "mine", "blocks": 1})).await;
            Err(format!("{paid:?}"))
        }
    })
    .await;
    let kinds = sandbox.shop.receiver.got_kind("invoice.reverted").len();
    assert!(kinds >= 2, "{kinds} invoices said that they were reverted");

    // What is left over waits for a person, who gives it to another invoice.
    let d = sandbox.invoice("5", &json!({})).await;
    let tx = sandbox.send(units(c) + units(&d) - 1).await;
    sandbox.shop.until(c, "paid").await;
    let rest = listed(&sandbox, "rest").await;
    assert_eq!(rest["tx_hash"], json!(tx));
    assert_eq!(rest["payments"][0]["invoice_id"], c["id"], "{rest}");
    let told = sandbox.shop.receiver.wait_for("transfer.unmatched", 1).await.remove(0).json();
    assert_eq!(told["data"]["reason"], "rest");
    invariants::check(&sandbox.shop.database).await;
    let assign = format!("/v1/transfers/{}/assign", text(&rest["id"]));
    let assigned = sandbox.shop.api().post(&assign, &json!({"invoice_id": d["id"]})).await.ok();
    assert_eq!((&assigned["status"], &assigned["exception"]), (&json!("underpaid"), &json!("manual")));
    assert_eq!(assigned["credited_amount_units"], json!((units(&d) - 1).to_string()));
    let whole = sandbox.shop.api().get(&format!("/v1/transfers/{}", text(&rest["id"]))).await.ok();
    assert_eq!(whole["payments"].as_array().unwrap().len(), 2, "{whole}");
    assert_eq!(whole["state"], "assigned");
    let twice = sandbox.shop.api().post(&assign, &json!({"invoice_id": a["id"]})).await;
    assert_eq!(twice.problem(409), "/problems/transfer_resolved");
    sandbox.shop.delivered().await;
    invariants::check(&sandbox.shop.database).await;
}

async fn tolerance(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let policy = json!({"policy": {"under_tolerance_bp": 200}});
    let merchant = format!("/v1/operator/merchants/{}", sandbox.shop.merchant.id);
    sandbox.shop.kassa.operator().patch(&merchant, &policy).await.ok();
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(Source::Rust("tolerance"), false).await;
    hooks.put(&hook, "settings", &json!({"percent": "1.5"})).await;
    hooks
        .put(&hook, "binding", &json!({"networks": ["sandbox"], "assets": ["USDT"], "tags": ["shop"]}))
        .await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    let shop = json!({"tag": "shop"});
    let a = sandbox.invoice("100", &shop).await;
    let b = sandbox.invoice("50", &shop).await;
    sandbox.invoice("99.2", &json!({"tag": "other"})).await;

    // An exchange kept 1 %.
    sandbox.send(units(&a) / 100 * 99).await;
    let paid = sandbox.shop.until(&a, "paid").await;
    assert_eq!(paid["exception"], "none", "{paid}");
    let asked = hooks.matches(&hook, 1).await.remove(0);
    assert_eq!(list(&json!({"data": asked["question"]["offers"]})).len(), 2, "of its tag only: {asked}");

    // Too far from all: no opinion, and the built-in policy decides as ever.
    sandbox.send(units(&b) / 100 * 90).await;
    let unknown = listed(&sandbox, "no_match").await;
    assert_eq!(hooks.matches(&hook, 2).await[0]["outcome"], "pass");
    let told = sandbox.shop.receiver.wait_for("transfer.unmatched", 1).await.remove(0).json();
    assert_eq!(told["data"]["transfer"]["id"], unknown["id"]);

    // In the middle of two: a person has to look.
    let mut c = sandbox.invoice("50", &shop).await;
    while !(units(&b) + units(&c)).is_multiple_of(2) {
        // The middle has to be a whole unit; suffixes begin anywhere.
        sandbox.shop.api().post(&format!("/v1/invoices/{}/cancel", text(&c["id"])), &json!({})).await.ok();
        c = sandbox.invoice("50", &shop).await;
    }
    sandbox.send((units(&b) + units(&c)) / 2).await;
    let doubtful = listed(&sandbox, "hook_review").await;
    let asked = hooks.matches(&hook, 3).await.remove(0);
    assert_eq!((&asked["transfer_id"], &asked["outcome"]), (&doubtful["id"], &json!("review")));
    assert!(text(&asked["note"]).contains("2 open invoices"), "{asked}");

    // An old one is found among however many were made since.
    let old = sandbox.invoice("70", &shop).await;
    for _ in 0..520 {
        sandbox.invoice("5", &json!({})).await;
    }
    sandbox.send(units(&old) / 100 * 99).await;
    sandbox.shop.until(&old, "paid").await;
    sandbox.shop.delivered().await;
    invariants::check(&sandbox.shop.database).await;
}

async fn nonsense(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, _) = hooks.upload(Source::Hostile("matcher"), true).await;
    hooks.put(&hook, "binding", &json!({"match_first": true})).await;
    let expected = [
        ("panic", "broke"),
        ("loop", "processor time"),
        ("nobody's", "candidate 2, but was offered 2"),
        ("more", "more than arrived"),
        ("endless", "more than arrived"),
        ("twice", "twice"),
        ("nothing", "nothing"),
        ("none", "nobody"),
    ];
    let mut told = BTreeSet::new();
    for (index, (says, why)) in expected.iter().enumerate() {
        // Before it has failed often enough to be passed over without a question.
        hooks.post(&hook, "enable", &json!({})).await;
        hooks.put(&hook, "settings", &json!({"says": says})).await;
        let paid = sandbox.invoice("3", &json!({})).await;
        let other = sandbox.invoice("4", &json!({})).await;
        sandbox.pay(std::slice::from_ref(&paid)).await;
        sandbox.shop.until(&paid, "paid").await;
        assert_eq!(sandbox.shop.get_invoice(&other).await["status"], "new");
        let asked = hooks.matches(&hook, index + 1).await.remove(0);
        assert_eq!(asked["outcome"], "failed", "{says}: {asked}");
        assert!(text(&asked["note"]).contains(why), "{says}: {asked}");
        let cancel = format!("/v1/invoices/{}/cancel", text(&other["id"]));
        sandbox.shop.api().post(&cancel, &json!({})).await.ok();
        told.insert(text(&asked["id"]));
    }
    let events = sandbox.shop.receiver.wait_for("hook_match.failed", expected.len()).await;
    let events: BTreeSet<_> = events.iter().map(|event| text(&event.json()["data"]["match"]["id"])).collect();
    assert_eq!(events, told);

    // One that fails always is not asked for a while; money goes its way.
    for _ in 0..12 {
        sandbox.paid("3", &json!({})).await;
    }
    let shown = sandbox.shop.api().get(&format!("/v1/hooks/{hook}")).await.ok();
    assert!(!shown["paused_until"].is_null(), "{shown}");
    let asked = hooks.matches(&hook, 0).await.len();
    assert!(asked < expected.len() + 12, "{asked} questions");
    // What it did while it broke is not kept, what it does with an answer is.
    hooks.post(&hook, "enable", &json!({})).await;
    hooks.put(&hook, "settings", &json!({"says": "remember"})).await;
    sandbox.paid("3", &json!({})).await;
    let stored = sandbox.shop.api().get(&format!("/v1/hooks/{hook}/storage")).await.ok();
    assert_eq!(list(&stored), [json!("seen/0")]);
    sandbox.shop.delivered().await;
    invariants::check(&sandbox.shop.database).await;
}

/// Another version of the matcher, with other words.
fn patched_matcher() -> Vec<u8> {
    let mut wasm = component(Source::Hostile("matcher")).to_vec();
    for (from, to) in [("version = \"0.1.0\"", "version = \"0.2.0\""), ("is told to", "was asked.")] {
        let offsets: Vec<usize> = wasm
            .windows(from.len())
            .enumerate()
            .filter(|(_, at)| *at == from.as_bytes())
            .map(|(at, _)| at)
            .collect();
        for at in offsets {
            wasm[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
    }
    wasm
}

async fn first(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, _) = hooks.upload(Source::Hostile("matcher"), true).await;
    hooks.put(&hook, "settings", &json!({"says": "review"})).await;
    hooks.put(&hook, "binding", &json!({"match_first": true})).await;
    let invoice = sandbox.invoice("3", &json!({})).await;
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    let doubtful = listed(&sandbox, "hook_review").await;
    assert_eq!(hooks.matches(&hook, 1).await[0]["note"], "it is told to", "without what moves the cursor");
    assert_eq!(sandbox.shop.get_invoice(&invoice).await["status"], "new");
    let assign = format!("/v1/transfers/{}/assign", text(&doubtful["id"]));
    sandbox.shop.api().post(&assign, &json!({"invoice_id": invoice["id"]})).await.ok();
    sandbox.shop.until(&invoice, "paid").await;

    // Another version is put the same question: replay shows what it would have said, and so does the shadow.
    let other = patched_matcher();
    let made = hooks.try_upload(&other, false).await.ok();
    let version = json!({"version_id": made["version"]["id"]});
    let seen = hooks.post(&hook, "replay", &version).await;
    assert_eq!((&seen["different"], &seen["data"]), (&json!(1), &json!([])), "{seen}");
    let (then, now) = (&seen["matches"][0]["then"], &seen["matches"][0]["now"]);
    assert_eq!((&then["outcome"], &then["note"]), (&json!("review"), &json!("it is told to")), "{seen}");
    assert_eq!((&now["outcome"], &now["note"]), (&json!("review"), &json!("it was asked.")), "{seen}");
    hooks.put(&hook, "shadow", &version).await;
    let other = sandbox.invoice("5", &json!({})).await;
    sandbox.pay(std::slice::from_ref(&other)).await;
    hooks.matches(&hook, 2).await;
    eventually("a question that was put to the shadow", || async {
        let seen = sandbox.shop.api().get(&format!("/v1/hooks/{hook}/shadow")).await.ok();
        let counted = (&seen["calls"], &seen["different"]) == (&json!(1), &json!(1));
        if counted { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;

    // Disabled, it is not asked.
    hooks.post(&hook, "disable", &json!({})).await;
    sandbox.paid("3", &json!({})).await;
    assert_eq!(hooks.matches(&hook, 1).await.len(), 2);
    sandbox.shop.delivered().await;
    invariants::check(&sandbox.shop.database).await;
}

async fn killed(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, _) = hooks.upload(Source::Hostile("matcher"), true).await;
    hooks.put(&hook, "settings", &json!({"says": "loop"})).await;
    hooks.put(&hook, "binding", &json!({"match_first": true})).await;
    let invoice = sandbox.invoice("3", &json!({})).await;
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    eventually("the transfer", || async {
        let seen = sandbox.shop.transfers().await;
        if seen.iter().any(|one| !one["reason"].is_null()) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    sandbox.shop.kassa.kill();
    sandbox.shop.kassa.restart().await;
    sandbox.shop.until(&invoice, "paid").await;
    assert_eq!(payments(&sandbox, &invoice).await.len(), 1);
    sandbox.shop.delivered().await;
    invariants::check(&sandbox.shop.database).await;
}
