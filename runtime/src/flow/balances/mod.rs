//! Balances: notices native coin that shows in no transaction's top level, on networks where nobody traces.
//!
//! One worker a network, beside the watcher. Whoever is waited for in the native coin has a row in `balance` from the
//! final block at which the invoice was made; what the address holds is read there and at each later final block, and
//! what it holds more than the transfers explain is listed for a person ([`listing`]). Only final blocks are compared,
//! so that no reorg makes a rise; and the watcher has read them, so that what was seen in them is known.
//!
//! A rise is never matched: the transfers that it is made of may yet be seen themselves. What was spent between two looks
//! hides as much. Before one is listed another provider is asked, if there is one, and the lower answer is believed.
//!
//! Trouble is waited out. Only where providers know the present final block and not the one of a first look, that comes
//! too late for what they keep; it is then made at the present one, with a warning.

mod listing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use self::listing::{At, Look};
use crate::{
    app::App,
    db::{DbError, balances, chain},
    domain::{
        Millis,
        balance::{self, Watched},
        id::UpstreamId,
        money::Amount,
        network::Manifest,
    },
    flow::{
        again::{self, AgainError},
        first_calls::{First, SetAside, guarded},
    },
    host::{BalanceError, Called, Point, ScanError},
    upstreams::Verdict,
};

/// Maximum number of addresses of one step, each at up to two blocks.
const ADDRESSES_PER_STEP: i64 = 100;
/// Rest after a step, in polls of the network: a rise is for a person to decide, and need not be noticed at once.
const REST_POLLS: u64 = 5;
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(10);
/// Bounds of the pause after a failure, which doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Number of failures in a row after which first looks move to a later block, if all upstreams know balances there;
/// counted per upstream if there are many.
const FAILURES_MAX: u32 = 6;
const FAILURES_PER_UPSTREAM: u32 = 2;
/// The same number while an upstream is away that may keep older blocks than the others: about an hour.
const FAILURES_AWAY_MAX: u32 = 120;

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is no address to look at.
    Idle,
    /// Another replica compares this network.
    NotOurs,
    /// Balances were compared; `more` if further addresses are due.
    Looked { rises: usize, more: bool },
    /// A step cannot be made before this time has passed.
    Waits(Duration),
}

