//! The life of an invoice, as a function of facts.
//!
//! An invoice's status is never edited from event to event; it is derived from what is known: what has been
//! credited, what is on its way, what the chain's time and the merchant say. So no order of events and no repetition
//! can bring it to a state that the facts do not show.
//!
//! | status          | credited            | pending | and                          |
//! |-----------------|---------------------|---------|------------------------------|
//! | `new`           | 0                   | 0       |                              |
//! | `detected`      | less than due       | > 0     |                              |
//! | `underpaid`     | > 0, less than due  | 0       |                              |
//! | `paid`          | due, ± tolerance    | any     |                              |
//! | `overpaid`      | more than that      | any     |                              |
//! | `expired`       | 0                   | 0       | the deadline has passed      |
//! | `cancelled`     | 0                   | 0       | the merchant cancelled it    |
//! | `manual_review` | less than due       | any     | a transfer waits for a person |

use super::{
    Millis,
    id::{AddressId, InvoiceId},
    money::Amount,
    policy::Policy,
    tenant::Tenant,
    verbatim::Verbatim,
    word::words,
};

words! {
    /// Where an invoice stands.
    #[schema(as = InvoiceStatus)]
    Status {
        New = "new",
        /// A payment was seen and is not credited yet.
        Detected = "detected",
        Underpaid = "underpaid",
        Paid = "paid",
        Overpaid = "overpaid",
        Expired = "expired",
        /// A transfer that may be meant for it waits for a person.
        ManualReview = "manual_review",
        Cancelled = "cancelled",
    }
}

words! {
    /// What was not as asked for: the second axis beside the status.
    #[schema(as = InvoiceException)]
    Exception {
        None = "none",
        Partial = "partial",
        Over = "over",
        Late = "late",
        /// A person assigned a payment, or marked it as paid.
        Manual = "manual",
        /// A credited payment was reorged out.
        Reorged = "reorged",
    }
}

words! {
    /// How a payment is recognised.
    Matching {
        /// By its unique amount on a shared address.
        Amount = "amount",
        /// By its memo on a shared address.
        Memo = "memo",
        /// By the invoice's own address.
        Address = "address",
    }
}

impl Status {
    /// True if the invoice can still be paid in time or cancelled.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::New | Self::Detected | Self::Underpaid | Self::ManualReview)
    }
}

/// An invoice as it is kept, with the names of its asset and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub id: InvoiceId,
    pub tenant: Tenant,
    /// The merchant's own number for it, unique within merchant and mode among open and paid invoices.
    pub order_id: Option<String>,
    pub title: String,
    pub tag: Option<String>,
    /// The merchant's JSON, returned unchanged.
    pub meta: Option<Verbatim>,
    pub network: String,
    pub asset_id: String,
    pub symbol: String,
    pub decimals: u8,
    pub address_id: AddressId,
    pub address: String,
    pub matching: Matching,
    pub memo: Option<String>,
    /// Currency of the price, if it is not priced in the asset itself.
    pub currency: Option<String>,
    pub price: Option<String>,
    /// What was asked for.
    pub amount: Amount,
    /// Amount to pay, base units: the price and its unique suffix.
    pub due: Amount,
    pub status: Status,
    pub exception: Exception,
    pub pending: Amount,
    pub credited: Amount,
    /// Amount that a person marked as paid, base units; part of `credited`.
    pub marked: Amount,
    pub sequence: i64,
    pub payment_uri: Option<String>,
    pub policy: Policy,
    /// Number of the last entry of the network's log when the invoice was made: transfers up to it were seen before.
    pub sighted: i64,
    /// Time by this machine's clock.
    pub created_at: Millis,
    /// The deadline, by the chain's time.
    pub expires_at: Millis,
    /// Chain time until which a late payment is still told apart.
    pub held_until: Millis,
    /// True if the deadline counts. It does not count yet if the chain was not being read when the invoice was made,
    /// since the chain's time is then uncertain.
    pub pinned: bool,
    pub expired_at: Option<Millis>,
    pub cancelled_at: Option<Millis>,
    pub paid_at: Option<Millis>,
}

