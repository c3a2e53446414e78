//! A shop on the simulated chain that comes with the server: for everything after a payment, whatever the chain.

use serde_json::{Value, json};

use crate::{Answer, Api, Database, Hooks, Kassa, KassaOptions, Shop, text};

const NETWORK: &str = "sandbox";

/// A shop, and payers who do as a case says.
pub struct Sandbox {
    pub shop: Shop,
}

impl Sandbox {
    pub async fn start(database: Database) -> Self {
        Self::with(database, KassaOptions::default()).await
    }

    pub async fn with(database: Database, options: KassaOptions) -> Self {
        // The receivers of hooks are on this machine. The case's own options override this.
        let mut own = KassaOptions { key_in_file: options.key_in_file, ..KassaOptions::default() }
            .with("KASSA_HOOKS__ALLOW_PRIVATE", "true");
        own.env.extend(options.env);
        let kassa = Kassa::start(&database, own).await;
        let shop = Shop::open(kassa, database, NETWORK, "test").await;
        let sandbox = Self { shop };
        let address = sandbox.address("the shop").await;
        sandbox.shop.share_address(&address).await;
        // Blocks from before the start of watching are not read.
        sandbox.shop.watching(NETWORK).await;
        sandbox
    }

    pub fn hooks(&self) -> Hooks {
        Hooks(self.shop.api())
    }

    /// Does an action on the whole chain, as only an operator's key may.
    pub async fn simulate(&self, action: &Value) -> Value {
        self.act(&self.shop.kassa.operator(), action).await.ok()
    }

    /// Does an action with the key of `api`.
    pub async fn act(&self, api: &Api, action: &Value) -> Answer {
        api.post(&format!("/v1/sandbox/{NETWORK}"), action).await
    }

    pub async fn address(&self, seed: &str) -> String {
        text(&self.simulate(&json!({"do": "address", "seed": seed})).await["address"])
    }

    /// Makes an invoice over an amount of USDT, with these fields beside the usual ones.
    pub async fn invoice(&self, amount: &str, more: &Value) -> Value {
        let mut order = self.shop.order("USDT", amount);
        for (field, value) in more.as_object().expect("fields") {
            order[field] = value.clone();
        }
        self.shop.api().post("/v1/invoices", &order).await.ok()
    }

    /// Pays these invoices in one block, and mines until that is deep enough.
    pub async fn pay(&self, invoices: &[Value]) {
        let transfers: Vec<Value> = invoices
            .iter()
            .map(|invoice| {
                json!({
                    "to": invoice["destination_address"], "asset": "usdt",
                    "amount": invoice["payable_amount_units"], "memo": invoice["payment_comment"],
                })
            })
            .collect();
        self.simulate(&json!({"do": "transfers", "list": transfers})).await;
        self.simulate(&json!({"do": "mine", "blocks": 5})).await;
    }

    /// Sends base units of USDT to the shop's address, and mines until that is deep enough. Returns the transaction.
    pub async fn send(&self, units: u128) -> String {
        let to = self.address("the shop").await;
        let sent = json!({"do": "transfer", "to": to, "asset": "usdt", "amount": units.to_string()});
        let tx = text(&self.simulate(&sent).await["tx"]);
        self.simulate(&json!({"do": "mine", "blocks": 5})).await;
        tx
    }

    /// Makes an invoice and pays it.
    pub async fn paid(&self, amount: &str, more: &Value) -> Value {
        let invoice = self.invoice(amount, more).await;
        self.pay(std::slice::from_ref(&invoice)).await;
        self.shop.until(&invoice, "paid").await
    }
}
