//! What addresses hold: for networks whose plugin does not see all that arrives.

use std::sync::Arc;

use crate::{
    domain::{id::UpstreamId, network},
    host::{
        BalanceError, Called, Host, Point, about,
        call::{CallFailed, CallStore},
        error::CallError,
        types,
    },
};

impl Host {
    /// True if the plugin has the role `balances`.
    pub(crate) fn has_balances(&self, network: &network::Manifest) -> bool {
        self.registry.active(&network.plugin).is_ok_and(|loaded| loaded.balances().is_ok())
    }

    /// True if native coin may arrive on this network unseen by its plugin's scan. The plugin is asked once for each
    /// version and manifest.
    pub(crate) async fn compares(&self, network: &Arc<network::Manifest>) -> Result<bool, CallFailed> {
        #[cfg(feature = "simulation")]
        if let Some(scripted) = &self.scripted {
            return Ok(scripted.compares());
        }
        let (loaded, subject) = self.on(network)?;
        let Ok(pre) = loaded.balances() else { return Ok(false) };
        if let Some(compared) = loaded.compared.of(network) {
            return Ok(compared);
        }
        let about = about(network);
        let called = self.caller.run(subject, loaded.limits.pure(), async |store: &mut CallStore| {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.kassa_plugin_balances().call_needed(store, &about).await
        });
        let compared = called.await?.value.map_err(|error| CallError::Refused {
            what: "say whether balances are needed",
            why: format!("{error:?}"),
        })?;
        loaded.compared.remember(network, compared);
        Ok(compared)
    }

    /// Balances of addresses at the end of blocks, in the order of the points. Upstreams in `passed_over` are not
    /// asked. Nothing that the plugin would store may be committed.
    pub(crate) async fn balances(
        &self,
        network: &network::Manifest,
        points: &[Point],
        passed_over: &[UpstreamId],
    ) -> Result<Called<Result<Vec<types::Amount>, BalanceError>>, CallFailed> {
        #[cfg(feature = "simulation")]
        if let Some(scripted) = &self.scripted {
            return Ok(super::scripted::told(
                scripted.balances(points).map(|held| held.into_iter().map(Into::into).collect()),
            ));
        }
        let (loaded, subject) = self.aside(network, passed_over)?;
        let (pre, about) = (loaded.balances()?, about(network));
        self.caller
            .run(subject, loaded.limits.clone(), async |store: &mut CallStore| {
                let plugin = pre.instantiate_async(&mut *store).await?;
                plugin.kassa_plugin_balances().call_read(store, &about, points).await
            })
            .await
    }
}
