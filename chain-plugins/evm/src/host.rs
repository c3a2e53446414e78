//! What the plugin needs of the host, as a trait so that tests can script it.

use crate::fault::Fault;
use kassa_sdk::upstream::{self, Answer, UpstreamTerms};
use kassa_sdk::{clock, http, log, storage, watch};

/// A body of JSON, and how many calls it holds.
pub(crate) struct Post {
    pub(crate) body: String,
    pub(crate) calls: u32,
}

/// The upstream, the watched addresses and places for what was learned.
pub(crate) trait Host {
    /// POSTs to the upstream, all at once; the answers come in the same order.
    fn post_all(&self, posts: Vec<Post>) -> Vec<Result<Answer, Fault>>;
    /// What the upstream takes, as far as the host knows, and what was noted of it.
    fn terms(&self) -> Result<UpstreamTerms, Fault>;
    /// Keeps what was learned of the upstream, whatever becomes of this call.
    fn note(&self, notes: &str);
    /// The upstream has refused so many calls in an answer, wants to be left alone for so long, and asked less from then on.
    fn refused(&self, calls: u32, retry_ms: u32);
    /// Places of the watched addresses among 20-byte keys.
    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault>;
    fn load(&self, key: &str) -> Option<Vec<u8>>;
    /// Kept if the scan succeeds.
    fn keep(&self, key: &str, value: &[u8]);
    /// The host's time in milliseconds, for how long something takes: it says nothing about the chain.
    fn now_ms(&self) -> u64;
    /// A line in the host's log, for the operator.
    fn warn(&self, line: &str);
}

/// The host itself.
pub(crate) struct Real;

impl Host for Real {
    fn post_all(&self, posts: Vec<Post>) -> Vec<Result<Answer, Fault>> {
        let requests: Vec<_> = posts.into_iter().map(request).collect();
        http::send_all(&requests)
            .into_iter()
            .map(|result| result.map(Answer::from).map_err(Fault::from))
            .collect()
    }

    fn terms(&self) -> Result<UpstreamTerms, Fault> {
        upstream::terms().map_err(Fault::from)
    }

    fn note(&self, notes: &str) {
        // Refused: the next scan learns the same again.
        let _ = upstream::note(notes);
    }

    fn refused(&self, calls: u32, retry_ms: u32) {
        upstream::refused(calls, retry_ms);
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

    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn warn(&self, line: &str) {
        log::write(log::Level::Warn, line);
    }
}

fn request(Post { body, calls }: Post) -> http::Request {
    http::Request {
        method: http::Method::Post,
        target: http::Target::Upstream(http::UpstreamTarget { path: String::new(), calls }),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into_bytes(),
    }
}
