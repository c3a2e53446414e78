use super::*;
use kassa_sdk::hook::testing::{Scripted, answer, context, paid};
use kassa_sdk::http::{HttpError, Target};
use serde_json::Value;

fn settings() -> Value {
    json!({"api_url": "https://mail.example/emails", "from": "Shop <shop@example.com>"})
}

fn run(host: &Scripted, settings: &Value, invoice: Value) -> Outcome {
    fulfill(host, &paid(invoice), &context(settings)).into()
}

fn buyer() -> Value {
    json!({"meta": {"email": "buyer@example.com"}})
}

#[test]
fn an_email_is_sent_to_the_buyer() {
    let host = Scripted::answering([answer(200, r#"{"id":"1"}"#)]);
    assert_eq!(run(&host, &settings(), buyer()), Outcome::Done("sent to buyer@example.com".into()));
    assert_eq!(
        host.bodies(),
        [json!({
            "from": "Shop <shop@example.com>", "to": ["buyer@example.com"], "subject": "Paid: Order 7",
            "text": "12.50 USDT were received for Order 7. Thank you.",
        })]
    );
    let request = &host.sent.borrow()[0];
    assert_eq!(request.target, Target::Url("https://mail.example/emails".into()));
    assert!(request.headers.contains(&("authorization".into(), "Bearer {secret:api_key}".into())));
}

#[test]
fn recipient_and_texts_can_be_the_merchants() {
    let mut settings = settings();
    settings["to"] = json!("books@example.com");
    settings["subject"] = json!("{order_id}: {title}");
    settings["text"] = json!("{amount}\n{asset}");
    let host = Scripted::answering([answer(202, "")]);
    let invoice = json!({"meta": {"email": "buyer@example.com"}, "title": "a\r\nBcc: x@example.com"});
    assert_eq!(run(&host, &settings, invoice), Outcome::Done("sent to books@example.com".into()));
    let body = &host.bodies()[0];
    assert_eq!(body["to"], json!(["books@example.com"]));
    assert_eq!(body["subject"], "A-7: a  Bcc: x@example.com");
    assert_eq!(body["text"], "12.50\nUSDT");
}

#[test]
fn what_is_no_address_gets_no_email() {
    let long = format!("{}@example.com", "x".repeat(243));
    for email in [
        json!("buyer"),
        json!("@"),
        json!("@example.com"),
        json!("buyer@"),
        json!("a@example.com,b@example.com"),
        json!("a@b\r\nBcc: c"),
        json!("a\0@example.com"),
        json!(long),
        json!(7),
    ] {
        let host = Scripted::default();
        let Outcome::Reject(why) = run(&host, &settings(), json!({"meta": {"email": email}})) else {
            panic!()
        };
        assert!(why.contains("no email address"), "{why}");
        assert!(host.sent.borrow().is_empty());
    }
    assert!(is_address(&long[1..]));
    for meta in [json!(null), json!({}), json!({"email": ""}), json!({"email": ["a@b.c"]}), json!("a@b.c")] {
        let Outcome::Reject(why) = run(&Scripted::default(), &settings(), json!({ "meta": meta })) else {
            panic!()
        };
        assert!(why.contains("no one to write to"), "{why}");
    }
}

#[test]
fn what_the_mail_api_answers_decides() {
    let after = |given| run(&Scripted::answering([given]), &settings(), buyer());
    assert_eq!(after(answer(409, "")), Outcome::Done("already sent".into()));
    let unverified = Outcome::reject("HTTP 403: domain is not verified");
    assert_eq!(after(answer(403, "domain is not verified")), unverified);
    for passing in [answer(429, ""), answer(500, ""), answer(307, ""), Err(HttpError::Timeout)] {
        assert!(matches!(after(passing), Outcome::Retry((30, _))));
    }
    assert!(matches!(after(Err(HttpError::Denied("secret".into()))), Outcome::Retry((300, _))));
}

#[test]
fn what_is_no_invoice_or_no_settings_is_refused() {
    let host = Scripted::default();
    let event = Event { payload: "[]".into(), ..paid(json!({})) };
    assert!(matches!(fulfill(&host, &event, &context(&settings())), Err(Outcome::Reject(_))));
    for wrong in [json!({}), json!({"api_url": "x"}), json!({"api_url": "x", "from": 7}), json!([])] {
        assert!(matches!(run(&host, &wrong, buyer()), Outcome::Retry((300, _))));
    }
    assert!(host.sent.borrow().is_empty());
}
