//! Tests of the host as a whole: real engine, real database, hostile guests.

mod admission;
mod guest;
pub(crate) mod hook_guest;
mod hostile;
mod lifecycle;
mod real;
mod roles;

use tempfile::TempDir;

use super::*;
use crate::{
    config,
    testing::{self, TestDb},
};
use guest::Guest;

/// A host with nothing in it, and its folder.
struct Bench {
    host: Host,
    db: TestDb,
    config: Config,
    dir: TempDir,
}

fn config() -> config::Plugins {
    config::Plugins { cpu_ms: 30, ..whole().plugins }
}

fn whole() -> Config {
    Config::load(Path::new("/nonexistent"), false, std::iter::empty()).unwrap()
}

impl Bench {
    async fn new() -> Self {
        Self::with(config()).await
    }

    async fn with(config: config::Plugins) -> Self {
        Self::on(testing::sqlite().await, config)
    }

    fn on(db: TestDb, plugins: config::Plugins) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { plugins, ..whole() };
        let host = Self::host(&db, &config, &dir);
        Self { host, db, config, dir }
    }

    fn host(db: &Db, config: &Config, dir: &TempDir) -> Host {
        let cache = dir.path().join("compiled");
        Host::empty(db.clone(), Clock::default(), config, &cache, [7; 32], upstreams()).unwrap()
    }

    /// A host on the same database and folder, as after a restart.
    async fn restarted(&self) -> Host {
        let host = Self::host(&self.db, &self.config, &self.dir);
        host.registry.refresh().await.unwrap();
        host
    }

    async fn load(&self, guest: &Guest) -> PluginVersion {
        let version = self.host.registry.install(guest.component()).await.unwrap();
        self.host.registry.activate(&version.manifest.name, &version.id).await.unwrap()
    }

    async fn refused(&self, wasm: Vec<u8>) -> AdmitError {
        match self.host.registry.install(wasm).await {
            Err(RegistryError::Admit(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    async fn scan(&self) -> Result<Called<Result<ScanResult, ScanError>>, CallFailed> {
        self.host
            .scan(
                &network("test"),
                None,
                &ScanLimits { blocks: 1, transfers: 1, known: None, next_is_head: false, more: Vec::new() },
            )
            .await
    }
}

/// A host without plugins, and the folder that it lives in.
pub(crate) fn empty_host(db: &Db, clock: &Clock) -> (Host, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    let host = Host::empty(db.clone(), clock.clone(), &whole(), &cache, [7; 32], upstreams()).unwrap();
    (host, dir)
}

/// A chain plugin that does nothing.
pub(crate) fn chain_component() -> Vec<u8> {
    Guest::new().component()
}

/// A network of this plugin.
fn network(plugin: &str) -> Arc<network::Manifest> {
    let manifest = toml::from_str(&format!(
        r#"
        name = "testnet"
        title = "Test"
        caip2 = "kassa:test"
        plugin = "{plugin}"
        credit = 1
        poll_ms = 1000
        [[asset]]
        symbol = "TST"
        name = "Test"
        decimals = 6
        "#
    ));
    Arc::new(manifest.unwrap())
}

/// Upstreams of no network.
fn upstreams() -> Upstreams {
    Upstreams::new(Outbound::new().unwrap(), Clock::default())
}
