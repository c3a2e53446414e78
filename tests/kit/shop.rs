//! A merchant on a running server: what cases do on any chain.

use serde_json::{Value, json};

use crate::{
    Answer, Api, Database, Kassa, Receiver, Webhook, eventually, invariants, list, now_ms, text, verify,
};

/// A merchant with a key.
#[derive(Debug, Clone)]
pub struct Merchant {
    pub id: String,
    pub key: String,
}

/// A server that watches one network, and a merchant with a receiver.
pub struct Shop {
    pub kassa: Kassa,
    /// Name of the network.
    pub network: String,
    pub merchant: Merchant,
    pub receiver: Receiver,
    /// Signing secret of the receiver.
    pub secret: String,
    /// The database. It is the last field, so that it is dropped last.
    pub database: Database,
}

impl Shop {
    /// Makes a merchant whose endpoint takes all events, on a server that may not know the network yet.
    pub async fn open(kassa: Kassa, database: Database, network: &str, mode: &str) -> Self {
        let receiver = Receiver::start().await;
        let merchant = Merchant { id: String::new(), key: String::new() };
        let (network, secret) = (network.to_owned(), String::new());
        let mut shop = Self { kassa, network, merchant, receiver, secret, database };
        shop.merchant = shop.new_merchant("first", mode).await;
        shop.secret = text(&shop.add_endpoint(&shop.receiver).await["secret"]);
        shop
    }

    /// Creates or changes a network.
    pub async fn put_network(&self, manifest: &Value) -> Value {
        let path = format!("/v1/operator/networks/{}", text(&manifest["name"]));
        self.kassa.operator().put(&path, manifest).await.ok()
    }

    pub async fn add_upstream(&self, network: &str, url: &str) -> Value {
        let upstream = json!({"url": url, "calls_per_s": 1000});
        let path = format!("/v1/operator/networks/{network}/upstreams");
        self.kassa.operator().post(&path, &upstream).await.ok()
    }

    /// Makes a merchant with a key of this mode.
    pub async fn new_merchant(&self, name: &str, mode: &str) -> Merchant {
        let operator = self.kassa.operator();
        let id = text(&operator.post("/v1/operator/merchants", &json!({"name": name})).await.ok()["id"]);
        let key = json!({"merchant_id": id, "mode": mode, "name": "suite"});
        let key = operator.post("/v1/operator/api_keys", &key).await.ok();
        Merchant { id, key: text(&key["key"]) }
    }

    /// Makes a merchant of the operator's own, who gets the operator's events. Returns its receiver.
    pub async fn operators_receiver(&self) -> Receiver {
        let merchant = self.new_merchant("our own", "live").await;
        let path = format!("/v1/operator/merchants/{}", merchant.id);
        let changed = self.kassa.operator().patch(&path, &json!({"operator_events": true})).await.ok();
        assert_eq!(changed["operator_events"], true, "{changed}");
        let receiver = Receiver::start().await;
        let api = Api::new(self.kassa.url(), &merchant.key);
        api.post("/v1/endpoints", &json!({"url": receiver.url()})).await.ok();
        receiver
    }

    /// Adds an endpoint of the merchant that takes all events.
    pub async fn add_endpoint(&self, receiver: &Receiver) -> Value {
        self.api().post("/v1/endpoints", &json!({"url": receiver.url()})).await.ok()
    }

    /// Sets the address that is shared by all payers who are told apart by amounts or memos.
    pub async fn share_address(&self, address: &str) -> Value {
        let body = json!({"network": self.network, "address": address});
        self.api().post("/v1/receive_addresses", &body).await.ok()
    }

    /// Registers a customer's own address: whatever arrives there is this customer's.
    pub async fn customer(&self, unique_id: &str, address: &str) -> Value {
        let body = json!({"network": self.network, "address": address, "unique_id": unique_id});
        self.api().post("/v1/receive_addresses", &body).await.ok()
    }

