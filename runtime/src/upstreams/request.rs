//! A request of a plugin to an upstream.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;
use zeroize::Zeroizing;

use super::{Upstream, lock};
use crate::{
    domain::{Millis, retry},
    outbound::{HttpAnswer, OutboundError, Over, Reach, Request},
};

/// Maximum time that a request waits for a permit of the upstream's budget before it is refused, milliseconds.
pub(super) const WAIT_MS_MAX: Millis = 10_000;
/// Wait after "too many requests" from an upstream that names no time, milliseconds.
const RATE_LIMITED_MS: Millis = 1000;
const RATE_LIMITED_MS_MAX: Millis = 60_000;

/// Headers that belong to the connection or to the host, never to a plugin.
const NOT_THE_PLUGINS: [HeaderName; 13] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

pub(crate) struct UpstreamRequest {
    pub(crate) method: Method,
    /// Path and query, appended to those of the upstream's URL; may be empty.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// Number of calls that the upstream counts it as.
    pub(crate) calls: u32,
    /// Maximum time from now to the last byte of the answer, including the wait for a permit of the rate budget.
    pub(crate) deadline: Duration,
    pub(crate) response_bytes_max: usize,
}

/// An answer, whatever its status (except 429: see [`UpstreamError::RateLimited`]).
#[derive(Debug)]
pub(crate) struct UpstreamResponse {
    pub(crate) status: u16,
    /// Names in lower case; values that are not UTF-8 are left out.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The upstream's rate budget is used up, or it answered 429.
    #[error("asked too often; a place is free in {retry_ms} ms")]
    RateLimited { retry_ms: u32 },
    #[error("no complete answer in time")]
    Timeout,
    #[error("the answer is larger than what is left of the budget")]
    TooLarge,
    #[error("{0}")]
    Connection(String),
    #[error("{0}")]
    Malformed(String),
}

impl UpstreamError {
    fn outcome(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Connection(_) => "connection",
            Self::Malformed(_) => "malformed",
        }
    }
}

impl From<OutboundError> for UpstreamError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Timeout => Self::Timeout,
            OutboundError::TooLarge(_) => Self::TooLarge,
            OutboundError::Malformed(why) => Self::Malformed(why),
            OutboundError::Denied(_)
            | OutboundError::Connect(_)
            | OutboundError::Tls(_)
            | OutboundError::Body(_) => Self::Connection(error.to_string()),
        }
    }
}

impl Upstream {
    /// Sends a request within the upstream's rate budget.
    pub(crate) async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let started = std::time::Instant::now();
        let result = self.exchange(request).await;
        let outcome = match &result {
            Ok(response) if response.status >= 500 => "server_error",
            Ok(response) if response.status >= 400 => "client_error",
            Ok(_) => "ok",
            Err(error) => error.outcome(),
        };
        self.record.requests.fetch_add(1, Ordering::Relaxed);
        if outcome != "ok" {
            self.record.errors.fetch_add(1, Ordering::Relaxed);
            let why = match &result {
                Ok(response) => format!("HTTP status {}", response.status),
                Err(error) => error.to_string(),
            };
            lock(&self.record.health).last_error = Some((why, self.clock.now()));
        }
        let (network, upstream) = (self.network.clone(), self.id.clone());
        metrics::counter!("kassa_upstream_requests_total", "network" => network.clone(),
            "upstream" => upstream.to_string(), "outcome" => outcome)
        .increment(1);
        metrics::histogram!("kassa_upstream_request_seconds", "network" => network, "upstream" => upstream.to_string())
            .record(started.elapsed());
        result
    }

    async fn exchange(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let url = join(&self.url, &request.path)?;
        let mut headers = plugin_headers(request.headers)?;
        // The operator's headers override the plugin's.
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let waited = self.wait_for_permit(request.calls, request.deadline).await?;
        let answer = self
            .outbound
            .send(Request {
                method: request.method,
                url,
                headers,
                body: request.body,
                reach: Reach::Any,
                deadline: request.deadline.saturating_sub(waited),
                body_bytes_max: request.response_bytes_max,
                over: Over::Refuse,
                gzip: true,
            })
            .await?;
        if answer.status == 429 {
            return Err(self.told_to_wait(&answer));
        }
        lock(&self.record.allowance).served(request.calls.max(1), self.clock.now());
        let headers = answer
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        Ok(UpstreamResponse { status: answer.status, headers, body: answer.body })
    }

    async fn wait_for_permit(&self, calls: u32, deadline: Duration) -> Result<Duration, UpstreamError> {
        let wait_ms_max = Millis::try_from(deadline.as_millis()).unwrap_or(WAIT_MS_MAX).min(WAIT_MS_MAX);
        let now = self.clock.now();
        let taken = lock(&self.record.allowance).take(self.terms, calls, now, wait_ms_max);
        let wait_ms = taken.map_err(|ms| rate_limited(Millis::try_from(ms).unwrap_or(Millis::MAX)))?;
        let wait = Duration::from_millis(wait_ms);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(wait)
    }

    fn told_to_wait(&self, answer: &HttpAnswer) -> UpstreamError {
        let now = self.clock.now();
        let ms = answer
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| retry::retry_after(value.to_str().ok()?, now))
            .unwrap_or(RATE_LIMITED_MS)
            .clamp(RATE_LIMITED_MS, RATE_LIMITED_MS_MAX);
        self.refused(0, ms);
        rate_limited(ms)
    }
}

