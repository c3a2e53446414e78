//! Faults between Kassa and a provider, and the rules for their occurrence.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;

use crate::anvil::hex;

/// A change of an answer's body. It gets the request (the method of JSON-RPC, or the path) and the answer's JSON.
/// `None` lets the answer pass as it is.
#[derive(Clone)]
pub struct Change(Arc<Changes>);

type Changes = dyn Fn(&str, Value) -> Option<Vec<u8>> + Send + Sync;

impl Change {
    pub fn new(change: impl Fn(&str, Value) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(super) fn apply(&self, asked: &str, answer: &[u8]) -> Option<Vec<u8>> {
        self.0(asked, serde_json::from_slice(answer).ok()?)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

/// A fault of a provider.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An HTTP status with a body that is no JSON-RPC answer; 429 with a Retry-After in seconds, if given.
    Status { code: u16, retry_after_s: Option<u32> },
    /// Half of the answer, with a Content-Length that fits that half.
    Truncated,
    /// Half of the answer, then the connection breaks.
    Cut,
    /// No answer, ever.
    Stall,
    /// The connection closes without an answer.
    HangUp,
    /// An answer with another id than that of the call.
    WrongId,
    /// A refusal of every batch as a whole.
    BatchRefused,
    /// A refusal of batches of more calls than this, under the id of the first call.
    BatchLimit(usize),
    /// Answers of a batch up to this many bytes, and refusals of the rest, as from Geth.
    BatchBytes(usize),
    /// Answers to this many calls in a second, and refusals of the others.
    PerSecond(u32, Refused),
    /// Answers to this many calls at once, and then to one a second.
    Quota(u32, Refused),
    /// Answers only in every other period of this length: in those of odd number, counted from 0, if `odd`, else in
    /// those of even number.
    Alternately { period: Duration, odd: bool, words: Refused },
    /// Status 413 for a batch of several calls, whatever they are.
    BatchTooLarge,
    /// This status and a page for people, such as a proxy's login or error page.
    Page(u16),
    /// A part of the answer, each time a longer one, with a Content-Length that fits it.
    Parts,
    /// A backend of an EVM node whose head is this many blocks below the node's: it does not know what is above.
    Lagging(u64),
    /// The façade's path `/lagging`: a backend that is behind, on any chain.
    Stale,
    /// The answer, changed.
    Changed(Change),
    /// This result instead of the node's.
    Result(Value),
    /// This error instead of the node's answer.
    Error { code: i64, message: &'static str },
    /// A limit of the blocks of an `eth_getLogs`, with an error in the provider's own words.
    RangeLimit(Provider, u64),
    /// A limit of the logs of an `eth_getLogs`, with an error that names a smaller range in the provider's own words.
    ResultLimit(usize),
}

/// Refusals of too many requests, in the words of providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The status alone.
    Status429,
    /// TronGrid, once the day's requests are used up.
    Daily,
    /// toncenter, with status 200.
    Toncenter,
    /// QuickNode: one for each call of a batch.
    Entries,
    /// Alchemy, with its own status and the reason as JSON-RPC.
    Capacity,
    /// Infura and Ankr: a JSON-RPC error for the whole request, with status 200.
    Whole,
    /// The same in a list of one.
    WholeInList,
    /// Plain words, with status 200.
    Words,
}

impl Refused {
    /// The answer to a whole request.
    pub(super) fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Status429 | Self::Entries => (429, ""),
            Self::Daily => (
                403,
                r#"{"Error":"Exceed the user daily usage (100000), the maximum query frequency is 1 time per second"}"#,
            ),
            Self::Capacity => (
                429,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":429,"message":"Your app has exceeded its compute units per second capacity."}}"#,
            ),
            Self::Whole => (
                200,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"daily request count exceeded, request rate limited"}}"#,
            ),
            Self::WholeInList => (
                200,
                r#"[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"request limit reached"}}]"#,
            ),
            Self::Words => (200, "Too Many Requests"),
            Self::Toncenter => (200, r#"{"ok":false,"error":"Ratelimit exceed","code":429}"#),
        }
    }
}

/// Providers whose range errors differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Alchemy,
    QuickNode,
    Infura,
    Bsc,
}

/// A fault and the requests that it spoils.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) fault: Fault,
    method: Option<&'static str>,
    times: Option<u32>,
    every: u32,
    random: u64,
}

impl Rule {
    /// A rule for every request from now on.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, times: None, every: 1, random: 7 }
    }

    /// Limits the rule to this method of JSON-RPC, or this path.
    #[must_use]
    pub fn on(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Limits the rule to this number of requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Limits the rule to about each n-th request that it fits, as if one of several backends behind one URL is ill.
    /// There is no pattern that the requests of a scan could fall in with, and yet it is the same in each run.
    #[must_use]
    pub fn one_in(self, every: u32) -> Self {
        Self { every, ..self }
    }

    pub(super) fn fits(&self, method: &str) -> bool {
        self.method.is_none_or(|wanted| wanted == method)
    }

    /// True if the rule spoils this request. Counts it.
    pub(super) fn strikes(&mut self, methods: &[&str]) -> bool {
        if !methods.iter().any(|method| self.fits(method)) {
            return false;
        }
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if !(self.random >> 33).is_multiple_of(u64::from(self.every)) || self.times == Some(0) {
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

impl Provider {
    /// The error with which the provider refuses a range, in its words of 2025 and 2026.
    pub(super) fn complaint(self, from: u64, to: u64, most: u64) -> (i64, String) {
        let asked = to - from + 1;
        match self {
            Self::Alchemy => (
                -32600,
                format!(
                    "Under the Free tier plan, you can make eth_getLogs requests with up to a {most} block range. \
                     Based on your parameters, this block range should work: [{}, {}]. Upgrade to PAYG for \
                     expanded block range.",
                    hex(from),
                    hex(from + most - 1)
                ),
            ),
            Self::QuickNode => (-32614, format!("eth_getLogs is limited to a {most} range")),
            Self::Infura => (-32602, format!("range {asked} exceeds limit of {most}")),
            Self::Bsc => (-32000, format!("exceed maximum block range: {most}")),
        }
    }
}
