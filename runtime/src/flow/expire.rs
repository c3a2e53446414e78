//! Expire: the clock's part. Marks invoices whose deadline has passed, and lets go of amounts and memos that were
//! held long enough.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::settle;
use crate::{
    app::App,
    db::{DbError, invoices},
    domain::settlement::{Book, Known},
};

const POLL: Duration = Duration::from_millis(500);
const INVOICES_PER_STEP: i64 = 200;
const HOLDS_PER_STEP: i64 = 1000;

pub(crate) async fn run(app: App, stop: CancellationToken) {
    loop {
        let busy = match step(&app).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "expire failed; it tries again");
                false
            }
        };
        if busy && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Answers whether there may be more.
pub(crate) async fn step(app: &App) -> Result<bool, DbError> {
    let now = app.clock.now();
    // Looking costs a read; only work costs a write.
    let (overdue, releasable) = {
        let mut conn = app.db.read().await?;
        let overdue = invoices::overdue(&mut conn, now, INVOICES_PER_STEP).await?;
        (overdue, invoices::releasable(&mut conn, now).await?)
    };
    let more = !overdue.is_empty();
    if more {
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    for test in [false, true] {
                        let mut known = Known { test, ..Known::default() };
                        settle::add_invoices(conn, &mut known, &overdue).await?;
                        // Another replica, or a payment, may have been here since they were looked up.
                        known.invoices.retain(|_, i| i.test == test && i.expired_at.is_none());
                        let ids: Vec<String> = known.invoices.keys().cloned().collect();
                        let mut book = Book::open(known, now);
                        for id in &ids {
                            book.expire(id);
                        }
                        settle::write(conn, book.close(), now).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        app.wake.dispatch.notify_one();
    }
    if !releasable {
        return Ok(more);
    }
    let released = app
        .db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move { invoices::release(conn, now, HOLDS_PER_STEP).await })
        })
        .await?;
    app.desk.released(&released);
    Ok(more || !released.is_empty())
}
