//! Transfers as observed: what is on chain, how deep, and what a reorg does to them.

use super::{
    Millis,
    credit::{Credit, Tag},
    money::Amount,
    verbatim::Verbatim,
    word::words,
};

words! {
    /// How a transfer stands on chain.
    #[schema(as = TransferStatus)]
    Status {
        /// In a block.
        Included = "included",
        /// Deep enough to be credited.
        Confirmed = "confirmed",
        /// For good.
        Final = "final",
        /// Its block is no longer there.
        Retracted = "retracted",
    }
}

words! {
    /// How it became known.
    #[schema(as = TransferKind)]
    Kind {
        /// A transaction moved it.
        Seen = "seen",
        /// A balance rose by it, and no transaction that was seen explains that.
        Rise = "rise",
    }
}

words! {
    /// A change of a transfer that settle has to know of.
    Sighting {
        Included = "included",
        Confirmed = "confirmed",
        Retracted = "retracted",
    }
}

/// One movement on chain of a listed asset to a receive address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub id: String,
    pub network: String,
    pub kind: Kind,
    /// The transaction. A rise has a name of its own here, which is no hash.
    pub tx: String,
    /// Which movement of the transaction.
    pub ordinal: i64,
    pub asset_id: String,
    pub address_id: String,
    pub merchant_id: String,
    pub sender: Option<String>,
    /// None: more than 128 bits.
    pub amount: Option<Amount>,
    pub memo: Option<String>,
    /// Why the memo cannot be read, if there is one that cannot.
    pub memo_problem: Option<String>,
    pub height: i64,
    pub block_hash: String,
    pub block_time: Millis,
    pub status: Status,
    /// Counts its inclusions: one that comes back after a retraction begins a new epoch.
    pub epoch: i64,
    pub seen_at: Millis,
    /// Place in the network's log at which it was first seen.
    pub seq: i64,
}

impl Transfer {
    /// The transaction's hash, if it is known to be one.
    #[must_use]
    pub fn tx_hash(&self) -> Option<&str> {
        (self.kind == Kind::Seen).then_some(&self.tx)
    }

    /// Blocks from its own to this height, both counted; 0 if its block is no longer there.
    #[must_use]
    pub fn confirmations(&self, height: i64) -> i64 {
        if self.status == Status::Retracted { 0 } else { (height - self.height + 1).max(0) }
    }
}

/// Where the chain stands after a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// The last block that was read completely.
    pub height: i64,
    pub safe: Option<i64>,
    pub r#final: i64,
}

impl Depth {
    /// The highest block whose transfers are credited. Counted from what was read, not from what an upstream
    /// says lies above.
    #[must_use]
    pub fn credited_to(&self, credit: Credit) -> i64 {
        let by_rule = match credit {
            Credit::Confirmations(n) => self.height - i64::from(n) + 1,
            Credit::Tag(Tag::Safe) => self.safe.unwrap_or(0),
            Credit::Tag(Tag::Final) => self.r#final,
        };
        // What is final is credited whatever the count says.
        by_rule.max(self.r#final).min(self.height)
    }
}

/// What a reorg makes of a transfer whose block was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It is nowhere on the new branch.
    Retracted,
    /// It is on the new branch and as good as before: only its place changes.
    Stands,
    /// It had been credited, and is on the new branch but not deep enough: taken back, and begun anew.
    BeginsAnew,
}

/// `new_height` is its block on the new branch, if it is there; `credited_to` is that branch's depth.
#[must_use]
pub fn moved(status: Status, new_height: Option<i64>, credited_to: i64) -> Moved {
    match (new_height, status) {
        (None, _) => Moved::Retracted,
        (Some(height), Status::Confirmed | Status::Final) if height > credited_to => Moved::BeginsAnew,
        (Some(_), _) => Moved::Stands,
    }
}

/// The receive address of a transfer, as far as settlement and events ask.
#[derive(Debug, Clone)]
pub struct Destination {
    pub address: String,
    /// All that arrives is one customer's: what pays no invoice is a deposit.
    pub customer: bool,
    /// The merchant's own name for that customer.
    pub unique_id: Option<String>,
    /// JSON that the merchant gets back as it was.
    pub meta: Option<Verbatim>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_from_what_was_read() {
        let depth = Depth { height: 100, safe: Some(95), r#final: 90 };
        assert_eq!(depth.credited_to(Credit::Confirmations(1)), 100);
        assert_eq!(depth.credited_to(Credit::Confirmations(3)), 98);
        assert_eq!(depth.credited_to(Credit::Confirmations(50)), 90);
        assert_eq!(depth.credited_to(Credit::Tag(Tag::Safe)), 95);
        assert_eq!(depth.credited_to(Credit::Tag(Tag::Final)), 90);
        // While catching up the chain's final block is above what was read.
        assert_eq!(Depth { height: 50, ..depth }.credited_to(Credit::Tag(Tag::Final)), 50);
    }

    #[test]
    fn a_credit_stands_only_while_it_is_deep_enough() {
        assert_eq!(moved(Status::Included, None, 9), Moved::Retracted);
        assert_eq!(moved(Status::Confirmed, None, 9), Moved::Retracted);
        assert_eq!(moved(Status::Confirmed, Some(9), 9), Moved::Stands);
        assert_eq!(moved(Status::Confirmed, Some(10), 9), Moved::BeginsAnew);
        assert_eq!(moved(Status::Included, Some(10), 9), Moved::Stands);
    }
}
