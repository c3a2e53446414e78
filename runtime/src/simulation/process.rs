//! A replica of a simulation: the real workers, one step at a time.

use std::sync::Arc;

use super::{Asset, Chain, NETWORK, Scene, Store, Telling, manifest};
use crate::{
    app::{App, Parts},
    clock::Clock,
    db::{DbError, chain, crash::simulated, installation},
    domain::{
        Millis,
        id::{Ids, InvoiceId, MerchantId, RescanId},
        invoice::Matching,
        money::Amount,
        network::Manifest,
        policy::Policy,
        tenant::{Mode, Tenant},
    },
    flow::{
        balances,
        invoicing::{self, InvoicingError, Made, NewInvoice},
        observe::{ObserveError, Step, Watcher},
        rescan::{
            self,
            order::{self, Order, Start},
        },
        settle::{self, expire},
    },
    master_key::MasterKeys,
    networks::Networks,
    upstreams::Upstreams,
};

/// Error of a process that has ended at a commit. What it had in memory is gone.
#[derive(Debug)]
pub struct Ended;

/// Makes the process end at its `nth` commit from now; `made` says whether that commit takes effect.
pub fn doom(nth: u32, made: bool) {
    simulated::doom(nth, made);
}

/// Cancels a crash that was planned or has happened.
pub fn revive() {
    simulated::revive();
}

/// A replica.
pub struct Process {
    app: App,
    network: Arc<Manifest>,
    watcher: Watcher,
    rescanner: rescan::Worker,
    comparer: balances::Worker,
    /// Time of its last sign of life, by the machine's clock.
    alive_at: Millis,
}

/// What pays an invoice that was made.
#[derive(Debug, Clone)]
pub struct PaymentDetails {
    pub id: InvoiceId,
    pub merchant_id: MerchantId,
    pub address: String,
    pub due: u128,
    pub memo: Option<String>,
}

/// Start of a rescan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Height(i64),
    Time(Millis),
}

/// Means by which invoices are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Amount,
    Memo,
    Address,
}

/// Reason that no invoice was made.
#[derive(Debug)]
pub enum NotMade {
    Ended,
    /// The network has never been read.
    NotStarted,
    /// All amounts of the price are held.
    Exhausted,
    Refused(String),
}

