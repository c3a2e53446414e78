//! The OpenAPI document that a server hands out: a linter takes it, a generator makes a client of it that works, and a
//! stranger's tester that reads it finds no answer which it does not describe.
//!
//! Beside these cases every answer and every event of the whole suite is compared with it (`kit/document.rs`).

use std::process::{Command, Output};

use kassa_tests::{Database, KassaOptions, Sandbox, Source, Suite, list, text};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("openapi::a_generated_client_compiles_and_sells", client);
    suite.both("openapi::a_tester_that_knows_nothing_else_finds_nothing", tester);
    suite.both("openapi::events_name_payments_and_customers", events);
    suite.once("openapi::a_linter_takes_it", linter);
}

/// What a program of `tests` says. Panics if it fails.
async fn ran(program: &str, arguments: &[&str], environment: &[(&str, String)]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(kassa_tests::tests_folder()).envs(environment.iter().cloned());
    let output: Output =
        tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("a thread");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}:\n{out}{err}");
    out
}

async fn linter() {
    ran("node", &["node/lint.mjs", "../runtime/openapi.json"], &[]).await;
}

async fn client(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let (url, key) = (sandbox.shop.kassa.url().to_owned(), sandbox.shop.merchant.key.clone());
    let saw: Value =
        serde_json::from_str(&ran("node", &["node/client/run.mjs", &url, &key], &[]).await).expect("JSON");
    assert_eq!(saw["made"]["amount"], "25.00", "{saw}");
    assert_eq!(saw["again"], saw["made"], "the same key makes no second invoice");
    assert_eq!(saw["read"], saw["made"]);
    assert_eq!(saw["listed"], json!([saw["made"]["id"]]));
    assert_eq!(
        (&saw["refused"]["type"], &saw["refused"]["field"]),
        (&json!("/problems/amount_malformed"), &json!("amount"))
    );
    assert_eq!(
        (&saw["unknown"]["type"], &saw["unknown"]["status"]),
        (&json!("/problems/not_found"), &json!(404))
    );
}

async fn events(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let shop = &sandbox.shop;
    let invoice = sandbox.paid("5", &json!({})).await;
    let paid = shop.receiver.wait_for("invoice.paid", 1).await.remove(0).json();
    let payments =
        list(&shop.api().get(&format!("/v1/payments?invoice_id={}", text(&invoice["id"]))).await.ok());
    let told = &paid["data"]["payments"];
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{paid}");
    for (field, is) in [
        ("id", &payments[0]["id"]),
        ("tx_hash", &payments[0]["tx_hash"]),
        ("amount", &invoice["payable_amount"]),
        ("asset", &invoice["payable_asset"]),
        ("asset_id", &invoice["asset_id"]),
        ("network", &invoice["payable_network"]),
        ("status", &json!("credited")),
    ] {
        assert_eq!(&told[0][field], is, "{field}: {paid}");
    }
    assert!(told[0]["confirmations"].as_i64() > Some(0), "{paid}");
    assert!(told[0]["sender"].is_string(), "{paid}");

    // What is told later names the same payment, though nothing of it has changed since.
    let why = json!({"why": "cash", "evidence": {"text": "a receipt"}});
    let other = sandbox.invoice("7", &json!({})).await;
    shop.api().post(&format!("/v1/invoices/{}/mark_paid", text(&other["id"])), &why).await.ok();
    let marked = shop.receiver.wait_for("invoice.paid", 2).await.remove(1).json();
    assert_eq!((&marked["data"]["payments"], &marked["data"]["tx_hash"]), (&json!([]), &Value::Null));

    // A customer's deposit says whose it is, in the merchant's own words.
    let address = sandbox.address("a customer").await;
    let body = json!({"network": "sandbox", "address": address, "unique_id": "customer-17", "meta": {"plan": "gold"}});
    let made = shop.api().post("/v1/receive_addresses", &body).await.ok();
    let sent = json!({"do": "transfer", "to": address, "asset": "usdt", "amount": "3000000"});
    sandbox.simulate(&sent).await;
    sandbox.simulate(&json!({"do": "mine", "blocks": 5})).await;
    let deposit = shop.receiver.wait_for("deposit.credited", 1).await.remove(0).json();
    let told = &deposit["data"]["receive_address"];
    for field in ["id", "network", "address", "unique_id", "meta"] {
        assert_eq!(told[field], made[field], "{field}: {deposit}");
    }
    assert!(deposit["data"]["confirmations"].as_i64() > Some(0), "{deposit}");
}

