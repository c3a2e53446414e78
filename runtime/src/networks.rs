//! The enabled networks, in memory: every request and every worker asks for them.
//!
//! One snapshot, exchanged as a whole. It is read from the database at the start, after each change that this process
//! makes, and periodically (by the app) for the changes that other replicas make.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::{
    db::{Db, DbError, networks},
    domain::network::Manifest,
    host,
};

/// Manifests of the networks in the binary, enabled or not.
pub(crate) fn shipped() -> anyhow::Result<Vec<Manifest>> {
    let read = |text: &&str| toml::from_str(text).context("a manifest that the binary brings along");
    host::NETWORK_MANIFESTS.iter().map(read).collect()
}

/// The enabled networks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Networks {
    db: Db,
    snapshot: Arc<ArcSwap<Snapshot>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Snapshot {
    by_name: BTreeMap<String, Arc<Manifest>>,
}

impl Networks {
    /// Loads the networks from the database.
    pub(crate) async fn load(db: Db) -> Result<Self, DbError> {
        let networks = Self {
            db,
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            changed: Arc::default(),
        };
        networks.reload().await?;
        Ok(networks)
    }

    /// An enabled network.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Manifest>> {
        self.snapshot.load().by_name.get(name).cloned()
    }

    /// All enabled networks, by name.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Manifest>> {
        self.snapshot.load().by_name.values().cloned().collect()
    }

    /// Resolves when the set of networks or a manifest has changed. A change between two calls is not lost.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes over the database's present networks.
    pub(crate) async fn reload(&self) -> Result<(), DbError> {
        let mut conn = self.db.read().await?;
        let rows = networks::list(&mut conn).await?;
        let old = self.snapshot.load();
        let mut next = Snapshot::default();
        for row in rows.into_iter().filter(|row| row.enabled) {
            // An unchanged manifest stays the same allocation, so its holders see that nothing changed.
            let manifest = match old.by_name.get(&row.manifest.name) {
                Some(known) if **known == row.manifest => known.clone(),
                _ => Arc::new(row.manifest),
            };
            next.by_name.insert(manifest.name.clone(), manifest);
        }
        let same = old.by_name.len() == next.by_name.len()
            && old.by_name.values().zip(next.by_name.values()).all(|(one, two)| Arc::ptr_eq(one, two));
        if !same {
            self.snapshot.store(Arc::new(next));
            self.changed.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn manifest(name: &str) -> Manifest {
        serde_json::from_value(serde_json::json!({
            "name": name, "title": name, "caip2": "eip155:1", "plugin": "evm", "credit": "final", "poll_ms": 2000,
            "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18},
                      {"symbol": "USDC", "name": "USD Coin", "contract": "0xabc", "decimals": 6}],
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_snapshot_holds_the_enabled_networks() {
        let db = testing::sqlite().await;
        for name in ["base", "bsc"] {
            db.write::<_, networks::PutError, _>(move |conn| {
                Box::pin(async move { networks::put(conn, &manifest(name), 1).await })
            })
            .await
            .unwrap();
        }
        let networks = Networks::load((*db).clone()).await.unwrap();
        assert_eq!(networks.all().len(), 2);

        let before = networks.get("base").unwrap();
        db.write::<_, DbError, _>(|conn| {
            Box::pin(async move { networks::set_enabled(conn, "bsc", false).await })
        })
        .await
        .unwrap();
        networks.reload().await.unwrap();
        assert!(networks.get("bsc").is_none());
        assert!(Arc::ptr_eq(&before, &networks.get("base").unwrap()));
    }
}
