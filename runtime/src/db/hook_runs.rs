//! Hook runs: events owed to hooks, the calls that were made for them, and what they used.
//!
//! What a merchant asks for names the merchant and the mode. How the queue is kept, [`super::queue`] says.

use super::{
    Conn, DbError, Row, Value, args,
    hooks::Owner,
    queue::{Entry, queue},
};
use crate::domain::{
    Millis,
    hook::{Outcome, RunState},
    retry::Next,
};

queue!(owner "hook", queue "hook_run_queue", owner_id "hook_id", item_id "run_id");

/// Hooks with something due that one look takes in.
const DUE_HOOKS_MAX: i64 = 1_000;
const MS_PER_DAY: i64 = 86_400_000;

/// An event owed to a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) run_id: String,
    pub(crate) event_id: String,
    pub(crate) hook_id: String,
    pub(crate) merchant_id: String,
    pub(crate) test: bool,
}

/// Makes runs and queues them, due now.
pub(crate) async fn insert(conn: &mut Conn, owed: Vec<Owed>, now: Millis) -> Result<(), DbError> {
    let entries = owed
        .iter()
        .map(|owed| Entry { item: owed.run_id.clone(), owner: owed.hook_id.clone(), attempts_before: 0 })
        .collect();
    let rows = owed
        .into_iter()
        .map(|owed| {
            args![
                owed.run_id,
                owed.hook_id,
                owed.event_id,
                owed.merchant_id,
                owed.test,
                RunState::Pending,
                0_i64,
                now
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO hook_run (id, hook_id, event_id, merchant_id, test, state, attempts, created_at)",
        rows,
        "",
    )
    .await?;
    push(conn, entries, now).await
}

// ------------------------------------------------------------------ what the worker does

/// A hook that has something due.
#[derive(Debug, Clone)]
pub(crate) struct DueHook {
    pub(crate) id: String,
    pub(crate) merchant_id: String,
}

/// Hooks with something due, the longest waiting first.
pub(crate) async fn due_hooks(conn: &mut Conn, now: Millis) -> Result<Vec<DueHook>, DbError> {
    let sql = "SELECT id, merchant_id FROM hook
               WHERE due_at <= $1 AND state = 'active' AND (paused_until IS NULL OR paused_until <= $1)
               ORDER BY due_at, id LIMIT $2";
    conn.rows(sql, args![now, DUE_HOOKS_MAX])
        .await?
        .iter()
        .map(|row| Ok(DueHook { id: row.text("id")?, merchant_id: row.text("merchant_id")? }))
        .collect()
}

/// A run that was claimed, and all that its call needs.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub(crate) run_id: String,
    pub(crate) hook_id: String,
    pub(crate) hook_name: String,
    pub(crate) merchant_id: String,
    pub(crate) test: bool,
    pub(crate) version_id: String,
    pub(crate) sha256: String,
    pub(crate) version: String,
    /// JSON.
    pub(crate) manifest: String,
    /// A JSON object.
    pub(crate) settings: String,
    pub(crate) event_id: String,
    pub(crate) event_kind: String,
    pub(crate) payload: String,
    pub(crate) fence: i64,
    /// Made so far, over all rounds.
    pub(crate) attempts: i64,
    /// Of those, before this round.
    pub(crate) attempts_before: i64,
}

/// Claims runs until `lease_until`, of each of these hooks so many as `take` says. A hook that another
/// transaction has locked is passed over.
pub(crate) async fn claim(
    conn: &mut Conn,
    hooks: Vec<(String, usize)>,
    now: Millis,
    lease_until: Millis,
) -> Result<Vec<Claimed>, DbError> {
    let ids = hooks.iter().map(|(id, _)| id.into()).collect();
    let locked = conn
        .rows_in("SELECT id FROM hook WHERE id IN", ids, "ORDER BY id /*pg: FOR NO KEY UPDATE SKIP LOCKED*/")
        .await?;
    let locked: Vec<String> = locked.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
    let mut claimed = Vec::new();
    for (hook_id, take) in hooks.into_iter().filter(|(id, _)| locked.contains(id)) {
        claimed.extend(due_of(conn, hook_id, now, take).await?);
    }
    let leased = claimed.iter().map(|one| (&one.run_id, one.fence));
    let looked_at: Vec<Value> = locked.iter().map(Into::into).collect();
    lease(conn, leased, lease_until, looked_at).await?;
    Ok(claimed)
}

async fn due_of(conn: &mut Conn, hook_id: String, now: Millis, take: usize) -> Result<Vec<Claimed>, DbError> {
    let sql =
        "SELECT q.run_id, q.hook_id, h.name, r.merchant_id, r.test, v.id AS version_id, v.sha256, v.version,
                 v.manifest, h.settings, r.event_id, e.kind, e.payload, q.fence, r.attempts, q.attempts_before
               FROM hook_run_queue q
               JOIN hook_run r ON r.id = q.run_id
               JOIN event e ON e.id = r.event_id
               JOIN hook h ON h.id = q.hook_id
               JOIN hook_version v ON v.id = h.active_id
               WHERE q.hook_id = $1 AND q.due_at <= $2
               ORDER BY q.due_at, q.run_id LIMIT $3 /*pg: FOR UPDATE OF q SKIP LOCKED*/";
    let take = i64::try_from(take).unwrap_or(i64::MAX);
    conn.rows(sql, args![hook_id, now, take])
        .await?
        .iter()
        .map(|row| {
            Ok(Claimed {
                run_id: row.text("run_id")?,
                hook_id: row.text("hook_id")?,
                hook_name: row.text("name")?,
                merchant_id: row.text("merchant_id")?,
                test: row.bool("test")?,
                version_id: row.text("version_id")?,
                sha256: row.text("sha256")?,
                version: row.text("version")?,
                manifest: row.text("manifest")?,
                settings: row.text("settings")?,
                event_id: row.text("event_id")?,
                event_kind: row.text("kind")?,
                payload: row.text("payload")?,
                fence: row.int("fence")? + 1,
                attempts: row.int("attempts")?,
                attempts_before: row.int("attempts_before")?,
            })
        })
        .collect()
}

/// A call that has ended, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) run_id: String,
    pub(crate) hook_id: String,
    pub(crate) fence: i64,
    pub(crate) attempt: Attempt,
    pub(crate) next: Next,
}

