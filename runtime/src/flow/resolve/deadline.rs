//! More time for an invoice, as long as what tells its payment apart is held for it: what has been let go of may be
//! another's by now, and then only a new invoice is safe.

use super::{ResolveError, Scope, locked, write};
use crate::{
    db::{Conn, holds, invoices},
    domain::{
        Millis,
        correction::{Correction, Kind},
        id::{Ids, InvoiceId},
        invoice::{Invoice, Status},
        matching::hold_key,
        settlement::Book,
        verbatim::Verbatim,
        view::time,
    },
};

/// Minimum time to a new deadline, milliseconds.
const AHEAD_MIN_MS: Millis = 60_000;

/// Request for a new deadline, by the chain's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// `None`: the invoice's own deadline if it is still ahead, else `usual_ms` from now.
    pub(crate) at: Option<Millis>,
    /// The chain's time.
    pub(crate) now: Millis,
    /// Time that a new invoice has, milliseconds.
    pub(crate) usual_ms: Millis,
}

impl Deadline {
    fn of(self, invoice: &Invoice) -> Millis {
        let ahead = invoice.expires_at >= self.now.saturating_add(AHEAD_MIN_MS);
        let as_it_is = if ahead { invoice.expires_at } else { self.now.saturating_add(self.usual_ms) };
        self.at.unwrap_or(as_it_is)
    }
}

/// Gives an open invoice a later deadline.
pub(crate) async fn extend(
    conn: &mut Conn,
    scope: &Scope,
    id: &InvoiceId,
    deadline: Deadline,
    why: Option<String>,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let known = locked(conn, scope, id).await?;
    let invoice = known.invoices.get(id).ok_or(ResolveError::NoInvoice)?;
    if !invoice.status.is_open() || invoice.cancelled_at.is_some() {
        return Err(ResolveError::NotExtendable(invoice.status.as_str()));
    }
    let expires_at = deadline.of(invoice);
    if expires_at <= invoice.expires_at {
        return Err(ResolveError::NotLater);
    }
    let held_until = hold_on(conn, invoice, expires_at).await?;
    let correction = changes(scope, Kind::Extend, invoice, why, now);
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.corrected_by(&correction);
    book.extend(id, expires_at, held_until);
    finish(conn, book, id, correction, now).await
}

/// Makes an invoice payable again that had expired or was cancelled.
pub(crate) async fn reopen(
    conn: &mut Conn,
    scope: &Scope,
    id: &InvoiceId,
    deadline: Deadline,
    why: Option<String>,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let known = locked(conn, scope, id).await?;
    let invoice = known.invoices.get(id).ok_or(ResolveError::NoInvoice)?;
    let over = invoice.expired_at.is_some() || invoice.cancelled_at.is_some();
    if !over || matches!(invoice.status, Status::Paid | Status::Overpaid) {
        return Err(ResolveError::NotReopenable(invoice.status.as_str()));
    }
    if let Some(order_id) = &invoice.order_id {
        let others = invoices::by_order_ids(conn, &scope.tenant, vec![order_id.clone()]).await?;
        if let Some(other) = others.into_iter().find(|other| other.id != *id) {
            return Err(ResolveError::OrderTaken { invoice_id: other.id });
        }
    }
    let expires_at = deadline.of(invoice);
    let held_until = hold_on(conn, invoice, expires_at).await?;
    let correction = changes(scope, Kind::Reopen, invoice, why, now);
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.corrected_by(&correction);
    book.reopen(id, expires_at, held_until);
    let invoice = finish(conn, book, id, correction, now).await?;
    invoices::take_order(conn, id)
        .await
        .map_err(|error| if error.is_taken() { ResolveError::OrderRace } else { error.into() })?;
    Ok(invoice)
}

/// Prolongs the hold on the key that tells the invoice's payment apart, by as much beyond the new deadline as beyond
/// the old. Returns its end.
async fn hold_on(conn: &mut Conn, invoice: &Invoice, expires_at: Millis) -> Result<Millis, ResolveError> {
    let window = invoice.held_until.saturating_sub(invoice.expires_at);
    let until = invoice.held_until.max(expires_at.saturating_add(window));
    if let Some(key) = hold_key(invoice)
        && !holds::prolong(conn, key, &invoice.id, until).await?
    {
        return Err(ResolveError::HeldNoMore);
    }
    Ok(until)
}

fn changes(scope: &Scope, kind: Kind, invoice: &Invoice, why: Option<String>, now: Millis) -> Correction {
    let was = serde_json::json!({ "status": invoice.status, "expires_at": time(invoice.expires_at) });
    let mut correction = scope.did(kind, why, now);
    correction.invoice_id = Some(invoice.id.clone());
    correction.was = Some(Verbatim::of(&was));
    correction
}

async fn finish(
    conn: &mut Conn,
    book: Book,
    id: &InvoiceId,
    correction: Correction,
    now: Millis,
) -> Result<Invoice, ResolveError> {
    let invoice = book.invoice(id).cloned().ok_or(ResolveError::NoInvoice)?;
    write(conn, book.close(), correction, now).await?;
    invoices::set_deadline(conn, &invoice).await?;
    Ok(invoice)
}