impl Process {
    /// Starts on a database. `seed` determines its ids.
    pub async fn start(
        scene: &Scene,
        store: &Store,
        chain: Arc<dyn Chain>,
        clock: Clock,
        seed: u64,
        confirmations: u32,
    ) -> anyhow::Result<Self> {
        let (db, ids, now) = (store.memory.db.clone(), Ids::seeded(seed), clock.now());
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { installation::start(conn, now).await.map(|_| ()) })
        })
        .await?;
        let app = App::new(Parts {
            outbound: scene.outbound.clone(),
            upstreams: Upstreams::new(scene.outbound.clone(), clock.clone()),
            host: scene.host.telling(Arc::new(Telling(chain))),
            networks: Networks::load(db.clone()).await?,
            master_keys: Arc::new(MasterKeys::fixed(db.clone(), Arc::clone(&scene.vault))),
            config: Arc::clone(&scene.config),
            clock,
            ids,
            db,
        });
        let network = Arc::new(manifest(confirmations)?);
        let watcher = Watcher::new(app.clone(), Arc::clone(&network));
        let rescanner = rescan::Worker::new(app.clone(), Arc::clone(&network));
        let comparer = balances::Worker::new(app.clone(), Arc::clone(&network));
        Ok(Self { app, network, watcher, rescanner, comparer, alive_at: now })
    }

    /// Reads on. Returns true if there is more to read.
    pub async fn observe(&mut self) -> Result<bool, Ended> {
        match self.watcher.step().await {
            Ok(Step::Read { more, .. }) => Ok(more),
            Ok(_) => Ok(false),
            Err(ObserveError::Db(DbError::Closed)) => Err(Ended),
            Err(_) if simulated::is_dead() => Err(Ended),
            Err(_) => Ok(false),
        }
    }

    /// Settles a batch. Returns true if there may be more.
    pub async fn settle(&self) -> Result<bool, Ended> {
        Self::survived(settle::step(&self.app, NETWORK, Mode::Test).await).map(|settled| settled > 0)
    }

    /// Lets invoices expire and holds end. Returns true if there may be more.
    pub async fn expire(&self) -> Result<bool, Ended> {
        Self::survived(expire::step(&self.app, &self.network).await)
    }

    /// Requests a rescan from this height or time on. The request may be refused.
    pub async fn order_rescan(&self, from: Again) -> Result<(), Ended> {
        let start = match from {
            Again::Height(height) => Start::Height(height),
            Again::Time(time) => Start::Time(time),
        };
        let now = self.app.clock.now();
        let id = self.app.ids.next::<RescanId>(now);
        let ordered = self.app.db.write::<_, order::Refused, _>(move |conn| {
            Box::pin(async move {
                order::place(conn, NETWORK, Order { start, to: None }, id, now).await.map(|_| ())
            })
        });
        match ordered.await {
            _ if simulated::is_dead() => Err(Ended),
            _ => Ok(()),
        }
    }

    /// Does a step of a requested rescan. Returns true if there is more.
    pub async fn rescan(&mut self) -> Result<bool, Ended> {
        Self::survived(self.rescanner.step().await.map(|step| step == rescan::Step::Moved))
    }

    /// Compares balances. Returns true if there are more to compare.
    pub async fn compare(&mut self) -> Result<bool, Ended> {
        let looked = self.comparer.step().await;
        Self::survived(looked.map(|step| matches!(step, balances::Step::Looked { more: true, .. })))
    }

    /// Records that it runs, if that is due.
    pub async fn live(&mut self) -> Result<(), Ended> {
        let now = self.app.clock.now();
        if (now - self.alive_at).abs() < 20_000 {
            return Ok(());
        }
        self.alive_at = now;
        let alive = self.app.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { installation::alive(conn, now).await })
        });
        Self::survived(alive.await)
    }

    /// Makes an invoice of `amount` base units for a merchant.
    pub async fn invoice(
        &self,
        merchant_id: &MerchantId,
        asset: Asset,
        amount: u128,
        by: By,
        expires_in_s: i64,
    ) -> Result<PaymentDetails, NotMade> {
        let asset = asset as usize;
        let asset_id = self.network.assets.get(asset).map(|asset| asset.id(NETWORK)).unwrap_or_default();
        let new = NewInvoice {
            tenant: Tenant::test(merchant_id.clone()),
            network: Arc::clone(&self.network),
            asset,
            asset_id,
            amount: Amount(amount),
            currency: None,
            price: None,
            title: "Order".to_owned(),
            order_id: None,
            tag: None,
            meta: None,
            matching: Some(match by {
                By::Amount => Matching::Amount,
                By::Memo => Matching::Memo,
                By::Address => Matching::Address,
            }),
            policy: Policy { late_window_s: 3600, ..Policy::default() },
            expires_in_s,
        };
        match invoicing::make(&self.app, new, None).await {
            _ if simulated::is_dead() => Err(NotMade::Ended),
            Ok(Made::New(invoice)) => Ok(PaymentDetails {
                id: invoice.id,
                merchant_id: invoice.tenant.merchant,
                address: invoice.address,
                due: invoice.due.0,
                memo: invoice.memo,
            }),
            Ok(Made::Replay(_)) => Err(NotMade::Refused("a replay without a key".to_owned())),
            Err(InvoicingError::NotStarted { .. }) => Err(NotMade::NotStarted),
            Err(InvoicingError::AmountSpaceExhausted { .. }) => Err(NotMade::Exhausted),
            Err(error) => Err(NotMade::Refused(error.to_string())),
        }
    }

    /// Maps a step's result: a failed step has done nothing, and the next one does it.
    fn survived<T: Default>(step: Result<T, DbError>) -> Result<T, Ended> {
        if simulated::is_dead() { Err(Ended) } else { Ok(step.unwrap_or_default()) }
    }

    /// Height of the cursor and time of the final block.
    pub async fn read_to(&self) -> anyhow::Result<Option<(i64, Millis)>> {
        let mut conn = self.app.db.read().await?;
        let cursor = chain::cursor(&mut conn, NETWORK).await?;
        Ok(cursor.map(|cursor| (cursor.height, cursor.final_time)))
    }
}
