//! Corrections: what a person has decided about money, or put right. Each is an addition; nothing is edited away.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Millis,
    id::{AddressId, ApiKeyId, CorrectionId, InvoiceId, MerchantId, PaymentId, TransferId},
    money::Amount,
    tenant::Tenant,
    verbatim::Verbatim,
    word::words,
};

words! {
    /// An action of a person.
    #[schema(as = CorrectionKind)]
    Kind {
        /// Assigns a listed transfer to an invoice.
        Assign = "assign",
        /// Takes an assignment back.
        Unassign = "unassign",
        /// Closes a listed transfer as paying nothing.
        Dismiss = "dismiss",
        /// Lists a dismissed transfer again.
        Undismiss = "undismiss",
        /// Marks an invoice as paid in a way that Kassa cannot see.
        MarkPaid = "mark_paid",
        /// Takes such a mark back.
        Unmark = "unmark",
        /// Gives an invoice another deadline.
        Extend = "extend",
        /// Makes an invoice that had expired or was cancelled payable again.
        Reopen = "reopen",
        /// Stops giving an address out.
        Retire = "retire",
        /// Gives a retired address out again.
        Unretire = "unretire",
    }
}

/// Evidence that an invoice was paid. At least one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The hash of a transaction that is not seen here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub tx: Option<String>,
    /// Other evidence: a receipt's number, a bank's statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub text: Option<String>,
}

/// A decision of a person: its time, API key and reason.
#[derive(Debug, Clone)]
pub struct Correction {
    pub id: CorrectionId,
    pub tenant: Tenant,
    pub kind: Kind,
    pub transfer_id: Option<TransferId>,
    pub payment_id: Option<PaymentId>,
    pub invoice_id: Option<InvoiceId>,
    pub address_id: Option<AddressId>,
    /// The correction that this one takes back.
    pub of_id: Option<CorrectionId>,
    /// The amount that was marked as paid.
    pub amount: Option<Amount>,
    pub why: Option<String>,
    pub evidence: Option<Evidence>,
    /// The status before.
    pub was: Option<Verbatim>,
    pub key_id: ApiKeyId,
    pub at: Millis,
}

/// The correction that caused an event of an invoice.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CorrectionTold)]
pub struct CorrectionSummary {
    #[schema(example = "cor_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: CorrectionId,
    kind: Kind,
    why: Option<String>,
}

impl From<&Correction> for CorrectionSummary {
    fn from(correction: &Correction) -> Self {
        Self { id: correction.id.clone(), kind: correction.kind, why: correction.why.clone() }
    }
}

/// An amount that a person marked as paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The correction that made it.
    pub correction_id: CorrectionId,
    pub merchant_id: MerchantId,
    pub invoice_id: InvoiceId,
    pub asset_id: String,
    pub amount: Amount,
}
