//! Errors of providers, and how they are told apart.
//!
//! JSON-RPC has codes, but providers agree on few of them: -32005 is a rate limit at one and "too many results" at
//! another. So messages are read too. The rule for what is not recognized: an error of `eth_getLogs` over several
//! blocks is met by a smaller range, anything else ends the scan, and the host tries again, elsewhere if it can.

pub(crate) use kassa_sdk::upstream::Fault;

/// An error with which a provider answered a call.
#[derive(Clone, Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
}

impl RpcError {
    pub(crate) fn fault(&self, what: &str) -> Fault {
        Fault::upstream(format!("{what}: {} ({})", self.message, self.code))
    }

    /// True if there were too many calls, whatever they ask for.
    pub(crate) fn is_rate_limit(&self) -> bool {
        const WORDS: [&str; 10] = [
            "rate limit",
            "ratelimit",
            "rate exceeded",
            "daily usage",
            "too many requests",
            "per second",
            "request count exceeded",
            "request limit",
            "capacity",
            "quota",
        ];
        self.code == 429 || self.says(&WORDS)
    }

    /// True if the answers to several calls are too large together.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self.code, -32003 | -32008) || self.says(&["response too large", "response is too big"])
    }

    /// True if the node does not have this method.
    pub(crate) fn is_unsupported(&self) -> bool {
        const WORDS: [&str; 6] = [
            "does not exist",
            "not supported",
            "unsupported",
            "method not found",
            "not whitelisted",
            "disabled",
        ];
        self.code == -32601 || self.says(&WORDS)
    }

    /// True if the node does not have what the call is about (yet).
    pub(crate) fn is_missing(&self) -> bool {
        const WORDS: [&str; 8] = [
            "unknown block",
            "block not found",
            "header not found",
            "could not be found",
            "beyond current head",
            "after last accepted block",
            "missing trie node",
            "greater than latest",
        ];
        self.code == -39001 || self.says(&WORDS)
    }

    /// True if the node has the block, but no longer the state before it, without which it cannot run it again.
    pub(crate) fn is_forgotten(&self) -> bool {
        const WORDS: [&str; 5] = [
            "historical state",
            "missing trie node",
            "state not available",
            "state is not available",
            "pruned",
        ];
        self.says(&WORDS)
    }

    /// True if the node does not find what the call is about: a block, a transaction, or the method itself.
    pub(crate) fn is_not_found(&self) -> bool {
        self.is_missing() || self.says(&["not found"])
    }

    /// True if the node does not know the tag `safe` or `finalized`, or has no such block yet.
    pub(crate) fn is_unknown_tag(&self) -> bool {
        const WORDS: [&str; 6] = ["not found", "unknown", "invalid", "tag", "parse", "hex string"];
        self.code == -32602 || self.is_missing() || self.is_unsupported() || self.says(&WORDS)
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i64, message: &str) -> RpcError {
        RpcError { code, message: message.into() }
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_forgotten() {
        for message in ["block 0x12 not found", "transaction not found", "unknown block", "header not found"]
        {
            let error = error(-32000, message);
            assert!(error.is_not_found() && !error.is_forgotten() && !error.is_unsupported(), "{message}");
        }
        for message in
            ["required historical state unavailable (reexec=128)", "missing trie node 0x12 (path )"]
        {
            assert!(error(-32000, message).is_forgotten(), "{message}");
        }
    }

    #[test]
    fn rate_limits_are_told_from_range_limits() {
        for (code, message) in [
            (429, "Your app has exceeded its compute units per second capacity."),
            (-32005, "daily request count exceeded, request rate limited"),
            (-32007, "50/second request limit reached - reduce calls per second"),
            (-32000, "Too Many Requests"),
        ] {
            assert!(error(code, message).is_rate_limit(), "{message}");
        }
        for (code, message) in [
            (-32602, "range 20000 exceeds limit of 10000"),
            (-32602, "query exceeds max results 20000, retry with the range 10-20"),
            (-32000, "exceed maximum block range: 5000"),
            (-32005, "limit exceeded"),
            (-32005, "query returned more than 10000 results"),
            (-32600, "You can make eth_getLogs requests with up to a 10 block range."),
            (-32614, "eth_getLogs is limited to a 10,000 range"),
            (413, "Payload Too Large"),
        ] {
            let error = error(code, message);
            assert!(!error.is_rate_limit() && !error.is_unsupported() && !error.is_missing(), "{message}");
        }
    }
}
