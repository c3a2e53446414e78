//! Takes back a decision about a transfer, which is listed again for another one.

use super::{ResolveError, Scope, listing, write};
use crate::{
    db::{Conn, payments, transfers},
    domain::{
        Millis,
        correction::{Correction, Kind},
        id::{Ids, InvoiceId, TransferId},
        matching::Reason,
        settlement::Book,
    },
    flow::settle,
};

/// Takes back that a person assigned a transfer to an invoice. What was credited is reversed.
pub(crate) async fn unassign(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &TransferId,
    why: Option<String>,
    now: Millis,
) -> Result<(), ResolveError> {
    let again = Again::listed(conn, scope, transfer_id, "assigned", scope.did(Kind::Unassign, why, now), now);
    let mut again = again.await?.ok_or(ResolveError::NotAssigned)?;
    let payment = again.book.unassign(transfer_id).ok_or(ResolveError::NotAssigned)?;
    again.correction.payment_id = Some(payment.id);
    again.correction.invoice_id = payment.invoice_id;
    again.write(conn, transfer_id, now).await
}

/// Takes back that a transfer was dismissed: it waits for a decision again.
pub(crate) async fn undismiss(
    conn: &mut Conn,
    scope: &Scope,
    transfer_id: &TransferId,
    why: Option<String>,
    now: Millis,
) -> Result<(), ResolveError> {
    let again =
        Again::listed(conn, scope, transfer_id, "dismissed", scope.did(Kind::Undismiss, why, now), now);
    again.await?.ok_or(ResolveError::NotDismissed)?.write(conn, transfer_id, now).await
}

/// A book about a transfer that is listed again, and the correction by whom.
struct Again {
    book: Book,
    correction: Correction,
    reason: Option<Reason>,
    /// The invoice that it may be meant for.
    meant: Option<InvoiceId>,
}

impl Again {
    /// Lists a transfer again that was closed in this way. `None` if it was not.
    async fn listed(
        conn: &mut Conn,
        scope: &Scope,
        transfer_id: &TransferId,
        closed: &'static str,
        mut correction: Correction,
        now: Millis,
    ) -> Result<Option<Self>, ResolveError> {
        listing(conn, scope, transfer_id).await?;
        // From here on it stands as it is, as for an assignment.
        let transfer = transfers::lock(conn, transfer_id).await?.ok_or(ResolveError::NoTransfer)?;
        if !payments::relist(conn, transfer_id, closed).await? {
            return Ok(None);
        }
        // Its reason may be another now.
        let listed = listing(conn, scope, transfer_id).await?;
        correction.transfer_id = Some(transfer_id.clone());
        let network = transfer.network.clone();
        let also = listed.invoice_id.as_slice();
        let known = settle::gather(conn, &network, scope.tenant.mode, vec![transfer], also).await?;
        let mut book = Book::open(known, &Ids::of_process(), now);
        book.corrected_by(&correction);
        let reason = listed.reason.and_then(|reason| reason.parse().ok());
        Ok(Some(Self { book, correction, reason, meant: listed.invoice_id }))
    }

    async fn write(
        mut self,
        conn: &mut Conn,
        transfer_id: &TransferId,
        now: Millis,
    ) -> Result<(), ResolveError> {
        if let Some(reason) = self.reason {
            self.book.listed_again(transfer_id, reason, self.meant.as_ref());
        }
        write(conn, self.book.close(), self.correction, now).await
    }
}
