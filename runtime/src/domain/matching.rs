//! Which invoice a transfer pays, by what is certain: its address, its memo, its exact amount.
//!
//! Never a guess: what two invoices could claim, or what does not fit, is listed with its [`Reason`] for a
//! person to assign.

use std::fmt;

use super::{
    Millis,
    id::{AddressId, InvoiceId},
    invoice::{Invoice, Matching},
    money::Amount,
    policy::{Late, Policy},
    transfer,
    word::words,
};

words! {
    /// Why a transfer pays nothing by itself.
    #[schema(as = UnmatchedReason)]
    Reason {
        /// It moves nothing. Strangers can cause such transfers between any two addresses.
        ZeroValue = "zero_value",
        /// More than 128 bits of base units.
        AmountUnsupported = "amount_unsupported",
        /// Its memo is encrypted, binary or malformed.
        MemoUnreadable = "memo_unreadable",
        /// No invoice on this address waits for this amount or memo.
        NoMatch = "no_match",
        /// The memo names an invoice of another asset.
        WrongAsset = "wrong_asset",
        /// It was paid before the invoice was made.
        BeforeInvoice = "before_invoice",
        /// It came after the deadline, and the merchant wants to look at late payments.
        Late = "late",
        /// It came after the time in which a late payment is still told apart.
        TooLate = "too_late",
        /// The merchant cancelled the invoice before it arrived.
        Cancelled = "cancelled",
        /// Another payment had paid the invoice already.
        AlreadyPaid = "already_paid",
        /// Several invoices of this address are open.
        Ambiguous = "ambiguous",
        /// A balance rose by it, and no transaction that was seen explains the rise: mostly a contract sent it.
        UnexplainedRise = "unexplained_rise",
        /// A hook of the merchant's is being asked, which takes a moment.
        Matching = "matching",
        /// A hook said that a person has to look.
        HookReview = "hook_review",
        /// It is what remained after a hook divided a transfer among invoices.
        Rest = "rest",
    }
}

/// The key under which an invoice on a shared address waits for its exact amount. With a price in place of the amount
/// due, it names the ring of unique amounts of that price.
#[must_use]
pub fn amount_key(address_id: &AddressId, asset_id: &str, amount: impl fmt::Display) -> String {
    format!("{address_id}/{asset_id}={amount}")
}

/// The key under which an invoice on a shared address waits for its memo.
#[must_use]
pub fn memo_key(address_id: &AddressId, memo: &str) -> String {
    format!("{address_id}/memo={}", memo.trim())
}

/// The key that tells an invoice's payment apart; `None` if the invoice has an address of its own.
#[must_use]
pub fn hold_key(invoice: &Invoice) -> Option<String> {
    match (invoice.matching, &invoice.memo) {
        (Matching::Address, _) | (Matching::Memo, None) => None,
        (Matching::Memo, Some(memo)) => Some(memo_key(&invoice.address_id, memo)),
        (Matching::Amount, _) => Some(amount_key(&invoice.address_id, &invoice.asset_id, invoice.due)),
    }
}

/// The holder of a key from one block time to another, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub key: String,
    pub invoice_id: InvoiceId,
    pub since: Millis,
    pub until: Millis,
}

/// The invoice that a key names at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// The invoice that held it then.
    Holder(&'a InvoiceId),
    /// Nobody held it any more; this invoice was the last holder before.
    Former(&'a InvoiceId),
    Nobody,
}

/// Finds the invoice that these holds of one key name at the time of a block.
#[must_use]
pub fn named<'a>(holds: impl Iterator<Item = &'a Hold> + Clone, at: Millis) -> Named<'a> {
    let holder = holds.clone().find(|hold| hold.since <= at && at <= hold.until);
    let former = || holds.filter(|hold| hold.until < at).max_by_key(|hold| hold.until);
    match (holder, holder.is_none().then(former).flatten()) {
        (Some(hold), _) => Named::Holder(&hold.invoice_id),
        (None, Some(hold)) => Named::Former(&hold.invoice_id),
        (None, None) => Named::Nobody,
    }
}

