use super::*;
use hmac::{Hmac, KeyInit, Mac};
use kassa_sdk::hook::testing::{Scripted, answer, context, paid};
use kassa_sdk::http::{HttpError, Response, Target};
use kassa_sdk::storage::StorageError;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::time::{SystemTime, UNIX_EPOCH};

const KEY: &[u8] = b"a key that only the shop and its API know";

fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    assert_eq!(algorithm, "HMAC-SHA256");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn host<const N: usize>(answers: [Result<Response, HttpError>; N]) -> Scripted {
    Scripted { sign: Some(sign), ..Scripted::answering(answers) }
}

fn settings() -> Value {
    json!({"api_url": "https://game.example/credits", "credits_per_unit": 10})
}

/// An invoice for the player `bob`.
fn run(host: &Scripted, fields: &Value) -> Outcome {
    let mut invoice = json!({"meta": {"player": "bob"}});
    for (field, value) in fields.as_object().unwrap() {
        invoice[field] = value.clone();
    }
    fulfill(host, &paid(invoice), &context(&settings())).into()
}

#[test]
fn the_call_says_who_gets_what() {
    let host = host([answer(200, "")]);
    assert_eq!(run(&host, &json!({})), Outcome::Done("125 credits to bob".into()));
    assert_eq!(
        host.bodies(),
        [json!({"run": "run_1", "invoice_id": "inv_1", "order_id": "A-7", "player": "bob", "credits": 125})]
    );
    assert_eq!(host.sent.borrow()[0].target, Target::Url("https://game.example/credits".into()));
    assert_eq!(host.storage.borrow()["credited/inv_1"], b"125");
}

#[test]
fn an_official_verifier_accepts_the_signature() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let context = Context { now_ms: u64::try_from(now.as_millis()).unwrap(), ..context(&settings()) };
    let host = host([answer(200, "")]);
    fulfill(&host, &paid(json!({"meta": {"player": "bob — ✓"}})), &context).unwrap();
    let request = host.sent.borrow()[0].clone();
    let mut headers = http::HeaderMap::new();
    for (name, value) in &request.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    assert_eq!(headers["webhook-id"], "run_1");
    let verifier = Webhook::new(&format!("whsec_{}", STANDARD.encode(KEY))).unwrap();
    verifier.verify(&request.body, &headers).unwrap();
    let mut other = request.body;
    other.push(b' ');
    verifier.verify(&other, &headers).unwrap_err();
}

#[test]
fn credits_are_whole_and_exact() {
    for (fields, credits) in [
        (json!({"credited_amount": "0.1"}), 1),
        (json!({"credited_amount": "0.199999999999999999"}), 1),
        (json!({"credited_amount": "900719925474099.1"}), 9_007_199_254_740_991u64),
        (json!({"meta": {"player": "bob", "credits": 500}}), 500),
        (json!({"meta": {"player": "bob", "credits": "500"}}), 500),
        (json!({"meta": {"player": 7, "credits": 1}, "credited_amount": "x"}), 1),
    ] {
        let host = host([answer(204, "")]);
        assert!(matches!(run(&host, &fields), Outcome::Done(_)));
        assert_eq!(host.bodies()[0]["credits"], credits);
    }
    let of_meta = |credits: Value| json!({"meta": {"player": "bob", "credits": credits}});
    for fields in [
        json!({"credited_amount": "0.09"}),
        json!({"credited_amount": "0"}),
        json!({"credited_amount": "-5"}),
        json!({"credited_amount": "1e9"}),
        json!({"credited_amount": ""}),
        json!({"credited_amount": "900719925474099.2"}),
        json!({"credited_amount": "340282366920938463463374607431768211455"}),
        json!({"credited_amount": "9".repeat(100_000)}),
        of_meta(json!(0)),
        of_meta(json!(-5)),
        of_meta(json!(5.5)),
        of_meta(json!("5.5")),
        of_meta(json!("")),
        of_meta(json!([5])),
        of_meta(json!("many")),
        of_meta(json!(u64::MAX)),
    ] {
        let host = host([]);
        let Outcome::Reject(why) = run(&host, &fields) else { panic!() };
        assert!(why.contains("whole number") && why.len() < 200, "{why}");
        assert!(host.sent.borrow().is_empty());
    }
}

