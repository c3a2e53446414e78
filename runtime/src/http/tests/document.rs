//! The OpenAPI document and its page.

use std::collections::HashMap;

use http::Method;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};

use super::{
    documented::{fits, resolved},
    kit::{Api, request},
};
use crate::http::{document, guarded, openapi::webhooks, public};

/// Compares the document with its snapshot, which `KASSA_UPDATE=1 cargo test` renews.
#[test]
fn the_snapshot_is_what_the_code_makes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
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
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{at} has no summary");
            let tag = &operation["tags"][0];
            let tags = document["tags"].as_array().unwrap();
            assert!(tags.iter().any(|known| known["name"] == *tag), "{at}: {tag} is not described");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let answer = resolved(&document, answer);
                assert_ne!(answer["description"].as_str().unwrap_or(""), "", "{at} {status}");
            }
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
        }
    }
    // Words stand there as they stand in answers.
    let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    assert_eq!(words("KeyMode"), json!(["operator", "live", "test"]));
    assert_eq!(words("HookOutcome"), json!(["done", "retry", "reject", "failed"]));
    let text = document.to_string();
    for reference in text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference} is not described");
    }
}

#[test]
fn a_name_describes_one_type() {
    let mut known: HashMap<&str, &RefOr<Schema>> = HashMap::new();
    let (routes, of_webhooks) = ([guarded(), public()], webhooks::schemas());
    for (name, schema) in routes.iter().flat_map(|routes| &routes.described.schemas).chain(&of_webhooks) {
        let first = known.entry(name).or_insert(schema);
        assert!(*first == schema, "{name}: two types have this name; give one a fuller name");
    }
    // These say too little of whose they are, and the next type would want the same one.
    for bare in
        ["Asset", "Exception", "Health", "Kind", "Manifest", "Mode", "Reason", "State", "Status", "Tag"]
    {
        assert!(!known.contains_key(bare), "{bare}: give it a fuller name with #[schema(as = …)]");
    }
}

#[test]
fn a_signature_says_what_an_operation_refuses() {
    let document = document();
    let slugs = |at: &str, status: &str| {
        let (method, path) = at.split_once(' ').unwrap();
        let answer = &document["paths"][path][method]["responses"][status];
        resolved(&document, answer)["description"].as_str().unwrap_or("").to_owned()
    };
    for (at, status, slug) in [
        ("get /v1/invoices/{id}", "404", "not_found"),
        ("get /v1/invoices/{id}", "401", "key_revoked"),
        ("get /v1/invoices/{id}", "403", "merchant_only"),
        ("get /v1/operator/merchants", "403", "operator_only"),
        ("get /v1/invoices", "400", "cursor_malformed"),
        ("get /v1/invoices", "429", "rate_limited"),
        ("post /v1/invoices", "400", "field_unknown"),
        ("post /v1/invoices", "409", "order_id_taken"),
        ("post /v1/invoices", "413", "body_too_large"),
        ("post /v1/invoices", "415", "content_type_unsupported"),
        ("post /v1/invoices", "422", "idempotency_key_reused"),
        ("post /v1/invoices", "422", "asset_unknown"),
        ("post /v1/invoices", "503", "price_unavailable"),
    ] {
        assert!(slugs(at, status).contains(&format!("`{slug}`")), "{at} {status}: {slug}");
    }
    assert_eq!(slugs("get /v1/invoices/{id}", "413"), "", "a request without a body is not too large");
    assert_eq!(slugs("get /health", "401"), "", "nobody is asked for a key");
    // An Idempotency-Key stands where it is honoured.
    let honoured = |at: &str| {
        let (method, path) = at.split_once(' ').unwrap();
        let key = json!({"$ref": "#/components/parameters/Idempotency-Key"});
        document["paths"][path][method]["parameters"].as_array().is_some_and(|all| all.contains(&key))
    };
    assert!(honoured("post /v1/invoices") && honoured("put /v1/hooks/{id}/settings"));
    assert!(!honoured("post /v1/hooks/validate") && !honoured("get /v1/invoices"));
}

#[test]
fn forms_and_examples_are_those_of_the_names() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let field = |schema: &str, name: &str| schemas[schema]["properties"][name].clone();
    for (schema, name) in [("InvoiceView", "id"), ("PaymentView", "invoice_id"), ("RunView", "event_id")] {
        let pattern = field(schema, name)["pattern"].as_str().unwrap().to_owned();
        assert!(pattern.starts_with("^[a-z]+_"), "{schema}.{name}: {pattern}");
    }
    assert!(field("InvoiceView", "order_id")["pattern"].is_null(), "it is the merchant's own");
    assert_eq!(field("InvoiceView", "expires_at")["format"], "date-time");
    assert!(field("InvoiceView", "payable_amount")["pattern"].is_string());
    let made = &document["paths"]["/v1/invoices"]["post"]["responses"]["201"];
    let example = &made["content"]["application/json"]["example"];
    assert_eq!(example["payable_amount"], "100.000123");
    assert_eq!(example["order_id"], Value::Null);
    let asked = &document["paths"]["/v1/invoices"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(asked["example"]["amount"], "25.00");
    assert!(asked["example"].get("base_amount_usd").is_none(), "not together with amount");
}

#[test]
fn examples_are_of_the_shape_that_they_show() {
    let document = document();
    for section in ["paths", "webhooks"] {
        for (path, item) in document[section].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap().values();
                for body in answers.chain([&operation["requestBody"]]) {
                    let json = &resolved(&document, body)["content"]["application/json"];
                    if json.is_object() {
                        fits(&json["schema"], &json["example"], &format!("the example of {method} {path}"));
                    }
                }
            }
        }
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
