//! Matching: asks merchants' hooks what transfers pay, and settles what they say.
//!
//! A hook decides nothing by itself. It is offered the open invoices that the transfer may pay, without their ids;
//! what it answers is checked, once as an answer and once more against the facts of the moment of its commit. A
//! hook that breaks, takes too long or says what cannot be is passed over: the built-in policy decides as if there
//! were none, and the merchant is told. The answer, what the hook stored and queued and the payments are one
//! transaction.

mod again;
mod question;

pub(crate) use again::{Rematched, Said, again};

use std::{sync::Arc, time::Instant};

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::question::Question;
use super::{
    fulfill::{
        LEASE_MARGIN_MS,
        call::{NOTE_CHARS_MAX, Ready, STALE_TRIES, named, ready, send, used},
    },
    hook_work::{self, Ran, UNHEARD_MAX},
    settle,
};
use crate::{
    app::App,
    db::{
        Conn, DbError,
        disk::{self, DiskLimit},
        events, hook_matches,
        hook_runs::queue::DueHook,
        hooks::{Callee, Owner},
        matchers::{self, Claimed},
        payments,
        plugin_storage::StorageWrites,
        transfers,
    },
    domain::{
        Millis,
        event::{
            Data, NewEvent,
            data::{HookMatchEvent, MatchNamed},
        },
        hook::MatchOutcome,
        id::{self, Ids},
        settlement::{Answer, Book, Share},
        transfer::{Status, Transfer},
        verbatim::Verbatim,
    },
    host::{CallError, CallFailed, Called, QueuedWebhook, Tape, matcher, one_line},
};

/// A question for which there is never a place is not put for ever.
const CLAIMS_MAX: i64 = 5;

/// Runs until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    hook_work::run::<Matches>(&app, &stop).await;
}

struct Matches;

impl hook_work::Queue for Matches {
    const NAME: &'static str = "matching";
    type Claimed = Claimed;

    fn bell(app: &App) -> &Notify {
        &app.wake.matching
    }

    async fn due(app: &App, now: Millis) -> Result<Vec<DueHook>, DbError> {
        matchers::due(&mut app.db.read().await?, now).await
    }

    async fn claim(app: &App, hooks: Vec<(String, usize)>, now: Millis) -> Result<Vec<Claimed>, DbError> {
        let until = now + LEASE_MARGIN_MS;
        app.db.write(move |conn| Box::pin(matchers::claim(conn, hooks, now, until))).await
    }

    fn owner(claimed: &Claimed) -> (&str, &str) {
        (&claimed.hook_id, &claimed.merchant_id)
    }

    fn unheard(claimed: &Claimed) -> i64 {
        claimed.unheard
    }

    async fn make(app: App, claimed: Claimed) -> Ran {
        match_one(&app, claimed).await
    }
}

/// What asking came to.
enum Asking {
    /// There is nobody to ask or nothing to ask about: the built-in policy decides.
    Nobody,
    /// There was no place for the call; it is asked later.
    Busy,
    Asked(Box<Asked>),
}

/// What a question came to.
struct Asked {
    callee: Callee,
    question: Question,
    /// The text says what was wrong.
    answer: Result<Answer, String>,
    /// In the hook's own words.
    note: String,
    at: Millis,
    started: Instant,
    left: Left,
}

/// What a call leaves to be committed with its answer.
struct Left {
    writes: Option<StorageWrites>,
    webhooks: Vec<QueuedWebhook>,
    trace: crate::host::Trace,
}

