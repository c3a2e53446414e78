//! Payments on a real EVM node: what pays, what does not, and what is said of it.

use kassa_tests::{Database, NETWORK, SHARED_ADDRESS, Suite, World, contract, eventually, list, text, word};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("evm_payments::a_token_with_6_decimals_pays", |database| paid_in(database, "USDT", "100"));
    suite.both("evm_payments::a_token_with_18_decimals_pays", |database| paid_in(database, "DAI", "99.95"));
    suite.both("evm_payments::the_native_coin_pays", |database| paid_in(database, "ETH", "0.25"));
    suite.both("evm_payments::two_equal_transfers_in_one_transaction_are_two", two_in_one);
    suite.both("evm_payments::what_only_looks_like_a_payment_is_none", impostors);
    suite.both("evm_payments::a_transfer_of_nothing_is_listed_and_pays_nothing", zero_value);
    suite.both("evm_payments::a_reverted_transaction_pays_nothing", reverted);
    suite.both("evm_payments::a_fee_on_transfer_counts_what_arrived", fee_on_transfer);
    suite
        .both("evm_payments::an_amount_that_fits_no_invoice_is_listed_and_can_be_assigned", assigned_by_hand);
    suite.both("evm_payments::a_customers_address_takes_all_that_comes", customer_address);
    suite.both("evm_payments::forty_invoices_are_paid_in_one_block", many_in_one_block);
    suite.both("evm_payments::a_credit_may_wait_for_finality", credit_at_final);
}

/// The main job: an invoice, a payment, confirmations, the credit, a signed webhook.
async fn paid_in(database: Database, asset: &str, amount: &str) {
    let world = World::start(database).await;
    let invoice = world.invoice(asset, amount).await;
    assert_eq!(invoice["status"], "new");
    assert_eq!(text(&invoice["destination_address"]).to_lowercase(), SHARED_ADDRESS);
    let (due, asked) = (world.due(&invoice), kassa_tests::units(amount, world.decimals_of(asset)));
    assert!(due > asked && due - asked < asked / 5, "{due} is {asked} and a small suffix");

    let tx = world.pay(&invoice).await;
    world.anvil.mine(1).await;
    let seen = world.until(&invoice, "detected").await;
    assert_eq!(seen["credited_amount_units"], "0");
    world.anvil.mine(1).await;
    world.caught_up().await;
    assert_eq!(world.get_invoice(&invoice).await["status"], "detected", "two confirmations of three");
    world.anvil.mine(1).await;
    let paid = world.until(&invoice, "paid").await;
    assert_eq!(paid["credited_amount_units"], due.to_string());
    assert_eq!(paid["exception"], "none");

    let hooks = world.receiver.wait_for("invoice.paid", 1).await;
    assert_eq!(hooks.len(), 1);
    world.verify_all(&hooks);
    let told = hooks[0].json();
    assert_eq!(told["data"]["invoice"]["id"], invoice["id"], "{told}");
    assert_eq!(told["data"]["invoice"]["credited_amount_units"], due.to_string(), "{told}");

    let payments = payments_of(&world, &invoice).await;
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!(payments[0]["tx_hash"], tx);
    assert_eq!(payments[0]["status"], "credited");
    // More blocks, up to finality and beyond, change nothing.
    world.anvil.mine(30).await;
    world.settled().await;
    assert_eq!(world.get_invoice(&invoice).await["sequence"], paid["sequence"]);
    assert_eq!(world.receiver.got_kind("invoice.paid").len(), 1);
}

async fn payments_of(world: &World, invoice: &Value) -> Vec<Value> {
    list(&world.api().get(&format!("/v1/payments?invoice_id={}", text(&invoice["id"]))).await.ok())
}

/// Puts a call of `Sender.many` into the pool; the contract holds enough of the token.
async fn send_many(world: &World, token: &str, to: &str, units: u128, times: u32) -> String {
    let sender = world.anvil.deploy(&contract("Sender"), &[]).await;
    world.anvil.mint("Token", token, std::slice::from_ref(&sender)).await;
    let words = [word(token), word(to), word(&units.to_string()), word(&times.to_string())];
    let data = contract("Sender").call("many(address,address,uint256,uint256)", &words);
    world.anvil.send_call(&world.anvil.accounts[2], &sender, &data).await
}

