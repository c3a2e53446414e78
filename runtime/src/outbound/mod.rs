//! The one outbound HTTP client. Everything that leaves this process goes through [`Outbound::send`].
//!
//! Its point is what it leaves out: no redirects (a public address could lead to a private one), no proxy from the
//! environment, no decompression except of upstreams' answers (a small answer could become a large one), no cookies, no
//! retries. It always keeps to a deadline for the whole exchange, the answer's body included, and to a size limit,
//! which applies to the decompressed body.

mod guard;

use std::{error::Error, io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use reqwest::Client;
use tokio::time::{Instant, timeout_at};
use url::Url;

pub(crate) use guard::{Lookup, Reach, is_as_written, parse_url};

/// Maximum time to make a connection; the request's deadline may be shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which an idle connection is closed. Most servers close one after 60 s or more; closing first avoids a
/// request that meets the close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_HOST_MAX: usize = 64;
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Reason that there is no answer. No text here contains the URL's path or query, which may carry keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboundError {
    /// The address may not be reached.
    #[error("{0}")]
    Denied(String),
    /// The request cannot be sent.
    #[error("{0}")]
    Malformed(String),
    #[error("no complete answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no secure connection: {0}")]
    Tls(String),
    /// The answer has more bytes than this.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke before the answer was complete, or the answer is not HTTP.
    #[error("the answer broke off: {0}")]
    Body(String),
}

/// Treatment of an answer's body that is larger than wanted, or that breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Keeps what came. For webhooks: the status says all that counts.
    Cut,
    /// Returns an error. For upstreams: half of an answer is worse than none.
    Refuse,
}

/// A request to be sent.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) reach: Reach,
    /// Maximum time of the whole exchange, the answer's body included.
    pub(crate) deadline: Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) over: Over,
    /// True if the answer may come compressed; it is then decompressed.
    pub(crate) gzip: bool,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbound {
    // Separate pools: a connection made for one is never lent to the other.
    public: Client,
    any: Client,
    /// For any destination; answers may come compressed.
    gzip: Client,
}

impl Outbound {
    pub(crate) fn new() -> Result<Self, OutboundError> {
        Self::with_lookup(&guard::system_lookup())
    }

    /// Makes a client with another lookup of names.
    pub(crate) fn with_lookup(lookup: &Lookup) -> Result<Self, OutboundError> {
        // Fails if a provider is already installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |reach, gzip| client(reach, lookup, IDLE_PER_HOST_MAX, gzip);
        let (public, any) = (client(Reach::Public, false)?, client(Reach::Any, false)?);
        Ok(Self { public, any, gzip: client(Reach::Any, true)? })
    }

    /// A client that keeps no connections: each request has its own, so none is shared between parties that do not know
    /// each other.
    pub(crate) fn isolated() -> Result<Self, OutboundError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let lookup = guard::system_lookup();
        let client = |reach, gzip| client(reach, &lookup, 0, gzip);
        let (public, any) = (client(Reach::Public, false)?, client(Reach::Any, false)?);
        Ok(Self { public, any, gzip: client(Reach::Any, true)? })
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&self, request: Request) -> Result<HttpAnswer, OutboundError> {
        guard::check(&request.url, request.reach)?;
        let until = Instant::now() + request.deadline;
        let client = match (request.reach, request.gzip) {
            (Reach::Public, _) => &self.public,
            (Reach::Any, false) => &self.any,
            (Reach::Any, true) => &self.gzip,
        };
        let sending =
            client.request(request.method, request.url).headers(request.headers).body(request.body).send();
        let mut response =
            timeout_at(until, sending).await.map_err(|_| OutboundError::Timeout)?.map_err(|e| explain(&e))?;
        let headers = std::mem::take(response.headers_mut());
        if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
            > HEADER_BYTES_MAX
        {
            return Err(OutboundError::TooLarge(HEADER_BYTES_MAX));
        }
        let status = response.status().as_u16();
        let body = match (read_body(response, until, request.body_bytes_max).await, request.over) {
            (Body::Whole(body) | Body::Part(body, _), Over::Cut) | (Body::Whole(body), Over::Refuse) => body,
            (Body::Part(_, error), Over::Refuse) => return Err(error),
        };
        Ok(HttpAnswer { status, headers, body })
    }
}

enum Body {
    Whole(Bytes),
    /// A part of the body, and the reason that the rest is missing.
    Part(Bytes, OutboundError),
}

async fn read_body(mut response: reqwest::Response, until: Instant, bytes_max: usize) -> Body {
    // Allocated at the announced length: growing would copy all that came again and again.
    let told = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(told.unwrap_or(0).min(bytes_max));
    let error = loop {
        match timeout_at(until, response.chunk()).await {
            Err(_) => break OutboundError::Timeout,
            Ok(Err(error)) => break explain(&error),
            Ok(Ok(None)) => return Body::Whole(body.freeze()),
            Ok(Ok(Some(chunk))) => {
                let room = bytes_max - body.len();
                if chunk.len() > room {
                    body.extend_from_slice(chunk.get(..room).unwrap_or_default());
                    break OutboundError::TooLarge(bytes_max);
                }
                body.extend_from_slice(&chunk);
            }
        }
    };
    // Dropping the response closes its connection: the rest is not read.
    Body::Part(body.freeze(), error)
}

fn client(
    reach: Reach,
    lookup: &Lookup,
    idle_per_host_max: usize,
    gzip: bool,
) -> Result<Client, OutboundError> {
    let builder = || {
        Client::builder()
            .user_agent(concat!("Kassa/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .gzip(gzip)
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(idle_per_host_max)
            .dns_resolver(guard::Resolver { lookup: lookup.clone(), reach })
    };
    // The machine's certificates (which may include an operator's own authority) or, in a container without any, those
    // that browsers ship.
    builder()
        .build()
        .or_else(|_| builder().tls_backend_preconfigured(bundled_roots()).build())
        .map_err(|error| OutboundError::Tls(root_cause(&error)))
}

fn bundled_roots() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

/// Classifies the client's error by its source chain.
fn explain(error: &reqwest::Error) -> OutboundError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if this.is::<guard::NoPublicAddress>() {
            return OutboundError::Denied(this.to_string());
        }
        if this.is::<rustls::Error>() {
            return OutboundError::Tls(this.to_string());
        }
        // An io::Error omits the error that it wraps from the chain.
        cause = match this.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => this.source(),
        };
    }
    if error.is_timeout() {
        OutboundError::Timeout
    } else if error.is_builder() {
        OutboundError::Malformed(root_cause(error))
    } else if error.is_connect() {
        OutboundError::Connect(root_cause(error))
    } else {
        OutboundError::Body(root_cause(error))
    }
}

/// The innermost text. The outer ones contain the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else { return "unknown".to_owned() };
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
