//! Matching: asks merchants' hooks what transfers pay, and settles what they say.
//!
//! A hook decides nothing by itself. It is offered the open invoices that the transfer may pay, without their ids;
//! what it answers is checked, once as an answer and once more against the facts of the moment of its commit. A
//! hook that breaks, takes too long or says what cannot be is passed over: the built-in policy decides as if there
//! were none, and the merchant is told. The answer, what the hook stored and queued and the payments are one
//! transaction.

mod again;
mod question;

pub(crate) use again::{DidMatch, Rematched, again};

use std::{sync::Arc, time::Instant};

use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    db::{
        Conn, DbError,
        disk::DiskLimit,
        events,
        hooks::{
            Callee,
            match_queue::{self, DueMatch},
            matches,
            run_queue::DueHook,
        },
        payments, transfers,
    },
    domain::{
        Millis,
        event::{
            Data, NewEvent,
            data::{HookMatchEvent, MatchNamed},
        },
        hook::MatchOutcome,
        id::{HookId, HookMatchId, Ids, InvoiceId, MerchantId},
        retry::UNHEARD_MAX,
        settlement::{Book, Disallowed, MatcherAnswer, Share},
        transfer::{Status, Transfer},
        verbatim::Verbatim,
    },
    flow::{
        hooks::{
            call::{self, Effects, NOTE_CHARS_MAX, Ready, named, ready, used},
            matching::question::{NoCandidate, Question},
            queue::{self, LEASE_MARGIN_MS, RunOutcome},
        },
        settle,
    },
    host::{CallError, CallFailed, Tape, Trace, matcher, one_line},
};

/// Maximum number of claims of a question for which there is never a permit.
const CLAIMS_MAX: i64 = 5;

/// Runs until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    queue::run::<Matches>(&app, &stop).await;
}

struct Matches;

impl queue::Queue for Matches {
    const NAME: &'static str = "matching";
    type Item = DueMatch;

    fn bell(app: &App) -> &Notify {
        &app.wake.matching
    }

    async fn due(app: &App, now: Millis) -> Result<Vec<DueHook>, DbError> {
        match_queue::due(&mut app.db.read().await?, now).await
    }

    async fn claim(app: &App, hooks: Vec<(HookId, usize)>, now: Millis) -> Result<Vec<DueMatch>, DbError> {
        let until = now + LEASE_MARGIN_MS;
        app.db.write(move |conn| Box::pin(match_queue::claim(conn, hooks, now, until))).await
    }

    fn owner(claimed: &DueMatch) -> (&HookId, &MerchantId) {
        (&claimed.hook_id, &claimed.tenant.merchant)
    }

    fn unheard(claimed: &DueMatch) -> i64 {
        claimed.unheard
    }

    async fn make(app: App, claimed: DueMatch) -> RunOutcome {
        match_one(&app, claimed).await
    }
}

/// A question that was put, with its answer.
struct Exchange {
    callee: Callee,
    question: Question,
    said: MatcherReply,
    at: Millis,
    started: Instant,
}

/// Reason that there is no answer to settle.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Choice(#[from] NoCandidate),
    #[error(transparent)]
    Disallowed(#[from] Disallowed),
}

/// Answer of a version, with its effects.
struct MatcherReply {
    answer: Result<MatcherAnswer, Unanswered>,
    /// The hook's own words.
    note: String,
    /// `None` if no effect of the call is kept.
    effects: Option<Effects>,
    trace: Trace,
}

async fn match_one(app: &App, claimed: DueMatch) -> RunOutcome {
    let claimed = Arc::new(claimed);
    match call::until_fresh(&Asking { app, claimed: &claimed }).await {
        Ok((Some(record), at_once)) => {
            app.wake.dispatch.notify_one();
            app.wake.deliver.notify_one();
            if let (Some(record), Some(version_id), Some(callee)) =
                (record, &claimed.shadow_id, &claimed.callee)
            {
                again::shadow(app, callee, version_id, record).await;
            }
            if at_once { RunOutcome::Well } else { RunOutcome::InTheWay }
        }
        Ok((None, at_once)) => {
            release(app, &claimed).await;
            if at_once { RunOutcome::Well } else { RunOutcome::InTheWay }
        }
        // Its lease ends, and then it is asked again.
        Err(error) if error.is_conflict() => RunOutcome::InTheWay,
        Err(error) => {
            tracing::error!(hook = claimed.hook_id.as_str(), %error, "a matcher could not be asked, or its answer written down");
            RunOutcome::Broken
        }
    }
}

