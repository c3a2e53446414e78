//! Keys: whose, how long, how often.

use http::Method;
use serde_json::json;

use super::kit::{Api, request, with};

#[tokio::test]
async fn a_key_opens_its_side_only() {
    let api = Api::new().await;
    let (merchant, key) = api.merchant_with_key("Shop").await;
    let me = api.get(&key, "/v1/me").await.ok();
    assert_eq!((me["merchant_id"].as_str(), me["test"].as_bool()), (Some(merchant.as_str()), Some(false)));
    assert_eq!(api.get(&key, "/v1/operator/merchants").await.problem(), "operator_only");
    assert_eq!(api.get(&api.operator, "/v1/me").await.problem(), "merchant_only");
    let (_, test) = api.key(&merchant, "test").await;
    assert_eq!(api.get(&test, "/v1/me").await.ok()["test"], true);
}

#[tokio::test]
async fn a_key_that_is_none() {
    let api = Api::new().await;
    let answer = api.send(request(Method::GET, "/v1/me", "")).await;
    assert_eq!((answer.problem(), answer.header("www-authenticate")), ("key_missing", "Bearer"));
    assert_eq!(api.get("live_short", "/v1/me").await.problem(), "key_malformed");
    assert_eq!(api.get(&format!("live_{}", "a".repeat(32)), "/v1/me").await.problem(), "key_unknown");
    let basic = with(request(Method::GET, "/v1/me", ""), "authorization", "Basic b3A6");
    assert_eq!(api.send(basic).await.problem(), "key_malformed");
    let two = with(request(Method::GET, "/v1/me", ""), "authorization", &format!("Bearer {}", api.operator));
    let two = with(two, "x-api-key", "live_other");
    assert_eq!(api.send(two).await.problem(), "key_ambiguous");
}

#[tokio::test]
async fn revoked_expired_disabled() {
    for api in Api::all().await {
        let merchant = api.merchant("Shop").await;
        let (id, key) = api.key(&merchant, "live").await;
        api.get(&key, "/v1/me").await.ok();
        let path = format!("/v1/operator/api_keys/{id}/revoke");
        assert!(!api.post(&api.operator, &path, json!({})).await.ok()["revoked_at"].is_null());
        assert_eq!(api.get(&key, "/v1/me").await.problem(), "key_revoked");

        let soon = crate::http::time::Time(api.app.clock.now() + 60_000).to_string();
        let wanted = json!({"merchant_id": merchant, "mode": "live", "expires_at": soon});
        let made = api.post(&api.operator, "/v1/operator/api_keys", wanted).await.ok();
        let key = made["key"].as_str().unwrap();
        api.get(key, "/v1/me").await.ok();
        api.app.clock.shift(60_001);
        assert_eq!(api.get(key, "/v1/me").await.problem(), "key_expired");

        let (_, key) = api.key(&merchant, "live").await;
        let path = format!("/v1/operator/merchants/{merchant}");
        api.call(&api.operator, Method::PATCH, &path, json!({"disabled": true})).await.ok();
        let refused = api.get(&key, "/v1/me").await;
        assert_eq!((refused.problem(), refused.status.as_u16()), ("merchant_disabled", 403));
        api.call(&api.operator, Method::PATCH, &path, json!({"disabled": false})).await.ok();
        api.get(&key, "/v1/me").await.ok();
    }
}

#[tokio::test]
async fn the_text_of_a_key_is_shown_once() {
    let api = Api::new().await;
    let merchant = api.merchant("Shop").await;
    let (id, key) = api.key(&merchant, "live").await;
    let list = api.get(&api.operator, &format!("/v1/operator/api_keys?merchant_id={merchant}")).await.ok();
    assert_eq!(list["data"][0]["id"], *id);
    assert!(!list.to_string().contains(&key));
    assert!(key.starts_with(list["data"][0]["prefix"].as_str().unwrap()));
}

#[tokio::test]
async fn the_last_operator_key_stays() {
    let api = Api::new().await;
    let list = api.get(&api.operator, "/v1/operator/api_keys").await.ok();
    let path = format!("/v1/operator/api_keys/{}/revoke", list["data"][0]["id"].as_str().unwrap());
    assert_eq!(api.post(&api.operator, &path, json!({})).await.problem(), "conflict");
    let second = api.post(&api.operator, "/v1/operator/api_keys", json!({"mode": "operator"})).await.ok();
    api.post(&api.operator, &path, json!({})).await.ok();
    assert_eq!(api.get(&api.operator, "/v1/operator/merchants").await.problem(), "key_revoked");
    api.get(second["key"].as_str().unwrap(), "/v1/operator/merchants").await.ok();
}

#[tokio::test]
async fn too_often() {
    let mut api = Api::new().await;
    let mut config = (*api.app.app.config).clone();
    config.http.rate_per_10s = 3;
    api.app.app.config = config.into();
    api.router = crate::http::router(api.app.app.clone());
    for left in ["2", "1", "0"] {
        let answer = api.get(&api.operator, "/v1/operator/merchants").await;
        assert!(answer.status.is_success());
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=3;w=10");
        assert!(answer.header("ratelimit").starts_with(&format!("\"default\";r={left};t=")));
    }
    let refused = api.get(&api.operator, "/v1/operator/merchants").await;
    assert_eq!(refused.problem(), "rate_limited");
    assert!((1..=10).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    api.app.clock.shift(10_000);
    api.get(&api.operator, "/v1/operator/merchants").await.ok();
}

#[tokio::test]
async fn pages_of_a_list() {
    for api in Api::all().await {
        for number in 0..7 {
            api.merchant(&format!("Shop {number}")).await;
        }
        let mut names = Vec::new();
        let mut path = "/v1/operator/merchants?limit=3".to_owned();
        loop {
            let page = api.get(&api.operator, &path).await.ok();
            names.extend(
                page["data"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap().to_owned()),
            );
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/operator/merchants?limit=3&cursor={cursor}");
        }
        let expected: Vec<String> = (0..7).rev().map(|number| format!("Shop {number}")).collect();
        assert_eq!(names, expected);
        for (query, slug) in [
            ("limit=0", "query_malformed"),
            ("limit=101", "query_malformed"),
            ("limit=x", "query_malformed"),
            ("limit=1&limit=2", "query_malformed"),
            ("nope=1", "query_malformed"),
            ("cursor=%00", "query_malformed"),
            ("cursor=abc", "cursor_malformed"),
        ] {
            let answer = api.get(&api.operator, &format!("/v1/operator/merchants?{query}")).await;
            assert_eq!(answer.problem(), slug, "{query}");
        }
    }
}
