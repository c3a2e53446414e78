//! Results of finds.

/// State of a transaction, the same for every caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In no block that a provider knows of.
    Nowhere,
    /// In a block that has not been read yet.
    Unread { height: i64 },
    /// Its block was read, as were those of the transactions it caused.
    Read {
        height: i64,
        /// Ids, as transfers have them, of the transaction and those it caused.
        txs: Vec<String>,
        /// Height of the lowest block that holds part of it and has not been read yet.
        unread: Option<i64>,
    },
}

/// Reason that a transaction was not looked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The merchant has made too many finds. `retry_s`: seconds until the next one.
    #[error("another one in {retry_s} s")]
    Limited { retry_s: u64 },
    /// Too many finds are under way.
    #[error("too many are under way")]
    Busy,
}
