//! What a merchant's matcher is asked about, and what follows from its answer.
//!
//! A transfer that a matcher is asked about is listed like every other that pays nothing, with the reason
//! [`Reason::Matching`]; so it is never without an outcome, and a person can still decide. The answer is believed
//! only as far as the facts of that moment allow; otherwise the built-in policy decides.

use std::collections::BTreeSet;

use super::{Book, Listed, Listing, Matcher, Waiting, fits, late_or_not};
use crate::domain::{
    id::{HookId, InvoiceId, TransferId},
    matching::{self, Candidate, Decision, Reason},
    money::Amount,
    payment,
    transfer::Transfer,
};

/// The part of a transfer that an invoice receives.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Share {
    pub invoice_id: InvoiceId,
    pub amount: Amount,
}

/// What a matcher said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatcherAnswer {
    /// Pays these shares. The rest is listed.
    Pay(Vec<Share>),
    /// Asks for a person to look.
    Review,
    /// No opinion: the built-in policy decides.
    Pass,
}

/// Why the facts do not allow an answer. Invoices are named by their ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disallowed {
    #[error("it pays nobody")]
    Nobody,
    #[error("{0} is no invoice of the merchant's")]
    NoInvoice(InvoiceId),
    #[error("it pays {0} twice")]
    Twice(InvoiceId),
    #[error("it pays {0} nothing")]
    Nothing(InvoiceId),
    #[error("it pays more than arrived")]
    MoreThanArrived,
    #[error("{0} cannot count so much")]
    Uncountable(InvoiceId),
    #[error("{invoice_id} cannot be paid by it: {}", .reason.as_str())]
    Unpayable { invoice_id: InvoiceId, reason: Reason },
}

impl Book {
    /// Takes a matcher's answer about a transfer that is no longer listed. `confirmed` is true if the transfer is deep
    /// enough already.
    ///
    /// Errors with the reason if the facts do not allow the answer; nothing is done then.
    pub fn answered(
        &mut self,
        transfer_id: &TransferId,
        answer: &MatcherAnswer,
        confirmed: bool,
    ) -> Result<(), Disallowed> {
        let Some(transfer) = self.known.transfers.get(transfer_id).cloned() else { return Ok(()) };
        match answer {
            MatcherAnswer::Pay(shares) => {
                let allowed = self.allowed(&transfer, shares)?;
                for (share, exception) in shares.iter().zip(allowed) {
                    self.pay(&transfer, share.amount, Some(share.invoice_id.clone()), exception);
                }
                if self.unpaid(transfer_id).is_some_and(|rest| !rest.is_zero()) {
                    self.list(&transfer, Reason::Rest, None);
                }
            }
            MatcherAnswer::Review => self.list(&transfer, Reason::HookReview, None),
            MatcherAnswer::Pass => self.decide(&transfer),
        }
        if confirmed {
            self.confirmed(transfer_id, transfer.epoch);
        }
        Ok(())
    }

    /// Checks that the shares may be paid, and finds each one's exception.
    fn allowed(&self, transfer: &Transfer, shares: &[Share]) -> Result<Vec<payment::Exception>, Disallowed> {
        let mut seen = BTreeSet::new();
        let mut left = transfer.amount.unwrap_or(Amount::ZERO).0;
        let mut allowed = Vec::with_capacity(shares.len());
        if shares.is_empty() {
            return Err(Disallowed::Nobody);
        }
        for Share { invoice_id, amount } in shares {
            let invoice = self.known.invoices.get(invoice_id);
            let invoice = invoice.filter(|invoice| invoice.tenant.merchant == transfer.merchant_id);
            let invoice = invoice.ok_or_else(|| Disallowed::NoInvoice(invoice_id.clone()))?;
            if !seen.insert(invoice_id) {
                return Err(Disallowed::Twice(invoice_id.clone()));
            }
            if amount.is_zero() {
                return Err(Disallowed::Nothing(invoice_id.clone()));
            }
            left = left.checked_sub(amount.0).ok_or(Disallowed::MoreThanArrived)?;
            match matching::decide(&transfer.into(), Some(&Candidate::from(invoice))) {
                Decision::Pay { late } if fits(invoice, *amount) => allowed.push(late_or_not(late)),
                Decision::Pay { .. } => return Err(Disallowed::Uncountable(invoice_id.clone())),
                Decision::List { reason, .. } => {
                    return Err(Disallowed::Unpayable { invoice_id: invoice_id.clone(), reason });
                }
            }
        }
        Ok(allowed)
    }

    /// The matcher to ask about this transfer: the first whose binding fits it.
    pub(super) fn matcher(&self, transfer: &Transfer) -> Option<&Matcher> {
        let symbol = &self.known.assets.get(&transfer.asset_id)?.symbol;
        let asked = |matcher: &&Matcher| {
            matcher.merchant_id == transfer.merchant_id
                && matcher.binding.wants_transfer(&transfer.network, symbol)
        };
        self.known.matchers.iter().find(asked)
    }

    /// Lists the transfer until the matcher has answered. No event is made before that.
    pub(super) fn wait(&mut self, transfer: &Transfer, matcher_id: HookId) {
        let listed = Listed::Open { reason: Reason::Matching, invoice_id: None };
        self.known.listed.insert(transfer.id.clone(), listed);
        self.listings.push(Listing {
            transfer_id: transfer.id.clone(),
            merchant_id: transfer.merchant_id.clone(),
            reason: Reason::Matching,
            invoice_id: None,
            near: Vec::new(),
        });
        self.waiting.push(Waiting { transfer_id: transfer.id.clone(), matcher_id });
    }
}
