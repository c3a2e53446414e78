//! Decisions of people: to cancel an invoice, to assign a listed transfer to one or dismiss it, and to take that back
//! ([`undo`]); to mark an invoice as paid ([`mark`]), to give it more time ([`deadline`]), or to retire an address
//! ([`address`]). Each decision about money is recorded, with its author and reason.

mod address;
mod deadline;
mod erase;
mod mark;
mod undo;

pub(crate) use address::give_out;
pub(crate) use deadline::{Deadline, extend, reopen};
pub(crate) use erase::erase;
pub(crate) use mark::{Marking, mark_paid, unmark};
pub(crate) use undo::{unassign, undismiss};

use super::settle;
use crate::{
    db::{Conn, DbError, corrections, invoices, payments, transfers},
    domain::{
        Millis,
        correction::{Correction, Kind},
        id::{ApiKeyId, CorrectionId, Ids, InvoiceId, TransferId},
        invoice::Invoice,
        payment,
        settlement::{Book, SettlementFacts, Written},
        tenant::Tenant,
        transfer,
    },
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("no such invoice")]
    NoInvoice,
    #[error("no such transfer")]
    NoTransfer,
    /// The transfer pays something, or was dealt with.
    #[error("the transfer does not wait for a decision")]
    NotOpen,
    #[error("the transfer is no longer on chain")]
    Retracted,
    #[error("the transfer moves nothing that can be counted")]
    Uncountable,
    #[error("the transfer is of another asset or network than the invoice")]
    OtherAsset,
    #[error("the invoice is {0}: there is nothing to cancel")]
    NotOpenInvoice(&'static str),
    #[error("only what a person assigned can be taken back, and this transfer was not assigned by one")]
    NotAssigned,
    #[error("the transfer was not dismissed")]
    NotDismissed,
    #[error("the invoice is {0} already: there is nothing to mark")]
    PaidAlready(&'static str),
    #[error("the invoice was marked as paid already ({correction_id}); take that back first, with `unmark`")]
    MarkedAlready { correction_id: CorrectionId },
    #[error("a payment is on its way and covers it; wait for it, or say the amount that is to be marked")]
    OnItsWay,
    #[error(
        "the transaction was seen here: it is transfer {transfer_id}; assign it, so that it is not counted twice"
    )]
    TxSeen { transfer_id: TransferId },
    #[error("the invoice cannot count so much more")]
    TooMuch,
    #[error("the invoice is not marked as paid")]
    NotMarked,
    #[error("the invoice is {0}: only one that is open and not cancelled can be extended; see `reopen`")]
    NotExtendable(&'static str),
    #[error("the invoice is {0}: only one that expired or was cancelled, and is not paid, can be reopened")]
    NotReopenable(&'static str),
    #[error("the new deadline is not after the present one")]
    NotLater,
    #[error(
        "its amount or memo is no longer held for it and may be another's by now: make a new invoice instead"
    )]
    HeldNoMore,
    #[error("order_id belongs to invoice {invoice_id} by now, which is open or paid")]
    OrderTaken { invoice_id: InvoiceId },
    #[error("somebody else asked for the same order at this moment; try again")]
    OrderRace,
    #[error("the invoice is {0}: personal data is erased once it is paid, expired or cancelled")]
    StillOpen(&'static str),
    #[error("no such receive address")]
    NoAddress,
    #[error("the address is one invoice's own: it is given to nobody else, so there is nothing to retire")]
    OfAnInvoice,
    #[error("the address is {0} already")]
    StandsSo(&'static str),
    #[error("another address has its place by now: retire that one first")]
    AddressTaken,
}

/// A merchant and the key with which it decides.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) tenant: Tenant,
    pub(crate) key_id: ApiKeyId,
}

impl Scope {
    /// A new correction by this key, about nothing yet.
    fn did(&self, kind: Kind, why: Option<String>, now: Millis) -> Correction {
        Correction {
            id: CorrectionId::new(now),
            tenant: self.tenant.clone(),
            kind,
            transfer_id: None,
            payment_id: None,
            invoice_id: None,
            address_id: None,
            of_id: None,
            amount: None,
            why,
            evidence: None,
            was: None,
            key_id: self.key_id.clone(),
            at: now,
        }
    }
}

/// Writes a book's result, and the correction that caused it.
async fn write(
    conn: &mut Conn,
    written: Written,
    correction: Correction,
    now: Millis,
) -> Result<(), ResolveError> {
    // The correction first: a journal may name it.
    corrections::insert(conn, correction).await?;
    settle::write(conn, written, &Ids::of_process(), now).await?;
    Ok(())
}

/// Cancels an invoice that nothing has been paid to yet. Its amount stays held: a payment under way is listed with the
/// reason `cancelled`, and never given to another invoice.
pub(crate) async fn cancel(
    conn: &mut Conn,
    scope: &Scope,
    id: &InvoiceId,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let known = locked(conn, scope, id).await?;
    let invoice = known.invoices.get(id).ok_or(ResolveError::NoInvoice)?;
    let pending = known.payments.values().any(|p| p.status == payment::Status::Pending);
    if invoice.cancelled_at.is_some() && !pending {
        return Ok(invoice.clone());
    }
    if pending || !invoice.status.is_open() || !invoice.credited.is_zero() {
        return Err(ResolveError::NotOpenInvoice(invoice.status.as_str()));
    }
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.cancel(id);
    let invoice = book.invoice(id).cloned().ok_or(ResolveError::NoInvoice)?;
    settle::write(conn, book.close(), &Ids::of_process(), now).await?;
    Ok(invoice)
}

