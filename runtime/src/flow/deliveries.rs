//! Deliveries, as the merchant looks at them and has them sent again.

use crate::{
    app::App,
    db::{
        Conn, DbError,
        deliveries::{self, Attempt, Delivery, Resend},
    },
    domain::{Millis, id::DeliveryId, tenant::Tenant},
    flow::resources::{LookupError, found},
};

/// Maximum number of a delivery's attempts shown, the last ones.
const ATTEMPTS_SHOWN: i64 = 100;

/// Why a delivery is not sent again. Texts are for the merchant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResendError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("It is sent by itself when it is due")]
    Pending,
    #[error("Make a new endpoint, and read the event itself: GET /v1/events/{{id}}")]
    NoEndpoint,
}

/// A delivery and its attempts, the last one first.
pub(crate) async fn get(
    app: &App,
    tenant: &Tenant,
    id: &DeliveryId,
) -> Result<(Delivery, Vec<Attempt>), LookupError> {
    let mut conn = app.db.read().await?;
    let delivery = found(&mut conn, tenant, id).await?;
    Ok((delivery, deliveries::attempts(&mut conn, tenant, id, ATTEMPTS_SHOWN).await?))
}

/// Starts a new round of attempts.
pub(crate) async fn resend(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &DeliveryId,
    now: Millis,
) -> Result<Delivery, ResendError> {
    match deliveries::resend(conn, tenant, id, now).await? {
        Resend::Queued | Resend::NotFound => Ok(found(conn, tenant, id).await?),
        Resend::Pending => Err(ResendError::Pending),
        Resend::NoEndpoint => Err(ResendError::NoEndpoint),
    }
}
