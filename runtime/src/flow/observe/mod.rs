//! Observe: watches a network. Asks its chain plugin for the next step, checks what it says, and commits
//! transfers, blocks and cursor together, under a lease with a fence.
//!
//! A reorg is found by parent hashes: when the blocks that a scan reports do not follow on the cursor's block,
//! the watcher steps back over the blocks that it keeps (down to the last final one) until they do. What the
//! old branch held and the new one does not is retracted. A branch that parts below what was final is not
//! followed: the network is frozen with an alarm, and the operator decides.
//!
//! The decisions are in `domain::observation`, which is pure.

mod beside;
pub(in crate::flow) mod commit;
pub(in crate::flow) mod deep;
mod finality;
mod progress;
mod rhythm;
mod verdict;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use self::{progress::Progress, rhythm::Rhythm};
use crate::{
    app::App,
    db::{DbError, chain, plugin_storage::StorageWrites},
    domain::{
        Millis,
        id::UpstreamId,
        network::Manifest,
        observation::{self, Course, Position, Scan},
    },
    flow::{
        chain_clock::ChainClock,
        first_calls::{First, SetAside, guarded},
        report,
    },
    host::{CallFailed, Called, Finality, ScanLimits},
    upstreams::Verdict,
};

/// Bounds of the pause after a failure, which doubles each time.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(250);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Number of times in a row that a branch below the final block must be seen before the network is frozen: an upstream
/// that lies is passed over first.
const VIOLATIONS_TO_FREEZE: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the plugin failed: {0}")]
    Plugin(String),
    #[error("upstream: {0}")]
    Upstream(String),
    /// Another replica, or an earlier life of this one, has moved the cursor. Everything was undone.
    #[error("the cursor moved meanwhile")]
    Stale,
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Blocks were read; `more` if there are further ones.
    Read { blocks: usize, more: bool },
    /// There was nothing new.
    Still,
    /// Another replica watches this network.
    NotOurs,
    /// The network is frozen.
    Frozen,
}

