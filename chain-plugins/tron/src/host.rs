//! What the plugin needs of the host, as a trait so that tests can script it.

use crate::fault::{retry_after_ms, upstream};
use kassa_sdk::chain::ScanError;
use kassa_sdk::{http, watch};

/// A question to the node: JSON that is POSTed to a path under the upstream's URL.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) body: String,
}

/// An answer of HTTP, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// From `Retry-After`, or its default.
    pub(crate) retry_after_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// The upstream and the watched addresses.
pub(crate) trait Host {
    /// Asks the upstream everything at once; the answers come in the same order.
    fn ask_all(&self, calls: &[Call]) -> Vec<Result<Answer, ScanError>>;
    /// Places of the watched addresses among 20-byte keys.
    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, ScanError>;
}

/// The host itself.
pub(crate) struct Real;

impl Host for Real {
    fn ask_all(&self, calls: &[Call]) -> Vec<Result<Answer, ScanError>> {
        let requests: Vec<_> = calls.iter().map(request).collect();
        http::send_all(&requests).into_iter().map(|result| result.map(answer).map_err(refused)).collect()
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, ScanError> {
        watch::filter(keys, 20).map_err(|error| upstream(format!("the host's watch list: {error:?}")))
    }
}

fn request(call: &Call) -> http::Request {
    let json = http::HeaderValue::Text("application/json".into());
    http::Request {
        method: http::Method::Post,
        target: http::Target::Upstream(call.path.into()),
        headers: vec![http::Header { name: "content-type".into(), value: json }],
        body: call.body.clone().into_bytes(),
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

fn refused(error: http::HttpError) -> ScanError {
    match error {
        http::HttpError::Denied(why) => ScanError::Settings(format!("the host denies the call: {why}")),
        http::HttpError::Malformed(why) => upstream(format!("the host cannot send the call: {why}")),
        http::HttpError::Budget(why) => upstream(format!("budget: {why}")),
        http::HttpError::RateLimited(ms) => ScanError::RateLimited(ms),
        http::HttpError::Timeout => upstream("timeout"),
        http::HttpError::Connection(why) => upstream(format!("connection: {why}")),
        http::HttpError::NoUpstream => upstream("no usable upstream"),
    }
}