/// A question that is being put.
struct Asking<'a> {
    app: &'a App,
    claimed: &'a Arc<DueMatch>,
}

impl call::Attempt for Asking<'_> {
    /// The recorded match, if a matcher was asked. The outer `None` means that there was no permit for the call.
    type Committed = Option<Option<matches::Match>>;

    async fn attempt(&self, last: bool) -> Result<Self::Committed, DbError> {
        let Self { app, claimed } = *self;
        let may_be_asked = claimed.fence <= CLAIMS_MAX && claimed.unheard < UNHEARD_MAX;
        let asked = match claimed.callee.clone().filter(|_| may_be_asked) {
            Some(callee) => {
                let ready = ready(&app.db, &app.vault, &callee, None).await?;
                let at = app.clock.now();
                // Where there is nothing to ask about the built-in policy decides.
                match question::about(app, claimed, &ready.told, at).await? {
                    None => None,
                    Some(question) => {
                        let started = Instant::now();
                        let said = match put(app, ready, &question, Tape::record()).await {
                            Ok(said) => said,
                            Err(CallFailed { error: CallError::Stale, .. }) if !last => {
                                return Err(DbError::Stale("a matcher's storage"));
                            }
                            Err(CallFailed { error: CallError::Busy, .. }) => return Ok(None),
                            Err(failed) => broke(failed),
                        };
                        Some(Exchange { callee, question, said, at, started })
                    }
                }
            }
            None => None,
        };
        let (now, one) = (app.clock.now(), Arc::clone(claimed));
        let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
        let committed =
            app.db.write(move |conn| Box::pin(async move { commit(conn, &one, asked, limit, now).await }));
        committed.await.map(Some)
    }
}

async fn release(app: &App, claimed: &DueMatch) {
    let claim = vec![(claimed.transfer_id.clone(), claimed.hook_id.clone(), claimed.fence)];
    let now = app.clock.now();
    let released =
        app.db.write(move |conn| Box::pin(async move { match_queue::release(conn, &claim, now).await }));
    if let Err(error) = released.await {
        tracing::warn!(%error, "a question to a matcher was not given back; its lease ends by itself");
    }
}

/// Puts a question to a version.
async fn put(app: &App, ready: Ready, question: &Question, tape: Tape) -> Result<MatcherReply, CallFailed> {
    let Ready { version, of, .. } = ready;
    let (transfer, candidates, context) = (question.transfer(), question.candidates(), question.context());
    let asked = (&transfer, candidates.as_slice(), &context);
    let called = app.host.hooks().match_transfer(&version, of, asked, tape).await?;
    let (decision, effects, trace) = Effects::of(called);
    let note = match &decision {
        matcher::Decision::Review(why) => one_line(why, NOTE_CHARS_MAX),
        _ => String::new(),
    };
    Ok(MatcherReply {
        answer: question.check(decision).map_err(Unanswered::from),
        note,
        effects: Some(effects),
        trace,
    })
}

/// The answer that stands for a failed call.
fn broke(failed: CallFailed) -> MatcherReply {
    MatcherReply {
        answer: Err(failed.error.into()),
        note: String::new(),
        effects: None,
        trace: *failed.trace,
    }
}

fn outcome(answer: &Result<MatcherAnswer, Unanswered>) -> MatchOutcome {
    match answer {
        Ok(MatcherAnswer::Pay(_)) => MatchOutcome::Pay,
        Ok(MatcherAnswer::Review) => MatchOutcome::Review,
        Ok(MatcherAnswer::Pass) => MatchOutcome::Pass,
        Err(_) => MatchOutcome::Failed,
    }
}

