//! What merchants are told of settlement.

use serde::Serialize;

use super::{Book, Listed, Listing};
use crate::domain::{
    event::{self, NewEvent},
    id,
    matching::Reason,
    payment::Payment,
    transfer::{self, Transfer},
    view::{Names, PaymentView, TransferView},
};

impl Book {
    /// The invoice that a payment is for tells of itself; a deposit is told of as `deposit`.
    pub(super) fn tell_of(&mut self, payment: &Payment, deposit: event::Kind) {
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
            &data.unwrap_or_default(),
        );
    }

    pub(super) fn list(&mut self, transfer: &Transfer, reason: Reason, invoice_id: Option<String>) {
        let listed = Listed::Open { reason, invoice_id: invoice_id.clone() };
        self.known.listed.insert(transfer.id.clone(), listed);
        self.listings.push(Listing {
            transfer_id: transfer.id.clone(),
            merchant_id: transfer.merchant_id.clone(),
            reason,
            invoice_id: invoice_id.clone(),
            near: self.known.near.get(&transfer.id).cloned().unwrap_or_default(),
        });
        self.tell_listed(transfer, reason, invoice_id.as_deref());
        if let (Reason::Late, Some(invoice_id)) = (reason, invoice_id) {
            self.waits(transfer, &invoice_id);
        }
    }

    /// An invoice waits for a person to look at this transfer, as long as that is on chain.
    pub(super) fn waits(&mut self, transfer: &Transfer, invoice_id: &str) {
        if transfer.status != transfer::Status::Retracted {
            let waited_for = self.known.in_review.entry(invoice_id.to_owned()).or_default();
            waited_for.insert(transfer.id.clone());
        }
        self.rederive(invoice_id);
    }

    pub(super) fn tell_listed(&mut self, transfer: &Transfer, reason: Reason, invoice_id: Option<&str>) {
        // Anyone can cause transfers of nothing; telling of each would be a way to flood a merchant.
        if reason == Reason::ZeroValue {
            return;
        }
        let view = self.names(transfer).map(|names| TransferView::new(transfer, names));
        let mut data = serde_json::json!({ "transfer": view, "reason": reason, "invoice_id": invoice_id });
        if let Some(near) = self.known.near.get(&transfer.id) {
            data["near_misses"] = serde_json::json!(near);
        }
        if let Some(correction) = &self.correction {
            data["correction"] = serde_json::json!(correction);
        }
        self.tell(&transfer.merchant_id, event::Kind::TransferUnmatched, None, Some(&transfer.id), 0, &data);
    }

    fn names(&self, transfer: &Transfer) -> Option<Names<'_>> {
        let destination = self.known.destinations.get(&transfer.address_id)?;
        let asset = self.known.assets.get(&transfer.asset_id)?;
        Some(Names { address: &destination.address, symbol: &asset.symbol, decimals: asset.decimals })
    }

    pub(super) fn tell(
        &mut self,
        merchant_id: &str,
        kind: event::Kind,
        invoice_id: Option<&str>,
        transfer_id: Option<&str>,
        sequence: i64,
        data: &impl Serialize,
    ) {
        let kind = event::Type::from(kind);
        self.events.push(NewEvent {
            id: self.ids.next(id::Kind::Event, self.now),
            merchant_id: merchant_id.to_owned(),
            test: self.known.test,
            payload: event::payload(&kind, self.now, data),
            kind,
            invoice_id: invoice_id.map(str::to_owned),
            transfer_id: transfer_id.map(str::to_owned),
            sequence,
            created_at: self.now,
        });
    }
}
