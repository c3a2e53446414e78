//! What a person decides, and takes back: each is something added, and the ledger and what is told follow.

use kassa_tests::{Answer, Database, Sandbox, Suite, eventually, list, text};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("corrections::an_assignment_and_a_dismissal_are_taken_back", undone);
    suite.both("corrections::an_invoice_is_marked_as_paid_once", marked);
    suite.both("corrections::what_was_marked_is_not_paid_twice", seen_later);
    suite.both("corrections::an_invoice_gets_more_time_while_its_amount_is_held", deadlines);
    suite.both("corrections::an_order_is_asked_for_again_after_it_expired", orders);
    suite.both("corrections::a_shared_address_is_replaced", addresses);
    suite.both("corrections::bad_input_changes_nothing", bad_input);
    suite.both("corrections::more_than_can_be_counted_is_not_marked", too_much);
}

/// Does this to an invoice, a transfer or an address.
async fn act(sandbox: &Sandbox, what: &str, of: &Value, action: &str, body: Value) -> Answer {
    sandbox.shop.api().post(&format!("/v1/{what}/{}/{action}", text(&of["id"])), &body).await
}

async fn on_invoice(sandbox: &Sandbox, invoice: &Value, action: &str, body: Value) -> Answer {
    act(sandbox, "invoices", invoice, action, body).await
}

async fn on_transfer(sandbox: &Sandbox, transfer: &Value, action: &str, body: Value) -> Answer {
    act(sandbox, "transfers", transfer, action, body).await
}

/// The events of this invoice, the oldest first: type, and the correction that caused it.
async fn told(sandbox: &Sandbox, invoice: &Value) -> Vec<(String, String)> {
    let events = list(&sandbox.shop.api().get("/v1/events?limit=100").await.ok());
    let mut of: Vec<_> = events.iter().filter(|event| event["invoice_id"] == invoice["id"]).collect();
    of.sort_by_key(|event| event["sequence"].as_i64());
    let told = |event: &&Value| {
        let correction = event["payload"]["data"]["correction"]["kind"].as_str().unwrap_or("-");
        (text(&event["type"]), correction.to_owned())
    };
    of.iter().map(told).collect()
}

/// The one transfer that waits for a decision.
pub(crate) async fn unmatched(sandbox: &Sandbox) -> Value {
    eventually("a transfer that is listed", || async {
        let mut listed = sandbox.shop.unmatched().await;
        if listed.len() == 1 { Ok(listed.remove(0)) } else { Err(format!("{listed:?}")) }
    })
    .await
}

async fn kinds(sandbox: &Sandbox, filter: &str) -> Vec<String> {
    let all = list(&sandbox.shop.api().get(&format!("/v1/corrections?{filter}")).await.ok());
    all.iter().map(|one| text(&one["kind"])).collect()
}

fn cash() -> Value {
    json!({"why": "paid in cash", "evidence": {"text": "receipt 17"}})
}