/// Compares the balances of one network until told to stop.
pub(crate) async fn run(app: App, network: Arc<Manifest>, stop: CancellationToken) {
    let mut worker = Worker::new(app, network);
    loop {
        let began = Instant::now();
        let wait = match worker.step().await {
            // As long as the step took.
            Ok(Step::Looked { more: true, .. }) => began.elapsed().clamp(REST_MIN, REST_MAX),
            Ok(Step::Idle | Step::NotOurs | Step::Looked { .. }) => worker.rest(),
            Ok(Step::Waits(wait)) => wait,
            Err(error) => {
                if error.trouble().is_none() {
                    tracing::error!(network = worker.network.name, %error, "balances cannot be compared; tried again");
                }
                worker.rest()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The balances of one network.
pub(crate) struct Worker {
    app: App,
    network: Arc<Manifest>,
    /// Upstreams that gave no answer. They are asked again once none has.
    passed_over: Vec<UpstreamId>,
    failures: u32,
    first: First,
    /// Time of the cursor's last move, as of the first failure.
    failed_at: Option<Millis>,
}

impl Worker {
    pub(crate) fn new(app: App, network: Arc<Manifest>) -> Self {
        Self { app, network, passed_over: Vec::new(), failures: 0, first: First::New, failed_at: None }
    }

    /// Makes one step: choose, ask, commit.
    pub(crate) async fn step(&mut self) -> Result<Step, DbError> {
        if self.first == First::New && !self.app.host.has_balances(&self.network) {
            return self.compare().await;
        }
        let (app, network, resource, mut first) =
            (self.app.clone(), Arc::clone(&self.network), self.resource(), self.first);
        let step = guarded(&app, &network, &resource, &mut first, Box::pin(self.compare())).await;
        self.first = first;
        step?.unwrap_or_else(|SetAside| Ok(Step::Waits(self.rest())))
    }

    async fn compare(&mut self) -> Result<Step, DbError> {
        match self.app.host.compares(&self.network).await {
            Ok(true) => {}
            Ok(false) => return Ok(Step::Idle),
            Err(error) => {
                tracing::warn!(network = self.network.name, %error, "nobody can say whether balances are needed");
                return Ok(Step::Waits(self.rest()));
            }
        }
        let mut conn = self.app.db.read().await?;
        let cursor = chain::cursor(&mut conn, &self.network.name).await?;
        let Some(cursor) = cursor.filter(|cursor| cursor.frozen.is_none()) else { return Ok(Step::Idle) };
        let to = cursor.r#final;
        // It may have moved on in between; then the next step finds it.
        let Some((hash, time)) = chain::kept(&mut conn, &self.network.name, to).await? else {
            return Ok(Step::Idle);
        };
        let mut all = balances::due(&mut conn, &self.network.name, to, ADDRESSES_PER_STEP).await?;
        drop(conn);
        let Some(first) = all.first().cloned() else { return Ok(Step::Idle) };
        let more = i64::try_from(all.len()).unwrap_or(0) >= ADDRESSES_PER_STEP;
        if self.app.leases.claim(&self.resource()).await?.is_none() {
            return Ok(Step::NotOurs);
        }
        if self.failures > 0 {
            // Only those that may be the reason.
            all.retain(|one| one.height == first.height);
        }
        match self.look(all, At { height: to, hash, time }).await {
            Ok(rises) => {
                (self.failures, self.failed_at) = (0, None);
                Ok(Step::Looked { rises, more })
            }
            Err(error) => self.trouble(&cursor, &first, error).await,
        }
    }

    /// Compares the balances of these addresses at a final block. Returns the number of rises listed.
    async fn look(&self, all: Vec<Watched>, at: At) -> Result<usize, AgainError> {
        let to = at.height;
        let mut points = Vec::with_capacity(all.len() * 2);
        for one in &all {
            if one.amount.is_none() {
                points.push((one.address.clone(), one.height));
            }
            if one.height < to {
                points.push((one.address.clone(), to));
            }
        }
        let (answers, upstream) = self.ask(&points, &self.passed_over).await?;
        let mut answers = answers.into_iter();
        let mut looks = Vec::with_capacity(all.len());
        for watched in all {
            // As many as there are points.
            let base = watched.amount.or_else(|| answers.next()).unwrap_or(Amount::ZERO);
            let held = if watched.height < to { answers.next().unwrap_or(base) } else { base };
            looks.push(Look { watched, base, held });
        }
        if let Some(upstream) = upstream {
            self.ask_another(&mut looks, to, upstream).await?;
        }
        let listed = listing::commit(&self.app, &self.network, looks, at).await?;
        if listed > 0 {
            self.app.wake.settle.notify_waiters();
        }
        Ok(listed)
    }

    /// Asks another upstream, if there is one, about balances higher than the transfers seen explain.
    async fn ask_another(&self, looks: &mut [Look], to: i64, upstream: UpstreamId) -> Result<(), AgainError> {
        let mut conn = self.app.db.read().await.map_err(AgainError::Db)?;
        let arrived = listing::arrived(&mut conn, &self.network, looks, to).await?;
        drop(conn);
        let mut risen: Vec<&mut Look> =
            looks.iter_mut().filter(|look| look.rise(to, &arrived).is_some()).collect();
        let passed_over: Vec<UpstreamId> = self.passed_over.iter().cloned().chain([upstream]).collect();
        if risen.is_empty() || passed_over.len() >= self.upstreams() {
            return Ok(());
        }
        let points: Vec<_> = risen.iter().map(|look| (look.watched.address.clone(), to)).collect();
        match self.ask(&points, &passed_over).await {
            Ok((held, _)) => {
                for (look, held) in risen.iter_mut().zip(held) {
                    if held != look.held {
                        let (network, address) = (&self.network.name, &look.watched.address);
                        tracing::warn!(
                            network,
                            address,
                            height = to,
                            "providers do not agree about what it holds"
                        );
                    }
                    look.held = look.held.min(held);
                }
            }
            Err(AgainError::Db(error)) => return Err(error.into()),
            // A second one that keeps no state is no reason to hold up the first.
            Err(error) => {
                tracing::debug!(network = self.network.name, %error, "no other provider knows what is held");
            }
        }
        Ok(())
    }

    /// Asks for the balances at these points. Returns them with the upstream that answered.
    async fn ask(
        &self,
        points: &[(String, i64)],
        passed_over: &[UpstreamId],
    ) -> Result<(Vec<Amount>, Option<UpstreamId>), AgainError> {
        let point = |(address, height): &(String, i64)| Point {
            address: address.clone(),
            height: u64::try_from(*height).unwrap_or(0),
        };
        let asked: Vec<Point> = points.iter().map(point).collect();
        let called = self.app.host.balances(&self.network, &asked, passed_over).await;
        let Called { value, upstream, .. } =
            called.map_err(|failed| again::call_failed(&self.app, &self.network, failed))?;
        let error = match value {
            Ok(held) if held.len() == points.len() => {
                if let Some(id) = &upstream {
                    self.app.upstreams.report(&self.network.name, id, Verdict::Past);
                }
                return Ok((held.into_iter().map(Amount::from).collect(), upstream));
            }
            Ok(held) => ScanError::Malformed(format!("{} balances of {} points", held.len(), points.len())),
            Err(BalanceError::Upstream(why)) => ScanError::Upstream(why),
            Err(BalanceError::RateLimited(ms)) => ScanError::RateLimited(ms),
            Err(BalanceError::Malformed(why)) => ScanError::Malformed(why),
            Err(BalanceError::WrongNetwork(id)) => ScanError::WrongNetwork(id),
            Err(BalanceError::Settings(why)) => ScanError::Settings(why),
            Err(BalanceError::Other(why)) => ScanError::Other(why),
        };
        Err(again::scan_failed(&self.app, &self.network, upstream, error))
    }

    /// Counts the upstreams that know an address's balance at the end of a block.
    async fn knowing(&self, address: &str, height: i64) -> Result<usize, DbError> {
        let (mut knowing, mut asked) = (0, Vec::new());
        for _ in 0..self.upstreams() {
            match self.ask(&[(address.to_owned(), height)], &asked).await {
                Ok((_, upstream)) => {
                    knowing += 1;
                    asked.extend(upstream);
                }
                Err(AgainError::Unanswered { upstream: Some(id), .. }) => asked.push(id),
                Err(AgainError::Db(error)) => return Err(error),
                // None is left to ask.
                Err(_) => break,
            }
        }
        Ok(knowing)
    }

    /// Decides how to go on after a look that failed.
    async fn trouble(
        &mut self,
        cursor: &chain::Cursor,
        first: &Watched,
        error: AgainError,
    ) -> Result<Step, DbError> {
        let why = error.to_string();
        match error {
            AgainError::Db(error) => return Err(error),
            AgainError::Wait { ms, .. } => return Ok(Step::Waits(Duration::from_millis(ms).min(PAUSE_MAX))),
            AgainError::Stale | AgainError::Frozen | AgainError::NotStarted => {
                return Ok(Step::Waits(self.rest()));
            }
            AgainError::Unanswered { upstream, .. } => match upstream {
                Some(id) => self.passed_over.push(id),
                None => self.passed_over.clear(),
            },
        }
        if self.passed_over.len() >= self.upstreams() {
            self.passed_over.clear();
        }
        self.failures += 1;
        self.app.leases.failed(&self.resource(), self.failures).await?;
        let read_on = *self.failed_at.get_or_insert(cursor.moved_at) != cursor.moved_at;
        let network = &self.network.name;
        tracing::warn!(network, failures = self.failures, why, "balances cannot be compared; it waits");
        metrics::counter!("kassa_balance_failures_total", "network" => network.clone()).increment(1);
        let (lowest, to) = (first.height, cursor.r#final);
        let per_upstream =
            u32::try_from(self.upstreams()).unwrap_or(u32::MAX).saturating_mul(FAILURES_PER_UPSTREAM);
        if read_on && lowest < to && self.failures >= FAILURES_MAX.max(per_upstream) {
            let knowing = self.knowing(&first.address, to).await?;
            if knowing == 0 || (knowing < self.upstreams() && self.failures < FAILURES_AWAY_MAX) {
                return Ok(self.pause());
            }
            let name = network.clone();
            let moved = self.app.db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move { balances::begin_later(conn, &name, lowest, to).await })
            });
            let moved = moved.await?;
            if moved > 0 {
                tracing::error!(
                    network,
                    addresses = moved,
                    from = lowest,
                    to,
                    "no provider knows what was held at a block: what contracts sent up to `to` is not noticed. Add a \
                     provider that keeps what is final (an archive node)"
                );
                (self.failures, self.failed_at) = (0, None);
            }
        }
        Ok(self.pause())
    }

    fn resource(&self) -> String {
        format!("balances/{}", self.network.name)
    }

    fn pause(&self) -> Step {
        Step::Waits((PAUSE_MIN * 2_u32.saturating_pow(self.failures.min(16))).min(PAUSE_MAX))
    }

    fn rest(&self) -> Duration {
        let polls = self.network.poll_ms.saturating_mul(REST_POLLS);
        Duration::from_millis(polls).clamp(REST_MIN, REST_MAX)
    }

    fn upstreams(&self) -> usize {
        self.app.upstreams.status(&self.network.name).len().max(1)
    }
}

impl Look {
    fn rise(&self, to: i64, arrived: &[balance::Arrived]) -> Option<Amount> {
        balance::unexplained(&self.watched, self.base, to, self.held, arrived)
    }
}
