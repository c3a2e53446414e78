//! What a person decides: cancel an invoice, assign a listed transfer to one, or set it aside.

use super::settle;
use crate::{
    db::{Conn, DbError, invoices, payments, transfers},
    domain::{
        Millis,
        id::Ids,
        invoice::Invoice,
        payment,
        settlement::{Book, Known},
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
    /// It pays something, or was dealt with.
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
}

/// Whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) merchant_id: String,
    pub(crate) test: bool,
}

/// Cancels an invoice that nothing has been paid to yet. Its amount stays held: what is on its way is listed
/// with the reason `cancelled`, and never given to another invoice.
pub(crate) async fn cancel(
    conn: &mut Conn,
    scope: &Scope,
    id: &str,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let mut known = locked(conn, scope, id).await?;
    let invoice = known.invoices.get(id).ok_or(ResolveError::NoInvoice)?;
    if invoice.cancelled_at.is_some() {
        return Ok(invoice.clone());
    }
    if !invoice.status.is_open() || !invoice.credited.is_zero() {
        return Err(ResolveError::NotOpenInvoice(invoice.status.as_str()));
    }
    known.test = scope.test;
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.cancel(id);
    let invoice = book.invoice(id).cloned().ok_or(ResolveError::NoInvoice)?;
    settle::write(conn, book.close(), &Ids::of_process(), now).await?;
    Ok(invoice)
}

/// A listed transfer pays this invoice after all.
pub(crate) async fn assign(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &str,
    invoice_id: &str,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let listed = open_listing(conn, scope, transfer_id).await?;
    // From here on it stands as it is: a reorg that takes it away is settled after this.
    let transfer = transfers::lock(conn, transfer_id).await?.ok_or(ResolveError::NoTransfer)?;
    let also = [invoice_id.to_owned()];
    let mut known = settle::gather(conn, &transfer.network, vec![transfer.clone()], &also).await?;
    known.test = scope.test;
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
    book.assign(transfer_id, invoice_id, confirmed);
    if let Some(other) = reviewed {
        book.reviewed(&other);
    }
    let invoice = book.invoice(invoice_id).cloned().ok_or(ResolveError::NoInvoice)?;
    settle::write(conn, book.close(), &Ids::of_process(), now).await?;
    Ok(invoice)
}

/// A listed transfer is set aside: a person has looked, and it pays nothing.
pub(crate) async fn dismiss(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &str,
    now: Millis,
) -> Result<(), ResolveError> {
    let listed = open_listing(conn, scope, transfer_id).await?;
    if !payments::resolve(conn, transfer_id, "dismissed", now).await? {
        return Err(ResolveError::NotOpen);
    }
    if let Some(invoice_id) = listed.invoice_id {
        let mut known = Known { test: scope.test, ..Known::default() };
        settle::add_invoices(conn, &mut known, std::slice::from_ref(&invoice_id)).await?;
        let mut book = Book::open(known, &Ids::of_process(), now);
        book.reviewed(&invoice_id);
        settle::write(conn, book.close(), &Ids::of_process(), now).await?;
    }
    Ok(())
}

async fn open_listing(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &str,
) -> Result<transfers::Listed, ResolveError> {
    let listed = transfers::get(conn, &scope.merchant_id, scope.test, transfer_id)
        .await?
        .ok_or(ResolveError::NoTransfer)?;
    if listed.state.as_deref() != Some("open") {
        return Err(ResolveError::NotOpen);
    }
    Ok(listed)
}

async fn locked(conn: &mut Conn, scope: &Scope, id: &str) -> Result<Known, ResolveError> {
    // First by whose it is: an id of another merchant is as good as none.
    invoices::get(conn, &scope.merchant_id, scope.test, id).await?.ok_or(ResolveError::NoInvoice)?;
    let mut known = Known::default();
    settle::add_invoices(conn, &mut known, &[id.to_owned()]).await?;
    let pending = known.payments.values().any(|p| p.status == payment::Status::Pending);
    if pending && let Some(invoice) = known.invoices.get(id) {
        return Err(ResolveError::NotOpenInvoice(invoice.status.as_str()));
    }
    Ok(known)
}

fn belongs(invoice: &Invoice, scope: &Scope) -> bool {
    invoice.merchant_id == scope.merchant_id && invoice.test == scope.test
}
