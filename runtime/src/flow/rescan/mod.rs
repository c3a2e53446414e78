//! Rescan: reads a range of blocks again that the operator names, beside the running watcher.
//!
//! One worker a network, and one rescan at a time: it claims, reads some blocks, commits what is new together with how far
//! it got, and rests. Where it is to begin at a time, it looks for the block of that time first. It survives restarts; a
//! lease keeps replicas from doing the same work, and its row moves only from where it was read. The watcher goes first:
//! a rescan rests as long as it worked, and longer while the watcher is behind.
//!
//! Trouble is waited out. Where new blocks are read all the same, it is the range that nobody has, and the rescan is given
//! up soon, with the reason.

pub(crate) mod order;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    db::{
        DbError, chain, first_calls,
        rescans::{self, Rescan},
    },
    domain::{
        id::{RescanId, UpstreamId},
        network::Manifest,
        observation::Position,
        rescan::{Next, Search, State},
    },
    flow::{
        again::{self, AgainError},
        first_calls::{First, SetAside, guarded},
    },
};

/// Time between looks for rescans that other replicas accepted.
const POLL: Duration = Duration::from_secs(5);
/// Bounds of the rest after a step, which is as long as the step took.
const REST_MIN: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(5);
/// Bounds of the pause after a failure, which doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Number of failures in a row after which a rescan is given up while the network itself is being read; counted per
/// upstream if there are many.
const FAILURES_MAX: u32 = 6;
const FAILURES_PER_UPSTREAM: u32 = 2;
/// The same number while the network is not being read either: about two hours.
const FAILURES_MAX_AWAY: u32 = 250;

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is nothing to do.
    Idle,
    /// Another replica works on the rescans of this network.
    NotOurs,
    /// The rescan has advanced.
    Moved,
    /// The rescan has ended.
    Ended(State),
    /// A step cannot be made before this time has passed.
    Waits(Duration),
}

