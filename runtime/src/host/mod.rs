//! All of wasmtime: plugins are admitted, kept, swapped and called here, and nobody else knows how.
//!
//! The cast:
//! - a *plugin* is a component with its manifest in a custom section; a *version* of it is one artefact, known
//!   by its SHA-256 and kept in the database, so that every replica has it;
//! - [`admit`] lets an artefact in: size, features, imports, exports, structure, manifest, a first call; each
//!   refusal is a case of its own;
//! - [`cache`] keeps what the compiler made of it, under a MAC, since loading code is trusting it;
//! - [`registry`] knows which version of each plugin is active, and makes another one so by one exchange of a
//!   pointer: calls under way end on the version they began with;
//! - [`call`] runs one call: a fresh instance, every limit of [`limits`], and effects that are handed back
//!   instead of done;
//! - [`services`] is what a component may import, [`bindings`] the generated types of both sides.
//!
//! Chain plugins are the operator's: few, always loaded, known by [`registry`]. Hooks are the merchants': many,
//! loaded when they are called, by [`hooks`], on an engine of their own.
//!
//! [`Host`] is the face of it all. A guest's typed error is a value; [`CallFailed`] means that there was no
//! answer, that nothing was done, and that the call may be made again.

mod admit;
mod aside;
mod balances;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod bindings;
mod cache;
mod call;
mod check;
mod compiler;
mod embedded;
mod engine;
mod error;
mod hooks;
mod interface;
mod limits;
mod link;
mod loaded;
mod manifest;
mod meter;
mod ownership;
mod registry;
#[cfg(feature = "simulation")]
pub(crate) mod scripted;
mod seat;
mod services;
mod settings;
mod shadow;
mod summary;
#[cfg(test)]
pub(crate) mod tests;
mod version;

use std::{path::Path, sync::Arc};

use crate::{
    clock::Clock,
    config::Config,
    db::{Db, DbError},
    domain::{money::Amount, network, size::SizeClass},
    outbound::{Outbound, Reach},
    upstreams::Upstreams,
};
use admit::{Admission, Rules};
use bindings::services::kassa::plugin::types;
use cache::Cache;
use call::{CallStore, Caller};
use compiler::Compiler;
use engine::Runtime;
use loaded::Loaded;
use services::{Hosts, Shared, Subject, WatchSets};

pub(crate) use bindings::form::exports::kassa::plugin::form;
pub(crate) use bindings::fulfiller::exports::kassa::plugin::fulfiller;
pub(crate) use bindings::matcher::exports::kassa::plugin::matcher;
pub(crate) use bindings::rates::exports::kassa::plugin::rates;
pub(crate) use bindings::{
    balances::exports::kassa::plugin::balances::{BalanceError, Point},
    chain::exports::kassa::plugin::chain::{
        Address, AddressError, Block, DeriveError, DescribeError, Description, Finality, Link as PaymentLink,
        LinkError, MemoSupport, ScanError, ScanLimits, ScanResult,
    },
    finder::exports::kassa::plugin::finder::{FindError, Place as Location},
    ownership::exports::kassa::plugin::ownership::OwnershipError,
    services::kassa::plugin::types::{Memo, Position, Transfer as PluginTransfer},
    simulator::exports::kassa::plugin::simulator::SimulateError,
};
pub(crate) use call::{CallFailed, Called, Trace};
pub(crate) use check::{CheckError, Checked, check};
pub(crate) use compiler::child as compile_child;
pub(crate) use embedded::NETWORK_MANIFESTS;
pub(crate) use engine::Guests;
pub(crate) use error::{AdmitError, CallError};
pub(crate) use hooks::{HookVersion, Hooks, NotRendered};
pub(crate) use manifest::{Grants, Manifest, Role, is_secret_name};
pub(crate) use registry::{Registry, RegistryError};
pub(crate) use services::text::one_line;
pub(crate) use services::{OfMerchant, QueuedWebhook, Rendered, Secret, is_allowed, scope_of_hook};
pub(crate) use services::{Recording, Tape, differences};
pub(crate) use shadow::{Beside, Difference, Shadow, Tally};
pub(crate) use version::PluginVersion;

