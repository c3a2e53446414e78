use super::*;
use kassa_sdk::hook::testing::{Scripted, answer, context, paid};
use kassa_sdk::http::{HttpError, Method, Response, Target};

const SENT: &str = r#"{"ok":true,"result":{"message_id":77}}"#;
const LINK: &str = r#"{"ok":true,"result":{"invite_link":"https://t.example/+abc"}}"#;

fn settings() -> Value {
    json!({"chat_id": "@shop"})
}

fn run(host: &Scripted, settings: &Value, invoice: Value) -> Outcome {
    fulfill(host, &paid(invoice), &context(settings)).into()
}

/// Outcome of a run to which the Bot API answers this.
fn after(answer: Result<Response, HttpError>) -> Outcome {
    run(&Scripted::answering([answer]), &settings(), json!({}))
}

fn urls(host: &Scripted) -> Vec<Target> {
    host.sent.borrow().iter().map(|request| request.target.clone()).collect()
}

fn method(name: &str) -> Target {
    Target::Url(format!("https://api.telegram.org/bot{{secret:bot_token}}/{name}"))
}

#[test]
fn a_message_is_sent() {
    let host = Scripted::answering([answer(200, SENT)]);
    assert_eq!(run(&host, &settings(), json!({})), Outcome::Done("message 77".into()));
    assert_eq!(urls(&host), [method("sendMessage")]);
    assert_eq!(host.sent.borrow()[0].method, Method::Post);
    assert_eq!(host.bodies(), [json!({"chat_id": "@shop", "text": "Paid: Order 7"})]);
    assert!(host.storage.borrow().is_empty());
}

#[test]
fn the_template_is_the_merchants() {
    let settings = json!({"chat_id": "1", "text": "{order_id} {amount} {asset}{invite}", "api_url": "https://x.example/"});
    let host = Scripted::answering([answer(200, SENT)]);
    assert!(matches!(run(&host, &settings, json!({})), Outcome::Done(_)));
    assert_eq!(urls(&host), [Target::Url("https://x.example/bot{secret:bot_token}/sendMessage".into())]);
    assert_eq!(host.bodies()[0]["text"], "A-7 12.50 USDT");
}

#[test]
fn the_chat_may_stand_in_the_invoice() {
    for (meta, chat) in [(json!("@buyer"), "@buyer"), (json!(-100_123_456_789_i64), "-100123456789")] {
        let host = Scripted::answering([answer(200, SENT)]);
        let invoice = json!({"meta": {"telegram_chat_id": meta}});
        assert!(matches!(run(&host, &json!({}), invoice.clone()), Outcome::Done(_)));
        assert_eq!(host.bodies()[0]["chat_id"], chat);
        // The settings come first.
        let host = Scripted::answering([answer(200, SENT)]);
        assert!(matches!(run(&host, &settings(), invoice), Outcome::Done(_)));
        assert_eq!(host.bodies()[0]["chat_id"], "@shop");
    }
    for meta in [json!(null), json!({}), json!({"telegram_chat_id": 1.5}), json!({"telegram_chat_id": [1]})] {
        let host = Scripted::default();
        let Outcome::Reject(why) = run(&host, &json!({}), json!({ "meta": meta })) else { panic!() };
        assert!(why.contains("chat_id in the settings"), "{why}");
        assert!(host.sent.borrow().is_empty());
    }
}

#[test]
fn an_invite_link_is_made_once_for_an_invoice() {
    let settings = json!({"chat_id": "@buyer", "invite_to": "-100", "text": "Come in: {invite}"});
    let host = Scripted::answering([answer(200, LINK), answer(500, ""), answer(200, SENT)]);
    assert!(matches!(run(&host, &settings, json!({})), Outcome::Retry((30, _))));
    assert_eq!(host.storage.borrow()["invite/inv_1"], b"https://t.example/+abc");
    assert_eq!(run(&host, &settings, json!({})), Outcome::Done("message 77".into()));
    assert_eq!(urls(&host), [method("createChatInviteLink"), method("sendMessage"), method("sendMessage")]);
    let bodies = host.bodies();
    assert_eq!(bodies[0], json!({"chat_id": "-100", "member_limit": 1, "name": "run_1"}));
    assert_eq!(bodies[2], json!({"chat_id": "@buyer", "text": "Come in: https://t.example/+abc"}));
}

