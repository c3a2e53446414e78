//! Events: facts that merchants are told, committed with what caused them.

pub mod data;

use std::{borrow::Cow, str::FromStr};

use serde::{Deserialize, Serialize};

pub use data::{Data, Kind};

use super::{
    Millis,
    id::{EventId, InvoiceId, TransferId},
    tenant::Tenant,
    view,
};

/// Prefix of the types of hooks' own events.
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

    /// True if hooks are run for this type. They are not run for what hooks cause, or a hook could keep itself busy for
    /// good.
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

/// A text that is no type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a type of event: one of Kassa's, or {OF_HOOKS} and words of a-z, 0-9 and _ with dots between, \
     at most {OF_HOOKS_LEN_MAX} characters"
)]
pub struct NoType;

impl FromStr for Type {
    type Err = NoType;

    fn from_str(text: &str) -> Result<Self, NoType> {
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
            _ => Err(NoType),
        }
    }
}

impl TryFrom<String> for Type {
    type Error = NoType;

    fn try_from(text: String) -> Result<Self, NoType> {
        text.parse()
    }
}

/// An event about to be committed.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub id: EventId,
    pub tenant: Tenant,
    pub kind: Type,
    pub invoice_id: Option<InvoiceId>,
    pub transfer_id: Option<TransferId>,
    /// Number within the invoice, from 1; 0 without an invoice.
    pub sequence: i64,
    /// The JSON that webhooks carry: `{"type", "timestamp", "data"}` (Standard Webhooks).
    pub payload: String,
    pub created_at: Millis,
}

impl NewEvent {
    /// Makes the event that tells a tenant this data.
    #[must_use]
    pub fn new(id: EventId, tenant: &Tenant, data: &Data, at: Millis) -> Self {
        let kind = data.kind();
        Self {
            id,
            tenant: tenant.clone(),
            payload: payload(&kind, at, data),
            kind,
            invoice_id: None,
            transfer_id: None,
            sequence: 0,
            created_at: at,
        }
    }

    /// As [`NewEvent::new`], with an id from this process's source.
    #[must_use]
    pub fn now(tenant: &Tenant, data: &Data, at: Millis) -> Self {
        Self::new(EventId::new(at), tenant, data, at)
    }
}

/// The JSON of an event: `{"type", "timestamp", "data"}`, as Standard Webhooks recommends. It is serialized directly,
/// without values in between, so that a merchant's JSON in `data` stays unchanged.
#[derive(Serialize)]
struct Payload<'a, T> {
    r#type: &'a Type,
    timestamp: String,
    data: &'a T,
}

/// Writes the JSON of an event.
#[must_use]
pub fn payload(kind: &Type, at: Millis, data: &impl Serialize) -> String {
    // Views have text for keys, so writing them cannot fail.
    serde_json::to_string(&Payload { r#type: kind, timestamp: view::time(at), data }).unwrap_or_default()
}
