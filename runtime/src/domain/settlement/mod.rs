//! Settlement: from changes of transfers to payments, journals, invoices and events. Pure.
//!
//! A [`Book`] is opened with the facts that some changes touch, takes the changes one by one, and ends as a list
//! of what is to be written. The same facts and changes always give the same book; applying a change a second
//! time changes nothing.

mod answer;
mod correct;
mod decide;
mod facts;
mod tell;

use std::collections::{BTreeMap, BTreeSet};

pub use answer::{Disallowed, MatcherAnswer, Share};
pub use facts::{
    AssetNames, JournalEntry, JournalOf, Listed, Listing, Matcher, SettlementFacts, Waiting, Written,
};

use super::{
    Millis,
    correction::CorrectionSummary,
    event::{Data, NewEvent, data::InvoiceEvent},
    id::{Ids, InvoiceId, PaymentId, TransferId},
    invoice::{self, Facts, Invoice},
    ledger::JournalKind,
    money::Amount,
    payment::{self, PartOf, Payment},
    transfer::{Sighting, Transfer},
};

/// Facts, and the changes made to them so far.
pub struct Book {
    known: SettlementFacts,
    ids: Ids,
    now: Millis,
    /// Payments by their invoice.
    by_invoice: BTreeMap<InvoiceId, BTreeSet<PartOf>>,
    touched_payments: BTreeSet<PartOf>,
    touched_invoices: BTreeSet<InvoiceId>,
    journals: Vec<JournalEntry>,
    /// Transfers that were listed and no longer are.
    unlisted: Vec<TransferId>,
    listings: Vec<Listing>,
    waiting: Vec<Waiting>,
    events: Vec<NewEvent>,
    /// The correction of a person from which all changes follow.
    correction: Option<CorrectionSummary>,
}

impl Book {
    #[must_use]
    pub fn open(known: SettlementFacts, ids: &Ids, now: Millis) -> Self {
        let mut by_invoice: BTreeMap<InvoiceId, BTreeSet<PartOf>> = BTreeMap::new();
        for payment in known.payments.values() {
            if let Some(invoice_id) = &payment.invoice_id {
                by_invoice.entry(invoice_id.clone()).or_default().insert(payment.part_of());
            }
        }
        Self {
            known,
            ids: ids.clone(),
            now,
            by_invoice,
            touched_payments: BTreeSet::new(),
            touched_invoices: BTreeSet::new(),
            journals: Vec::new(),
            unlisted: Vec::new(),
            listings: Vec::new(),
            waiting: Vec::new(),
            events: Vec::new(),
            correction: None,
        }
    }

    /// Takes one change of a transfer. `epoch` is the inclusion that it is about.
    pub fn apply(&mut self, kind: Sighting, transfer_id: &TransferId, epoch: i64) {
        match kind {
            Sighting::Included => self.included(transfer_id, epoch),
            Sighting::Confirmed => {
                self.included(transfer_id, epoch);
                self.confirmed(transfer_id, epoch);
            }
            Sighting::Retracted => self.retracted(transfer_id, epoch),
        }
    }

    /// Assigns the rest of a transfer to an invoice, for a person. `confirmed` is true if the transfer is deep enough
    /// already. Returns the payment's id.
    pub fn assign(
        &mut self,
        transfer_id: &TransferId,
        invoice_id: &InvoiceId,
        confirmed: bool,
    ) -> Option<PaymentId> {
        let transfer = self.known.transfers.get(transfer_id).cloned()?;
        let amount = self.unpaid(transfer_id)?;
        self.no_longer_waits(transfer_id, invoice_id);
        self.pay(&transfer, amount, Some(invoice_id.clone()), payment::Exception::Manual);
        if confirmed {
            self.confirmed(transfer_id, transfer.epoch);
        }
        let part = self.parts(transfer_id).pop()?;
        Some(self.known.payments.get(&part)?.id.clone())
    }

    /// Expires an invoice: the chain was read past its deadline.
    pub fn expire(&mut self, invoice_id: &InvoiceId) {
        if let Some(invoice) = self.known.invoices.get_mut(invoice_id) {
            invoice.expired_at.get_or_insert(self.now);
            self.rederive(invoice_id);
        }
    }

    /// Cancels an invoice, for the merchant. Payments that arrived or are on their way stand.
    pub fn cancel(&mut self, invoice_id: &InvoiceId) {
        if let Some(invoice) = self.known.invoices.get_mut(invoice_id) {
            invoice.cancelled_at.get_or_insert(self.now);
            self.rederive(invoice_id);
        }
    }