async fn two_in_one(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("USDT", "10").await;
    let tx = send_many(&world, &world.usdt, SHARED_ADDRESS, world.due(&invoice), 2).await;
    world.anvil.mine(3).await;
    let paid = world.until(&invoice, "paid").await;
    world.settled().await;
    assert_eq!(paid["credited_amount_units"], world.due(&invoice).to_string());
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    assert_eq!(unmatched[0]["reason"], "already_paid");
    assert_eq!(unmatched[0]["tx_hash"], tx);
    let all = list(&world.api().get("/v1/transfers").await.ok());
    assert_eq!(all.len(), 2, "{all:?}");
    assert_ne!(all[0]["ordinal"], all[1]["ordinal"]);

    // A person gives the second one to the same invoice: then it is overpaid.
    let path = format!("/v1/transfers/{}/assign", text(&unmatched[0]["id"]));
    world.api().post(&path, &json!({"invoice_id": invoice["id"]})).await.ok();
    let over = world.until(&invoice, "overpaid").await;
    assert_eq!(over["credited_amount_units"], (2 * world.due(&invoice)).to_string());
    world.settled().await;
}

async fn impostors(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("USDT", "10").await;
    let (due, payer) = (world.due(&invoice), &world.anvil.accounts[1]);
    // The real token's event, from a contract that only calls itself so.
    let look_alike = world.anvil.deploy(&contract("LookAlike"), &[]).await;
    let words = [word(payer), word(SHARED_ADDRESS), word(&due.to_string())];
    let data = contract("LookAlike").call("claim(address,address,uint256)", &words);
    world.anvil.send_call(payer, &look_alike, &data).await;
    // A real token with the same name and decimals that the network does not list.
    let other = world.anvil.deploy_token(6).await;
    world.anvil.send_token(&other, payer, SHARED_ADDRESS, due).await;
    // The right amount of the right token to somebody else.
    world.anvil.send_token(&world.usdt, payer, &world.anvil.accounts[5], due).await;
    world.anvil.mine(4).await;
    world.settled().await;
    assert_eq!(world.get_invoice(&invoice).await["status"], "new");
    assert_eq!(list(&world.api().get("/v1/transfers").await.ok()), Vec::<Value>::new());
    assert_eq!(world.receiver.got().len(), 0);

    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
}

async fn zero_value(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("USDT", "10").await;
    let forged = world.forge_zero(&world.usdt, &world.anvil.accounts[1], SHARED_ADDRESS).await;
    world.anvil.mine(3).await;
    world.settled().await;
    assert!(world.anvil.receipt(&forged).await.succeeded);
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    assert_eq!(unmatched[0]["reason"], "zero_value");
    let untouched = world.get_invoice(&invoice).await;
    assert_eq!((&untouched["status"], &untouched["sequence"]), (&invoice["status"], &invoice["sequence"]));
}

async fn reverted(database: Database) {
    let world = World::start(database).await;
    let (token, coin) = (world.invoice("USDT", "10").await, world.invoice("ETH", "1").await);
    let payer = &world.anvil.accounts[1];
    // A transfer inside of a transaction that is then undone.
    let sender = world.anvil.deploy(&contract("Sender"), &[]).await;
    world.anvil.mint("Token", &world.usdt, std::slice::from_ref(&sender)).await;
    let words = [word(&world.usdt), word(SHARED_ADDRESS), word(&world.due(&token).to_string())];
    let data = contract("Sender").call("undone(address,address,uint256)", &words);
    let undone = world.anvil.send_call(payer, &sender, &data).await;
    // The coin itself to the very address, which refuses it.
    let refuses = "0x60006000fd";
    world.anvil.rpc("anvil_setCode", json!([SHARED_ADDRESS, refuses])).await;
    let value = format!("{:#x}", world.due(&coin));
    let refused = json!({"from": payer, "to": SHARED_ADDRESS, "value": value, "gas": "0x186a0"});
    let refused = world.anvil.send(refused).await;
    world.anvil.mine(4).await;
    assert!(!world.anvil.receipt(&undone).await.succeeded);
    assert!(!world.anvil.receipt(&refused).await.succeeded);
    world.settled().await;
    for invoice in [&token, &coin] {
        assert_eq!(world.get_invoice(invoice).await["status"], "new");
    }
    assert_eq!(list(&world.api().get("/v1/transfers").await.ok()), Vec::<Value>::new());
}

async fn fee_on_transfer(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("FEE", "100").await;
    let due = world.due(&invoice);
    // Sending what is due delivers less, which no invoice waits for.
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.settled().await;
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    assert_eq!(unmatched[0]["reason"], "no_match");
    assert_eq!(unmatched[0]["amount_units"], (due - due / 100).to_string());
    // Sending so much that what is due arrives pays.
    let about = due / 99 * 100;
    let gross =
        (about..about + 1000).find(|gross| gross - gross / 100 == due).expect("an amount that nets it");
    world.pay_units(&invoice, gross).await;
    world.anvil.mine(3).await;
    let paid = world.until(&invoice, "paid").await;
    assert_eq!(paid["credited_amount_units"], due.to_string());
    world.settled().await;
}

