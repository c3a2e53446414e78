//! What a person puts right. Each ends in the same additions as what the chain causes: payments, journals, invoices
//! that are derived anew, events.

use super::{Book, JournalEntry, JournalOf};
use crate::domain::{
    Millis,
    correction::{Correction, Mark},
    event::Data,
    id::{InvoiceId, TransferId},
    ledger::JournalKind,
    matching::Reason,
    payment::{self, Payment},
};

impl Book {
    /// Attaches this correction to the events that follow.
    pub fn corrected_by(&mut self, correction: &Correction) {
        self.correction = Some(correction.into());
    }

    /// Takes back a person's assignment of this transfer. Returns its payment, if there is one.
    pub fn unassign(&mut self, transfer_id: &TransferId) -> Option<Payment> {
        let manual = |part: &payment::PartOf| {
            self.known.payments.get(part).is_some_and(|payment| {
                payment.exception == payment::Exception::Manual
                    && payment.status != payment::Status::Unassigned
            })
        };
        let part = self.parts(transfer_id).into_iter().find(manual)?;
        let payment = self.known.payments.get_mut(&part)?;
        let was_credited = payment.status == payment::Status::Credited;
        payment.status = payment::Status::Unassigned;
        let payment = payment.clone();
        self.touched_payments.insert(part);
        if was_credited {
            let of = JournalOf::Payment(payment.clone());
            self.journals.push(JournalEntry { kind: JournalKind::Reversal, of });
        }
        if let Some(invoice_id) = &payment.invoice_id {
            self.rederive(invoice_id);
        }
        Some(payment)
    }

    /// Tells that a transfer is listed again for this reason. An invoice that a late one may be meant for waits for it.
    pub fn listed_again(&mut self, transfer_id: &TransferId, reason: Reason, invoice_id: Option<&InvoiceId>) {
        let Some(transfer) = self.known.transfers.get(transfer_id).cloned() else { return };
        self.tell_listed(&transfer, reason, invoice_id);
        if let Some(invoice_id) = invoice_id.filter(|_| reason == Reason::Late) {
            self.waits(&transfer, invoice_id);
        }
    }

    /// Adds an amount that a person reports as paid in a way that Kassa cannot see.
    pub fn mark(&mut self, mark: Mark) {
        let Some(invoice) = self.known.invoices.get_mut(&mark.invoice_id) else { return };
        // The caller has checked that the sum fits.
        invoice.marked.0 = invoice.marked.0.saturating_add(mark.amount.0);
        let invoice_id = mark.invoice_id.clone();
        self.journals.push(JournalEntry { kind: JournalKind::Credit, of: JournalOf::Mark(mark) });
        self.rederive(&invoice_id);
    }

    /// Takes such an amount back.
    pub fn unmark(&mut self, mark: Mark) {
        let Some(invoice) = self.known.invoices.get_mut(&mark.invoice_id) else { return };
        invoice.marked.0 = invoice.marked.0.saturating_sub(mark.amount.0);
        let invoice_id = mark.invoice_id.clone();
        self.journals.push(JournalEntry { kind: JournalKind::Reversal, of: JournalOf::Mark(mark) });
        self.rederive(&invoice_id);
    }

    /// Gives an invoice another deadline.
    pub fn extend(&mut self, invoice_id: &InvoiceId, expires_at: Millis, held_until: Millis) {
        self.set_deadline(invoice_id, expires_at, held_until);
        self.bring(invoice_id, Some(Data::InvoiceExtended));
    }

    /// Makes an invoice that had expired or was cancelled payable again.
    pub fn reopen(&mut self, invoice_id: &InvoiceId, expires_at: Millis, held_until: Millis) {
        self.set_deadline(invoice_id, expires_at, held_until);
        if let Some(invoice) = self.known.invoices.get_mut(invoice_id) {
            invoice.cancelled_at = None;
        }
        self.bring(invoice_id, Some(Data::InvoiceReopened));
    }

    fn set_deadline(&mut self, invoice_id: &InvoiceId, expires_at: Millis, held_until: Millis) {
        if let Some(invoice) = self.known.invoices.get_mut(invoice_id) {
            invoice.expires_at = expires_at;
            invoice.held_until = held_until;
            invoice.expired_at = None;
        }
    }
}
