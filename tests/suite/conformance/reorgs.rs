//! What was seen and is taken back.

use kassa_tests::{eventually, text};
use serde_json::json;

use super::stage::Stage;

pub(super) async fn what_was_taken_back_is_taken_back_once(stage: Stage) {
    if stage.chain.facts().await.reorgs {
        above_final(stage).await;
    } else {
        never(stage).await;
    }
}

/// A payment vanishes with its block, and another comes again in a later one.
async fn above_final(stage: Stage) {
    for (asset, again) in [(stage.token(), false), (stage.token(), true), (stage.coin(), true)] {
        let invoice = stage.invoice(&asset.symbol, "7").await;
        let tx = stage.pay(&invoice).await;
        stage.mine(1).await;
        stage.until(&invoice, "detected").await;
        stage.caught_up().await;
        let before = stage.receiver.got_kind("invoice.reverted").len();
        stage.chain.take_back(&stage.api(), 2, &tx, again).await;
        let reverted = stage.receiver.wait_for("invoice.reverted", before + usize::from(!again)).await;
        if again {
            // Whether the time without it was seen depends on when was looked.
            stage.mine(1).await;
            stage.caught_up().await;
        } else {
            assert_eq!(reverted.len(), before + 1);
            let after = stage.until(&invoice, "new").await;
            assert_eq!((&after["credited_amount_units"], &after["exception"]), (&json!("0"), &json!("none")));
        }
        stage.bury().await;
        stage.settled().await;
        let end = stage.get_invoice(&invoice).await;
        assert_eq!(end["status"], if again { "paid" } else { "new" }, "{end}");
        let rows = format!("SELECT CAST(COUNT(*) AS TEXT) FROM transfer WHERE tx = '{tx}'");
        assert_eq!(stage.database.number(&rows).await, 1, "one movement is one row, wherever it stands");
        let credits = format!(
            "SELECT CAST(COUNT(*) AS TEXT) FROM journal j JOIN transfer t ON t.id = j.transfer_id WHERE t.tx = '{tx}'"
        );
        assert_eq!(stage.database.number(&credits).await, i64::from(again));
    }
}

/// What is in a block is final here. Should it vanish all the same, nothing is reversed: a person decides.
async fn never(stage: Stage) {
    let asset = stage.token();
    let invoice = stage.invoice(&asset.symbol, "7").await;
    let tx = stage.pay(&invoice).await;
    stage.until(&invoice, "paid").await;
    stage.mine(2).await;
    stage.settled().await;
    stage.chain.take_back(&stage.api(), 3, &tx, false).await;
    let operator = stage.kassa.operator();
    let path = format!("/v1/operator/networks/{}", stage.network);
    let frozen = eventually("a frozen network", || async {
        let seen = operator.get(&path).await.ok();
        seen["state"]["frozen"].as_str().map(str::to_owned).ok_or(seen.to_string())
    })
    .await;
    assert_eq!(stage.get_invoice(&invoice).await["status"], "paid");
    assert_eq!(stage.receiver.got_kind("invoice.reverted").len(), 0);

    operator.post(&format!("{path}/unfreeze"), &json!({"frozen": frozen})).await.ok();
    // Nothing is promised before a final block of the new branch is known.
    let order = stage.order(&asset.symbol, "8");
    let next = eventually("the new branch to be read", || async {
        stage.bury().await;
        let made = stage.api().post("/v1/invoices", &order).await;
        if made.status == 201 { Ok(made.ok()) } else { Err(made.problem(503)) }
    })
    .await;
    stage.pay(&next).await;
    stage.bury().await;
    stage.until(&next, "paid").await;
    assert_eq!(stage.get_invoice(&invoice).await["status"], "paid", "{}", text(&invoice["id"]));
}
