//! A chain scripted by a simulation, in place of all chain plugins.

use std::{path::Path, pin::Pin, sync::Arc};

use super::{
    Address, BalanceError, Called, Description, Host, HostError, MemoSupport, Point, Position, ScanError,
    ScanLimits, ScanResult, Trace,
};
use crate::{
    clock::Clock,
    config::Config,
    db::{
        Db,
        plugin_storage::{Revision, StorageWrites},
    },
    domain::money::Amount,
    upstreams::Upstreams,
};

/// Answers in place of a chain plugin.
pub(crate) trait Scripted: Send + Sync {
    fn scan(&self, cursor: Option<Position>, limits: &ScanLimits) -> Result<ScanResult, ScanError>;

    /// The time that an answer to a scan takes to arrive.
    fn on_its_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    /// True if its scan does not see everything that arrives.
    fn compares(&self) -> bool {
        false
    }

    /// Balances at these points.
    fn balances(&self, _points: &[Point]) -> Result<Vec<Amount>, BalanceError> {
        Err(BalanceError::Upstream("it was not told".to_owned()))
    }
}

impl Host {
    /// A host without plugins. One is enough for any number of simulations: see [`Host::telling`].
    pub(crate) fn without_plugins(
        db: Db,
        clock: Clock,
        config: &Config,
        cache_dir: &Path,
        upstreams: Upstreams,
    ) -> Result<Self, HostError> {
        Self::empty(db, clock, config, cache_dir, [0; 32], upstreams)
    }

    /// This host with `chain` in place of all plugins.
    #[must_use]
    pub(crate) fn telling(&self, chain: Arc<dyn Scripted>) -> Self {
        Self { scripted: Some(chain), ..self.clone() }
    }
}

pub(super) fn description() -> Description {
    Description {
        kind: "scripted".to_owned(),
        memo: MemoSupport::Optional,
        derives_addresses: true,
        exact_native_amounts: true,
        more: Vec::new(),
    }
}

pub(super) fn child(extended_public_key: &str, index: u32) -> Address {
    let text = format!("{extended_public_key}/{index}");
    Address { key: text.as_bytes().to_vec(), text, more: Vec::new() }
}

pub(super) async fn called(
    chain: &dyn Scripted,
    cursor: Option<Position>,
    limits: &ScanLimits,
) -> Called<Result<ScanResult, ScanError>> {
    let scan = chain.scan(cursor, limits);
    chain.on_its_way().await;
    told(scan)
}

pub(super) fn told<T>(value: T) -> Called<T> {
    Called {
        value,
        writes: StorageWrites {
            scope: "scripted".to_owned(),
            base: Revision::default(),
            bytes: 0,
            entries: Default::default(),
        },
        webhooks: Vec::new(),
        upstream: None,
        version_id: "scripted".to_owned(),
        trace: Trace::default(),
    }
}