/// Works on the rescans of one network until told to stop.
pub(crate) async fn run(app: App, network: Arc<Manifest>, stop: CancellationToken) {
    let bells = Arc::clone(&app.wake.rescan);
    let mut worker = Worker::new(app, network);
    loop {
        let bell = bells.notified();
        let began = Instant::now();
        let wait = match worker.step().await {
            Ok(Step::Idle | Step::NotOurs) => POLL,
            Ok(Step::Moved | Step::Ended(_)) => worker.rest(began.elapsed()),
            Ok(Step::Waits(wait)) => wait,
            Err(error) => {
                if error.trouble().is_none() {
                    tracing::error!(network = worker.network.name, %error, "a rescan cannot go on; it tries again");
                }
                POLL
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The rescans of one network.
pub(crate) struct Worker {
    app: App,
    network: Arc<Manifest>,
    /// The rescan under way.
    current: Option<Current>,
    first: First,
    /// True if the watcher was seen to be behind.
    watcher_lags: bool,
}

/// State of a rescan that exists only while it runs here.
struct Current {
    id: RescanId,
    search: Option<Search>,
    /// Upstreams that gave no answer. They are asked again once none has.
    passed_over: Vec<UpstreamId>,
    failures: u32,
    /// The cursor as of the first failure.
    failed_at: Option<chain::Cursor>,
}

impl Current {
    fn of(rescan: &Rescan) -> Self {
        Self { id: rescan.id.clone(), search: None, passed_over: Vec::new(), failures: 0, failed_at: None }
    }
}

impl Worker {
    pub(crate) fn new(app: App, network: Arc<Manifest>) -> Self {
        Self { app, network, current: None, first: First::New, watcher_lags: false }
    }

    /// Makes one step: claim, read, commit.
    pub(crate) async fn step(&mut self) -> Result<Step, DbError> {
        let mut conn = self.app.db.read().await?;
        let Some(rescan) = rescans::running(&mut conn, &self.network.name).await? else {
            self.current = None;
            return Ok(Step::Idle);
        };
        let cursor = chain::cursor(&mut conn, &self.network.name).await?;
        drop(conn);
        if self.app.leases.claim(&self.resource()).await?.is_none() {
            return Ok(Step::NotOurs);
        }
        let Some(cursor) = cursor else { return Ok(Step::Waits(POLL)) };
        let behind = i64::from(self.app.config.watch.blocks_per_scan);
        self.watcher_lags = cursor.head - cursor.height > behind;
        let mut current = match self.current.take() {
            Some(current) if current.id == rescan.id => current,
            _ => Current::of(&rescan),
        };
        let mut first = self.first;
        let work = async {
            match rescan.next {
                Some(next) => self.read(&rescan, next, &current).await,
                None => self.look_for_start(&rescan, &cursor, &mut current).await,
            }
        };
        let went = guarded(&self.app, &self.network, &self.resource(), &mut first, Box::pin(work)).await;
        self.first = first;
        let went = match went? {
            Ok(went) => went,
            Err(SetAside) => return self.set_aside(&rescan).await,
        };
        let step = match went {
            Ok(step) => {
                (current.failures, current.failed_at) = (0, None);
                step
            }
            Err(error) => self.trouble(&rescan, &cursor, &mut current, error).await?,
        };
        self.current = Some(current);
        Ok(step)
    }

    /// Reads the next blocks of the range.
    async fn read(&self, rescan: &Rescan, next: i64, current: &Current) -> Result<Step, AgainError> {
        let from = Position { height: next - 1, hash: rescan.parent.clone() };
        let told = again::read(&self.app, &self.network, &from, rescan.to, &current.passed_over).await?;
        let last = told.last().height;
        let taken = again::take_in(&self.app, &self.network, told, Some(rescan.clone())).await?;
        tracing::debug!(
            network = self.network.name,
            id = rescan.id.as_str(),
            last,
            found = taken.found,
            "read again"
        );
        if last < rescan.to {
            return Ok(Step::Moved);
        }
        let found = rescan.found + taken.found;
        tracing::info!(network = self.network.name, id = rescan.id.as_str(), found, "a rescan is done");
        Ok(Step::Ended(State::Done))
    }

    /// Makes one step of the search for the block that the rescan begins with.
    async fn look_for_start(
        &self,
        rescan: &Rescan,
        cursor: &chain::Cursor,
        current: &mut Current,
    ) -> Result<Step, AgainError> {
        let since = rescan.since.unwrap_or(0);
        let search = current.search.get_or_insert_with(|| Search::new(since, (cursor.height, cursor.time)));
        match search.next() {
            Next::Probe(height) => {
                let from = Position { height: height - 1, hash: String::new() };
                let passed_over = &current.passed_over;
                let told = again::read(&self.app, &self.network, &from, height, passed_over).await?;
                if let Some(block) = told.scan.blocks.first() {
                    search.tell(height, block.time);
                }
                Ok(Step::Moved)
            }
            Next::Found(from) if from > rescan.to => {
                let why =
                    format!("the first block of that time is {from}, above the last one that is asked for");
                Ok(self.give_up(rescan, why).await?)
            }
            Next::Found(from) => {
                let id = rescan.id.clone();
                self.app
                    .db
                    .write::<_, DbError, _>(move |conn| {
                        Box::pin(async move { rescans::begin(conn, &id, from).await })
                    })
                    .await?;
                tracing::info!(
                    network = self.network.name,
                    id = rescan.id.as_str(),
                    from,
                    "a rescan knows where to begin"
                );
                Ok(Step::Moved)
            }
            Next::GiveUp(why) => Ok(self.give_up(rescan, why).await?),
        }
    }

    /// Decides how to go on after a step that failed.
    async fn trouble(
        &self,
        rescan: &Rescan,
        cursor: &chain::Cursor,
        current: &mut Current,
        error: AgainError,
    ) -> Result<Step, DbError> {
        let why = error.to_string();
        match error {
            AgainError::Db(error) => return Err(error),
            AgainError::Stale => return Ok(Step::Moved),
            AgainError::Wait { ms, .. } => return Ok(Step::Waits(Duration::from_millis(ms).min(PAUSE_MAX))),
            AgainError::Frozen | AgainError::NotStarted => {
                self.held_up(rescan, why).await?;
                return Ok(Step::Waits(POLL));
            }
            AgainError::Unanswered { upstream, .. } => match upstream {
                Some(id) => current.passed_over.push(id),
                None => current.passed_over.clear(),
            },
        }
        if current.passed_over.len() >= self.upstreams() {
            current.passed_over.clear();
        }
        current.failures += 1;
        let failed_at = current.failed_at.get_or_insert_with(|| cursor.clone());
        let read_on = failed_at.moved_at != cursor.moved_at || self.network.is_simulated();
        let per_upstream =
            u32::try_from(self.upstreams()).unwrap_or(u32::MAX).saturating_mul(FAILURES_PER_UPSTREAM);
        let most = if read_on { FAILURES_MAX.max(per_upstream) } else { FAILURES_MAX_AWAY };
        let at = rescan.next.map_or_else(|| "the first block".to_owned(), |next| format!("block {next}"));
        let why = format!("{at} could not be read again: {why}");
        tracing::warn!(
            network = self.network.name,
            id = rescan.id.as_str(),
            failures = current.failures,
            why,
            "a rescan waits"
        );
        if current.failures >= most {
            let why = format!(
                "{why}. A provider may not keep blocks so old: add one that does (an archive node), then rescan from there"
            );
            return self.give_up(rescan, why).await;
        }
        let failures = current.failures;
        self.app.leases.failed(&self.resource(), failures).await?;
        self.held_up(rescan, why).await?;
        Ok(Step::Waits((PAUSE_MIN * 2_u32.saturating_pow(failures.min(16) - 1)).min(PAUSE_MAX)))
    }

    /// Ends a rescan that ended the process too often. A new one takes a new request.
    async fn set_aside(&mut self, rescan: &Rescan) -> Result<Step, DbError> {
        let step = self.give_up(rescan, SetAside::why(&self.network)).await?;
        let resource = self.resource();
        self.app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { first_calls::heard(conn, &resource).await })
            })
            .await?;
        self.first = First::New;
        Ok(step)
    }

    fn resource(&self) -> String {
        format!("rescan/{}", self.network.name)
    }

    fn upstreams(&self) -> usize {
        self.app.upstreams.status(&self.network.name).len().max(1)
    }

    async fn held_up(&self, rescan: &Rescan, why: String) -> Result<(), DbError> {
        if rescan.error.as_ref() == Some(&why) {
            return Ok(());
        }
        let id = rescan.id.clone();
        self.app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { rescans::held_up(conn, &id, &why).await })
            })
            .await
    }

    async fn give_up(&self, rescan: &Rescan, why: String) -> Result<Step, DbError> {
        tracing::error!(network = self.network.name, id = rescan.id.as_str(), why, "a rescan is given up");
        let (id, now) = (rescan.id.clone(), self.app.clock.now());
        self.app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { rescans::end(conn, &id, State::Failed, Some(&why), now).await })
            })
            .await?;
        Ok(Step::Ended(State::Failed))
    }

    /// Time for which the providers are left to the watcher.
    fn rest(&self, worked: Duration) -> Duration {
        if self.watcher_lags { REST_MAX } else { worked.clamp(REST_MIN, REST_MAX) }
    }
}
