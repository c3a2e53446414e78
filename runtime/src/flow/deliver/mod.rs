//! Deliver: claims deliveries that are due, sends them, and writes down how it went.
//!
//! A delivery is sent at least once: a claim lasts for a lease, so what was claimed by a worker that died is
//! claimed again, with the same `webhook-id`. Nothing is sent inside a transaction. Claims and reports are
//! batched: while one commits, the next one collects. `lanes` decides whose turn it is, `attempt` sends what `form` renders,
//! `domain::retry` says what follows, `reports` when that is written down.

mod attempt;
mod form;
mod lanes;
mod leaving;
mod reports;

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{
    attempt::{Due, Sender, Target},
    form::Forms,
    lanes::{Allowance, Lanes, Limits, Went},
    reports::Reports,
};
use crate::{
    app::App,
    clock::Clock,
    config::Webhooks,
    db::{
        Db, DbError,
        deliveries::{
            queue::{self, Claims},
            report::{self, Ended, Finished},
        },
    },
    domain::{Millis, id::EndpointId, retry::Next},
    outbound::{Outbound, Reach},
    vault::Vault,
};

/// Time between polls: retries fall due, and another replica may have dispatched.
const POLL: Duration = Duration::from_millis(250);
/// Pause after a claim that found endpoints locked or had no room for them.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Time by which a claim outlasts an attempt's timeout, milliseconds. The claims of a process that died wait that long.
const LEASE_MARGIN_MS: Millis = 20_000;
/// Time of the lease, milliseconds, that must remain after an attempt's timeout for its report.
const REPORT_MS: Millis = 5_000;
/// Time in which attempts under way may end after a stop.
const GRACE: Duration = Duration::from_secs(5);

/// Delivers until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let forms = Forms::new(&app);
    let (db, clock, vault) = (app.db.clone(), app.clock.clone(), app.vault.clone());
    let mut worker = Worker::new(db, clock, vault, app.outbound, forms, &app.config.webhooks);
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = true;
    loop {
        worker.start(&mut look);
        tokio::select! {
            () = stop.cancelled() => break,
            Some(done) = worker.work.join_next() => {
                look |= worker.done(done);
                while let Some(done) = worker.work.try_join_next() {
                    look |= worker.done(done);
                }
            }
            () = app.wake.deliver.notified() => look = true,
            _ = poll.tick() => {
                look = true;
                worker.start_leaving();
            }
        }
    }
    if tokio::time::timeout(GRACE, worker.wind_up()).await.is_err() {
        tracing::warn!("some deliveries were under way at the end; they are sent again");
    }
}

/// The deliveries of this process.
pub(crate) struct Worker {
    db: Db,
    vault: Arc<Vault>,
    sender: Sender,
    lanes: Lanes,
    reports: Reports,
    claiming: bool,
    leaving: bool,
    work: JoinSet<Done>,
}

/// A piece of work that has ended.
enum Done {
    Sent(EndpointId, Ended),
    /// The form could not be asked now. It is no attempt.
    NotMade(Due),
    /// The last claim could not look at every endpoint.
    LookAgain,
    /// The attempt panicked (a defect). Its outcome is unknown; it is made again when its lease ends.
    Broken(EndpointId),
    Claimed {
        claims: Result<Claims, DbError>,
        allowance: Arc<Allowance>,
        lease_until: Millis,
    },
    /// The wait for further reports is over.
    Waited,
    Reported {
        reports: Arc<Vec<Ended>>,
        finished: Result<Finished, DbError>,
    },
    Released(Result<(), DbError>),
    /// Deliveries to deleted endpoints were given up.
    Left(Result<(), DbError>),
}

impl Worker {
    pub(crate) fn new(
        db: Db,
        clock: Clock,
        vault: Arc<Vault>,
        outbound: Outbound,
        forms: Forms,
        config: &Webhooks,
    ) -> Self {
        let reach = if config.allow_private { Reach::Any } else { Reach::Public };
        let timeout = Duration::from_secs(config.timeout_s);
        let limits =
            Limits { concurrency: config.concurrency, per_endpoint: config.concurrency_per_endpoint };
        Self {
            db,
            vault,
            sender: Sender { outbound, forms, clock, reach, timeout },
            lanes: Lanes::new(limits),
            reports: Reports::default(),
            claiming: false,
            leaving: false,
            work: JoinSet::new(),
        }
    }

