//! One effect and one answer for each Idempotency-Key.

use http::Method;
use serde_json::json;

use super::kit::{Answer, Api, request, with};
use crate::db::idempotency;

const PATH: &str = "/v1/operator/merchants";

async fn post(api: &Api, path: &str, key: &str, body: &str) -> Answer {
    let request = with(request(Method::POST, path, body.to_owned()), "x-api-key", &api.operator);
    api.send(with(request, "idempotency-key", key)).await
}

async fn merchants(api: &Api) -> usize {
    api.get(&api.operator, "/v1/operator/merchants?limit=100").await.ok()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    for api in Api::all().await {
        let first = post(&api, PATH, "k1", "{\"name\":\"a\"}").await;
        assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (201, ""));
        let again = post(&api, PATH, "\"k1\"", "{\"name\":\"a\"}").await;
        assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (201, "true"));
        assert_eq!(first.body, again.body);
        // Even one space is another request: it cannot be known to mean the same.
        assert_eq!(post(&api, PATH, "k1", "{\"name\": \"a\"}").await.problem(), "idempotency_key_reused");
        assert_eq!(
            post(&api, "/v1/operator/api_keys", "k1", "{\"name\":\"a\"}").await.problem(),
            "field_missing"
        );
        assert_eq!(
            post(&api, "/v1/operator/api_keys", "k1", "{\"mode\":\"operator\"}").await.problem(),
            "idempotency_key_reused"
        );
        assert_eq!(merchants(&api).await, 1);
    }
}

#[tokio::test]
async fn a_refusal_is_kept_when_it_would_come_again() {
    for api in Api::all().await {
        let body = json!({"mode": "live", "merchant_id": "mer_01ARZ3NDEKTSV4RRFFQ69G5FAV"}).to_string();
        let first = post(&api, "/v1/operator/api_keys", "k", &body).await;
        assert_eq!(first.problem(), "not_found");
        let again = post(&api, "/v1/operator/api_keys", "k", &body).await;
        assert_eq!((again.problem(), again.header("idempotent-replayed")), ("not_found", "true"));
        assert_eq!(first.body, again.body);
    }
}

#[tokio::test]
async fn a_secret_is_kept_sealed() {
    for api in Api::all().await {
        let merchant = api.merchant("a").await;
        let body = json!({"mode": "live", "merchant_id": merchant}).to_string();
        let first = post(&api, "/v1/operator/api_keys", "k", &body).await.ok();
        let mut conn = api.app.db.read().await.unwrap();
        let stored = idempotency::find(&mut conn, "operator", "k").await.unwrap().unwrap().body;
        drop(conn);
        let secret = first["key"].as_str().unwrap().as_bytes();
        assert!(!stored.windows(secret.len()).any(|part| part == secret));
        assert_eq!(post(&api, "/v1/operator/api_keys", "k", &body).await.ok(), first);
    }
}

#[tokio::test]
async fn a_thousand_at_once_have_one_effect() {
    for api in Api::all().await {
        let mut api = api;
        let mut config = (*api.app.app.config).clone();
        config.http.rate_per_10s = 10_000;
        api.app.app.config = config.into();
        api.router = crate::http::router(api.app.app.clone());
        let api = &api;
        let answers =
            futures_util::future::join_all((0..1000).map(|_| post(api, PATH, "k", "{\"name\":\"a\"}"))).await;
        let mut fresh = 0;
        for answer in &answers {
            assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
            assert_eq!(answer.body, answers[0].body);
            fresh += usize::from(answer.header("idempotent-replayed").is_empty());
        }
        assert_eq!(fresh, 1);
        assert_eq!(merchants(api).await, 1);
    }
}

/// Invoices are made in batches, by another way than the rest.
#[tokio::test]
async fn many_invoices_at_once_are_one_for_each_key() {
    for api in Api::all().await {
        let merchant = api.merchant("Shop").await;
        let (_, key) = api.key(&merchant, "test").await;
        let network = api.app.networks.get("sandbox").unwrap();
        let address = api.app.host.derive_address(&network, "sbxpub", 7).await.unwrap().unwrap().text;
        let wanted = json!({"network": "sandbox", "address": address});
        api.post(&key, "/v1/receive_addresses", wanted).await.ok();

        let wish = |amount: &str| {
            let body = json!({"title": "t", "payable_network": "sandbox", "payable_asset": "USDT", "amount": amount});
            with(request(Method::POST, "/v1/invoices", body.to_string()), "x-api-key", &key)
        };
        let sent = (0..500).map(|n| api.send(with(wish("5"), "idempotency-key", &format!("k{}", n % 5))));
        let mut ids = std::collections::BTreeMap::new();
        for (number, answer) in futures_util::future::join_all(sent).await.into_iter().enumerate() {
            let body = answer.ok();
            let known = ids.entry(number % 5).or_insert_with(|| body.clone());
            assert_eq!(*known, body);
        }
        let list = api.get(&key, "/v1/invoices?limit=100").await.ok();
        assert_eq!(list["data"].as_array().unwrap().len(), 5);
        let other = api.send(with(wish("6"), "idempotency-key", "k0")).await;
        assert_eq!(other.problem(), "idempotency_key_reused");
        let refused = api.send(with(wish("0"), "idempotency-key", "zero")).await;
        assert_eq!(refused.problem(), "amount_too_small");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used() {
    let api = Api::new().await;
    for key in ["", "a b", "ключ", &"k".repeat(256)] {
        let mut request = with(request(Method::POST, PATH, "{\"name\":\"a\"}"), "x-api-key", &api.operator);
        request
            .headers_mut()
            .insert("idempotency-key", http::HeaderValue::from_bytes(key.as_bytes()).unwrap());
        assert_eq!(api.send(request).await.problem(), "idempotency_key_malformed", "{key}");
    }
    let request = with(request(Method::POST, PATH, "{\"name\":\"a\"}"), "x-api-key", &api.operator);
    let request = with(with(request, "idempotency-key", "a"), "idempotency-key", "b");
    assert_eq!(api.send(request).await.problem(), "idempotency_key_malformed");
    assert_eq!(merchants(&api).await, 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    let api = Api::new().await;
    for number in 0..20 {
        let attempt = post(&api, PATH, "k", "{\"name\":\"a\"}");
        let _ = tokio::time::timeout(std::time::Duration::from_micros(number * 50), attempt).await;
    }
    post(&api, PATH, "k", "{\"name\":\"a\"}").await.ok();
    assert_eq!(merchants(&api).await, 1);
}
