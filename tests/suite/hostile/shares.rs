//! Merchants whose hooks and receivers make everybody wait.

use std::time::Instant;

use futures_util::future::join_all;
use kassa_tests::{
    Api, Database, Hooks, KassaOptions, Kind, Receiver, Reply, Source, Suite, carrying, eventually, quiet,
};
use serde_json::json;

use super::{Stage, said, uploads};

pub(super) fn cases(suite: &mut Suite) {
    suite.both("hostile::hooks_that_wait_for_a_server_give_up_their_permits", waiting_hooks);
    suite.both("hostile::receivers_that_never_answer_leave_permits_to_others", waiting_receivers);
    suite.on(Kind::Sqlite, "hostile::components_that_never_compile_hold_up_no_other_upload", bombs);
}

/// A receiver that keeps whoever asks it.
async fn keeper() -> Receiver {
    let receiver = Receiver::start().await;
    receiver.then(Reply::Stall);
    receiver
}

async fn has_got(receiver: &Receiver, count: usize) {
    eventually(&format!("{count} requests that wait"), || async {
        let got = receiver.got().len();
        if got == count { Ok(()) } else { Err(format!("{got}")) }
    })
    .await;
}

async fn waiting_hooks(database: Database) {
    // As many permits as the attacker may have calls.
    let options = KassaOptions::default()
        .with("KASSA_HOOKS__CALLS_MAX", "4")
        .with("KASSA_HOOKS__CONCURRENCY_PER_MERCHANT", "4");
    let stage = Stage::with(database, options).await;
    let (evil, keeper) = (stage.evil_hooks(), keeper().await);
    let (hook, version) = evil.upload(Source::Rust("email"), false).await;
    let settings = json!({"api_url": keeper.url(), "from": "a@kassa.example", "to": "b@kassa.example", "subject": "s", "text": "t"});
    evil.put(&hook, "settings", &settings).await;
    evil.put(&hook, "secrets/api_key", &json!({"value": "x"})).await;
    evil.post(&hook, "activate", &json!({"version_id": version})).await;
    let invoices = join_all((0..6).map(|_| stage.evil_invoice())).await;
    stage.sandbox.pay(&invoices).await;
    has_got(&keeper, 4).await;

    let began = Instant::now();
    let hooks = stage.sandbox.hooks();
    for number in 1..=3 {
        let path = format!("storage/key%2F{number}");
        hooks.put(&stage.shop_hook, &path, &json!({"text": format!("KEY-{number}")})).await;
        stage.sandbox.paid("5", &json!({})).await;
        hooks.wait_for(&stage.shop_hook, "done", number).await;
    }
    said(
        "waiting-hooks",
        "three runs of the neighbour's, while four calls wait for a server",
        began.elapsed(),
    );
    let runs = evil.runs(&hook).await;
    assert!(runs.iter().all(|run| run["attempts"] == 0), "none of them has ended meanwhile: {runs:?}");
    assert_eq!(keeper.got().len(), 4);
}

async fn waiting_receivers(database: Database) {
    let options = KassaOptions::default()
        .with("KASSA_WEBHOOKS__CONCURRENCY", "8")
        .with("KASSA_WEBHOOKS__TIMEOUT_S", "60");
    let stage = Stage::with(database, options).await;
    let keepers = join_all((0..8).map(|_| keeper())).await;
    for keeper in &keepers {
        stage.evil().post("/v1/endpoints", &json!({"url": keeper.url()})).await.ok();
    }
    let invoices = join_all((0..3).map(|_| stage.evil_invoice())).await;
    stage.sandbox.pay(&invoices).await;
    let kept = || keepers.iter().map(|keeper| keeper.got().len()).sum::<usize>();
    eventually("deliveries that wait", || async {
        if kept() >= 3 { Ok(()) } else { Err(format!("{}", kept())) }
    })
    .await;
    let began = Instant::now();
    for number in 1..=3 {
        stage.sandbox.paid("5", &json!({})).await;
        stage.sandbox.shop.receiver.wait_for("invoice.paid", number).await;
    }
    said(
        "waiting-receivers",
        "three deliveries of the neighbour's, while eight receivers keep theirs",
        began.elapsed(),
    );
    assert!(kept() <= 4, "half of the permits: {}", kept());
}

async fn bombs(database: Database) {
    let stage = Stage::with(database, KassaOptions::default()).await;
    let (shop, bomb) = (&stage.sandbox.shop, carrying("bomb", &uploads::loops(100_000)));
    let accomplice = shop.new_merchant("accomplice", "test").await;
    let accomplice = Hooks(Api::new(shop.kassa.url(), &accomplice.key));
    let (first, second) = (bomb.clone(), bomb);
    let evil = stage.evil_hooks();
    let mut bombs = vec![
        tokio::spawn(async move { evil.validate(&first).await }),
        tokio::spawn(async move { accomplice.validate(&second).await }),
    ];
    let began = Instant::now();
    for number in 0..3 {
        stage.sandbox.hooks().try_upload(&quiet(&format!("neighbour-{number}")), false).await.ok();
    }
    said("never-compile", "three uploads of the neighbour's, while two bombs are compiled", began.elapsed());
    let under_way = bombs.iter().filter(|bomb| !bomb.is_finished()).count();
    for bomb in bombs.drain(..) {
        let refused = bomb.await.expect("an answer");
        assert_eq!(refused.body["reason"], "does-not-compile", "{}", refused.body);
    }
    assert!(under_way > 0, "all bombs were over before the neighbour's uploads");
}