fn parts(answer: &Result<MatcherAnswer, Unanswered>) -> Vec<Share> {
    match answer {
        Ok(MatcherAnswer::Pay(shares)) => shares.clone(),
        _ => Vec::new(),
    }
}

/// Commits the answer and its effects, or nothing of them. Returns the recorded match, if there is one.
async fn commit(
    conn: &mut Conn,
    claimed: &DueMatch,
    asked: Option<Exchange>,
    limit: DiskLimit,
    now: Millis,
) -> Result<Option<matches::Match>, DbError> {
    // First the transfer, as a person's decision locks it too: then neither waits for what the other has.
    let Some(transfer) = transfers::lock(conn, &claimed.transfer_id).await? else { return Ok(None) };
    if !match_queue::take(conn, claimed).await?
        || !payments::unlist_matching(conn, &claimed.transfer_id).await?
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
            queue::set_aside(conn, "matching", &claimed.hook_id, claimed.transfer_id.as_str(), now).await?;
        }
        return settled(conn, &transfer, &MatcherAnswer::Pass, claimed, now).await.map(|_| None);
    };
    let Exchange { callee, question, said: MatcherReply { answer, note, effects, trace }, at, started } =
        asked;
    let answer = match answer {
        Ok(answer) => {
            settled(conn, &transfer, &answer, claimed, now).await?.map(|()| answer).map_err(Unanswered::from)
        }
        Err(why) => Err(why),
    };
    if answer.is_err() {
        settled(conn, &transfer, &MatcherAnswer::Pass, claimed, now).await??;
    }
    let record = matches::Match {
        id: HookMatchId::new(now),
        hook_id: callee.hook_id.clone(),
        transfer_id: transfer.id.clone(),
        version_id: callee.version_id.clone(),
        outcome: outcome(&answer),
        note: answer.as_ref().err().map_or(note, ToString::to_string),
        question: Verbatim::of(&question),
        parts: parts(&answer),
        at,
        used: used(&trace, started),
        log: trace.log.iter().map(|line| json!(line)).collect(),
        tape: json!(trace.tape).to_string(),
    };
    matches::insert(conn, &callee.tenant, &record, limit).await?;
    metrics::counter!("kassa_hook_matches_total", "outcome" => record.outcome.as_str()).increment(1);
    let paused = match_queue::judged(conn, &callee.hook_id, answer.is_ok(), now).await?;
    if answer.is_err() {
        let data = Data::HookMatchFailed(Box::new(HookMatchEvent {
            hook: named(&callee),
            r#match: MatchNamed { id: record.id.clone(), note: record.note.clone(), paused },
            transfer_id: transfer.id,
        }));
        let told = NewEvent::now(&callee.tenant, &data, now);
        let event_id = told.id.clone();
        events::insert(conn, vec![told]).await?;
        events::caused_by(conn, &event_id, record.id.as_str()).await?;
        return Ok(Some(record));
    }
    if let Some(effects) = effects {
        effects.commit(conn, &callee, Some(record.id.as_str()), limit, now).await?;
    }
    Ok(Some(record))
}

/// Settles an answer. The inner error tells why the facts do not allow it; nothing is written then.
async fn settled(
    conn: &mut Conn,
    transfer: &Transfer,
    answer: &MatcherAnswer,
    claimed: &DueMatch,
    now: Millis,
) -> Result<Result<(), Disallowed>, DbError> {
    let also: Vec<InvoiceId> = match answer {
        MatcherAnswer::Pay(shares) => shares.iter().map(|share| share.invoice_id.clone()).collect(),
        _ => Vec::new(),
    };
    let (network, mode) = (&transfer.network, claimed.tenant.mode);
    let known = settle::gather(conn, network, mode, vec![transfer.clone()], &also).await?;
    let mut book = Book::open(known, &Ids::of_process(), now);
    let confirmed = matches!(transfer.status, Status::Confirmed | Status::Final);
    if let Err(why) = book.answered(&transfer.id, answer, confirmed) {
        return Ok(Err(why));
    }
    settle::write(conn, book.close(), &Ids::of_process(), now).await?;
    Ok(Ok(()))
}
