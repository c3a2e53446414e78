//! Requests: those of a chain plugin to its network's upstream, those of a hook to the hosts that it is granted
//! ([`hosts`]).
//!
//! [`hosts`]: super::hosts
//!
//! The first request of a chain plugin's call picks the upstream, and all others of the call go to the same one, so
//! that their answers fit together; when it fails, the caller repeats the whole call on the next one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::{
    domain::id::UpstreamId,
    host::{
        bindings::services::kassa::plugin::http::{
            self, HttpError, Request, Response, Target, UpstreamTarget,
        },
        limits::Limits,
        services::CallState,
    },
    outbound,
    upstreams::{Upstream, UpstreamError, UpstreamRequest},
};

use super::{
    Behalf, Shared, Subject,
    hosts::Repeats,
    method::method,
    tape::{HostAnswer, HostCall, taped},
};

/// Maximum number of requests of one `send-all` under way at once: what an HTTP/2 connection and a public provider take
/// well.
const CONCURRENCY: usize = 8;
/// Maximum time of one request. It is better to leave a slower provider for the next one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Time kept back from the call's own deadline, so that the guest can still say what failed.
const LAST_WORDS: Duration = Duration::from_millis(500);
const PATH_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 8 << 10;
/// Headers that the client sets itself, or that would change where a request goes.
const HEADERS_OF_OURS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept-encoding",
    "proxy-authorization",
];

pub(in crate::host) struct Http {
    shared: Arc<Shared>,
    subject: Arc<Subject>,
    chosen: Option<Arc<Upstream>>,
    requests_max: u32,
    requests_left: u32,
    bytes_left: AtomicUsize,
    deadline: Instant,
    repeats: Repeats,
}

/// A request that has passed the checks.
enum Prepared {
    ToUpstream(UpstreamRequest),
    ToHost(outbound::Request),
}

impl Http {
    pub(super) fn new(
        shared: Arc<Shared>,
        subject: Arc<Subject>,
        limits: &Limits,
        deadline: Instant,
    ) -> Self {
        Self {
            shared,
            subject,
            chosen: None,
            requests_max: limits.http_requests,
            requests_left: limits.http_requests,
            bytes_left: AtomicUsize::new(limits.http_bytes),
            deadline,
            repeats: Repeats::default(),
        }
    }

    pub(in crate::host) fn upstream_id(&self) -> Option<UpstreamId> {
        self.chosen.as_ref().map(|upstream| upstream.id.clone())
    }

    /// Number of requests that were sent, or refused by the other side.
    pub(in crate::host) fn requests(&self) -> u32 {
        self.requests_max - self.requests_left
    }

    /// Checks a request, takes it from the budget and picks the upstream if none is picked yet.
    fn prepare(&mut self, request: Request) -> Result<Prepared, HttpError> {
        if self.requests_max == 0 {
            return Err(HttpError::Denied("this function of a plugin sends no requests".to_owned()));
        }
        let method = method(&request.method)?;
        let subject = self.subject.clone();
        let prepared = match (request.target, &subject.behalf) {
            (Target::Upstream(UpstreamTarget { path, calls }), Behalf::Network(_)) => {
                check_path(&path)?;
                Prepared::ToUpstream(UpstreamRequest {
                    method,
                    path,
                    headers: check_headers(request.headers)?,
                    body: request.body.into(),
                    calls,
                    deadline: REQUEST_TIMEOUT,
                    response_bytes_max: 0,
                })
            }
            (Target::Url(url), Behalf::Merchant(of)) => Prepared::ToHost(self.shared.hosts.prepare(
                of,
                method,
                &url,
                &request.headers,
                request.body,
                &mut self.repeats,
            )?),
            (Target::Upstream(_), _) => {
                return Err(HttpError::Denied("hooks have no upstreams; name a URL".to_owned()));
            }
            (Target::Url(_), _) => {
                return Err(HttpError::Denied("no hosts are granted to chain plugins".to_owned()));
            }
        };
        self.requests_left = self
            .requests_left
            .checked_sub(1)
            .ok_or_else(|| HttpError::Budget("requests of this call".to_owned()))?;
        if matches!(prepared, Prepared::ToUpstream(_)) {
            self.upstream()?;
        }
        Ok(prepared)
    }

    /// The upstream of this call; picks it first if necessary.
    pub(super) fn upstream(&mut self) -> Result<&Upstream, HttpError> {
        let chosen = match self.chosen.take() {
            Some(chosen) => chosen,
            None => {
                let (network, passed_over) = (self.subject.network(), &self.subject.passed_over);
                let picked = self.shared.upstreams.pick(network, passed_over);
                picked.map_err(|_| HttpError::NoUpstream)?
            }
        };
        Ok(self.chosen.insert(chosen))
    }

