//! The composition root: what a running Kassa is made of.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    config::Config,
    db::{Db, DbError, api_keys, leases, networks as network_rows},
    domain::{Millis, id},
    flow::{
        desk::{self, Desk},
        holding::Leases,
        pricing::Prices,
        supervise,
    },
    host::Host,
    http,
    keys::{self, Keys},
    metrics,
    networks::{self, Networks},
    outbound::Outbound,
    upstreams::{UpstreamSpec, Upstreams},
    vault::Vault,
    wake::Wake,
};

/// What comes with a manifest is public and slow: whatever the operator adds is asked before it.
const PRIORITY_OF_PUBLIC: i64 = 100;
/// How often the changes of other replicas are looked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// What a start needs to know.
pub struct Options {
    /// Where the database (if it is SQLite), the master key and compiled plugins are.
    pub data_dir: PathBuf,
    pub config: Config,
}

/// Everything that handlers and workers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) wake: Wake,
    pub(crate) outbound: Outbound,
    pub(crate) upstreams: Upstreams,
    pub(crate) host: Host,
    pub(crate) networks: Networks,
    pub(crate) keys: Keys,
    pub(crate) desk: Arc<Desk>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) leases: Arc<Leases>,
    /// This process, among the replicas that hold leases.
    pub(crate) holder: Arc<str>,
    /// One action at a time on the sandbox networks.
    pub(crate) simulations: Arc<tokio::sync::Mutex<()>>,
}

impl App {
    /// Opens everything. Workers do not run yet.
    pub async fn open(options: Options) -> anyhow::Result<Self> {
        let Options { data_dir, config } = options;
        let vault = match std::env::var("KASSA_MASTER_KEY") {
            Ok(text) => Vault::from_hex(&text).context("KASSA_MASTER_KEY")?,
            Err(_) => Vault::open_or_create(&data_dir.join("master.key"))?,
        };
        let db = Db::open(&config.database_url(&data_dir)).await.context("cannot open the database")?;
        if db.kind() == "sqlite" {
            // No replica works on a file: whoever holds a lease there was killed, and is not waited for.
            db.write::<_, DbError, _>(|conn| Box::pin(async { leases::end_all(conn).await })).await?;
        }
        metrics::install();
        Self::assemble(db, vault, config, &data_dir).await
    }

    /// Puts the parts together over a database that is open.
    pub(crate) async fn assemble(
        db: Db,
        vault: Vault,
        config: Config,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let clock = Clock::default();
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
        built_in_networks(&db, clock.now()).await?;
        let networks = Networks::load(db.clone()).await?;
        let (desk, orders) = Desk::new();
        tokio::spawn(desk::run(db.clone(), orders));
        let app = Self {
            db,
            wake: Wake::default(),
            outbound,
            upstreams,
            host,
            networks,
            keys: Keys::default(),
            desk: Arc::new(desk),
            prices: Arc::default(),
            leases: Arc::new(Leases::new(config.watch.lease_ms)),
            holder: id::new(id::Kind::Request, clock.now()).into(),
            simulations: Arc::default(),
            vault: Arc::new(vault),
            clock,
            config: Arc::new(config),
        };
        app.reload_upstreams().await?;
        Ok(app)
    }

    /// The first operator key, if there is none yet: the one given, or a new one. `None`: there is one already.
    pub async fn first_operator_key(&self, preset: Option<&str>) -> anyhow::Result<Option<String>> {
        let (vault, now) = (Arc::clone(&self.vault), self.clock.now());
        let text = match preset {
            Some(preset) if !preset.starts_with("op_") || !keys::is_well_formed(preset) => {
                anyhow::bail!(
                    "KASSA_OPERATOR_KEY must be op_ and 32 random characters of a-z (without l) and 2-9"
                )
            }
            Some(preset) => preset.to_owned(),
            None => keys::generate(api_keys::Mode::Operator)?,
        };
        let key = self
            .db
            .write::<_, keys::IssueError, _>(move |conn| {
                Box::pin(async move {
                    if api_keys::any_operator(conn).await? {
                        return Ok(None);
                    }
                    let new = keys::NewKey {
                        merchant_id: None,
                        mode: api_keys::Mode::Operator,
                        name: "first".to_owned(),
                        expires_at: None,
                    };
                    let (_, text) = keys::issue_text(conn, &vault, new, text, now).await?;
                    Ok(Some(text))
                })
            })
            .await?;
        Ok(key)
    }

