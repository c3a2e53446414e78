//! Corrections: what a person has decided about money, or put right. Each is an addition; nothing is edited away.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Millis, money::Amount, tenant::Tenant, verbatim::Verbatim, word::words};

words! {
    /// What a person did.
    #[schema(as = CorrectionKind)]
    Kind {
        /// A listed transfer pays an invoice.
        Assign = "assign",
        /// It does not after all.
        Unassign = "unassign",
        /// A listed transfer pays nothing.
        Dismiss = "dismiss",
        /// It is listed again.
        Undismiss = "undismiss",
        /// An invoice was paid in a way that is not seen here.
        MarkPaid = "mark_paid",
        /// It was not after all.
        Unmark = "unmark",
        /// An invoice has another deadline.
        Extend = "extend",
        /// An invoice that had expired or was cancelled can be paid again.
        Reopen = "reopen",
        /// An address is no longer given out.
        Retire = "retire",
        /// It is given out again.
        Unretire = "unretire",
    }
}

/// What shows that an invoice was paid. At least one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The hash of a transaction that is not seen here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub tx: Option<String>,
    /// What else shows it: a receipt's number, a bank's statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub text: Option<String>,
}

/// Something that a person did, when, with which API key, and why.
#[derive(Debug, Clone)]
pub struct Correction {
    pub id: String,
    pub tenant: Tenant,
    pub kind: Kind,
    pub transfer_id: Option<String>,
    pub payment_id: Option<String>,
    pub invoice_id: Option<String>,
    pub address_id: Option<String>,
    /// The one that this takes back.
    pub of_id: Option<String>,
    /// What was marked as paid.
    pub amount: Option<Amount>,
    pub why: Option<String>,
    pub evidence: Option<Evidence>,
    /// What it was before.
    pub was: Option<Verbatim>,
    pub key_id: String,
    pub at: Millis,
}

/// What an invoice's event tells of the correction that caused it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CorrectionTold)]
pub struct Told {
    #[schema(example = "cor_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    id: String,
    kind: Kind,
    why: Option<String>,
}

impl From<&Correction> for Told {
    fn from(correction: &Correction) -> Self {
        Self { id: correction.id.clone(), kind: correction.kind, why: correction.why.clone() }
    }
}

/// What a person marked as paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The correction that it was made by.
    pub correction_id: String,
    pub merchant_id: String,
    pub invoice_id: String,
    pub asset_id: String,
    pub amount: Amount,
}
