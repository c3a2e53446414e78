//! The RPC providers of a network (to be written: health, rate budget, breaker, failover).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

/// All upstreams of all networks. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Upstreams {}

/// The network has no usable upstream at present.
#[derive(Debug)]
pub(crate) struct NoUpstream;

impl Upstreams {
    /// The best upstream of the network now.
    pub(crate) fn pick(&self, _network: &str) -> Result<Arc<Upstream>, NoUpstream> {
        Err(NoUpstream)
    }
}

/// One provider.
pub(crate) struct Upstream {
    pub(crate) id: String,
}

#[derive(Debug)]
pub(crate) struct UpstreamRequest {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) deadline: Duration,
    pub(crate) response_bytes_max: usize,
}

#[derive(Debug)]
pub(crate) struct UpstreamResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
pub(crate) enum UpstreamError {
    RateLimited { retry_ms: u32 },
    Timeout,
    TooLarge,
    Connection(String),
    Malformed(String),
}

impl Upstream {
    #[allow(clippy::unused_async)]
    pub(crate) async fn send(&self, _request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        Err(UpstreamError::Connection("no client yet".to_owned()))
    }
}