    /// Runs workers and the API until `stop`, then ends in good order. `ready` is told the bound address.
    pub async fn serve(self, stop: CancellationToken, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
        let listen = self.config.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; choose another address with KASSA_LISTEN")
        })?;
        ready(listener.local_addr()?);
        let workers = tokio::spawn(supervise::run(self.clone(), stop.clone()));
        let follow = tokio::spawn(self.clone().follow(stop.clone()));
        http::serve(self.clone(), listener, stop.clone()).await;
        stop.cancel();
        let _ = tokio::join!(workers, follow);
        let holder = Arc::clone(&self.holder);
        let released = self
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { leases::release_all(conn, &holder).await })
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "leases were not given back; they end by themselves");
        }
        self.db.close().await;
        Ok(())
    }

    /// Takes over the upstreams that the database holds.
    pub(crate) async fn reload_upstreams(&self) -> Result<(), DbError> {
        let mut by_network: BTreeMap<String, Vec<UpstreamSpec>> =
            self.networks.all().iter().map(|network| (network.name.clone(), Vec::new())).collect();
        for row in network_rows::upstreams(&mut self.db.read().await?).await? {
            let Some(specs) = by_network.get_mut(&row.network) else { continue };
            match self.secret_headers(&row) {
                Ok(headers) => specs.push(UpstreamSpec {
                    id: row.id,
                    url: row.url,
                    headers,
                    rate_per_s: row.rate_per_s,
                    priority: row.priority,
                }),
                Err(error) => {
                    tracing::error!(upstream = row.id, %error, "its secret headers do not open; it is left out");
                }
            }
        }
        for (network, specs) in by_network {
            self.upstreams.set(&network, specs);
        }
        Ok(())
    }

    fn secret_headers(
        &self,
        row: &network_rows::Upstream,
    ) -> anyhow::Result<Vec<(String, Zeroizing<String>)>> {
        let Some(sealed) = &row.headers else { return Ok(Vec::new()) };
        let opened = self.vault.open(&row.id, sealed)?;
        let headers: BTreeMap<String, String> = serde_json::from_slice(&opened)?;
        Ok(headers.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    /// Follows what other replicas change: networks, upstreams, plugins.
    async fn follow(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
            }
            let followed = async {
                self.networks.reload().await?;
                self.reload_upstreams().await?;
                self.host.registry().refresh().await?;
                anyhow::Ok(())
            };
            if let Err(error) = followed.await {
                tracing::warn!(%error, "changes were not followed; what is known stays");
            }
        }
    }

    /// How long a lease lasts, milliseconds.
    pub(crate) fn lease_ms(&self) -> i64 {
        i64::try_from(self.config.watch.lease_ms).unwrap_or(i64::MAX)
    }
}

/// Adds the networks that come with the binary and are not known yet. A test network that is its own chain is
/// enabled; the others wait for the operator.
async fn built_in_networks(db: &Db, now: Millis) -> anyhow::Result<()> {
    let known = network_rows::list(&mut db.read().await?).await?;
    let mut manifests = Vec::new();
    for manifest in networks::shipped()? {
        manifest.check().map_err(|why| anyhow::anyhow!("built-in network {}: {why}", manifest.name))?;
        if known.iter().all(|network| network.manifest.name != manifest.name) {
            manifests.push(manifest);
        }
    }
    if manifests.is_empty() {
        return Ok(());
    }
    db.write::<_, network_rows::PutError, _>(move |conn| {
        Box::pin(async move {
            for manifest in manifests {
                network_rows::put(conn, &manifest, now).await?;
                network_rows::set_enabled(conn, &manifest.name, manifest.plugin == "sandbox").await?;
                for (priority, upstream) in (PRIORITY_OF_PUBLIC..).zip(manifest.upstreams) {
                    let row = network_rows::Upstream {
                        id: id::new(id::Kind::Upstream, now),
                        network: manifest.name.clone(),
                        url: upstream.url,
                        headers: None,
                        rate_per_s: upstream.rate_per_s,
                        priority,
                        created_at: now,
                    };
                    network_rows::insert_upstream(conn, row).await?;
                }
            }
            Ok(())
        })
    })
    .await?;
    Ok(())
}