/// The facts that decide an invoice's status.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub due: Amount,
    /// Sum of its credited payments and of what a person marked as paid, base units.
    pub credited: Amount,
    /// Sum of its payments that are not credited yet, base units.
    pub pending: Amount,
    /// The chain was read past the deadline.
    pub expired: bool,
    pub cancelled: bool,
    /// A transfer that may be meant for it waits for a person.
    pub in_review: bool,
    /// One of its payments came after the deadline.
    pub late: bool,
    /// A person assigned one of its payments, or marked it as paid.
    pub manual: bool,
    /// A credit was reversed and has not come back.
    pub reorged: bool,
}

impl Invoice {
    /// Amount that may be missing for it to count as paid, base units.
    #[must_use]
    pub fn tolerated(&self) -> Amount {
        self.policy.tolerated(self.due)
    }
}

/// Derives an invoice's status and exception from its facts.
#[must_use]
pub fn derive(facts: &Facts, policy: &Policy) -> (Status, Exception) {
    let paid_from = facts.due.0 - policy.tolerated(facts.due).0;
    let paid_to = facts.due.0.saturating_add(facts.due.share(policy.over_tolerance_bp).0);
    let credited = facts.credited.0;
    let status = if credited > paid_to {
        Status::Overpaid
    } else if credited >= paid_from {
        Status::Paid
    } else if facts.in_review {
        Status::ManualReview
    } else if facts.pending.0 > 0 {
        Status::Detected
    } else if credited > 0 {
        Status::Underpaid
    } else if facts.cancelled {
        Status::Cancelled
    } else if facts.expired {
        Status::Expired
    } else {
        Status::New
    };
    let exception = match status {
        _ if facts.reorged && !matches!(status, Status::Paid | Status::Overpaid) => Exception::Reorged,
        _ if facts.manual => Exception::Manual,
        Status::Overpaid => Exception::Over,
        Status::Underpaid => Exception::Partial,
        _ if facts.late => Exception::Late,
        _ => Exception::None,
    };
    (status, exception)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(credited: u128, pending: u128) -> Facts {
        Facts {
            due: Amount(1_000_000),
            credited: Amount(credited),
            pending: Amount(pending),
            expired: false,
            cancelled: false,
            in_review: false,
            late: false,
            manual: false,
            reorged: false,
        }
    }

    #[test]
    fn the_table_holds() {
        let policy = Policy::default();
        let status = |facts: Facts| derive(&facts, &policy).0;
        assert_eq!(status(facts(0, 0)), Status::New);
        assert_eq!(status(facts(0, 5)), Status::Detected);
        assert_eq!(status(facts(5, 5)), Status::Detected);
        assert_eq!(status(facts(5, 0)), Status::Underpaid);
        assert_eq!(status(facts(999_999, 0)), Status::Underpaid);
        assert_eq!(status(facts(1_000_000, 0)), Status::Paid);
        assert_eq!(status(facts(1_000_001, 0)), Status::Overpaid);
        assert_eq!(status(Facts { expired: true, ..facts(0, 0) }), Status::Expired);
        assert_eq!(status(Facts { cancelled: true, ..facts(0, 0) }), Status::Cancelled);
        assert_eq!(status(Facts { cancelled: true, expired: true, ..facts(1_000_000, 0) }), Status::Paid);
        assert_eq!(status(Facts { in_review: true, expired: true, ..facts(0, 0) }), Status::ManualReview);
        assert_eq!(
            derive(&Facts { reorged: true, ..facts(0, 0) }, &policy),
            (Status::New, Exception::Reorged)
        );
    }

    #[test]
    fn tolerances_are_inclusive() {
        let policy = Policy { under_tolerance_bp: 100, over_tolerance_bp: 100, ..Policy::default() };
        assert_eq!(derive(&facts(990_000, 0), &policy).0, Status::Paid);
        assert_eq!(derive(&facts(989_999, 0), &policy).0, Status::Underpaid);
        assert_eq!(derive(&facts(1_010_000, 0), &policy).0, Status::Paid);
        assert_eq!(derive(&facts(1_010_001, 0), &policy).0, Status::Overpaid);
    }

    proptest! {
        #[test]
        fn nothing_overflows(due in 1..=u128::MAX, credited in any::<u128>(), pending in any::<u128>(), bp in 0u16..=5000) {
            let facts = Facts { due: Amount(due), credited: Amount(credited), pending: Amount(pending), ..facts(0, 0) };
            let policy = Policy { under_tolerance_bp: bp, over_tolerance_bp: bp, ..Policy::default() };
            let _ = derive(&facts, &policy);
        }
    }
}
