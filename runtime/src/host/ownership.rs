//! Checks of an address's ownership by a signature of its owner.

use super::{
    Host, OwnershipError, about,
    call::{CallFailed, CallStore},
};
use crate::domain::network;

impl Host {
    /// True if the network's plugin can check proofs of ownership.
    pub(crate) fn proves(&self, network: &network::Manifest) -> bool {
        self.on(network).is_ok_and(|(loaded, _)| loaded.ownership().is_ok())
    }

    /// True if `proof` is a signature on `statement` by the owner of `address`, which is in normal form.
    pub(crate) async fn verify_ownership(
        &self,
        network: &network::Manifest,
        address: &str,
        statement: &str,
        proof: &str,
    ) -> Result<Result<(), OwnershipError>, CallFailed> {
        let (loaded, subject) = self.on(network)?;
        let (pre, about) = (loaded.ownership()?, about(network));
        let called = self.caller.run(subject, loaded.limits.pure(), async |store: &mut CallStore| {
            let plugin = pre.instantiate_async(&mut *store).await?;
            plugin.kassa_plugin_ownership().call_verify(store, &about, address, statement, proof).await
        });
        Ok(called.await?.value)
    }
}