/// A transfer, reduced to what matching needs.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    pub asset_id: &'a str,
    pub amount: Option<Amount>,
    pub memo_unreadable: bool,
    /// Place in the network's log at which it was first seen.
    pub seq: i64,
    pub block_time: Millis,
}

impl<'a> From<&'a transfer::Transfer> for Transfer<'a> {
    fn from(transfer: &'a transfer::Transfer) -> Self {
        Self {
            asset_id: &transfer.asset_id,
            amount: transfer.amount,
            memo_unreadable: transfer.memo_problem.is_some(),
            seq: transfer.seq,
            block_time: transfer.block_time,
        }
    }
}

/// An invoice that a transfer may pay, reduced to what matching needs.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    pub asset_id: &'a str,
    pub matching: Matching,
    pub policy: Policy,
    /// Number of the last entry of the network's log when the invoice was made.
    pub sighted: i64,
    /// The deadline; `None` if it does not count yet.
    pub deadline: Option<Millis>,
    pub cancelled_at: Option<Millis>,
    /// True if payments (credited or on their way) cover the amount due.
    pub covered: bool,
}

impl<'a> From<&'a Invoice> for Candidate<'a> {
    fn from(invoice: &'a Invoice) -> Self {
        Self {
            asset_id: &invoice.asset_id,
            matching: invoice.matching,
            policy: invoice.policy,
            sighted: invoice.sighted,
            deadline: invoice.pinned.then_some(invoice.expires_at),
            cancelled_at: invoice.cancelled_at,
            covered: invoice.credited.0.saturating_add(invoice.pending.0) >= invoice.due.0,
        }
    }
}

impl Candidate<'_> {
    /// True if a block of this time is past the deadline.
    #[must_use]
    pub fn is_missed_by(&self, block_time: Millis) -> bool {
        self.deadline.is_some_and(|deadline| block_time > deadline)
    }
}

/// The decision about a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It pays the candidate.
    Pay { late: bool },
    /// It is listed for a person; `of_candidate` says whether the candidate may be meant.
    List { reason: Reason, of_candidate: bool },
}

/// The reason why a transfer can pay nothing at all, whoever it is for; `None` if it can.
#[must_use]
pub fn unusable(transfer: &Transfer<'_>) -> Option<Reason> {
    match transfer.amount {
        None => Some(Reason::AmountUnsupported),
        Some(amount) if amount.is_zero() => Some(Reason::ZeroValue),
        Some(_) => None,
    }
}