fn rate_limited(ms: Millis) -> UpstreamError {
    UpstreamError::RateLimited { retry_ms: u32::try_from(ms).unwrap_or(u32::MAX) }
}

/// Appends a plugin's path and query to those of the upstream. Errors if the result would leave the upstream's path.
fn join(base: &Url, path: &str) -> Result<Url, UpstreamError> {
    let refused = |why: &str| Err(UpstreamError::Malformed(format!("path: {why}")));
    if path.is_empty() {
        return Ok(base.clone());
    }
    if path.chars().any(|c| c.is_control() || c.is_whitespace() || c == '#' || c == '\\') {
        return refused("it contains a blank, a control character, '#' or '\\'");
    }
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut url = base.clone();
    if !path.is_empty() {
        let below = base.path().trim_end_matches('/');
        url.set_path(&format!("{below}/{}", path.strip_prefix('/').unwrap_or(path)));
        if !url.path().starts_with(&format!("{below}/")) {
            return refused("it leads out of the upstream's own path");
        }
    }
    if let Some(query) = query {
        let query = base.query().map_or_else(|| query.to_owned(), |own| format!("{own}&{query}"));
        url.set_query(Some(&query));
    }
    Ok(url)
}

fn plugin_headers(headers: Vec<(String, String)>) -> Result<HeaderMap, UpstreamError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = allowed_name(&name).map_err(|why| UpstreamError::Malformed(why.to_string()))?;
        let value = HeaderValue::from_str(&value).map_err(|_| {
            UpstreamError::Malformed(format!("the value of the header {name} cannot be sent"))
        })?;
        map.append(name, value);
    }
    Ok(map)
}

/// The operator's headers, marked so that no debug output shows them.
pub(super) fn secret_headers(headers: &[(String, Zeroizing<String>)]) -> Result<HeaderMap, OutboundError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = allowed_name(name).map_err(|why| OutboundError::Malformed(why.to_string()))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            OutboundError::Malformed(format!("the value of the header {name} cannot be sent"))
        })?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

/// Why a header of this name is not sent.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("a header's name cannot be sent")]
    Unreadable,
    #[error("the header {0} belongs to the host")]
    OfHost(HeaderName),
}

fn allowed_name(text: &str) -> Result<HeaderName, NotSent> {
    let name: HeaderName = text.parse().map_err(|_| NotSent::Unreadable)?;
    if NOT_THE_PLUGINS.contains(&name) { Err(NotSent::OfHost(name)) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_upstreams_url() {
        let joined = |base: &str, path: &str| join(&base.parse().unwrap(), path).map(String::from);
        for (base, path, expected) in [
            ("https://rpc.example/v2/KEY", "", "https://rpc.example/v2/KEY"),
            ("https://rpc.example", "", "https://rpc.example/"),
            ("https://rpc.example/", "/wallet/getnowblock", "https://rpc.example/wallet/getnowblock"),
            ("https://rpc.example/v2/KEY/", "x/y?a=1", "https://rpc.example/v2/KEY/x/y?a=1"),
            ("https://rpc.example/?key=K", "/x?a=1", "https://rpc.example/x?key=K&a=1"),
            ("https://rpc.example/?key=K", "?a=1", "https://rpc.example/?key=K&a=1"),
            ("https://rpc.example/v2", "//evil.example/x", "https://rpc.example/v2//evil.example/x"),
            ("https://rpc.example", "//evil.example/x", "https://rpc.example//evil.example/x"),
            ("https://rpc.example/v2", "@evil.example", "https://rpc.example/v2/@evil.example"),
            (
                "https://rpc.example/v2",
                "/http://evil.example/",
                "https://rpc.example/v2/http://evil.example/",
            ),
        ] {
            assert_eq!(joined(base, path).unwrap(), expected, "{base} {path}");
        }
        for path in [
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/a b",
            "/a#b",
            "\\..\\x",
            "/a\r\nx: y",
            "/..",
            "..",
        ] {
            assert!(joined("https://rpc.example/v2/KEY", path).is_err(), "{path}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_the_hosts() {
        for name in
            ["Host", "connection", "Transfer-Encoding", "CONTENT-LENGTH", "te", "keep-alive", "a b", ""]
        {
            assert!(plugin_headers(vec![(name.to_owned(), "x".to_owned())]).is_err(), "{name}");
        }
        assert!(plugin_headers(vec![("x".to_owned(), "a\r\nb: c".to_owned())]).is_err());
        assert_eq!(plugin_headers(vec![("Accept".to_owned(), "x".to_owned())]).unwrap().len(), 1);
    }
}
