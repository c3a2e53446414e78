//! The host's functions that the plugin uses, as a trait so that tests can script them.

pub(crate) use kassa_sdk::upstream::Answer;
use kassa_sdk::upstream::{self, Fault};
use kassa_sdk::{http, storage, watch};

/// A request under the upstream's URL: a POST if it has a body, which is JSON.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) body: Option<String>,
}

/// The upstream, the watched addresses and storage for what was read.
pub(crate) trait Host {
    /// Sends all requests at once. The answers come in the order of the requests.
    fn send_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, Fault>>;
    /// Tells the host that the upstream refused `calls` calls of a request that it answered: no request goes out for
    /// `retry_ms` milliseconds, and fewer calls a second do from then on.
    fn refused(&self, calls: u32, retry_ms: u32);
    /// Watched addresses that sort after `after`, in the normal form, ascending.
    fn watched(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, Fault>;
    fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault>;
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, Fault>;
    fn keep(&self, key: &str, value: &[u8]) -> Result<(), Fault>;
    fn forget(&self, key: &str) -> Result<(), Fault>;
}

/// The host of a plugin that runs in Kassa.
pub(crate) struct Real;

impl Host for Real {
    fn send_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, Fault>> {
        let requests: Vec<_> = requests.into_iter().map(request).collect();
        http::send_all(&requests)
            .into_iter()
            .map(|result| result.map(Answer::from).map_err(Fault::from))
            .collect()
    }

    fn refused(&self, calls: u32, retry_ms: u32) {
        upstream::refused(calls, retry_ms);
    }

    fn watched(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, Fault> {
        watch::list(after, limit)
            .map_err(|error| Fault::upstream(format!("the host's watch list: {error:?}")))
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        storage::keys(prefix, None, u32::MAX).map_err(refused)
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        storage::get(key).map_err(refused)
    }

    fn keep(&self, key: &str, value: &[u8]) -> Result<(), Fault> {
        storage::set(key, value).map_err(refused)
    }

    fn forget(&self, key: &str) -> Result<(), Fault> {
        storage::delete(key).map_err(refused)
    }
}

// What is stored must match what was reported: a write that is refused fails the scan.
#[allow(clippy::needless_pass_by_value)]
fn refused(error: storage::StorageError) -> Fault {
    Fault::upstream(format!("the host's storage: {error:?}"))
}

fn request(request: Request) -> http::Request {
    let header = |name: &str| (name.into(), "application/json".into());
    http::Request {
        method: if request.body.is_some() { http::Method::Post } else { http::Method::Get },
        target: http::Target::Upstream(http::UpstreamTarget { path: request.path, calls: 1 }),
        headers: match request.body {
            Some(_) => vec![header("accept"), header("content-type")],
            None => vec![header("accept")],
        },
        body: request.body.unwrap_or_default().into_bytes(),
    }
}
