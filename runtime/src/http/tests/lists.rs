//! Every list with every filter: what a page costs does not grow with what it does not show.

use std::{collections::BTreeMap, sync::Mutex};

use serde_json::{Value, json};

use super::kit::Api;
use crate::{
    db::{
        DbError,
        conn::cost::{ASKED, Query},
    },
    host::tests::hook_guest::HookGuest,
    http::document,
};

/// Number of rows of each kind that a page does not show.
const ROWS: i64 = 20_000;
/// Maximum cost of a query: steps of SQLite's virtual machine, or rows that PostgreSQL visits. Walking past the rows
/// costs at least one each.
const COST_MAX: u64 = 5_000;

/// Ids that the fills and filters below use.
struct Named {
    merchant: String,
    other_merchant: String,
    endpoint: String,
    hook: String,
    invoice: String,
}

/// Rows of the merchant whose lists are read, none of which matches a filter below.
fn fills(named: &Named) -> Vec<String> {
    let Named { merchant, other_merchant, endpoint, hook, .. } = named;
    let id = |prefix: &str| format!("'{prefix}_000000000' || CAST(10000000000000000 + i AS TEXT)");
    let fill = |into: &str, values: String| {
        format!(
            "INSERT INTO {into} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
             SELECT {values} FROM n"
        )
    };
    let (adr, trf, evt) = (id("adr"), id("trf"), id("evt"));
    let address = |kind: &str, network: &str, test: u8, more: i64| {
        let into = "receive_address (id, merchant_id, network, address, key, kind, seq, created_at, test)";
        // A blob is written in two ways.
        let key = "/*pg: CAST('' AS BYTEA) --*/ x''\n";
        let values = format!(
            "'adr_000000000' || CAST(10000000000000000 + i + {more} AS TEXT), '{merchant}', '{network}', '{kind}' || CAST(i AS TEXT),
             {key}, '{kind}', 1000000 + i, 0, {test}"
        );
        fill(into, values)
    };
    let invoice = |status: &str, order: &str, more: i64| {
        let into = "invoice (id, merchant_id, test, order_id, order_turn, title, network, asset_id, address_id, matching,
             amount, due, status, exception, pending, credited, sequence, policy, created_at, expires_at, held_until)";
        let id = format!("'inv_000000000' || CAST(10000000000000000 + i + {more} AS TEXT)");
        let policy = r#"{"under_tolerance_bp":0,"over_tolerance_bp":0,"late":"accept","late_window_s":1}"#;
        let values = format!(
            "{id}, '{merchant}', 0, {order}, {id}, 't', 'base', 'base:native', 'adr_00000000010000000000000001', 'amount', '1', '1',
             '{status}', 'none', '0', '0', 0, '{policy}', 0, 0, 0"
        );
        fill(into, values)
    };
    let mut fills = vec![
        address("customer", "sandbox", 1, 0),
        address("invoice", "base", 0, ROWS),
        invoice("new", "NULL", 0),
        invoice("cancelled", "'much-tried'", ROWS),
        fill(
            "transfer (id, network, tx, ordinal, asset_id, address_id, merchant_id, amount, height, block_hash, block_time,
                 status, epoch, seen_at, test)",
            format!(
                "{trf}, 'sandbox', CAST(i AS TEXT), 0, 'sandbox:usdt', {adr}, '{merchant}', '1', 1, 'h', 1, 'final', 1, 1, 1"
            ),
        ),
        fill(
            "payment (id, transfer_id, part, merchant_id, address_id, asset_id, amount, status, exception, epoch,
                 created_at, test)",
            format!("{}, {trf}, 0, '{merchant}', {adr}, 'sandbox:usdt', '1', 'credited', 'none', 1, 0, 1", id("pay")),
        ),
        fill(
            "unmatched (transfer_id, merchant_id, reason, state, created_at, test)",
            format!("{trf}, '{merchant}', 'no_invoice', 'open', 0, 1"),
        ),
        fill(
            "event (id, merchant_id, test, kind, sequence, payload, created_at)",
            format!("{evt}, '{merchant}', 0, 'invoice.paid', 0, '{{}}', 0"),
        ),
        fill(
            "delivery (id, event_id, endpoint_id, merchant_id, test, state, attempts, created_at)",
            // The newer half waits.
            format!(
                "{}, {evt}, '{endpoint}', '{merchant}', 0, CASE WHEN i * 2 > {ROWS} THEN 'pending' ELSE 'delivered' END, 1, 0",
                id("dlv")
            ),
        ),
        fill(
            "hook_run (id, hook_id, event_id, merchant_id, test, state, attempts, created_at)",
            format!("{}, '{hook}', {evt}, '{merchant}', 0, 'done', 1, 0", id("run")),
        ),
        fill(
            "correction (id, merchant_id, test, kind, key_id, at)",
            format!("{}, '{merchant}', 0, 'assign', 'key_00000000000000000000000000', 0", id("cor")),
        ),
        fill(
            "endpoint (id, merchant_id, test, url, secret, state, failures, created_at, deleted_at)",
            format!(
                "{}, '{merchant}', 0, 'https://a.example', /*pg: CAST('' AS BYTEA) --*/ x''\n, 'disabled', 0, 0, 1",
                id("ep")
            ),
        ),
        fill(
            "hook (id, merchant_id, test, name, generation, binding, settings, state, failures, created_at, deleted_at)",
            format!("{}, '{merchant}', 0, 'gone', 1, '{{}}', '{{}}', 'disabled', 0, 0, 1", id("hook")),
        ),
        fill(
            "api_key (id, merchant_id, mode, name, prefix, hash, created_at)",
            format!(
                "{}, '{other_merchant}', 'live', 'k', 'live_', /*pg: CAST(CAST(i AS TEXT) AS BYTEA) --*/ CAST(i AS BLOB)\n, 0",
                id("key")
            ),
        ),
    ];
    fills.push("/*pg: ANALYZE --*/ SELECT 1".to_owned());
    fills
}

