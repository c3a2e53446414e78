//! A hook in wasmtime alone: no limits, no accounting, no tape, and services that answer from memory.

use std::{collections::BTreeMap, sync::Arc};

use wasmtime::{
    Engine, Store, StoreContextMut,
    component::{Component, Linker},
};

use super::{CALLS, config, pool};
use crate::host::{
    HostError,
    bindings::{
        fulfiller::{FulfillerRolePre, exports::kassa::plugin::fulfiller},
        matcher::{MatcherRolePre, exports::kassa::plugin::matcher},
        services::kassa::plugin::{storage::StorageError, types, webhooks::WebhooksError},
    },
    call::classify,
    engine::{CORE_INSTANCES_MAX, INSTANCE_BYTES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX},
    error::CallError,
};

/// Contents of a hook's storage.
pub(crate) type Stored = BTreeMap<String, Vec<u8>>;

/// Compiles hooks and runs them, nothing else.
#[derive(Clone)]
pub(crate) struct BareHooks(Engine);

/// A hook without a host: the least that a fresh instance for each call can cost.
pub(crate) struct BareHook {
    engine: Engine,
    fulfiller: Option<FulfillerRolePre<Stored>>,
    matcher: Option<MatcherRolePre<Stored>>,
    stored: Arc<Stored>,
}

impl BareHooks {
    pub(crate) fn new() -> Result<Self, HostError> {
        let mut pool = pool();
        pool.total_core_instances(CALLS * CORE_INSTANCES_MAX)
            .total_memories(CALLS * MEMORIES_MAX)
            .total_tables(CALLS * TABLES_MAX)
            .max_tables_per_module(TABLES_MAX)
            .table_elements(TABLE_ELEMENTS_MAX)
            .max_component_instance_size(INSTANCE_BYTES_MAX)
            .max_core_instance_size(INSTANCE_BYTES_MAX);
        let mut config = config(pool);
        config.wasm_multi_memory(true);
        Ok(Self(Engine::new(&config).map_err(|error| engine_error(&error))?))
    }

    /// Compiles a hook whose storage has these contents.
    pub(crate) fn compile(&self, wasm: &[u8], stored: Stored) -> Result<BareHook, HostError> {
        self.compiled(wasm, stored).map_err(|error| engine_error(&error))
    }

    fn compiled(&self, wasm: &[u8], stored: Stored) -> wasmtime::Result<BareHook> {
        let component = Component::new(&self.0, wasm)?;
        let mut linker = Linker::new(&self.0);
        services(&mut linker)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        Ok(BareHook {
            engine: self.0.clone(),
            // A hook of another role gives an error.
            fulfiller: FulfillerRolePre::new(pre.clone()).ok(),
            matcher: MatcherRolePre::new(pre).ok(),
            stored: Arc::new(stored),
        })
    }
}

fn engine_error(error: &wasmtime::Error) -> HostError {
    HostError::Engine(format!("{error:#}"))
}

/// Links the services that the measured hooks import.
fn services(linker: &mut Linker<Stored>) -> wasmtime::Result<()> {
    type Context<'c> = StoreContextMut<'c, Stored>;
    let mut storage = linker.instance("kassa:plugin/storage@0.1.0")?;
    storage.func_wrap("get", |store: Context<'_>, (key,): (String,)| {
        Ok((Ok::<_, StorageError>(store.data().get(&key).cloned()),))
    })?;
    storage.func_wrap("get-many", |store: Context<'_>, (keys,): (Vec<String>,)| {
        let values: Vec<Option<Vec<u8>>> = keys.iter().map(|key| store.data().get(key).cloned()).collect();
        Ok((Ok::<_, StorageError>(values),))
    })?;
    storage.func_wrap("set", |mut store: Context<'_>, (key, value): (String, Vec<u8>)| {
        store.data_mut().insert(key, value);
        Ok((Ok::<_, StorageError>(()),))
    })?;
    storage.func_wrap("delete", |mut store: Context<'_>, (key,): (String,)| {
        store.data_mut().remove(&key);
        Ok((Ok::<_, StorageError>(()),))
    })?;
    storage.func_wrap(
        "keys",
        |store: Context<'_>, (prefix, after, limit): (String, Option<String>, u32)| {
            let keys = store
                .data()
                .keys()
                .filter(|key| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after));
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Ok((Ok::<_, StorageError>(keys.take(limit).cloned().collect::<Vec<String>>()),))
        },
    )?;
    let mut webhooks = linker.instance("kassa:plugin/webhooks@0.1.0")?;
    webhooks.func_wrap("queue", |_: Context<'_>, _: (Option<String>, String, String)| {
        Ok((Ok::<_, WebhooksError>("evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".to_owned()),))
    })
}

impl BareHook {
    pub(crate) async fn fulfill(
        &self,
        event: &fulfiller::Event,
        context: &fulfiller::Context,
    ) -> Result<fulfiller::Outcome, CallError> {
        let pre = self.fulfiller.as_ref().ok_or(CallError::NotReady)?;
        let call = async {
            let mut store = Store::new(&self.engine, Stored::clone(&self.stored));
            let hook = pre.instantiate_async(&mut store).await?;
            hook.kassa_plugin_fulfiller().call_fulfill(store, event, context).await
        };
        call.await.map_err(|error| classify(&error))
    }

    pub(crate) async fn match_transfer(
        &self,
        transfer: &types::Transfer,
        candidates: &[matcher::Candidate],
        context: &matcher::Context,
    ) -> Result<matcher::Decision, CallError> {
        let pre = self.matcher.as_ref().ok_or(CallError::NotReady)?;
        let call = async {
            let mut store = Store::new(&self.engine, Stored::new());
            let hook = pre.instantiate_async(&mut store).await?;
            hook.kassa_plugin_matcher().call_match_transfer(store, transfer, candidates, context).await
        };
        call.await.map_err(|error| classify(&error))
    }
}
