//! What a book is opened with, and what it ends as.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    correction::Mark,
    event::NewEvent,
    hook::Binding,
    invoice::Invoice,
    ledger::JournalKind,
    matching::Reason,
    near::NearMiss,
    payment::{PartOf, Payment},
    tenant::Mode,
    transfer::{Destination, Transfer},
};

/// An asset, as far as settlement asks.
#[derive(Debug, Clone)]
pub struct AssetNames {
    pub symbol: String,
    pub decimals: u8,
}

/// A hook of a merchant's that says what a transfer pays.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub id: String,
    pub merchant_id: String,
    pub binding: Binding,
}

/// What is known before the changes.
#[derive(Debug, Clone)]
pub struct Known {
    /// By id: those that change, and those that the payments are of.
    pub transfers: BTreeMap<String, Transfer>,
    /// By id.
    pub destinations: BTreeMap<String, Destination>,
    /// By id.
    pub assets: BTreeMap<String, AssetNames>,
    /// By id: every invoice that a transfer names or has paid.
    pub invoices: BTreeMap<String, Invoice>,
    /// Every payment of those transfers and of those invoices.
    pub payments: BTreeMap<PartOf, Payment>,
    /// By the transfer's id: those that are listed as unmatched already.
    pub listed: BTreeMap<String, Listed>,
    /// By the invoice's id: the late transfers that may be meant for it, are on chain and wait for a person.
    pub in_review: BTreeMap<String, BTreeSet<String>>,
    /// By the transfer's id: the invoice that its address, memo or amount names. Two make it ambiguous.
    pub named: BTreeMap<String, Vec<String>>,
    /// By the transfer's id: the invoice that had its memo or amount last, when nobody has it any more.
    pub former: BTreeMap<String, String>,
    /// By the transfer's id: open invoices that it could be meant for.
    pub near: BTreeMap<String, Vec<NearMiss>>,
    /// Those that are asked; none while an answer is taken in.
    pub matchers: Vec<Matcher>,
    /// The network's.
    pub mode: Mode,
    /// The last block that was read completely.
    pub height: i64,
}

impl Known {
    /// Nothing yet, of a network of this mode.
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

/// How a transfer stands on the list of those that pay nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It waits for a person.
    Open { reason: Reason, invoice_id: Option<String> },
    /// A person has decided.
    Closed,
}

impl Listed {
    /// The invoice that waits for a person to look at it.
    #[must_use]
    pub fn late_for(&self) -> Option<&str> {
        match self {
            Self::Open { reason: Reason::Late, invoice_id } => invoice_id.as_deref(),
            _ => None,
        }
    }
}

/// A transfer that is to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub transfer_id: String,
    pub merchant_id: String,
    pub reason: Reason,
    pub invoice_id: Option<String>,
    pub near: Vec<NearMiss>,
}

/// A transfer about which a matcher is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub transfer_id: String,
    pub matcher_id: String,
}

/// A journal that is to be written.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    pub kind: JournalKind,
    pub of: JournalOf,
}

/// What a journal is of.
#[derive(Debug, Clone)]
pub enum JournalOf {
    Payment(Payment),
    Mark(Mark),
}

/// What is to be written.
#[derive(Debug, Default)]
pub struct Written {
    pub payments: Vec<Payment>,
    pub journals: Vec<JournalEntry>,
    pub invoices: Vec<Invoice>,
    /// Transfers that are taken off the list, before anything is put on it.
    pub unlisted: Vec<String>,
    pub listings: Vec<Listing>,
    pub waiting: Vec<Waiting>,
    pub events: Vec<NewEvent>,
}