async fn undone(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let invoices = [sandbox.invoice("5", &json!({})).await, sandbox.invoice("5", &json!({})).await];
    sandbox.send(3_000_000).await;
    let transfer = unmatched(&sandbox).await;

    on_transfer(&sandbox, &transfer, "dismiss", json!({"why": "a test of ours"})).await.ok();
    assert!(sandbox.shop.unmatched().await.is_empty());
    assert_eq!(
        on_transfer(&sandbox, &transfer, "unassign", json!({})).await.problem(409),
        "/problems/transfer_not_assigned"
    );
    let again = on_transfer(&sandbox, &transfer, "undismiss", json!({"why": "it is real"})).await.ok();
    assert_eq!((&again["state"], &again["reason"]), (&json!("open"), &json!("no_match")));
    let decided: Vec<_> = list(&json!({"data": again["corrections"]}))
        .iter()
        .map(|c| (text(&c["kind"]), text(&c["why"])))
        .collect();
    let said = |kind: &str, why: &str| (kind.to_owned(), why.to_owned());
    assert_eq!(decided, [said("dismiss", "a test of ours"), said("undismiss", "it is real")]);
    assert_eq!(
        on_transfer(&sandbox, &transfer, "undismiss", json!({})).await.problem(409),
        "/problems/transfer_not_dismissed"
    );

    // To the wrong one, and back.
    let [wrong, right] = &invoices;
    let assign = |of: &Value| json!({"invoice_id": of["id"], "why": "they wrote to us"});
    let paid = on_transfer(&sandbox, &transfer, "assign", assign(wrong)).await.ok();
    assert_eq!((&paid["status"], &paid["exception"]), (&json!("underpaid"), &json!("manual")));
    let back = on_transfer(&sandbox, &transfer, "unassign", json!({"why": "not theirs"})).await.ok();
    assert_eq!((&back["state"], &back["payments"]), (&json!("open"), &json!([])));
    let reverted = sandbox.shop.get_invoice(wrong).await;
    assert_eq!(
        (&reverted["status"], &reverted["exception"], &reverted["credited_amount_units"]),
        (&json!("new"), &json!("none"), &json!("0")),
        "{reverted}"
    );
    let paid = on_transfer(&sandbox, &transfer, "assign", assign(right)).await.ok();
    assert_eq!(paid["status"], "underpaid");
    assert_eq!(
        told(&sandbox, wrong).await,
        [
            said("invoice.detected", "assign"),
            said("invoice.underpaid", "assign"),
            said("invoice.reverted", "unassign")
        ]
    );
    assert_eq!(told(&sandbox, right).await.last(), Some(&said("invoice.underpaid", "assign")));
    // And back again: each is kept.
    on_transfer(&sandbox, &transfer, "unassign", json!({})).await.ok();
    let filter = format!("transfer_id={}", text(&transfer["id"]));
    assert_eq!(
        kinds(&sandbox, &filter).await,
        ["unassign", "assign", "unassign", "assign", "undismiss", "dismiss"]
    );
    // What pays by itself was not assigned by anyone.
    let own = sandbox.paid("7", &json!({})).await;
    let transfers = sandbox.shop.transfers().await;
    let seen =
        transfers.iter().find(|one| one["payments"][0]["invoice_id"] == own["id"]).expect("its transfer");
    assert_eq!(
        on_transfer(&sandbox, seen, "unassign", json!({})).await.problem(409),
        "/problems/transfer_not_assigned"
    );
    sandbox.shop.delivered().await;
}

async fn marked(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let invoice = sandbox.invoice("5", &json!({})).await;
    let path = format!("/v1/invoices/{}/mark_paid", text(&invoice["id"]));
    let first = sandbox.shop.api().post_once(&path, "mark-1", &cash()).await.ok();
    assert_eq!(
        (&first["status"], &first["exception"], &first["marked_amount"]),
        (&json!("paid"), &json!("manual"), &first["payable_amount"]),
        "{first}"
    );
    // The same request again is the same mark; another is refused.
    assert_eq!(
        sandbox.shop.api().post_once(&path, "mark-1", &cash()).await.ok()["sequence"],
        first["sequence"]
    );
    assert_eq!(
        on_invoice(&sandbox, &invoice, "mark_paid", cash()).await.problem(409),
        "/problems/marked_already"
    );
    sandbox.shop.kassa.restart().await;
    let back = on_invoice(&sandbox, &invoice, "unmark", json!({"why": "it bounced"})).await.ok();
    assert_eq!((&back["status"], &back["credited_amount_units"]), (&json!("new"), &json!("0")), "{back}");
    assert_eq!(
        on_invoice(&sandbox, &invoice, "unmark", json!({})).await.problem(409),
        "/problems/not_marked"
    );

    // A part of it in cash, and the rest as asked for: that is more than is missing.
    let mut part = cash();
    part["amount"] = json!("2");
    assert_eq!(on_invoice(&sandbox, &invoice, "mark_paid", part).await.ok()["status"], "underpaid");
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    let both = sandbox.shop.until(&invoice, "overpaid").await;
    assert_eq!(both["marked_amount"], "2.00");
    on_invoice(&sandbox, &invoice, "unmark", json!({})).await.ok();
    let paid = sandbox.shop.get_invoice(&invoice).await;
    assert_eq!((&paid["status"], &paid["exception"]), (&json!("paid"), &json!("none")), "{paid}");
    assert_eq!(
        on_invoice(&sandbox, &invoice, "mark_paid", cash()).await.problem(409),
        "/problems/invoice_closed"
    );
    let caused: Vec<_> = told(&sandbox, &invoice).await.into_iter().map(|(_, by)| by).collect();
    for kind in ["mark_paid", "unmark"] {
        assert_eq!(caused.iter().filter(|by| *by == kind).count(), 2, "{caused:?}");
    }
    sandbox.shop.delivered().await;
}