/// Reason that plugins cannot run at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    #[error("cannot start the thread that interrupts plugins: {0}")]
    Ticker(std::io::Error),
    #[error("the folder of compiled plugins: {0}")]
    Cache(std::io::Error),
    #[error("cannot make an HTTP client for hooks: {0}")]
    Outbound(String),
    /// A plugin that came with this binary is unusable: a defect of the binary.
    #[error("a plugin of this binary: {0}")]
    Embedded(RegistryError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// All plugins of this process, ready to be called. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Host {
    caller: Caller,
    registry: Arc<Registry>,
    hooks: Arc<Hooks>,
    /// Answers in place of all chain plugins.
    #[cfg(feature = "simulation")]
    scripted: Option<Arc<dyn scripted::Scripted>>,
}

impl Host {
    /// Starts the engine, installs the plugins in the binary, and loads every active plugin.
    ///
    /// `cache_dir` is for compiled code, which `cache_key` authenticates.
    pub(crate) async fn start(
        db: Db,
        clock: Clock,
        config: &Config,
        cache_dir: &Path,
        cache_key: [u8; 32],
        upstreams: Upstreams,
    ) -> Result<Self, HostError> {
        let host = Self::empty(db, clock, config, cache_dir, cache_key, upstreams)?;
        let embedded = host.registry.load_embedded(embedded::PLUGINS).await;
        embedded.map_err(|error| match error {
            RegistryError::Db(error) => HostError::Db(error),
            other => HostError::Embedded(other),
        })?;
        host.registry.refresh().await?;
        Ok(host)
    }

