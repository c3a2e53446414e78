//! What a form has rendered, checked and with its secrets filled in: what may be sent to an endpoint.

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use url::Url;

use super::{
    OfMerchant,
    hosts::{BODY_BYTES_MAX, authority, filled_headers},
    http::count_headers,
    method::method,
};
use crate::{
    domain::taken::{AcceptanceRule, AcceptanceRuleError},
    host::bindings::{form::exports::kassa::plugin::form, services::kassa::plugin::http::HttpError},
};

/// A request to an endpoint, but for where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) taken: AcceptanceRule,
}

/// Why what a form has rendered is not sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsendable {
    #[error("{0}")]
    Request(String),
    #[error("the body has {0} bytes; at most {BODY_BYTES_MAX}")]
    Body(usize),
    #[error(transparent)]
    Taken(#[from] AcceptanceRuleError),
}

impl From<HttpError> for Unsendable {
    fn from(error: HttpError) -> Self {
        Self::Request(match error {
            HttpError::Malformed(why) | HttpError::Denied(why) => why,
            // None of them is about a request that was not sent.
            other => other.to_string(),
        })
    }
}

impl Rendered {
    /// Checks a request of a form to this URL by the limits of `form.request`.
    pub(in crate::host) fn check(
        of: &OfMerchant,
        url: &Url,
        request: form::Request,
    ) -> Result<Self, Unsendable> {
        if request.body.len() > BODY_BYTES_MAX {
            return Err(Unsendable::Body(request.body.len()));
        }
        count_headers(&request.headers)?;
        Ok(Self {
            method: method(&request.method)?,
            headers: filled_headers(of, &authority(url), &request.headers)?,
            body: request.body.into(),
            taken: AcceptanceRule::new(request.taken.statuses, request.taken.body)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::Tenant;
    use crate::{
        domain::hook::Purpose,
        host::{bindings::services::kassa::plugin::types, services::Secret},
    };

    fn request() -> form::Request {
        let taken = form::Taken { statuses: Vec::new(), body: None, more: Vec::new() };
        let (headers, body) = (Vec::new(), b"{}".to_vec());
        form::Request { method: types::Method::Post, headers, body, taken, more: Vec::new() }
    }

    fn check(request: form::Request) -> Result<Rendered, Unsendable> {
        let secret = |host: &str| Secret::new("t0ken", Purpose::Host(host.to_owned()));
        let of = OfMerchant {
            hook_id: "hook_1".into(),
            tenant: Tenant::live("mer_1"),
            run_id: None,
            hosts: Vec::new(),
            secrets: [
                ("here".to_owned(), secret("shop.example")),
                ("there".to_owned(), secret("bank.example")),
                ("key".to_owned(), Secret::new("k", Purpose::Sign)),
            ]
            .into(),
        };
        Rendered::check(&of, &Url::parse("https://shop.example/ipn").unwrap(), request)
    }

    fn with(headers: &[(&str, &str)]) -> form::Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        form::Request { headers, ..request() }
    }

    #[test]
    fn what_is_sent_is_what_was_rendered_with_its_secrets() {
        let sent = check(with(&[("X-Sig", "abc"), ("authorization", "Bearer {secret:here}")])).unwrap();
        assert_eq!((sent.method, sent.body.as_ref()), (Method::POST, b"{}".as_slice()));
        assert_eq!(sent.headers["x-sig"], "abc");
        assert_eq!(sent.headers["authorization"], "Bearer t0ken");
        assert!(sent.headers["authorization"].is_sensitive());
        assert!(check(form::Request { body: vec![0; BODY_BYTES_MAX], ..request() }).is_ok());
    }

    #[test]
    fn what_may_not_be_sent_is_refused() {
        for (name, value) in [
            ("host", "shop.example"),
            ("Content-Length", "2"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("Keep-Alive", "timeout=5"),
            ("trailer", "x"),
            ("expect", "100-continue"),
            ("x y", "a"),
            ("", "a"),
            ("x", "a\r\nhost: b"),
            ("x", "{secret:there}"),
            ("x", "{secret:key}"),
            ("x", "{secret:none}"),
            ("x", "{secret:"),
        ] {
            let refused = check(with(&[(name, value)]));
            assert!(matches!(refused, Err(Unsendable::Request(_))), "{name}: {value}: {refused:?}");
        }
        assert!(check(with(&[("x", "a"); 32])).is_ok());
        assert!(check(with(&[("x", "a"); 33])).is_err());
        assert!(check(with(&[("x", &"a".repeat(8 << 10))])).is_ok());
        assert!(check(with(&[("x", &"a".repeat((8 << 10) + 1))])).is_err());
        let large = form::Request { body: vec![0; BODY_BYTES_MAX + 1], ..request() };
        assert_eq!(check(large), Err(Unsendable::Body(BODY_BYTES_MAX + 1)));
        let tunnel = form::Request { method: types::Method::Other("CONNECT".to_owned()), ..request() };
        assert!(matches!(check(tunnel), Err(Unsendable::Request(_))));
        let taken = form::Taken { statuses: vec![100], body: None, more: Vec::new() };
        assert_eq!(check(form::Request { taken, ..request() }), Err(AcceptanceRuleError::Status(100).into()));
    }
}
