use super::{
    bindings::{chain::ChainRolePre, simulator::SimulatorRolePre},
    call::{CallError, CallState},
    limits::Limits,
    manifest::Role,
    services::Subject,
};
use arc_swap::ArcSwap;
use std::{collections::HashMap, sync::Arc};

pub(crate) struct Loaded {
    pub(super) plugin: String,
    pub(super) version_id: String,
    pub(super) version: String,
    pub(super) limits: Limits,
    chain: Option<ChainRolePre<CallState>>,
    simulator: Option<SimulatorRolePre<CallState>>,
}
impl Loaded {
    pub(super) fn chain(&self) -> Result<ChainRolePre<CallState>, CallError> {
        self.chain.clone().ok_or_else(|| self.no_role(Role::Chain))
    }
    pub(super) fn simulator(&self) -> Result<SimulatorRolePre<CallState>, CallError> {
        self.simulator.clone().ok_or_else(|| self.no_role(Role::Simulator))
    }
    fn no_role(&self, role: Role) -> CallError {
        CallError::NoRole { plugin: self.plugin.clone(), role: role.as_str() }
    }
    pub(super) fn subject(&self, network: &str) -> Subject {
        Subject {
            plugin: self.plugin.clone(),
            version: self.version.clone(),
            version_id: self.version_id.clone(),
            network: network.to_owned(),
        }
    }
}
pub(crate) struct Registry {
    active: ArcSwap<HashMap<String, Arc<Loaded>>>,
}
impl Registry {
    pub(super) fn active(&self, plugin: &str) -> Result<Arc<Loaded>, CallError> {
        self.active
            .load()
            .get(plugin)
            .cloned()
            .ok_or_else(|| CallError::NotLoaded { plugin: plugin.to_owned() })
    }
}
