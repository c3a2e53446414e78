//! Fulfil: calls the hooks that an event is owed to, and writes down what came of it.
//!
//! A run is made at least once: a claim lasts for a lease, so what was claimed by a worker that died is claimed
//! again, under the same id. What a call wrote into its storage, the webhooks that it queued and its outcome are
//! one transaction; only what it sent over HTTP has happened, and carries the run's id for that reason.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    call::{self, Effects, Failed, NOTE_CHARS_MAX, Ready, named, ready, used},
    queue::{self, LEASE_MARGIN_MS, RunOutcome, SLOW},
    replay,
};
use crate::{
    app::App,
    db::{
        DbError,
        disk::DiskLimit,
        events,
        hooks::{
            run_queue::{self, DueHook, DueRun, Ended, Finish},
            runs::Attempt,
        },
    },
    domain::{
        Millis,
        event::{
            Data, NewEvent,
            data::{EventNamed, HookRunEvent, RunNamed},
        },
        hook::{self, Outcome},
        id::{HookId, MerchantId},
        retry::{Next, UNHEARD_MAX},
    },
    host::{CallError, CallFailed, Called, Tape, Trace, fulfiller, one_line},
};

/// Time between evictions of idle hooks from memory.
const LET_GO_EVERY: Duration = Duration::from_secs(60);
/// Time between deletions of compiled code that no hook has any more.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Runs until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    tokio::join!(queue::run::<Runs>(&app, &stop), tidy_up(&app, &stop));
}

struct Runs;

impl queue::Queue for Runs {
    const NAME: &'static str = "hook runs";
    type Item = DueRun;

    fn bell(app: &App) -> &Notify {
        &app.wake.fulfill
    }

    async fn due(app: &App, now: Millis) -> Result<Vec<DueHook>, DbError> {
        run_queue::due_hooks(&mut app.db.read().await?, now).await
    }

    async fn claim(app: &App, hooks: Vec<(HookId, usize)>, now: Millis) -> Result<Vec<DueRun>, DbError> {
        let wall_ms = Millis::try_from(app.config.hooks.wall_ms).unwrap_or(Millis::MAX / 2);
        let lease_until = now + wall_ms + LEASE_MARGIN_MS;
        app.db.write(move |conn| Box::pin(run_queue::claim(conn, hooks, now, lease_until))).await
    }

    fn owner(claimed: &DueRun) -> (&HookId, &MerchantId) {
        (&claimed.callee.hook_id, &claimed.callee.tenant.merchant)
    }

    fn unheard(claimed: &DueRun) -> i64 {
        claimed.unheard
    }

    async fn make(app: App, claimed: DueRun) -> RunOutcome {
        run_once(&app, claimed).await
    }
}

/// Result of a call of a run.
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) note: String,
    /// Seconds for which the hook asks not to be called.
    asked_s: u32,
    /// `None` if no effect of the call is kept.
    effects: Option<Effects>,
    pub(super) trace: Trace,
    /// True if the run is not made again and its hook is disabled.
    set_aside: bool,
}

/// The committed part of a run.
struct Committed {
    attempt: Attempt,
    slowly: bool,
}

/// Makes the call and commits its result.
async fn run_once(app: &App, claimed: DueRun) -> RunOutcome {
    let claimed = Arc::new(claimed);
    match call::until_fresh(&Making { app, claimed: &claimed }).await {
        Ok((Some(Committed { attempt, slowly }), at_once)) => {
            app.wake.dispatch.notify_one();
            app.wake.deliver.notify_one();
            if let Some(version_id) = &claimed.shadow_id {
                replay::shadow(app, &claimed, version_id, attempt).await;
            }
            match (at_once, slowly) {
                (false, _) => RunOutcome::InTheWay,
                (true, true) => RunOutcome::Slowly,
                (true, false) => RunOutcome::Well,
            }
        }
        // Nothing was called: it is no attempt.
        Ok((None, at_once)) => {
            release(app, &claimed).await;
            if at_once { RunOutcome::Well } else { RunOutcome::InTheWay }
        }
        // Its lease ends, and then it is made again.
        Err(error) if error.is_conflict() => RunOutcome::InTheWay,
        Err(error) => {
            // Its lease ends first: it may have sent requests, and would send them at once again.
            tracing::error!(hook = claimed.callee.hook_id.as_str(), %error, "a hook's run could not be written down");
            RunOutcome::Broken
        }
    }
}

