//! A walk over every route of the document: nobody gets in without a key, and nobody reaches what is another's.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::kit::{Api, request, with};
use crate::{flow::supervise, host::tests::hook_guest::HookGuest, http::document};

/// Routes without a key.
const PUBLIC: [&str; 2] = ["GET /health", "GET /ready"];

/// The route that both merchants and operators take.
const SHARED: &str = "POST /v1/sandbox/{network}";

struct Route {
    method: Method,
    path: String,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn is_operators(&self) -> bool {
        self.path.starts_with("/v1/operator/") || self.path == "/metrics"
    }
}

fn routes() -> Vec<Route> {
    let document = document();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.push(Route { method: method.to_uppercase().parse().unwrap(), path: path.clone() });
        }
    }
    assert!(routes.len() > 40);
    routes
}

/// The route with a well-formed id of nothing.
fn with_some_id(path: &str) -> String {
    let kinds = [
        ("api_keys", "key"),
        ("deliveries", "dlv"),
        ("endpoints", "ep"),
        ("events", "evt"),
        ("hooks", "hook"),
        ("hook_runs", "run"),
        ("invoices", "inv"),
        ("merchants", "mer"),
        ("payments", "pay"),
        ("receive_addresses", "adr"),
        ("transfers", "trf"),
        ("upstreams", "ups"),
    ];
    let prefix =
        kinds.iter().find(|(word, _)| path.contains(&format!("/{word}/{{id}}"))).map_or("x", |one| one.1);
    path.replace("{id}", &format!("{prefix}_01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        .replace("{name}", "sandbox")
        .replace("{network}", "sandbox")
        .replace("{key}", "key")
        .replace("{version_id}", "hkv_01ARZ3NDEKTSV4RRFFQ69G5FAV")
}

#[tokio::test]
async fn every_route_wants_a_key() {
    let api = Api::new().await;
    let mut open = Vec::new();
    for route in routes() {
        let answer = api.send(request(route.method.clone(), &with_some_id(&route.path), "{}")).await;
        if answer.status == StatusCode::UNAUTHORIZED {
            assert_eq!(answer.problem(), "key_missing", "{}", route.name());
        } else {
            open.push(route.name());
        }
    }
    assert_eq!(open, PUBLIC);
}

#[tokio::test]
async fn every_route_wants_a_key_of_its_side() {
    let api = Api::new().await;
    let (_, merchant) = api.merchant_with_key("Shop").await;
    for route in routes().iter().filter(|route| !PUBLIC.contains(&route.name().as_str())) {
        let (key, expected) = if route.is_operators() {
            (&merchant, "operator_only")
        } else {
            (&api.operator, "merchant_only")
        };
        let request = with(request(route.method.clone(), &with_some_id(&route.path), "{}"), "x-api-key", key);
        // The chain that all merchants share is the operator's as well.
        let expected = if route.name() == SHARED { "simulation_refused" } else { expected };
        assert_eq!(api.send(request).await.problem(), expected, "{}", route.name());
    }
}

#[tokio::test]
async fn no_route_takes_a_list_for_an_object() {
    let api = Api::new().await;
    let (_, merchant) = api.merchant_with_key("Shop").await;
    let mut of_another_kind = BTreeMap::new();
    for route in routes().iter().filter(|route| route.method != Method::GET) {
        let key = if route.is_operators() { &api.operator } else { &merchant };
        for body in ["[]", "[null]", r#"["a",[1,2,"review",3],true,{},[],null,1,"b"]"#] {
            let request =
                with(request(route.method.clone(), &with_some_id(&route.path), body), "x-api-key", key);
            let answer = api.send(request).await;
            if answer.problem() != "field_malformed" {
                of_another_kind.insert(route.name(), answer.problem().to_owned());
            }
        }
    }
    // What reads no body, or another one, or any JSON.
    let expected = [
        ("DELETE /v1/operator/rescans/{id}", "not_found"),
        ("DELETE /v1/operator/upstreams/{id}", "not_found"),
        ("POST /v1/hooks", "content_type_unsupported"),
        ("POST /v1/hooks/validate", "content_type_unsupported"),
        ("POST /v1/operator/plugins", "content_type_unsupported"),
        ("PUT /v1/hooks/{id}/settings", "settings_refused"),
    ];
    let expected = expected.map(|(route, problem)| (route.to_owned(), problem.to_owned()));
    assert_eq!(of_another_kind, BTreeMap::from(expected));
}

/// One object of each kind that belongs to a merchant in test mode, by the name of its path parameter.
async fn belongings(api: &Api, key: &str) -> BTreeMap<&'static str, String> {
    let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
    let network = api.app.networks.get("sandbox").unwrap();
    let address = api.app.host.derive_address(&network, "sbxpub", 7).await.unwrap().unwrap().text;
    let wanted = json!({"network": "sandbox", "address": address});
    let receive_address = id(&api.post(key, "/v1/receive_addresses", wanted).await.ok());
    let wanted = json!({"title": "t", "payable_network": "sandbox", "payable_asset": "USDT", "amount": "5"});
    let invoice = api.post(key, "/v1/invoices", wanted).await.ok();
    let endpoint = id(&api.post(key, "/v1/endpoints", json!({"url": "https://kassa.invalid/"})).await.ok());
    let tried = api.post(key, &format!("/v1/endpoints/{endpoint}/test"), json!({})).await.ok();
    let hook = api.upload_hook(key, &HookGuest::new()).await.ok()["hook"]["id"].as_str().unwrap().to_owned();
    // One transfer that pays the invoice, and one that pays nothing.
    for units in [invoice["payable_amount_units"].as_str().unwrap(), "7"] {
        let action = json!({"do": "transfer", "to": address, "asset": "usdt", "amount": units});
        api.post(key, "/v1/sandbox/sandbox", action).await.ok();
    }
    let unmatched = seen(api, key, "/v1/transfers?state=unmatched").await;
    let payment = seen(api, key, "/v1/payments").await;
    let run = seen(api, key, "/v1/hook_runs").await;
    BTreeMap::from([
        ("deliveries", tried["delivery_id"].as_str().unwrap().to_owned()),
        ("endpoints", endpoint),
        ("events", tried["event_id"].as_str().unwrap().to_owned()),
        ("hooks", hook),
        ("hook_runs", run),
        ("invoices", id(&invoice)),
        ("payments", payment),
        ("receive_addresses", receive_address),
        ("transfers", unmatched),
    ])
}

/// Waits for the first object in a list. Returns its id.
async fn seen(api: &Api, key: &str, path: &str) -> String {
    for _ in 0..600 {
        let list = api.get(key, path).await.ok();
        if let Some(id) = list["data"][0]["id"].as_str() {
            return id.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{path} stays empty")
}

#[tokio::test]
async fn nothing_of_another_merchant_or_mode_is_found() {
    for api in Api::all().await {
        let stop = CancellationToken::new();
        let workers = tokio::spawn(supervise::run(api.app.app.clone(), stop.clone()));
        let owner = api.merchant("Owner").await;
        let (_, owner_test) = api.key(&owner, "test").await;
        let (_, owner_live) = api.key(&owner, "live").await;
        let other = api.merchant("Other").await;
        let (_, other_test) = api.key(&other, "test").await;
        // The network starts at its first block: what was there before is not read.
        for _ in 0..200 {
            let network = api.get(&api.operator, "/v1/operator/networks/sandbox").await.ok();
            if network["state"].is_object() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let belongings = belongings(&api, &owner_test).await;

        for route in routes().iter().filter(|route| !route.path.starts_with("/v1/operator/")) {
            if let Some((before, _)) = route.path.split_once("/{id}") {
                let kind = before.rsplit('/').next().unwrap();
                let id = belongings.get(kind).unwrap_or_else(|| panic!("make one of {kind} above"));
                let path = with_some_id(&route.path.replace("{id}", id));
                let body = if path.ends_with("/assign") {
                    json!({"invoice_id": belongings["invoices"]})
                } else if path.starts_with("/v1/endpoints/") && path.ends_with("/resend") {
                    json!({"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"})
                } else if path.ends_with("/mark_paid") {
                    json!({"why": "cash", "evidence": {"text": "a receipt"}})
                } else if path.ends_with("/extend") {
                    json!({"expires_in_s": 7200})
                } else if path.ends_with("/activate") || path.ends_with("/replay") {
                    json!({"version_id": "hkv_01ARZ3NDEKTSV4RRFFQ69G5FAV"})
                } else if route.method == Method::PUT && path.contains("/secrets/") {
                    json!({"value": "x"})
                } else if route.method == Method::PUT && path.contains("/storage/") {
                    json!({"text": "x"})
                } else {
                    json!({})
                };
                for key in [&other_test, &owner_live] {
                    let answer = api.call(key, route.method.clone(), &path, body.clone()).await;
                    assert_eq!(answer.problem(), "not_found", "{}", route.name());
                }
            } else if route.method == Method::GET && route.path.starts_with("/v1/") {
                for key in [&other_test, &owner_live] {
                    let text = api.get(key, &route.path).await.ok().to_string();
                    for id in belongings.values() {
                        assert!(!text.contains(id.as_str()), "{} tells of {id}", route.name());
                    }
                }
            }
        }
        // They are there all the same, for their owner.
        for (kind, id) in &belongings {
            api.get(&owner_test, &format!("/v1/{kind}/{id}")).await.ok();
        }
        stop.cancel();
        workers.await.unwrap();
    }
}
