//! The components in the binary.

use super::*;
use crate::db::{DbError, plugin_storage};

async fn started() -> Bench {
    let bench = Bench::with(config::Plugins { cpu_ms: 10_000, ..config() }).await;
    let cache = bench.dir.path().join("compiled");
    let start =
        || Host::start(bench.db.clone(), Clock::default(), &bench.config, &cache, [7; 32], upstreams());
    start().await.unwrap();
    let host = start().await.unwrap();
    Bench { host, ..bench }
}

fn built_in(name: &str) -> network::Manifest {
    let manifests = NETWORK_MANIFESTS.iter().map(|text| toml::from_str::<network::Manifest>(text).unwrap());
    manifests.into_iter().find(|manifest| manifest.name == name).unwrap()
}

#[tokio::test]
async fn every_network_has_its_plugin() {
    let bench = started().await;
    for text in NETWORK_MANIFESTS {
        let manifest: network::Manifest = toml::from_str(text).unwrap();
        manifest.check().unwrap();
        let manifest = Arc::new(manifest);
        let described = bench.host.describe(&manifest).await.unwrap();
        assert!(Arc::ptr_eq(&described, &bench.host.describe(&manifest).await.unwrap()), "asked once");
    }
    let infos = bench.host.registry().list().await.unwrap();
    assert!(infos.iter().all(|info| info.loaded && info.active.is_some()), "{infos:?}");
}

#[tokio::test]
async fn every_listed_contract_is_an_address_of_its_network() {
    let bench = started().await;
    for text in NETWORK_MANIFESTS {
        let manifest: network::Manifest = toml::from_str(text).unwrap();
        // The sandbox's tokens have names.
        for asset in manifest.assets.iter().filter(|_| manifest.plugin != "sandbox") {
            let Some(contract) = &asset.contract else { continue };
            let address = bench.host.normalize_address(&manifest, contract).await.unwrap();
            assert!(address.is_ok(), "{} {}: {address:?}", manifest.name, asset.symbol);
        }
    }
}

#[tokio::test]
async fn base_knows_its_addresses() {
    let bench = started().await;
    let base = built_in("base");
    let address = bench.host.normalize_address(&base, "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913").await;
    let address = address.unwrap().unwrap();
    assert_eq!(address.text, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
    assert_eq!(address.key.len(), 20);
    let wrong = bench.host.normalize_address(&base, "0x833589FCD6eDb6E08f4c7C32D4f71b54bdA02913").await;
    assert_eq!(wrong.unwrap(), Err(AddressError::Checksum));
    // Without an upstream a scan is an answer, not a failure.
    let limits = ScanLimits { blocks: 10, transfers: 10, known: None, next_is_head: false, more: Vec::new() };
    let scanned = bench.host.scan(&base, None, &limits).await.unwrap();
    assert!(matches!(scanned.value, Err(ScanError::Upstream(_))), "{:?}", scanned.value);
}

#[tokio::test]
async fn the_sandbox_moves_on_when_told() {
    let bench = started().await;
    let sandbox = built_in("sandbox");
    let limits = ScanLimits { blocks: 10, transfers: 10, known: None, next_is_head: false, more: Vec::new() };
    let first = bench.host.scan(&sandbox, None, &limits).await.unwrap().value.unwrap();
    let acted = bench.host.simulate(&sandbox, r#"{"do":"mine","blocks":2}"#).await.unwrap();
    acted.value.unwrap();
    let (writes, stale) = (acted.writes.clone(), acted.writes);
    let apply = async |writes: plugin_storage::StorageWrites| {
        bench
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { plugin_storage::apply(conn, &writes).await })
            })
            .await
    };
    apply(writes).await.unwrap();
    assert!(matches!(apply(stale).await, Err(DbError::Stale(_))));
    let cursor = first.blocks.last().map(|block| Position { height: block.height, hash: block.hash.clone() });
    let next = bench.host.scan(&sandbox, cursor, &limits).await.unwrap().value.unwrap();
    assert_eq!(next.head.height, first.head.height + 2);
    let nonsense = bench.host.simulate(&sandbox, "{}").await.unwrap();
    assert!(matches!(nonsense.value, Err(SimulateError::Malformed(_))), "{:?}", nonsense.value);
    assert!(nonsense.writes.entries.is_empty());
}
