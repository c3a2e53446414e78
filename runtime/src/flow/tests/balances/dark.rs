//! A shop on a chain on which contracts pay unseen.

use std::sync::{Mutex, MutexGuard};

use super::super::*;
use crate::{
    app::App,
    db::{Conn, DbError},
    domain::invoice::Matching,
    flow::{
        balances::{Step as Compared, Worker},
        leases::Leases,
    },
    host::{
        BalanceError, Block, Memo, PluginTransfer, Point, Position, ScanError, ScanLimits, ScanResult,
        scripted::Scripted,
    },
};

/// Number of blocks between the head and the final one.
pub(super) const DEPTH: u64 = 2;

/// Height, recipient, amount.
pub(super) type Move = (u64, String, u128);

/// Answers of the only provider.
#[derive(Default)]
pub(super) struct Script {
    pub(super) head: u64,
    /// Time of block 0, milliseconds.
    pub(super) began: u64,
    /// Heights from which on the chain's time is later by a number of milliseconds.
    pub(super) jumps: Vec<(u64, u64)>,
    pub(super) seen: Vec<Move>,
    /// Moves that only balances show.
    pub(super) hidden: Vec<Move>,
    pub(super) spent: Vec<Move>,
    /// Error that it gives instead of a balance.
    pub(super) trouble: Option<BalanceError>,
    /// Lowest height at which it knows balances.
    pub(super) keeps_from: u64,
    /// Number of balances missing from its answer.
    pub(super) swallows: usize,
    pub(super) asked: Vec<usize>,
}

#[derive(Default)]
pub(super) struct Chain(Mutex<Script>);

