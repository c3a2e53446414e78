//! Hooks that are stopped while they run.

use kassa_tests::{Database, Kind, Suite, hostile, text};
use serde_json::json;

use super::{Stage, said_of};

/// What a call that is stopped is said to have failed by.
const STOPPED: [(&str, &str); 14] = [
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
            stopped(database, name, reason)
        });
    }
    suite.both("hostile::loop_is_stopped_and_its_merchant_hears_of_it", failing);
    suite.both("hostile::log_is_cut", log);
    suite.both("hostile::words_are_cleaned", words);
}

async fn stopped(database: Database, name: &'static str, reason: &'static str) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&hostile(name)).await;
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