    fn empty(
        db: Db,
        clock: Clock,
        config: &Config,
        cache_dir: &Path,
        cache_key: [u8; 32],
        upstreams: Upstreams,
    ) -> Result<Self, HostError> {
        let shared = Arc::new(Shared {
            db: db.clone(),
            clock: clock.clone(),
            upstreams,
            watch: WatchSets::default(),
            hosts: Hosts {
                outbound: Outbound::isolated().map_err(|error| HostError::Outbound(error.to_string()))?,
                reach: if config.hooks.allow_private { Reach::Any } else { Reach::Public },
                allowed: config.hooks.hosts.clone(),
            },
        });
        let compiler = Compiler::new();
        let mut engines = Vec::new();
        let mut start = |guests, calls_max, memory_bytes, cached_mib| {
            let runtime = Runtime::new(guests, calls_max, memory_bytes)?;
            engines.push(runtime.compatibility());
            let cache = Cache::open(cache_dir, cache_key, runtime.compatibility(), cached_mib)
                .map_err(HostError::Cache)?;
            Ok::<_, HostError>((Caller::new(runtime, calls_max, shared.clone()), cache))
        };
        let Config { plugins, hooks, .. } = config;
        let memory_bytes = plugins.memory_mib.saturating_mul(1 << 20);
        let (caller, cache) = start(Guests::Chains, plugins.calls_max, memory_bytes, plugins.cached_mib)?;
        let memory_bytes = SizeClass::Large.memory_bytes();
        let (hooks_caller, hooks_cache) =
            start(Guests::Hooks, hooks.calls_max, memory_bytes, hooks.cached_mib)?;
        cache::sweep(cache_dir, &engines);
        let admission = Admission::new(hooks_caller.clone(), Rules::Hooks(hooks.clone()), compiler.clone());
        let hooks =
            Hooks::new(db.clone(), clock.clone(), hooks.clone(), hooks_caller, admission, hooks_cache);
        let registry = Registry::new(db, clock, plugins.clone(), caller.clone(), cache, compiler);
        Ok(Self {
            caller,
            registry: Arc::new(registry),
            hooks: Arc::new(hooks),
            #[cfg(feature = "simulation")]
            scripted: None,
        })
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// The plugin's description of the network's kind of chain. The plugin is asked once for each version and manifest.
    pub(crate) async fn describe(
        &self,
        network: &Arc<network::Manifest>,
    ) -> Result<Arc<Description>, CallFailed> {
        #[cfg(feature = "simulation")]
        if self.scripted.is_some() {
            return Ok(Arc::new(scripted::description()));
        }
        let (loaded, subject) = self.on(network)?;
        if let Some(description) = loaded.described.of(network) {
            return Ok(description);
        }
        let (pre, about) = (loaded.chain()?, about(network));
        let called = self.caller.run(subject, loaded.limits.pure(), async |store: &mut CallStore| {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.kassa_plugin_chain().call_describe(store, &about).await
        });
        let described = called.await?.value.map_err(|error| CallError::Refused {
            what: "describe its kind of chain",
            why: match error {
                DescribeError::Settings(why) => format!("settings of the network: {why}"),
                DescribeError::Other(why) => why,
            },
        });
        let description = Arc::new(described?);
        loaded.described.remember(network, description.clone());
        Ok(description)
    }

    /// An address in its normal form, and the key under which `watch` knows it.
    pub(crate) async fn normalize_address(
        &self,
        network: &network::Manifest,
        text: &str,
    ) -> Result<Result<Address, AddressError>, CallFailed> {
        let (loaded, subject) = self.on(network)?;
        let (pre, about) = (loaded.chain()?, about(network));
        let called = self.caller.run(subject, loaded.limits.pure(), async |store: &mut CallStore| {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.kassa_plugin_chain().call_normalize_address(store, &about, text).await
        });
        Ok(called.await?.value)
    }

    /// The `index`-th receive address of an extended public key.
    pub(crate) async fn derive_address(
        &self,
        network: &network::Manifest,
        extended_public_key: &str,
        index: u32,
    ) -> Result<Result<Address, DeriveError>, CallFailed> {
        #[cfg(feature = "simulation")]
        if self.scripted.is_some() {
            return Ok(Ok(scripted::child(extended_public_key, index)));
        }
        let (loaded, subject) = self.on(network)?;
        let (pre, about) = (loaded.chain()?, about(network));
        let called = self.caller.run(subject, loaded.limits.pure(), async |store: &mut CallStore| {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.kassa_plugin_chain().call_derive_address(store, &about, extended_public_key, index).await
        });
        Ok(called.await?.value)
    }

    /// A payment link for the payer to open or scan. `asset_index` is the asset's index in the network's manifest.
    pub(crate) async fn payment_link(
        &self,
        network: &network::Manifest,
        recipient: &str,
        asset_index: u32,
        amount: Amount,
        memo: Option<&str>,
    ) -> Result<PaymentLink, CallFailed> {
        #[cfg(feature = "simulation")]
        if self.scripted.is_some() {
            return Ok(PaymentLink { uri: None, qr: recipient.to_owned(), more: Vec::new() });
        }
        let (loaded, subject) = self.on(network)?;
        let (pre, about) = (loaded.chain()?, about(network));
        let request = bindings::chain::exports::kassa::plugin::chain::PaymentRequest {
            recipient: recipient.to_owned(),
            asset: asset_index,
            amount: amount.into(),
            memo: memo.map(str::to_owned),
            more: Vec::new(),
        };
        let called = self.caller.run(subject, loaded.limits.pure(), async |store: &mut CallStore| {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.kassa_plugin_chain().call_payment_link(store, &about, &request).await
        });
        let link = called.await?.value.map_err(|error| CallError::Refused {
            what: "write a payment link",
            why: match error {
                LinkError::Settings(why) => format!("settings of the network: {why}"),
                LinkError::Malformed(why) | LinkError::Other(why) => why,
            },
        });
        Ok(link?)
    }

    /// Reads on from the cursor. [`Called::writes`] belong in the transaction that moves the cursor.
    pub(crate) async fn scan(
        &self,
        network: &network::Manifest,
        cursor: Option<Position>,
        limits: &ScanLimits,
    ) -> Result<Called<Result<ScanResult, ScanError>>, CallFailed> {
        #[cfg(feature = "simulation")]
        if let Some(scripted) = &self.scripted {
            return Ok(scripted::called(&**scripted, cursor, limits).await);
        }
        let (loaded, subject) = self.on(network)?;
        self.scan_on(&loaded, subject, network, cursor, limits).await
    }

    /// Reads the same range with a version in the shadow. Nothing of it may be committed.
    pub(crate) async fn scan_in_shadow(
        &self,
        shadow: &Shadow,
        network: &network::Manifest,
        cursor: Position,
        limits: &ScanLimits,
    ) -> Result<Called<Result<ScanResult, ScanError>>, CallFailed> {
        let subject = Arc::new(shadow.loaded.subject(&network.name));
        self.scan_on(&shadow.loaded, subject, network, Some(cursor), limits).await
    }

    async fn scan_on(
        &self,
        loaded: &Loaded,
        subject: Arc<Subject>,
        network: &network::Manifest,
        cursor: Option<Position>,
        limits: &ScanLimits,
    ) -> Result<Called<Result<ScanResult, ScanError>>, CallFailed> {
        let (pre, about) = (loaded.chain()?, about(network));
        self.caller
            .run(subject, loaded.limits.clone(), async |store: &mut CallStore| {
                let plugin = pre.instantiate_async(&mut *store).await?;
                plugin.kassa_plugin_chain().call_scan(store, &about, cursor.as_ref(), limits).await
            })
            .await
    }

    /// Performs one action on a simulated chain. [`Called::writes`] are its only effect: commit them.
    pub(crate) async fn simulate(
        &self,
        network: &network::Manifest,
        action: &str,
    ) -> Result<Called<Result<String, SimulateError>>, CallFailed> {
        let (loaded, subject) = self.on(network)?;
        let (pre, about) = (loaded.simulator()?, about(network));
        self.caller
            .run(subject, loaded.limits.clone(), async |store: &mut CallStore| {
                let plugin = pre.instantiate_async(&mut *store).await?;
                plugin.kassa_plugin_simulator().call_simulate(store, &about, action).await
            })
            .await
    }

    /// The active version of the network's plugin. The whole call stays on it, whatever is activated in the meantime.
    fn on(&self, network: &network::Manifest) -> Result<(Arc<Loaded>, Arc<Subject>), CallError> {
        let loaded = self.registry.active(&network.plugin)?;
        let subject = Arc::new(loaded.subject(&network.name));
        Ok((loaded, subject))
    }
}

/// The network as a plugin is told about it.
fn about(network: &network::Manifest) -> types::Network {
    types::Network {
        name: network.name.clone(),
        chain_id: network.chain_id().to_owned(),
        assets: network
            .assets
            .iter()
            .map(|asset| types::Asset {
                contract: asset.contract.clone(),
                decimals: asset.decimals,
                more: None,
            })
            .collect(),
        settings: serde_json::Value::Object(network.settings.clone()).to_string(),
        more: Vec::new(),
    }
}

impl From<Amount> for types::Amount {
    fn from(amount: Amount) -> Self {
        let word = |shift: u32| u32::try_from(amount.0 >> shift & u128::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { w3: word(96), w2: word(64), w1: word(32), w0: word(0) }
    }
}

impl From<types::Amount> for Amount {
    fn from(amount: types::Amount) -> Self {
        let words = [amount.w3, amount.w2, amount.w1, amount.w0];
        Self(words.iter().fold(0, |value, word| value << 32 | u128::from(*word)))
    }
}
