//! Requests that are put together step by step.

use crate::http::{Header, HeaderValue, Method, Request, Target};

/// For hooks: `Request::post(url).secret_header("Authorization", "token").json(&body)`.
impl Request {
    /// A GET of an absolute URL on a granted host. `{secret:NAME}` in it stands for a secret of that host.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::Get, target: Target::Url(url.into()), headers: Vec::new(), body: Vec::new() }
    }

    /// A POST to an absolute URL on a granted host. `{secret:NAME}` in it stands for a secret of that host.
    #[must_use]
    pub fn post(url: impl Into<String>) -> Self {
        Self { method: Method::Post, target: Target::Url(url.into()), headers: Vec::new(), body: Vec::new() }
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: HeaderValue::Text(value.into()) });
        self
    }

    /// With a header whose value is a secret of the URL's host. The host fills it in.
    #[must_use]
    pub fn secret_header(mut self, name: &str, secret: &str) -> Self {
        self.headers.push(Header { name: name.into(), value: HeaderValue::Secret(secret.into()) });
        self
    }

    /// With this JSON as its body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_what_was_asked_for() {
        let request = Request::post("https://api.example/x")
            .secret_header("Authorization", "token")
            .json(&json!({"a": 1}));
        assert_eq!(request.method, Method::Post);
        assert_eq!(request.target, Target::Url("https://api.example/x".into()));
        assert_eq!(
            request.headers,
            [
                Header { name: "Authorization".into(), value: HeaderValue::Secret("token".into()) },
                Header { name: "content-type".into(), value: HeaderValue::Text("application/json".into()) },
            ]
        );
        assert_eq!(request.body, br#"{"a":1}"#);
    }
}
