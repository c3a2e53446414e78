//! What merchants are told of settlement.

use super::{Book, Listed, Listing};
use crate::domain::{
    event::{
        Data, NewEvent,
        data::{CustomerAddress, DepositEvent, InvoiceEvent, PAYMENTS_MAX, PaidPart, UnmatchedEvent},
    },
    id::{InvoiceId, MerchantId},
    matching::Reason,
    payment::Payment,
    tenant::Tenant,
    transfer::{self, Transfer},
    view::{InvoiceView, Names, PaymentView, TransferView},
};

impl Book {
    /// Adds an event about an invoice, with its payments.
    pub(super) fn tell_invoice(&mut self, invoice_id: &InvoiceId, told_as: fn(Box<InvoiceEvent>) -> Data) {
        let Some(invoice) = self.known.invoices.get(invoice_id) else { return };
        let parts = self.by_invoice.get(invoice_id).into_iter().flatten();
        let mut payments: Vec<(&Payment, &Transfer)> = parts
            .filter_map(|part| self.known.payments.get(part))
            .filter_map(|payment| Some((payment, self.known.transfers.get(&payment.transfer_id)?)))
            .collect();
        payments.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        let newest = payments.iter().rev().find(|(payment, _)| payment.status.counts());
        let named = payments.get(payments.len().saturating_sub(PAYMENTS_MAX)..).unwrap_or_default();
        let data = told_as(Box::new(InvoiceEvent {
            invoice: InvoiceView::from(invoice),
            payments: named
                .iter()
                .map(|(payment, transfer)| PaidPart::new(payment, transfer, invoice, self.known.height))
                .collect(),
            tx_hash: newest.and_then(|(_, transfer)| transfer.tx_hash()).map(str::to_owned),
            correction: self.correction.clone(),
        }));
        let event = self.event(&invoice.tenant.merchant, &data);
        let (invoice_id, sequence) = (Some(invoice_id.clone()), invoice.sequence);
        self.events.push(NewEvent { invoice_id, sequence, ..event });
    }

    /// Adds an event about the invoice that a payment is for; a deposit is told of as `deposit`.
    pub(super) fn tell_of(&mut self, payment: &Payment, deposit: fn(Box<DepositEvent>) -> Data) {
        if let Some(invoice_id) = &payment.invoice_id {
            return self.rederive(invoice_id);
        }
        let Some(transfer) = self.known.transfers.get(&payment.transfer_id) else { return };
        let Some(names) = self.names(transfer) else { return };
        let Some(destination) = self.known.destinations.get(&transfer.address_id) else { return };
        let data = deposit(Box::new(DepositEvent {
            payment: PaymentView::new(payment, names),
            transfer: TransferView::new(transfer, names),
            confirmations: transfer.confirmations(self.known.height),
            receive_address: CustomerAddress::new(transfer, destination),
        }));
        let event = self.event(&payment.merchant_id, &data);
        self.events.push(NewEvent { transfer_id: Some(payment.transfer_id.clone()), ..event });
    }

    pub(super) fn list(&mut self, transfer: &Transfer, reason: Reason, invoice_id: Option<InvoiceId>) {
        let listed = Listed::Open { reason, invoice_id: invoice_id.clone() };
        self.known.listed.insert(transfer.id.clone(), listed);
        self.listings.push(Listing {
            transfer_id: transfer.id.clone(),
            merchant_id: transfer.merchant_id.clone(),
            reason,
            invoice_id: invoice_id.clone(),
            near: self.known.near.get(&transfer.id).cloned().unwrap_or_default(),
        });
        self.tell_listed(transfer, reason, invoice_id.as_ref());
        if let (Reason::Late, Some(invoice_id)) = (reason, invoice_id) {
            self.waits(transfer, &invoice_id);
        }
    }

    /// Makes an invoice wait for a person to look at this transfer, as long as the transfer is on chain.
    pub(super) fn waits(&mut self, transfer: &Transfer, invoice_id: &InvoiceId) {
        if transfer.status != transfer::Status::Retracted {
            let waited_for = self.known.in_review.entry(invoice_id.clone()).or_default();
            waited_for.insert(transfer.id.clone());
        }
        self.rederive(invoice_id);
    }

    pub(super) fn tell_listed(
        &mut self,
        transfer: &Transfer,
        reason: Reason,
        invoice_id: Option<&InvoiceId>,
    ) {
        // Anyone can cause zero-value transfers; an event for each would let strangers flood a merchant.
        if reason == Reason::ZeroValue {
            return;
        }
        let Some(names) = self.names(transfer) else { return };
        let data = Data::TransferUnmatched(Box::new(UnmatchedEvent {
            transfer: TransferView::new(transfer, names),
            reason,
            invoice_id: invoice_id.cloned(),
            near_misses: self.known.near.get(&transfer.id).cloned(),
            correction: self.correction.clone(),
        }));
        let event = self.event(&transfer.merchant_id, &data);
        self.events.push(NewEvent { transfer_id: Some(transfer.id.clone()), ..event });
    }

    fn names(&self, transfer: &Transfer) -> Option<Names<'_>> {
        let destination = self.known.destinations.get(&transfer.address_id)?;
        let asset = self.known.assets.get(&transfer.asset_id)?;
        Some(Names { address: &destination.address, symbol: &asset.symbol, decimals: asset.decimals })
    }

    fn event(&self, merchant_id: &MerchantId, data: &Data) -> NewEvent {
        let id = self.ids.next(self.now);
        let tenant = Tenant { merchant: merchant_id.clone(), mode: self.known.mode };
        NewEvent::new(id, &tenant, data, self.now)
    }
}