#[test]
fn without_a_rate_the_invoice_has_to_say() {
    let host = host([answer(200, "")]);
    let context = context(&json!({"api_url": "https://game.example"}));
    let event = paid(json!({"meta": {"player": "bob"}}));
    assert!(
        matches!(fulfill(&host, &event, &context), Err(Outcome::Reject(why)) if why.contains("credits_per_unit"))
    );
    let event = paid(json!({"meta": {"player": "bob", "credits": 5}}));
    assert_eq!(fulfill(&host, &event, &context), Ok("5 credits to bob".into()));
}

#[test]
fn without_a_player_the_run_is_rejected() {
    for meta in [
        json!(null),
        json!({}),
        json!("bob"),
        json!({"player": ""}),
        json!({"player": ["bob"]}),
        json!({"player": 1.5}),
        json!({"player": "x".repeat(257)}),
    ] {
        let host = host([]);
        let Outcome::Reject(why) = run(&host, &json!({ "meta": meta })) else { panic!() };
        assert!(why.contains("meta.player"), "{why}");
        assert!(host.sent.borrow().is_empty());
    }
}

#[test]
fn more_money_means_the_rest_of_the_credits() {
    let host = host([answer(200, ""), answer(200, "")]);
    assert_eq!(run(&host, &json!({})), Outcome::Done("125 credits to bob".into()));
    // Paid again, after a reorg: nothing more. Overpaid: the difference.
    assert_eq!(run(&host, &json!({})), Outcome::Done("already credited 125 to bob".into()));
    assert_eq!(run(&host, &json!({"credited_amount": "20"})), Outcome::Done("75 credits to bob".into()));
    assert_eq!(run(&host, &json!({})), Outcome::Done("already credited 200 to bob".into()));
    let credits: Vec<Value> = host.bodies().iter().map(|body| body["credits"].clone()).collect();
    assert_eq!(credits, [125, 75]);
}

#[test]
fn what_the_api_answers_decides() {
    let after = |given| {
        let host = host([given]);
        let outcome = run(&host, &json!({}));
        (outcome, host.storage.borrow().contains_key("credited/inv_1"))
    };
    assert_eq!(after(answer(409, "")), (Outcome::Done("already credited".into()), true));
    assert!(
        matches!(after(answer(422, "unknown player")), (Outcome::Reject(why), false) if why.contains("unknown player"))
    );
    for passing in [
        answer(408, ""),
        answer(425, ""),
        answer(429, ""),
        answer(301, ""),
        answer(500, ""),
        Err(HttpError::Timeout),
        Err(HttpError::Connection("reset".into())),
    ] {
        assert!(matches!(after(passing), (Outcome::Retry((30, _)), false)));
    }
}

#[test]
fn a_try_that_could_not_be_remembered_is_made_again_alike() {
    let host = host([answer(200, ""), answer(409, "")]);
    host.sets_left.set(Some(0));
    assert_eq!(run(&host, &json!({})), StorageError::Quota("full".into()).into());
    host.sets_left.set(None);
    assert_eq!(run(&host, &json!({})), Outcome::Done("already credited".into()));
    let bodies = host.bodies();
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn without_its_secret_nothing_is_sent() {
    let host = Scripted::default();
    let Outcome::Retry((300, why)) = run(&host, &json!({})) else { panic!() };
    assert!(why.contains("signing_key"), "{why}");
    assert!(host.sent.borrow().is_empty());
}

#[test]
fn what_is_no_invoice_or_no_settings_is_refused() {
    let host = host([]);
    let event = Event { payload: r#"{"data":7}"#.into(), ..paid(json!({})) };
    assert!(matches!(fulfill(&host, &event, &context(&settings())), Err(Outcome::Reject(_))));
    let event = paid(json!({"meta": {"player": "bob"}}));
    for wrong in [json!({}), json!({"api_url": 7}), json!({"api_url": "x", "credits_per_unit": 1.5})] {
        assert!(matches!(fulfill(&host, &event, &context(&wrong)), Err(Outcome::Retry((300, _)))));
    }
}