#[test]
fn without_a_link_no_message_is_sent() {
    let settings = json!({"chat_id": "@buyer", "invite_to": "-100"});
    let not_allowed = r#"{"ok":false,"error_code":400,"description":"Bad Request: not enough rights"}"#;
    for (given, never) in [
        (answer(400, not_allowed), true),
        (answer(502, "<html>"), false),
        (answer(200, r#"{"ok":true,"result":{}}"#), false),
        (answer(200, r#"{"ok":true,"result":{"invite_link":7}}"#), false),
        (Err(HttpError::Timeout), false),
    ] {
        let host = Scripted::answering([given]);
        let outcome = run(&host, &settings, json!({}));
        assert_eq!(matches!(outcome, Outcome::Reject(_)), never, "{outcome:?}");
        assert!(!matches!(outcome, Outcome::Done(_)));
        assert_eq!((host.sent.borrow().len(), host.storage.borrow().len()), (1, 0));
    }
    // A link that cannot be kept is not sent: the next try would make another one.
    let host = Scripted::answering([answer(200, LINK)]);
    host.sets_left.set(Some(0));
    assert_eq!(run(&host, &settings, json!({})), Outcome::retry(300, "storage: full"));
    assert_eq!(host.sent.borrow().len(), 1);
}

#[test]
fn names_of_links_are_short_enough_for_telegram() {
    let settings = json!({"chat_id": "@buyer", "invite_to": "-100"});
    let host = Scripted::answering([answer(200, LINK), answer(200, SENT)]);
    let context = Context { run: "ü".repeat(100), ..context(&settings) };
    assert!(fulfill(&host, &paid(json!({})), &context).is_ok());
    assert_eq!(host.bodies()[0]["name"], "ü".repeat(32));
}

#[test]
fn telegram_says_what_comes_next() {
    let too_many = |parameters: &str| answer(429, &format!(r#"{{"ok":false,"parameters":{parameters}}}"#));
    let seconds = |outcome| match outcome {
        Outcome::Retry((seconds, _)) => seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds(after(too_many(r#"{"retry_after":7}"#))), 7);
    assert_eq!(seconds(after(too_many(r#"{"retry_after":0}"#))), 1);
    assert_eq!(seconds(after(too_many(r#"{"retry_after":4000000000}"#))), 86_400);
    for parameters in
        ["{}", "null", r#"{"retry_after":-1}"#, r#"{"retry_after":"7"}"#, r#"{"retry_after":1e30}"#]
    {
        assert_eq!(seconds(after(too_many(parameters))), 30, "{parameters}");
    }
    for passing in [
        answer(500, "{}"),
        answer(503, "<html>"),
        answer(302, ""),
        answer(200, r#"{"ok":false}"#),
        answer(200, "<html>"),
        answer(200, r#"{"ok":true,"result":{"message_id":"x"}}"#),
        answer(200, r#"{"ok":true}"#),
        answer(200, &"[".repeat(10_000)),
        Err(HttpError::Timeout),
        Err(HttpError::Connection("reset".into())),
    ] {
        assert_eq!(seconds(after(passing)), 30);
    }
    assert_eq!(
        after(answer(403, r#"{"ok":false,"description":"Forbidden: bot was blocked\nby the user"}"#)),
        Outcome::reject("sendMessage: HTTP 403: Forbidden: bot was blocked by the user")
    );
    assert_eq!(after(answer(404, "<html>")), Outcome::reject("sendMessage: HTTP 404: no description"));
    assert_eq!(seconds(after(Err(HttpError::Denied("no secret bot_token".into())))), 300);
}

#[test]
fn what_is_no_invoice_or_no_settings_is_refused_before_anything_is_sent() {
    let host = Scripted::default();
    let event = Event { payload: "{}".into(), ..paid(json!({})) };
    assert!(matches!(fulfill(&host, &event, &context(&settings())), Err(Outcome::Reject(_))));
    for wrong in [json!([]), json!({"chat_id": 7}), json!({"text": null}), json!("x")] {
        let Outcome::Retry((300, why)) = run(&host, &wrong, json!({})) else { panic!() };
        assert!(why.starts_with("settings: "), "{why}");
    }
    let endless = json!({"chat_id": "1", "text": "{title}".repeat(10_000)});
    assert!(matches!(run(&host, &endless, json!({})), Outcome::Reject(_)));
    assert!(host.sent.borrow().is_empty());
}
