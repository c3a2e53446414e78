//! The setting of most cases of EVM networks: a server that watches a node through a proxy.

use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};

use crate::{
    Anvil, AnvilOptions, Database, Kassa, KassaOptions, Proxy, Shop, contract, eventually, text, units, word,
};

/// The network of a [`World`].
pub const NETWORK: &str = "anvil-a";
/// Address that is shared by all payers who are told apart by their amounts.
pub const SHARED_ADDRESS: &str = "0x00000000000000000000000000000000005ca1ab";

/// Options of a [`World`].
#[derive(Debug, Clone)]
pub struct WorldOptions {
    pub anvil: AnvilOptions,
    pub kassa: KassaOptions,
    /// Number of confirmations, or `"safe"`, or `"final"`.
    pub credit: Value,
    /// The chain plugin's settings.
    pub settings: Value,
}

impl Default for WorldOptions {
    fn default() -> Self {
        let (anvil, kassa) = (AnvilOptions::default(), KassaOptions::default());
        Self { anvil, kassa, credit: json!(3), settings: json!({}) }
    }
}

/// A running system. It can do all that a [`Shop`] can.
pub struct World {
    pub shop: Shop,
    pub anvil: Anvil,
    pub proxy: Proxy,
    /// Contracts of the assets `USDT` (6 decimals), `DAI` (18) and `FEE` (18, keeps one percent).
    pub usdt: String,
    pub dai: String,
    pub fee: String,
}

impl Deref for World {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Shop {
        &mut self.shop
    }
}

impl World {
    pub async fn start(database: Database) -> Self {
        Self::with(database, WorldOptions::default()).await
    }

    pub async fn with(database: Database, options: WorldOptions) -> Self {
        let anvil = Anvil::start(options.anvil).await;
        let usdt = anvil.deploy_token(6).await;
        let dai = anvil.deploy_token(18).await;
        let fee = anvil.deploy(&contract("FeeToken"), &[]).await;
        anvil.mint("FeeToken", &fee, &anvil.accounts.clone()).await;
        let proxy = Proxy::start(anvil.url()).await;
        let kassa = Kassa::start(&database, options.kassa).await;
        let shop = Shop::open(kassa, database, NETWORK, "live").await;
        let world = Self { shop, anvil, proxy, usdt, dai, fee };
        let manifest = world.manifest(NETWORK, &options.credit, &options.settings, options.anvil.chain_id);
        world.put_network(&manifest).await;
        world.add_upstream(NETWORK, &world.proxy.url()).await;
        world.watching(NETWORK).await;
        world.share_address(SHARED_ADDRESS).await;
        world
    }

    /// Manifest of a network that is this world's node.
    #[must_use]
    pub fn manifest(&self, name: &str, credit: &Value, settings: &Value, chain_id: u64) -> Value {
        let unique = json!({"decimals": 6, "slots": 9999});
        let token = |symbol: &str, contract: &str, decimals: u8| json!({"symbol": symbol, "name": symbol, "contract": contract, "decimals": decimals, "unique": unique});
        json!({
            "name": name, "title": "Anvil", "caip2": format!("eip155:{chain_id}"), "plugin": "evm",
            "test": false, "credit": credit, "poll_ms": 100, "settings": settings,
            "asset": [
                {"symbol": "ETH", "name": "Ether", "decimals": 18, "unique": {"decimals": 8, "slots": 9999}},
                token("USDT", &self.usdt, 6),
                token("DAI", &self.dai, 18),
                token("FEE", &self.fee, 18),
            ],
        })
    }

    /// The contract of an asset. `None` for the coin.
    #[must_use]
    pub fn contract_of(&self, asset: &str) -> Option<&str> {
        match asset {
            "USDT" => Some(&self.usdt),
            "DAI" => Some(&self.dai),
            "FEE" => Some(&self.fee),
            _ => None,
        }
    }

    #[must_use]
    pub fn decimals_of(&self, asset: &str) -> usize {
        if asset == "USDT" { 6 } else { 18 }
    }

    /// Amount that an invoice is due, in base units.
    #[must_use]
    pub fn due(&self, invoice: &Value) -> u128 {
        let due =
            units(&text(&invoice["payable_amount"]), self.decimals_of(&text(&invoice["payable_asset"])));
        assert_eq!(invoice["payable_amount_units"], due.to_string(), "{invoice}");
        due
    }

    /// Puts a payment into the node's pool: `units` base units of the invoice's asset to its address. Returns its hash.
    pub async fn pay_units(&self, invoice: &Value, units: u128) -> String {
        self.send(&text(&invoice["payable_asset"]), &text(&invoice["destination_address"]), units).await
    }

    /// Puts a transfer into the node's pool. Returns its hash.
    pub async fn send(&self, asset: &str, to: &str, units: u128) -> String {
        let payer = &self.anvil.accounts[1];
        match self.contract_of(asset) {
            Some(token) => self.anvil.send_token(token, payer, to, units).await,
            None => self.anvil.send_native(payer, to, units).await,
        }
    }

    /// Puts the exact payment of an invoice into the node's pool. Returns its hash.
    pub async fn pay(&self, invoice: &Value) -> String {
        self.pay_units(invoice, self.due(invoice)).await
    }

    /// Waits until all blocks of the node are read, by height and hash, and all that they brought is settled.
    pub async fn caught_up(&self) {
        eventually("the watcher at the node's head", || async {
            let head = self.anvil.head().await;
            self.has_read(head, &self.anvil.block_hash(head).await).await
        })
        .await;
    }

    /// Waits until nothing is pending any more, then checks the invariants.
    pub async fn settled(&self) {
        self.caught_up().await;
        self.delivered().await;
    }

    /// Puts a zero-value `transferFrom` of a real token, by someone who may move nothing, into the node's pool. Returns
    /// its hash.
    pub async fn forge_zero(&self, token: &str, from: &str, to: &str) -> String {
        let words = [word(from), word(to), word("0")];
        let data = contract("Token").call("transferFrom(address,address,uint256)", &words);
        self.anvil.send_call(&self.anvil.accounts[9], token, &data).await
    }
}
