//! Transfers as observed: what is on chain, how deep, and what a reorg does to them.

use super::{
    Millis,
    credit::{Credit, Tag},
    id::{AddressId, MerchantId, TransferId},
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
        /// Stays for good.
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
    /// A change of a transfer that settle has to learn of.
    Sighting {
        Included = "included",
        Confirmed = "confirmed",
        Retracted = "retracted",
    }
}

/// One movement on chain of a listed asset to a receive address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub id: TransferId,
    pub network: String,
    pub kind: Kind,
    /// The transaction's hash. A rise has a name of its own here, which is not a hash.
    pub tx: String,
    /// Which movement of the transaction.
    pub ordinal: i64,
    pub asset_id: String,
    pub address_id: AddressId,
    pub merchant_id: MerchantId,
    pub sender: Option<String>,
    /// `None` if it exceeds 128 bits.
    pub amount: Option<Amount>,
    pub memo: Option<String>,
    /// Reason that the memo is unreadable, if it is.
    pub memo_problem: Option<String>,
    pub height: i64,
    pub block_hash: String,
    pub block_time: Millis,
    pub status: Status,
    /// Number of its inclusions: a transfer that comes back after a retraction begins a new epoch.
    pub epoch: i64,
    pub seen_at: Millis,
    /// Place in the network's log at which it was first seen.
    pub seq: i64,
}

impl Transfer {
    /// The transaction's hash; `None` for a rise.
    #[must_use]
    pub fn tx_hash(&self) -> Option<&str> {
        (self.kind == Kind::Seen).then_some(&self.tx)
    }

    /// Number of blocks from its own up to `height`, both included; 0 if its block is no longer on chain.
    #[must_use]
    pub fn confirmations(&self, height: i64) -> i64 {
        if self.status == Status::Retracted { 0 } else { (height - self.height + 1).max(0) }
    }
}

/// The chain's height and final blocks after a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// The last block that was read completely.
    pub height: i64,
    pub safe: Option<i64>,
    pub r#final: i64,
}

impl Depth {
    /// The highest block whose transfers are credited, counted from what was read rather than from an upstream's head.
    #[must_use]
    pub fn credited_to(&self, credit: Credit) -> i64 {
        let by_rule = match credit {
            Credit::Confirmations(n) => self.height - i64::from(n) + 1,
            Credit::Tag(Tag::Safe) => self.safe.unwrap_or(0),
            Credit::Tag(Tag::Final) => self.r#final,
        };
        // Final transfers are credited whatever the count says.
        by_rule.max(self.r#final).min(self.height)
    }
}

/// The effect of a reorg on a transfer whose block was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Nowhere on the new branch.
    Retracted,
    /// On the new branch and as good as before: only its place changes.
    Stands,
    /// Credited before, and not deep enough on the new branch: taken back, and begun anew.
    BeginsAnew,
}

/// Decides the effect of a reorg. `new_height` is the transfer's block on the new branch, if it is there; `credited_to`
/// is that branch's depth.
#[must_use]
pub fn moved(status: Status, new_height: Option<i64>, credited_to: i64) -> Moved {
    match (new_height, status) {
        (None, _) => Moved::Retracted,
        (Some(height), Status::Confirmed | Status::Final) if height > credited_to => Moved::BeginsAnew,
        (Some(_), _) => Moved::Stands,
    }
}

/// The receive address of a transfer, reduced to what settlement and events need.
#[derive(Debug, Clone)]
pub struct Destination {
    pub address: String,
    /// True if the address belongs to one customer: payments that no invoice claims are deposits.
    pub customer: bool,
    /// The merchant's own name for the customer.
    pub unique_id: Option<String>,
    /// The merchant's JSON, returned unchanged.
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
        // While catching up, the chain's final block lies above what was read.
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
