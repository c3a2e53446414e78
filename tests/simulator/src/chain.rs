//! The chain of a simulation, and what its provider shows of it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kassa::simulation::{Asset, Block, Chain, Report, Transfer, Trouble};
use tokio::sync::oneshot;

/// A payment that somebody sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tx {
    pub(crate) id: String,
    pub(crate) to: String,
    pub(crate) asset: Asset,
    /// True if a contract sends it: then no transfer shows it.
    pub(crate) unseen: bool,
    pub(crate) amount: u128,
    pub(crate) memo: Option<String>,
    /// Time at which it was sent, milliseconds: no older block holds it.
    pub(crate) sent_at: i64,
    /// Number of blocks that pass it over.
    pub(crate) passed_over: u32,
}

#[derive(Debug, Clone)]
struct Mined {
    hash: String,
    parent: String,
    time: i64,
    txs: Vec<Tx>,
}

/// The true state of the chain.
#[derive(Debug)]
pub(crate) struct Ledger {
    blocks: Vec<Mined>,
    /// Number that makes block hashes unique, so that blocks have other hashes after a reorg.
    named: u64,
    /// Depth of the final block below the head.
    depth: u64,
    r#final: u64,
    pool: Vec<Tx>,
    /// The true time, milliseconds.
    now: i64,
}

impl Ledger {
    pub(crate) fn new(start: i64, depth: u64) -> Self {
        let genesis = Mined { hash: "0".to_owned(), parent: String::new(), time: start, txs: Vec::new() };
        Self { blocks: vec![genesis], named: 0, depth, r#final: 0, pool: Vec::new(), now: start }
    }

    pub(crate) fn send(&mut self, tx: Tx) {
        self.pool.push(tx);
    }

    pub(crate) fn pass(&mut self, now: i64) {
        self.now = now;
    }

    /// Puts what waits into a block of this time.
    pub(crate) fn mine(&mut self, at: i64) {
        let (txs, mut pool): (Vec<Tx>, _) =
            std::mem::take(&mut self.pool).into_iter().partition(|tx| tx.passed_over == 0);
        for tx in &mut pool {
            tx.passed_over -= 1;
        }
        self.pool = pool;
        self.add(at, txs);
        let head = self.head();
        self.r#final = self.r#final.max(head.saturating_sub(self.depth));
    }

    fn add(&mut self, at: i64, txs: Vec<Tx>) {
        self.named += 1;
        let (parent, before) = self.blocks.last().map(|b| (b.hash.clone(), b.time)).unwrap_or_default();
        let hash = format!("{}-{}", self.blocks.len(), self.named);
        self.blocks.push(Mined { hash, parent, time: at.max(before + 1), txs });
    }

    fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// Replaces the last `deep` blocks, but none that is final, by as many others. Their payments come in another
    /// order: a block earlier or later, or not yet.
    pub(crate) fn reorg(&mut self, deep: u64, mut shuffle: impl FnMut(u64) -> u64) {
        let deep = deep.min(self.head() - self.r#final);
        let keep = self.blocks.len() - usize::try_from(deep).unwrap_or(0);
        let old = self.blocks.split_off(keep);
        let times: Vec<i64> = old.iter().map(|block| block.time).collect();
        let mut txs: Vec<Vec<Tx>> = vec![Vec::new(); old.len()];
        for (at, block) in old.into_iter().enumerate() {
            for tx in block.txs {
                // One block earlier, in the same block, later, or back to those that wait.
                let earliest =
                    times.iter().position(|time| *time >= tx.sent_at).unwrap_or(times.len()) as u64;
                let to = (at as u64 + shuffle(4)).saturating_sub(1).max(earliest);
                match txs.get_mut(usize::try_from(to).unwrap_or(usize::MAX)) {
                    Some(block) => block.push(tx),
                    None => self.pool.push(tx),
                }
            }
        }
        for (time, txs) in times.into_iter().zip(txs) {
            self.add(time, txs);
        }
    }

    /// All payments that are on chain, with their blocks' times.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Tx, i64)> {
        self.blocks.iter().flat_map(|block| block.txs.iter().map(|tx| (tx, block.time)))
    }

    pub(crate) fn waiting(&self) -> usize {
        self.pool.len()
    }
}

/// State of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Well,
    Away,
    RateLimited,
    Malformed,
    /// Shows no block that is younger than this, milliseconds.
    Lags(i64),
    /// Still shows the branch that it had when it went stale.
    Stale,
}

/// A provider of the chain.
pub(crate) struct Provider {
    ledger: Arc<Mutex<Ledger>>,
    condition: Mutex<Condition>,
    slow: Mutex<Option<Slow>>,
}

