//! Messages of strangers, and what is and is not a payment.

use super::cells::{Cell, comment, internal_transfer, operation};
use super::index::*;
use crate::base64;
use crate::body::{BOUNCED, EXCESSES, TRANSFER_NOTIFICATION};
use kassa_sdk::types::Memo;
use serde_json::{Value, json};

/// Amount and memo that are reported of one transaction in block 5,001.
fn reported(json: Value) -> Vec<(Option<u128>, Memo)> {
    let mut index = Index::new(5_001);
    index.add(5_001, json);
    let transfers = index.scan().unwrap().transfers;
    transfers.into_iter().map(|transfer| (transfer.amount.map(u128::from), transfer.memo)).collect()
}

fn with(mut json: Value, path: &str, value: Value) -> Value {
    *json.pointer_mut(path).unwrap() = value;
    json
}

#[test]
fn an_aborted_payment_to_a_wallet_that_does_not_exist_yet() {
    let mut json = paid(SHOP, 1_000_000_000, &comment("order 1"));
    json["orig_status"] = json!("nonexist");
    json["end_status"] = json!("uninit");
    json["description"]["aborted"] = json!(true);
    json["description"]["compute_ph"] = json!({"skipped": true, "reason": "no_state"});
    assert_eq!(reported(json), [(Some(1_000_000_000), Memo::Text("order 1".into()))]);
}

#[test]
fn what_was_sent_back_was_not_paid() {
    let mut json = paid(SHOP, 5, &comment("x"));
    json["description"]["aborted"] = json!(true);
    let by_phase = |kind: &str| {
        let mut json = json.clone();
        json["description"]["bounce"] = json!({"type": kind, "msg_fees": "266669"});
        json
    };
    assert_eq!(reported(by_phase("ok")), []);
    // There was not enough to send it back with, so it stayed.
    assert_eq!(reported(by_phase("nofunds")).len(), 1);
    assert_eq!(reported(by_phase("negfunds")).len(), 1);
    let out = with(json, "/out_msgs", json!([{"bounced": true, "value": "4"}]));
    assert_eq!(reported(out), []);
    let change = with(paid(SHOP, 5, &comment("x")), "/out_msgs", json!([{"bounced": false, "value": "4"}]));
    assert_eq!(reported(change).len(), 1);
    // The owner's own payment that came back to it.
    let returned = with(paid(SHOP, 5, &operation(BOUNCED)), "/in_msg/bounced", json!(true));
    assert_eq!(reported(returned), []);
}

#[test]
fn messages_that_are_no_payments() {
    for op in [EXCESSES, TRANSFER_NOTIFICATION, BOUNCED] {
        assert_eq!(reported(paid(SHOP, 50_000_000, &operation(op))), []);
    }
    // The owner's own orders to its wallet come from outside.
    let mut external = paid(SHOP, 0, &operation(1));
    external["in_msg"]["source"] = Value::Null;
    external["in_msg"]["value"] = Value::Null;
    external["in_msg"]["bounced"] = Value::Null;
    assert_eq!(reported(external), []);
    let mut tick = paid(SHOP, 0, &operation(1));
    tick["description"] = json!({"type": "tick_tock"});
    tick["in_msg"] = Value::Null;
    assert_eq!(reported(tick), []);
}

#[test]
fn value_that_comes_with_a_call_is_listed_for_a_person() {
    let call = operation(0x05d1_3d91);
    assert_eq!(reported(paid(SHOP, 5, &call)), [(Some(5), Memo::Unreadable("operation 0x05d13d91".into()))]);
    assert_eq!(reported(paid(SHOP, 0, &call)), []);
    assert_eq!(reported(paid(SHOP, 0, &comment("x"))), [(Some(0), Memo::Text("x".into()))]);
    let secret = paid(SHOP, 5, &operation(0x2167_da4b));
    assert_eq!(reported(secret), [(Some(5), Memo::Unreadable("an encrypted comment".into()))]);
    let gone = with(paid(SHOP, 5, &comment("x")), "/in_msg/message_content", Value::Null);
    assert!(matches!(reported(gone).as_slice(), [(Some(5), Memo::Unreadable(_))]));
}

