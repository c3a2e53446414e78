//! Hooks that are stopped while they run, or that are never let in since their first call is stopped.

use kassa_tests::{Database, Kind, Suite, hostile, text};
use serde_json::json;

use super::{Stage, said_of};

/// What a call that is stopped is said to have failed by.
const STOPPED: [(&str, &str); 15] = [
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
    ("loop", "processor time"),
];

/// What is never let in, and why.
const REFUSED: [(&str, &str, &str); 4] = [
    ("start-loop", "first-call-failed", "processor time"),
    ("panic-start", "first-call-failed", "unreachable"),
    ("declared-memory", "first-call-failed", "memory"),
    ("declared-table", "first-call-failed", "memory"),
];

pub(super) fn cases(suite: &mut Suite) {
    for (name, reason) in STOPPED {
        suite.on(Kind::Sqlite, &format!("hostile::{name}_is_stopped"), move |database| {
            stopped(database, name, reason)
        });
    }
    for (name, slug, reason) in REFUSED {
        suite.on(Kind::Sqlite, &format!("hostile::{name}_is_refused"), move |database| {
            refused(database, name, slug, reason)
        });
    }
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

async fn refused(database: Database, name: &'static str, slug: &'static str, reason: &'static str) {
    let stage = Stage::start(database).await;
    let (was, detail) = stage.refused(name, &hostile(name)).await;
    assert_eq!(was, slug, "{detail}");
    assert!(detail.contains(reason), "{detail}");
    assert_eq!(stage.evil().get("/v1/hooks").await.ok()["data"], json!([]));
    stage.is_well().await;
}
