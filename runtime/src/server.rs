//! The composition root: opens everything, starts the workers and the API, and shuts them down in order.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, Parts},
    clock::Clock,
    config::{Config, Ownership},
    db::{
        Conn, Db, DbError, api_keys, deliveries,
        hooks::{match_queue, run_queue},
        installation, leases, networks as network_rows, ownership,
    },
    domain::{
        Millis,
        id::{Ids, UpstreamId},
        network::Manifest,
    },
    flow::{observe::Watcher, supervise},
    host::Host,
    http, keys,
    master_key::{Given, MasterKeys, RotationError},
    metrics,
    networks::{self, Networks},
    outbound::Outbound,
    upstreams::{Access, Upstreams, access},
    vault::Vault,
};

/// Priority of the upstreams in a manifest, which are public and slow: an operator's own come first.
const PRIORITY_OF_PUBLIC: i64 = 100;
/// Time between looks for the changes of other replicas.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);
/// Number of looks between records in the database that somebody runs on it.
const LOOKS_PER_WORD: u32 = 4;

/// Options of a start.
pub struct Options {
    /// Folder of the database (if it is SQLite), the master key and compiled plugins.
    pub data_dir: PathBuf,
    pub config: Config,
}

impl App {
    /// Opens everything. Workers do not run yet.
    pub async fn open(options: Options) -> anyhow::Result<Self> {
        let Options { data_dir, config } = options;
        let db = Db::open(&config.database_url(&data_dir)).await.context("cannot open the database")?;
        let given = Given::read(&db, &data_dir).await?;
        if db.kind() == "sqlite" {
            // No replica works on a file: the holder of a lease there was killed, and is not waited for.
            db.write::<_, DbError, _>(|conn| Box::pin(async { leases::end_all(conn).await })).await?;
        }
        metrics::install();
        Self::assemble(db, given, config, &data_dir).await
    }

    /// Assembles the app over an open database.
    pub(crate) async fn assemble(
        db: Db,
        given: Given,
        config: Config,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let (clock, ids) = (Clock::default(), Ids::of_process());
        let master_keys = MasterKeys::open(&db, given, clock.now()).await?;
        let vault = Arc::clone(master_keys.vault());
        let outbound = Outbound::new().context("cannot make an HTTP client")?;
        let upstreams = Upstreams::new(outbound.clone(), clock.clone());
        let host = Host::start(
            db.clone(),
            clock.clone(),
            &config,
            &data_dir.join("compiled"),
            vault.key_for("compiled code"),
            upstreams.clone(),
        )
        .await?;
        start(&db, &ids, &vault, clock.now()).await?;
        let app = Self::new(Parts {
            networks: Networks::load(db.clone()).await?,
            config: Arc::new(config),
            master_keys: Arc::new(master_keys),
            db,
            clock,
            ids,
            outbound,
            upstreams,
            host,
        });
        app.reload_upstreams().await?;
        Ok(app)
    }

    /// Makes the first operator key: the given one, or a new one. `None` if there is one already.
    pub async fn first_operator_key(&self, preset: Option<&str>) -> anyhow::Result<Option<String>> {
        let (vault, now) = (Arc::clone(&self.vault), self.clock.now());
        let text = match preset {
            Some(preset) if !preset.starts_with("op_") || !keys::is_well_formed(preset) => {
                anyhow::bail!(
                    "KASSA_OPERATOR_KEY must be op_ and 32 random characters of a-z (without l) and 2-9"
                )
            }
            Some(preset) => preset.to_owned(),
            None => keys::generate(api_keys::KeyMode::Operator)?,
        };
        let key = self
            .db
            .write::<_, keys::IssueError, _>(move |conn| {
                Box::pin(async move {
                    // One replica at a time, so that only one makes the first key.
                    installation::alone(conn).await?;
                    if api_keys::any_operator(conn).await? {
                        return Ok(None);
                    }
                    let new = keys::NewKey { tenant: None, name: "first".to_owned(), expires_at: None };
                    let (_, text) = keys::issue_text(conn, &vault, new, text, now).await?;
                    Ok(Some(text))
                })
            })
            .await?;
        Ok(key)
    }