/// A run that is being made.
struct Making<'a> {
    app: &'a App,
    claimed: &'a Arc<DueRun>,
}

impl call::Attempt for Making<'_> {
    /// `None` if nothing was called: there was no permit for it, or it could not be prepared.
    type Committed = Option<Committed>;

    async fn attempt(&self, last: bool) -> Result<Option<Committed>, DbError> {
        let Self { app, claimed } = *self;
        let (at, started) = (app.clock.now(), Instant::now());
        let ending = if claimed.unheard >= UNHEARD_MAX {
            ended_the_process()
        } else {
            match call(app, claimed, at, Tape::record()).await {
                Ok(called) => answered(called),
                Err(Failed::Call(CallFailed { error: CallError::Stale, .. })) if !last => {
                    return Err(DbError::Stale("a hook's storage"));
                }
                Err(Failed::Call(CallFailed { error: CallError::Busy, .. })) => return Ok(None),
                Err(Failed::Call(failed)) => broke(failed),
                Err(Failed::Db(error)) => {
                    tracing::error!(hook = claimed.callee.hook_id.as_str(), %error, "a hook's run could not be prepared");
                    return Ok(None);
                }
            }
        };
        let ended_at = app.clock.now();
        let round = claimed.attempts - claimed.attempts_before + 1;
        let in_round = u32::try_from(round).unwrap_or(u32::MAX);
        let next = match ending.set_aside {
            true => Next::Exhausted,
            false => hook::judge(&claimed.run_id, in_round, ended_at, ending.outcome, ending.asked_s),
        };
        let ended = Ended {
            run_id: claimed.run_id.clone(),
            hook_id: claimed.callee.hook_id.clone(),
            merchant_id: claimed.callee.tenant.merchant.clone(),
            fence: claimed.fence,
            attempt: written(claimed, &ending, at, started),
            in_round,
            next,
        };
        metrics::counter!("kassa_hook_calls_total", "outcome" => ending.outcome.as_str()).increment(1);
        let committed = Committed {
            attempt: ended.attempt.clone(),
            slowly: started.elapsed().saturating_sub(ending.trace.cpu) > SLOW,
        };
        commit(app, Arc::clone(claimed), ended, ending).await?;
        Ok(Some(committed))
    }
}

async fn release(app: &App, claimed: &DueRun) {
    let claim = vec![(claimed.run_id.clone(), claimed.callee.hook_id.clone(), claimed.fence)];
    let now = app.clock.now();
    let released =
        app.db.write(move |conn| Box::pin(async move { run_queue::release(conn, &claim, now).await }));
    if let Err(error) = released.await {
        tracing::warn!(%error, "a hook's run was not given back; its lease ends by itself");
    }
}

/// Calls the claimed version, as of this time.
pub(super) async fn call(
    app: &App,
    claimed: &DueRun,
    at: Millis,
    tape: Tape,
) -> Result<Called<fulfiller::Outcome>, Failed> {
    let Ready { version, of, told } =
        ready(&app.db, &app.vault, &claimed.callee, Some(claimed.run_id.clone())).await?;
    let event = fulfiller::Event {
        id: claimed.event_id.to_string(),
        kind: claimed.event_kind.clone(),
        payload: claimed.payload.clone(),
        more: Vec::new(),
    };
    let context = fulfiller::Context {
        run: claimed.run_id.to_string(),
        attempt: u32::try_from(claimed.attempts + 1).unwrap_or(u32::MAX),
        now_ms: u64::try_from(at).unwrap_or(0),
        settings: told.text().to_owned(),
        more: Vec::new(),
    };
    app.host.hooks().fulfill(&version, of, &event, &context, tape).await.map_err(Failed::Call)
}

