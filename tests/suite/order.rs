//! What is told of one invoice is told in its order, to receivers and to hooks.

use kassa_tests::{Database, Receiver, Reply, Sandbox, Source, Suite, eventually, list, text};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("order::webhooks_of_an_invoice_come_one_after_the_other", webhooks);
    suite.both("order::runs_of_an_invoice_are_made_one_after_the_other", runs);
    suite.both("order::what_waits_for_a_deleted_endpoint_is_given_up", deleted);
}

/// The events of this invoice that came, by their sequence.
fn sequences(receiver: &Receiver, invoice: &Value) -> Vec<i64> {
    let hooks = receiver.got().into_iter().map(|hook| hook.invoice());
    let of_invoice = hooks.filter(|told| told["id"] == invoice["id"]);
    of_invoice.map(|told| told["sequence"].as_i64().expect("a sequence")).collect()
}

async fn webhooks(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let other = Receiver::start().await;
    sandbox.shop.add_endpoint(&other).await;
    sandbox.shop.receiver.script([Reply::Status(500)]);
    let invoice = sandbox.paid("5", &json!({})).await;
    let kinds = other.wait_for("invoice.paid", 1).await;
    assert_eq!(sequences(&other, &invoice), [1, 2], "{kinds:?}");
    let waiting = eventually("one that waits for another", || async {
        let pending = list(&sandbox.shop.api().get("/v1/deliveries?state=pending").await.ok());
        let waiting: Vec<_> =
            pending.iter().filter(|one| one["waits_for_earlier"] == true).cloned().collect();
        if waiting.len() == 1 { Ok(waiting) } else { Err(format!("{pending:?}")) }
    })
    .await;
    assert_eq!(
        (&waiting[0]["event_type"], &waiting[0]["next_attempt_at"]),
        (&json!("invoice.paid"), &json!(null))
    );
    // It waits over a kill as well.
    sandbox.shop.kassa.kill();
    kassa_tests::invariants::check(&sandbox.shop.database).await;
    assert_eq!(sequences(&sandbox.shop.receiver, &invoice), [1]);
    sandbox.shop.kassa.restart().await;
    sandbox.shop.receiver.wait_for("invoice.paid", 1).await;
    assert_eq!(sequences(&sandbox.shop.receiver, &invoice), [1, 1, 2]);
    sandbox.shop.delivered().await;
}

async fn runs(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let mail = Receiver::start().await;
    mail.script([Reply::Status(503)]);
    mail.then(Reply::Json(200, json!({"id": "m-1"})));
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(Source::Rust("email"), false).await;
    let settings = json!({
        "api_url": mail.url(), "from": "a@kassa.example", "to": "b@kassa.example", "subject": "{title}", "text": "t",
    });
    hooks.put(&hook, "settings", &settings).await;
    hooks.put(&hook, "secrets/api_key", &json!({"value": "x"})).await;
    hooks.put(&hook, "binding", &json!({"events": ["invoice.detected", "invoice.paid"]})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    sandbox.paid("3", &json!({})).await;
    let runs = eventually("a run that waits for another", || async {
        let runs = hooks.runs(&hook).await;
        let tried = runs.iter().any(|run| run["attempts"] == 1);
        if runs.len() == 2 && tried { Ok(runs) } else { Err(format!("{runs:?}")) }
    })
    .await;
    let of = |kind: &str| runs.iter().find(|run| run["event_type"] == kind).expect("its run").clone();
    let (first, second) = (of("invoice.detected"), of("invoice.paid"));
    assert_eq!((&second["waits_for_earlier"], &second["attempts"]), (&json!(true), &json!(0)), "{second}");
    assert_eq!(first["waits_for_earlier"], false);
    let again = format!("/v1/hook_runs/{}/run_again", text(&first["id"]));
    sandbox.shop.api().post(&again, &json!({})).await.ok();
    hooks.wait_for(&hook, "done", 2).await;
    let run_of = |key: &str| key.split('-').next().unwrap_or_default().to_owned();
    let calls: Vec<_> = mail.got().iter().map(|call| call.header("idempotency-key").map(run_of)).collect();
    let (first, second) = (Some(text(&first["id"])), Some(text(&second["id"])));
    assert_eq!(calls, [first.clone(), first, second]);
    sandbox.shop.delivered().await;
}

async fn deleted(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let bad = Receiver::start().await;
    bad.then(Reply::Status(500));
    let endpoint = sandbox.shop.add_endpoint(&bad).await;
    let invoice = sandbox.paid("5", &json!({})).await;
    sandbox.shop.receiver.wait_for("invoice.paid", 1).await;
    eventually("a first try", || async {
        if bad.got().is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let path = format!("/v1/endpoints/{}", text(&endpoint["id"]));
    sandbox.shop.api().delete(&path).await.ok();
    // Nothing is owed any more, and what became of it can be read.
    sandbox.shop.delivered().await;
    let path = format!("/v1/deliveries?endpoint_id={}", text(&endpoint["id"]));
    let deliveries = list(&sandbox.shop.api().get(&path).await.ok());
    assert_eq!(deliveries.len(), 2);
    for delivery in &deliveries {
        assert_eq!(
            (&delivery["state"], &delivery["why"]),
            (&json!("exhausted"), &json!("the endpoint was deleted"))
        );
    }
    assert_eq!(sequences(&bad, &invoice), [1]);
}
