//! What a plugin may import: each service is a file, and is written three times over in the same way: what all
//! calls share ([`Shared`]), what one call holds (a field of [`Services`]), and the generated trait on top.

mod clock;
mod http;
mod log;
mod storage;
pub(crate) mod text;
mod watch;

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker};

use super::{
    bindings::services::{Services as Imports, kassa::plugin::types},
    call::CallState,
    limits::Limits,
};
use crate::{clock::Clock, db::Db, upstreams::Upstreams};

pub(crate) use storage::StaleRead;
pub(crate) use watch::WatchSets;

/// What the services of all calls stand on.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) upstreams: Upstreams,
    pub(crate) watch: WatchSets,
}

/// Who calls, and on whose behalf.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) version_id: String,
    pub(crate) network: String,
}

impl Subject {
    /// What the plugin's storage is kept under.
    fn scope(&self) -> String {
        format!("{}/{}", self.plugin, self.network)
    }
}

/// What one call has of the services.
pub(crate) struct Services {
    pub(super) storage: storage::Storage,
    pub(super) http: http::Http,
    log: log::Log,
    shared: Arc<Shared>,
    subject: Arc<Subject>,
}

impl Services {
    /// For a call that has to be over by `deadline`.
    pub(super) fn new(
        shared: Arc<Shared>,
        subject: Arc<Subject>,
        limits: &Limits,
        deadline: Instant,
    ) -> Self {
        Self {
            storage: storage::Storage::new(shared.db.clone(), subject.scope(), limits),
            http: http::Http::new(shared.upstreams.clone(), subject.network.clone(), limits, deadline),
            log: log::Log::new(limits),
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
