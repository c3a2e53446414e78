//! Events: facts that merchants are told, committed with what caused them.

use std::{borrow::Cow, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Millis, word::words};

words! {
    /// What happened, as far as Kassa itself tells of it.
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
        /// What had been seen or credited is no longer on chain, or a person took it back.
        InvoiceReverted = "invoice.reverted",
        /// A person gave it another deadline.
        InvoiceExtended = "invoice.extended",
        /// It had expired or was cancelled, and can be paid again.
        InvoiceReopened = "invoice.reopened",
        /// A transfer to a customer's address was credited.
        DepositCredited = "deposit.credited",
        DepositReverted = "deposit.reverted",
        /// A transfer that pays nothing by itself.
        TransferUnmatched = "transfer.unmatched",
        /// Another merchant wanted an address or an extended key that is this one's, and was refused.
        ReceiveAddressClaimedByAnother = "receive_address.claimed_by_another",
        /// Sent at the merchant's wish, to try an endpoint.
        EndpointTest = "endpoint.test",
        /// A hook said that a person has to look at its run.
        HookRunRejected = "hook_run.rejected",
        /// A hook's run was tried as often as it may be.
        HookRunExhausted = "hook_run.exhausted",
        /// A hook fails always: its runs wait, and are tried now and then.
        HookRunFailing = "hook_run.failing",
        /// A matcher gave no answer that could be used: the built-in policy decided about a transfer.
        HookMatchFailed = "hook_match.failed",
        // Only merchants that the operator chose for it get those below.
        /// No provider of a network gives a good answer.
        NetworkStalled = "network.stalled",
        /// One does again.
        NetworkResumed = "network.resumed",
        /// A network no longer holds what was final; nothing is read until the operator decides.
        NetworkFrozen = "network.frozen",
        /// Providers contradict each other about a transfer that two of them have to have seen.
        TransferDisputed = "transfer.disputed",
        /// One has to have been seen by two providers, and there is only one.
        SecondProviderMissing = "network.second_provider_missing",
        /// Calls that ended the process are made no more.
        WorkSetAside = "work.set_aside",
        /// The database took no writes for a while.
        DatabaseUnwritable = "database.unwritable",
    }
}

/// What the types of a hook's own events begin with.
const OF_HOOKS: &str = "hook.";
const OF_HOOKS_LEN_MAX: usize = 64;

/// The type of an event: one of Kassa's own, or one that a hook made up (`hook.license.issued`).
///
/// Kassa's own: `invoice.detected`, `invoice.paid`, `invoice.underpaid`, `invoice.overpaid`, `invoice.expired`,
/// `invoice.cancelled`, `invoice.manual_review`, `invoice.reverted`, `invoice.extended`, `invoice.reopened`,
/// `deposit.credited`, `deposit.reverted`, `transfer.unmatched`,
/// `receive_address.claimed_by_another`, `endpoint.test`, `hook_run.rejected`,
/// `hook_run.exhausted`, `hook_run.failing`, `hook_match.failed`; and, for merchants with `operator_events`,
/// `network.stalled`, `network.resumed`, `network.frozen`, `transfer.disputed`, `network.second_provider_missing`,
/// `work.set_aside`, `database.unwritable`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(as = EventType, value_type = String, example = "invoice.paid")]
pub struct Type(Cow<'static, str>);

impl Type {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Hooks are not run for what hooks cause, or one could keep itself busy for good.
    #[must_use]
    pub fn starts_hooks(&self) -> bool {
        !self.0.starts_with("hook") && self.0 != Kind::EndpointTest.as_str()
    }
}

impl From<Kind> for Type {
    fn from(kind: Kind) -> Self {
        Self(Cow::Borrowed(kind.as_str()))
    }
}

impl FromStr for Type {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(kind) = text.parse::<Kind>() {
            return Ok(kind.into());
        }
        let plain = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match text.strip_prefix(OF_HOOKS) {
            Some(rest) if text.len() <= OF_HOOKS_LEN_MAX && rest.split('.').all(plain) => {
                Ok(Self(Cow::Owned(text.to_owned())))
            }
            _ => Err(format!(
                "not a type of event: one of Kassa's, or {OF_HOOKS} and words of a-z, 0-9 and _ with dots between, \
                 at most {OF_HOOKS_LEN_MAX} characters"
            )),
        }
    }
}

impl TryFrom<String> for Type {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An event about to be committed.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub id: String,
    pub merchant_id: String,
    pub test: bool,
    pub kind: Type,
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
pub fn payload(kind: &Type, at: Millis, data: &impl Serialize) -> String {
    /// Written as it is, without a detour over values: what `data` holds of a merchant's stays as it came.
    #[derive(Serialize)]
    struct Payload<'a, T> {
        r#type: &'a Type,
        timestamp: String,
        data: &'a T,
    }
    // Views have text for keys, so writing them cannot fail.
    serde_json::to_string(&Payload { r#type: kind, timestamp: super::view::time(at), data })
        .unwrap_or_default()
}
