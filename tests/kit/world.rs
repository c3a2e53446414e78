//! What most cases start from: a server that watches a node through a proxy, and a merchant with a receiver.

use serde_json::{Value, json};

use crate::{
    Anvil, AnvilOptions, Api, Database, Hook, Kassa, KassaOptions, Proxy, Receiver, contract, eventually,
    invariants, verify, word,
};

/// The network of a [`World`].
pub const NETWORK: &str = "anvil-a";
/// Where all payers pay who are told apart by their amounts.
pub const SHARED_ADDRESS: &str = "0x00000000000000000000000000000000005ca1ab";

/// How a [`World`] is made.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    pub anvil: AnvilOptions,
    pub kassa: KassaOptions,
    /// Confirmations, or `"safe"`, or `"final"`.
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

/// A merchant with a live key.
#[derive(Debug, Clone)]
pub struct Merchant {
    pub id: String,
    pub key: String,
}

/// A running system.
pub struct World {
    pub kassa: Kassa,
    pub anvil: Anvil,
    pub proxy: Proxy,
    pub merchant: Merchant,
    pub receiver: Receiver,
    /// The receiver's signing secret.
    pub secret: String,
    /// Contracts of the assets `USDT` (6 decimals), `DAI` (18) and `FEE` (18, keeps one percent).
    pub usdt: String,
    pub dai: String,
    pub fee: String,
    /// Kept until the end: it is the last to be dropped.
    pub database: Database,
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
        let proxy = Proxy::start(&anvil).await;
        let receiver = Receiver::start().await;
        let kassa = Kassa::start(&database, options.kassa).await;
        let merchant = Merchant { id: String::new(), key: String::new() };
        let secret = String::new();
        let mut world = Self { kassa, anvil, proxy, merchant, receiver, secret, usdt, dai, fee, database };
        world.merchant = world.new_merchant("first", "live").await;
        let manifest = world.manifest(NETWORK, &options.credit, &options.settings, options.anvil.chain_id);
        world.put_network(&manifest).await;
        world.add_upstream(NETWORK, &world.proxy.url()).await;
        world.watching(NETWORK).await;
        let address = json!({"network": NETWORK, "address": SHARED_ADDRESS});
        world.api().post("/v1/receive_addresses", &address).await.ok();
        world.secret = text(&world.add_endpoint(&world.receiver).await["secret"]);
        world
    }

    /// Creates or changes a network.
    pub async fn put_network(&self, manifest: &Value) -> Value {
        let path = format!("/v1/operator/networks/{}", text(&manifest["name"]));
        self.kassa.operator().put(&path, manifest).await.ok()
    }

    /// An endpoint of the merchant that takes all events.
    pub async fn add_endpoint(&self, receiver: &Receiver) -> Value {
        self.api().post("/v1/endpoints", &json!({"url": receiver.url()})).await.ok()
    }

    /// A customer's own address: whatever arrives is this customer's.
    pub async fn customer(&self, unique_id: &str, address: &str) -> Value {
        let body = json!({"network": NETWORK, "address": address, "unique_id": unique_id});
        self.api().post("/v1/receive_addresses", &body).await.ok()
    }

    /// A manifest of a network that this world's node is.
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

    pub async fn add_upstream(&self, network: &str, url: &str) -> Value {
        let upstream = json!({"url": url, "rate_per_s": 1000});
        self.kassa
            .operator()
            .post(&format!("/v1/operator/networks/{network}/upstreams"), &upstream)
            .await
            .ok()
    }

    /// A merchant with a key of this mode.
    pub async fn new_merchant(&self, name: &str, mode: &str) -> Merchant {
        let operator = self.kassa.operator();
        let id = text(&operator.post("/v1/operator/merchants", &json!({"name": name})).await.ok()["id"]);
        let key = json!({"merchant_id": id, "mode": mode, "name": "suite"});
        let key = operator.post("/v1/operator/api_keys", &key).await.ok();
        Merchant { id, key: text(&key["key"]) }
    }

    /// The merchant's API, at wherever the server listens now.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.kassa.url(), &self.merchant.key)
    }

    /// An invoice on the shared address.
    pub async fn invoice(&self, asset: &str, amount: &str) -> Value {
        self.api().post("/v1/invoices", &self.order(asset, amount)).await.ok()
    }

    /// What an invoice is asked for with.
    #[must_use]
    pub fn order(&self, asset: &str, amount: &str) -> Value {
        json!({"title": "Order", "payable_network": NETWORK, "payable_asset": asset, "amount": amount})
    }

    pub async fn get_invoice(&self, invoice: &Value) -> Value {
        self.api().get(&format!("/v1/invoices/{}", text(&invoice["id"]))).await.ok()
    }

    /// Waits until the invoice has this status; answers it.
    pub async fn until(&self, invoice: &Value, status: &str) -> Value {
        eventually(&format!("an invoice that is {status}"), || async {
            let seen = self.get_invoice(invoice).await;
            if seen["status"] == status { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
    }

    /// The contract of an asset; none for the coin.
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

    /// What an invoice is due, in base units.
    #[must_use]
    pub fn due(&self, invoice: &Value) -> u128 {
        let due =
            units(&text(&invoice["payable_amount"]), self.decimals_of(&text(&invoice["payable_asset"])));
        assert_eq!(invoice["payable_amount_units"], due.to_string(), "{invoice}");
        due
    }

    /// Puts a payment into the node's pool: so many units of the invoice's asset to its address.
    pub async fn pay_units(&self, invoice: &Value, units: u128) -> String {
        self.send(&text(&invoice["payable_asset"]), &text(&invoice["destination_address"]), units).await
    }

    /// Puts a transfer into the node's pool.
    pub async fn send(&self, asset: &str, to: &str, units: u128) -> String {
        let payer = &self.anvil.accounts[1];
        match self.contract_of(asset) {
            Some(token) => self.anvil.send_token(token, payer, to, units).await,
            None => self.anvil.send_native(payer, to, units).await,
        }
    }

    /// Puts the exact payment of an invoice into the node's pool.
    pub async fn pay(&self, invoice: &Value) -> String {
        self.pay_units(invoice, self.due(invoice)).await
    }

    /// Waits until a network has a cursor, which a new one takes at the head.
    pub async fn watching(&self, network: &str) -> i64 {
        let sql = format!("SELECT CAST(height AS TEXT) FROM cursor WHERE network = '{network}'");
        eventually("the watcher's first look", || async {
            let height = self.database.value(&sql).await.ok_or("no cursor")?;
            height.parse().map_err(|_| height)
        })
        .await
    }

    /// Waits until all blocks of the node are read, by height and hash, and all that they brought is settled.
    pub async fn caught_up(&self) {
        eventually("the watcher at the node's head", || async {
            let head = self.anvil.head().await;
            let hash = self.anvil.block_hash(head).await;
            let cursor = format!("SELECT CAST(height AS TEXT), hash FROM cursor WHERE network = '{NETWORK}'");
            let behind = format!(
                "SELECT CAST(g.seq AS TEXT) FROM sighting g WHERE g.network = '{NETWORK}' AND g.seq > COALESCE(
                   (SELECT s.seq FROM settle_cursor s WHERE s.network = g.network), 0)"
            );
            let seen = self.database.snapshot(&[&cursor, &behind]).await;
            let there = vec![vec![Some(head.to_string()), Some(hash)]];
            if seen[0] == there && seen[1].is_empty() { Ok(()) } else { Err(format!("{seen:?}, not {there:?}")) }
        })
        .await;
    }

    /// Transfers that pay nothing by themselves.
    pub async fn unmatched(&self) -> Vec<Value> {
        list(&self.api().get("/v1/transfers?state=unmatched").await.ok())
    }

    /// Lets a stranger's verifier judge hooks.
    pub fn verify_all(&self, hooks: &[Hook]) {
        for hook in hooks {
            verify(hook, &self.secret).unwrap_or_else(|why| panic!("{why}: {hook:?}"));
        }
    }

    /// Waits until nothing is owed any more, then checks the invariants.
    pub async fn settled(&self) {
        self.caught_up().await;
        let owed = "SELECT event_id, 'dispatch', '', '' FROM dispatch_queue
                    UNION ALL
                    SELECT q.delivery_id, 'delivery due at ' || CAST(q.due_at AS TEXT),
                           'endpoint due at ' || COALESCE(CAST(n.due_at AS TEXT), 'never'),
                           'failures ' || CAST(n.failures AS TEXT)
                    FROM delivery_queue q JOIN endpoint n ON n.id = q.endpoint_id";
        eventually("all deliveries to be done", || async {
            let rows = self.database.rows(owed).await;
            if rows.is_empty() { Ok(()) } else { Err(format!("at {}: {rows:?}", now_ms())) }
        })
        .await;
        invariants::check(&self.database).await;
    }

    /// A zero-value `transferFrom` of a real token by someone who may move nothing.
    pub async fn forge_zero(&self, token: &str, from: &str, to: &str) -> String {
        let words = [word(from), word(to), word("0")];
        let data = contract("Token").call("transferFrom(address,address,uint256)", &words);
        self.anvil.send_call(&self.anvil.accounts[9], token, &data).await
    }
}

/// The machine's time, milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_millis()
}

/// A text field that must be there.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The items of a page.
#[must_use]
pub fn list(page: &Value) -> Vec<Value> {
    page["data"].as_array().unwrap_or_else(|| panic!("no list: {page}")).clone()
}

/// A decimal amount in base units.
#[must_use]
pub fn units(amount: &str, decimals: usize) -> u128 {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    assert!(fraction.len() <= decimals, "{amount} has more than {decimals} decimals");
    format!("{whole}{fraction:0<decimals$}").parse().expect("a decimal amount")
}
