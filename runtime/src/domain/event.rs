//! Events: facts that merchants are told, committed with what caused them.

use super::{Millis, word::words};

words! {
    /// What happened.
    #[schema(as = EventType)]
    Kind {
        /// A payment was seen on chain and is not yet credited.
        InvoiceDetected = "invoice.detected",
        InvoicePaid = "invoice.paid",
        InvoiceUnderpaid = "invoice.underpaid",
        InvoiceOverpaid = "invoice.overpaid",
        InvoiceExpired = "invoice.expired",
        InvoiceCancelled = "invoice.cancelled",
        /// A transfer that may be meant for it waits for a person.
        InvoiceManualReview = "invoice.manual_review",
        /// What had been seen or credited is no longer on chain.
        InvoiceReverted = "invoice.reverted",
        /// A transfer to a customer's address was credited.
        DepositCredited = "deposit.credited",
        DepositReverted = "deposit.reverted",
        /// A transfer that pays nothing by itself.
        TransferUnmatched = "transfer.unmatched",
        /// Sent at the merchant's wish, to try an endpoint.
        EndpointTest = "endpoint.test",
    }
}

/// An event about to be committed.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub id: String,
    pub merchant_id: String,
    pub test: bool,
    pub kind: Kind,
    pub invoice_id: Option<String>,
    pub transfer_id: Option<String>,
    /// Within the invoice, from 1; 0 without an invoice.
    pub sequence: i64,
    /// The JSON that webhooks carry: `{"type", "timestamp", "data"}` (Standard Webhooks).
    pub payload: String,
    pub created_at: Millis,
}

/// The body of a webhook, in the form that Standard Webhooks recommends.
#[must_use]
pub fn payload(kind: Kind, at: Millis, data: &serde_json::Value) -> String {
    serde_json::json!({ "type": kind.as_str(), "timestamp": super::view::time(at), "data": data }).to_string()
}
