//! What pays, what does not, and what is said of it.

use std::collections::BTreeSet;

use kassa_tests::{list, text};
use serde_json::{Value, json};

use super::{SANDBOX, chain::Pay, stage::Stage};

const PRICE: &str = "5";
/// Of the phrase that all local chains are begun with: m/44'/60'/0'/0 of `test test … junk`.
const EXTENDED_KEY: &str = "xpub6DyUKdwoLWmUJ4Tn9Bbsdtx7B5Ws18mEN19e5HT52ikE53FiUheSQXrZUNPovqfyKmw4579A1Mm3GXXKM39N64uooBfJ4tNAzFsEbodRTx4";

/// Every asset of the manifest pays an invoice, once, whatever comes after.
pub(super) async fn every_listed_asset_pays(stage: Stage) {
    let mut paid = 0;
    for asset in stage.assets() {
        let invoice = stage.invoice(&asset.symbol, PRICE).await;
        let due = stage.payment(&invoice, &asset, 1).units;
        let tx = stage.pay(&invoice).await;
        if stage.chain.facts().await.reorgs {
            let seen = stage.until(&invoice, "detected").await;
            assert_eq!(seen["credited_amount_units"], "0", "{seen}");
        }
        stage.bury().await;
        let done = stage.until(&invoice, "paid").await;
        assert_eq!(done["credited_amount_units"], due.to_string(), "{done}");
        assert_eq!(done["exception"], "none", "{done}");
        paid += 1;
        let hooks = stage.receiver.wait_for("invoice.paid", paid).await;
        stage.verify_all(&hooks);
        let payments = stage.payments_of(&invoice).await;
        assert_eq!(payments.len(), 1, "{payments:?}");
        assert_eq!((&payments[0]["tx_hash"], &payments[0]["status"]), (&json!(tx), &json!("credited")));
        stage.bury().await;
        stage.settled().await;
        assert_eq!(stage.get_invoice(&invoice).await["sequence"], done["sequence"]);
    }
    assert_eq!(stage.receiver.got_kind("invoice.paid").len(), paid);
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

pub(super) async fn two_equal_ones_at_once_are_two(stage: Stage) {
    for asset in [stage.token(), stage.coin()] {
        let invoice = stage.invoice(&asset.symbol, PRICE).await;
        let due = stage.payment(&invoice, &asset, 1).units;
        stage.pay_times(&invoice, 2).await;
        stage.bury().await;
        let paid = stage.until(&invoice, "paid").await;
        stage.settled().await;
        assert_eq!(paid["credited_amount_units"], due.to_string());
        let unmatched = stage.unmatched().await;
        assert_eq!(unmatched.len(), 1, "{unmatched:?}");
        assert_eq!(unmatched[0]["reason"], "already_paid", "{unmatched:?}");
        assert_eq!(unmatched[0]["amount_units"], due.to_string());

        // A person gives the second one to the same invoice: then it is overpaid.
        let path = format!("/v1/transfers/{}/assign", text(&unmatched[0]["id"]));
        stage.api().post(&path, &json!({"invoice_id": invoice["id"]})).await.ok();
        let over = stage.until(&invoice, "overpaid").await;
        assert_eq!(over["credited_amount_units"], (2 * due).to_string());
    }
    stage.settled().await;
    let all = stage.transfers().await;
    let ids: BTreeSet<String> =
        all.iter().map(|one| format!("{}/{}", one["tx_hash"], one["ordinal"])).collect();
    assert_eq!((all.len(), ids.len()), (4, 4), "{all:?}");
}

pub(super) async fn a_customers_address_takes_all_that_comes(stage: Stage) {
    let address = &stage.addresses[1];
    let made = stage.customer("customer-17", address).await;
    assert_eq!(
        stage.customer("customer-17", address).await["id"],
        made["id"],
        "the same customer, one address"
    );
    for (asset, times) in [(stage.token(), 3), (stage.coin(), 2)] {
        let units = 3 * 10_u128.pow(u32::try_from(asset.decimals).expect("few"));
        let to = Pay { to: address, asset: asset.contract.as_deref(), units, memo: None, times };
        stage.chain.pay(&stage.api(), to).await;
    }
    stage.bury().await;
    let hooks = stage.receiver.wait_for("deposit.credited", 5).await;
    stage.settled().await;
    stage.verify_all(&hooks);
    assert_eq!(stage.receiver.got_kind("deposit.credited").len(), 5);
    let payments = list(&stage.api().get("/v1/payments").await.ok());
    assert_eq!(payments.len(), 5, "{payments:?}");
    assert!(payments.iter().all(|one| one["invoice_id"].is_null() && one["status"] == "credited"));
}

pub(super) async fn what_only_looks_like_a_payment_is_none(stage: Stage) {
    for asset in [stage.token(), stage.coin()] {
        let invoice = stage.invoice(&asset.symbol, PRICE).await;
        let count = stage.chain.impostors(&stage.api(), stage.payment(&invoice, &asset, 1)).await;
        assert!(count > 0);
        stage.bury().await;
        stage.settled().await;
        let untouched = stage.get_invoice(&invoice).await;
        assert_eq!((&untouched["status"], &untouched["sequence"]), (&json!("new"), &invoice["sequence"]));
        // What they carried besides, such as the coin that pays a message's way, is no payment of this invoice.
        for transfer in stage.transfers().await.iter().filter(|one| one["asset_id"] == invoice["asset_id"]) {
            assert_ne!(transfer["amount_units"], invoice["payable_amount_units"], "{transfer}");
        }
        println!("  conformance: {count} that only look like {} paid nothing", asset.symbol);
        stage.chain.pay(&stage.api(), stage.payment(&invoice, &asset, 1)).await;
        stage.bury().await;
        stage.until(&invoice, "paid").await;
        // The next round begins without the real one.
        stage.settled().await;
    }
}

pub(super) async fn nothing_is_listed_and_pays_nothing(stage: Stage) {
    let asset = stage.token();
    let invoice = stage.invoice(&asset.symbol, PRICE).await;
    stage.chain.nothing(&stage.api(), stage.payment(&invoice, &asset, 1)).await;
    stage.bury().await;
    stage.settled().await;
    let unmatched = stage.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    assert_eq!(unmatched[0]["reason"], "zero_value");
    let untouched = stage.get_invoice(&invoice).await;
    assert_eq!((&untouched["status"], &untouched["sequence"]), (&json!("new"), &invoice["sequence"]));
}

pub(super) async fn what_failed_pays_nothing(stage: Stage) {
    let mut failures = 0;
    let mut invoices = Vec::new();
    for asset in [stage.token(), stage.coin()] {
        let invoice = stage.invoice(&asset.symbol, PRICE).await;
        failures += stage.chain.failure(&stage.api(), stage.payment(&invoice, &asset, 1)).await.len();
        invoices.push(invoice);
    }
    assert!(failures > 0);
    stage.bury().await;
    stage.settled().await;
    for invoice in &invoices {
        assert_eq!(stage.get_invoice(invoice).await["status"], "new");
        stage.pay(invoice).await;
    }
    stage.bury().await;
    for invoice in &invoices {
        stage.until(invoice, "paid").await;
    }
    stage.settled().await;
    assert_eq!(stage.transfers().await.len(), 2, "what failed is not even listed");
}

/// What was there before has not come: also where the owner of a customer's address moves what is on it.
pub(super) async fn what_goes_to_itself_pays_nothing(stage: Stage) {
    let address = &stage.addresses[1];
    stage.customer("customer-17", address).await;
    let assets = [stage.token(), stage.coin()];
    let mut moved = 0;
    for asset in &assets {
        let units = 3 * 10_u128.pow(u32::try_from(asset.decimals).expect("few"));
        let pay = Pay { to: address, asset: asset.contract.as_deref(), units, memo: None, times: 1 };
        stage.chain.pay(&stage.api(), pay).await;
        let own = Pay { units: units / 2, ..pay };
        moved += stage.chain.to_itself(&stage.api(), own).await;
    }
    assert!(moved > 0);
    stage.bury().await;
    stage.receiver.wait_for("deposit.credited", 2).await;
    stage.settled().await;
    assert_eq!(stage.transfers().await.len(), 2, "what its owner moved is not even listed");
}

/// What the API lets be matched in some way is paid in that way; what it cannot tell apart it refuses.
pub(super) async fn what_is_matched_must_be_safe(stage: Stage) {
    let facts = stage.chain.facts().await;
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for asset in stage.assets() {
        let by_amount = asset.contract.is_some() || facts.exact_coins;
        // There is no extended public key to make addresses of.
        for (matching, safe) in [("amount", by_amount), ("memo", facts.memos), ("address", false)] {
            let mut order = stage.order(&asset.symbol, PRICE);
            order["matching"] = json!(matching);
            let answer = stage.api().post("/v1/invoices", &order).await;
            let what = format!("{} by {matching}", asset.symbol);
            assert_eq!(answer.status == 201, safe, "{what}: {}", answer.body);
            if safe {
                let invoice = answer.ok();
                stage.pay(&invoice).await;
                taken.push((what, invoice));
            } else {
                let problem = text(&answer.body["type"]);
                let slug = problem.rsplit('/').next().expect("a slug");
                assert!(["field_malformed", "address_missing"].contains(&slug), "{what}: {}", answer.body);
                refused.push(format!("{what}: {slug}"));
            }
        }
        // Left open, there is always a way.
        let invoice = stage.invoice(&asset.symbol, PRICE).await;
        stage.pay(&invoice).await;
        taken.push((format!("{} as is usual", asset.symbol), invoice));
    }
    stage.bury().await;
    for (what, invoice) in &taken {
        stage.until(invoice, "paid").await;
        println!("  conformance: {what} is paid");
    }
    println!("  conformance: refused: {refused:?}");
    stage.settled().await;
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// Invoices with an address of their own each, where the chain derives them from a public key.
pub(super) async fn an_invoices_own_address_pays(stage: Stage) {
    let public_key = if stage.manifest["plugin"] == SANDBOX { "sbxpub" } else { EXTENDED_KEY };
    let body = json!({"network": stage.network, "public_key": public_key});
    let answer = stage.api().put("/v1/extended_keys", &body).await;
    if answer.status != 200 {
        let problem = text(&answer.body["type"]);
        assert!((400..500).contains(&answer.status), "{}", answer.body);
        println!("  conformance: no derived addresses: {problem}");
        return;
    }
    let mut invoices = Vec::new();
    for asset in [stage.token(), stage.token(), stage.coin()] {
        let mut order = stage.order(&asset.symbol, PRICE);
        order["matching"] = json!("address");
        invoices.push(stage.api().post("/v1/invoices", &order).await.ok());
    }
    let addresses: BTreeSet<String> =
        invoices.iter().map(|invoice| text(&invoice["destination_address"])).collect();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for invoice in &invoices {
        stage.pay(invoice).await;
    }
    stage.bury().await;
    for invoice in &invoices {
        let paid = stage.until(invoice, "paid").await;
        assert_eq!(paid["credited_amount_units"], invoice["payable_amount_units"]);
    }
    stage.settled().await;
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// More addresses than any plugin asks for at once.
pub(super) async fn a_hundred_customers_are_watched(stage: Stage) {
    let addresses = stage.chain.addresses(&stage.api(), 104).await;
    // The first four of the sandbox are the case's own.
    let customers = &addresses[4..];
    for (number, address) in customers.iter().enumerate() {
        stage.customer(&format!("customer-{number}"), address).await;
    }
    let mut sent = BTreeSet::new();
    for (number, address) in customers.iter().enumerate().filter(|(number, _)| number % 11 == 10) {
        let asset = if number % 2 == 0 { stage.token() } else { stage.coin() };
        let units = 10_u128.pow(u32::try_from(asset.decimals).expect("few"));
        let to = Pay { to: address, asset: asset.contract.as_deref(), units, memo: None, times: 1 };
        sent.insert(stage.chain.pay(&stage.api(), to).await);
    }
    stage.bury().await;
    stage.receiver.wait_for("deposit.credited", sent.len()).await;
    stage.settled().await;
    let payments = list(&stage.api().get("/v1/payments").await.ok());
    let credited: BTreeSet<String> = payments.iter().map(|one| text(&one["tx_hash"])).collect();
    assert_eq!(credited, sent, "{payments:?}");
    assert_eq!(payments.len(), sent.len());
    if let Some(proxy) = &stage.proxy {
        println!("  conformance: a hundred customers took {:?}", proxy.counts().methods);
    }
}