#[test]
fn a_notification_with_one_nano_beside_its_credit() {
    let mut index = Index::new(5_001);
    index.add(5_001, credited(USDT, SHOP, 17_000_000, "order 2"));
    let body = operation(TRANSFER_NOTIFICATION).coins(17_000_000).address(Some(&PAYER)).uint(0, 1);
    let mut notice = message(SHOP, wallet(&USDT, &SHOP), 1, &body.slice(&comment("order 2")));
    notice["description"]["aborted"] = json!(true);
    index.add(5_001, notice);
    assert_eq!(brief(&index.scan().unwrap()), [(5_001, 1, Some(17_000_000), "order 2")]);
}

#[test]
fn forged_notifications_and_credits_pay_nothing() {
    // From a stranger's wallet, not even aborted.
    let body = operation(TRANSFER_NOTIFICATION).coins(17_000_000).address(Some(&PAYER)).uint(0, 1);
    assert_eq!(reported(message(SHOP, FAKE, 50_000_000, &body.slice(&comment("order 2")))), []);
    // An internal_transfer that does not come from a wallet of the master: the wallet's code fails.
    let mut forged = credited(USDT, SHOP, 17_000_000, "order 2");
    forged["description"]["aborted"] = json!(true);
    forged["description"]["compute_ph"] = json!({"skipped": false, "success": false, "exit_code": 74});
    assert_eq!(reported(forged.clone()), []);
    forged["description"]["compute_ph"] = json!({"skipped": true, "reason": "no_gas"});
    assert_eq!(reported(forged.clone()), []);
    // The code succeeded, the actions after it did not: nothing was kept.
    forged["description"]["compute_ph"] = json!({"skipped": false, "success": true});
    assert_eq!(reported(forged), []);
    // An internal_transfer to the owner itself moves coins only.
    let body = internal_transfer(17_000_000, Some(&PAYER), &comment("order 2"), false);
    assert!(matches!(reported(message(SHOP, FAKE, 5, &body)).as_slice(), [(Some(5), Memo::Unreadable(_))]));
    // Coins for the wallet's rent, a query to it, and one that came back to it.
    let to_wallet = |body: &Cell| message(wallet(&USDT, &SHOP), PAYER, 5_000_000, body);
    assert_eq!(reported(to_wallet(&Cell::default())), []);
    assert_eq!(reported(to_wallet(&comment("order 2"))), []);
    assert_eq!(reported(to_wallet(&operation(0x0f8a_7ea5))), []);
    let returned = with(credited(USDT, SHOP, 5, "x"), "/in_msg/bounced", json!(true));
    assert_eq!(reported(returned), []);
}

#[test]
fn a_fake_jetton_with_the_same_code_is_another_wallet() {
    let mut index = Index::new(5_001);
    index.add(5_001, credited(FAKE, SHOP, 17_000_000, "order 2"));
    let wallets = index.txs[0].account;
    assert_ne!(wallets, wallet(&USDT, &SHOP));
    assert!(index.scan().unwrap().transfers.is_empty());
    // Not even where the upstream answers what nobody asked for.
    let fake = json!([index.txs[0].json]);
    index.add(5_001, paid(SHOP, 5, &comment("x")));
    let index = index.twisted(move |path, answer| {
        if path == "/transactions" {
            answer["transactions"] = fake.clone();
        }
    });
    assert!(index.scan().is_err());
}

#[test]
fn a_wallet_of_someone_else_as_an_address_takes_nothing_away() {
    let mut index = Index::new(5_001);
    *index.owners.borrow_mut() = vec![SHOP, wallet(&USDT, &SHOP)];
    index.add(5_001, credited(USDT, SHOP, 7, "order 2"));
    assert_eq!(brief(&index.scan().unwrap()), [(5_001, 1, Some(7), "order 2")]);
}

#[test]
fn a_credit_whose_body_cannot_be_read_is_listed() {
    let body = operation(crate::body::INTERNAL_TRANSFER).uint(15, 4);
    let json = message(wallet(&USDT, &SHOP), wallet(&USDT, &PAYER), 5, &body);
    assert!(matches!(reported(json).as_slice(), [(None, Memo::Unreadable(_))]));
    let mut exotic = Cell::default().uint(2, 8).bytes(&[5; 32]);
    exotic.is_exotic = true;
    assert!(matches!(reported(paid(SHOP, 5, &exotic)).as_slice(), [(Some(5), Memo::Unreadable(_))]));
}

