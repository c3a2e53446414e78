//! Settlement: from changes of transfers to payments, journals, invoices and events. Pure.
//!
//! A [`Book`] is opened with the facts that some changes touch, takes the changes one by one, and ends as a list
//! of what is to be written. The same facts and changes always give the same book; applying a change a second
//! time changes nothing.

mod facts;

use std::collections::{BTreeMap, BTreeSet};

pub use facts::{AssetNames, Destination, JournalEntry, Known, Listing, Written};

use super::{
    Millis,
    event::{self, NewEvent},
    id,
    invoice::{self, Facts, Invoice},
    ledger::JournalKind,
    matching::{self, Candidate, Decision, Reason},
    money::Amount,
    payment::{self, Payment},
    transfer::{Sighting, Transfer},
    view::{InvoiceView, Names, PaymentView, TransferView},
};

/// Facts, and what the changes so far made of them.
pub struct Book {
    known: Known,
    now: Millis,
    /// The transfers whose payments are for an invoice.
    by_invoice: BTreeMap<String, BTreeSet<String>>,
    touched_payments: BTreeSet<String>,
    touched_invoices: BTreeSet<String>,
    journals: Vec<JournalEntry>,
    listings: Vec<Listing>,
    events: Vec<NewEvent>,
}

impl Book {
    #[must_use]
    pub fn open(known: Known, now: Millis) -> Self {
        let mut by_invoice: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for payment in known.payments.values() {
            if let Some(invoice_id) = &payment.invoice_id {
                by_invoice.entry(invoice_id.clone()).or_default().insert(payment.transfer_id.clone());
            }
        }
        Self {
            known,
            now,
            by_invoice,
            touched_payments: BTreeSet::new(),
            touched_invoices: BTreeSet::new(),
            journals: Vec::new(),
            listings: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes one change of a transfer. `epoch` is the inclusion that it speaks of.
    pub fn apply(&mut self, kind: Sighting, transfer_id: &str, epoch: i64) {
        match kind {
            Sighting::Included => self.included(transfer_id, epoch),
            Sighting::Confirmed => {
                self.included(transfer_id, epoch);
                self.confirmed(transfer_id, epoch);
            }
            Sighting::Retracted => self.retracted(transfer_id, epoch),
        }
    }

    /// A person says that this transfer pays this invoice. `confirmed`: it is deep enough already.
    pub fn assign(&mut self, transfer_id: &str, invoice_id: &str, confirmed: bool) {
        let Some(transfer) = self.known.transfers.get(transfer_id).cloned() else { return };
        let Some(amount) = transfer.amount else { return };
        self.known.in_review.remove(invoice_id);
        self.pay(&transfer, amount, Some(invoice_id.to_owned()), payment::Exception::Manual);
        if confirmed {
            self.confirmed(transfer_id, transfer.epoch);
        }
    }

    /// The clock says that this invoice's deadline has passed.
    pub fn expire(&mut self, invoice_id: &str) {
        if let Some(invoice) = self.known.invoices.get_mut(invoice_id) {
            invoice.expired_at.get_or_insert(self.now);
            self.rederive(invoice_id);
        }
    }

    /// The merchant cancels it. What has been paid or is on its way stands.
    pub fn cancel(&mut self, invoice_id: &str) {
        if let Some(invoice) = self.known.invoices.get_mut(invoice_id) {
            invoice.cancelled_at.get_or_insert(self.now);
            self.rederive(invoice_id);
        }
    }

    /// A listed transfer that this invoice waited for is dealt with.
    pub fn reviewed(&mut self, invoice_id: &str) {
        self.known.in_review.remove(invoice_id);
        self.rederive(invoice_id);
    }

    /// An invoice as the changes so far made it.
    #[must_use]
    pub fn invoice(&self, id: &str) -> Option<&Invoice> {
        self.known.invoices.get(id)
    }

    #[must_use]
    pub fn close(mut self) -> Written {
        let payments = self.touched_payments.iter().filter_map(|id| self.known.payments.remove(id)).collect();
        let invoices = self.touched_invoices.iter().filter_map(|id| self.known.invoices.remove(id)).collect();
        Written { payments, journals: self.journals, invoices, listings: self.listings, events: self.events }
    }

    fn included(&mut self, transfer_id: &str, epoch: i64) {
        if let Some(payment) = self.known.payments.get_mut(transfer_id) {
            if payment.status == payment::Status::Retracted && payment.epoch < epoch {
                payment.status = payment::Status::Pending;
                payment.epoch = epoch;
                let invoice_id = payment.invoice_id.clone();
                self.touched_payments.insert(transfer_id.to_owned());
                if let Some(invoice_id) = invoice_id {
                    self.rederive(&invoice_id);
                }
            }
            return;
        }
        if self.known.listed.contains(transfer_id) {
            return;
        }
        if let Some(transfer) = self.known.transfers.get(transfer_id).cloned() {
            self.decide(&transfer, epoch);
        }
    }

    fn decide(&mut self, transfer: &Transfer, epoch: i64) {
        let seen = matching::Transfer {
            asset_id: &transfer.asset_id,
            amount: transfer.amount,
            memo_unreadable: transfer.memo_problem.is_some(),
            height: transfer.height,
            block_time: transfer.block_time,
        };
        let named = self.known.named.get(&transfer.id).cloned().unwrap_or_default();
        let customer = self.known.destinations.get(&transfer.address_id).is_some_and(|d| d.customer);
        let amount = match (matching::unusable(&seen), transfer.amount) {
            (Some(reason), _) => return self.list(transfer, reason, None),
            (None, None) => return self.list(transfer, Reason::AmountUnsupported, None),
            (None, Some(amount)) => amount,
        };
        if named.len() > 1 {
            return self.list(transfer, Reason::Ambiguous, None);
        }
        let invoice = named.first().and_then(|id| self.known.invoices.get(id));
        if invoice.is_none() && customer {
            return self.pay(&Transfer { epoch, ..transfer.clone() }, amount, None, payment::Exception::None);
        }
        let candidate = invoice.map(|invoice| Candidate {
            asset_id: &invoice.asset_id,
            matching: invoice.matching,
            policy: invoice.policy,
            head: invoice.head,
            created_at: invoice.created_at,
            expires_at: invoice.expires_at,
            cancelled_at: invoice.cancelled_at,
            covered: invoice.credited.0.saturating_add(invoice.pending.0) >= invoice.due.0,
        });
        let fits = invoice.is_none_or(|invoice| fits(invoice, amount));
        let invoice_id = invoice.map(|invoice| invoice.id.clone());
        match matching::decide(&seen, candidate.as_ref()) {
            Decision::Pay { .. } if !fits => self.list(transfer, Reason::AmountUnsupported, invoice_id),
            Decision::Pay { late } => {
                let exception = if late { payment::Exception::Late } else { payment::Exception::None };
                self.pay(&Transfer { epoch, ..transfer.clone() }, amount, invoice_id, exception);
            }
            Decision::List { reason, of_candidate } => {
                self.list(transfer, reason, invoice_id.filter(|_| of_candidate));
            }
        }
    }

    fn pay(
        &mut self,
        transfer: &Transfer,
        amount: Amount,
        invoice_id: Option<String>,
        exception: payment::Exception,
    ) {
        let payment = Payment {
            id: id::new(id::Kind::Payment, self.now),
            transfer_id: transfer.id.clone(),
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
        self.known.payments.insert(transfer.id.clone(), payment);
        self.touched_payments.insert(transfer.id.clone());
        if let Some(invoice_id) = invoice_id {
            self.by_invoice.entry(invoice_id.clone()).or_default().insert(transfer.id.clone());
            self.rederive(&invoice_id);
        }
    }

    fn confirmed(&mut self, transfer_id: &str, epoch: i64) {
        let now = self.now;
        let Some(payment) = self.known.payments.get_mut(transfer_id) else { return };
        if payment.status != payment::Status::Pending || payment.epoch != epoch {
            return;
        }
        payment.status = payment::Status::Credited;
        payment.credited_at = Some(now);
        let payment = payment.clone();
        self.touched_payments.insert(transfer_id.to_owned());
        self.journals.push(JournalEntry { kind: JournalKind::Credit, payment: payment.clone() });
        self.tell_of(&payment, event::Kind::DepositCredited);
    }

    fn retracted(&mut self, transfer_id: &str, epoch: i64) {
        let Some(payment) = self.known.payments.get_mut(transfer_id) else { return };
        if payment.epoch != epoch || payment.status == payment::Status::Retracted {
            return;
        }
        let was_credited = payment.status == payment::Status::Credited;
        payment.status = payment::Status::Retracted;
        let payment = payment.clone();
        self.touched_payments.insert(transfer_id.to_owned());
        if was_credited {
            self.journals.push(JournalEntry { kind: JournalKind::Reversal, payment: payment.clone() });
            self.tell_of(&payment, event::Kind::DepositReverted);
        } else if let Some(invoice_id) = &payment.invoice_id {
            self.rederive(invoice_id);
        }
    }

    /// The invoice that a payment is for tells of itself; a deposit is told of as `deposit`.
    fn tell_of(&mut self, payment: &Payment, deposit: event::Kind) {
        if let Some(invoice_id) = &payment.invoice_id {
            return self.rederive(invoice_id);
        }
        let transfer = self.known.transfers.get(&payment.transfer_id);
        let data = transfer.and_then(|transfer| {
            let names = self.names(transfer)?;
            Some(serde_json::json!({
                "payment": PaymentView::new(payment, names),
                "transfer": TransferView::new(transfer, names),
            }))
        });
        self.tell(
            &payment.merchant_id,
            deposit,
            None,
            Some(&payment.transfer_id),
            0,
            data.unwrap_or_default(),
        );
    }

    fn list(&mut self, transfer: &Transfer, reason: Reason, invoice_id: Option<String>) {
        self.known.listed.insert(transfer.id.clone());
        self.listings.push(Listing {
            transfer_id: transfer.id.clone(),
            merchant_id: transfer.merchant_id.clone(),
            reason,
            invoice_id: invoice_id.clone(),
        });
        // Anyone can cause transfers of nothing; telling of each would be a way to flood a merchant.
        if reason != Reason::ZeroValue {
            let view = self.names(transfer).map(|names| TransferView::new(transfer, names));
            let data = serde_json::json!({ "transfer": view, "reason": reason, "invoice_id": invoice_id });
            self.tell(
                &transfer.merchant_id,
                event::Kind::TransferUnmatched,
                None,
                Some(&transfer.id),
                0,
                data,
            );
        }
        if let (Reason::Late, Some(invoice_id)) = (reason, invoice_id) {
            self.known.in_review.insert(invoice_id.clone());
            self.rederive(&invoice_id);
        }
    }

    fn names(&self, transfer: &Transfer) -> Option<Names<'_>> {
        let destination = self.known.destinations.get(&transfer.address_id)?;
        let asset = self.known.assets.get(&transfer.asset_id)?;
        Some(Names { address: &destination.address, symbol: &asset.symbol, decimals: asset.decimals })
    }

    /// Brings an invoice to what its facts say, and tells of it if that is something new.
    fn rederive(&mut self, invoice_id: &str) {
        let in_review = self.known.in_review.contains(invoice_id);
        let Some(invoice) = self.known.invoices.get_mut(invoice_id) else { return };
        let own = self.by_invoice.get(invoice_id);
        let payments =
            || own.into_iter().flatten().filter_map(|transfer_id| self.known.payments.get(transfer_id));
        // `fits` was asked before each payment was taken, so the sums do not saturate.
        let sum = |status| {
            Amount(
                payments()
                    .filter(|p| p.status == status)
                    .fold(0, |sum: u128, p| sum.saturating_add(p.amount.0)),
            )
        };
        let live = || payments().filter(|p| p.status != payment::Status::Retracted);
        let facts = Facts {
            due: invoice.due,
            credited: sum(payment::Status::Credited),
            pending: sum(payment::Status::Pending),
            expired: invoice.expired_at.is_some(),
            cancelled: invoice.cancelled_at.is_some(),
            in_review,
            late: live().any(|p| p.exception == payment::Exception::Late),
            manual: live().any(|p| p.exception == payment::Exception::Manual),
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
        self.touched_invoices.insert(invoice_id.to_owned());
        if before == (status, facts.credited) {
            return;
        }
        let kind = match status {
            _ if facts.credited < before.1 => event::Kind::InvoiceReverted,
            invoice::Status::New => event::Kind::InvoiceReverted,
            invoice::Status::Detected => event::Kind::InvoiceDetected,
            invoice::Status::Underpaid => event::Kind::InvoiceUnderpaid,
            invoice::Status::Paid => event::Kind::InvoicePaid,
            invoice::Status::Overpaid => event::Kind::InvoiceOverpaid,
            invoice::Status::Expired => event::Kind::InvoiceExpired,
            invoice::Status::ManualReview => event::Kind::InvoiceManualReview,
            invoice::Status::Cancelled => event::Kind::InvoiceCancelled,
        };
        invoice.sequence += 1;
        let (merchant_id, sequence) = (invoice.merchant_id.clone(), invoice.sequence);
        let newest = live().max_by(|a, b| a.id.cmp(&b.id));
        let transfer = newest.and_then(|p| self.known.transfers.get(&p.transfer_id));
        let data = serde_json::json!({
            "invoice": InvoiceView::from(&*invoice),
            "tx_hash": transfer.map(|t| &t.tx),
        });
        self.tell(&merchant_id, kind, Some(invoice_id), None, sequence, data);
    }

    #[expect(clippy::needless_pass_by_value, reason = "the callers make it for this")]
    fn tell(
        &mut self,
        merchant_id: &str,
        kind: event::Kind,
        invoice_id: Option<&str>,
        transfer_id: Option<&str>,
        sequence: i64,
        data: serde_json::Value,
    ) {
        let kind = event::Type::from(kind);
        self.events.push(NewEvent {
            id: id::new(id::Kind::Event, self.now),
            merchant_id: merchant_id.to_owned(),
            test: self.known.test,
            payload: event::payload(&kind, self.now, &data),
            kind,
            invoice_id: invoice_id.map(str::to_owned),
            transfer_id: transfer_id.map(str::to_owned),
            sequence,
            created_at: self.now,
        });
    }
}

/// Whether another payment of this amount can be counted.
fn fits(invoice: &Invoice, amount: Amount) -> bool {
    invoice.credited.checked_add(invoice.pending).and_then(|sum| sum.checked_add(amount)).is_some()
}
