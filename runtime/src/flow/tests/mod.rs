//! The whole way on a simulated chain, step by step, without workers: observe, settle, expire.

#[cfg(feature = "simulation")]
mod balances;
mod rescan;
mod retention;
mod review;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    db::{addresses, invoices, merchants, payments, plugin_storage, transfers},
    domain::{
        id::{AddressId, Id, MerchantId, TransferId},
        invoice::{Exception, Invoice, Status},
        money::Amount,
        network::Manifest,
        policy::Policy,
        tenant::{Mode, Tenant},
    },
    flow::{
        invoicing::{self, Made, NewInvoice, children},
        observe::{Step, Watcher},
        resolve::{self, Scope},
        settle::{self, expire},
    },
    testing::{self, TestApp},
};

const NETWORK: &str = "sandbox";
const TOKEN: &str = "USDT";

/// One shop on the sandbox.
struct Shop {
    app: TestApp,
    merchant: MerchantId,
    watcher: Watcher,
    network: Arc<Manifest>,
}

impl Shop {
    /// Scope of its merchant, with a key.
    fn scope(&self) -> Scope {
        Scope { tenant: Tenant::test(self.merchant.clone()), key_id: "key_1".into() }
    }

    async fn open(app: TestApp) -> Self {
        let network = app.networks.get(NETWORK).unwrap();
        let now = app.clock.now();
        let merchant = MerchantId::new(now);
        let row = merchants::Merchant {
            id: merchant.clone(),
            name: "shop".to_owned(),
            operator_events: false,
            policy: Policy::default(),
            created_at: now,
            disabled_at: None,
        };
        let address = app.host.derive_address(&network, "sbxpub", 7).await.unwrap().unwrap();
        let new = addresses::NewAddress {
            id: AddressId::new(now),
            merchant_id: merchant.clone(),
            network: NETWORK.to_owned(),
            address: address.text,
            key: address.key,
            kind: addresses::Kind::Shared,
            unique_id: None,
            meta: None,
            derived_index: None,
            created_at: now,
        };
        app.db
            .write::<_, addresses::CreateError, _>(move |conn| {
                Box::pin(async move {
                    merchants::insert(conn, &row).await?;
                    addresses::create(conn, new).await
                })
            })
            .await
            .unwrap();
        let watcher = Watcher::new((*app).clone(), Arc::clone(&network));
        let mut shop = Self { app, merchant, watcher, network };
        shop.go_on().await;
        shop
    }

    fn new_invoice(&self, symbol: &str, amount: &str) -> NewInvoice {
        let asset = self.network.assets.iter().position(|asset| asset.symbol == symbol).unwrap();
        let decimals = self.network.assets[asset].decimals;
        NewInvoice {
            tenant: Tenant::test(self.merchant.clone()),
            network: Arc::clone(&self.network),
            asset,
            asset_id: self.network.assets[asset].id(NETWORK),
            amount: Amount::from_decimal(amount, decimals).unwrap(),
            currency: None,
            price: None,
            title: "t".to_owned(),
            order_id: None,
            tag: None,
            meta: None,
            matching: None,
            policy: Policy::default(),
            expires_in_s: 600,
        }
    }

    async fn invoice(&self, amount: &str) -> Invoice {
        match invoicing::make(&self.app, self.new_invoice(TOKEN, amount), None).await.unwrap() {
            Made::New(invoice) => *invoice,
            Made::Replay(_) => panic!("no key was given"),
        }
    }

