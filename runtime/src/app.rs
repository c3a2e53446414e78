//! State that a running Kassa shares. [`crate::server`] starts it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    config::Config,
    db::{Db, DbError, networks},
    domain::id::{Ids, RequestId},
    flow::{
        chain_clock::ChainClock, find::limits::Finds, health::Health, hooks::prices::Prices,
        invoicing::state::Invoicing, leases::Leases, simulations::Simulations,
    },
    host::Host,
    keys::Keys,
    master_key::MasterKeys,
    networks::Networks,
    outbound::Outbound,
    shares::Shares,
    upstreams::{Access, UpstreamSpec, Upstreams},
    vault::Vault,
    wake::Wake,
};

/// Maximum number of concurrent replays of hooks.
const REPLAYS_MAX: usize = 4;
/// Maximum number of concurrent checks of hooks' settings. Each may take a core for a while.
const FITS_MAX: usize = 2;

/// Everything that handlers and workers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) chain_clock: Arc<ChainClock>,
    pub(crate) ids: Ids,
    pub(crate) config: Arc<Config>,
    pub(crate) master_keys: Arc<MasterKeys>,
    /// Holds the master keys.
    pub(crate) vault: Arc<Vault>,
    pub(crate) wake: Wake,
    pub(crate) outbound: Outbound,
    pub(crate) upstreams: Upstreams,
    pub(crate) host: Host,
    pub(crate) networks: Networks,
    pub(crate) keys: Keys,
    pub(crate) invoicing: Arc<Invoicing>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) finds: Finds,
    /// Held while a component that may end the process is called, so that no other one is; see
    /// [`crate::flow::first_calls`].
    pub(crate) suspects: Arc<Mutex<()>>,
    /// Places for replays of hooks; each merchant has at most one under way.
    pub(crate) replays: Arc<Shares>,
    /// Places for checks of hooks' settings by their own schemas; each merchant has at most one under way.
    pub(crate) fits: Arc<Shares>,
    pub(crate) health: Arc<Health>,
    pub(crate) simulations: Arc<Simulations>,
}

/// Parts of an [`App`], without its state in memory.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) config: Arc<Config>,
    pub(crate) master_keys: Arc<MasterKeys>,
    pub(crate) outbound: Outbound,
    pub(crate) upstreams: Upstreams,
    pub(crate) host: Host,
    pub(crate) networks: Networks,
}

impl App {
    /// Assembles the parts. Invoices are written from now on; the workers do not run yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { db, clock, ids, config, master_keys, outbound, upstreams, host, networks } = parts;
        let holder = ids.next::<RequestId>(clock.now());
        Self {
            chain_clock: Arc::new(ChainClock::new(clock.clone())),
            vault: Arc::clone(master_keys.vault()),
            wake: Wake::default(),
            keys: Keys::default(),
            invoicing: Arc::new(Invoicing::start(db.clone())),
            prices: Arc::default(),
            leases: Arc::new(Leases::new(db.clone(), clock.clone(), holder, config.watch.lease_ms)),
            finds: Finds::default(),
            suspects: Arc::default(),
            replays: Arc::new(Shares::new(REPLAYS_MAX, 1)),
            fits: Arc::new(Shares::new(FITS_MAX, 1)),
            health: Arc::new(Health::new(clock.clone(), config.watch.stalled_ms)),
            simulations: Arc::default(),
            db,
            clock,
            ids,
            config,
            master_keys,
            outbound,
            upstreams,
            host,
            networks,
        }
    }

    /// Takes over the database's upstreams.
    pub(crate) async fn reload_upstreams(&self) -> Result<(), DbError> {
        let mut by_network: BTreeMap<String, Vec<UpstreamSpec>> =
            self.networks.all().iter().map(|network| (network.name.clone(), Vec::new())).collect();
        for row in networks::upstreams(&mut self.db.read().await?).await? {
            let Some(specs) = by_network.get_mut(&row.network) else { continue };
            match Access::open(&self.vault, &row) {
                Ok(access) => {
                    specs.push(UpstreamSpec::new(row.id, &access, row.terms, row.priority, row.learned));
                }
                Err(error) => {
                    tracing::error!(upstream = row.id.as_str(), %error, "its URL does not open; it is left out");
                }
            }
        }
        for (network, specs) in by_network {
            self.upstreams.set(&network, specs);
        }
        Ok(())
    }
}
