//! A data folder with very many open invoices, beside which `settle` and `idle` work.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::{
    Bench, Busy, call,
    world::{self, Customer, shop},
};
use crate::{
    app::App,
    db::{
        DbError,
        addresses::ReceiveAddress,
        bench,
        chain::{self, Cursor},
        holds::{self, NewHold},
        invoices,
    },
    domain::{
        Millis,
        id::{Id, InvoiceId, TransferId},
        invoice::{Exception, Invoice, Matching, Status},
        matching::{Hold, amount_key},
        money::Amount,
        network::{Asset, Manifest},
        policy::Policy,
        tenant::Tenant,
        transfer::{self, Transfer},
    },
};

const ASSET: &str = "USDC";
/// Number of shared addresses that the invoices are spread over: 100,000 on each for a million.
const SHOPS: u64 = 10;
/// Number of unique amounts of one price.
const SLOTS: u64 = 9_999;
/// Base units of the lowest price, and between prices.
const PRICE_MIN: u64 = 10_000_000;
const PRICE_STEP: u64 = 1_000_000;
const INVOICES_PER_WRITE: u64 = 1_000;
/// Number of concurrent writes: while one is committed, the next one is made.
const WRITES: usize = 2;
const OPEN_FOR_MS: Millis = 7 * 24 * 3_600_000;
/// A prime: its multiples visit all invoices, far apart, each once.
const STRIDE: u64 = 2_147_483_647;

/// The folder and its contents. Everything about an invoice or a transfer follows from its number.
#[derive(Clone)]
pub(super) struct Filled {
    pub(super) folder: PathBuf,
    pub(super) customer: Customer,
    pub(super) open: u64,
    pub(super) made_at: Millis,
    pub(super) network: Arc<Manifest>,
    asset: Arc<Asset>,
    shops: Arc<Vec<ReceiveAddress>>,
}

/// The filled folder, made on first use; no Kassa works in it.
pub(super) async fn filled(bench: &mut Bench) -> anyhow::Result<Filled> {
    if let Some(filled) = &bench.filled {
        return Ok(filled.clone());
    }
    let folder = bench.folder("filled")?;
    let app = world::open(&folder).await?;
    let network = world::network(call::NETWORK)?;
    let asset = network.asset(ASSET).cloned().with_context(|| format!("{} has no {ASSET}", network.name))?;
    let mut shops = Vec::new();
    for number in 1..=SHOPS {
        shops.push(shop(&app, &network, &format!("0x{number:040x}")).await?);
    }
    let filled = Filled {
        folder,
        customer: Customer::new(&app, "filled").await?,
        open: bench.open,
        made_at: app.clock.now(),
        network: Arc::new(network),
        asset: Arc::new(asset),
        shops: Arc::new(shops),
    };
    filled.read(&app).await?;
    filled.fill(&app).await?;
    app.db.close().await;
    bench.filled = Some(filled.clone());
    Ok(filled)
}

impl Filled {
    /// Sets the network's cursor past all payments, as if it had been read.
    async fn read(&self, app: &App) -> anyhow::Result<()> {
        let height = height(self.open)?;
        let cursor = Cursor {
            network: self.network.name.clone(),
            height,
            hash: format!("0x{height:064x}"),
            head: height,
            safe: Some(height),
            r#final: height,
            time: self.made_at + 2_000,
            final_time: self.made_at + 2_000,
            frozen: None,
            moved_at: self.made_at,
        };
        let advanced = app.db.write::<_, DbError, _>(|conn| {
            Box::pin(async move { chain::advance(conn, None, &cursor, 0).await })
        });
        advanced.await?.context("the network was read before")?;
        Ok(())
    }

    async fn fill(&self, app: &App) -> anyhow::Result<()> {
        let bar = Busy::counted("opening invoices", self.open);
        let mut writes: JoinSet<Result<u64, DbError>> = JoinSet::new();
        let mut first = 0;
        loop {
            while first < self.open && writes.len() < WRITES {
                let last = self.open.min(first + INVOICES_PER_WRITE);
                let (filled, db) = (self.clone(), app.db.clone());
                writes.spawn(async move {
                    let (invoices, holds) = filled.rows(first..last);
                    db.write(move |conn| {
                        Box::pin(async move {
                            invoices::insert(conn, &invoices).await?;
                            holds::take(conn, holds).await?;
                            Ok(last - first)
                        })
                    })
                    .await
                });
                first = last;
            }
            match writes.join_next().await {
                Some(written) => bar.0.inc(written??),
                None => break,
            }
        }
        let counts = bench::counts(&mut app.db.read().await?).await?;
        ensure!(
            counts.holds.unsigned_abs() == self.open,
            "{} of {} amounts are held",
            counts.holds,
            self.open
        );
        Ok(())
    }