async fn match_one(app: &App, claimed: Claimed) -> Ran {
    let claimed = Arc::new(claimed);
    let mut ran = Ran::Well;
    for tried in 1..=STALE_TRIES {
        let asked = match ask(app, &claimed, tried == STALE_TRIES).await {
            Ok(Asking::Asked(asked)) => Some(*asked),
            Ok(Asking::Nobody) => None,
            Ok(Asking::Busy) => {
                release(app, &claimed).await;
                return ran;
            }
            Err(DbError::Stale(_)) => {
                ran = Ran::InTheWay;
                continue;
            }
            Err(error) => {
                tracing::error!(hook = claimed.hook_id, %error, "a matcher could not be asked");
                return Ran::Broken;
            }
        };
        let (now, one) = (app.clock.now(), claimed.clone());
        let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
        let committed = app
            .db
            .write(move |conn| Box::pin(async move { commit(conn, &one, asked, limit, now).await }))
            .await;
        match committed {
            Ok(record) => {
                app.wake.dispatch.notify_one();
                app.wake.deliver.notify_one();
                if let (Some(record), Some(version_id)) = (record, &claimed.shadow_id) {
                    again::shadow(app, &claimed, version_id, record).await;
                }
                return ran;
            }
            Err(error) if error.is_passing() => ran = Ran::InTheWay,
            Err(error) => {
                tracing::error!(hook = claimed.hook_id, %error, "what a transfer pays could not be written down");
                return Ran::Broken;
            }
        }
    }
    // Its lease ends, and then it is asked again.
    ran
}

async fn release(app: &App, claimed: &Claimed) {
    let claim = vec![(claimed.transfer_id.clone(), claimed.hook_id.clone(), claimed.fence)];
    let now = app.clock.now();
    let released =
        app.db.write(move |conn| Box::pin(async move { matchers::release(conn, &claim, now).await }));
    if let Err(error) = released.await {
        tracing::warn!(%error, "a question to a matcher was not given back; its lease ends by itself");
    }
}

/// Asks the matcher. [`DbError::Stale`]: its storage has changed under it, and it has not been tried often enough.
async fn ask(app: &App, claimed: &Claimed, last_try: bool) -> Result<Asking, DbError> {
    let may_be_asked = claimed.fence <= CLAIMS_MAX && claimed.unheard < UNHEARD_MAX;
    let Some(callee) = claimed.callee.clone().filter(|_| may_be_asked) else {
        return Ok(Asking::Nobody);
    };
    let ready = ready(app, &callee, None).await?;
    let at = app.clock.now();
    let Some(question) = question::about(app, claimed, &ready.told, at).await? else {
        return Ok(Asking::Nobody);
    };
    let started = Instant::now();
    let (answer, note, left) = match put(app, ready, &question, Tape::record()).await {
        Err(CallFailed { error: CallError::Stale, .. }) if !last_try => {
            return Err(DbError::Stale("a matcher's storage"));
        }
        Err(CallFailed { error: CallError::Busy, .. }) => return Ok(Asking::Busy),
        put => put.unwrap_or_else(failed),
    };
    Ok(Asking::Asked(Box::new(Asked { callee, question, answer, note, at, started, left })))
}

/// The answer (or what was wrong with it), a note in the hook's own words, and what the call leaves.
type Put = (Result<Answer, String>, String, Left);

/// Puts a question to a version.
async fn put(app: &App, ready: Ready, question: &Question, tape: Tape) -> Result<Put, CallFailed> {
    let Ready { version, of, .. } = ready;
    let (transfer, candidates, context) = (question.transfer(), question.candidates(), question.context());
    let asked = (&transfer, candidates.as_slice(), &context);
    let called = app.host.hooks().match_transfer(&version, of, asked, tape).await?;
    let Called { value, writes, webhooks, trace, .. } = called;
    let note = match &value {
        matcher::Decision::Review(why) => one_line(why, NOTE_CHARS_MAX),
        _ => String::new(),
    };
    Ok((question.check(value), note, Left { writes: Some(writes), webhooks, trace }))
}

/// A call that gave no answer.
fn failed(failed: CallFailed) -> Put {
    let left = Left { writes: None, webhooks: Vec::new(), trace: *failed.trace };
    (Err(failed.error.to_string()), String::new(), left)
}

fn outcome(answer: &Result<Answer, String>) -> MatchOutcome {
    match answer {
        Ok(Answer::Pay(_)) => MatchOutcome::Pay,
        Ok(Answer::Review) => MatchOutcome::Review,
        Ok(Answer::Pass) => MatchOutcome::Pass,
        Err(_) => MatchOutcome::Failed,
    }
}

fn parts(answer: &Result<Answer, String>) -> Vec<Share> {
    match answer {
        Ok(Answer::Pay(shares)) => shares.clone(),
        _ => Vec::new(),
    }
}

