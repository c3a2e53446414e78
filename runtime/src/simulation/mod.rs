//! Kassa with a clock, a chain and ids that a simulation provides. Only with the feature `simulation`; tests/simulator
//! makes the schedules and judges the results.
//!
//! The cast: a [`Scene`] is what all simulations of a process share; a [`Store`] is one database; a [`Process`] is a
//! replica that runs on it, one step at a time, with the real workers and the real database code; a [`Chain`] is what
//! its provider reports.

mod process;

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, LazyLock},
};

use anyhow::Context as _;

pub use self::process::{Again, By, Ended, NotMade, PaymentDetails, Process, doom, revive};
pub use crate::clock::Clock;
use crate::{
    config::Config,
    db::{
        Db, DbError, addresses, leases, merchants, networks as network_rows,
        simulated::{self, InMemory},
    },
    domain::{
        id::{AddressId, ExtendedKeyId, Id, MerchantId},
        money::Amount,
        network::Manifest,
        policy::Policy,
    },
    host::{self, BalanceError, Host, Point, ScanError, ScanLimits, ScanResult, scripted::Scripted},
    outbound::Outbound,
    upstreams::Upstreams,
    vault::Vault,
};

/// The network of all simulations.
pub const NETWORK: &str = "scripted";
/// The merchants, each with one shared address.
pub static MERCHANTS: LazyLock<[MerchantId; 2]> = LazyLock::new(|| ["a", "b"].map(MerchantId::of_body));
/// Duration of a lease, milliseconds. A process trusts a lease for a third of this without asking.
const LEASE_MS: u64 = 600_000;
/// Number of suffixes of a price.
pub const SLOTS: u32 = 400;

/// A block as the provider reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub height: u64,
    pub hash: String,
    pub parent: String,
    pub time: i64,
}

/// Asset of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asset {
    Dollar,
    /// The chain's own coin, which contracts send without a visible transfer.
    Coin,
}

/// A transfer in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub tx: String,
    pub to: String,
    pub asset: Asset,
    pub amount: u128,
    pub memo: Option<String>,
    pub height: u64,
}

/// A provider's answer to a scan.
#[derive(Debug, Clone)]
pub struct Report {
    pub blocks: Vec<Block>,
    pub transfers: Vec<Transfer>,
    pub head: (u64, String),
    pub r#final: u64,
}

/// Reason that a provider gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Away,
    RateLimited,
    Malformed,
    Behind(u64),
}

/// A chain, as its provider reports it.
pub trait Chain: Send + Sync {
    /// The blocks after the one with this height and hash; with `None`, the highest final block alone.
    fn scan(&self, from: Option<(u64, &str)>, blocks: u32) -> Result<Report, Trouble>;

    /// The time that an answer to a scan takes to arrive, which may be long.
    fn on_its_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Balance of the coin that an address holds at the end of the block at this height.
    fn held(&self, address: &str, height: u64) -> Result<u128, Trouble>;
}

struct Telling(Arc<dyn Chain>);

impl Scripted for Telling {
    fn scan(&self, cursor: Option<host::Position>, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
        let from = cursor.as_ref().map(|cursor| (cursor.height, cursor.hash.as_str()));
        let report = self.0.scan(from, limits.blocks).map_err(|trouble| match trouble {
            Trouble::Away => ScanError::Upstream("away".to_owned()),
            Trouble::RateLimited => ScanError::RateLimited(1),
            Trouble::Malformed => ScanError::Malformed("nonsense".to_owned()),
            Trouble::Behind(head) => ScanError::Behind(head),
        })?;
        let block = |block: Block| host::Block {
            height: block.height,
            hash: block.hash,
            parent: block.parent,
            time_ms: block.time.unsigned_abs(),
            more: Vec::new(),
        };
        let transfer = |one: Transfer| host::PluginTransfer {
            tx: one.tx,
            ordinal: 0,
            asset: one.asset as u32,
            sender: None,
            recipient: one.to,
            amount: Some(Amount(one.amount).into()),
            memo: one.memo.map_or(host::Memo::None, host::Memo::Text),
            height: one.height,
            more: Vec::new(),
        };
        Ok(ScanResult {
            blocks: report.blocks.into_iter().map(block).collect(),
            transfers: report.transfers.into_iter().map(transfer).collect(),
            head: host::Position { height: report.head.0, hash: report.head.1 },
            safe: None,
            final_: report.r#final,
            more: Vec::new(),
        })
    }

    fn on_its_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.on_its_way()
    }

    fn compares(&self) -> bool {
        true
    }

    fn balances(&self, points: &[Point]) -> Result<Vec<Amount>, BalanceError> {
        let held = |point: &Point| self.0.held(&point.address, point.height).map(Amount);
        points.iter().map(held).collect::<Result<_, _>>().map_err(|trouble| match trouble {
            Trouble::Away => BalanceError::Upstream("away".to_owned()),
            Trouble::RateLimited => BalanceError::RateLimited(1),
            Trouble::Malformed => BalanceError::Malformed("nonsense".to_owned()),
            Trouble::Behind(head) => BalanceError::Upstream(format!("its head is {head}")),
        })
    }
}

