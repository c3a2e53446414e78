//! What is kept, and for how long.

use kassa_tests::{Database, Sandbox, Source, Suite, eventually, text};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("retention::what_is_old_goes_and_money_stays", old);
}

const DAY_MS: u64 = 86_400_000;

/// How many rows a table has.
async fn count(database: &Database, table: &str) -> usize {
    let rows = database.rows(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}")).await;
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

/// Of each kind, how many rows would go.
async fn would_go(sandbox: &Sandbox) -> Vec<(String, u64)> {
    let kinds = sandbox.shop.kassa.operator().get("/v1/operator/retention").await.ok();
    let kind = |kind: &Value| (text(&kind["kind"]), kind["rows"].as_u64().unwrap());
    kinds["data"].as_array().unwrap().iter().map(kind).collect()
}

async fn old(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let (hook, _) = sandbox.hooks().upload(Source::Rust("license-keys"), true).await;
    for number in 0..3 {
        sandbox.hooks().put(&hook, &format!("storage/key%2F{number}"), &json!({"text": "KEY"})).await;
        sandbox.paid("5", &json!({})).await;
    }
    sandbox.hooks().wait_for(&hook, "done", 3).await;
    sandbox.shop.receiver.wait_for("hook.license.issued", 3).await;
    sandbox.shop.delivered().await;
    let money = ["transfer", "payment", "journal", "ledger_entry", "invoice"];
    let told = ["event", "delivery", "attempt", "hook_run", "hook_attempt"];
    let mut before = Vec::new();
    for table in money.iter().chain(&told) {
        before.push(count(&sandbox.shop.database, table).await);
    }
    assert!(before.iter().all(|rows| *rows > 0), "{before:?}");
    let nothing = would_go(&sandbox).await;
    assert!(nothing.iter().all(|(_, rows)| *rows == 0), "{nothing:?}");

    // A year and a half later, with a kill in the middle of it.
    let later = (550 * DAY_MS).to_string();
    let kassa = &mut sandbox.shop.kassa;
    kassa.kill();
    kassa.spawn(&[("KASSA_CLOCK_AHEAD_MS", &later), ("KASSA_RETENTION_AFTER_MS", "0")]);
    kassa.ready().await;
    kassa.kill();
    kassa.spawn(&[("KASSA_CLOCK_AHEAD_MS", &later), ("KASSA_RETENTION_AFTER_MS", "500")]);
    kassa.ready().await;
    for table in told {
        eventually(&format!("{table} is empty"), || async {
            match count(&sandbox.shop.database, table).await {
                0 => Ok(()),
                rows => Err(rows.to_string()),
            }
        })
        .await;
    }
    for (table, rows) in money.iter().zip(before) {
        assert_eq!(count(&sandbox.shop.database, table).await, rows, "{table}");
    }
    let nothing = would_go(&sandbox).await;
    assert!(nothing.iter().all(|(kind, rows)| *rows == 0 || kind == "sightings"), "{nothing:?}");
    // Of what merchants' hooks take, what went is no more.
    let usage = sandbox.shop.api().get("/v1/usage").await.ok();
    assert_eq!(usage["hooks"]["runs"], 0, "{usage}");
    // Lists are empty, and life goes on.
    for list in ["events", "deliveries", "hook_runs"] {
        let list = sandbox.shop.api().get(&format!("/v1/{list}")).await.ok();
        assert_eq!(list["data"], json!([]), "{list}");
    }
    sandbox.hooks().put(&hook, "storage/key%2F9", &json!({"text": "KEY"})).await;
    sandbox.paid("5", &json!({})).await;
    sandbox.hooks().wait_for(&hook, "done", 1).await;
    sandbox.shop.delivered().await;
}
