//! Transfers that no invoice waits for: what is paid all the same, and what the person who decides is shown.

use kassa_tests::{Database, Sandbox, Suite, list, text};
use serde_json::{Value, json};

use crate::corrections::unmatched;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("near::a_fee_that_leaves_the_suffix_is_tolerated", fees);
    suite.both("near::what_pays_nothing_names_what_it_could_be_meant_for", near_misses);
}

fn units(invoice: &Value) -> u128 {
    text(&invoice["payable_amount_units"]).parse().expect("units")
}

async fn fees(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let merchant = format!("/v1/operator/merchants/{}", sandbox.shop.merchant.id);
    let policy = json!({"policy": {"under_tolerance_bp": 200}});
    sandbox.shop.kassa.operator().patch(&merchant, &policy).await.ok();
    let invoice = sandbox.invoice("100", &json!({})).await;
    let other = sandbox.invoice("100", &json!({})).await;
    // An exchange takes a dollar of what was typed.
    sandbox.send(units(&invoice) - 1_000_000).await;
    let paid = sandbox.shop.until(&invoice, "paid").await;
    assert_eq!(paid["credited_amount_units"], (units(&invoice) - 1_000_000).to_string());
    // More than is tolerated, and digits that are nobody's: for a person.
    sandbox.send(units(&other) - 3_000_000).await;
    let listed = unmatched(&sandbox).await;
    assert_eq!(listed["reason"], "no_match");
    assert_eq!(listed["near_misses"][0]["invoice_id"], other["id"], "{listed}");
    assert_eq!(sandbox.shop.get_invoice(&other).await["status"], "new");
    // Where no fee could leave the suffix, a tolerance is not taken.
    let refused = sandbox.shop.api().post("/v1/invoices", &sandbox.shop.order("USDT", "0.2")).await;
    assert_eq!(refused.body["field"], "matching");
    assert_eq!(refused.problem(400), "/problems/field_malformed");
    sandbox.shop.delivered().await;
}

async fn near_misses(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let by_amount = sandbox.invoice("5", &json!({})).await;
    let by_memo = sandbox.invoice("40", &json!({"matching": "memo"})).await;
    sandbox.send(units(&by_amount) + 1).await;
    let listed = unmatched(&sandbox).await;
    let near = &listed["near_misses"][0];
    assert_eq!((&near["invoice_id"], &near["because"]), (&by_amount["id"], &json!("amount")), "{listed}");
    assert_eq!(near["payable_amount"], by_amount["payable_amount"]);
    let events = list(&sandbox.shop.api().get("/v1/events?limit=100").await.ok());
    let told = events.iter().find(|event| event["type"] == "transfer.unmatched").expect("its event");
    assert_eq!(told["payload"]["data"]["near_misses"], listed["near_misses"]);
    let path = format!("/v1/transfers/{}/dismiss", text(&listed["id"]));
    sandbox.shop.api().post(&path, &json!({})).await.ok();

    let memo = text(&by_memo["payment_comment"]).to_lowercase();
    let sent = json!({
        "do": "transfer", "to": by_memo["destination_address"], "asset": "usdt", "amount": "40000000", "memo": memo,
    });
    sandbox.simulate(&sent).await;
    sandbox.simulate(&json!({"do": "mine", "blocks": 5})).await;
    let listed = unmatched(&sandbox).await;
    let near = &listed["near_misses"][0];
    assert_eq!((&near["invoice_id"], &near["because"]), (&by_memo["id"], &json!("memo")), "{listed}");
    sandbox.shop.delivered().await;
}
