//! Reasons that no invoice was made.

use crate::{db::DbError, domain::id::InvoiceId, host::CallFailed};

#[derive(Debug, thiserror::Error)]
pub(crate) enum InvoicingError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(
        "every unique amount at this price is taken on {network}; try again when invoices have expired, use another price, or add an address"
    )]
    AmountSpaceExhausted { network: String },
    #[error(
        "{network} was not read yet, so a payment could be missed; try again when its provider answers (the operator sees it with `kassa network show {network}`)"
    )]
    NotStarted { network: String },
    #[error(
        "no receive address on {network}: register one with POST /v1/receive_addresses, or a public key with PUT /v1/extended_keys"
    )]
    NoAddress { network: String },
    #[error("payments of this asset cannot be told apart by {by}: {why}")]
    CannotMatch { by: &'static str, why: &'static str },
    #[error("order_id belongs to invoice {invoice_id}")]
    OrderIdTaken { invoice_id: InvoiceId },
    #[error(
        "the amount is so small that a suffix which tells its payment apart would be another price; ask for more, or use matching by memo or by an address of its own"
    )]
    AmountTooSmall,
    #[error("the amount is too large")]
    AmountTooLarge,
    #[error("too many children of the extended public key are in use; the search goes on")]
    NoFreeChild,
    #[error("the chain plugin failed: {0}")]
    Plugin(#[from] CallFailed),
}