    async fn simulate(&self, action: Value) -> Value {
        let called = self.app.host.simulate(&self.network, &action.to_string()).await.unwrap();
        let answer = called.value.unwrap();
        let writes = called.writes;
        self.app
            .db
            .write::<_, crate::db::DbError, _>(move |conn| {
                Box::pin(async move { plugin_storage::apply(conn, &writes).await })
            })
            .await
            .unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// Pays an address. Returns the transaction's hash.
    async fn pay(&self, to: &str, units: &str) -> String {
        let token = self.network.assets.iter().find(|asset| asset.symbol == TOKEN).unwrap();
        let action = json!({"do": "transfer", "to": to, "asset": token.contract, "amount": units});
        self.simulate(action).await["tx"].as_str().unwrap().to_owned()
    }

    async fn mine(&self, blocks: u32) {
        self.simulate(json!({"do": "mine", "blocks": blocks})).await;
    }

    /// Observes and settles until there is nothing left.
    async fn go_on(&mut self) {
        for _ in 0..100 {
            if !matches!(self.watcher.step().await.unwrap(), Step::Read { more: true, .. }) {
                break;
            }
        }
        while settle::step(&self.app, NETWORK, Mode::Test).await.unwrap() > 0 {}
        while expire::step(&self.app, &self.network).await.unwrap() {}
    }

    async fn held(&self) -> i64 {
        let mut conn = self.app.db.read().await.unwrap();
        let row = conn.row("SELECT COUNT(*) AS n FROM hold", vec![]).await.unwrap();
        row.unwrap().int("n").unwrap()
    }

    async fn now(&self, invoice: &Invoice) -> Invoice {
        let mut conn = self.app.db.read().await.unwrap();
        invoices::get(&mut conn, &Tenant::test(self.merchant.clone()), &invoice.id).await.unwrap().unwrap()
    }

    async fn unmatched(&self) -> Vec<transfers::Listed> {
        let mut conn = self.app.db.read().await.unwrap();
        let filter = transfers::Filter { unmatched: true };
        transfers::list(&mut conn, &Tenant::test(self.merchant.clone()), &filter, TransferId::greatest(), 100)
            .await
            .unwrap()
    }

    /// Number of active credits in the ledger, and true if every journal balances.
    async fn ledger(&self) -> (i64, bool) {
        let mut conn = self.app.db.read().await.unwrap();
        let row = conn
            .row(
                "SELECT COALESCE(SUM(CASE kind WHEN 'credit' THEN 1 ELSE -1 END), 0) AS n FROM journal",
                vec![],
            )
            .await
            .unwrap()
            .unwrap();
        let entries = conn.rows("SELECT journal_id, amount FROM ledger_entry", vec![]).await.unwrap();
        let mut sums: std::collections::BTreeMap<String, i128> = std::collections::BTreeMap::new();
        for entry in entries {
            let amount: i128 = entry.text("amount").unwrap().parse().unwrap();
            *sums.entry(entry.text("journal_id").unwrap()).or_default() += amount;
        }
        (row.int("n").unwrap(), sums.values().all(|sum| *sum == 0))
    }
}

async fn shops() -> Vec<Shop> {
    let mut shops = Vec::new();
    for db in testing::databases().await {
        shops.push(Shop::open(testing::app_on(db).await).await);
    }
    shops
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_seen_then_credited_once() {
    for mut shop in shops().await {
        let invoice = shop.invoice("12.50").await;
        assert_ne!(invoice.due, invoice.amount, "the amount is unique");
        shop.pay(&invoice.address, &invoice.due.to_string()).await;
        shop.go_on().await;
        assert_eq!(shop.now(&invoice).await.status, Status::Detected);
        shop.mine(2).await;
        shop.go_on().await;
        let paid = shop.now(&invoice).await;
        assert_eq!(
            (paid.status, paid.credited, paid.exception),
            (Status::Paid, invoice.due, Exception::None)
        );
        shop.mine(30).await;
        shop.go_on().await;
        assert_eq!(shop.ledger().await, (1, true));
        assert!(shop.unmatched().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_takes_a_credit_back_and_a_reinclusion_gives_it_again() {
    for mut shop in shops().await {
        let invoice = shop.invoice("3").await;
        let tx = shop.pay(&invoice.address, &invoice.due.to_string()).await;
        shop.mine(2).await;
        shop.go_on().await;
        assert_eq!(shop.now(&invoice).await.status, Status::Paid);
        shop.simulate(json!({"do": "retract", "tx": tx, "again": true})).await;
        shop.go_on().await;
        let taken = shop.now(&invoice).await;
        assert_ne!(taken.status, Status::Paid);
        assert_eq!(shop.ledger().await, (0, true));
        shop.mine(3).await;
        shop.go_on().await;
        assert_eq!(shop.now(&invoice).await.status, Status::Paid);
        assert_eq!(shop.ledger().await, (1, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_nothing_is_listed_and_can_be_assigned() {
    for mut shop in shops().await {
        let invoice = shop.invoice("3").await;
        let short = invoice.due.checked_sub(Amount(1)).unwrap();
        shop.pay(&invoice.address, &short.to_string()).await;
        shop.pay(&invoice.address, "0").await;
        shop.mine(5).await;
        shop.go_on().await;
        let listed = shop.unmatched().await;
        let mut reasons: Vec<_> = listed.iter().map(|l| l.reason.clone().unwrap()).collect();
        reasons.sort();
        assert_eq!(reasons, ["no_match", "zero_value"]);
        let transfer =
            listed.iter().find(|l| l.reason.as_deref() == Some("no_match")).unwrap().transfer.id.clone();
        let (scope, now) = (shop.scope(), shop.app.clock.now());
        let (id, of) = (invoice.id.clone(), transfer.clone());
        let assigned = shop
            .app
            .db
            .write(move |conn| {
                Box::pin(async move { resolve::assign(conn, &scope, &of, &id, None, now).await })
            })
            .await
            .unwrap();
        assert_eq!((assigned.status, assigned.exception), (Status::Underpaid, Exception::Manual));
        assert_eq!(shop.ledger().await, (1, true));
        let mut conn = shop.app.db.read().await.unwrap();
        assert_eq!(payments::of_transfers(&mut conn, &[transfer]).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_payment_still_pays_its_own_invoice_and_no_other() {
    for mut shop in shops().await {
        let first = shop.invoice("3").await;
        shop.app.clock.shift(700_000);
        // This machine's clock alone decides nothing.
        shop.go_on().await;
        assert_eq!(shop.now(&first).await.status, Status::New);
        shop.mine(13).await;
        shop.go_on().await;
        assert_eq!(shop.now(&first).await.status, Status::Expired);
        let second = shop.invoice("3").await;
        assert_ne!(first.due, second.due, "the amount is held beyond the deadline");
        shop.pay(&first.address, &first.due.to_string()).await;
        shop.mine(5).await;
        shop.go_on().await;
        let paid = shop.now(&first).await;
        assert_eq!((paid.status, paid.exception), (Status::Paid, Exception::Late));
        assert_eq!(shop.now(&second).await.status, Status::New);
        // After the window the amount may be given out again, and a payment of it finds no invoice.
        assert_eq!(shop.held().await, 2);
        shop.app.clock.shift(25 * 3600 * 1000);
        shop.mine(13).await;
        shop.go_on().await;
        assert_eq!(shop.held().await, 0);
        shop.pay(&first.address, &second.due.to_string()).await;
        shop.mine(5).await;
        shop.go_on().await;
        let listed = shop.unmatched().await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].reason.as_deref(), Some("too_late"));
        assert_eq!(listed[0].invoice_id.as_ref(), Some(&second.id), "it says whose amount it was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_never_get_the_same_amount() {
    for shop in shops().await {
        let shop = Arc::new(shop);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..300 {
            let shop = Arc::clone(&shop);
            tasks.spawn(async move { shop.invoice("20").await.due });
        }
        let mut seen = std::collections::BTreeSet::new();
        while let Some(due) = tasks.join_next().await {
            assert!(seen.insert(due.unwrap()));
        }
        assert_eq!(seen.len(), 300);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_are_in_use_are_stepped_over_at_once() {
    for shop in shops().await {
        let (merchant, network) = (shop.merchant.clone(), Arc::clone(&shop.network));
        let mut used = Vec::new();
        for index in 0..250 {
            let child = shop.app.host.derive_address(&network, "sbxpub-used", index).await.unwrap().unwrap();
            used.push(addresses::NewAddress {
                id: AddressId::new(1),
                merchant_id: merchant.clone(),
                network: NETWORK.to_owned(),
                address: child.text,
                key: child.key,
                kind: addresses::Kind::Customer,
                unique_id: Some(format!("c{index}")),
                meta: None,
                derived_index: None,
                created_at: 1,
            });
        }
        let key = addresses::ExtendedKey {
            id: "xpk_1".into(),
            merchant_id: merchant.clone(),
            network: NETWORK.to_owned(),
            public_key: "sbxpub-used".to_owned(),
            next_index: 0,
            created_at: 1,
            ownership_proven_at: None,
        };
        shop.app
            .db
            .write::<_, addresses::SetKeyError, _>(move |conn| {
                Box::pin(async move {
                    for address in used {
                        addresses::create(conn, address).await.unwrap();
                    }
                    addresses::put_extended_key(conn, &key, "first", crate::db::ownership::Proof::NotNeeded)
                        .await
                })
            })
            .await
            .unwrap();
        for expected in [250, 251] {
            let child = children::next(&shop.app, &merchant, &network).await.unwrap();
            assert_eq!(child.index, expected);
        }
    }
}
