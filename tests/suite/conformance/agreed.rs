//! Large payments, which two providers have to have seen.

use kassa_tests::{Database, Proxy, eventually};
use serde_json::{Value, json};

use super::stage::{Stage, manifests};

/// With one provider it is not credited, with two it is.
pub(super) async fn two_providers_agree(database: Database, folder: &'static str) {
    let mut manifest = manifests(folder).remove(0);
    let credit = manifest["credit"].clone();
    let tiers = json!([{"up_to": "1", "at": credit}, {"at": credit, "agreed": true}]);
    for asset in manifest["asset"].as_array_mut().expect("assets") {
        asset["credit"] = tiers.clone();
    }
    let stage = Stage::on(database, folder, manifest).await;
    let operator = stage.operators_receiver().await;
    let (coin, token) = (stage.coin(), stage.token());
    let small = stage.invoice(&token.symbol, "0.5").await;
    let large = [stage.invoice(&coin.symbol, "5").await, stage.invoice(&token.symbol, "7").await];
    for invoice in large.iter().chain([&small]) {
        stage.pay(invoice).await;
        stage.mine(1).await;
    }
    stage.bury().await;
    stage.until(&small, "paid").await;
    operator.wait_for("network.second_provider_missing", 2).await;
    for invoice in &large {
        assert_eq!(stage.get_invoice(invoice).await["status"], "detected");
    }
    let second = Proxy::start(stage.chain.facade().url()).await;
    stage.add_upstream(&stage.network, &second.url()).await;
    for invoice in &large {
        stage.until(invoice, "paid").await;
    }
    // From now on it takes no longer.
    let next = stage.invoice(&token.symbol, "9").await;
    stage.pay(&next).await;
    stage.bury().await;
    stage.until(&next, "paid").await;
    eventually("nobody to be waited for", || async {
        let waiting = stage.database.rows("SELECT id FROM transfer WHERE status = 'included'").await;
        if waiting.is_empty() { Ok(()) } else { Err(format!("{waiting:?}")) }
    })
    .await;
    stage.settled().await;
    stage.no_retraction().await;
    assert_eq!(operator.got_kind("transfer.disputed").len(), 0);
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}
