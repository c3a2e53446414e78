//! Payments: transfers, or parts of them, and what they pay.

use super::{
    Millis,
    id::{AddressId, InvoiceId, MerchantId, PaymentId, TransferId},
    money::Amount,
    word::words,
};

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
    /// True if it takes part of its transfer, now or when the transfer comes back.
    #[must_use]
    pub fn takes(self) -> bool {
        self != Self::Unassigned
    }

    /// True if it counts towards what it pays.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Pending | Self::Credited)
    }
}

/// A transfer or a part of one, and the invoice that it pays; without one, it pays to the customer who owns the
/// address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: PaymentId,
    pub transfer_id: TransferId,
    /// Which part of the transfer, from 0. One that pays a single thing has only part 0.
    pub part: i64,
    pub merchant_id: MerchantId,
    pub invoice_id: Option<InvoiceId>,
    pub address_id: AddressId,
    pub asset_id: String,
    pub amount: Amount,
    pub status: Status,
    pub exception: Exception,
    /// The epoch of the transfer that the payment stands for.
    pub epoch: i64,
    pub created_at: Millis,
    pub credited_at: Option<Millis>,
}

/// Identity of a payment: the transfer's id, and the part of it.
pub type PartOf = (TransferId, i64);

impl Payment {
    #[must_use]
    pub fn part_of(&self) -> PartOf {
        (self.transfer_id.clone(), self.part)
    }
}
