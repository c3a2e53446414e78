//! Where each case begins: a server that watches the local chain of a plugin, and a merchant with a shared address.

use std::{fs, ops::Deref};

use kassa_tests::{Api, Database, Facade, Kassa, KassaOptions, Proxy, Shop, eventually, list, text, units};
use serde_json::{Value, json};

use super::{
    SANDBOX,
    chain::{Chain, Pay, prepare},
    plugins,
};

/// Blocks after which a payment is credited on any chain here: more than the confirmations and the distance of the
/// final block that any local chain has.
const DEEP: u32 = 24;

pub(super) struct Stage {
    pub(super) shop: Shop,
    pub(super) chain: Chain,
    /// Between the server and the local chain, where there is one.
    pub(super) proxy: Option<Proxy>,
    /// The network's manifest, as the server was given it.
    pub(super) manifest: Value,
    /// Receive addresses: the first is registered as the shared one.
    pub(super) addresses: Vec<String>,
}

impl Deref for Stage {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Stage {
    /// On the network of the folder's first manifest.
    pub(super) async fn start(database: Database, folder: &str) -> Self {
        Self::on(database, folder, manifests(folder).remove(0)).await
    }

    pub(super) async fn on(database: Database, folder: &str, manifest: Value) -> Self {
        Self::at(database, folder, manifest, "").await
    }

    /// With the upstream at a path of the local chain.
    pub(super) async fn at(database: Database, folder: &str, manifest: Value, path: &str) -> Self {
        let stage = Self::unwatched(database, folder, manifest).await;
        if stage.proxy.is_some() {
            stage.watch(path).await;
        }
        stage.watching(&stage.network).await;
        stage.share_address(&stage.addresses[0]).await;
        stage.caught_up().await;
        stage
    }

    /// A chain that nobody watches yet, but for the sandbox.
    pub(super) async fn unwatched(database: Database, folder: &str, manifest: Value) -> Self {
        let name = text(&manifest["name"]);
        let kassa = Kassa::start(&database, KassaOptions::default()).await;
        let shop = Shop::open(kassa, database, &name, mode(&manifest)).await;
        let (chain, proxy, addresses) = if folder == SANDBOX {
            shop.put_network(&manifest).await;
            let chain = Chain::Sandbox { network: name };
            let addresses = chain.addresses(&shop.api(), 4).await;
            (chain, None, addresses)
        } else {
            let facade = Facade::start(folder, &text(&manifest["caip2"])).await;
            let addresses = prepare(&facade, manifest["asset"].as_array().expect("assets")).await;
            let proxy = Proxy::start(facade.url()).await;
            (Chain::Facade(facade), Some(proxy), addresses)
        };
        Self { shop, chain, proxy, manifest, addresses }
    }

    /// Lets the server watch the chain by what is at a path of it.
    pub(super) async fn watch(&self, path: &str) {
        self.put_network(&self.manifest).await;
        self.add_upstream(&self.network, &format!("{}{path}", self.proxy().url())).await;
    }

    /// The API of another merchant.
    pub(super) async fn neighbour(&self) -> Api {
        let other = self.new_merchant("neighbour", mode(&self.manifest)).await;
        self.api().with_key(&other.key)
    }

    pub(super) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a chain with an upstream")
    }

    /// The listed assets: symbol, contract (none for the native coin), decimals.
    pub(super) fn assets(&self) -> Vec<Asset> {
        self.manifest["asset"].as_array().expect("assets").iter().map(Asset::read).collect()
    }

    pub(super) fn token(&self) -> Asset {
        self.assets().into_iter().find(|asset| asset.contract.is_some()).expect("a listed token")
    }

    pub(super) fn coin(&self) -> Asset {
        self.assets().into_iter().find(|asset| asset.contract.is_none()).expect("the native coin")
    }

    fn asset_of(&self, invoice: &Value) -> Asset {
        let symbol = text(&invoice["payable_asset"]);
        self.assets().into_iter().find(|asset| asset.symbol == symbol).expect("a listed asset")
    }