    /// Runs workers and the API until `stop`, then shuts down in order. `ready` receives the bound address.
    pub async fn serve(self, stop: CancellationToken, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
        let listen = self.config.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; choose another address with KASSA_LISTEN")
        })?;
        self.begin_simulated().await;
        self.warn_of_unproven().await;
        ready(listener.local_addr()?);
        let workers = tokio::spawn(supervise::run(self.clone(), stop.clone()));
        let follow = tokio::spawn(self.clone().follow(stop.clone()));
        http::serve(self.clone(), listener, stop.clone()).await;
        stop.cancel();
        let _ = tokio::join!(workers, follow);
        if let Err(error) = self.leases.release_all().await {
            tracing::warn!(%error, "leases were not given back; they end by themselves");
        }
        self.db.close().await;
        Ok(())
    }

    /// Logs the numbers of addresses and extended keys that are in use without the proof that is now required.
    async fn warn_of_unproven(&self) {
        if self.config.addresses.ownership == Ownership::Optional {
            return;
        }
        let counted = async { ownership::unproven(&mut self.db.read().await?).await };
        match counted.await {
            Ok((0, 0)) => {}
            Ok((addresses, keys)) => tracing::warn!(
                addresses,
                extended_keys = keys,
                "ownership is required, and these were there before: they go on without a proof"
            ),
            Err(error) => tracing::warn!(%error, "what is unproven was not counted"),
        }
    }

    /// Reads simulated networks for the first time, so that invoices can be made on them at once.
    pub(crate) async fn begin_simulated(&self) {
        for network in self.networks.all().into_iter().filter(|network| network.is_simulated()) {
            if let Err(error) = Watcher::new(self.clone(), Arc::clone(&network)).step().await {
                tracing::warn!(network = network.name, %error, "not read yet; it is tried again");
            }
        }
    }

    /// Follows what other replicas change: master keys, networks, upstreams, plugins. Records in the database that
    /// somebody runs on it.
    async fn follow(self, stop: CancellationToken) {
        for look in (1..=LOOKS_PER_WORD).cycle() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
            }
            let now = self.clock.now();
            let followed = async {
                if look == LOOKS_PER_WORD {
                    let asleep = self.db.write::<_, DbError, _>(move |conn| {
                        Box::pin(async move {
                            installation::alive(conn, now).await?;
                            wake_sleepers(conn, now).await
                        })
                    });
                    if asleep.await? > 0 {
                        tracing::warn!(
                            "deliveries or runs of hooks waited for a time that a wrong clock had set"
                        );
                    }
                }
                match self.master_keys.follow().await {
                    Err(RotationError::Db(error)) => return Err(error.into()),
                    followed => followed?,
                }
                self.networks.reload().await?;
                self.reload_upstreams().await?;
                self.host.registry().refresh().await?;
                anyhow::Ok(())
            };
            if let Err(error) = followed.await
                && error.downcast_ref::<DbError>().is_none_or(|error| error.trouble().is_none())
            {
                tracing::warn!(%error, "changes were not followed; what is known stays");
            }
        }
    }
}

/// Makes due whatever waits for a time further ahead than any wait. Returns the number of endpoints and hooks.
async fn wake_sleepers(conn: &mut Conn, now: Millis) -> Result<usize, DbError> {
    let deliveries = deliveries::queue::wake(conn, now).await?;
    let runs = run_queue::wake(conn, now).await?;
    Ok(deliveries + runs + match_queue::wake(conn, now).await?)
}

/// Prepares the database at a start, one replica at a time: records that somebody runs on it, seals the URLs of
/// providers that an earlier Kassa has not sealed, and adds the binary's networks that are not known yet. A test
/// network that is its own chain is enabled; the others wait for the operator.
async fn start(db: &Db, ids: &Ids, vault: &Arc<Vault>, now: Millis) -> anyhow::Result<()> {
    let manifests = networks::shipped()?;
    for manifest in &manifests {
        manifest.check().map_err(|why| anyhow::anyhow!("built-in network {}: {why}", manifest.name))?;
    }
    let (ids, vault) = (ids.clone(), Arc::clone(vault));
    let new_life = db
        .write::<_, anyhow::Error, _>(move |conn| {
            Box::pin(async move {
                let new_life = installation::start(conn, now).await?;
                wake_sleepers(conn, now).await?;
                access::seal_all(conn, &vault).await?;
                let known = network_rows::list(conn).await?;
                let new = |manifest: &Manifest| known.iter().all(|n| n.manifest.name != manifest.name);
                for manifest in manifests.into_iter().filter(new) {
                    network_rows::put(conn, &manifest, now).await?;
                    network_rows::set_enabled(conn, &manifest.name, manifest.is_simulated()).await?;
                    for (priority, upstream) in (PRIORITY_OF_PUBLIC..).zip(manifest.upstreams) {
                        let row = Access::of_url(&upstream.url).into_row(
                            &vault,
                            ids.next::<UpstreamId>(now),
                            &manifest.name,
                            ((&upstream).into(), priority),
                            now,
                        )?;
                        network_rows::insert_upstream(conn, row).await?;
                    }
                }
                Ok(new_life)
            })
        })
        .await?;
    if new_life {
        tracing::info!(
            "nobody ran on this database for a while: amounts and addresses go on further ahead, in case it is a backup"
        );
    }
    Ok(())
}
