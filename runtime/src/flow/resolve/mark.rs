//! An invoice that was paid in a way that is not seen here: by a transaction that no watched address saw, in cash, by a
//! bank. The ledger says so: it is credited from an account of its own, never from a transfer that there was not.

use super::{ResolveError, Scope, locked, write};
use crate::{
    db::{Conn, corrections, invoices, transfers},
    domain::{
        Millis,
        correction::{Evidence, Kind, Mark},
        id::{Ids, InvoiceId},
        invoice::{Invoice, Status},
        money::Amount,
        settlement::Book,
    },
};

/// Details of a payment that is to be marked.
#[derive(Debug, Clone)]
pub(crate) struct Marking {
    /// `None`: the amount that is missing.
    pub(crate) amount: Option<Amount>,
    pub(crate) why: String,
    pub(crate) evidence: Evidence,
}

/// Marks an invoice as paid. This is possible once, until it is taken back.
pub(crate) async fn mark_paid(
    conn: &mut Conn,
    scope: &Scope,
    id: &InvoiceId,
    marking: Marking,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let known = locked(conn, scope, id).await?;
    let invoice = known.invoices.get(id).ok_or(ResolveError::NoInvoice)?;
    if let Some(mark) = corrections::live_mark(conn, id).await? {
        return Err(ResolveError::MarkedAlready { correction_id: mark.correction_id });
    }
    if matches!(invoice.status, Status::Paid | Status::Overpaid) {
        return Err(ResolveError::PaidAlready(invoice.status.as_str()));
    }
    if let Some(tx) = &marking.evidence.tx {
        let seen = transfers::of_transactions(conn, &invoice.network, &spellings(tx)).await?;
        if let Some(transfer) =
            seen.into_iter().find(|transfer| transfer.merchant_id == scope.tenant.merchant)
        {
            return Err(ResolveError::TxSeen { transfer_id: transfer.id });
        }
    }
    let amount = amount(invoice, marking.amount)?;
    let mut correction = scope.did(Kind::MarkPaid, Some(marking.why), now);
    correction.invoice_id = Some(id.clone());
    correction.amount = Some(amount);
    correction.evidence = Some(marking.evidence);
    let mark = Mark {
        correction_id: correction.id.clone(),
        merchant_id: scope.tenant.merchant.clone(),
        invoice_id: id.clone(),
        asset_id: invoice.asset_id.clone(),
        amount,
    };
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.corrected_by(&correction);
    book.mark(mark);
    let invoice = book.invoice(id).cloned().ok_or(ResolveError::NoInvoice)?;
    write(conn, book.close(), correction, now).await?;
    invoices::set_marked(conn, &invoice).await?;
    Ok(invoice)
}

/// Takes a mark back: what was marked is reversed.
pub(crate) async fn unmark(
    conn: &mut Conn,
    scope: &Scope,
    id: &InvoiceId,
    why: Option<String>,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let known = locked(conn, scope, id).await?;
    let mark = corrections::live_mark(conn, id).await?.ok_or(ResolveError::NotMarked)?;
    let mut correction = scope.did(Kind::Unmark, why, now);
    correction.invoice_id = Some(id.clone());
    correction.amount = Some(mark.amount);
    correction.of_id = Some(mark.correction_id.clone());
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.corrected_by(&correction);
    book.unmark(mark);
    let invoice = book.invoice(id).cloned().ok_or(ResolveError::NoInvoice)?;
    write(conn, book.close(), correction, now).await?;
    invoices::set_marked(conn, &invoice).await?;
    Ok(invoice)
}

/// Possible spellings of a transaction's hash in the database.
fn spellings(tx: &str) -> Vec<String> {
    let mut spellings = vec![tx.to_owned(), tx.to_ascii_lowercase()];
    spellings.dedup();
    spellings
}

/// The amount to mark: the given one, or else the missing one.
fn amount(invoice: &Invoice, said: Option<Amount>) -> Result<Amount, ResolveError> {
    let counted = invoice.credited.checked_add(invoice.pending).ok_or(ResolveError::TooMuch)?;
    let missing = || invoice.due.checked_sub(counted).filter(|missing| !missing.is_zero());
    let amount = match said {
        Some(amount) => amount,
        None => missing().ok_or(ResolveError::OnItsWay)?,
    };
    counted.checked_add(amount).map(|_| amount).ok_or(ResolveError::TooMuch)
}