    /// Pays exactly what an invoice asks for, in the way that it asks for; answers the transaction.
    pub(super) async fn pay(&self, invoice: &Value) -> String {
        self.pay_times(invoice, 1).await
    }

    /// So many equal payments of an invoice, in one transaction.
    pub(super) async fn pay_times(&self, invoice: &Value, times: u32) -> String {
        let asset = self.asset_of(invoice);
        self.chain.pay(&self.api(), self.payment(invoice, &asset, times)).await
    }

    /// What would pay an invoice.
    pub(super) fn payment<'a>(&self, invoice: &'a Value, asset: &'a Asset, times: u32) -> Pay<'a> {
        let units = units(&text(&invoice["payable_amount"]), asset.decimals);
        assert_eq!(invoice["payable_amount_units"], units.to_string(), "{invoice}");
        let to = invoice["destination_address"].as_str().expect("an address");
        Pay { to, asset: asset.contract.as_deref(), units, memo: invoice["payment_comment"].as_str(), times }
    }

    pub(super) async fn mine(&self, blocks: u32) {
        self.chain.mine(&self.api(), blocks).await;
    }

    /// So many blocks that all payments so far are credited.
    pub(super) async fn bury(&self) {
        self.mine(DEEP).await;
    }

    /// Waits until all blocks of the chain are read and all that they brought is settled.
    pub(super) async fn caught_up(&self) {
        eventually("the watcher at the chain's head", || async {
            let (head, hash) = self.chain.head(&self.api()).await;
            self.has_read(head, &hash).await
        })
        .await;
    }

    /// Waits until nothing is owed any more, then checks the invariants.
    pub(super) async fn settled(&self) {
        self.caught_up().await;
        self.delivered().await;
    }

    pub(super) async fn payments_of(&self, invoice: &Value) -> Vec<Value> {
        list(&self.api().get(&format!("/v1/payments?invoice_id={}", text(&invoice["id"]))).await.ok())
    }

    /// No transfer was ever taken back.
    pub(super) async fn no_retraction(&self) {
        let rows =
            self.database.rows("SELECT transfer_id, kind FROM sighting WHERE kind = 'retracted'").await;
        assert_eq!(rows, Vec::<Vec<Option<String>>>::new());
    }

    /// The upstreams of the network, as the operator sees them.
    pub(super) async fn upstreams(&self) -> Vec<Value> {
        let path = format!("/v1/operator/networks/{}/upstreams", self.network);
        list(&self.kassa.operator().get(&path).await.ok())
    }

    /// The merchant's API where the server listened when the case began; for the local chain of the sandbox.
    pub(super) fn api(&self) -> Api {
        self.shop.api()
    }
}

fn mode(manifest: &Value) -> &'static str {
    if manifest["test"] == true { "test" } else { "live" }
}

/// A listed asset.
#[derive(Debug, Clone)]
pub(super) struct Asset {
    pub(super) symbol: String,
    pub(super) contract: Option<String>,
    pub(super) decimals: usize,
}

impl Asset {
    fn read(asset: &Value) -> Self {
        Self {
            symbol: text(&asset["symbol"]),
            contract: asset["contract"].as_str().map(str::to_owned),
            decimals: usize::try_from(asset["decimals"].as_u64().expect("decimals")).expect("few"),
        }
    }
}

/// The manifests of a folder, those of test networks last: each under another name, without the public upstreams, and
/// polled in haste.
pub(super) fn manifests(folder: &str) -> Vec<Value> {
    let mut paths: Vec<_> = fs::read_dir(plugins().join(folder))
        .expect("the plugin's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| !path.ends_with("Cargo.toml") && !path.ends_with("plugin.toml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no network");
    let read = |path| toml::from_str(&fs::read_to_string(path).expect("a manifest")).expect("TOML");
    let mut manifests: Vec<Value> = paths.into_iter().map(read).collect();
    manifests.sort_by_key(|manifest| manifest["test"] == true);
    for manifest in &mut manifests {
        manifest["name"] = json!(format!("{}-local", text(&manifest["name"])));
        manifest["poll_ms"] = json!(100);
        manifest.as_object_mut().expect("a table").remove("upstream");
    }
    manifests
}