    /// Sends a prepared request; up to `share` requests are under way at once and share the remaining bytes.
    async fn send(&self, prepared: Prepared, share: usize) -> Result<Response, HttpError> {
        let left = self.bytes_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(HttpError::Budget("bytes of this call's answers".to_owned()));
        }
        let bytes_max = left.div_ceil(share.max(1));
        let deadline = self
            .deadline
            .saturating_duration_since(Instant::now())
            .saturating_sub(LAST_WORDS)
            .min(REQUEST_TIMEOUT);
        let answer = match prepared {
            Prepared::ToUpstream(mut request) => {
                let upstream = self.chosen.as_ref().ok_or(HttpError::NoUpstream)?;
                request.response_bytes_max = bytes_max;
                request.deadline = deadline;
                let answer = upstream.send(request).await.map_err(refusal)?;
                Response { status: answer.status, headers: answer.headers, body: answer.body.into() }
            }
            Prepared::ToHost(mut request) => {
                request.body_bytes_max = bytes_max;
                request.deadline = deadline;
                self.shared.hosts.send(request).await?
            }
        };
        let used = answer.body.len();
        let take = |left: usize| Some(left.saturating_sub(used));
        // Never fails: `take` always returns `Some`.
        let _ = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Ok(answer)
    }

    async fn send_all(&mut self, requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        let prepared: Vec<_> = requests.into_iter().map(|request| self.prepare(request)).collect();
        let share = prepared.len().min(CONCURRENCY);
        let http = &*self;
        stream::iter(prepared)
            .map(|request| async move { http.send(request?, share).await })
            .buffered(CONCURRENCY)
            .collect()
            .await
    }
}

fn refusal(error: UpstreamError) -> HttpError {
    match error {
        UpstreamError::RateLimited { retry_ms } => HttpError::RateLimited(retry_ms),
        UpstreamError::Timeout => HttpError::Timeout,
        UpstreamError::TooLarge => HttpError::Budget("the answer is larger than what is left".to_owned()),
        UpstreamError::Connection(why) => HttpError::Connection(why),
        UpstreamError::Malformed(why) => HttpError::Malformed(why),
    }
}

/// Checks that a path stays below the upstream's URL.
fn check_path(path: &str) -> Result<(), HttpError> {
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
    let rooted = path.is_empty() || path.starts_with(['/', '?']);
    let before_query = path.split_once('?').map_or(path, |(path, _)| path).to_ascii_lowercase();
    let climbs = before_query.replace("%2e", ".").split('/').any(|segment| segment == ".." || segment == ".");
    if path.len() > PATH_BYTES_MAX || !visible || !rooted || climbs {
        return Err(HttpError::Malformed("the path: '/' first, visible ASCII, no dot segments".to_owned()));
    }
    Ok(())
}

/// Checks the headers of a chain plugin. They contain no secrets; the host adds the upstream's own.
fn check_headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, HttpError> {
    count_headers(&headers)?;
    headers.into_iter().map(|(name, value)| Ok((check_header(&name, &value)?, value))).collect()
}

pub(super) fn count_headers(headers: &[(String, String)]) -> Result<(), HttpError> {
    if headers.len() > HEADERS_MAX {
        return Err(HttpError::Malformed(format!("more than {HEADERS_MAX} headers")));
    }
    Ok(())
}

/// The header's name in lower case. Errors if it may not be sent with this value.
pub(super) fn check_header(name: &str, value: &str) -> Result<String, HttpError> {
    let name = name.to_ascii_lowercase();
    let sound = ::http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && ::http::HeaderValue::from_str(value).is_ok()
        && value.len() <= HEADER_BYTES_MAX;
    if !sound || HEADERS_OF_OURS.contains(&name.as_str()) {
        return Err(HttpError::Malformed(format!("the header {}", super::text::one_line(&name, 60))));
    }
    Ok(name)
}

impl http::Host for CallState {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        let mut answers = self.send_all(vec![request]).await?;
        Ok(answers.pop().unwrap_or(Err(HttpError::Timeout)))
    }

    async fn send_all(
        &mut self,
        requests: Vec<Request>,
    ) -> wasmtime::Result<Vec<Result<Response, HttpError>>> {
        self.count()?;
        if self.services.tape.is_playing() {
            return Ok(taped!(self, Send(requests.clone()), not_sent(requests.len())));
        }
        let (seat, services) = self.outside();
        let answers = seat.wait_for(services.http.send_all(requests.clone())).await;
        Ok(taped!(self, Send(requests), answers))
    }
}

