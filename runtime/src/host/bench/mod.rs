//! For `kassa bench`: the same component in wasmtime alone, and the watched addresses asked without a guest.

mod hook;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store,
    component::{Component, Linker},
};

pub(crate) use hook::{BareHook, BareHooks};

use super::{
    Address, AddressError, CallError, Host, HostError, about,
    bindings::{chain::ChainRolePre, services::kassa::plugin::types},
    call::classify,
    engine::{KEEP_RESIDENT_BLIND, KEEP_RESIDENT_SCANNED},
};
use crate::{db::DbError, domain::network};

/// Maximum number of concurrent calls.
const CALLS: u32 = 64;

/// A chain plugin without a host: no limits, no services, no accounting. The least that a fresh instance for
/// each call can cost.
pub(crate) struct Bare {
    engine: Engine,
    plugin: ChainRolePre<()>,
    about: types::Network,
}

impl Bare {
    /// Compiles the component, for calls about this network.
    pub(crate) fn new(wasm: &[u8], network: &network::Manifest) -> Result<Self, HostError> {
        Self::compiled(wasm, network).map_err(|error| HostError::Engine(format!("{error:#}")))
    }

    fn compiled(wasm: &[u8], network: &network::Manifest) -> wasmtime::Result<Self> {
        let mut pool = pool();
        pool.total_core_instances(CALLS * 8).total_memories(CALLS).total_tables(CALLS * 4);
        let engine = Engine::new(&config(pool))?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let plugin = ChainRolePre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, plugin, about: about(network) })
    }

    pub(crate) async fn normalize_address(
        &self,
        text: &str,
    ) -> Result<Result<Address, AddressError>, CallError> {
        let call = async {
            let mut store = Store::new(&self.engine, ());
            let plugin = self.plugin.instantiate_async(&mut store).await?;
            plugin.kassa_plugin_chain().call_normalize_address(store, &self.about, text).await
        };
        call.await.map_err(|error| classify(&error))
    }
}

/// A pool for [`CALLS`] calls; the caller sets the number of memories and the like.
fn pool() -> PoolingAllocationConfig {
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(CALLS)
        .total_stacks(CALLS)
        .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(if scan { KEEP_RESIDENT_SCANNED } else { KEEP_RESIDENT_BLIND })
        .table_keep_resident(KEEP_RESIDENT_BLIND);
    pool
}

fn config(pool: PoolingAllocationConfig) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

impl Host {
    /// Indices of the watched keys, as `watch.filter` answers a plugin of this network.
    pub(crate) async fn watched(
        &self,
        network: &str,
        keys: &[u8],
        width_bytes: usize,
    ) -> Result<Vec<u32>, DbError> {
        let shared = self.caller.shared();
        shared.watch.filter(&shared.db, network, keys, width_bytes).await
    }
}
