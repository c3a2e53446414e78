//! One version of a plugin, ready to be called.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use wasmtime::component::Component;

use crate::{
    db::plugins::VersionRow,
    domain::{id::PluginVersionId, network},
    host::{
        bindings::{
            balances::BalancesRolePre,
            chain::{ChainRolePre, exports::kassa::plugin::chain::Description},
            finder::FinderRolePre,
            ownership::OwnershipRolePre,
            simulator::SimulatorRolePre,
        },
        error::CallError,
        limits::Limits,
        link::Linked,
        manifest::Role,
        services::{Behalf, CallState, Subject},
    },
};

/// One version, ready to be called.
pub(crate) struct Loaded {
    plugin: String,
    pub(super) version_id: PluginVersionId,
    pub(super) version: String,
    /// Number of the activation that loaded this; another one replaces it.
    pub(super) generation: i64,
    pub(super) limits: Limits,
    linked: Linked,
    /// The plugin's description of each network, by name. It holds for the very manifest that was asked about.
    pub(super) described: AnswerCache<Arc<Description>>,
    /// The plugin's wish to have balances compared, likewise.
    pub(super) compared: AnswerCache<bool>,
    pub(super) sha256: String,
    pub(super) component: Component,
}

/// The plugin's answers, each with the manifest that it is about, by network.
pub(super) struct AnswerCache<T>(Mutex<HashMap<String, (Arc<network::Manifest>, T)>>);

impl<T: Clone> AnswerCache<T> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// The earlier answer for this network and manifest.
    pub(super) fn of(&self, network: &Arc<network::Manifest>) -> Option<T> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, what) = told.get(&network.name)?;
        Arc::ptr_eq(of, network).then(|| what.clone())
    }

    pub(super) fn remember(&self, network: &Arc<network::Manifest>, what: T) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(network.name.clone(), (network.clone(), what));
    }
}

impl Loaded {
    pub(super) fn new(
        row: &VersionRow,
        generation: i64,
        limits: Limits,
        linked: Linked,
        component: Component,
    ) -> Self {
        Self {
            plugin: row.plugin.clone(),
            version_id: row.id.clone(),
            version: row.version.clone(),
            generation,
            limits,
            linked,
            described: AnswerCache::new(),
            compared: AnswerCache::new(),
            sha256: row.sha256.clone(),
            component,
        }
    }

    pub(super) fn chain(&self) -> Result<&ChainRolePre<CallState>, CallError> {
        self.linked.chain.as_ref().ok_or_else(|| self.no_role(Role::Chain))
    }

    pub(super) fn finder(&self) -> Result<&FinderRolePre<CallState>, CallError> {
        self.linked.finder.as_ref().ok_or_else(|| self.no_role(Role::Finder))
    }

    pub(super) fn balances(&self) -> Result<&BalancesRolePre<CallState>, CallError> {
        self.linked.balances.as_ref().ok_or_else(|| self.no_role(Role::Balances))
    }

    pub(super) fn ownership(&self) -> Result<&OwnershipRolePre<CallState>, CallError> {
        self.linked.ownership.as_ref().ok_or_else(|| self.no_role(Role::Ownership))
    }

    pub(super) fn simulator(&self) -> Result<&SimulatorRolePre<CallState>, CallError> {
        self.linked.simulator.as_ref().ok_or_else(|| self.no_role(Role::Simulator))
    }

    fn no_role(&self, role: Role) -> CallError {
        CallError::NoRole { plugin: self.plugin.clone(), role: role.as_str() }
    }

    pub(super) fn subject(&self, network: &str) -> Subject {
        Subject {
            plugin: self.plugin.clone(),
            version: self.version.clone(),
            version_id: self.version_id.to_string(),
            behalf: Behalf::Network(network.to_owned()),
            passed_over: Vec::new(),
        }
    }
}
