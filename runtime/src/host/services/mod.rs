//! Services that a plugin may import. Each is a file, with the same three parts: state that all calls share
//! ([`Shared`]), state of one call (a field of [`Services`]), and the generated trait on top.

mod clock;
mod hosts;
mod http;
mod log;
mod method;
mod random;
mod rendered;
mod secrets;
mod signing;
mod state;
mod storage;
pub(crate) mod tape;
mod template;
pub(crate) mod text;
mod upstream;
mod watch;
mod webhooks;

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker};

use crate::{
    clock::Clock,
    db::Db,
    domain::{
        id::{HookId, HookRunId, UpstreamId},
        tenant::Tenant,
    },
    host::{
        bindings::services::{Services as Imports, kassa::plugin::types},
        limits::Limits,
    },
    upstreams::Upstreams,
};

pub(crate) use hosts::{Hosts, authority, is_allowed};
pub(crate) use log::LogLine;
pub(crate) use rendered::{Rendered, Unsendable};
pub(crate) use secrets::Secret;
pub(crate) use signing::Algorithm;
pub(in crate::host) use state::CallState;
pub(crate) use storage::StaleRead;
pub(crate) use tape::{Recording, Tape, differences};
pub(crate) use watch::WatchSets;
pub(crate) use webhooks::QueuedWebhook;

/// State that the services of all calls share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) upstreams: Upstreams,
    pub(crate) watch: WatchSets,
    pub(crate) hosts: Hosts,
}

/// The called component, and the party on whose behalf it is called.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) version_id: String,
    pub(crate) behalf: Behalf,
    /// Upstreams of the network that this call does not ask, though they are healthy: they could not answer it before.
    pub(crate) passed_over: Vec<UpstreamId>,
}

/// The party on whose behalf a component is called.
#[derive(Debug)]
pub(crate) enum Behalf {
    /// A network that a chain plugin reads.
    Network(String),
    Merchant(OfMerchant),
}

/// A hook at work for its merchant.
#[derive(Debug, Clone)]
pub(crate) struct OfMerchant {
    pub(crate) hook_id: HookId,
    pub(crate) tenant: Tenant,
    /// The run's id, which is in the keys that requests carry; `None` if no request is sent.
    pub(crate) run_id: Option<HookRunId>,
    /// Hosts that the hook may send requests to.
    pub(crate) hosts: Vec<String>,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

impl Subject {
    /// The scope of the plugin's storage.
    fn scope(&self) -> String {
        match &self.behalf {
            Behalf::Network(network) => format!("{}/{network}", self.plugin),
            Behalf::Merchant(of) => scope_of_hook(&of.hook_id),
        }
    }

    /// The network that a chain plugin reads; empty for a hook.
    pub(super) fn network(&self) -> &str {
        match &self.behalf {
            Behalf::Network(network) => network,
            Behalf::Merchant(_) => "",
        }
    }
}

/// The scope of a hook's storage. No plugin's name has a colon.
#[must_use]
pub(crate) fn scope_of_hook(hook_id: &HookId) -> String {
    ["hook:", hook_id.as_str()].concat()
}

/// State of the services for one call.
pub(crate) struct Services {
    pub(super) storage: storage::Storage,
    pub(super) http: http::Http,
    pub(super) log: log::Log,
    pub(super) webhooks: webhooks::Webhooks,
    pub(super) random: random::Random,
    pub(super) tape: Tape,
    shared: Arc<Shared>,
    subject: Arc<Subject>,
}

impl Services {
    /// Services for a call that must end by `deadline`.
    pub(super) fn new(
        shared: Arc<Shared>,
        subject: Arc<Subject>,
        limits: &Limits,
        deadline: Instant,
        tape: Tape,
    ) -> Self {
        Self {
            storage: storage::Storage::new(shared.db.clone(), &subject, limits),
            http: http::Http::new(shared.clone(), subject.clone(), limits, deadline),
            log: log::Log::new(limits),
            webhooks: webhooks::Webhooks::new(limits),
            random: random::Random::new(limits),
            tape,
            shared,
            subject,
        }
    }
}

/// Offers all services to components.
pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    Imports::add_to_linker::<CallState, HasSelf<CallState>>(linker, |state| state)
}

impl types::Host for CallState {}

#[cfg(test)]
fn shared_for_test(db: Db) -> Shared {
    use crate::outbound::{Outbound, Reach};
    let outbound = Outbound::isolated().unwrap();
    let upstreams = Upstreams::new(outbound.clone(), Clock::default());
    let (clock, watch) = (Clock::default(), WatchSets::default());
    let hosts = Hosts { outbound, reach: Reach::Any, allowed: vec!["*".to_owned()] };
    Shared { db, clock, upstreams, watch, hosts }
}

#[cfg(test)]
fn subject_for_test(network: &str) -> Subject {
    Subject {
        plugin: "test".to_owned(),
        version: "0.1.0".to_owned(),
        version_id: String::new(),
        behalf: Behalf::Network(network.to_owned()),
        passed_over: Vec::new(),
    }
}