    /// The merchant's API, at the server's present address.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.kassa.url(), &self.merchant.key)
    }

    /// Makes an invoice on the shared address.
    pub async fn invoice(&self, asset: &str, amount: &str) -> Value {
        self.api().post("/v1/invoices", &self.order(asset, amount)).await.ok()
    }

    /// Body of a request for an invoice.
    #[must_use]
    pub fn order(&self, asset: &str, amount: &str) -> Value {
        json!({"title": "Order", "payable_network": self.network, "payable_asset": asset, "amount": amount})
    }

    pub async fn get_invoice(&self, invoice: &Value) -> Value {
        self.api().get(&format!("/v1/invoices/{}", text(&invoice["id"]))).await.ok()
    }

    /// Waits until the invoice has this status. Returns it.
    pub async fn until(&self, invoice: &Value, status: &str) -> Value {
        eventually(&format!("an invoice that is {status}"), || async {
            let seen = self.get_invoice(invoice).await;
            if seen["status"] == status { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
    }

    /// Transfers that pay nothing by themselves.
    pub async fn unmatched(&self) -> Vec<Value> {
        list(&self.api().get("/v1/transfers?state=unmatched").await.ok())
    }

    /// All transfers to the merchant's addresses.
    pub async fn transfers(&self) -> Vec<Value> {
        list(&self.api().get("/v1/transfers").await.ok())
    }

    /// Orders blocks to be read again.
    pub async fn rescan(&self, order: &Value) -> Answer {
        let path = format!("/v1/operator/networks/{}/rescans", self.network);
        self.kassa.operator().post(&path, order).await
    }

    /// Has blocks read again. Returns the rescan when it has ended.
    pub async fn rescanned(&self, order: &Value) -> Value {
        let made = self.rescan(order).await.ok();
        let path = format!("/v1/operator/networks/{}/rescans", self.network);
        eventually("the end of a rescan", || async {
            let all = list(&self.kassa.operator().get(&path).await.ok());
            let one = all.into_iter().find(|one| one["id"] == made["id"]).ok_or("not listed")?;
            if one["state"] == "running" { Err(one.to_string()) } else { Ok(one) }
        })
        .await
    }

    /// Asks for a search for a transaction.
    pub async fn find(&self, tx: &str) -> Answer {
        self.api().post("/v1/transfers/find", &json!({"network": self.network, "tx": tx})).await
    }

    /// Waits until everything that was credited is final, which happens by itself. Returns the books.
    pub async fn final_books(&self) -> Vec<Vec<Value>> {
        eventually("transfers that are final", || async {
            let books = self.books().await;
            if books[0].iter().any(|transfer| transfer["status"] == "confirmed") {
                return Err(format!("{:?}", books[0]));
            }
            Ok(books)
        })
        .await
    }

    /// All that the merchant sees of payments: transfers, payments and events.
    pub async fn books(&self) -> Vec<Vec<Value>> {
        let mut books = Vec::new();
        for path in ["/v1/transfers", "/v1/payments", "/v1/events"] {
            books.push(list(&self.api().get(&format!("{path}?limit=100")).await.ok()));
        }
        books
    }

    /// Waits until a network has a cursor, which a new one gets at the head. Returns its height.
    pub async fn watching(&self, network: &str) -> i64 {
        let sql = format!("SELECT CAST(height AS TEXT) FROM cursor WHERE network = '{network}'");
        eventually("the watcher's first look", || async {
            let height = self.database.value(&sql).await.ok_or("no cursor")?;
            height.parse().map_err(|_| height)
        })
        .await
    }

    /// Checks that the network is read up to exactly this block, and that all that it brought is settled.
    ///
    /// # Errors
    /// The actual state.
    pub async fn has_read(&self, height: u64, hash: &str) -> Result<(), String> {
        let network = &self.network;
        let cursor = format!("SELECT CAST(height AS TEXT), hash FROM cursor WHERE network = '{network}'");
        let behind = format!(
            "SELECT CAST(g.seq AS TEXT) FROM sighting g WHERE g.network = '{network}' AND g.seq > COALESCE(
               (SELECT s.seq FROM settle_cursor s WHERE s.network = g.network), 0)"
        );
        let seen = self.database.snapshot(&[&cursor, &behind]).await;
        let there = vec![vec![Some(height.to_string()), Some(hash.to_owned())]];
        if seen[0] == there && seen[1].is_empty() { Ok(()) } else { Err(format!("{seen:?}, not {there:?}")) }
    }

    /// Verifies webhooks with a stranger's verifier.
    pub fn verify_all(&self, hooks: &[Webhook]) {
        for hook in hooks {
            verify(hook, &self.secret).unwrap_or_else(|why| panic!("{why}: {hook:?}"));
        }
    }

    /// Waits until no delivery is pending, then checks the invariants.
    pub async fn delivered(&self) {
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
}
