//! Reorgs on a real EVM node: whatever was seen, credited or taken back, the sum is right in the end.

use kassa_tests::{AnvilOptions, Database, NETWORK, Suite, World, WorldOptions, eventually, text};
use serde_json::{Value, json};

/// Confirmations at which the cases credit.
const N: u64 = 4;

/// What becomes of the transaction after the reorg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Gone,
    /// Included again, at the position that it had.
    Again,
    /// Included again behind another transfer of the same token, so that its log has another index.
    Behind,
}

pub(crate) fn cases(suite: &mut Suite) {
    for depth in [1, N - 1, N, N + 1] {
        for (then, word) in
            [(Then::Gone, "gone"), (Then::Again, "again"), (Then::Behind, "at_another_log_index")]
        {
            let name = format!("evm_reorgs::depth_{depth}_of_{N}_{word}");
            suite.both(&name, move |database| reorg(database, "USDT", depth, then));
        }
    }
    suite.both("evm_reorgs::the_native_coin_comes_again", |database| reorg(database, "ETH", N, Then::Again));
    suite.both("evm_reorgs::back_and_forth_three_times", back_and_forth);
    suite.both("evm_reorgs::deeper_than_final_freezes_the_network", below_final);
}

/// The payment has `depth` confirmations when its block and all above are replaced.
async fn reorg(database: Database, asset: &str, depth: u64, then: Then) {
    let world = World::with(database, WorldOptions { credit: json!(N), ..WorldOptions::default() }).await;
    let (invoice, bystander) = (world.invoice(asset, "10").await, world.invoice(asset, "10").await);
    world.pay(&bystander).await;
    world.anvil.mine(1).await;
    let tx = world.pay(&invoice).await;
    world.anvil.mine(depth).await;
    world.caught_up().await;
    let credited = depth >= N;
    let before = world.get_invoice(&invoice).await;
    assert_eq!(before["status"], if credited { "paid" } else { "detected" });
    let (raw, first) = (world.anvil.raw(&tx).await, world.anvil.receipt(&tx).await);

    world.anvil.reorg(depth).await;
    world.caught_up().await;
    let after = world.get_invoice(&invoice).await;
    assert_eq!(after["status"], "new", "{after}");
    assert_eq!(
        (&after["credited_amount_units"], &after["pending_amount"]),
        (&json!("0"), &json!("0.00")),
        "{after}"
    );
    assert_eq!(after["exception"], if credited { "reorged" } else { "none" }, "{after}");
    assert_eq!(world.receiver.wait_for("invoice.reverted", 1).await.len(), 1);
    kassa_tests::invariants::check(&world.database).await;

    match then {
        Then::Gone => {
            world.anvil.mine(N + 2).await;
            world.settled().await;
            assert_eq!(world.get_invoice(&invoice).await["status"], "new");
        }
        Then::Again | Then::Behind => {
            if then == Then::Behind {
                let other = &world.anvil.accounts[7];
                world.anvil.send_token(&world.usdt, other, &world.anvil.accounts[8], 1).await;
            }
            assert_eq!(world.anvil.send_raw(&raw).await, tx);
            world.anvil.mine(N).await;
            let paid = world.until(&invoice, "paid").await;
            assert_eq!(paid["credited_amount_units"], world.due(&invoice).to_string());
            assert_eq!(paid["exception"], "none");
            let second = world.anvil.receipt(&tx).await;
            assert_ne!(first.block_hash, second.block_hash);
            if then == Then::Behind {
                assert_ne!(first.logs[0]["logIndex"], second.logs[0]["logIndex"], "what the case is about");
            }
            world.settled().await;
            let credits = world.database.number(&journals(&tx, "credit")).await;
            let reversals = world.database.number(&journals(&tx, "reversal")).await;
            assert_eq!((credits, reversals), if credited { (2, 1) } else { (1, 0) });
        }
    }
    assert_eq!(world.get_invoice(&bystander).await["status"], "paid");
    assert_eq!(world.receiver.got_kind("invoice.reverted").len(), 1);
    let transfers = format!("SELECT CAST(COUNT(*) AS TEXT) FROM transfer WHERE tx = '{tx}'");
    assert_eq!(world.database.number(&transfers).await, 1, "one movement is one row, wherever it stands");
    world.verify_all(&world.receiver.got());
}

