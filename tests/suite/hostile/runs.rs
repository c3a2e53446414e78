//! Hooks that are stopped while they run.

use std::time::Instant;

use kassa_tests::{Database, Kind, Suite, eventually, hostile, quiet, straight, text};
use serde_json::json;

use super::{Stage, said, said_of};

/// What a call that is stopped is said to have failed by.
pub(super) const STOPPED: [(&str, &str); 15] = [
    ("loop", "used up its processor time"),
    ("recursion", "call stack exhausted"),
    ("memory", "used up its memory"),
    ("table", "used up its memory"),
    ("handles", "handle"),
    ("huge-string", "handed over too much"),
    ("huge-list", "handed over too much"),
    ("huge-result", "handed over too much"),
    ("result-outside", "out of bounds"),
    ("realloc-outside", "beyond end of memory"),
    ("not-utf-8", "utf-8"),
    ("host-calls", "called the host too often"),
    ("panic", "unreachable"),
    ("panic-realloc", "unreachable"),
    ("panic-post", "unreachable"),
];

pub(super) fn cases(suite: &mut Suite) {
    for (name, reason) in STOPPED {
        suite.on(Kind::Sqlite, &format!("hostile::{name}_is_stopped"), move |database| {
            stopped(database, hostile(name), name, reason)
        });
    }
    suite.on(Kind::Sqlite, "hostile::straight_is_stopped", |database| {
        stopped(database, straight(9_000), "straight", "used up its processor time")
    });
    suite.both("hostile::loop_is_stopped_and_its_merchant_hears_of_it", failing);
    suite.both("hostile::panic_in_every_export_is_stopped", panics);
    suite.both("hostile::log_is_cut", log);
    suite.both("hostile::words_are_cleaned", words);
    suite.both("hostile::run_that_is_made_again_and_again_is_shown_with_its_last_calls", again);
}

async fn stopped(database: Database, component: Vec<u8>, name: &'static str, reason: &'static str) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&component).await;
    let (run, call) = stage.attack(&hook).await;
    said_of(name, &call);
    assert_eq!(call["outcome"], "failed", "{call}");
    assert!(text(&call["note"]).contains(reason), "{call}");
    assert_eq!(run["state"], "pending", "it is tried again: {run}");
    stage.is_well().await;
}

/// After some failures in a row the hook's runs wait, and its merchant is told.
async fn failing(database: Database) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&hostile("loop")).await;
    let mut invoices = Vec::new();
    for _ in 0..12 {
        invoices.push(stage.evil_invoice().await);
    }
    stage.sandbox.pay(&invoices).await;
    let told = stage.receiver.wait_for("hook_run.failing", 1).await.remove(0).json();
    assert_eq!(told["data"]["hook"]["name"], "loop");
    assert!(text(&told["data"]["run"]["note"]).contains("processor time"), "{told}");
    let (_, call) = stage.attack(&hook).await;
    said_of("loop", &call);
    let seen = stage.evil().get(&format!("/v1/hooks/{hook}")).await.ok();
    assert!(seen["paused_until"].is_string(), "{seen}");
    stage.is_well().await;
}

/// Asked first what a payment pays, then run for it: both break off, and the payment is what it is. Asked for a price,
/// it has none.
async fn panics(database: Database) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&hostile("panic")).await;
    stage.evil_hooks().put(&hook, "binding", &json!({"events": ["invoice.paid"], "match_first": true})).await;
    let (_, call) = stage.attack(&hook).await;
    let asked = stage.evil_hooks().matches(&hook, 1).await.remove(0);
    for (role, call) in [("matcher", &asked), ("fulfiller", &call)] {
        said_of(&format!("panic, as {role}"), call);
        assert_eq!(call["outcome"], "failed", "{call}");
        assert!(text(&call["note"]).contains("unreachable"), "{call}");
    }
    let priced = json!({
        "title": "t", "payable_network": "sandbox", "payable_asset": "SBX", "base_amount_usd": "1",
    });
    let refused = stage.evil().post("/v1/invoices", &priced).await;
    assert!(refused.body.to_string().contains("unreachable"), "{refused:?}");
    assert_eq!(refused.problem(503), "/problems/price_unavailable");
    stage.is_well().await;
}

async fn log(database: Database) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&hostile("log")).await;
    let (run, call) = stage.attack(&hook).await;
    said_of("log", &call);
    assert_eq!(run["state"], "done", "{run}");
    let lines = call["log"].as_array().unwrap();
    let bytes: usize = lines.iter().map(|line| text(&line["text"]).len()).sum();
    println!("hostile: log: {} of 5000 lines kept, {bytes} bytes", lines.len());
    assert!(lines.len() <= 50 && bytes <= 9 << 10, "{call}");
    assert!(text(&lines.last().unwrap()["text"]).contains("budget of log lines"), "{call}");
    stage.is_well().await;
}

async fn words(database: Database) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&hostile("words")).await;
    let (run, call) = stage.attack(&hook).await;
    said_of("words", &call);
    assert_eq!(run["note"], "a b [31mc d e");
    assert_eq!(call["log"], json!([{"level": "error", "text": "a b [31mc d e"}]));
    stage.is_well().await;
}

/// There is no limit to that, so there is one to what is shown of it.
async fn again(database: Database) {
    const TIMES: usize = 60;
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&quiet("again")).await;
    let (run, _) = stage.attack(&hook).await;
    let (id, began) = (&run["id"], Instant::now());
    for _ in 0..TIMES {
        stage.evil().post(&format!("/v1/hook_runs/{}/run_again", text(id)), &json!({})).await.ok();
        eventually("its end", || async {
            let run = stage.evil_hooks().run(id).await;
            if run["state"] == "done" { Ok(()) } else { Err(run.to_string()) }
        })
        .await;
    }
    let run = stage.evil_hooks().run(id).await;
    let numbers: Vec<_> =
        run["calls"].as_array().unwrap().iter().map(|call| call["number"].as_u64()).collect();
    said("run-again", &format!("{TIMES} times, {} calls shown", numbers.len()), began.elapsed());
    assert_eq!(numbers, (12..=61).map(Some).collect::<Vec<_>>());
    stage.is_well().await;
}