/// What the tester is told of that exists: by the path before a parameter, and by the field of a body.
async fn existing(sandbox: &Sandbox) -> Value {
    let (shop, api) = (&sandbox.shop, sandbox.shop.api());
    let (hook, version) = sandbox.hooks().upload(Source::Rust("license-keys"), true).await;
    let paid = sandbox.paid("5", &json!({})).await;
    sandbox.send(7).await;
    let invoice = sandbox.invoice("6", &json!({})).await;
    shop.receiver.wait_for("invoice.paid", 1).await;
    let first = async |path: &str| {
        kassa_tests::eventually(path, || async {
            list(&api.get(path).await.ok())
                .first()
                .map(|one| one["id"].clone())
                .ok_or("an empty list".to_owned())
        })
        .await
    };
    let operator = shop.kassa.operator();
    // What the operator's run may spoil is not what it works with.
    let spare = shop.new_merchant("spare", "live").await;
    let keys = list(&operator.get(&format!("/v1/operator/api_keys?merchant_id={}", spare.id)).await.ok());
    json!({
        "paths": {
            "/v1/invoices/": invoice["id"],
            "/v1/payments/": first(&format!("/v1/payments?invoice_id={}", text(&paid["id"]))).await,
            "/v1/transfers/": first("/v1/transfers?state=unmatched").await,
            "/v1/receive_addresses/": first("/v1/receive_addresses").await,
            "/v1/endpoints/": first("/v1/endpoints").await,
            "/v1/deliveries/": first("/v1/deliveries").await,
            "/v1/events/": first("/v1/events").await,
            "/v1/hooks/": hook,
            "/v1/hooks/{id}/versions/": version,
            "/v1/hooks/{id}/secrets/": "signing_key",
            "/v1/hook_runs/": first("/v1/hook_runs").await,
            "/v1/sandbox/": "sandbox",
            "/v1/operator/networks/": "sandbox",
            "/v1/operator/plugins/": "ton",
            "/v1/operator/merchants/": spare.id,
            "/v1/operator/api_keys/": keys[0]["id"],
        },
        "fields": {
            "invoice_id": invoice["id"], "merchant_id": spare.id, "version_id": version,
            "network": "sandbox", "payable_network": "sandbox", "payable_asset": "USDT", "amount": "5",
            "address": sandbox.address("somebody").await,
        },
    })
}

async fn tester(database: Database) {
    let options = KassaOptions::default().with("KASSA_HTTP__RATE_PER_10S", "1000000");
    let sandbox = Sandbox::with(database, options).await;
    let shop = &sandbox.shop;
    let existing = existing(&sandbox).await.to_string();
    let live = shop.new_merchant("live", "live").await;
    let (merchants, operators) =
        (["--exclude-path-regex", "^/v1/operator"], ["--include-path-regex", "^/v1/operator"]);
    let python = kassa_tests::tests_folder().join("python");
    let path = |name: &str| python.join(name).display().to_string();
    let document = format!("{}/openapi.json", shop.kassa.url());
    for (key, which, examples) in [
        (shop.merchant.key.clone(), merchants, "12"),
        (live.key, merchants, "3"),
        (shop.kassa.operator().key().to_owned(), operators, "12"),
    ] {
        let config = path("schemathesis.toml");
        let arguments = [
            "--config-file",
            &config,
            "--no-color",
            "run",
            &document,
            "--max-examples",
            examples,
            which[0],
            which[1],
        ];
        let environment =
            [("KASSA_KEY", key), ("KASSA_HOOKS", path("hooks.py")), ("KASSA_EXISTING", existing.clone())];
        ran(&path(".venv/bin/schemathesis"), &arguments, &environment).await;
    }
}