async fn seen_later(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let invoice = sandbox.invoice("5", &json!({})).await;
    on_invoice(&sandbox, &invoice, "mark_paid", cash()).await.ok();
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    let transfer = unmatched(&sandbox).await;
    assert_eq!((&transfer["reason"], &transfer["invoice_id"]), (&json!("already_paid"), &invoice["id"]));
    // Its transaction is no evidence for another: it is a transfer, and can be assigned.
    let other = sandbox.invoice("5", &json!({})).await;
    let mut by_tx = cash();
    by_tx["evidence"] = json!({"tx": transfer["tx_hash"]});
    let refused = on_invoice(&sandbox, &other, "mark_paid", by_tx).await;
    assert_eq!(refused.body["transfer_id"], transfer["id"]);
    assert_eq!(refused.problem(409), "/problems/transaction_seen");
    on_transfer(&sandbox, &transfer, "assign", json!({"invoice_id": other["id"]})).await.ok();
    let first = sandbox.shop.get_invoice(&invoice).await;
    assert_eq!(first["credited_amount"], first["payable_amount"], "{first}");
    sandbox.shop.delivered().await;
}

async fn deadlines(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let invoice = sandbox.invoice("5", &json!({"expires_in_s": 60})).await;
    assert_eq!(
        on_invoice(&sandbox, &invoice, "reopen", json!({})).await.problem(409),
        "/problems/invoice_closed"
    );
    let longer =
        on_invoice(&sandbox, &invoice, "extend", json!({"expires_in_s": 90, "why": "asked"})).await.ok();
    assert!(text(&longer["expires_at"]) > text(&invoice["expires_at"]), "{longer}");
    let shorter = on_invoice(&sandbox, &invoice, "extend", json!({"expires_in_s": 60})).await;
    assert_eq!(shorter.problem(400), "/problems/deadline_refused");

    let cancelled = sandbox.invoice("5", &json!({})).await;
    on_invoice(&sandbox, &cancelled, "cancel", json!({})).await.ok();
    assert_eq!(
        on_invoice(&sandbox, &cancelled, "extend", json!({"expires_in_s": 9000})).await.problem(409),
        "/problems/invoice_closed"
    );
    let reopened = on_invoice(&sandbox, &cancelled, "reopen", json!({})).await.ok();
    assert_eq!(
        (&reopened["status"], &reopened["payable_amount"]),
        (&json!("new"), &cancelled["payable_amount"])
    );
    sandbox.pay(std::slice::from_ref(&reopened)).await;
    let paid = sandbox.shop.until(&cancelled, "paid").await;
    assert_eq!(paid["exception"], "none", "{paid}");
    let said = |kind: &str, by: &str| (kind.to_owned(), by.to_owned());
    let mut told = told(&sandbox, &cancelled).await;
    told.truncate(2);
    assert_eq!(told, [said("invoice.cancelled", "-"), said("invoice.reopened", "reopen")]);
    assert_eq!(
        on_invoice(&sandbox, &cancelled, "reopen", json!({})).await.problem(409),
        "/problems/invoice_closed"
    );

    // The hold goes with the deadline: as long after it as before.
    let held = "SELECT CAST(h.until - i.expires_at AS TEXT) FROM hold h JOIN invoice i ON i.id = h.invoice_id
                WHERE i.status = 'new'";
    assert_eq!(sandbox.shop.database.value(held).await.as_deref(), Some("86400000"));
    // Two days later its amount may be another's.
    let gone = sandbox.invoice("5", &json!({})).await;
    on_invoice(&sandbox, &gone, "cancel", json!({})).await.ok();
    sandbox.shop.kassa.kill();
    sandbox.shop.kassa.spawn(&[("KASSA_CLOCK_AHEAD_MS", "172800000")]);
    sandbox.shop.kassa.ready().await;
    let held = format!("SELECT CAST(COUNT(*) AS TEXT) FROM hold WHERE invoice_id = '{}'", text(&gone["id"]));
    eventually("the end of its hold", || async {
        if sandbox.shop.database.number(&held).await == 0 { Ok(()) } else { Err("held".to_owned()) }
    })
    .await;
    assert_eq!(on_invoice(&sandbox, &gone, "reopen", json!({})).await.problem(409), "/problems/held_no_more");
    assert_eq!(sandbox.shop.get_invoice(&gone).await["status"], "cancelled");
    sandbox.shop.delivered().await;
}