/// What a run's end was to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Its claim was no longer its own: nothing was written, and nothing of it may be kept.
    Stale,
    Written {
        /// With this one the hook has begun to fail always: its runs wait.
        paused: bool,
    },
}

/// Writes down how a call ended: the attempt, the run, the queue, the breaker, the usage.
pub(crate) async fn finish(conn: &mut Conn, ended: &Ended, now: Millis) -> Result<Finish, DbError> {
    let held = fences(conn, std::iter::once(&ended.run_id)).await?;
    if held.get(&ended.run_id) != Some(&ended.fence) {
        return Ok(Finish::Stale);
    }
    let attempt = &ended.attempt;
    log(conn, &ended.run_id, attempt).await?;
    let state = match (ended.next, attempt.outcome) {
        (Next::RetryAt(_), _) => RunState::Pending,
        (Next::Delivered, _) => RunState::Done,
        (_, Outcome::Reject) => RunState::Rejected,
        _ => RunState::Exhausted,
    };
    let done_at = (state != RunState::Pending).then_some(now);
    conn.exec(
        "UPDATE hook_run SET state = $2, done_at = $3, attempts = attempts + 1, note = $4 WHERE id = $1",
        args![&ended.run_id, state, done_at, &attempt.note],
    )
    .await?;
    let mut breakers = lock_owners(conn, std::iter::once(&ended.hook_id)).await?;
    let mut paused = false;
    if let Some(breaker) = breakers.get_mut(&ended.hook_id) {
        let before = *breaker;
        *breaker = breaker.after(attempt.outcome != Outcome::Failed, now);
        paused = before.paused_until.is_none() && breaker.paused_until.is_some();
        if before != *breaker {
            set_breakers(conn, &breakers).await?;
        }
    }
    match ended.next {
        Next::RetryAt(at) => {
            reschedule(conn, vec![args![&ended.run_id, at]]).await?;
            due_by(conn, [(ended.hook_id.clone(), at)].into()).await?;
        }
        _ => {
            conn.exec("DELETE FROM hook_run_queue WHERE run_id = $1", args![&ended.run_id]).await?;
        }
    }
    use_up(conn, &ended.hook_id, attempt).await?;
    Ok(Finish::Written { paused })
}

async fn log(conn: &mut Conn, run_id: &str, attempt: &Attempt) -> Result<(), DbError> {
    let used = attempt.used;
    conn.exec(
        "INSERT INTO hook_attempt (run_id, number, at, version_id, outcome, note, duration_us, cpu_us, fuel,
             memory_bytes, host_calls, http_requests, log, tape)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        args![
            run_id.to_owned(),
            attempt.number,
            attempt.at,
            &attempt.version_id,
            attempt.outcome,
            &attempt.note,
            used.duration_us,
            used.cpu_us,
            used.fuel,
            used.memory_bytes,
            used.host_calls,
            used.http_requests,
            serde_json::Value::from(attempt.log.clone()).to_string(),
            &attempt.tape,
        ],
    )
    .await?;
    Ok(())
}

