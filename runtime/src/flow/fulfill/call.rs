//! One call of a hook's run, and the transaction that it ends as.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde_json::{Value, json};

use crate::{
    app::App,
    db::{
        Conn, DbError, deliveries,
        disk::{self, DiskLimit},
        events,
        hook_runs::{
            Attempt, Used,
            queue::{self, Claimed, Ended, Finish},
        },
        hook_secrets,
        hooks::Callee,
        plugin_storage::StorageWrites,
    },
    domain::{
        Millis,
        event::{
            Data, NewEvent,
            data::{EventNamed, HookNamed, HookRunEvent, RunNamed},
        },
        hook::{self, Outcome},
        retry::Next,
        verbatim::Verbatim,
    },
    flow::{
        hook_work::{self, Ran, SLOW, UNHEARD_MAX},
        replay,
    },
    host::{
        CallError, CallFailed, Called, HookVersion, Manifest, OfMerchant, QueuedWebhook, Secret, Tape, Trace,
        fulfiller, one_line,
    },
};

/// How often a call is made again because others changed the hook's storage under it, before that counts as a
/// failure.
pub(in crate::flow) const STALE_TRIES: u32 = 10;
/// What is kept of a hook's own words.
pub(in crate::flow) const NOTE_CHARS_MAX: usize = 500;

/// What a call leaves to be committed.
pub(in crate::flow) struct Left {
    pub(in crate::flow) outcome: Outcome,
    pub(in crate::flow) note: String,
    asked_s: u32,
    writes: Option<StorageWrites>,
    webhooks: Vec<QueuedWebhook>,
    pub(in crate::flow) trace: Trace,
    /// It is made no more, and its hook is disabled.
    set_aside: bool,
}

/// Makes the call and commits what came of it.
pub(super) async fn run_once(app: &App, claimed: Claimed) -> Ran {
    let claimed = Arc::new(claimed);
    let mut ran = Ran::Well;
    for tried in 1..=STALE_TRIES {
        let (at, started) = (app.clock.now(), Instant::now());
        let called = match () {
            () if claimed.unheard >= UNHEARD_MAX => Ok(None),
            () => call(app, &claimed, at, Tape::record()).await.map(Some),
        };
        let left = match called {
            Ok(Some(called)) => answered(called),
            Ok(None) => ended_the_process(),
            Err(Failed::Call(CallFailed { error: CallError::Stale, .. })) if tried < STALE_TRIES => {
                ran = Ran::InTheWay;
                continue;
            }
            // Nothing was called: it is no attempt.
            Err(Failed::Call(CallFailed { error: CallError::Busy, .. })) => {
                release(app, &claimed).await;
                return ran;
            }
            Err(Failed::Db(error)) => {
                tracing::error!(hook = claimed.callee.hook_id, %error, "a hook's run could not be prepared");
                release(app, &claimed).await;
                return Ran::Broken;
            }
            Err(Failed::Call(failed)) => broke(failed),
        };
        let ended_at = app.clock.now();
        let round = claimed.attempts - claimed.attempts_before + 1;
        let number = u32::try_from(round).unwrap_or(u32::MAX);
        let next = match left.set_aside {
            true => Next::Exhausted,
            false => hook::judge(&claimed.run_id, number, ended_at, left.outcome, left.asked_s),
        };
        let ended = Ended {
            run_id: claimed.run_id.clone(),
            hook_id: claimed.callee.hook_id.clone(),
            merchant_id: claimed.callee.merchant_id.clone(),
            fence: claimed.fence,
            attempt: attempt(&claimed, &left, at, started),
            in_round: number,
            next,
        };
        metrics::counter!("kassa_hook_calls_total", "outcome" => left.outcome.as_str()).increment(1);
        let attempt = ended.attempt.clone();
        if ran == Ran::Well && started.elapsed().saturating_sub(left.trace.cpu) > SLOW {
            ran = Ran::Slowly;
        }
        match commit(app, claimed.clone(), ended, left).await {
            Ok(()) => {
                app.wake.dispatch.notify_one();
                app.wake.deliver.notify_one();
                if let Some(version_id) = &claimed.shadow_id {
                    replay::shadow(app, &claimed, version_id, attempt).await;
                }
                return ran;
            }
            Err(DbError::Stale(_)) => ran = Ran::InTheWay,
            Err(error) => {
                tracing::error!(hook = claimed.callee.hook_id, %error, "a hook's run could not be written down");
                return Ran::Broken;
            }
        }
    }
    // Its lease ends, and then it is made again.
    ran
}