async fn orders(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let order = json!({"order_id": "A-1", "expires_in_s": 60});
    let first = sandbox.invoice("5", &order).await;
    let mut again = sandbox.shop.order("USDT", "5");
    again["order_id"] = json!("A-1");
    assert_eq!(
        sandbox.shop.api().post("/v1/invoices", &again).await.problem(409),
        "/problems/order_id_taken"
    );
    // The sandbox's blocks come when a deadline has passed; its clock is set past it.
    sandbox.shop.kassa.kill();
    sandbox.shop.kassa.spawn(&[("KASSA_CLOCK_AHEAD_MS", "120000")]);
    sandbox.shop.kassa.ready().await;
    sandbox.shop.until(&first, "expired").await;
    let second = sandbox.shop.api().post("/v1/invoices", &again).await.ok();
    let refused = on_invoice(&sandbox, &first, "reopen", json!({})).await;
    assert_eq!(refused.body["invoice_id"], second["id"]);
    assert_eq!(refused.problem(409), "/problems/order_id_taken");
    on_invoice(&sandbox, &second, "cancel", json!({})).await.ok();
    on_invoice(&sandbox, &first, "reopen", json!({})).await.ok();
    assert_eq!(
        sandbox.shop.api().post("/v1/invoices", &again).await.problem(409),
        "/problems/order_id_taken"
    );
    sandbox.pay(std::slice::from_ref(&first)).await;
    sandbox.shop.until(&first, "paid").await;
    // Paid is paid: the order is not asked for a second time.
    assert_eq!(
        sandbox.shop.api().post("/v1/invoices", &again).await.problem(409),
        "/problems/order_id_taken"
    );
    assert_eq!(
        on_invoice(&sandbox, &second, "reopen", json!({})).await.problem(409),
        "/problems/order_id_taken"
    );
    let of_order = list(&sandbox.shop.api().get("/v1/invoices?order_id=A-1").await.ok());
    assert_eq!(of_order.len(), 2);
    sandbox.shop.delivered().await;
}

async fn addresses(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let shop = &sandbox.shop;
    let old = list(&shop.api().get("/v1/receive_addresses").await.ok()).remove(0);
    let before = sandbox.invoice("5", &json!({})).await;
    let fresh = json!({"network": "sandbox", "address": sandbox.address("the other").await});
    let refused = shop.api().post("/v1/receive_addresses", &fresh).await;
    assert_eq!(refused.problem(409), "/problems/address_taken");
    let retired = act(&sandbox, "receive_addresses", &old, "retire", json!({"why": "a typo"})).await.ok();
    assert!(retired["retired_at"].is_string(), "{retired}");
    let twice = act(&sandbox, "receive_addresses", &old, "retire", json!({})).await;
    assert_eq!(twice.problem(409), "/problems/address_state");
    let without = shop.api().post("/v1/invoices", &shop.order("USDT", "5")).await;
    assert_eq!(without.problem(422), "/problems/address_missing");
    let new = shop.api().post("/v1/receive_addresses", &fresh).await.ok();
    let after = sandbox.invoice("5", &json!({})).await;
    assert_eq!(after["destination_address"], new["address"]);
    // Payers who were told of the old one still pay.
    assert_eq!(before["destination_address"], old["address"]);
    sandbox.pay(&[before.clone(), after.clone()]).await;
    shop.until(&before, "paid").await;
    shop.until(&after, "paid").await;

    let back = act(&sandbox, "receive_addresses", &old, "unretire", json!({})).await;
    assert_eq!(back.problem(409), "/problems/address_taken");
    act(&sandbox, "receive_addresses", &new, "retire", json!({})).await.ok();
    act(&sandbox, "receive_addresses", &old, "unretire", json!({})).await.ok();
    assert_eq!(sandbox.invoice("5", &json!({})).await["destination_address"], old["address"]);
    assert_eq!(kinds(&sandbox, "").await, ["unretire", "retire", "retire"]);

    // A customer gets another address under the same name.
    let first = shop.customer("c-1", &sandbox.address("a typo").await).await;
    act(&sandbox, "receive_addresses", &first, "retire", json!({})).await.ok();
    let second = shop.customer("c-1", &sandbox.address("the right one").await).await;
    assert_ne!(first["id"], second["id"]);
    shop.delivered().await;
}