/// Watches one network until told to stop.
pub(crate) async fn run(app: App, network: Arc<Manifest>, stop: CancellationToken) {
    let mut watcher = Watcher::new(app, network);
    let mut pause = PAUSE_MIN;
    let bells = Arc::clone(&watcher.app.wake.observe);
    loop {
        let bell = bells.notified();
        let wait = match watcher.step().await {
            Ok(Step::Read { more: true, .. }) => Duration::ZERO,
            Ok(_) => watcher.rhythm.wait(watcher.app.clock.passed()),
            Err(error) => {
                // `flow::health` says it when it lasts.
                tracing::debug!(network = watcher.network.name, %error, "scan gave nothing; the cursor stays");
                watcher.app.health.failed(&watcher.network.name, &error.to_string());
                metrics::counter!("kassa_scan_failures_total", "network" => watcher.network.name.clone())
                    .increment(1);
                let wait = pause;
                pause = (pause * 2).min(PAUSE_MAX);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = bell => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
        };
        pause = PAUSE_MIN;
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The watcher of one network.
pub(crate) struct Watcher {
    pub(crate) app: App,
    pub(crate) network: Arc<Manifest>,
    /// Number of times in a row that a branch below the final block was seen.
    violations: u32,
    /// Number of scans in a row that failed.
    failures: u32,
    progress: Progress,
    rhythm: Rhythm,
    /// Time of the last request for the safe and the final block, by [`crate::clock::Clock::passed`].
    finality_at: Option<Millis>,
    first: First,
    /// True if this machine's clock was seen to differ from the chain's blocks.
    clock_differs: bool,
}

/// A report that follows on `base`, with the storage writes of the call.
struct Found {
    base: Option<Position>,
    scan: Scan,
    writes: StorageWrites,
}

enum Look {
    Found(Found),
    Still,
    /// The chain branches off below the final block.
    Violation {
        upstream: Option<UpstreamId>,
        height: i64,
    },
}

impl Watcher {
    pub(crate) fn new(app: App, network: Arc<Manifest>) -> Self {
        let rhythm = Rhythm::new(network.poll_ms);
        Self {
            app,
            network,
            violations: 0,
            failures: 0,
            progress: Progress::default(),
            rhythm,
            finality_at: None,
            first: First::New,
            clock_differs: false,
        }
    }

    /// Makes one step: claim, scan, commit.
    pub(crate) async fn step(&mut self) -> Result<Step, ObserveError> {
        let resource = format!("observe/{}", self.network.name);
        let Some(fence) = self.app.leases.claim(&resource).await? else { return Ok(Step::NotOurs) };
        let (app, network, mut first) = (self.app.clone(), Arc::clone(&self.network), self.first);
        let work = Box::pin(self.read_on(fence));
        let step = guarded(&app, &network, &resource, &mut first, work).await;
        self.first = first;
        let step = step?.unwrap_or_else(|SetAside| Err(ObserveError::Plugin(SetAside::why(&network))));
        match &step {
            Ok(_) => self.failures = 0,
            Err(ObserveError::Db(_) | ObserveError::Stale) => {}
            Err(ObserveError::Plugin(_) | ObserveError::Upstream(_)) => {
                self.failures = self.failures.wrapping_add(1);
                self.app.leases.failed(&resource, self.failures).await?;
            }
        }
        step
    }

    async fn read_on(&mut self, fence: i64) -> Result<Step, ObserveError> {
        let name = self.network.name.clone();
        // A chain that lies in its plugin's storage does not change while it is read.
        let simulations = Arc::clone(&self.app.simulations);
        let _turn = if self.network.is_simulated() { Some(simulations.turn().await) } else { None };
        let asked = self.app.clock.passed();
        let mut conn = self.app.db.read().await?;
        let cursor = chain::cursor(&mut conn, &name).await?;
        let known = self.finality(&mut conn, cursor.as_ref(), asked).await?;
        drop(conn);
        if cursor.as_ref().is_some_and(|cursor| cursor.frozen.is_some()) {
            return Ok(Step::Frozen);
        }
        let looked = self.look(cursor.as_ref(), known).await?;
        if known.is_none() {
            self.finality_at = Some(asked);
        }
        let found = match looked {
            Look::Still => {
                self.violations = 0;
                self.rhythm.nothing();
                self.app.chain_clock.still(&name);
                return Ok(Step::Still);
            }
            Look::Violation { upstream, height } => return self.violation(upstream, height).await,
            Look::Found(found) => found,
        };
        self.violations = 0;
        let head = found.scan.head.height;
        let blocks = found.scan.blocks.len();
        let base = found.base.as_ref().map_or(head, |base| base.height);
        let last = found.scan.blocks.last().map_or(base, |block| block.height);
        self.rhythm.found(&found.scan.blocks, last < head, asked);
        let (cursor, changed) = self.commit(cursor, found, fence).await?;
        self.app.chain_clock.saw(&cursor);
        if changed > 0 {
            self.app.wake.settle.notify_waiters();
        }
        progress::measure(&self.network.name, (last, head), blocks, changed);
        self.compare_clocks();
        self.progress.read(&self.network.name, last, head);
        Ok(Step::Read { blocks, more: last < head })
    }

    /// Asks the plugin for the blocks after the cursor, and goes back if a reorg removed the cursor's block.
    async fn look(
        &self,
        cursor: Option<&chain::Cursor>,
        known: Option<Finality>,
    ) -> Result<Look, ObserveError> {
        let Some(cursor) = cursor else {
            let (scan, called) = self.scan(None, None).await?;
            return Ok(Look::Found(Found { base: None, scan, writes: called.0 }));
        };
        let from = Position { height: cursor.height, hash: cursor.hash.clone() };
        let (scan, called) = self.scan(Some(&from), known).await?;
        match observation::course(&scan, &from) {
            Course::Behind => Err(self.bad(called.1, Verdict::Behind, "its head is behind what was read")),
            // What the plugin stored belongs to its answer, though it has read no block yet.
            Course::Still if scan_moves(&scan, cursor) || !called.0.entries.is_empty() => {
                Ok(Look::Found(Found { base: Some(from), scan, writes: called.0 }))
            }
            Course::Still => Ok(Look::Still),
            Course::Forward => Ok(Look::Found(Found { base: Some(from), scan, writes: called.0 })),
            Course::Reorg => self.look_back(cursor).await,
        }
    }

    /// Goes back over the stored blocks to one that the chain's blocks follow on.
    async fn look_back(&self, cursor: &chain::Cursor) -> Result<Look, ObserveError> {
        let mut conn = self.app.db.read().await?;
        let kept = chain::blocks_from(&mut conn, &self.network.name, cursor.r#final).await?;
        drop(conn);
        let blocks_max = i64::from(self.app.config.watch.blocks_per_scan);
        let (mut step, mut height) = (1, cursor.height);
        loop {
            height -= step;
            step = observation::next_step(step, blocks_max);
            // The lowest kept block is the last try.
            let Some(block) = kept.iter().find(|b| b.height <= height).or_else(|| kept.last()) else {
                return Err(ObserveError::Upstream("no kept blocks to compare with".to_owned()));
            };
            let from = Position { height: block.height, hash: block.hash.clone() };
            let (scan, called) = self.scan(Some(&from), None).await?;
            match observation::course(&scan, &from) {
                Course::Forward => {
                    let reached = scan.blocks.last().map_or(0, |b| b.height);
                    if scan.head.height < cursor.height && reached == scan.head.height {
                        // The new branch is still shorter than what was read: it may yet lose.
                        return Err(self.bad(called.1, Verdict::Behind, "it shows a shorter branch"));
                    }
                    tracing::warn!(
                        network = self.network.name,
                        height = block.height,
                        "reorg: read again from here"
                    );
                    return Ok(Look::Found(Found { base: Some(from), scan, writes: called.0 }));
                }
                Course::Still | Course::Behind => {
                    return Err(self.bad(called.1, Verdict::Behind, "it shows a shorter branch"));
                }
                Course::Reorg if kept.last().is_some_and(|lowest| lowest.height == block.height) => {
                    return Ok(Look::Violation { upstream: called.1, height: block.height });
                }
                Course::Reorg => {}
            }
        }
    }

    /// Makes one scan and checks it. Reports failures to the upstreams.
    async fn scan(
        &self,
        from: Option<&Position>,
        known: Option<Finality>,
    ) -> Result<(Scan, (StorageWrites, Option<UpstreamId>)), ObserveError> {
        let watch = &self.app.config.watch;
        let limits = ScanLimits {
            blocks: watch.blocks_per_scan,
            transfers: watch.transfers_per_scan,
            known,
            next_is_head: known.is_some() && self.rhythm.expects_one(),
            more: Vec::new(),
        };
        let called = match beside::scan(&self.app, &self.network, from, &limits).await {
            Ok(called) => called,
            Err(CallFailed { error, upstream, .. }) => {
                let why = error.to_string();
                self.report(upstream, Verdict::Bad(why.clone()));
                return Err(ObserveError::Plugin(why));
            }
        };
        let Called { value, writes, upstream, version_id, .. } = called;
        tracing::trace!(network = self.network.name, version_id, "scanned");
        let result = match value {
            Ok(result) => result,
            Err(error) => return Err(self.scan_failed(upstream, error)),
        };
        let checked = report::checked(result, from, &self.network, &limits);
        match checked {
            Ok(scan) => {
                // At once, since an upstream on probation is lent once a verdict, and a step may scan again.
                let head = u64::try_from(scan.head.height).unwrap_or(0);
                self.report(upstream.clone(), Verdict::Good { head });
                self.app.health.heard(&self.network.name);
                Ok((scan, (writes, upstream)))
            }
            Err(why) => Err(self.bad(upstream, Verdict::Bad(why.to_string()), &why.to_string())),
        }
    }

    /// Handles a branch below the final block: first another upstream is asked, then the network is frozen.
    async fn violation(&mut self, upstream: Option<UpstreamId>, height: i64) -> Result<Step, ObserveError> {
        self.violations += 1;
        let why = format!("the chain no longer holds block {height}, which was final");
        if self.violations < VIOLATIONS_TO_FREEZE {
            return Err(self.bad(upstream, Verdict::Bad(why.clone()), &why));
        }
        let (name, now) = (self.network.name.clone(), self.app.clock.now());
        tracing::error!(
            network = name,
            height,
            "FROZEN: {why}; look at it, then `kassa network unfreeze {name}`"
        );
        metrics::gauge!("kassa_network_frozen", "network" => name.clone()).set(1);
        self.app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { chain::freeze(conn, &name, &why, now).await })
            })
            .await?;
        Ok(Step::Frozen)
    }

    /// Commits transfers, blocks, the plugin's storage and the cursor in one transaction. Returns the cursor as it is
    /// now, and the number of transfers changed.
    async fn commit(
        &self,
        cursor: Option<chain::Cursor>,
        found: Found,
        fence: i64,
    ) -> Result<(chain::Cursor, usize), ObserveError> {
        let (network, ids, now) = (Arc::clone(&self.network), self.app.ids.clone(), self.app.clock.now());
        self.app
            .db
            .write(move |conn| {
                Box::pin(async move { commit::commit(conn, &network, cursor, found, fence, &ids, now).await })
            })
            .await
    }

    /// Warns when this machine's clock and the chain's blocks begin to differ.
    fn compare_clocks(&mut self) {
        let Some(ahead_ms) = self.app.chain_clock.ahead(&self.network) else { return };
        let name = &self.network.name;
        metrics::gauge!("kassa_clock_ahead_seconds", "network" => name.clone())
            .set(progress::gauge(ahead_ms / 1000));
        let differs = ChainClock::differs(ahead_ms);
        if differs && !self.clock_differs {
            tracing::warn!(
                network = name,
                ahead_s = ahead_ms / 1000,
                "this machine's clock and the chain's blocks differ by minutes: set the clock (NTP). Deadlines go by the \
                 chain meanwhile"
            );
        }
        self.clock_differs = differs;
    }
}

/// True if a scan without blocks has news all the same: a new final or safe block.
fn scan_moves(scan: &Scan, cursor: &chain::Cursor) -> bool {
    scan.r#final.min(cursor.height) > cursor.r#final || scan.safe > cursor.safe
}
