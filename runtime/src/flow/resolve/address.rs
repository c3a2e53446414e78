//! An address that is no longer given out, such as one with a typo in it. What was asked for on it stays as it is, and it
//! stays watched: payers may have it for ever.

use super::{ResolveError, Scope};
use crate::{
    db::{
        Conn,
        addresses::{self, Kind, ReceiveAddress},
        corrections,
    },
    domain::{Millis, correction, id::AddressId},
};

/// Stops giving out a shared address or a customer's, so that another can have its place; or gives it out again.
pub(crate) async fn give_out(
    conn: &mut Conn,
    scope: &Scope,
    id: &AddressId,
    given_out: bool,
    why: Option<String>,
    now: Millis,
) -> Result<ReceiveAddress, ResolveError> {
    let found = addresses::get(conn, &scope.tenant, id).await?;
    let mut address = found.ok_or(ResolveError::NoAddress)?;
    if address.kind == Kind::Invoice {
        return Err(ResolveError::OfAnInvoice);
    }
    let (kind, word) = if given_out {
        (correction::Kind::Unretire, "given out")
    } else {
        (correction::Kind::Retire, "retired")
    };
    let retired_at = (!given_out).then_some(now);
    let changed = addresses::set_retired(conn, id, retired_at)
        .await
        .map_err(|error| if error.is_taken() { ResolveError::PlaceTaken } else { error.into() })?;
    if !changed {
        return Err(ResolveError::StandsSo(word));
    }
    let mut correction = scope.did(kind, why, now);
    correction.address_id = Some(id.clone());
    corrections::insert(conn, correction).await?;
    address.retired_at = retired_at;
    Ok(address)
}