async fn bad_input(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let invoice = sandbox.invoice("5", &json!({})).await;
    let long = "x".repeat(501);
    let cases = [
        ("mark_paid", json!({}), "field_missing"),
        ("mark_paid", json!({"why": "x", "evidence": {}}), "field_missing"),
        ("mark_paid", json!({"why": long, "evidence": {"text": "x"}}), "field_malformed"),
        ("mark_paid", json!({"why": "x", "evidence": {"text": long}}), "field_malformed"),
        ("mark_paid", json!({"why": "x", "evidence": {"tx": "a b"}}), "field_malformed"),
        ("mark_paid", json!({"why": "x", "evidence": {"text": "x"}, "amount": "-1"}), "amount_malformed"),
        (
            "mark_paid",
            json!({"why": "x", "evidence": {"text": "x"}, "amount": "0.00000001"}),
            "amount_too_many_decimals",
        ),
        ("extend", json!({}), "field_missing"),
        ("extend", json!({"expires_in_s": 59}), "deadline_refused"),
        ("extend", json!({"expires_in_s": 2_592_001}), "deadline_refused"),
        ("extend", json!({"expires_at": "1970-01-01T00:00:00Z"}), "deadline_refused"),
        ("extend", json!({"expires_at": "2090-01-01T00:00:00Z"}), "deadline_refused"),
        ("extend", json!({"expires_in_s": 600, "expires_at": "2090-01-01T00:00:00Z"}), "deadline_refused"),
        ("unmark", json!({"why": long}), "field_malformed"),
    ];
    for (action, body, kind) in cases {
        let answer = on_invoice(&sandbox, &invoice, action, body.clone()).await;
        assert_eq!(answer.body["type"], format!("/problems/{kind}"), "{action} {body}: {answer:?}");
        assert_eq!(answer.status, 400, "{action} {body}");
    }
    let filter = sandbox.shop.api().get("/v1/corrections?invoice_id=a&transfer_id=b").await;
    assert_eq!(filter.problem(400), "/problems/query_malformed");
    let seen = sandbox.shop.get_invoice(&invoice).await;
    assert_eq!(
        (&seen["status"], &seen["sequence"], &seen["expires_at"]),
        (&json!("new"), &json!(0), &invoice["expires_at"])
    );
    assert!(kinds(&sandbox, "").await.is_empty());
    sandbox.shop.delivered().await;
}

async fn too_much(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let invoice = sandbox.invoice("5", &json!({})).await;
    sandbox.send(1_000_000).await;
    let transfer = unmatched(&sandbox).await;
    on_transfer(&sandbox, &transfer, "assign", json!({"invoice_id": invoice["id"]})).await.ok();
    eventually("the credit", || async {
        let seen = sandbox.shop.get_invoice(&invoice).await;
        if seen["credited_amount_units"] == "1000000" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    // The largest amount that there is can be written, and with what was credited no longer be counted.
    let mut most = cash();
    most["amount"] = json!((u128::MAX / 1_000_000).to_string());
    let refused = on_invoice(&sandbox, &invoice, "mark_paid", most.clone()).await;
    assert_eq!(refused.body["field"], "amount");
    assert_eq!(refused.problem(400), "/problems/amount_too_large");
    most["amount"] = json!(format!("{}0", u128::MAX));
    let refused = on_invoice(&sandbox, &invoice, "mark_paid", most).await;
    assert_eq!(refused.problem(400), "/problems/amount_too_large");
    assert_eq!(sandbox.shop.get_invoice(&invoice).await["credited_amount_units"], "1000000");
    assert_eq!(kinds(&sandbox, "").await, ["assign"]);
    sandbox.shop.delivered().await;
}
