//! What a find comes to.

/// What is known of a transaction, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In no block that a provider knows of.
    Nowhere,
    /// In a block that was not read yet.
    Unread { height: i64 },
    /// Its block was read, and so were those of what it set off.
    Read {
        height: i64,
        /// It and what it set off, by the ids that transfers have.
        txs: Vec<String>,
        /// The lowest block that holds something of it and was not read yet.
        unread: Option<i64>,
    },
}

/// Why nobody looked for it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The merchant has looked for too many.
    #[error("another one in {retry_s} s")]
    Limited { retry_s: u64 },
    /// Too many look for transactions at this moment.
    #[error("too many are under way")]
    Busy,
}
