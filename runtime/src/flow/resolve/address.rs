//! An address that is no longer given out, such as one with a typo in it. What was asked for on it stays as it is, and it
//! stays watched: payers may have it for ever.

use super::{ResolveError, Scope};
use crate::{
    db::{
        Conn,
        addresses::{self, Kind, ReceiveAddress},
        corrections,
    },
    domain::{Millis, correction},
};

/// Stops giving out a shared address or a customer's, so that another can have its place.
pub(crate) async fn retire(
    conn: &mut Conn,
    scope: &Scope,
    id: &str,
    why: Option<String>,
    now: Millis,
) -> Result<ReceiveAddress, ResolveError> {
    change(conn, scope, id, correction::Kind::Retire, why, now).await
}

/// Gives it out again.
pub(crate) async fn unretire(
    conn: &mut Conn,
    scope: &Scope,
    id: &str,
    why: Option<String>,
    now: Millis,
) -> Result<ReceiveAddress, ResolveError> {
    change(conn, scope, id, correction::Kind::Unretire, why, now).await
}

async fn change(
    conn: &mut Conn,
    scope: &Scope,
    id: &str,
    kind: correction::Kind,
    why: Option<String>,
    now: Millis,
) -> Result<ReceiveAddress, ResolveError> {
    let found = addresses::get(conn, &scope.merchant_id, scope.test, id).await?;
    let mut address = found.ok_or(ResolveError::NoAddress)?;
    if address.kind == Kind::Invoice {
        return Err(ResolveError::OfAnInvoice);
    }
    let retired_at = (kind == correction::Kind::Retire).then_some(now);
    let changed = addresses::set_retired(conn, id, retired_at)
        .await
        .map_err(|error| if error.is_taken() { ResolveError::PlaceTaken } else { error.into() })?;
    if !changed {
        return Err(ResolveError::StandsSo(if retired_at.is_some() { "retired" } else { "given out" }));
    }
    let mut correction = scope.did(kind, why, now);
    correction.address_id = Some(id.to_owned());
    corrections::insert(conn, correction).await?;
    address.retired_at = retired_at;
    Ok(address)
}