async fn release(app: &App, claimed: &Claimed) {
    let claim = vec![(claimed.run_id.clone(), claimed.callee.hook_id.clone(), claimed.fence)];
    let now = app.clock.now();
    let released = app.db.write(move |conn| Box::pin(async move { queue::release(conn, &claim, now).await }));
    if let Err(error) = released.await {
        tracing::warn!(%error, "a hook's run was not given back; its lease ends by itself");
    }
}

/// Why a call gave no answer.
pub(in crate::flow) enum Failed {
    Db(DbError),
    Call(CallFailed),
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// All that a call needs of its hook.
pub(in crate::flow) struct Ready {
    pub(in crate::flow) version: HookVersion,
    pub(in crate::flow) of: OfMerchant,
    /// Its settings, with what the manifest fills in.
    pub(in crate::flow) told: Verbatim,
}

/// Reads what a call needs; `run_id` is what its requests carry.
pub(in crate::flow) async fn ready(
    app: &App,
    callee: &Callee,
    run_id: Option<String>,
) -> Result<Ready, DbError> {
    let unreadable =
        |column| move |error: serde_json::Error| DbError::Unreadable { column, why: error.to_string() };
    let manifest: Manifest = serde_json::from_str(&callee.manifest).map_err(unreadable("manifest"))?;
    let settings = Verbatim::of_text(callee.settings.clone()).map_err(unreadable("settings"))?;
    let told = manifest.settings_told(settings);
    let settings = told.value();
    let of = OfMerchant {
        hook_id: callee.hook_id.clone(),
        merchant_id: callee.merchant_id.clone(),
        test: callee.test,
        run_id,
        hosts: manifest.hosts(&settings),
        secrets: secrets(app, &callee.hook_id, &manifest, &settings).await?,
    };
    let version = HookVersion {
        name: callee.hook_name.clone(),
        version: callee.version.clone(),
        version_id: callee.version_id.clone(),
        sha256: callee.sha256.clone(),
        manifest: Arc::new(manifest),
    };
    Ok(Ready { version, of, told })
}

/// Calls the version that was claimed, as of this time.
pub(in crate::flow) async fn call(
    app: &App,
    claimed: &Claimed,
    at: Millis,
    tape: Tape,
) -> Result<Called<fulfiller::Outcome>, Failed> {
    let Ready { version, of, told } = ready(app, &claimed.callee, Some(claimed.run_id.clone())).await?;
    let event = fulfiller::Event {
        id: claimed.event_id.clone(),
        kind: claimed.event_kind.clone(),
        payload: claimed.payload.clone(),
    };
    let context = fulfiller::Context {
        run: claimed.run_id.clone(),
        attempt: u32::try_from(claimed.attempts + 1).unwrap_or(u32::MAX),
        now_ms: u64::try_from(at).unwrap_or(0),
        settings: told.text().to_owned(),
    };
    app.host.hooks().fulfill(&version, of, &event, &context, tape).await.map_err(Failed::Call)
}

/// The hook's secrets, opened, that were set for what this version wants them for. One that does not open is left out:
/// the hook hears that there is none.
async fn secrets(
    app: &App,
    hook_id: &str,
    manifest: &Manifest,
    settings: &Value,
) -> Result<BTreeMap<String, Secret>, DbError> {
    let mut secrets = BTreeMap::new();
    if manifest.secrets.is_empty() {
        return Ok(secrets);
    }
    for row in hook_secrets::list(&mut app.db.read().await?, hook_id).await? {
        if manifest.purpose_of(&row.name, settings).as_ref() != Some(&row.purpose) {
            continue;
        }
        let opened = app.vault.open(&row.sealed_for(), &row.value).ok();
        if let Some(text) = opened.as_ref().and_then(|opened| std::str::from_utf8(opened).ok()) {
            secrets.insert(row.name, Secret::new(text, row.purpose));
        }
    }
    Ok(secrets)
}

pub(in crate::flow) fn answered(called: Called<fulfiller::Outcome>) -> Left {
    let (outcome, note, asked_s) = match called.value {
        fulfiller::Outcome::Done(note) => (Outcome::Done, note, 0),
        fulfiller::Outcome::Retry((after_s, why)) => (Outcome::Retry, why, after_s),
        fulfiller::Outcome::Reject(why) => (Outcome::Reject, why, 0),
    };
    Left {
        outcome,
        note: one_line(&note, NOTE_CHARS_MAX),
        asked_s,
        writes: Some(called.writes),
        webhooks: called.webhooks,
        trace: called.trace,
        set_aside: false,
    }
}

/// What becomes of a run that is made no more.
fn ended_the_process() -> Left {
    Left {
        outcome: Outcome::Failed,
        note: format!(
            "not made again: the server ended {UNHEARD_MAX} times while it ran; the hook is disabled, and the operator was told"
        ),
        asked_s: 0,
        writes: None,
        webhooks: Vec::new(),
        trace: Trace::default(),
        set_aside: true,
    }
}

pub(in crate::flow) fn broke(failed: CallFailed) -> Left {
    Left {
        outcome: Outcome::Failed,
        note: failed.error.to_string(),
        asked_s: 0,
        writes: None,
        webhooks: Vec::new(),
        trace: *failed.trace,
        set_aside: false,
    }
}

fn attempt(claimed: &Claimed, left: &Left, at: Millis, started: Instant) -> Attempt {
    let Trace { log, tape, .. } = &left.trace;
    Attempt {
        number: claimed.attempts + 1,
        at,
        version_id: claimed.callee.version_id.clone(),
        outcome: left.outcome,
        note: left.note.clone(),
        used: used(&left.trace, started),
        log: log.iter().map(|line| json!(line)).collect(),
        tape: json!(tape).to_string(),
    }
}

pub(in crate::flow) fn used(trace: &Trace, started: Instant) -> Used {
    let count = |count: u128| i64::try_from(count).unwrap_or(i64::MAX);
    Used {
        duration_us: count(started.elapsed().as_micros()),
        cpu_us: count(trace.cpu.as_micros()),
        fuel: count(u128::from(trace.fuel)),
        memory_bytes: i64::try_from(trace.memory_bytes).unwrap_or(i64::MAX),
        host_calls: i64::from(trace.host_calls),
        http_requests: i64::from(trace.http_requests),
    }
}

/// All that the call came to, or nothing of it.
async fn commit(app: &App, claimed: Arc<Claimed>, ended: Ended, left: Left) -> Result<(), DbError> {
    let (now, limit) = (app.clock.now(), DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant));
    app.db
        .write(move |conn| {
            Box::pin(async move {
                let Finish::Written { paused } = queue::finish(conn, &ended, limit, now).await? else {
                    return Ok(());
                };
                if left.set_aside {
                    hook_work::set_aside(conn, "hook runs", &ended.hook_id, &ended.run_id, now).await?;
                }
                if let Some(writes) = &left.writes {
                    disk::store(conn, &ended.merchant_id, writes, limit).await?;
                }
                for webhook in left.webhooks {
                    let event_id = send(conn, &claimed.callee, webhook, now).await?;
                    events::caused_by(conn, &event_id, &ended.run_id).await?;
                }
                let tell = match (ended.next, left.outcome) {
                    (Next::RetryAt(_) | Next::Delivered, _) => None,
                    (_, Outcome::Reject) => Some(Data::HookRunRejected as fn(Box<HookRunEvent>) -> Data),
                    _ => Some(Data::HookRunExhausted as fn(Box<HookRunEvent>) -> Data),
                };
                let failing = paused.then_some(Data::HookRunFailing as fn(Box<HookRunEvent>) -> Data);
                for told_as in tell.into_iter().chain(failing) {
                    let told = told(&claimed, told_as, &ended, now);
                    let event_id = told.id.clone();
                    events::insert(conn, vec![told]).await?;
                    events::caused_by(conn, &event_id, &ended.run_id).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Commits a webhook that a hook queued. Answers the event's id.
pub(in crate::flow) async fn send(
    conn: &mut Conn,
    callee: &Callee,
    webhook: QueuedWebhook,
    now: Millis,
) -> Result<String, DbError> {
    let event_id = webhook.event_id;
    let data = Data::OfHook(webhook.kind, webhook.data);
    let event = NewEvent::new(event_id.clone(), &callee.merchant_id, callee.test, &data, now);
    match webhook.endpoint_id {
        None => events::insert(conn, vec![event]).await?,
        Some(endpoint_id) => drop(deliveries::send_to(conn, event, endpoint_id, now).await?),
    }
    Ok(event_id)
}

/// What the merchant is told about a run that needs somebody.
fn told(claimed: &Claimed, told_as: fn(Box<HookRunEvent>) -> Data, ended: &Ended, now: Millis) -> NewEvent {
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
    NewEvent::now(&callee.merchant_id, callee.test, &data, now)
}

/// A hook, as events name it.
pub(in crate::flow) fn named(callee: &Callee) -> HookNamed {
    HookNamed { id: callee.hook_id.clone(), name: callee.hook_name.clone(), version: callee.version.clone() }
}