/// State that all simulations of a process share: an empty database as a template, and the parts that are slow to make.
pub struct Scene {
    template: PathBuf,
    host: Host,
    outbound: Outbound,
    config: Arc<Config>,
    vault: Arc<Vault>,
}

impl Scene {
    /// Makes the template in this folder.
    pub async fn new(folder: &Path) -> anyhow::Result<Self> {
        let mut config = Config::load(Path::new(""), false, std::iter::empty())?;
        // A process that has lost a lease trusts it for longer, and four of ten writes were renewals.
        config.watch.lease_ms = LEASE_MS;
        let (first, template) = (folder.join("first.db"), folder.join("template.db"));
        let db = Db::open(&first.display().to_string()).await?;
        fill(&db).await?;
        simulated::copy_file(&first, &template).await?;
        let (clock, outbound) = (Clock::default(), Outbound::new()?);
        let upstreams = Upstreams::new(outbound.clone(), clock.clone());
        let host = Host::without_plugins(db, clock, &config, &folder.join("compiled"), upstreams)?;
        let vault = Arc::new(Vault::from_hex(&"11".repeat(32))?);
        Ok(Self { template, host, outbound, config: Arc::new(config), vault })
    }
}

fn manifest(confirmations: u32) -> anyhow::Result<Manifest> {
    Ok(serde_json::from_value(serde_json::json!({
        "name": NETWORK, "title": "Scripted", "caip2": "kassa:scripted", "plugin": "scripted", "test": true,
        "credit": confirmations, "poll_ms": 2000,
        "asset": [{"symbol": "USDT", "name": "Dollar", "contract": "usdt", "decimals": 6, "peg": "USD",
                   "unique": {"decimals": 6, "slots": SLOTS}},
                  {"symbol": "COIN", "name": "Coin", "decimals": 6, "unique": {"decimals": 6, "slots": SLOTS}}],
    }))?)
}

async fn fill(db: &Db) -> anyhow::Result<()> {
    let manifest = manifest(1)?;
    db.write::<_, anyhow::Error, _>(move |conn| {
        Box::pin(async move {
            network_rows::put(conn, &manifest, 1).await?;
            for merchant_id in MERCHANTS.iter() {
                let merchant = merchants::Merchant {
                    id: merchant_id.clone(),
                    name: merchant_id.to_string(),
                    operator_events: false,
                    policy: Policy::default(),
                    created_at: 1,
                    disabled_at: None,
                };
                merchants::insert(conn, &merchant).await?;
                let address = address_of(merchant_id);
                let new = addresses::NewAddress {
                    id: AddressId::of_body(merchant_id.as_str()),
                    merchant_id: merchant_id.clone(),
                    network: NETWORK.to_owned(),
                    key: address.clone().into_bytes(),
                    address,
                    kind: addresses::Kind::Shared,
                    unique_id: None,
                    meta: None,
                    derived_index: None,
                    created_at: 1,
                };
                addresses::create(conn, new).await?;
                let key = addresses::ExtendedKey {
                    id: ExtendedKeyId::of_body(merchant_id.as_str()),
                    merchant_id: merchant_id.clone(),
                    network: NETWORK.to_owned(),
                    public_key: format!("xpub-{merchant_id}"),
                    next_index: 0,
                    created_at: 1,
                    ownership_proven_at: None,
                };
                addresses::put_extended_key(
                    conn,
                    &key,
                    &key.public_key,
                    crate::db::ownership::Proof::NotNeeded,
                )
                .await?;
            }
            Ok(())
        })
    })
    .await
}

/// The shared address of a merchant.
#[must_use]
pub fn address_of(merchant_id: &MerchantId) -> String {
    format!("shared-{merchant_id}")
}

/// One database, in memory, for one simulation after the other.
pub struct Store {
    memory: InMemory,
}

impl Store {
    /// An empty database.
    pub async fn new(scene: &Scene) -> anyhow::Result<Self> {
        Ok(Self { memory: InMemory::like(&scene.template).await? })
    }

    /// Resets it to its initial state.
    pub async fn begin_anew(&mut self) -> anyhow::Result<()> {
        self.memory.begin_anew().await.context("the template")
    }

    /// Writes its present contents to this file.
    pub async fn back_up(&mut self, file: &Path) -> anyhow::Result<()> {
        self.memory.save(file).await.context("a backup")
    }

    /// Restores it from a backup.
    pub async fn restore(&mut self, file: &Path) -> anyhow::Result<()> {
        self.memory.load(file).await.context("a restored backup")
    }

    /// Ends all leases, so that the next process can take them.
    pub async fn end_leases(&self) -> anyhow::Result<()> {
        self.memory.db.write::<_, DbError, _>(|conn| Box::pin(async { leases::end_all(conn).await })).await?;
        Ok(())
    }

    /// The rows of a query, as texts.
    pub async fn query(
        &self,
        sql: &'static str,
        columns: &[&'static str],
    ) -> anyhow::Result<Vec<Vec<String>>> {
        let rows = self.memory.db.read().await?.rows(sql, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                let text = |column: &&'static str| Ok(row.opt_text(column)?.unwrap_or_default());
                columns.iter().map(text).collect::<Result<Vec<_>, DbError>>().map_err(Into::into)
            })
            .collect()
    }
}