/// Answers for requests in a replay that the recorded run did not make.
fn not_sent(count: usize) -> Vec<Result<Response, HttpError>> {
    let why = "a replay sends nothing, and the run that it repeats did not send this";
    vec![Err(HttpError::Denied(why.to_owned())); count]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::bindings::services::kassa::plugin::types;

    #[test]
    fn a_path_stays_below_the_upstream() {
        for path in ["", "/", "/v1/x?y=z", "?key=1", "/a..b/c", "/a//b"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in
            ["x", "//../x", "/../x", "/a/%2E%2e/b", "/a/.", "/a\\..\\b", "/a#b", "/a b", "/\r\nx", "/é"]
        {
            assert!(check_path(path).is_err(), "{path}");
        }
        assert!(check_path(&format!("/{}", "x".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn headers_are_checked() {
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(
            check_headers(header("Content-Type", "application/json")),
            Ok(header("content-type", "application/json"))
        );
        assert!(check_headers(header("Host", "169.254.169.254")).is_err());
        assert!(check_headers(header("x", "a\r\nhost: b")).is_err());
        assert!(check_headers(header("x y", "a")).is_err());
        // A chain plugin has no secrets: its braces are text.
        assert_eq!(check_headers(header("x", "{secret:k}")), Ok(header("x", "{secret:k}")));
    }

    /// A provider whose answers have as many bytes as the path says.
    async fn provider() -> String {
        use axum::{Router, extract::Path, routing::any};
        let body = |Path(length): Path<usize>| async move { "x".repeat(length) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/{length}", any(body));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    async fn http(requests: u32, bytes: usize) -> Http {
        use crate::{
            clock::Clock,
            config::Config,
            outbound::Outbound,
            upstreams::{Learned, Terms, UpstreamSpec, Upstreams},
        };
        let upstreams = Upstreams::new(Outbound::new().unwrap(), Clock::default());
        let (id, url) = ("ups_1".to_owned(), provider().await);
        let (terms, learned) = (Terms { calls_per_s: 1_000, calls_per_day: None }, Learned::default());
        let spec =
            UpstreamSpec { id: id.as_str().into(), url, headers: Vec::new(), terms, priority: 1, learned };
        upstreams.set("net", vec![spec]);
        let config = Config::load(std::path::Path::new("/nonexistent"), false, std::iter::empty()).unwrap();
        let limits =
            Limits { http_requests: requests, http_bytes: bytes, ..Limits::new(&config.plugins, 1, 0) };
        let shared =
            Shared { upstreams, ..super::super::shared_for_test(crate::testing::sqlite().await.clone()) };
        let deadline = Instant::now() + Duration::from_secs(30);
        Http::new(shared.into(), Arc::new(super::super::subject_for_test("net")), &limits, deadline)
    }

    fn get(path: &str) -> Request {
        let target = Target::Upstream(UpstreamTarget { path: path.to_owned(), calls: 1 });
        Request { method: types::Method::Get, target, headers: Vec::new(), body: Vec::new() }
    }

    async fn lengths(http: &mut Http, paths: &[&str]) -> Vec<Option<usize>> {
        let answers = http.send_all(paths.iter().map(|path| get(path)).collect()).await;
        answers.into_iter().map(|answer| answer.ok().map(|answer| answer.body.len())).collect()
    }

    #[tokio::test]
    async fn answers_come_in_order_from_one_upstream() {
        let mut http = http(100, 1 << 20).await;
        assert_eq!(http.upstream_id(), None);
        let paths: Vec<String> = (0..40).map(|length| format!("/{length}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let expected: Vec<Option<usize>> = (0..40).map(Some).collect();
        assert_eq!(lengths(&mut http, &paths).await, expected);
        assert_eq!(http.upstream_id().unwrap(), "ups_1");
    }

    #[tokio::test]
    async fn requests_and_bytes_are_counted_over_the_call() {
        let mut counted = http(2, 1 << 20).await;
        assert_eq!(lengths(&mut counted, &["/1", "/2", "/3"]).await, [Some(1), Some(2), None]);
        let mut counted = http(100, 1_000).await;
        assert_eq!(lengths(&mut counted, &["/1001"]).await, [None]);
        assert_eq!(lengths(&mut counted, &["/600"]).await, [Some(600)]);
        assert_eq!(lengths(&mut counted, &["/600"]).await, [None]);
        assert_eq!(lengths(&mut counted, &["/400"]).await, [Some(400)]);
        assert_eq!(lengths(&mut counted, &["/1"]).await, [None]);
    }

    #[tokio::test]
    async fn who_may_send_nothing_is_told_so() {
        let answers = http(0, 1_000).await.send_all(vec![get("/1")]).await;
        assert!(matches!(answers[..], [Err(HttpError::Denied(_))]), "{answers:?}");
    }

    #[tokio::test]
    async fn a_network_without_upstreams() {
        let mut http = http(100, 1_000).await;
        http.subject = Arc::new(super::super::subject_for_test("other"));
        let answers = http.send_all(vec![get("/1")]).await;
        assert!(matches!(answers[..], [Err(HttpError::NoUpstream)]), "{answers:?}");
    }
}
