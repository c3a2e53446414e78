//! The host's functions that the plugin uses, as a trait so that tests can script them.

use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::{self, Answer, failed};
use kassa_sdk::{http, watch};

/// A request to the node: JSON that is POSTed to a path under the upstream's URL.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) body: String,
}

/// The upstream and the watched addresses.
pub(crate) trait Host {
    /// Asks the upstream everything at once. The answers come in the order of the calls.
    fn ask_all(&self, calls: &[Call]) -> Vec<Result<Answer, ScanError>>;
    /// Tells the host that the upstream refused `calls` calls of a request that it answered: no request goes out for
    /// `retry_ms` milliseconds, and fewer calls a second do from then on.
    fn refused(&self, calls: u32, retry_ms: u32);
    /// Indexes of the watched addresses among 20-byte keys.
    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, ScanError>;
}

/// The host of a plugin that runs in Kassa.
pub(crate) struct Real;

impl Host for Real {
    fn ask_all(&self, calls: &[Call]) -> Vec<Result<Answer, ScanError>> {
        let requests: Vec<_> = calls.iter().map(request).collect();
        http::send_all(&requests).into_iter().map(|result| Ok(result?.into())).collect()
    }

    fn refused(&self, calls: u32, retry_ms: u32) {
        upstream::refused(calls, retry_ms);
    }

    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, ScanError> {
        watch::filter(keys, 20).map_err(|error| failed(format!("the host's watch list: {error:?}")))
    }
}

fn request(call: &Call) -> http::Request {
    http::Request {
        method: http::Method::Post,
        target: http::Target::Upstream(http::UpstreamTarget { path: call.path.into(), calls: 1 }),
        headers: vec![("content-type".into(), "application/json".into())],
        body: call.body.clone().into_bytes(),
    }
}