/// An answer that is delayed: it reports that it has left, and waits until it may arrive.
struct Slow {
    left: oneshot::Sender<()>,
    arrives: oneshot::Receiver<()>,
}

/// State of a provider, with the branch and the final block that it had when it got into that state.
struct Condition {
    state: State,
    branch: Vec<Mined>,
    r#final: u64,
}

impl Condition {
    /// The blocks that it shows, with its head and its final block. Errors if it answers with trouble.
    fn shows<'a>(&'a self, ledger: &'a Ledger) -> Result<(&'a [Mined], u64, u64), Trouble> {
        match self.state {
            State::Away => Err(Trouble::Away),
            State::RateLimited => Err(Trouble::RateLimited),
            State::Malformed => Err(Trouble::Malformed),
            State::Well => Ok((&ledger.blocks, ledger.head(), ledger.r#final)),
            State::Lags(ms) => {
                let seen = ledger.blocks.iter().filter(|block| block.time <= ledger.now - ms).count();
                Ok((&ledger.blocks, (seen as u64).saturating_sub(1), ledger.r#final))
            }
            State::Stale => Ok((&self.branch, self.branch.len() as u64 - 1, self.r#final)),
        }
    }
}

impl Provider {
    pub(crate) fn new(ledger: Arc<Mutex<Ledger>>) -> Self {
        let condition = Condition { state: State::Well, branch: Vec::new(), r#final: 0 };
        Self { ledger, condition: Mutex::new(condition), slow: Mutex::default() }
    }

    /// Delays its next answer to a scan. Returns a receiver that reports that the answer has left, and a sender that
    /// lets it arrive.
    pub(crate) fn slow_down(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((left, has_left), (arrive, arrives)) = (oneshot::channel(), oneshot::channel());
        *lock(&self.slow) = Some(Slow { left, arrives });
        (has_left, arrive)
    }

    pub(crate) fn set(&self, state: State) {
        let ledger = lock(&self.ledger);
        let branch = if state == State::Stale { ledger.blocks.clone() } else { Vec::new() };
        *lock(&self.condition) = Condition { state, branch, r#final: ledger.r#final };
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chain for Provider {
    fn scan(&self, from: Option<(u64, &str)>, limit: u32) -> Result<Report, Trouble> {
        let (ledger, condition) = (lock(&self.ledger), lock(&self.condition));
        let (blocks, head, r#final) = condition.shows(&ledger)?;
        let at = |height: u64| usize::try_from(height).ok().and_then(|at| blocks.get(at));
        let block = |height: u64| {
            at(height).map(|mined| Block {
                height,
                hash: mined.hash.clone(),
                parent: mined.parent.clone(),
                time: mined.time,
            })
        };
        let r#final = r#final.min(head);
        let hash = at(head).map(|mined| mined.hash.clone()).unwrap_or_default();
        let mut report = Report { blocks: Vec::new(), transfers: Vec::new(), head: (head, hash), r#final };
        let Some((height, _)) = from else {
            report.blocks.extend(block(r#final));
            return Ok(report);
        };
        if height > head {
            return Err(Trouble::Behind(head));
        }
        let last = head.min(height + u64::from(limit));
        for height in height + 1..=last {
            report.blocks.extend(block(height));
            let txs = at(height).map(|mined| mined.txs.as_slice()).unwrap_or_default();
            report.transfers.extend(txs.iter().filter(|tx| !tx.unseen).map(|tx| Transfer {
                tx: tx.id.clone(),
                to: tx.to.clone(),
                asset: tx.asset,
                amount: tx.amount,
                memo: tx.memo.clone(),
                height,
            }));
        }
        Ok(report)
    }

    fn on_its_way(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let slow = lock(&self.slow).take();
            if let Some(Slow { left, arrives }) = slow {
                let _ = left.send(());
                // Or nobody waits for it any more.
                let _ = arrives.await;
            }
        })
    }

    fn held(&self, address: &str, height: u64) -> Result<u128, Trouble> {
        let (ledger, condition) = (lock(&self.ledger), lock(&self.condition));
        let (blocks, head, _) = condition.shows(&ledger)?;
        if height > head {
            return Err(Trouble::Behind(head));
        }
        let txs = blocks.iter().take(usize::try_from(height + 1).unwrap_or(0)).flat_map(|block| &block.txs);
        Ok(txs.filter(|tx| tx.asset == Asset::Coin && tx.to == address).map(|tx| tx.amount).sum())
    }
}
