//! The host's functions that the plugin uses, as a trait so that tests can script them.

use crate::fault::Fault;
use kassa_sdk::upstream::{self, Answer, UpstreamTerms};
use kassa_sdk::{clock, http, log, storage, watch};

/// A body of JSON, and the number of calls in it.
pub(crate) struct Post {
    pub(crate) body: String,
    pub(crate) calls: u32,
}

/// The upstream, the watched addresses and storage for what was learned.
pub(crate) trait Host {
    /// POSTs to the upstream, all at once. The answers come in the order of the posts.
    fn post_all(&self, posts: Vec<Post>) -> Vec<Result<Answer, Fault>>;
    /// The limits of the upstream, as far as the host knows them, and what was noted of it.
    fn terms(&self) -> Result<UpstreamTerms, Fault>;
    /// Keeps what was learned of the upstream, even if this call fails.
    fn note(&self, notes: &str);
    /// Tells the host that the upstream refused `calls` calls of a request that it answered: no request goes out for
    /// `retry_ms` milliseconds, and fewer calls a second do from then on.
    fn refused(&self, calls: u32, retry_ms: u32);
    /// Indexes of the watched addresses among 20-byte keys.
    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault>;
    fn load(&self, key: &str) -> Option<Vec<u8>>;
    /// Stores a value, which is kept if the scan succeeds.
    fn keep(&self, key: &str, value: &[u8]);
    /// The host's time, milliseconds. It measures how long something takes, and says nothing about the chain.
    fn now_ms(&self) -> u64;
    /// Writes a line to the host's log, for the operator.
    fn warn(&self, line: &str);
}

/// The host of a plugin that runs in Kassa.
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
        // If it is refused, the next scan learns the same again.
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
        // If it is refused, the next scan learns the same again.
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