async fn assigned_by_hand(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("USDT", "10").await;
    let due = world.due(&invoice);
    world.pay_units(&invoice, due - 1).await;
    world.pay_units(&invoice, due + 1).await;
    world.anvil.mine(3).await;
    world.settled().await;
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 2, "{unmatched:?}");
    assert!(unmatched.iter().all(|transfer| transfer["reason"] == "no_match"), "{unmatched:?}");
    assert_eq!(world.get_invoice(&invoice).await["status"], "new");
    assert_eq!(world.receiver.wait_for("transfer.unmatched", 2).await.len(), 2);

    let one = unmatched.iter().find(|transfer| transfer["amount_units"] == (due - 1).to_string()).unwrap();
    let two = unmatched.iter().find(|transfer| transfer["id"] != one["id"]).unwrap();
    let path = format!("/v1/transfers/{}/assign", text(&one["id"]));
    let under = world.api().post(&path, &json!({"invoice_id": invoice["id"]})).await.ok();
    assert_eq!(under["status"], "underpaid");
    assert!(
        world
            .api()
            .post(&path, &json!({"invoice_id": invoice["id"]}))
            .await
            .problem(409)
            .ends_with("transfer_resolved")
    );
    world.api().post(&format!("/v1/transfers/{}/dismiss", text(&two["id"])), &json!({})).await.ok();
    assert_eq!(world.unmatched().await.len(), 0);
    world.settled().await;
    assert_eq!(world.receiver.got_kind("invoice.underpaid").len(), 1);
}

async fn customer_address(database: Database) {
    let world = World::start(database).await;
    let address = "0x00000000000000000000000000000000000c0de1";
    let made = world.customer("customer-17", address).await;
    assert_eq!(
        world.customer("customer-17", address).await["id"],
        made["id"],
        "the same customer, the same address"
    );
    let tx = send_many(&world, &world.usdt, address, 1_000_000, 3).await;
    world.send("ETH", address, 7).await;
    world.anvil.mine(3).await;
    let hooks = world.receiver.wait_for("deposit.credited", 4).await;
    world.settled().await;
    assert_eq!(world.receiver.got_kind("deposit.credited").len(), 4);
    world.verify_all(&hooks);
    let payments = list(&world.api().get("/v1/payments").await.ok());
    assert_eq!(payments.len(), 4, "{payments:?}");
    assert_eq!(payments.iter().filter(|payment| payment["tx_hash"] == tx).count(), 3);
    assert!(
        payments.iter().all(|payment| payment["invoice_id"].is_null() && payment["status"] == "credited")
    );
}

async fn many_in_one_block(database: Database) {
    let world = World::start(database).await;
    let mut invoices = Vec::new();
    for number in 0..40 {
        // All at one price and in two assets: only the suffix tells them apart.
        invoices.push(world.invoice(if number % 2 == 0 { "USDT" } else { "DAI" }, "25").await);
    }
    let mut dues: Vec<String> =
        invoices.iter().map(|invoice| invoice["payable_amount"].to_string()).collect();
    dues.sort();
    dues.dedup();
    assert!(dues.len() >= 20, "unique amounts in each asset");
    for invoice in &invoices {
        world.pay(invoice).await;
    }
    world.anvil.mine(3).await;
    for invoice in &invoices {
        world.until(invoice, "paid").await;
    }
    world.settled().await;
    assert_eq!(world.receiver.got_kind("invoice.paid").len(), 40);
    assert_eq!(world.unmatched().await.len(), 0);
}

async fn credit_at_final(database: Database) {
    let world = World::start(database).await;
    let manifest = world.manifest(NETWORK, &json!("final"), &json!({}), 31337);
    world.put_network(&manifest).await;
    // The watcher before it may be in the middle of a step: what is mined from now on is read by the new rule alone.
    eventually("the watcher with the new rule", || async {
        let log = world.kassa.log();
        let starts = format!("\"message\":\"starts\",\"network\":\"{NETWORK}\"");
        if log.matches(&starts).count() == 2 { Ok(()) } else { Err(log) }
    })
    .await;
    world.anvil.mine(1).await;
    world.caught_up().await;
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    // The node calls final what is 16 blocks below its head.
    world.anvil.mine(16).await;
    world.caught_up().await;
    assert_eq!(world.get_invoice(&invoice).await["status"], "detected");
    world.anvil.mine(1).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
}
