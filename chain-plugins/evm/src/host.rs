//! What the plugin needs of the host, as a trait so that tests can script it.

use crate::fault::{Fault, retry_after_ms};
use kassa_sdk::chain::ScanError;
use kassa_sdk::{http, storage, watch};

/// An answer of HTTP, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// From `Retry-After`, or its default.
    pub(crate) retry_after_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// The upstream, the watched addresses and a place for what was learned.
pub(crate) trait Host {
    /// POSTs JSON bodies to the upstream, all at once; the answers come in the same order.
    fn post_all(&self, bodies: Vec<String>) -> Vec<Result<Answer, Fault>>;
    /// Places of the watched addresses among 20-byte keys.
    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault>;
    fn load(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps what was learned; to lose it costs some calls, so a refusal is no fault.
    fn keep(&self, key: &str, value: &[u8]);
}

/// The host itself.
pub(crate) struct Real;

impl Host for Real {
    fn post_all(&self, bodies: Vec<String>) -> Vec<Result<Answer, Fault>> {
        let requests: Vec<_> = bodies.into_iter().map(request).collect();
        http::send_all(&requests).into_iter().map(|result| result.map(answer).map_err(fault)).collect()
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault> {
        watch::filter(keys, 20).map_err(|error| Fault::upstream(format!("the host's watch list: {error:?}")))
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        storage::get(key).ok().flatten()
    }

    fn keep(&self, key: &str, value: &[u8]) {
        // Refused: the next scan learns the same again.
        let _ = storage::set(key, value);
    }
}

fn request(body: String) -> http::Request {
    let json = http::HeaderValue::Text("application/json".into());
    http::Request {
        method: http::Method::Post,
        target: http::Target::Upstream(String::new()),
        headers: vec![http::Header { name: "content-type".into(), value: json }],
        body: body.into_bytes(),
    }
}

fn answer(response: http::Response) -> Answer {
    let retry_after = response.headers.iter().find(|(name, _)| name == "retry-after");
    Answer {
        status: response.status,
        retry_after_ms: retry_after_ms(retry_after.map(|(_, value)| value.as_str())),
        body: response.body,
    }
}

fn fault(error: http::HttpError) -> Fault {
    match error {
        http::HttpError::Denied(why) => {
            Fault::Scan(ScanError::Settings(format!("the host denies the call: {why}")))
        }
        http::HttpError::Malformed(why) => Fault::upstream(format!("the host cannot send the call: {why}")),
        http::HttpError::Budget(why) => Fault::Budget(why),
        http::HttpError::RateLimited(ms) => Fault::Scan(ScanError::RateLimited(ms)),
        http::HttpError::Timeout => Fault::upstream("timeout"),
        http::HttpError::Connection(why) => Fault::upstream(format!("connection: {why}")),
        http::HttpError::NoUpstream => Fault::upstream("no usable upstream"),
    }
}
