//! Deliveries to endpoints that were deleted: they are given up, a few at a time.

use crate::{
    db::{Db, DbError, deliveries::leaving},
    domain::Millis,
};

/// Maximum number of deliveries to deleted endpoints that one transaction gives up.
const GIVEN_UP_MAX: i64 = 500;
/// Maximum number of such transactions in a row.
const GIVE_UPS_MAX: usize = 20;

pub(super) async fn give_up(db: &Db, now: Millis) -> Result<(), DbError> {
    for _ in 0..GIVE_UPS_MAX {
        // Looking costs a read; only work costs a write.
        let Some(endpoint_id) = leaving::any(&mut db.read().await?, now).await? else { break };
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { leaving::give_up(conn, &endpoint_id, GIVEN_UP_MAX, now).await })
        })
        .await?;
    }
    Ok(())
}
