//! What the merchant's policy makes of a transfer.
//!
//! A block's time decides whom a transfer names and whether it is late, and a reorg can give a transfer another block.
//! So what followed from a time is decided again whenever the transfer is seen, until it is deep enough; what came to the
//! same says nothing. A payment stays with its invoice: only whether it is late is found out anew.

use super::{Book, Listed, fits, late_or_not};
use crate::domain::{
    id::{HookId, InvoiceId},
    matching::{self, Candidate, Decision, Reason},
    money::Amount,
    payment::{Exception, PartOf},
    transfer::{self, Transfer},
};

/// The outcome of a decision about a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Pay {
        amount: Amount,
        invoice_id: Option<InvoiceId>,
        exception: Exception,
    },
    List(Reason, Option<InvoiceId>),
    /// Asks this matcher.
    Ask(HookId),
}

/// True if another block time may change the decision.
fn follows_from_time(reason: Reason) -> bool {
    matches!(reason, Reason::TooLate | Reason::Late | Reason::NoMatch)
}

impl Book {
    /// Decides about a transfer by the policy, or leaves it to a matcher.
    pub(super) fn decide(&mut self, transfer: &Transfer) {
        let outcome = self.outcome(transfer);
        self.take(transfer, outcome);
    }

    /// Decides again about a listed transfer whose block time may have changed.
    pub(super) fn decide_again(&mut self, transfer: &Transfer, listed: Listed) {
        let Listed::Open { reason, invoice_id } = listed else { return };
        if !follows_from_time(reason) {
            return;
        }
        let outcome = self.outcome(transfer);
        let is_new = match &outcome {
            Outcome::Pay { .. } => true,
            Outcome::List(now, of) => follows_from_time(*now) && (*now, of) != (reason, &invoice_id),
            // A matcher that had no opinion is not asked a second time.
            Outcome::Ask(_) => false,
        };
        if !is_new {
            return self.review_moved(&transfer.id);
        }
        self.known.listed.remove(&transfer.id);
        self.unlisted.push(transfer.id.clone());
        if let (Reason::Late, Some(invoice_id)) = (reason, invoice_id) {
            self.reviewed(&transfer.id, &invoice_id);
        }
        self.take(transfer, outcome);
    }

    /// Checks again whether the payments of a transfer are late.
    pub(super) fn time_again(&mut self, transfer: &Transfer, parts: &[PartOf]) {
        for part in parts {
            let Some(payment) = self.known.payments.get_mut(part) else { continue };
            let Some(invoice) = payment.invoice_id.as_ref().and_then(|id| self.known.invoices.get(id)) else {
                continue;
            };
            let exception = late_or_not(Candidate::from(invoice).is_missed_by(transfer.block_time));
            let by_policy = matches!(payment.exception, Exception::None | Exception::Late);
            if by_policy && payment.exception != exception {
                payment.exception = exception;
                let invoice_id = invoice.id.clone();
                self.touched_payments.insert(part.clone());
                self.rederive(&invoice_id);
            }
        }
    }

    fn take(&mut self, transfer: &Transfer, outcome: Outcome) {
        match outcome {
            Outcome::Pay { amount, invoice_id, exception } => {
                self.pay(transfer, amount, invoice_id, exception);
            }
            Outcome::List(reason, invoice_id) => self.list(transfer, reason, invoice_id),
            Outcome::Ask(matcher_id) => self.wait(transfer, matcher_id),
        }
    }

    fn outcome(&self, transfer: &Transfer) -> Outcome {
        let seen = matching::Transfer::from(transfer);
        let amount = match (matching::unusable(&seen), transfer.amount) {
            (Some(reason), _) => return Outcome::List(reason, None),
            (None, None) => return Outcome::List(Reason::AmountUnsupported, None),
            (None, Some(amount)) => amount,
        };
        let named = self.known.named.get(&transfer.id).map_or(&[][..], Vec::as_slice);
        if transfer.kind == transfer::Kind::Rise {
            // A rise is never matched: the transfer behind it may still be seen.
            let only = named.first().filter(|_| named.len() == 1).cloned();
            return Outcome::List(Reason::UnexplainedRise, only);
        }
        let customer = self.known.destinations.get(&transfer.address_id).is_some_and(|d| d.customer);
        let invoice = named.first().and_then(|id| self.known.invoices.get(id));
        let matcher = self.matcher(transfer);
        if invoice.is_none() && customer {
            return Outcome::Pay { amount, invoice_id: None, exception: Exception::None };
        }
        if let Some(matcher) = matcher.filter(|matcher| matcher.binding.match_first) {
            return Outcome::Ask(matcher.id.clone());
        }
        let invoice_id = invoice.map(|invoice| invoice.id.clone());
        let decision = if named.len() > 1 {
            Decision::List { reason: Reason::Ambiguous, of_candidate: false }
        } else {
            matching::decide(&seen, invoice.map(Candidate::from).as_ref())
        };
        match (decision, matcher) {
            (Decision::Pay { late }, _) if invoice.is_none_or(|invoice| fits(invoice, amount)) => {
                Outcome::Pay { amount, invoice_id, exception: late_or_not(late) }
            }
            (Decision::Pay { .. }, _) => Outcome::List(Reason::AmountUnsupported, invoice_id),
            (Decision::List { .. }, Some(matcher)) => Outcome::Ask(matcher.id.clone()),
            (Decision::List { reason: Reason::NoMatch, .. }, None) => {
                match self.known.former.get(&transfer.id) {
                    Some(former) => Outcome::List(Reason::TooLate, Some(former.clone())),
                    None => Outcome::List(Reason::NoMatch, None),
                }
            }
            (Decision::List { reason, of_candidate }, None) => {
                Outcome::List(reason, invoice_id.filter(|_| of_candidate))
            }
        }
    }
}
