//! Calls of a chain plugin beside the one whose cursor it is: whoever reads the past again, or looks for a transaction.
//!
//! Nothing that the plugin would keep may be committed: its storage belongs to the cursor.

use std::sync::Arc;

use crate::{
    domain::{
        id::{PluginVersionId, UpstreamId},
        network,
    },
    host::{
        Called, FindError, Host, Place, Position, ScanError, ScanLimits, ScanResult, about,
        call::{CallFailed, CallStore},
        error::CallError,
        loaded::Loaded,
        services::Subject,
    },
};

impl Host {
    /// The version of a plugin that is called; `None` if no component is.
    pub(crate) fn version_in_use(&self, plugin: &str) -> Option<PluginVersionId> {
        #[cfg(feature = "simulation")]
        if self.scripted.is_some() {
            return None;
        }
        Some(self.registry.active(plugin).ok()?.version_id.clone())
    }

    /// Reads on from a position in the past. Upstreams in `passed_over` are not asked.
    pub(crate) async fn scan_aside(
        &self,
        network: &network::Manifest,
        cursor: Position,
        limits: &ScanLimits,
        passed_over: &[UpstreamId],
    ) -> Result<Called<Result<ScanResult, ScanError>>, CallFailed> {
        #[cfg(feature = "simulation")]
        if let Some(scripted) = &self.scripted {
            return Ok(super::scripted::called(&**scripted, Some(cursor), limits).await);
        }
        let (loaded, subject) = self.aside(network, passed_over)?;
        self.scan_on(&loaded, subject, network, Some(cursor), limits).await
    }

    /// Finds the block of a transaction, and those of the transactions that it set off. Errors with
    /// [`CallError::NoRole`] if the plugin has no finder.
    pub(crate) async fn find(
        &self,
        network: &network::Manifest,
        tx: &str,
        passed_over: &[UpstreamId],
    ) -> Result<Called<Result<Vec<Place>, FindError>>, CallFailed> {
        let (loaded, subject) = self.aside(network, passed_over)?;
        let (pre, about) = (loaded.finder()?, about(network));
        self.caller
            .run(subject, loaded.limits.clone(), async |store: &mut CallStore| {
                let plugin = pre.instantiate_async(&mut *store).await?;
                plugin.kassa_plugin_finder().call_find(store, &about, tx).await
            })
            .await
    }

    pub(super) fn aside(
        &self,
        network: &network::Manifest,
        passed_over: &[UpstreamId],
    ) -> Result<(Arc<Loaded>, Arc<Subject>), CallError> {
        let loaded = self.registry.active(&network.plugin)?;
        let subject = Subject { passed_over: passed_over.to_vec(), ..loaded.subject(&network.name) };
        Ok((loaded, Arc::new(subject)))
    }
}
