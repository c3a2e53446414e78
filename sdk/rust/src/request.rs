//! Builders of requests.

use crate::form;
use crate::http::{Method, Request, Target};

/// For hooks: `Request::post(url).header("Authorization", "Bearer {secret:token}").json(&body)`.
///
/// In a URL and in a header's value `{secret:NAME}` stands for a secret of the URL's host, which the host fills in.
/// Text that is not the hook's own goes through [`literal`].
impl Request {
    /// A request to an absolute URL on a granted host.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, target: Target::Url(url.into()), headers: Vec::new(), body: Vec::new() }
    }

    /// A GET of an absolute URL on a granted host.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// A POST to an absolute URL on a granted host.
    #[must_use]
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// A PUT to an absolute URL on a granted host.
    #[must_use]
    pub fn put(url: impl Into<String>) -> Self {
        Self::new(Method::Put, url)
    }

    /// A PATCH of an absolute URL on a granted host.
    #[must_use]
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new(Method::Patch, url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body to this JSON.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }
}

/// For forms: `form::Request::post(body).header("x-signature", signature)`.
impl form::Request {
    /// A POST for which any status from 200 to 299 is a success.
    #[must_use]
    pub fn post(body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: Method::Post,
            headers: Vec::new(),
            body: body.into(),
            taken: form::Taken { statuses: Vec::new(), body: None, more: Vec::new() },
            more: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Escapes a text for a URL or a header so that it is sent as it is: `{secret:` in it stands for no secret.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace("{secret:", "{secret:}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_what_was_asked_for() {
        let request = Request::post("https://api.example/x")
            .header("Authorization", "Bearer {secret:token}")
            .json(&json!({"a": 1}));
        assert_eq!(request.method, Method::Post);
        assert_eq!(request.target, Target::Url("https://api.example/x".into()));
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            request.headers,
            [header("Authorization", "Bearer {secret:token}"), header("content-type", "application/json")]
        );
        assert_eq!(request.body, br#"{"a":1}"#);
        assert_eq!(Request::patch("https://api.example/x").method, Method::Patch);
    }

    #[test]
    fn a_literal_names_no_secret() {
        assert_eq!(literal("{secret:a}{secret:b} {x}"), "{secret:}a}{secret:}b} {x}");
    }
}
