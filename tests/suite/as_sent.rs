//! What a merchant hands over is given back as the text that came, wherever it turns up again.

use kassa_tests::{Database, Receiver, Sandbox, Source, Suite, text};
use reqwest::Method;
use serde_json::json;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("as_sent::meta_stays_the_text_that_came", meta);
    suite.both("as_sent::settings_of_a_hook_stay_the_text_that_came", settings);
}

/// What values would change: a number beyond 64 bits, the zeros of a price, the order of keys, spaces, escapes.
const META: &str =
    r#"{"z":18446744073709551616, "price":1.10,"e":1E2, "a" : [ -0.0,1.0 ],"\u006b\u00e9y":"\/"}"#;

/// Whether this body carries the text under this name.
#[track_caller]
fn carries(body: &str, name: &str, raw: &str) {
    assert!(body.contains(&format!("\"{name}\":{raw}")), "{raw} is not in {body}");
}

async fn meta(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let api = sandbox.shop.api();
    let order = |meta: &str| {
        let order = sandbox.shop.order("USDT", "5").to_string();
        format!("{{\"meta\":{meta},{}", &order[1..])
    };
    let once = [("idempotency-key", "as-sent")];
    let post = || api.send(Method::POST, "/v1/invoices", &once, Some(order(META).into_bytes()));
    let made = post().await;
    carries(&made.text, "meta", META);
    assert_eq!(post().await.text(), made.text, "and when it is repeated");
    let invoice = made.ok();
    let id = text(&invoice["id"]);
    for path in [format!("/v1/invoices/{id}"), "/v1/invoices".to_owned()] {
        carries(&api.get(&path).await.text(), "meta", META);
    }
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    let hook = sandbox.shop.receiver.wait_for("invoice.paid", 1).await.remove(0);
    sandbox.shop.verify_all(std::slice::from_ref(&hook));
    carries(&hook.body, "meta", META);
    let event = format!("/v1/events/{}", hook.header("webhook-id").unwrap_or_default());
    for path in [event, format!("/v1/events?invoice_id={id}")] {
        carries(&api.get(&path).await.text(), "payload", &hook.body);
    }
    carries(
        &api.post(&format!("/v1/invoices/{}/cancel", second(&sandbox).await), &json!({})).await.text(),
        "meta",
        META,
    );

    // The same for an address.
    let address = format!(
        "{{\"network\":\"sandbox\",\"unique_id\":\"u\",\"address\":\"{}\",\"meta\":{META}}}",
        sandbox.address("a customer").await
    );
    let made = api.post_raw("/v1/receive_addresses", address).await;
    carries(&made.text, "meta", META);
    let path = format!("/v1/receive_addresses/{}", text(&made.ok()["id"]));
    carries(&api.get(&path).await.text(), "meta", META);
    carries(&api.get("/v1/receive_addresses").await.text(), "meta", META);

    // The limit is on the text, and what is no JSON is none here either.
    let spaces = |count: usize| format!("[{}]", " ".repeat(count));
    api.post_raw("/v1/invoices", order(&spaces(4094))).await.ok();
    let refused = api.post_raw("/v1/invoices", order(&spaces(4095))).await;
    assert_eq!(
        (refused.problem(400).as_str(), &refused.body["field"]),
        ("/problems/field_malformed", &json!("meta"))
    );
    for (odd, kind) in [
        ("{\"a\":01}", "json_malformed"),
        ("{\"a\":1,\"a\":2}", "json_duplicate_key"),
        ("\"\\u0000\"", "json_text_refused"),
        (&format!("{}{}", "[".repeat(32), "]".repeat(32)), "json_too_deep"),
    ] {
        assert_eq!(
            api.post_raw("/v1/invoices", order(odd)).await.problem(400),
            format!("/problems/{kind}"),
            "{odd}"
        );
    }
    let none = api.post_raw("/v1/invoices", order("null")).await;
    carries(&none.text, "meta", "null");
}

/// An invoice that nothing is paid to.
async fn second(sandbox: &Sandbox) -> String {
    let order = sandbox.shop.order("USDT", "6").to_string();
    let made =
        sandbox.shop.api().post_raw("/v1/invoices", format!("{{\"meta\":{META},{}", &order[1..])).await;
    text(&made.ok()["id"])
}

async fn settings(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let game = Receiver::start().await;
    let (api, hooks) = (sandbox.shop.api(), sandbox.hooks());
    let (hook, version) = hooks.upload(Source::Rust("game-credits"), false).await;
    let raw = format!("{{ \"credits_per_unit\":1e1, \"api_url\" : \"{}\"}}", game.url());
    let put = api
        .send(Method::PUT, &format!("/v1/hooks/{hook}/settings"), &[], Some(raw.clone().into_bytes()))
        .await;
    carries(&put.text, "settings", &raw);
    for path in [format!("/v1/hooks/{hook}"), "/v1/hooks".to_owned()] {
        carries(&api.get(&path).await.text(), "settings", &raw);
    }
    hooks
        .put(&hook, "secrets/signing_key", &json!({"value": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}))
        .await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    // What a run was given is shown as it was given.
    let raw = "{\"player\":\"ada\", \"n\":18446744073709551616,\"b\":1.10}";
    let order = sandbox.shop.order("USDT", "5").to_string();
    let made = api.post_raw("/v1/invoices", format!("{{\"meta\":{raw},{}", &order[1..])).await.ok();
    sandbox.pay(std::slice::from_ref(&made)).await;
    let hook_told = sandbox.shop.receiver.wait_for("invoice.paid", 1).await.remove(0);
    let run = kassa_tests::eventually("its run", || async {
        hooks.runs(&hook).await.into_iter().next().ok_or("none".to_owned())
    })
    .await;
    carries(&api.get(&format!("/v1/hook_runs/{}", text(&run["id"]))).await.text(), "input", &hook_told.body);
}