    fn now(&self) -> Millis {
        self.sender.clock.now()
    }

    fn timeout_ms(&self) -> Millis {
        Millis::try_from(self.sender.timeout.as_millis()).unwrap_or(Millis::MAX / 2)
    }

    /// Starts what can be started: attempts, and one claim and one report at a time.
    fn start(&mut self, look: &mut bool) {
        self.start_sends();
        if *look && !self.claiming && self.lanes.room() > 0 {
            *look = false;
            self.start_claim();
        }
        self.start_report(self.lanes.sending());
    }

    fn start_sends(&mut self) {
        let now = self.now();
        let needed = self.timeout_ms() + REPORT_MS;
        while let Some(due) = self.lanes.next() {
            if due.lease_until - now < needed {
                // It waited too long here; when its lease ends it is claimed again.
                self.lanes.dropped(&due.target.endpoint_id);
                continue;
            }
            let sender = self.sender.clone();
            self.work.spawn(async move {
                let endpoint_id = due.target.endpoint_id.clone();
                match AssertUnwindSafe(sender.attempt(&due)).catch_unwind().await {
                    Ok(Some(ended)) => Done::Sent(endpoint_id, ended),
                    Ok(None) => Done::NotMade(due),
                    Err(_) => Done::Broken(endpoint_id),
                }
            });
        }
    }

    fn start_claim(&mut self) {
        self.claiming = true;
        let now = self.now();
        let lease_until = now + self.timeout_ms() + LEASE_MARGIN_MS;
        let (room, allowance) = (self.lanes.room(), Arc::new(self.lanes.allowance()));
        let (db, allowed) = (self.db.clone(), allowance.clone());
        self.work.spawn(async move {
            let claims = db.write(move |conn| {
                Box::pin(async move {
                    queue::claim(conn, now, lease_until, room, |id, failures| allowed.of(id, failures)).await
                })
            });
            Done::Claimed { claims: claims.await, allowance, lease_until }
        });
    }

    /// Starts to write reports, given the number of attempts under way.
    fn start_report(&mut self, under_way: usize) {
        let reports = match self.reports.next(under_way) {
            reports::Next::Write(reports) => reports,
            reports::Next::Wait => {
                self.work.spawn(tokio::time::sleep(reports::WAIT).map(|()| Done::Waited));
                return;
            }
            reports::Next::Nothing => return,
        };
        let (db, now) = (self.db.clone(), self.now());
        self.work.spawn(async move {
            let batch = reports.clone();
            let finished =
                db.write(move |conn| Box::pin(async move { report::finish(conn, &batch, now).await })).await;
            if let Err(error) = &finished {
                if error.trouble().is_none() {
                    tracing::error!(%error, "attempts could not be written down; it tries again");
                }
                tokio::time::sleep(AFTER_ERROR).await;
            }
            Done::Reported { reports, finished }
        });
    }

    fn start_release(&mut self, dues: &[Due]) {
        if dues.is_empty() {
            return;
        }
        let now = self.now();
        let claims: Vec<_> = dues
            .iter()
            .map(|due| {
                let Due { claimed, target, .. } = due;
                (claimed.delivery_id.clone(), target.endpoint_id.clone(), claimed.fence)
            })
            .collect();
        let db = self.db.clone();
        self.work.spawn(async move {
            let released =
                db.write(move |conn| Box::pin(async move { queue::release(conn, &claims, now).await }));
            Done::Released(released.await)
        });
    }

