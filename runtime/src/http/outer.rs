//! The layer around every request: its id, its time limit, its log line, and the handling of panics and of bodies that
//! were not read to the end.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody as _},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use tracing::Instrument as _;

use super::{
    auth::KeyId,
    problem::{Kind, Problem},
    upload,
};
use crate::{app::App, domain::id::RequestId};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LEN_MAX: usize = 64;
/// Number of bytes of an unread body that the connection still accepts.
const UNREAD_BYTES_MAX: u64 = 8 << 10;

/// The outermost layer around all routes.
pub(super) async fn surround(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id =
        request_id(request.headers()).unwrap_or_else(|| RequestId::new(app.clock.now()).to_string());
    let method = method_name(request.method());
    // The template, not the address itself: what stands in an address may be private.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("-", |path| path.as_str()).to_owned();

    let span = tracing::info_span!("request", id = %request_id);
    let timeout = if upload::is_one(request.headers()) {
        upload::TIMEOUT
    } else {
        Duration::from_secs(app.config.http.timeout_s)
    };
    let plain = request.version() <= Version::HTTP_11;
    let (request, unread) = watched(request);
    let mut response = answer(request, next, timeout).instrument(span).await;

    let headers = response.headers_mut();
    if plain && unread.is_some_and(|unread| unread.load(Ordering::Relaxed)) {
        // The connection ends with this answer: the client is told, so that it sends nothing more on it.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    secure(headers);
    let status = response.status().as_u16();
    let took = started.elapsed();
    let key = response.extensions().get::<KeyId>().map_or("-", |key| key.0.as_str());
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(target: "kassa::access", id = %request_id, method, route, status, ms, key);
    metrics::counter!("kassa_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("kassa_http_request_seconds", "route" => route).record(took.as_secs_f64());
    response
}

async fn answer(request: Request, next: Next, timeout: Duration) -> Response {
    let guarded = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(timeout, guarded).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::internal("a handler panicked").into_response(),
        Err(_) => Problem::new(
            Kind::Timeout,
            "It may have had its effect all the same: repeat it with the same Idempotency-Key.",
        )
        .retry_after(1)
        .into_response(),
    }
}

/// Wraps a request's body. Returns a flag too that is true until the body has been read to its end; `None` for bodies
/// so short that it does not matter.
fn watched(request: Request) -> (Request, Option<Arc<AtomicBool>>) {
    if request.body().size_hint().upper().is_some_and(|most| most <= UNREAD_BYTES_MAX) {
        return (request, None);
    }
    let unread = Arc::new(AtomicBool::new(true));
    let watching = Arc::clone(&unread);
    let end = stream::poll_fn(move |_| {
        watching.store(false, Ordering::Relaxed);
        Poll::Ready(None)
    });
    (request.map(|body| Body::from_stream(body.into_data_stream().chain(end))), Some(unread))
}

/// The caller's own id of the request, if it is fit for a log.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=REQUEST_ID_LEN_MAX).contains(&text.len()) && text.bytes().all(plain);
    fits.then(|| text.to_owned())
}

/// Name of a method for logs and metrics, from a fixed set.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

/// Sets headers that let a browser do nothing with an answer but show it. A page sets its own policy.
fn secure(headers: &mut HeaderMap) {
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, nothing),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_cannot_break_a_log_line() {
        let read = |text: &'static str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(text))]))
        };
        assert_eq!(read("order-17_a.2").as_deref(), Some("order-17_a.2"));
        for text in ["", "a b", "a\tb", "a=\"b\""] {
            assert_eq!(read(text), None);
        }
    }
}