fn journals(tx: &str, kind: &str) -> String {
    format!(
        "SELECT CAST(COUNT(*) AS TEXT) FROM journal j JOIN transfer t ON t.id = j.transfer_id
         WHERE t.tx = '{tx}' AND j.kind = '{kind}'"
    )
}

async fn back_and_forth(database: Database) {
    let world = World::with(database, WorldOptions { credit: json!(2), ..WorldOptions::default() }).await;
    let invoice = world.invoice("USDT", "10").await;
    let tx = world.pay(&invoice).await;
    world.anvil.mine(2).await;
    world.until(&invoice, "paid").await;
    let raw = world.anvil.raw(&tx).await;
    for _ in 0..3 {
        world.anvil.reorg(2).await;
        world.until(&invoice, "new").await;
        world.anvil.send_raw(&raw).await;
        world.anvil.mine(2).await;
        world.until(&invoice, "paid").await;
        world.settled().await;
    }
    assert_eq!(world.database.number(&journals(&tx, "credit")).await, 4);
    assert_eq!(world.database.number(&journals(&tx, "reversal")).await, 3);
    assert_eq!(world.receiver.got_kind("invoice.reverted").len(), 3);
    let sequence = |hook: &kassa_tests::Webhook| hook.invoice()["sequence"].as_i64().unwrap();
    let mut told: Vec<i64> = world.receiver.got().iter().map(sequence).collect();
    told.sort_unstable();
    let last = world.get_invoice(&invoice).await["sequence"].as_i64().unwrap();
    assert_eq!(told, (1..=last).collect::<Vec<i64>>(), "each event once, and in an order that can be told");
}

async fn below_final(database: Database) {
    // As on BSC: final is two below the head.
    let anvil = AnvilOptions { slots_in_an_epoch: 1, ..AnvilOptions::default() };
    let world =
        World::with(database, WorldOptions { anvil, credit: json!("final"), ..WorldOptions::default() })
            .await;
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    world.anvil.mine(6).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
    let before = world.database.rows("SELECT network, CAST(height AS TEXT), hash FROM cursor").await;

    let alarms = world.operators_receiver().await;
    world.anvil.reorg(6).await;
    world.anvil.mine(3).await;
    let operator = world.kassa.operator();
    let path = format!("/v1/operator/networks/{NETWORK}");
    let frozen = eventually("a frozen network", || async {
        let seen = operator.get(&path).await.ok();
        seen["state"]["frozen"].as_str().map(str::to_owned).ok_or(seen.to_string())
    })
    .await;
    // Nothing is reversed by itself, and nothing moves.
    let paid = world.get_invoice(&invoice).await;
    assert_eq!((&paid["status"], &paid["exception"]), (&json!("paid"), &json!("none")));
    assert_eq!(world.database.rows("SELECT network, CAST(height AS TEXT), hash FROM cursor").await, before);
    assert_eq!(world.receiver.got_kind("invoice.reverted").len(), 0);
    let metrics = operator.get("/metrics").await.body;
    let alarm = format!("kassa_network_frozen{{network=\"{NETWORK}\"}} 1");
    assert!(text(&metrics).contains(&alarm), "{metrics}");

    let told = alarms.wait_for("network.frozen", 1).await.remove(0).json();
    assert_eq!((&told["data"]["network"], &told["data"]["why"]), (&json!(NETWORK), &json!(frozen)), "{told}");

    // The operator decides to go on: what comes next is read, what was credited stays.
    let wrong = operator.post(&format!("{path}/unfreeze"), &json!({"frozen": "whatever"})).await;
    assert!(wrong.problem(409).ends_with("conflict"));
    operator.post(&format!("{path}/unfreeze"), &json!({"frozen": frozen})).await.ok();
    // Nothing is promised before a final block of the new branch is known.
    let order = world.order("USDT", "11");
    let next = eventually("the new branch to be read", || async {
        world.anvil.mine(1).await;
        let made = world.api().post("/v1/invoices", &order).await;
        if made.status == 201 { Ok(made.ok()) } else { Err(made.problem(503)) }
    })
    .await;
    world.pay(&next).await;
    world.anvil.mine(6).await;
    world.until(&next, "paid").await;
    assert_eq!(world.get_invoice(&invoice).await["status"], "paid");
    let state: Value = operator.get(&path).await.ok()["state"]["frozen"].take();
    assert!(state.is_null(), "{state}");
}