/// All that the answer comes to, or nothing of it. Answers what was written down.
async fn commit(
    conn: &mut Conn,
    claimed: &Claimed,
    asked: Option<Asked>,
    limit: DiskLimit,
    now: Millis,
) -> Result<Option<hook_matches::Match>, DbError> {
    // First the transfer, as a person's decision locks it too: then neither waits for what the other has.
    let Some(transfer) = transfers::lock(conn, &claimed.transfer_id).await? else { return Ok(None) };
    if !matchers::take(conn, claimed).await? || !payments::unlist_matching(conn, &claimed.transfer_id).await?
    {
        // Somebody else has had it, or a person has decided.
        return Ok(None);
    }
    if transfer.status == Status::Retracted {
        // If it comes back, settle sees it for the first time again.
        return Ok(None);
    }
    let Some(asked) = asked else {
        if claimed.unheard >= UNHEARD_MAX {
            hook_work::set_aside(conn, "matching", &claimed.hook_id, &claimed.transfer_id, now).await?;
        }
        return settled(conn, &transfer, &Answer::Pass, claimed, now).await.map(|_| None);
    };
    let Asked { callee, question, answer, note, at, started, left } = asked;
    let answer = match answer {
        Ok(answer) => settled(conn, &transfer, &answer, claimed, now).await?.map(|()| answer),
        Err(why) => Err(why),
    };
    if answer.is_err() {
        settled(conn, &transfer, &Answer::Pass, claimed, now).await?.map_err(DbError::Unusable)?;
    }
    let record = hook_matches::Match {
        id: id::new(id::Kind::HookMatch, now),
        hook_id: callee.hook_id.clone(),
        transfer_id: transfer.id.clone(),
        version_id: callee.version_id.clone(),
        outcome: outcome(&answer),
        note: answer.as_ref().err().cloned().unwrap_or(note),
        question: Verbatim::of(&question),
        parts: parts(&answer),
        at,
        used: used(&left.trace, started),
        log: left.trace.log.iter().map(|line| json!(line)).collect(),
        tape: json!(left.trace.tape).to_string(),
    };
    let owner = Owner { merchant_id: callee.merchant_id.clone(), test: callee.test };
    hook_matches::insert(conn, &owner, &record, limit).await?;
    metrics::counter!("kassa_hook_matches_total", "outcome" => record.outcome.as_str()).increment(1);
    let paused = matchers::judged(conn, &callee.hook_id, answer.is_ok(), now).await?;
    if answer.is_err() {
        let data = Data::HookMatchFailed(Box::new(HookMatchEvent {
            hook: named(&callee),
            r#match: MatchNamed { id: record.id.clone(), note: record.note.clone(), paused },
            transfer_id: transfer.id,
        }));
        let told = NewEvent::now(&callee.merchant_id, callee.test, &data, now);
        let event_id = told.id.clone();
        events::insert(conn, vec![told]).await?;
        events::caused_by(conn, &event_id, &record.id).await?;
        return Ok(Some(record));
    }
    if let Some(writes) = &left.writes {
        disk::store(conn, &callee.merchant_id, writes, limit).await?;
    }
    for webhook in left.webhooks {
        let event_id = send(conn, &callee, webhook, now).await?;
        events::caused_by(conn, &event_id, &record.id).await?;
    }
    Ok(Some(record))
}

/// Settles an answer. The inner error says why the facts do not allow it; then nothing was written.
async fn settled(
    conn: &mut Conn,
    transfer: &Transfer,
    answer: &Answer,
    claimed: &Claimed,
    now: Millis,
) -> Result<Result<(), String>, DbError> {
    let also: Vec<String> = match answer {
        Answer::Pay(shares) => shares.iter().map(|share| share.invoice_id.clone()).collect(),
        _ => Vec::new(),
    };
    let mut known = settle::gather(conn, &transfer.network, vec![transfer.clone()], &also).await?;
    known.test = claimed.test;
    let mut book = Book::open(known, &Ids::of_process(), now);
    let confirmed = matches!(transfer.status, Status::Confirmed | Status::Final);
    if let Err(why) = book.answered(&transfer.id, answer, confirmed) {
        return Ok(Err(why));
    }
    settle::write(conn, book.close(), &Ids::of_process(), now).await?;
    Ok(Ok(()))
}
