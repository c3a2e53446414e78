//! What can go wrong between Kassa and a provider, and when.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;

use crate::anvil::hex;

/// Makes another body of an answer: it is told what was asked (the method of JSON-RPC, or the path) and gets the
/// answer's JSON. None: the answer passes as it is.
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

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An HTTP status with a body that is no JSON-RPC answer; 429 with a Retry-After in seconds, if given.
    Status { code: u16, retry_after_s: Option<u32> },
    /// Half of the answer, and a Content-Length that fits that half.
    Truncated,
    /// Half of the answer, then the connection breaks.
    Cut,
    /// No answer, ever.
    Stall,
    /// The connection closes without an answer.
    HangUp,
    /// An answer with another id than was asked.
    WrongId,
    /// A batch is refused as a whole.
    BatchRefused,
    /// Batches of more calls are refused, under the id of the first call.
    BatchLimit(usize),
    /// What comes after so many bytes of a batch's answer is refused, as Geth does.
    BatchBytes(usize),
    /// So many calls are served in a second, and the others refused.
    PerSecond(u32, Refused),
    /// So many calls are served at once, and then one a second.
    Quota(u32, Refused),
    /// Only in every other period of so long; in the others, those of the odd number, if `odd`.
    Alternately { period: Duration, odd: bool, words: Refused },
    /// A batch of several calls is too large, whatever its calls are: status 413.
    BatchTooLarge,
    /// This status and a page for people, as a proxy's login or error page comes.
    Page(u16),
    /// A part of the answer, each time a longer one, and a Content-Length that fits it.
    Parts,
    /// A backend of an EVM node whose head is so many blocks below the node's: it does not know what is above.
    Lagging(u64),
    /// What the façade serves under `/lagging`: a backend that is behind, on whatever chain.
    Stale,
    /// The answer, changed.
    Changed(Change),
    /// This result instead of the node's.
    Result(Value),
    /// This error instead of the node's answer.
    Error { code: i64, message: &'static str },
    /// `eth_getLogs` takes only so many blocks, and says so in the provider's own words.
    RangeLimit(Provider, u64),
    /// `eth_getLogs` answers only so many logs, and names a smaller range in the provider's own words.
    ResultLimit(usize),
}

/// The words of those who were asked too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Nothing but the status.
    Status429,
    /// TronGrid, when the day's requests are used up.
    Daily,
    /// toncenter, with status 200.
    Toncenter,
    /// QuickNode: each call of a batch for itself.
    Entries,
    /// Alchemy, with its own status and the reason as JSON-RPC.
    Capacity,
    /// Infura and Ankr: an error of JSON-RPC for the whole request, with status 200.
    Whole,
    /// The same in a list of one.
    WholeInList,
    /// Words alone, with status 200.
    Words,
}

impl Refused {
    /// An answer to a whole request.
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

/// When something goes wrong.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) fault: Fault,
    method: Option<&'static str>,
    times: Option<u32>,
    every: u32,
    random: u64,
}

impl Rule {
    /// From now on, for every request.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, times: None, every: 1, random: 7 }
    }

    /// Only for this method of JSON-RPC, or this path.
    #[must_use]
    pub fn on(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only so often.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Only about each n-th request that it fits, as when one of several backends behind one URL is ill. In
    /// no pattern that the requests of a scan could fall in with, and yet the same in each run.
    #[must_use]
    pub fn one_in(self, every: u32) -> Self {
        Self { every, ..self }
    }

    pub(super) fn fits(&self, method: &str) -> bool {
        self.method.is_none_or(|wanted| wanted == method)
    }

    /// Whether it strikes this request; counts it.
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
    /// The error with which it refuses a range, in its words of 2025 and 2026.
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