async fn use_up(conn: &mut Conn, hook_id: &str, attempt: &Attempt) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO hook_usage (hook_id, day, attempts, failed, cpu_us, http_requests) VALUES ($1, $2, 1, $3, $4, $5)
         ON CONFLICT (hook_id, day) DO UPDATE SET attempts = hook_usage.attempts + 1,
             failed = hook_usage.failed + excluded.failed, cpu_us = hook_usage.cpu_us + excluded.cpu_us,
             http_requests = hook_usage.http_requests + excluded.http_requests",
        args![
            hook_id.to_owned(),
            attempt.at.div_euclid(MS_PER_DAY),
            attempt.outcome == Outcome::Failed,
            attempt.used.cpu_us,
            attempt.used.http_requests,
        ],
    )
    .await?;
    Ok(())
}

// ------------------------------------------------------------------ what merchants see

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// On the clock, waiting included.
    pub(crate) duration_us: i64,
    /// Of a processor.
    pub(crate) cpu_us: i64,
    /// Instructions of WebAssembly, about; the same for the same input on every machine.
    pub(crate) fuel: i64,
    /// The most that it had at once.
    pub(crate) memory_bytes: i64,
    pub(crate) host_calls: i64,
    pub(crate) http_requests: i64,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// From 1, over all rounds.
    pub(crate) number: i64,
    pub(crate) at: Millis,
    pub(crate) version_id: String,
    pub(crate) outcome: Outcome,
    /// What the hook said, or why it failed.
    pub(crate) note: String,
    pub(crate) used: Used,
    /// What it wrote into its log: objects of `level` and `text`.
    pub(crate) log: Vec<serde_json::Value>,
    /// What it asked the host and was answered, as JSON.
    pub(crate) tape: String,
}

/// A run as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) hook_id: String,
    pub(crate) hook_name: String,
    pub(crate) event_id: String,
    pub(crate) event_kind: String,
    pub(crate) state: RunState,
    pub(crate) attempts: i64,
    pub(crate) note: Option<String>,
    pub(crate) created_at: Millis,
    /// While pending: when the next call is due. While one is under way: when it is taken for lost.
    pub(crate) due_at: Option<Millis>,
    pub(crate) done_at: Option<Millis>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.hook_id, h.name, r.event_id, e.kind, r.state, r.attempts, r.note, r.created_at, q.due_at,
                 r.done_at
             FROM hook_run r
             JOIN hook h ON h.id = r.hook_id
             JOIN event e ON e.id = r.event_id
             LEFT JOIN hook_run_queue q ON q.run_id = r.id
             WHERE r.merchant_id = $1 AND r.test = $2 ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<Run, DbError> {
    Ok(Run {
        id: row.text("id")?,
        hook_id: row.text("hook_id")?,
        hook_name: row.text("name")?,
        event_id: row.text("event_id")?,
        event_kind: row.text("kind")?,
        state: row.parsed("state")?,
        attempts: row.int("attempts")?,
        note: row.opt_text("note")?,
        created_at: row.int("created_at")?,
        due_at: row.opt_int("due_at")?,
        done_at: row.opt_int("done_at")?,
    })
}

pub(crate) async fn get(conn: &mut Conn, owner: &Owner, id: &str) -> Result<Option<Run>, DbError> {
    let args = args![&owner.merchant_id, owner.test, id.to_owned()];
    conn.row(select!("AND r.id = $3"), args).await?.as_ref().map(read).transpose()
}

/// The newest first, from below the id `before`; of one hook, or of all.
pub(crate) async fn list(
    conn: &mut Conn,
    owner: &Owner,
    hook_id: Option<String>,
    state: Option<RunState>,
    before: String,
    rows: i64,
) -> Result<Vec<Run>, DbError> {
    let state = state.map(|state| state.as_str().to_owned());
    let mut args = args![&owner.merchant_id, owner.test, before, state, rows];
    let sql = match hook_id {
        None => select!("AND r.id < $3 AND ($4 IS NULL OR r.state = $4) ORDER BY r.id DESC LIMIT $5"),
        Some(id) => {
            args.push(id.into());
            select!(
                "AND r.id < $3 AND ($4 IS NULL OR r.state = $4) AND r.hook_id = $6 ORDER BY r.id DESC LIMIT $5"
            )
        }
    };
    conn.rows(sql, args).await?.iter().map(read).collect()
}

