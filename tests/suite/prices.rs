//! Invoices in dollars over assets that are not pegged to the dollar: a merchant's hook says what they cost.

use kassa_tests::{Database, Receiver, Reply, Sandbox, Source, Suite, invariants};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("prices::a_hook_says_what_an_asset_costs", prices);
}

fn order(cost: &str) -> Value {
    json!({"title": "Tea", "payable_network": "sandbox", "payable_asset": "SBX", "base_amount_usd": cost})
}

async fn prices(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let (api, hooks) = (sandbox.shop.api(), sandbox.hooks());
    let none = api.post("/v1/invoices", &order("10")).await;
    assert_eq!(none.problem(422), "/problems/currency_unsupported");

    let source = Receiver::start().await;
    source.then(Reply::Json(200, json!({"sbx": {"usd": "0.25"}})));
    let (hook, version) = hooks.upload(Source::Rust("prices"), false).await;
    let settings = |price: &str, ids: Value| json!({"url": format!("{}/price/{{id}}/{{currency}}", source.origin()), "price": price, "ids": ids});
    hooks.put(&hook, "settings", &settings("/{id}/{currency}", json!({"SBX": "sbx"}))).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    let invoice = api.post_once("/v1/invoices", "once", &order("10")).await.ok();
    assert_eq!((&invoice["amount"], &invoice["base_amount_usd"]), (&json!("40.00"), &json!("10")));
    assert_eq!(source.got()[0].path, "/price/sbx/usd");
    // Rounded up, and nobody is asked again so soon.
    let odd = api.post("/v1/invoices", &order("0.0000011")).await;
    assert_eq!(odd.problem(400), "/problems/amount_too_many_decimals");
    let small = api.post("/v1/invoices", &order("0.0001")).await.ok();
    assert_eq!(small["amount"], "0.0004");
    assert_eq!(source.got().len(), 1);
    sandbox
        .simulate(&json!({
            "do": "transfer", "to": invoice["destination_address"], "amount": invoice["payable_amount_units"],
        }))
        .await;
    sandbox.simulate(&json!({"do": "mine", "blocks": 5})).await;
    sandbox.shop.until(&invoice, "paid").await;

    // A source that says nothing useful: this price cannot be had, all else can.
    hooks.put(&hook, "settings", &settings("/nowhere", json!({"SBX": "sbx"}))).await;
    let failed = api.post("/v1/invoices", &order("10")).await;
    assert!(failed.body.to_string().contains("no price at /nowhere"), "{failed:?}");
    assert_eq!(failed.problem(503), "/problems/price_unavailable");
    sandbox.paid("3", &json!({})).await;
    // What was made under a key is its answer all the same.
    let again = api.post_once("/v1/invoices", "once", &order("10")).await.ok();
    assert_eq!(again["id"], invoice["id"]);
    hooks.put(&hook, "settings", &settings("/{id}/{currency}", json!({}))).await;
    let unknown = api.post("/v1/invoices", &order("10")).await;
    assert_eq!(unknown.problem(422), "/problems/currency_unsupported");
    let used = api.get(&format!("/v1/hooks/{hook}/usage")).await.ok();
    assert_eq!(used["data"][0]["calls"], 3, "{used}");
    sandbox.shop.delivered().await;
    invariants::check(&sandbox.shop.database).await;
}