    /// Ends an invoice's wait for a listed transfer that has been dealt with.
    pub fn reviewed(&mut self, transfer_id: &TransferId, invoice_id: &InvoiceId) {
        self.no_longer_waits(transfer_id, invoice_id);
        self.rederive(invoice_id);
    }

    /// Removes the transfer from those that the invoice waits for.
    fn no_longer_waits(&mut self, transfer_id: &TransferId, invoice_id: &InvoiceId) {
        if let Some(waited_for) = self.known.in_review.get_mut(invoice_id) {
            waited_for.remove(transfer_id);
        }
    }

    /// Updates the invoice that waits for a transfer, after the transfer came or went.
    fn review_moved(&mut self, transfer_id: &TransferId) {
        let listed = self.known.listed.get(transfer_id);
        if let Some(invoice_id) = listed.and_then(Listed::late_for).cloned() {
            self.rederive(&invoice_id);
        }
    }

    /// The invoice with the changes so far.
    #[must_use]
    pub fn invoice(&self, id: &InvoiceId) -> Option<&Invoice> {
        self.known.invoices.get(id)
    }

    #[must_use]
    pub fn close(mut self) -> Written {
        let payments = self.touched_payments.iter().filter_map(|id| self.known.payments.remove(id)).collect();
        let invoices = self.touched_invoices.iter().filter_map(|id| self.known.invoices.remove(id)).collect();
        let Self { journals, unlisted, listings, waiting, events, .. } = self;
        Written { payments, journals, invoices, unlisted, listings, waiting, events }
    }

    fn included(&mut self, transfer_id: &TransferId, epoch: i64) {
        let parts = self.parts(transfer_id);
        for part in &parts {
            let Some(payment) = self.known.payments.get_mut(part) else { continue };
            if payment.status == payment::Status::Retracted && payment.epoch < epoch {
                payment.status = payment::Status::Pending;
                payment.epoch = epoch;
                let invoice_id = payment.invoice_id.clone();
                self.touched_payments.insert(part.clone());
                if let Some(invoice_id) = invoice_id {
                    self.rederive(&invoice_id);
                }
            }
        }
        let Some(transfer) = self.known.transfers.get(transfer_id).cloned() else { return };
        let transfer = Transfer { epoch, ..transfer };
        match self.known.listed.get(transfer_id).cloned() {
            None if parts.is_empty() => self.decide(&transfer),
            None => self.time_again(&transfer, &parts),
            Some(listed) if parts.is_empty() => self.decide_again(&transfer, listed),
            Some(_) => {}
        }
    }

    fn pay(
        &mut self,
        transfer: &Transfer,
        amount: Amount,
        invoice_id: Option<InvoiceId>,
        exception: payment::Exception,
    ) {
        let payment = Payment {
            id: self.ids.next(self.now),
            transfer_id: transfer.id.clone(),
            part: self.parts(&transfer.id).last().map_or(0, |(_, part)| part + 1),
            merchant_id: transfer.merchant_id.clone(),
            invoice_id: invoice_id.clone(),
            address_id: transfer.address_id.clone(),
            asset_id: transfer.asset_id.clone(),
            amount,
            status: payment::Status::Pending,
            exception,
            epoch: transfer.epoch,
            created_at: self.now,
            credited_at: None,
        };
        let part = payment.part_of();
        self.known.payments.insert(part.clone(), payment);
        self.touched_payments.insert(part.clone());
        if let Some(invoice_id) = invoice_id {
            self.by_invoice.entry(invoice_id.clone()).or_default().insert(part);
            self.rederive(&invoice_id);
        }
    }

    fn confirmed(&mut self, transfer_id: &TransferId, epoch: i64) {
        let now = self.now;
        for part in self.parts(transfer_id) {
            let Some(payment) = self.known.payments.get_mut(&part) else { continue };
            if payment.status != payment::Status::Pending || payment.epoch != epoch {
                continue;
            }
            payment.status = payment::Status::Credited;
            payment.credited_at = Some(now);
            let payment = payment.clone();
            self.touched_payments.insert(part);
            let of = JournalOf::Payment(payment.clone());
            self.journals.push(JournalEntry { kind: JournalKind::Credit, of });
            self.tell_of(&payment, Data::DepositCredited);
        }
    }

    fn retracted(&mut self, transfer_id: &TransferId, epoch: i64) {
        self.review_moved(transfer_id);
        for part in self.parts(transfer_id) {
            let Some(payment) = self.known.payments.get_mut(&part) else { continue };
            if payment.epoch != epoch || !payment.status.counts() {
                continue;
            }
            let was_credited = payment.status == payment::Status::Credited;
            payment.status = payment::Status::Retracted;
            let payment = payment.clone();
            self.touched_payments.insert(part);
            if was_credited {
                let of = JournalOf::Payment(payment.clone());
                self.journals.push(JournalEntry { kind: JournalKind::Reversal, of });
                self.tell_of(&payment, Data::DepositReverted);
            } else if let Some(invoice_id) = &payment.invoice_id {
                self.rederive(invoice_id);
            }
        }
    }

