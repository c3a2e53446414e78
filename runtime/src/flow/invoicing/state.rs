//! State of invoicing in memory: reserved amounts, and orders that wait to be written together.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    amount_pool::AmountPool,
    batch::{self, Claimant, Draft, Order, Verdict},
    error::InvoicingError,
};
use crate::db::{Db, DbError};

/// Maximum number of waiting orders; further callers wait to hand theirs in.
const ORDERS_WAITING_MAX: usize = 4096;
/// Duration of a commit beyond which it is logged.
const SLOW: Duration = Duration::from_secs(1);

/// State of invoicing. One per process.
pub(crate) struct Invoicing {
    pub(super) amounts: AmountPool,
    orders: mpsc::Sender<Order>,
}

impl Invoicing {
    /// Starts the task that writes orders to this database, until this is dropped.
    pub(crate) fn start(db: Db) -> Self {
        let (orders, waiting) = mpsc::channel(ORDERS_WAITING_MAX);
        tokio::spawn(write(db, waiting));
        Self { amounts: AmountPool::default(), orders }
    }

    /// Has an invoice written, and waits for the verdict.
    pub(super) async fn order(
        &self,
        draft: Draft,
        claimant: Option<Claimant>,
    ) -> Result<Verdict, InvoicingError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order { draft, claimant, answer }).await.map_err(|_| DbError::Closed)?;
        answered.await.map_err(|_| DbError::Closed)?
    }
}

/// Writes orders: those that wait go into one transaction.
async fn write(db: Db, mut orders: mpsc::Receiver<Order>) {
    let mut waiting = Vec::new();
    while orders.recv_many(&mut waiting, batch::ORDERS_PER_COMMIT).await > 0 {
        let (started, count) = (Instant::now(), waiting.len());
        batch::write(&db, std::mem::take(&mut waiting)).await;
        let elapsed = started.elapsed();
        if elapsed > SLOW {
            tracing::warn!(count, elapsed_ms = %elapsed.as_millis(), "slow commit of invoices");
        }
    }
}