    fn rows(&self, numbers: std::ops::Range<u64>) -> (Vec<Invoice>, Vec<NewHold>) {
        let invoices: Vec<Invoice> = numbers.filter_map(|number| self.invoice(number)).collect();
        let holds = invoices
            .iter()
            .map(|invoice| NewHold {
                network: invoice.network.clone(),
                hold: Hold {
                    key: amount_key(&invoice.address_id, &invoice.asset_id, invoice.due),
                    invoice_id: invoice.id.clone(),
                    since: 0,
                    until: invoice.held_until,
                },
            })
            .collect();
        (invoices, holds)
    }

    /// The invoice with this number, as it is before anyone pays.
    pub(super) fn invoice(&self, number: u64) -> Option<Invoice> {
        let shop = self.shops.get(usize::try_from(number % SHOPS).ok()?)?;
        let of_shop = number / SHOPS;
        let price = PRICE_MIN + of_shop / SLOTS * PRICE_STEP;
        let due = price + of_shop % SLOTS + 1;
        let contract = self.asset.contract.as_deref().unwrap_or_default();
        let expires_at = self.made_at + OPEN_FOR_MS;
        Some(Invoice {
            id: InvoiceId::of_body(&format!("{number:026}")),
            tenant: Tenant::live(shop.merchant_id.clone()),
            order_id: Some(format!("order-{number}")),
            title: format!("Order {number}"),
            tag: None,
            meta: None,
            network: self.network.name.clone(),
            asset_id: self.asset.id(&self.network.name),
            symbol: self.asset.symbol.clone(),
            decimals: self.asset.decimals,
            address_id: shop.id.clone(),
            address: shop.address.clone(),
            matching: Matching::Amount,
            memo: None,
            currency: Some("USD".to_owned()),
            price: Some((price / PRICE_STEP).to_string()),
            amount: Amount(u128::from(price)),
            due: Amount(u128::from(due)),
            status: Status::New,
            exception: Exception::None,
            pending: Amount::ZERO,
            credited: Amount::ZERO,
            marked: Amount::ZERO,
            sequence: 0,
            payment_uri: Some(format!(
                "ethereum:{contract}@8453/transfer?address={}&uint256={due}",
                shop.address
            )),
            policy: Policy::default(),
            sighted: 0,
            created_at: self.made_at,
            expires_at,
            held_until: expires_at + OPEN_FOR_MS,
            pinned: true,
            expired_at: None,
            cancelled_at: None,
            paid_at: None,
        })
    }

    /// The `nth` payer's transfer, and the invoice that it pays exactly. Payers come in no order of the invoices.
    pub(super) fn payment(&self, nth: u64) -> Option<(Transfer, Invoice)> {
        let invoice = self.invoice(nth.checked_mul(STRIDE)? % self.open)?;
        let height = height(nth).ok()?;
        let transfer = Transfer {
            id: TransferId::of_body(&format!("{nth:026}")),
            network: invoice.network.clone(),
            kind: transfer::Kind::Seen,
            // Hashes come in no order.
            tx: format!("0x{:016x}{nth:048x}", nth.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            ordinal: 0,
            asset_id: invoice.asset_id.clone(),
            address_id: invoice.address_id.clone(),
            merchant_id: invoice.tenant.merchant.clone(),
            sender: Some(format!("0x{nth:040x}")),
            amount: Some(invoice.due),
            memo: None,
            memo_problem: None,
            height,
            block_hash: format!("0x{height:064x}"),
            block_time: self.made_at + 1_000,
            status: transfer::Status::Confirmed,
            epoch: 1,
            seen_at: self.made_at + 2_000,
            seq: 1,
        };
        Some((transfer, invoice))
    }
}

/// Height of the `nth` payment's block: 200 to each.
fn height(nth: u64) -> anyhow::Result<i64> {
    Ok(100 + i64::try_from(nth / 200)?)
}