    /// The parts of a transfer that are payments, in order.
    fn parts(&self, transfer_id: &TransferId) -> Vec<PartOf> {
        let from = (transfer_id.clone(), 0);
        self.known
            .payments
            .range(from..)
            .map(|(part, _)| part)
            .take_while(|(id, _)| id == transfer_id)
            .cloned()
            .collect()
    }

    /// Amount of a transfer that no payment has taken, base units.
    #[must_use]
    pub fn unpaid(&self, transfer_id: &TransferId) -> Option<Amount> {
        let amount = self.known.transfers.get(transfer_id)?.amount?;
        let paid = self
            .parts(transfer_id)
            .iter()
            .filter_map(|part| self.known.payments.get(part))
            .filter(|p| p.status.takes())
            .map(|p| p.amount.0)
            .sum();
        amount.0.checked_sub(paid).map(Amount)
    }

    /// Derives an invoice's status from its facts, and tells of the invoice if the status is new.
    fn rederive(&mut self, invoice_id: &InvoiceId) {
        self.bring(invoice_id, None);
    }

    /// As [`Book::rederive`]; with `told_as`, tells of the invoice in any case, as that event.
    fn bring(&mut self, invoice_id: &InvoiceId, told_as: Option<fn(Box<InvoiceEvent>) -> Data>) {
        let in_review = self.known.in_review.get(invoice_id).is_some_and(|waits| !waits.is_empty());
        let Some(invoice) = self.known.invoices.get_mut(invoice_id) else { return };
        let own = self.by_invoice.get(invoice_id);
        let payments = || own.into_iter().flatten().filter_map(|part| self.known.payments.get(part));
        // `fits` was asked before each payment was taken, so the sums do not saturate.
        let sum = |status| {
            Amount(
                payments()
                    .filter(|p| p.status == status)
                    .fold(0, |sum: u128, p| sum.saturating_add(p.amount.0)),
            )
        };
        let live = || payments().filter(|p| p.status.counts());
        let credited = Amount(sum(payment::Status::Credited).0.saturating_add(invoice.marked.0));
        let facts = Facts {
            due: invoice.due,
            credited,
            pending: sum(payment::Status::Pending),
            expired: invoice.expired_at.is_some(),
            cancelled: invoice.cancelled_at.is_some(),
            in_review,
            late: live().any(|p| p.exception == payment::Exception::Late),
            manual: !invoice.marked.is_zero() || live().any(|p| p.exception == payment::Exception::Manual),
            reorged: payments().any(|p| p.status == payment::Status::Retracted && p.credited_at.is_some()),
        };
        let (status, exception) = invoice::derive(&facts, &invoice.policy);
        let before = (invoice.status, invoice.credited);
        let is_paid = |status| matches!(status, invoice::Status::Paid | invoice::Status::Overpaid);
        invoice.status = status;
        invoice.exception = exception;
        invoice.credited = facts.credited;
        invoice.pending = facts.pending;
        if is_paid(status) {
            invoice.paid_at.get_or_insert(self.now);
        } else {
            invoice.paid_at = None;
        }
        self.touched_invoices.insert(invoice_id.clone());
        if told_as.is_none() && before == (status, facts.credited) {
            return;
        }
        let told_as = told_as.unwrap_or(match status {
            _ if facts.credited < before.1 => Data::InvoiceReverted,
            invoice::Status::New => Data::InvoiceReverted,
            invoice::Status::Detected => Data::InvoiceDetected,
            invoice::Status::Underpaid => Data::InvoiceUnderpaid,
            invoice::Status::Paid => Data::InvoicePaid,
            invoice::Status::Overpaid => Data::InvoiceOverpaid,
            invoice::Status::Expired => Data::InvoiceExpired,
            invoice::Status::ManualReview => Data::InvoiceManualReview,
            invoice::Status::Cancelled => Data::InvoiceCancelled,
        });
        invoice.sequence += 1;
        self.tell_invoice(invoice_id, told_as);
    }
}

fn late_or_not(late: bool) -> payment::Exception {
    if late { payment::Exception::Late } else { payment::Exception::None }
}

/// True if another payment of this amount does not overflow the sums.
fn fits(invoice: &Invoice, amount: Amount) -> bool {
    invoice.credited.checked_add(invoice.pending).and_then(|sum| sum.checked_add(amount)).is_some()
}
