//! What the plugin needs of the host, as a trait so that tests can script it.

use crate::fault::Fault;
use kassa_sdk::upstream::Answer;
use kassa_sdk::{clock, http, log, storage, watch};

/// The upstream, the watched addresses and a place for what was learned.
pub(crate) trait Host {
    /// POSTs JSON bodies to the upstream, all at once; the answers come in the same order.
    fn post_all(&self, bodies: Vec<String>) -> Vec<Result<Answer, Fault>>;
    /// Places of the watched addresses among 20-byte keys.
    fn watched(&self, keys: &[u8]) -> Result<Vec<u32>, Fault>;
    fn load(&self, key: &str) -> Option<Vec<u8>>;
    /// Keeps what was learned; to lose it costs some calls, so a refusal is no fault.
    fn keep(&self, key: &str, value: &[u8]);
    /// The host's time in milliseconds, for how long something takes: it says nothing about the chain.
    fn now_ms(&self) -> u64;
    /// A line in the host's log, for the operator.
    fn warn(&self, line: &str);
}

/// The host itself.
pub(crate) struct Real;

impl Host for Real {
    fn post_all(&self, bodies: Vec<String>) -> Vec<Result<Answer, Fault>> {
        let requests: Vec<_> = bodies.into_iter().map(request).collect();
        http::send_all(&requests)
            .into_iter()
            .map(|result| result.map(Answer::from).map_err(Fault::from))
            .collect()
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

fn request(body: String) -> http::Request {
    let json = http::HeaderValue::Text("application/json".into());
    http::Request {
        method: http::Method::Post,
        target: http::Target::Upstream(String::new()),
        headers: vec![http::Header { name: "content-type".into(), value: json }],
        body: body.into_bytes(),
    }
}
