//! Takes back what was decided about a transfer: it is on the list again, for another decision.

use super::{ResolveError, Scope, listing, write};
use crate::{
    db::{Conn, payments, transfers},
    domain::{
        Millis,
        correction::{Correction, Kind},
        id::Ids,
        matching::Reason,
        settlement::{Book, Written},
        transfer::Transfer,
    },
    flow::settle,
};

/// What a person assigned is not paid by this transfer after all. What was credited is reversed.
pub(crate) async fn unassign(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &str,
    why: Option<String>,
    now: Millis,
) -> Result<(), ResolveError> {
    listing(conn, scope, transfer_id).await?;
    // From here on it stands as it is, as for an assignment.
    let transfer = transfers::lock(conn, transfer_id).await?.ok_or(ResolveError::NoTransfer)?;
    let mut correction = scope.did(Kind::Unassign, why, now);
    let mut book = again(conn, scope, transfer, "assigned", &mut correction, now)
        .await?
        .ok_or(ResolveError::NotAssigned)?;
    let payment = book.book.unassign(transfer_id).ok_or(ResolveError::NotAssigned)?;
    correction.payment_id = Some(payment.id);
    correction.invoice_id = payment.invoice_id;
    write(conn, book.close(transfer_id), correction, now).await
}

/// A transfer that was set aside waits for a decision again.
pub(crate) async fn undismiss(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &str,
    why: Option<String>,
    now: Millis,
) -> Result<(), ResolveError> {
    listing(conn, scope, transfer_id).await?;
    let transfer = transfers::lock(conn, transfer_id).await?.ok_or(ResolveError::NoTransfer)?;
    let mut correction = scope.did(Kind::Undismiss, why, now);
    let book = again(conn, scope, transfer, "dismissed", &mut correction, now).await?;
    let book = book.ok_or(ResolveError::NotDismissed)?;
    write(conn, book.close(transfer_id), correction, now).await
}

/// A book about a transfer that is listed again.
struct Again {
    book: Book,
    reason: Option<Reason>,
    /// The invoice that it may be meant for.
    meant: Option<String>,
}

impl Again {
    fn close(mut self, transfer_id: &str) -> Written {
        if let Some(reason) = self.reason {
            self.book.listed_again(transfer_id, reason, self.meant.as_deref());
        }
        self.book.close()
    }
}

/// Lists a transfer again that was closed like this. None: it was not.
async fn again(
    conn: &mut Conn,
    scope: &Scope,
    transfer: Transfer,
    closed: &'static str,
    correction: &mut Correction,
    now: Millis,
) -> Result<Option<Again>, ResolveError> {
    if !payments::relist(conn, &transfer.id, closed).await? {
        return Ok(None);
    }
    let listed = listing(conn, scope, &transfer.id).await?;
    correction.transfer_id = Some(transfer.id.clone());
    let network = transfer.network.clone();
    let also = listed.invoice_id.as_slice();
    let mut known = settle::gather(conn, &network, vec![transfer], also).await?;
    known.test = scope.test;
    let mut book = Book::open(known, &Ids::of_process(), now);
    book.corrected_by(correction);
    let reason = listed.reason.and_then(|reason| reason.parse().ok());
    Ok(Some(Again { book, reason, meant: listed.invoice_id }))
}
