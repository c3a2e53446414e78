//! An app, keys, and requests without a socket.

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::documented;
use crate::{
    config::Config,
    host::tests::hook_guest::HookGuest,
    http::router,
    keys::{self, NewKey},
    testing::{self, TestApp, TestDb},
};

pub(super) struct Api {
    pub(super) app: TestApp,
    pub(super) router: Router,
    pub(super) operator: String,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    /// Slug of the problem in the answer.
    pub(super) fn problem(&self) -> &str {
        assert!(
            self.status.is_client_error() || self.status.is_server_error(),
            "{}: {}",
            self.status,
            self.body
        );
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{}", self.body);
        assert_eq!(self.body["status"], self.status.as_u16());
        self.body["type"].as_str().unwrap().strip_prefix("/problems/").unwrap()
    }

    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A request without a key.
pub(super) fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::new(body.into());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    request
}

pub(super) fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

impl Api {
    pub(super) async fn new() -> Self {
        Self::on(testing::sqlite().await).await
    }

    pub(super) async fn on(db: TestDb) -> Self {
        Self::with(db, testing::config()).await
    }

    pub(super) async fn with(db: TestDb, config: Config) -> Self {
        let app = testing::app_with(db, config).await;
        let new = NewKey { tenant: None, name: "test".into(), expires_at: None };
        let (vault, now) = (app.vault.clone(), app.clock.now());
        let (_, operator) = app
            .db
            .write(move |conn| Box::pin(async move { keys::issue(conn, &vault, new, now).await }))
            .await
            .unwrap();
        let router = router(app.app.clone());
        Self { app, router, operator }
    }

    /// An API on each kind of database.
    pub(super) async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for db in testing::databases().await {
            all.push(Self::on(db).await);
        }
        all
    }

    /// Sends a request, and checks the answer against the document.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let at = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        documented::check(&at.0, &at.1, &answer);
        answer
    }

    pub(super) async fn get(&self, key: &str, path: &str) -> Answer {
        self.send(with(request(Method::GET, path, ""), "x-api-key", key)).await
    }

    pub(super) async fn call(&self, key: &str, method: Method, path: &str, body: Value) -> Answer {
        self.send(with(request(method, path, body.to_string()), "x-api-key", key)).await
    }

    pub(super) async fn post(&self, key: &str, path: &str, body: Value) -> Answer {
        self.call(key, Method::POST, path, body).await
    }

    /// A new merchant's id.
    /// Uploads a hook and activates it.
    pub(super) async fn upload_hook(&self, key: &str, guest: &HookGuest) -> Answer {
        self.upload(key, "/v1/hooks?activate=true", "application/wasm", guest.component()).await
    }

    pub(super) async fn upload(&self, key: &str, path: &str, kind: &str, bytes: Vec<u8>) -> Answer {
        let mut request = with(request(Method::POST, path, bytes), "x-api-key", key);
        request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
        self.send(request).await
    }

    pub(super) async fn merchant(&self, name: &str) -> String {
        let made = self.post(&self.operator, "/v1/operator/merchants", json!({"name": name})).await.ok();
        made["id"].as_str().unwrap().to_owned()
    }

    /// A new key's id and text.
    pub(super) async fn key(&self, merchant: &str, mode: &str) -> (String, String) {
        let wanted = json!({"merchant_id": merchant, "mode": mode});
        let made = self.post(&self.operator, "/v1/operator/api_keys", wanted).await.ok();
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    }

    /// A new merchant's id and live key.
    pub(super) async fn merchant_with_key(&self, name: &str) -> (String, String) {
        let merchant = self.merchant(name).await;
        let (_, key) = self.key(&merchant, "live").await;
        (merchant, key)
    }
}
