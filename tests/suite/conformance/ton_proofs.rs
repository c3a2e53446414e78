//! TON with `proofs = "v2"`: the same cases, each payment proven by its transaction's own cells.

use kassa_tests::{Change, Database, Fault, Rule, Suite, eventually};
use serde_json::{Value, json};

use super::{
    malformed, payments,
    stage::{Stage, manifests},
};

/// Where the index and the cells are, below the upstream's URL.
const API: &str = "/api";
const CELLS: &str = "/api/v2/getTransactions";

pub(super) fn cases(suite: &mut Suite) {
    suite.both("conformance::ton_proofs::every_listed_asset_pays", |database| async move {
        payments::every_listed_asset_pays(stage(database).await).await;
    });
    suite.both("conformance::ton_proofs::two_equal_ones_at_once_are_two", |database| async move {
        payments::two_equal_ones_at_once_are_two(stage(database).await).await;
    });
    suite.both("conformance::ton_proofs::what_only_looks_like_a_payment_is_none", |database| async move {
        payments::what_only_looks_like_a_payment_is_none(stage(database).await).await;
    });
    suite.both("conformance::ton_proofs::what_is_not_proven_is_not_credited", |database| async move {
        unproven(stage(database).await).await;
    });
    suite.both("conformance::ton_proofs::cells_that_lag_cost_time_alone", |database| async move {
        lagging(stage(database).await).await;
    });
    suite.once("conformance::ton_proofs::malformed_at_every_field", || async {
        malformed::at_every_field("ton", manifest(), Some((API, CELLS))).await;
    });
}

fn manifest() -> Value {
    let mut manifest = manifests("ton").remove(0);
    manifest["settings"]["proofs"] = json!("v2");
    manifest
}

async fn stage(database: Database) -> Stage {
    Stage::at(database, "ton", manifest(), API).await
}

/// The index has a payment whose cells are three blocks late.
async fn lagging(stage: Stage) {
    stage.chain.facade().control("lag", json!({"blocks": 3})).await;
    stage.proxy().add(Rule::new(Fault::Stale).on(CELLS));
    let invoice = stage.invoice(&stage.token().symbol, "3").await;
    stage.pay(&invoice).await;
    eventually("cells that are not there yet", || async {
        let counts = stage.proxy().counts();
        if counts.spoiled >= 1 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert_eq!(stage.get_invoice(&invoice).await["status"], "new");
    stage.mine(3).await;
    stage.until(&invoice, "paid").await;
    stage.settled().await;
    stage.no_retraction().await;
}

/// The index tells of a payment, and the cells are another transaction's: nothing is reported until they are right.
async fn unproven(stage: Stage) {
    let first = stage.invoice(&stage.token().symbol, "3").await;
    stage.pay(&first).await;
    stage.until(&first, "paid").await;
    stage.settled().await;

    let others = std::sync::Mutex::new(None);
    let swapped = Change::new(move |_, answer: Value| {
        // The cells of the first payment, whatever is asked for.
        let mut others = others.lock().unwrap();
        let first = others.get_or_insert(answer);
        Some(first.to_string().into_bytes())
    });
    let warm = stage.invoice(&stage.token().symbol, "4").await;
    stage.proxy().add(Rule::new(Fault::Changed(swapped)).on(CELLS));
    stage.pay(&warm).await;
    stage.until(&warm, "paid").await;
    stage.settled().await;

    let invoice = stage.invoice(&stage.token().symbol, "5").await;
    stage.proxy().reset_counts();
    stage.pay(&invoice).await;
    stage.bury().await;
    eventually("cells of another transaction", || async {
        let counts = stage.proxy().counts();
        if counts.spoiled >= 2 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    assert_eq!(stage.get_invoice(&invoice).await["status"], "new");
    stage.proxy().clear();
    stage.until(&invoice, "paid").await;
    stage.settled().await;
    stage.no_retraction().await;
}