/// Assigns a listed transfer to an invoice.
pub(crate) async fn assign(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &TransferId,
    invoice_id: &InvoiceId,
    why: Option<String>,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let listed = listing(conn, scope, transfer_id).await?;
    if listed.state.as_deref() != Some("open") {
        return Err(ResolveError::NotOpen);
    }
    // From here on it stands as it is: a reorg that takes it away is settled after this.
    let transfer = transfers::lock(conn, transfer_id).await?.ok_or(ResolveError::NoTransfer)?;
    let also = [invoice_id.clone()];
    let known =
        settle::gather(conn, &transfer.network, scope.tenant.mode, vec![transfer.clone()], &also).await?;
    let invoice =
        known.invoices.get(invoice_id).filter(|i| belongs(i, scope)).ok_or(ResolveError::NoInvoice)?;
    if invoice.asset_id != transfer.asset_id {
        return Err(ResolveError::OtherAsset);
    }
    let counted = invoice.credited.checked_add(invoice.pending);
    let confirmed = match transfer.status {
        transfer::Status::Retracted => return Err(ResolveError::Retracted),
        transfer::Status::Included => false,
        // Settle may not have read yet that it is; its log entry then finds the payment credited.
        transfer::Status::Confirmed | transfer::Status::Final => true,
    };
    if !payments::resolve(conn, transfer_id, "assigned", now).await? {
        return Err(ResolveError::NotOpen);
    }
    // The invoice that it had seemed to be meant for no longer waits for it.
    let reviewed = listed.invoice_id.filter(|other| other != invoice_id);
    let mut book = Book::open(known, &Ids::of_process(), now);
    let amount = book.unpaid(transfer_id).filter(|amount| !amount.is_zero());
    if amount.and_then(|amount| counted?.checked_add(amount)).is_none() {
        return Err(ResolveError::Uncountable);
    }
    let mut correction = scope.did(Kind::Assign, why, now);
    correction.transfer_id = Some(transfer_id.clone());
    correction.invoice_id = Some(invoice_id.clone());
    book.corrected_by(&correction);
    correction.payment_id = book.assign(transfer_id, invoice_id, confirmed);
    if let Some(other) = reviewed {
        book.reviewed(transfer_id, &other);
    }
    let invoice = book.invoice(invoice_id).cloned().ok_or(ResolveError::NoInvoice)?;
    write(conn, book.close(), correction, now).await?;
    Ok(invoice)
}

/// What a person decides about a listed transfer, besides assigning it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    Dismiss,
    Undismiss,
    Unassign,
}

/// Makes a decision about a transfer. Returns how it is listed then.
pub(crate) async fn decide(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &TransferId,
    decision: Decision,
    why: Option<String>,
    now: Millis,
) -> Result<transfers::Listed, ResolveError> {
    match decision {
        Decision::Dismiss => dismiss(conn, scope, transfer_id, why, now).await?,
        Decision::Undismiss => undismiss(conn, scope, transfer_id, why, now).await?,
        Decision::Unassign => unassign(conn, scope, transfer_id, why, now).await?,
    }
    listing(conn, scope, transfer_id).await
}

/// Dismisses a listed transfer: a person has looked at it, and it pays nothing.
pub(crate) async fn dismiss(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &TransferId,
    why: Option<String>,
    now: Millis,
) -> Result<(), ResolveError> {
    let listed = listing(conn, scope, transfer_id).await?;
    if listed.state.as_deref() != Some("open")
        || !payments::resolve(conn, transfer_id, "dismissed", now).await?
    {
        return Err(ResolveError::NotOpen);
    }
    let mut known = SettlementFacts::of(scope.tenant.mode);
    settle::add_invoices(conn, &mut known, listed.invoice_id.as_slice()).await?;
    let mut correction = scope.did(Kind::Dismiss, why, now);
    correction.transfer_id = Some(transfer_id.clone());
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.corrected_by(&correction);
    if let Some(invoice_id) = listed.invoice_id {
        book.reviewed(transfer_id, &invoice_id);
    }
    write(conn, book.close(), correction, now).await
}

/// Reads a transfer of the merchant, with its listing.
async fn listing(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &TransferId,
) -> Result<transfers::Listed, ResolveError> {
    let found = transfers::get(conn, &scope.tenant, transfer_id).await?;
    found.ok_or(ResolveError::NoTransfer)
}

/// Reads and locks an invoice of the merchant, with its payments.
async fn locked(conn: &mut Conn, scope: &Scope, id: &InvoiceId) -> Result<SettlementFacts, ResolveError> {
    // First by whose it is: an id of another merchant is as good as none.
    invoices::get(conn, &scope.tenant, id).await?.ok_or(ResolveError::NoInvoice)?;
    let mut known = SettlementFacts::of(scope.tenant.mode);
    settle::add_invoices(conn, &mut known, std::slice::from_ref(id)).await?;
    Ok(known)
}

fn belongs(invoice: &Invoice, scope: &Scope) -> bool {
    invoice.tenant == scope.tenant
}
