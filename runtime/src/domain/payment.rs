//! Payments: transfers, or parts of them, and what they pay.

use super::{Millis, money::Amount, word::words};

words! {
    /// How a payment stands.
    #[schema(as = PaymentStatus)]
    Status {
        /// Seen on chain, not deep enough yet.
        Pending = "pending",
        Credited = "credited",
        /// Reorged out; it comes back when the transfer does.
        Retracted = "retracted",
        /// A person had assigned it, and took that back.
        Unassigned = "unassigned",
    }
}

words! {
    /// What was not as asked for.
    #[schema(as = PaymentException)]
    Exception {
        None = "none",
        /// It came after the deadline.
        Late = "late",
        /// A person assigned it.
        Manual = "manual",
    }
}

impl Status {
    /// Whether it takes something of its transfer, now or when that comes back.
    #[must_use]
    pub fn takes(self) -> bool {
        self != Self::Unassigned
    }

    /// Whether it counts for what it pays.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Pending | Self::Credited)
    }
}

/// A transfer, or a part of one, and what it pays: an invoice, or (without one) the customer whose address it came
/// to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: String,
    pub transfer_id: String,
    /// Which part of the transfer, from 0. One that pays a single thing has only part 0.
    pub part: i64,
    pub merchant_id: String,
    pub invoice_id: Option<String>,
    pub address_id: String,
    pub asset_id: String,
    pub amount: Amount,
    pub status: Status,
    pub exception: Exception,
    /// The transfer's inclusion that it stands for.
    pub epoch: i64,
    pub created_at: Millis,
    pub credited_at: Option<Millis>,
}

/// Which payment of which transfer.
pub type PartOf = (String, i64);

impl Payment {
    #[must_use]
    pub fn part_of(&self) -> PartOf {
        (self.transfer_id.clone(), self.part)
    }
}