impl Chain {
    pub(super) fn now(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

fn hash(height: u64) -> String {
    format!("h{height}")
}

impl Scripted for Chain {
    fn scan(&self, cursor: Option<Position>, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
        let now = self.now();
        let r#final = now.head.saturating_sub(DEPTH);
        let from = cursor.as_ref().map_or(r#final, |cursor| cursor.height + 1);
        let to = cursor.as_ref().map_or(r#final, |_| now.head.min(from + u64::from(limits.blocks) - 1));
        let jumped =
            |height| now.jumps.iter().filter(|(from, _)| *from <= height).map(|(_, ms)| ms).sum::<u64>();
        let block = |height: u64| Block {
            height,
            hash: hash(height),
            parent: height.checked_sub(1).map_or_else(|| "none".to_owned(), hash),
            time_ms: now.began + height * 1_000 + jumped(height),
            more: Vec::new(),
        };
        let transfer = |(index, (height, to, amount)): (usize, &Move)| PluginTransfer {
            tx: format!("0x{index}"),
            ordinal: 0,
            asset: 0,
            sender: None,
            recipient: to.clone(),
            amount: Some(Amount(*amount).into()),
            memo: Memo::None,
            height: *height,
            more: Vec::new(),
        };
        let seen = now.seen.iter().enumerate().filter(|(_, (height, ..))| (from..=to).contains(height));
        Ok(ScanResult {
            blocks: (from..=to).map(block).collect(),
            transfers: if cursor.is_some() { seen.map(transfer).collect() } else { vec![] },
            head: Position { height: now.head, hash: hash(now.head) },
            safe: None,
            final_: r#final,
            more: Vec::new(),
        })
    }

    fn compares(&self) -> bool {
        true
    }

    fn balances(&self, points: &[Point]) -> Result<Vec<Amount>, BalanceError> {
        let mut now = self.now();
        now.asked.push(points.len());
        if let Some(trouble) = &now.trouble {
            return Err(trouble.clone());
        }
        if points.iter().any(|point| point.height < now.keeps_from) {
            return Err(BalanceError::Upstream("missing trie node".to_owned()));
        }
        let sum = |moves: &[Move], point: &Point| -> u128 {
            let there =
                moves.iter().filter(|(height, to, _)| *to == point.address && *height <= point.height);
            there.map(|(.., amount)| amount).sum()
        };
        let held = |point| sum(&now.seen, point) + sum(&now.hidden, point) - sum(&now.spent, point);
        let answers = points.len().saturating_sub(now.swallows);
        Ok(points.iter().take(answers).map(|point| Amount(held(point))).collect())
    }
}

/// A shop on that chain.
pub(super) struct Dark {
    pub(super) shop: Shop,
    pub(super) chain: Arc<Chain>,
    pub(super) worker: Worker,
}

impl Dark {
    pub(super) async fn open(app: TestApp) -> Self {
        let chain = Arc::new(Chain::default());
        let began = u64::try_from(app.clock.now()).unwrap() - 100_000;
        *chain.now() = Script { head: 100, began, ..Script::default() };
        let app = app.telling(chain.clone());
        // Of the sandbox, which is read from its block 0 on.
        let forgotten = app.db.write::<_, DbError, _>(|conn| {
            Box::pin(async move {
                conn.exec("DELETE FROM block", vec![]).await?;
                conn.exec("DELETE FROM cursor", vec![]).await
            })
        });
        forgotten.await.unwrap();
        let shop = Shop::open(app).await;
        let worker = Worker::new((*shop.app).clone(), Arc::clone(&shop.network));
        Self { shop, chain, worker }
    }

    /// Another replica, and the answers of its provider.
    pub(super) fn replica(&self) -> (App, Arc<Chain>) {
        let chain = Arc::new(Chain::default());
        chain.now().began = self.chain.now().began;
        let mut app = (*self.shop.app).clone();
        app.host = app.host.telling(chain.clone());
        app.leases = Arc::new(Leases::new(app.db.clone(), app.clock.clone(), "another".into(), 60_000));
        (app, chain)
    }

    pub(super) async fn invoice(&self, amount: &str, matching: Option<Matching>) -> Invoice {
        let new = NewInvoice { matching, ..self.shop.new_invoice("SBX", amount) };
        match invoicing::make(&self.shop.app, new, None).await.unwrap() {
            Made::New(invoice) => *invoice,
            Made::Replay(_) => panic!("no key was given"),
        }
    }

    /// Adds a block in which a contract or a wallet pays.
    pub(super) async fn next(&mut self, moves: impl FnOnce(&mut Script, u64)) {
        {
            let mut now = self.chain.now();
            let next = now.head + 1;
            moves(&mut now, next);
            now.head = next;
        }
        self.shop.go_on().await;
    }

    pub(super) async fn mine(&mut self, blocks: u64) {
        self.chain.now().head += blocks;
        self.shop.go_on().await;
    }

    /// Puts the next block at this time or later.
    pub(super) fn jump(&self, time: i64) {
        let mut now = self.chain.now();
        let jump = (now.head + 1, u64::try_from(time).unwrap() - now.began);
        now.jumps = vec![jump];
    }

    /// Adds blocks until everything is final and compared. Returns the number of rises.
    pub(super) async fn compare(&mut self) -> usize {
        self.mine(DEPTH).await;
        let mut all = 0;
        while let Compared::Looked { rises, .. } = self.worker.step().await.unwrap() {
            all += rises;
        }
        self.shop.go_on().await;
        all
    }

    pub(super) async fn rises(&self) -> Vec<transfers::Listed> {
        let mut all = self.shop.unmatched().await;
        all.retain(|one| one.reason.as_deref() == Some("unexplained_rise"));
        all
    }

    pub(super) async fn conn(&self) -> Conn {
        self.shop.app.db.read().await.unwrap()
    }

    /// The rows of the addresses that are compared.
    pub(super) async fn compared(&self) -> Vec<(i64, Option<Amount>)> {
        let rows =
            self.conn().await.rows("SELECT height, amount FROM balance ORDER BY address_id", vec![]).await;
        let row = |row: &crate::db::Row| (row.int("height").unwrap(), row.opt_amount("amount").unwrap());
        rows.unwrap().iter().map(row).collect()
    }
}

pub(super) async fn darks() -> Vec<Dark> {
    let mut all = Vec::new();
    for db in testing::databases().await {
        all.push(Dark::open(testing::app_on(db).await).await);
    }
    all
}