/// Decides about a usable transfer and the one invoice that its address, memo or amount names.
#[must_use]
pub fn decide(transfer: &Transfer<'_>, candidate: Option<&Candidate<'_>>) -> Decision {
    let list = |reason, of_candidate| Decision::List { reason, of_candidate };
    let Some(candidate) = candidate else {
        let reason = if transfer.memo_unreadable { Reason::MemoUnreadable } else { Reason::NoMatch };
        return list(reason, false);
    };
    if candidate.asset_id != transfer.asset_id {
        return list(Reason::WrongAsset, true);
    }
    // Neither by a clock, since this machine's may be wrong, nor by height, since a reorg can bring a payment to a
    // lower one: what was seen before is older.
    if transfer.seq <= candidate.sighted {
        return list(Reason::BeforeInvoice, true);
    }
    if candidate.cancelled_at.is_some() {
        return list(Reason::Cancelled, true);
    }
    if candidate.covered && candidate.matching != Matching::Address {
        // An own address belongs to this invoice alone: more money there is an overpayment. On a shared
        // address a second equal payment may be somebody's mistake: a person decides.
        return list(Reason::AlreadyPaid, true);
    }
    let late = candidate.is_missed_by(transfer.block_time);
    if late && candidate.policy.late == Late::Review {
        return list(Reason::Late, true);
    }
    Decision::Pay { late }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer<'static> {
        Transfer {
            asset_id: "base:native",
            amount: Some(Amount(5)),
            memo_unreadable: false,
            seq: 101,
            block_time: 1_000_000,
        }
    }

    fn candidate() -> Candidate<'static> {
        Candidate {
            asset_id: "base:native",
            matching: Matching::Amount,
            policy: Policy::default(),
            sighted: 100,
            deadline: Some(2_000_000),
            cancelled_at: None,
            covered: false,
        }
    }

    fn reason(decision: Decision) -> Option<Reason> {
        match decision {
            Decision::Pay { .. } => None,
            Decision::List { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn a_fitting_transfer_pays() {
        assert_eq!(decide(&transfer(), Some(&candidate())), Decision::Pay { late: false });
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(reason(decide(&transfer(), None)), Some(Reason::NoMatch));
        let other = Candidate { asset_id: "base:0x1", ..candidate() };
        assert_eq!(reason(decide(&transfer(), Some(&other))), Some(Reason::WrongAsset));
        let cancelled = Candidate { cancelled_at: Some(1), ..candidate() };
        assert_eq!(reason(decide(&transfer(), Some(&cancelled))), Some(Reason::Cancelled));
        let covered = Candidate { covered: true, ..candidate() };
        assert_eq!(reason(decide(&transfer(), Some(&covered))), Some(Reason::AlreadyPaid));
        let own = Candidate { matching: Matching::Address, ..covered };
        assert_eq!(decide(&transfer(), Some(&own)), Decision::Pay { late: false });
    }

    #[test]
    fn what_was_seen_before_the_invoice_was_made_is_older() {
        let older = Transfer { seq: 100, ..transfer() };
        assert_eq!(reason(decide(&older, Some(&candidate()))), Some(Reason::BeforeInvoice));
        // The deadline is by the time of blocks, whatever a clock says.
        let clock_behind = Transfer { block_time: 0, ..transfer() };
        assert_eq!(decide(&clock_behind, Some(&candidate())), Decision::Pay { late: false });
    }

    #[test]
    fn a_deadline_that_does_not_count_yet_is_not_missed() {
        let late = Transfer { block_time: 9_000_000, ..transfer() };
        let unpinned = Candidate { deadline: None, ..candidate() };
        assert_eq!(decide(&late, Some(&unpinned)), Decision::Pay { late: false });
    }

    #[test]
    fn late_is_the_merchants_policy() {
        let late = Transfer { block_time: 2_000_001, ..transfer() };
        assert_eq!(decide(&late, Some(&candidate())), Decision::Pay { late: true });
        let policy = Policy { late: Late::Review, ..Policy::default() };
        assert_eq!(reason(decide(&late, Some(&Candidate { policy, ..candidate() }))), Some(Reason::Late));
        let in_time = Transfer { block_time: 2_000_000, ..transfer() };
        assert_eq!(decide(&in_time, Some(&candidate())), Decision::Pay { late: false });
    }

    #[test]
    fn a_key_names_whoever_held_it_then() {
        let hold = |invoice_id: &InvoiceId, since, until| Hold {
            key: "k".to_owned(),
            invoice_id: invoice_id.clone(),
            since,
            until,
        };
        let holds = [hold(&"inv_b".into(), 30, 40), hold(&"inv_a".into(), 10, 20)];
        let at = |at| named(holds.iter(), at);
        let (a, b) = ("inv_a".into(), "inv_b".into());
        assert_eq!([at(10), at(15), at(20)], [Named::Holder(&a); 3]);
        assert_eq!([at(30), at(40)], [Named::Holder(&b); 2]);
        assert_eq!(at(9), Named::Nobody);
        assert_eq!([at(21), at(29)], [Named::Former(&a); 2]);
        assert_eq!(at(41), Named::Former(&b));
    }

    #[test]
    fn what_moves_nothing_pays_nothing() {
        assert_eq!(unusable(&Transfer { amount: Some(Amount(0)), ..transfer() }), Some(Reason::ZeroValue));
        assert_eq!(unusable(&Transfer { amount: None, ..transfer() }), Some(Reason::AmountUnsupported));
    }
}
