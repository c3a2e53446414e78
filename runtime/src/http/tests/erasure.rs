//! A payer's personal data is erased from all that is kept.

use http::Method;
use serde_json::json;
use sqlx::Row as _;

use super::kit::{Answer, Api, request, with};
use crate::{
    db::{Conn, DbError, args},
    domain::id::{DeliveryId, EventId, HookMatchId, HookRunId},
    host::tests::hook_guest::HookGuest,
};

/// A text that occurs nowhere else.
const MARK: &str = "Jo Payer <jo@example.org>";

/// Tables that contain the mark.
async fn found(conn: &mut Conn, kind: &str) -> Vec<String> {
    let sql = if kind == "sqlite" {
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    } else {
        "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables WHERE table_schema = 'public'"
    };
    let mut found = Vec::new();
    for table in conn.rows(sql, vec![]).await.unwrap() {
        let table = table.text("name").unwrap();
        // A test may make a text; what is asked never comes from outside.
        let sql: &'static str = format!("SELECT * FROM {table}").leak();
        for row in conn.rows(sql, vec![]).await.unwrap() {
            if says(&row) {
                found.push(table.clone());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// True if a text or blob of the row contains the mark.
fn says(row: &crate::db::Row) -> bool {
    macro_rules! look {
        ($row:expr) => {
            (0..$row.len()).any(|column| {
                let text = $row.try_get_unchecked::<Option<String>, _>(column).ok().flatten();
                let bytes = $row.try_get_unchecked::<Option<Vec<u8>>, _>(column).ok().flatten();
                text.is_some_and(|text| text.contains(MARK))
                    || bytes.is_some_and(|bytes| String::from_utf8_lossy(&bytes).contains(MARK))
            })
        };
    }
    match row {
        crate::db::Row::Sqlite(row) => look!(row),
        crate::db::Row::Postgres(row) => look!(row),
    }
}

async fn erase(api: &Api, key: &str, invoice: &str) -> Answer {
    api.call(key, Method::DELETE, &format!("/v1/invoices/{invoice}/personal_data"), json!({})).await
}

/// Rows that hooks make of the invoice's events: a run and its call, an event that it sent, a run for that, and a
/// question.
async fn made_of_it(api: &Api, merchant: &str, hook: &str, version: &str, invoice: &str) {
    let [merchant, hook, version, invoice] = [merchant, hook, version, invoice].map(str::to_owned);
    let (now, mark) = (api.app.clock.now(), format!("\"{MARK}\""));
    let runs = [HookRunId::new(now), HookRunId::new(now)];
    let (sent, asked, delivery) = (EventId::new(now), HookMatchId::new(now), DeliveryId::new(now));
    api.app
        .db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let sql = "SELECT id FROM event WHERE invoice_id = $1";
                let event = conn.row(sql, args![&invoice]).await?.unwrap().id("id")?;
                conn.exec("DELETE FROM dispatch_queue", args![]).await?;
                conn.exec(
                    "INSERT INTO event (id, merchant_id, test, kind, sequence, payload, created_at, cause)
                     VALUES ($1, $2, 1, 'hook.sold', 0, $3, 1, $4)",
                    args![
                        &sent,
                        &merchant,
                        format!("{{\"type\":\"hook.sold\",\"timestamp\":\"t\",\"data\":{{\"to\":{mark}}}}}"),
                        &runs[0]
                    ],
                )
                .await?;
                for (run, event) in runs.iter().zip([&event, &sent]) {
                    conn.exec(
                        "INSERT INTO hook_run (id, hook_id, event_id, merchant_id, test, state, attempts, note, created_at)
                         VALUES ($1, $2, $3, $4, 1, 'pending', 1, $5, 1)",
                        args![run, &hook, event, &merchant, &mark],
                    )
                    .await?;
                    conn.exec(
                        "INSERT INTO hook_attempt (run_id, number, at, version_id, outcome, note, duration_us, cpu_us, fuel,
                             memory_bytes, host_calls, http_requests, log, tape, bytes, tape_bytes)
                         VALUES ($1, 1, 1, $2, 'done', $3, 1, 1, 1, 1, 1, 1, $3, $3, 1000, 500)",
                        args![run, &version, &mark],
                    )
                    .await?;
                    conn.exec(
                        "INSERT INTO hook_shadow (hook_id, version_id, run_id, number, same, difference, at, bytes)
                         VALUES ($1, $2, $3, 1, 0, $4, 1, 400)",
                        args![&hook, &version, run, &mark],
                    )
                    .await?;
                    let sql = "INSERT INTO hook_run_queue (run_id, hook_id, due_at, fence, attempts_before)
                               VALUES ($1, $2, 9, 3, 0)";
                    conn.exec(sql, args![run, &hook]).await?;
                }
                let sql = "INSERT INTO endpoint (id, merchant_id, test, url, secret, state, failures, created_at)
                           VALUES ('ep_1', $1, 1, 'https://x', $2, 'active', 0, 1)";
                conn.exec(sql, args![&merchant, vec![1_u8]]).await?;
                conn.exec(
                    "INSERT INTO delivery (id, event_id, endpoint_id, merchant_id, test, state, attempts, created_at)
                     VALUES ($1, $2, 'ep_1', $3, 1, 'delivered', 1, 1)",
                    args![&delivery, &event, &merchant],
                )
                .await?;
                let sql = "INSERT INTO attempt (delivery_id, number, at, duration_ms, status, response)
                           VALUES ($1, 1, 1, 1, 200, $2)";
                conn.exec(sql, args![&delivery, &mark]).await?;
                let sql = "INSERT INTO asset (id, network, symbol, decimals) VALUES ('sandbox:x', 'sandbox', 'X', 6)";
                conn.exec(sql, args![]).await?;
                let sql = "INSERT INTO receive_address (id, merchant_id, network, address, key, kind, seq, created_at)
                           VALUES ('adr_x', $1, 'sandbox', 'x', $2, 'customer', 999, 1)";
                conn.exec(sql, args![&merchant, vec![1_u8]]).await?;
                conn.exec(
                    "INSERT INTO transfer (id, network, tx, ordinal, asset_id, address_id, merchant_id, height, block_hash,
                         block_time, status, epoch, seen_at)
                     VALUES ('trf_x', 'sandbox', 'x', 0, 'sandbox:x', 'adr_x', $1, 1, 'h', 1, 'final', 1, 1)",
                    args![&merchant],
                )
                .await?;
                conn.exec(
                    "INSERT INTO hook_match (id, hook_id, merchant_id, test, transfer_id, version_id, outcome, note,
                         question, parts, at, duration_us, cpu_us, fuel, memory_bytes, host_calls, log, tape, bytes, tape_bytes)
                     VALUES ($1, $2, $3, 1, 'trf_x', $4, 'pass', $5, $6, '[]', 1, 1, 1, 1, 1, 1, $5, $5, 900, 400)",
                    args![
                        asked,
                        &hook,
                        &merchant,
                        &version,
                        &mark,
                        format!("{{\"offers\":[{{\"invoice_id\":\"{invoice}\",\"tag\":{mark}}}]}}")
                    ],
                )
                .await?;
                let more = crate::db::disk::DiskUse::of_runs(2 * 1400 + 900);
                crate::db::disk::count(conn, &merchant.as_str().into(), more).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_of_the_payer_is_left_and_all_of_the_money() {
    for api in Api::all().await {
        let merchant = api.merchant("Shop").await;
        let (key_id, key) = api.key(&merchant, "test").await;
        let made = api.upload_hook(&key, &HookGuest::new()).await.ok();
        let [hook, version] = [&made["hook"]["id"], &made["version"]["id"]].map(|id| id.as_str().unwrap());
        let key_of = json!({"network": "sandbox", "public_key": "sbxpub"});
        api.call(&key, Method::PUT, "/v1/extended_keys", key_of).await.ok();
        let order = json!({"title": MARK, "tag": MARK, "meta": {"payer": MARK}, "amount": "5", "order_id": "o-1",
            "payable_network": "sandbox", "payable_asset": "USDT", "matching": "address"});
        let asked = || {
            let asked = request(Method::POST, "/v1/invoices", order.to_string());
            with(with(asked, "x-api-key", &key), "idempotency-key", "k-1")
        };
        let invoice = api.send(asked()).await.ok();
        let id = invoice["id"].as_str().unwrap();
        // The same key and the same order, of another one.
        let other = json!({"title": "Other", "amount": "5", "payable_network": "sandbox", "payable_asset": "USDT",
            "matching": "address"});
        let other = api.post(&key, "/v1/invoices", other).await.ok();

        assert_eq!(erase(&api, &key, id).await.problem(), "invoice_open");
        api.post(&key, &format!("/v1/invoices/{id}/cancel"), json!({})).await.ok();
        made_of_it(&api, &merchant, hook, version, id).await;
        let kind = api.app.db.kind();
        let mut conn = api.app.db.read().await.unwrap();
        let everywhere = [
            "attempt",
            "event",
            "hook_attempt",
            "hook_match",
            "hook_run",
            "hook_shadow",
            "idempotency",
            "invoice",
        ];
        assert_eq!(found(&mut conn, kind).await, everywhere);

        // Another merchant's key finds nothing to erase.
        let (_, stranger) = api.merchant_with_key("Stranger").await;
        assert_eq!(erase(&api, &stranger, id).await.problem(), "not_found");
        let erased = erase(&api, &key, id).await.ok();
        assert_eq!((&erased["invoice_id"], &erased["api_key_id"]), (&json!(id), &json!(key_id)));
        assert_eq!(found(&mut conn, kind).await, Vec::<String>::new());
        let again = erase(&api, &key, id).await.ok();
        assert_eq!(again, erased, "who did it first, and when");

        // What money needs is as it was.
        let now = api.get(&key, &format!("/v1/invoices/{id}")).await.ok();
        assert_eq!((&now["title"], &now["tag"], &now["meta"]), (&json!(""), &json!(null), &json!(null)));
        for field in ["order_id", "payable_amount", "destination_address", "created_at", "expires_at"] {
            assert_eq!(now[field], invoice[field], "{field}");
        }
        let events = api.get(&key, &format!("/v1/events?invoice_id={id}")).await.ok();
        let told = &events["data"][0]["payload"];
        assert_eq!(told["data"]["invoice"]["payable_amount"], invoice["payable_amount"], "{told}");
        // A repetition has no second effect, and its answer no data.
        let repeated = api.send(asked()).await;
        assert_eq!(repeated.header("idempotent-replayed"), "true");
        assert_eq!((&repeated.body["id"], &repeated.body["title"]), (&json!(id), &json!("")));
        // What is under way writes nothing of what it knew.
        let fences = conn.rows("SELECT fence FROM hook_run_queue", vec![]).await.unwrap();
        assert!(fences.iter().all(|row| row.int("fence").unwrap() > 3));
        // The other invoice is as it was, and what is taken is counted.
        let path = format!("/v1/invoices/{}", other["id"].as_str().unwrap());
        assert_eq!(api.get(&key, &path).await.ok()["title"], "Other");
        let taken = api.get(&key, "/v1/usage").await.ok();
        assert_eq!(taken["hooks"]["runs"], 2 * 256 + 2 * 256 + 256 + 2);
    }
}