    /// Gives up the deliveries that wait for deleted endpoints.
    fn start_leaving(&mut self) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        let (db, now) = (self.db.clone(), self.now());
        self.work.spawn(async move { Done::Left(leaving::give_up(&db, now).await) });
    }

    /// Handles work that has ended. Returns true if it is worth looking into the queue.
    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) -> bool {
        match done {
            Ok(Done::Sent(endpoint_id, ended)) => {
                count(&ended);
                let went = Went::of(!ended.failed(), ended.duration_ms);
                let hungry = self.lanes.ended(&endpoint_id, went);
                self.reports.push(ended);
                hungry
            }
            Ok(Done::NotMade(due)) => {
                self.lanes.dropped(&due.target.endpoint_id);
                self.start_release(&[due]);
                false
            }
            Ok(Done::Claimed { claims, allowance, lease_until }) => {
                self.claiming = false;
                match claims {
                    Ok(claims) => self.claimed(claims, &allowance, lease_until),
                    Err(error) if error.trouble().is_some() => {}
                    Err(error) => tracing::error!(%error, "deliveries could not be claimed; it tries again"),
                }
                false
            }
            Ok(Done::LookAgain) => true,
            Ok(Done::Waited) => {
                self.reports.waited();
                false
            }
            Ok(Done::Reported { reports, finished }) => {
                self.reports.written();
                self.reported(&reports, finished)
            }
            Ok(Done::Released(Err(error))) => {
                tracing::warn!(%error, "claims were not given back; they end by themselves");
                false
            }
            Ok(Done::Released(Ok(()))) => false,
            Ok(Done::Left(left)) => {
                self.leaving = false;
                if let Err(error) = left
                    && error.trouble().is_none()
                {
                    tracing::warn!(%error, "what waits for deleted endpoints was not given up; it tries again");
                }
                false
            }
            Ok(Done::Broken(endpoint_id)) => {
                tracing::error!(endpoint = %endpoint_id, "an attempt to deliver panicked");
                self.lanes.dropped(&endpoint_id);
                false
            }
            Err(error) => {
                tracing::error!(%error, "a database task of deliver broke");
                (self.claiming, self.leaving) = (false, false);
                self.reports.broken();
                true
            }
        }
    }

    fn claimed(&mut self, claims: Claims, allowance: &Allowance, lease_until: Millis) {
        let now = self.now();
        let mut brought = BTreeSet::new();
        for claim in claims.claims {
            let target = Arc::new(Target::open(&claim, &self.vault, self.sender.reach, now));
            let endpoint_id = target.endpoint_id.clone();
            let due = |claimed| Due { target: target.clone(), claimed, lease_until };
            let dues = claim.deliveries.into_iter().map(due).collect();
            self.lanes.add(&target, claim.failures, claim.more, dues);
            brought.insert(endpoint_id);
        }
        if claims.complete {
            self.lanes.looked(|id| brought.contains(id), allowance);
        } else {
            self.work.spawn(async {
                tokio::time::sleep(LOOK_AGAIN).await;
                Done::LookAgain
            });
        }
    }

    fn reported(&mut self, reports: &[Ended], finished: Result<Finished, DbError>) -> bool {
        match finished {
            Ok(finished) => {
                if finished.stale > 0 {
                    let stale = u64::try_from(finished.stale).unwrap_or(0);
                    metrics::counter!("kassa_deliveries_total", "outcome" => "stale").increment(stale);
                }
                // What waits here for a paused endpoint goes back, to wait where it is kept.
                let dues: Vec<Due> = finished.paused.iter().flat_map(|id| self.lanes.withdraw(id)).collect();
                self.start_release(&dues);
                let failed = reports.iter().filter(|report| report.failed());
                failed.fold(finished.advanced, |look, report| self.lanes.written(&report.endpoint_id) | look)
            }
            Err(_) => {
                self.reports.again(reports);
                false
            }
        }
    }

    /// Lets work under way end, records it, and gives the rest back.
    async fn wind_up(&mut self) {
        loop {
            let dues = self.lanes.withdraw_all();
            self.start_release(&dues);
            self.start_report(0);
            let Some(done) = self.work.join_next().await else { break };
            self.done(done);
        }
    }

    /// Claims due deliveries, sends them and records the results. Returns the number of attempts.
    #[cfg(test)]
    pub(crate) async fn step(&mut self) -> usize {
        let mut attempts = 0;
        let mut look = true;
        self.start_leaving();
        loop {
            self.start(&mut look);
            let Some(done) = self.work.join_next().await else { return attempts };
            attempts += usize::from(matches!(done, Ok(Done::Sent(..))));
            look |= self.done(done);
        }
    }
}

fn count(ended: &Ended) {
    let outcome = match ended.next {
        Next::Delivered => "delivered",
        Next::Skipped => "skipped",
        Next::RetryAt(_) => "failed",
        Next::Exhausted => "exhausted",
        Next::DisableEndpoint => "disabled",
    };
    metrics::counter!("kassa_deliveries_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests;
