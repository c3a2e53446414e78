//! A merchant that uploads, stores and runs until the disk would be full.

use std::time::Instant;

use kassa_tests::{Database, KassaOptions, Source, Suite, component, numbered, text};
use serde_json::json;

use super::{Stage, said};

pub(super) fn cases(suite: &mut Suite) {
    suite.both("hostile::fills_the_disk", fills_the_disk);
}

const LIMIT: u64 = 4 << 20;

async fn fills_the_disk(database: Database) {
    let options = KassaOptions::default().with("KASSA_HOOKS__DISK_MIB_PER_MERCHANT", "4");
    let mut stage = Stage::with(database, options).await;
    let began = Instant::now();
    let (wasm, hooks) = (component(Source::Rust("license-keys")), stage.evil_hooks());
    // The neighbour has the very same component.
    let shared = hooks.try_upload(&wasm, true).await.ok();
    let hook = text(&shared["hook"]["id"]);
    let mut versions = vec![text(&shared["version"]["id"])];
    let refused = loop {
        let answer = hooks.try_upload(&numbered(&wasm, versions.len() as u128), true).await;
        if answer.status >= 400 {
            break answer;
        }
        versions.push(text(&answer.ok()["version"]["id"]));
        assert!(versions.len() < 20, "the limit comes before hooks.versions_max");
    };
    assert_eq!(refused.problem(409), "/problems/disk_limit");
    let detail = text(&refused.body["detail"]);
    assert!(detail.contains("compiled code") && detail.contains("DELETE /v1/hooks/"), "{detail}");
    let usage = stage.evil().get("/v1/usage").await.ok()["hooks"].clone();
    assert!(usage["total"].as_u64().unwrap() <= LIMIT && usage["limit"] == LIMIT, "{usage}");
    // What is left is filled up by values, and then there is no room for one more, not by a hook's own call either.
    let mut number = 0;
    loop {
        let path = format!("/v1/hooks/{hook}/storage/key%2Ffill-{number:04}");
        let put = stage.evil().put(&path, &json!({"text": "x".repeat(4_000)})).await;
        if put.status >= 400 {
            assert_eq!(put.problem(409), "/problems/disk_limit");
            break;
        }
        number += 1;
    }
    // Its hook runs on, without recordings; so does the neighbour's, which uploads and stores as before.
    let (run, call) = stage.attack(&hook).await;
    assert_eq!(call["log"], json!([]), "{run}");
    let neighbour = stage.sandbox.hooks();
    neighbour.try_upload(&numbered(&wasm, 999), false).await.ok();
    // Room is made by deleting: a version in use stays, one that the neighbour has too is only this one's.
    let path = |version: &str| format!("/v1/hooks/{hook}/versions/{version}");
    let last = versions.pop().unwrap();
    assert_eq!(stage.evil().delete(&path(&last)).await.problem(409), "/problems/conflict");
    for version in versions.drain(..2) {
        stage.evil().delete(&path(&version)).await.ok();
    }
    hooks.try_upload(&numbered(&wasm, 1_000), false).await.ok();
    stage.attack(&hook).await;
    let how = format!("{} versions and {number} values taken, then refused", versions.len() + 3);
    said("fills-the-disk", &how, began.elapsed());
    stage.is_well().await;
}
