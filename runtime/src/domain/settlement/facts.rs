//! What a book is opened with, and what it ends as.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    correction::Mark,
    event::NewEvent,
    hook::Binding,
    id::{AddressId, HookId, InvoiceId, MerchantId, TransferId},
    invoice::Invoice,
    ledger::JournalKind,
    matching::Reason,
    near::NearMiss,
    payment::{PartOf, Payment},
    tenant::Mode,
    transfer::{Destination, Transfer},
};

/// An asset, reduced to what settlement needs.
#[derive(Debug, Clone)]
pub struct AssetNames {
    pub symbol: String,
    pub decimals: u8,
}

/// A merchant's hook that decides what a transfer pays.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub id: HookId,
    pub merchant_id: MerchantId,
    pub binding: Binding,
}

/// The facts before the changes.
#[derive(Debug, Clone)]
pub struct SettlementFacts {
    /// Transfers by id: the changed ones, and those behind the payments.
    pub transfers: BTreeMap<TransferId, Transfer>,
    /// Destinations by id.
    pub destinations: BTreeMap<AddressId, Destination>,
    /// Assets by id.
    pub assets: BTreeMap<String, AssetNames>,
    /// Invoices by id: all that a transfer names or has paid.
    pub invoices: BTreeMap<InvoiceId, Invoice>,
    /// All payments of those transfers and of those invoices.
    pub payments: BTreeMap<PartOf, Payment>,
    /// Transfers that are listed as unmatched already, by id.
    pub listed: BTreeMap<TransferId, Listed>,
    /// Late transfers that may be meant for an invoice, are on chain and wait for a person, by the invoice's id.
    pub in_review: BTreeMap<InvoiceId, BTreeSet<TransferId>>,
    /// Invoices that a transfer's address, memo or amount names, by the transfer's id. Two make it ambiguous.
    pub named: BTreeMap<TransferId, Vec<InvoiceId>>,
    /// The last invoice that held a transfer's memo or amount, if none holds it now, by the transfer's id.
    pub former: BTreeMap<TransferId, InvoiceId>,
    /// Open invoices that a transfer could be meant for, by the transfer's id.
    pub near: BTreeMap<TransferId, Vec<NearMiss>>,
    /// Matchers to ask; empty while an answer is taken in.
    pub matchers: Vec<Matcher>,
    /// Mode of the network.
    pub mode: Mode,
    /// The last block that was read completely.
    pub height: i64,
}

impl SettlementFacts {
    /// Makes empty facts of a network of this mode.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        Self {
            transfers: BTreeMap::new(),
            destinations: BTreeMap::new(),
            assets: BTreeMap::new(),
            invoices: BTreeMap::new(),
            payments: BTreeMap::new(),
            listed: BTreeMap::new(),
            in_review: BTreeMap::new(),
            named: BTreeMap::new(),
            former: BTreeMap::new(),
            near: BTreeMap::new(),
            matchers: Vec::new(),
            mode,
            height: 0,
        }
    }
}

/// The state of a transfer on the list of those that pay nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It waits for a person.
    Open { reason: Reason, invoice_id: Option<InvoiceId> },
    /// A person has decided.
    Closed,
}

impl Listed {
    /// The invoice that waits for a person to look at this late transfer.
    #[must_use]
    pub fn late_for(&self) -> Option<&InvoiceId> {
        match self {
            Self::Open { reason: Reason::Late, invoice_id } => invoice_id.as_ref(),
            _ => None,
        }
    }
}

/// A transfer to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub transfer_id: TransferId,
    pub merchant_id: MerchantId,
    pub reason: Reason,
    pub invoice_id: Option<InvoiceId>,
    pub near: Vec<NearMiss>,
}

/// A transfer to put to a matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub transfer_id: TransferId,
    pub matcher_id: HookId,
}

/// A journal to be written.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    pub kind: JournalKind,
    pub of: JournalOf,
}

/// The subject of a journal.
#[derive(Debug, Clone)]
pub enum JournalOf {
    Payment(Payment),
    Mark(Mark),
}

/// The changes to write.
#[derive(Debug, Default)]
pub struct Written {
    pub payments: Vec<Payment>,
    pub journals: Vec<JournalEntry>,
    pub invoices: Vec<Invoice>,
    /// Transfers to take off the list, before others are put on it.
    pub unlisted: Vec<TransferId>,
    pub listings: Vec<Listing>,
    pub waiting: Vec<Waiting>,
    pub events: Vec<NewEvent>,
}
