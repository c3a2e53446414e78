//! What is kept, for how long, and what is erased earlier.

use kassa_tests::{Database, Kind, Sandbox, Source, Suite, eventually, text};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("retention::what_is_old_goes_and_money_stays", old);
    suite.both("retention::a_payer_is_erased_from_every_table", erased);
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

/// What nobody else writes.
const MARK: &str = "Jo Payer of Nowhere";

/// Tables that have the mark in some row, as text or as bytes.
async fn with_mark(database: &Database) -> Vec<String> {
    let tables = match database.kind() {
        Kind::Sqlite => {
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        }
        Kind::Postgres => {
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = 'public'"
        }
    };
    let hex: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    for row in database.rows(tables).await {
        let [table, column] = [0, 1].map(|index: usize| row[index].clone().unwrap());
        let sql = format!(
            "SELECT CAST(COUNT(*) AS TEXT) FROM \"{table}\" WHERE CAST(\"{column}\" AS TEXT) LIKE '%{MARK}%'
                 OR CAST(\"{column}\" AS TEXT) LIKE '%{hex}%'"
        );
        if database.rows(&sql).await[0][0].as_deref() != Some("0") {
            found.push(table);
        }
    }
    found.sort();
    found.dedup();
    found
}

async fn erased(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let (hook, _) = sandbox.hooks().upload(Source::Rust("license-keys"), true).await;
    sandbox.hooks().put(&hook, "storage/key%2F1", &json!({"text": "KEY"})).await;
    let api = sandbox.shop.api();
    let mut order = sandbox.shop.order("USDT", "5");
    order["title"] = json!(MARK);
    order["tag"] = json!(MARK);
    order["meta"] = json!({"payer": {"name": MARK}});
    let invoice = api.post_once("/v1/invoices", "once", &order).await.ok();
    let path = format!("/v1/invoices/{}/personal_data", text(&invoice["id"]));
    assert_eq!(api.delete(&path).await.problem(409), "/problems/invoice_open");
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    sandbox.shop.until(&invoice, "paid").await;
    let run = text(&sandbox.hooks().wait_for(&hook, "done", 1).await[0]["id"]);
    api.post_once(&format!("/v1/hook_runs/{run}/run_again"), "again", &json!({})).await.ok();
    sandbox.shop.delivered().await;
    sandbox.hooks().wait_for(&hook, "done", 1).await;
    let before = with_mark(&sandbox.shop.database).await;
    for table in ["event", "idempotency", "invoice"] {
        assert!(before.iter().any(|found| found == table), "{table}: {before:?}");
    }
    let erased = api.delete(&path).await.ok();
    assert_eq!(erased["invoice_id"], invoice["id"]);
    assert_eq!(with_mark(&sandbox.shop.database).await, Vec::<String>::new());
    assert_eq!(api.delete(&path).await.ok(), erased);
    let now = sandbox.shop.get_invoice(&invoice).await;
    assert_eq!((&now["status"], &now["title"], &now["meta"]), (&json!("paid"), &json!(""), &json!(null)));
    assert_eq!(now["credited_amount"], invoice["payable_amount"]);
    // A delivery that is sent again has none of it either, and is still signed.
    let event = &api.get(&format!("/v1/events?invoice_id={}", text(&invoice["id"]))).await.ok()["data"][0];
    let delivery = api.get(&format!("/v1/deliveries?event_id={}", text(&event["id"]))).await.ok();
    let delivery = text(&delivery["data"][0]["id"]);
    let seen = sandbox.shop.receiver.got().len();
    api.post(&format!("/v1/deliveries/{delivery}/resend"), &json!({})).await.ok();
    let again = eventually("the delivery comes again", || async {
        let got = sandbox.shop.receiver.got();
        got.get(seen).cloned().ok_or_else(|| got.len().to_string())
    })
    .await;
    assert!(!again.json().to_string().contains(MARK));
    sandbox.shop.verify_all(&[again]);
    sandbox.shop.delivered().await;
}