/// Values to filter by, most of which match nothing.
fn values(parameter: &str, schema: &Value, named: &Named) -> Vec<String> {
    match parameter {
        "invoice_id" => vec![named.invoice.clone()],
        "endpoint_id" => vec![named.endpoint.clone()],
        "hook_id" => vec![named.hook.clone()],
        "merchant_id" => vec![named.merchant.clone()],
        "event_id" => vec!["evt_00000000010000000000000007".to_owned()],
        "transfer_id" => vec!["trf_00000000010000000000000007".to_owned()],
        "order_id" => vec!["much-tried".to_owned(), "another".to_owned()],
        "prefix" => vec!["a".to_owned()],
        "after" => Vec::new(),
        "state" | "status" => {
            let words = words(schema);
            assert!(!words.is_empty(), "no words in {schema}");
            words
        }
        other => panic!("what is a list filtered with by {other}?"),
    }
}

/// Values of an enumeration, given inline or by reference.
fn words(schema: &Value) -> Vec<String> {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect();
    }
    let inner = schema["oneOf"].as_array().into_iter().flatten().flat_map(words);
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/"));
    let document = document();
    let named = named.into_iter().flat_map(|name| words(&document["components"]["schemas"][name]));
    inner.chain(named).collect()
}

/// Addresses of all lists, with every set of filters.
fn lists(named: &Named) -> Vec<String> {
    let document = document();
    let mut lists = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters: Vec<&Value> = item["get"]["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| p["in"] == "query")
            .collect();
        if !parameters.iter().any(|parameter| parameter["name"] == "limit") {
            continue;
        }
        let path =
            path.replace("/hooks/{id}", &format!("/hooks/{}", named.hook)).replace("{name}", "sandbox");
        assert!(!path.contains('{'), "whose list is {path}?");
        let mut queries = vec!["limit=1".to_owned()];
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            if ["limit", "cursor"].contains(&name) {
                continue;
            }
            let mut with = Vec::new();
            for value in values(name, &parameter["schema"], named) {
                with.extend(queries.iter().map(|query| format!("{query}&{name}={value}")));
            }
            if parameter["required"] == true {
                queries.clear();
            }
            queries.extend(with);
        }
        lists.extend(queries.into_iter().map(|query| format!("{path}?{query}")));
    }
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_costs_what_it_shows() {
    for api in Api::all().await {
        let (merchant, key) = api.merchant_with_key("Shop").await;
        let other_merchant = api.merchant("Other").await;
        let hook = api.upload_hook(&key, &HookGuest::new()).await.ok();
        let endpoint = api.post(&key, "/v1/endpoints", json!({"url": "https://a.example/"})).await.ok();
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        let named = Named {
            merchant,
            other_merchant,
            endpoint: id(&endpoint["id"]),
            hook: id(&hook["hook"]["id"]),
            invoice: "inv_00000000010000000000000007".to_owned(),
        };
        for sql in fills(&named) {
            let sql: &'static str = sql.leak();
            let filled = api.app.db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move { conn.exec(sql, Vec::new()).await })
            });
            filled.await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
        let lists = lists(&named);
        assert!(lists.len() > 60, "{}", lists.len());
        let mut costly = BTreeMap::new();
        for list in &lists {
            let key = if list.contains("/operator/") { &api.operator } else { &key };
            let (answer, asked) = ASKED
                .scope(Mutex::default(), async {
                    let answer = api.get(key, list).await;
                    (answer, ASKED.with(|asked| std::mem::take(&mut *asked.lock().unwrap())))
                })
                .await;
            if !answer.status.is_success() {
                assert_eq!(answer.problem(), "query_malformed", "{list}");
                assert!(answer.body["detail"].as_str().unwrap().starts_with("Give either"), "{list}");
                continue;
            }
            assert!(!asked.is_empty(), "{list} reads nothing");
            for query in asked {
                let sql = query.0.clone();
                let cost = cost(&api, query).await;
                if cost > COST_MAX {
                    costly.insert(list.clone(), (cost, sql));
                }
            }
        }
        assert!(costly.is_empty(), "{}: {costly:#?}", api.app.db.kind());
    }
}

async fn cost(api: &Api, query: Query) -> u64 {
    api.app.db.read().await.unwrap().cost(query).await
}
