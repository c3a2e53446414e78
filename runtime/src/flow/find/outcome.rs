//! Results of finds.

use crate::db::transfers;

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

/// What a transaction is to one merchant.
#[derive(Debug)]
pub(crate) enum Seen {
    /// In no block that a provider knows of.
    Nowhere,
    /// In the block of this height, which is read when the network, at `read_to` now, gets there.
    Unread { height: i64, read_to: i64 },
    /// It moved this to the merchant's addresses.
    Moved { height: i64, transfers: Vec<transfers::Listed> },
    /// It moved nothing of a listed asset to them.
    Nothing { height: i64 },
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
