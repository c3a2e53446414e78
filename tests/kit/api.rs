//! The REST API from a client's side.

use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

use crate::document;

/// A server's API with one key.
#[derive(Debug, Clone)]
pub struct Api {
    url: String,
    key: String,
    client: reqwest::Client,
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    pub asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as JSON, or as a string if it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Api {
    #[must_use]
    pub fn new(url: &str, key: &str) -> Self {
        Self { url: url.to_owned(), key: key.to_owned(), client: crate::client().build().expect("a client") }
    }

    /// The same server with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body.to_string().into_bytes())).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[], Some(body.to_string().into_bytes())).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, &[], Some(body.to_string().into_bytes())).await
    }

    /// Sends a POST with an Idempotency-Key.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key)];
        self.send(Method::POST, path, &headers, Some(body.to_string().into_bytes())).await
    }

    /// Sends a POST of any bytes.
    pub async fn post_raw(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Method::POST, path, &[], Some(body.into())).await
    }

    /// Sends a request with headers that override the usual ones.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let asked = format!("{method} {path}");
        self.try_send(method, path, headers, body).await.unwrap_or_else(|why| panic!("{asked}: {why:?}"))
    }

    /// Like [`Api::send`], for a server that may die meanwhile.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let shown = match body.as_deref().map(std::str::from_utf8) {
            None => String::new(),
            Some(Ok(text)) => text.chars().take(500).collect(),
            Some(Err(_)) => "(no text)".to_owned(),
        };
        let asked = format!("{method} {path} {shown}");
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !self.key.is_empty() && !has("authorization") && !has("x-api-key") {
            request = request.bearer_auth(&self.key);
        }
        if body.is_some() && !has("content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        document::check(&method, path, status, kind, &body);
        Ok(Answer { asked, status, headers, body, text })
    }
}

impl Answer {
    /// The body of a success. Panics on anything else.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {} {}", self.asked, self.status, self.body);
        self.body
    }

    /// The body of a success as it came.
    pub fn text(self) -> String {
        let text = self.text.clone();
        self.ok();
        text
    }

    /// The `type` of a problem with this status. Panics if it lacks what every problem must have.
    pub fn problem(&self, status: u16) -> String {
        let what = format!("{}: {} {}", self.asked, self.status, self.body);
        assert_eq!(self.status, status, "{what}");
        let kind = self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "{what}: content-type {kind}");
        assert_eq!(self.body["status"], status, "{what}");
        for field in ["type", "title", "detail"] {
            let text = self.body[field].as_str().unwrap_or_default();
            assert!(!text.is_empty() && text.len() < 1000, "{what}: field {field}");
        }
        self.body["type"].as_str().unwrap_or_default().to_owned()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
