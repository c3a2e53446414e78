//! Bad requests of every kind: each gets its own problem, and nothing happens.

use axum::body::Body;
use http::{HeaderValue, Method, header};
use serde_json::json;

use super::kit::{Api, request, with};

const PATH: &str = "/v1/operator/merchants";

#[tokio::test]
async fn bodies_that_are_refused() {
    let api = Api::new().await;
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(10 << 20));
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "json_malformed"),
        (b"{\"name\":", "json_malformed"),
        (b"{\"name\":\"a\"} trailing", "json_malformed"),
        (b"\xef\xbb\xbf{\"name\":\"a\"}", "json_malformed"),
        (b"{\"name\":\"\xff\"}", "json_malformed"),
        (b"{\"name\":\"\\ud800\"}", "json_malformed"),
        (b"{\"name\":\"a\\u0000\"}", "json_text_refused"),
        (b"{\"name\":\"a\",\"name\":\"b\"}", "json_duplicate_key"),
        (b"{\"name\":\"a\",\"naem\":\"b\"}", "field_unknown"),
        (b"{}", "field_missing"),
        (b"[]", "field_malformed"),
        (b"{\"name\":7}", "field_malformed"),
        (b"{\"name\":\"\"}", "field_malformed"),
        (b"{\"name\":\"a\\u202eb\"}", "field_malformed"),
        (b"{\"name\":\"a\",\"policy\":{\"late\":\"never\"}}", "field_malformed"),
        (b"{\"name\":\"a\",\"policy\":{\"late_window_s\":1}}", "field_malformed"),
        (b"{\"name\":\"a\",\"policy\":{\"late_window_s\":-1}}", "field_malformed"),
        (b"{\"name\":\"a\",\"policy\":{\"late_window_s\":1e400}}", "json_malformed"),
        (deep.as_bytes(), "json_too_deep"),
        (huge.as_bytes(), "body_too_large"),
    ];
    for (body, slug) in cases {
        let request = with(request(Method::POST, PATH, body.to_vec()), "x-api-key", &api.operator);
        let answer = api.send(request).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answer.problem(), slug, "{shown}: {}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap().len() < 400, "{shown}");
    }
    assert_eq!(api.get(&api.operator, PATH).await.ok()["data"], json!([]));
}

#[tokio::test]
async fn an_endless_body_ends_at_the_cap() {
    let api = Api::new().await;
    let endless = futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 4096]))
    });
    let request = with(request(Method::POST, PATH, Body::from_stream(endless)), "x-api-key", &api.operator);
    assert_eq!(api.send(request).await.problem(), "body_too_large");
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let api = Api::new().await;
    let broken = futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"{\"na")),
        Err(std::io::Error::other("gone")),
    ]);
    let request = with(request(Method::POST, PATH, Body::from_stream(broken)), "x-api-key", &api.operator);
    assert_eq!(api.send(request).await.problem(), "body_unreadable");
}

#[tokio::test]
async fn another_kind_of_body() {
    let api = Api::new().await;
    for (name, value, slug) in [
        (header::CONTENT_TYPE, "text/plain", "content_type_unsupported"),
        (header::CONTENT_TYPE, "application/json; charset=latin1", "content_type_unsupported"),
        (header::CONTENT_TYPE, "application/x-www-form-urlencoded", "content_type_unsupported"),
        (header::CONTENT_ENCODING, "gzip", "content_encoding_unsupported"),
    ] {
        let mut request = with(request(Method::POST, PATH, "{\"name\":\"a\"}"), "x-api-key", &api.operator);
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        assert_eq!(api.send(request).await.problem(), slug, "{value}");
    }
    let mut request = with(request(Method::POST, PATH, "{\"name\":\"a\"}"), "x-api-key", &api.operator);
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("Application/JSON; charset=UTF-8"));
    api.send(request).await.ok();
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let api = Api::new().await;
    assert_eq!(api.get(&api.operator, "/nothing").await.problem(), "not_found");
    assert_eq!(api.get(&api.operator, "/v1/operator/merchants/%00").await.problem(), "not_found");
    assert_eq!(api.get(&api.operator, "/v1/operator/merchants/%ff").await.problem(), "not_found");
    assert_eq!(api.get(&api.operator, "/v1/operator/merchants/mer_1%27--").await.problem(), "not_found");
    let answer = api.call(&api.operator, Method::DELETE, PATH, json!({})).await;
    assert_eq!(answer.problem(), "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "{}", answer.header("allow"));
}

#[tokio::test]
async fn every_answer_has_an_id_and_is_safe_to_show() {
    let api = Api::new().await;
    let answer = api.send(request(Method::GET, "/health", "")).await;
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    let mine = with(request(Method::GET, "/health", ""), "x-request-id", "mine-1");
    assert_eq!(api.send(mine).await.header("x-request-id"), "mine-1");
}

#[tokio::test]
async fn a_panic_is_a_problem_too() {
    let api = Api::new().await;
    async fn broken() -> String {
        panic!("a defect")
    }
    let router = axum::Router::new()
        .route("/broken", axum::routing::get(broken))
        .layer(axum::middleware::from_fn_with_state(api.app.app.clone(), crate::http::outer::surround));
    let api = Api { router, ..api };
    assert_eq!(api.send(request(Method::GET, "/broken", "")).await.problem(), "internal");
}
