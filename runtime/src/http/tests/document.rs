//! The OpenAPI document and its page.

use http::Method;
use serde_json::Value;

use super::kit::{Api, request};
use crate::http::document;

/// `KASSA_UPDATE=1 cargo test` writes the snapshot anew.
#[test]
fn the_snapshot_is_what_the_code_makes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("KASSA_UPDATE").is_some() {
        std::fs::write(file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        kept == made,
        "runtime/openapi.json is not what the code makes: run this test with KASSA_UPDATE=1"
    );
}

#[test]
fn every_operation_is_complete() {
    let document: Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{at} has no summary");
            assert!(operation["tags"][0].is_string(), "{at} has no tag");
            assert!(operation["responses"]["default"].is_object(), "{at} has no problem");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{at}: operationId twice"
            );
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                assert!(
                    parameters.iter().any(|one| one["name"] == name && one["in"] == "path"),
                    "{at}: {name}"
                );
            }
            let is_post = method == "post";
            assert_eq!(parameters.iter().any(|one| one["name"] == "Idempotency-Key"), is_post, "{at}");
        }
    }
    // Words stand there as they stand in answers.
    let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    assert_eq!(words("KeyMode"), serde_json::json!(["operator", "live", "test"]));
    assert_eq!(words("HookOutcome"), serde_json::json!(["done", "retry", "reject", "failed"]));
    // Two types of one name would silently share a description.
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let bare =
            ["Asset", "Exception", "Health", "Kind", "Manifest", "Mode", "Reason", "State", "Status", "Tag"];
        assert!(!bare.contains(&name.as_str()), "{name}: give it a fuller name with #[schema(as = …)]");
    }
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"][reference].is_object(), "{reference} is not described");
    }
}

#[tokio::test]
async fn both_are_served_and_the_page_needs_nothing_else() {
    let api = Api::new().await;
    let answer = api.send(request(Method::GET, "/openapi.json", "")).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.body["paths"]["/v1/invoices"].is_object());
    let page = api.send(request(Method::GET, "/docs", "")).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let text = page.body.as_str().unwrap();
    assert!(!text.contains("http://") && !text.contains("https://"), "the page loads from elsewhere");
    assert!(!text.contains("style=\"") && !text.contains("onclick=\""), "what its policy would refuse");
}