#[test]
fn what_an_account_sends_to_itself_brings_nothing_in() {
    let mut index = Index::new(5_003);
    index.add(5_001, message(SHOP, SHOP, 1_000_000_000, &comment("order 1")));
    index.add(5_001, message(SHOP, SHOP, 0, &Cell::default()));
    let own = wallet(&USDT, &SHOP);
    let to_itself = internal_transfer(17_000_000, Some(&SHOP), &comment("order 2"), true);
    index.add(5_002, message(own, own, 30_000_000, &to_itself));
    // Minted: the master may name whom it likes as the owner that it comes from, and the jettons are new.
    let minted = internal_transfer(5_000_000, Some(&SHOP), &comment("order 3"), true);
    index.add(5_003, message(own, USDT, 30_000_000, &minted));
    assert_eq!(brief(&index.scan().unwrap()), [(5_003, 1, Some(5_000_000), "order 3")]);
}

/// A field that is absent or null, and decides whether there is a payment, is an error.
#[test]
fn what_decides_about_money_has_to_be_said() {
    let mut failed = paid(SHOP, 5, &comment("x"));
    failed["in_msg"]["bounce"] = json!(true);
    failed["description"]["aborted"] = json!(true);
    failed["description"]["compute_ph"] = json!({"skipped": false, "success": false, "exit_code": 7});
    let mut unrun = failed.clone();
    unrun["description"]["compute_ph"] = json!({"skipped": true, "reason": "no_state"});
    let mut unsaid = failed.clone();
    unsaid["description"]["compute_ph"] = json!({"skipped": false});
    let without_phases = with(failed.clone(), "/description", json!({"type": "ord", "aborted": false}));
    let whole = || paid(SHOP, 5, &comment("x"));
    let cases = [
        ("a bounce", failed.clone()),
        ("a bounce", unrun),
        ("whether the code failed", unsaid),
        ("any phase", without_phases),
        ("whether it may bounce", with(whole(), "/in_msg/bounce", Value::Null)),
        ("whether it bounced", with(whole(), "/in_msg/bounced", Value::Null)),
        ("the value", with(whole(), "/in_msg/value", Value::Null)),
        ("who sent it", with(whole(), "/in_msg/source", Value::Null)),
        ("the message", with(whole(), "/in_msg", Value::Null)),
        ("the body's hash", with(whole(), "/in_msg/message_content/hash", Value::Null)),
        ("whether a message out is one that bounced", with(whole(), "/out_msgs", json!([{"value": "4"}]))),
    ];
    for (missing, json) in cases {
        let mut index = Index::new(5_001);
        index.add(5_001, json);
        let answer = index.scan();
        assert!(matches!(answer, Err(kassa_sdk::chain::ScanError::Malformed(_))), "{missing}: {answer:?}");
    }
    // The field is there, or does not matter.
    failed["description"]["bounce"] = json!({"type": "nofunds"});
    assert_eq!(reported(failed.clone()).len(), 1);
    failed["description"]["bounce"] = json!({"type": "ok"});
    assert_eq!(reported(failed), []);
    // The code succeeded and its actions did not: that sends nothing back.
    let mut undone = with(whole(), "/in_msg/bounce", json!(true));
    undone["description"]["aborted"] = json!(true);
    assert_eq!(reported(undone).len(), 1);
    let outside = with(whole(), "/out_msgs", json!([{"bounced": null, "value": null}]));
    assert_eq!(reported(outside).len(), 1);
}

#[test]
fn a_body_has_to_be_the_one_of_its_hash() {
    for (path, json) in [("SHOP", paid(SHOP, 5, &comment("x"))), ("wallet", credited(USDT, SHOP, 5, "x"))] {
        let mut index = Index::new(5_001);
        let other = base64::encode(&comment("order 9").hash());
        index.add(5_001, with(json, "/in_msg/message_content/hash", json!(other)));
        assert!(matches!(index.scan(), Err(kassa_sdk::chain::ScanError::Malformed(_))), "{path}");
    }
}