pub(super) fn answered(called: Called<fulfiller::Outcome>) -> Ending {
    let (answer, effects, trace) = Effects::of(called);
    let (outcome, note, asked_s) = match answer {
        fulfiller::Outcome::Done(note) => (Outcome::Done, note, 0),
        fulfiller::Outcome::Retry((after_s, why)) => (Outcome::Retry, why, after_s),
        fulfiller::Outcome::Reject(why) => (Outcome::Reject, why, 0),
    };
    Ending {
        outcome,
        note: one_line(&note, NOTE_CHARS_MAX),
        asked_s,
        effects: Some(effects),
        trace,
        set_aside: false,
    }
}

/// Result of a run that is not made again, because it ended the process too often.
fn ended_the_process() -> Ending {
    Ending {
        outcome: Outcome::Failed,
        note: format!(
            "not made again: the server ended {UNHEARD_MAX} times while it ran; the hook is disabled, and the operator was told"
        ),
        asked_s: 0,
        effects: None,
        trace: Trace::default(),
        set_aside: true,
    }
}

pub(super) fn broke(failed: CallFailed) -> Ending {
    Ending {
        outcome: Outcome::Failed,
        note: failed.error.to_string(),
        asked_s: 0,
        effects: None,
        trace: *failed.trace,
        set_aside: false,
    }
}

fn written(claimed: &DueRun, ending: &Ending, at: Millis, started: Instant) -> Attempt {
    let Trace { log, tape, .. } = &ending.trace;
    Attempt {
        number: claimed.attempts + 1,
        at,
        version_id: claimed.callee.version_id.clone(),
        outcome: ending.outcome,
        note: ending.note.clone(),
        used: used(&ending.trace, started),
        log: log.iter().map(|line| json!(line)).collect(),
        tape: json!(tape).to_string(),
    }
}

/// Commits the result of the call in full, or nothing of it.
async fn commit(app: &App, claimed: Arc<DueRun>, ended: Ended, ending: Ending) -> Result<(), DbError> {
    let (now, limit) = (app.clock.now(), DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant));
    app.db
        .write(move |conn| {
            Box::pin(async move {
                let Finish::Written { paused } = run_queue::finish(conn, &ended, limit, now).await? else {
                    return Ok(());
                };
                if ending.set_aside {
                    queue::set_aside(conn, "hook runs", &ended.hook_id, ended.run_id.as_str(), now).await?;
                }
                if let Some(effects) = ending.effects {
                    effects.commit(conn, &claimed.callee, Some(ended.run_id.as_str()), limit, now).await?;
                }
                let tell = match (ended.next, ending.outcome) {
                    (Next::RetryAt(_) | Next::Delivered, _) => None,
                    (_, Outcome::Reject) => Some(Data::HookRunRejected as fn(Box<HookRunEvent>) -> Data),
                    _ => Some(Data::HookRunExhausted as fn(Box<HookRunEvent>) -> Data),
                };
                let failing = paused.then_some(Data::HookRunFailing as fn(Box<HookRunEvent>) -> Data);
                for told_as in tell.into_iter().chain(failing) {
                    let told = told(&claimed, told_as, &ended, now);
                    let event_id = told.id.clone();
                    events::insert(conn, vec![told]).await?;
                    events::caused_by(conn, &event_id, ended.run_id.as_str()).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Event for the merchant about a run that needs attention.
fn told(claimed: &DueRun, told_as: fn(Box<HookRunEvent>) -> Data, ended: &Ended, now: Millis) -> NewEvent {
    let callee = &claimed.callee;
    let data = told_as(Box::new(HookRunEvent {
        hook: named(callee),
        run: RunNamed {
            id: claimed.run_id.clone(),
            attempts: ended.attempt.number,
            note: ended.attempt.note.clone(),
        },
        event: EventNamed { id: claimed.event_id.clone(), r#type: claimed.event_kind.clone() },
    }));
    NewEvent::now(&callee.tenant, &data, now)
}

/// Frees memory and disk of hooks that are idle or gone.
async fn tidy_up(app: &App, stop: &CancellationToken) {
    let mut let_go = tokio::time::interval(LET_GO_EVERY);
    let mut sweep = tokio::time::interval_at(tokio::time::Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = let_go.tick() => app.host.hooks().let_go(),
            _ = sweep.tick() => {
                if let Err(error) = app.host.hooks().sweep().await {
                    tracing::warn!(%error, "compiled code of hooks that are gone was not deleted");
                }
            }
        }
    }
}