/// The calls of a run, the oldest first.
pub(crate) async fn attempts(conn: &mut Conn, run_id: &str) -> Result<Vec<Attempt>, DbError> {
    let sql = "SELECT * FROM hook_attempt WHERE run_id = $1 ORDER BY number";
    conn.rows(sql, args![run_id.to_owned()]).await?.iter().map(attempt).collect()
}

fn attempt(row: &Row) -> Result<Attempt, DbError> {
    Ok(Attempt {
        number: row.int("number")?,
        at: row.int("at")?,
        version_id: row.text("version_id")?,
        outcome: row.parsed("outcome")?,
        note: row.text("note")?,
        used: Used {
            duration_us: row.int("duration_us")?,
            cpu_us: row.int("cpu_us")?,
            fuel: row.int("fuel")?,
            memory_bytes: row.int("memory_bytes")?,
            host_calls: row.int("host_calls")?,
            http_requests: row.int("http_requests")?,
        },
        log: row.json("log")?,
        tape: row.text("tape")?,
    })
}

/// The last calls of a hook, one for each event that it was run for: what a replay begins with. The newest
/// first; each with its run's and its event's id.
pub(crate) async fn last_calls(
    conn: &mut Conn,
    hook_id: &str,
    limit: i64,
) -> Result<Vec<(String, String, Attempt)>, DbError> {
    let sql = "SELECT a.*, r.event_id FROM hook_run r
               JOIN hook_attempt a ON a.run_id = r.id AND a.number = r.attempts
               WHERE r.hook_id = $1 ORDER BY r.id DESC LIMIT $2";
    let rows = conn.rows(sql, args![hook_id.to_owned(), limit]).await?;
    rows.iter().map(|row| Ok((row.text("run_id")?, row.text("event_id")?, attempt(row)?))).collect()
}

/// Makes the runs of a hook due now that wait for another try, or only one of them. Those under way stay as they
/// are: of them more was claimed than has ended. Answers how many.
pub(crate) async fn hurry(
    conn: &mut Conn,
    hook_id: &str,
    run_id: Option<&str>,
    now: Millis,
) -> Result<u64, DbError> {
    lock_owners(conn, std::iter::once(&hook_id.to_owned())).await?;
    let hurried = conn
        .exec(
            "UPDATE hook_run_queue SET due_at = $3
             WHERE hook_id = $1 AND ($2 IS NULL OR run_id = $2) AND due_at > $3
               AND fence - attempts_before * $4 = (SELECT r.attempts FROM hook_run r WHERE r.id = run_id) - attempts_before",
            args![hook_id.to_owned(), run_id.map(str::to_owned), now, super::queue::FENCES_PER_ATTEMPT],
        )
        .await?;
    if hurried > 0 {
        due_by(conn, [(hook_id.to_owned(), now)].into()).await?;
    }
    Ok(hurried)
}

/// Makes a run again that has ended, whatever came of it: a new round, due now. One that waits for another try is
/// made now. `false`: it is under way.
pub(crate) async fn run_again(conn: &mut Conn, run: &Run, now: Millis) -> Result<bool, DbError> {
    if run.state == RunState::Pending {
        return Ok(hurry(conn, &run.hook_id, Some(&run.id), now).await? > 0);
    }
    let sql = "UPDATE hook_run SET state = 'pending', done_at = NULL
               WHERE id = $1 AND state <> 'pending' RETURNING attempts";
    let Some(row) = conn.row(sql, args![&run.id]).await? else { return Ok(false) };
    let attempts_before = row.int("attempts")?;
    push(conn, vec![Entry { item: run.id.clone(), owner: run.hook_id.clone(), attempts_before }], now)
        .await?;
    Ok(true)
}

/// What a hook used on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Its first millisecond, in UTC.
    pub(crate) day: Millis,
    pub(crate) attempts: i64,
    pub(crate) failed: i64,
    pub(crate) cpu_us: i64,
    pub(crate) http_requests: i64,
}

/// The last so many days on which it was run, the newest first.
pub(crate) async fn usage(conn: &mut Conn, hook_id: &str, days: i64) -> Result<Vec<Usage>, DbError> {
    let sql = "SELECT * FROM hook_usage WHERE hook_id = $1 ORDER BY day DESC LIMIT $2";
    conn.rows(sql, args![hook_id.to_owned(), days])
        .await?
        .iter()
        .map(|row| {
            Ok(Usage {
                day: row.int("day")?.saturating_mul(MS_PER_DAY),
                attempts: row.int("attempts")?,
                failed: row.int("failed")?,
                cpu_us: row.int("cpu_us")?,
                http_requests: row.int("http_requests")?,
            })
        })
        .collect()
}
