//! The queue of hook runs: what dispatch puts in and fulfill works off. How it is kept, [`crate::db::queue`] says.

use crate::{
    db::{
        Conn, DbError, Value, args,
        disk::{self, DiskLimit},
        hooks::{
            Callee,
            runs::{Attempt, MS_PER_DAY, NO_TAPE, Used},
        },
        queue::{Entry, LinePosition, judge, lines::lines, lock_free, queue},
    },
    domain::{
        Millis,
        hook::{Outcome, RunState},
        id::{EventId, HookId, HookRunId, HookVersionId, MerchantId},
        retry::{self, Next},
        tenant::Tenant,
    },
};

queue!(owner "hook": HookId, queue "hook_run_queue", owner_id "hook_id", item_id "run_id": HookRunId);
lines!(queue "hook_run_queue", owner_id "hook_id": HookId, item_id "run_id": HookRunId);

/// Maximum number of hooks with something due in one look.
const DUE_HOOKS_MAX: i64 = 1_000;

/// An event owed to a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) run_id: HookRunId,
    pub(crate) event_id: EventId,
    pub(crate) hook_id: HookId,
    pub(crate) tenant: Tenant,
    /// Position in the line of its events.
    pub(crate) position: Option<LinePosition>,
}

/// Adds runs and queues them, due now.
pub(crate) async fn insert(conn: &mut Conn, owed: Vec<Owed>, now: Millis) -> Result<(), DbError> {
    let entries = owed
        .iter()
        .map(|owed| Entry::new(owed.run_id.clone(), owed.hook_id.clone(), owed.position.as_ref()))
        .collect();
    let rows = owed
        .into_iter()
        .map(|owed| {
            args![
                owed.run_id,
                owed.hook_id,
                owed.event_id,
                owed.tenant.merchant,
                owed.tenant.mode,
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

/// A hook with something due.
#[derive(Debug, Clone)]
pub(crate) struct DueHook {
    pub(crate) id: HookId,
    pub(crate) merchant_id: MerchantId,
}

/// Hooks with something due, the longest waiting first.
pub(crate) async fn due_hooks(conn: &mut Conn, now: Millis) -> Result<Vec<DueHook>, DbError> {
    let sql = "SELECT id, merchant_id FROM hook
               WHERE due_at <= $1 AND state = 'active' AND (paused_until IS NULL OR paused_until <= $1)
               ORDER BY due_at, id LIMIT $2";
    conn.rows(sql, args![now, DUE_HOOKS_MAX])
        .await?
        .iter()
        .map(|row| Ok(DueHook { id: row.id("id")?, merchant_id: row.id("merchant_id")? }))
        .collect()
}

/// A claimed run, and all that its call needs.
#[derive(Debug, Clone)]
pub(crate) struct DueRun {
    pub(crate) run_id: HookRunId,
    pub(crate) callee: Callee,
    /// The shadow version, which the run is played to as well.
    pub(crate) shadow_id: Option<HookVersionId>,
    pub(crate) event_id: EventId,
    pub(crate) event_kind: String,
    pub(crate) payload: String,
    pub(crate) fence: i64,
    /// Number of attempts so far, over all rounds.
    pub(crate) attempts: i64,
    /// Number of those before this round.
    pub(crate) attempts_before: i64,
    /// Number of earlier claims in a row that ended without a result.
    pub(crate) unheard: i64,
}

/// Claims runs until `lease_until`, of each of these hooks as many as `take` says. Skips hooks that another transaction
/// has locked.
pub(crate) async fn claim(
    conn: &mut Conn,
    hooks: Vec<(HookId, usize)>,
    now: Millis,
    lease_until: Millis,
) -> Result<Vec<DueRun>, DbError> {
    let ids = hooks.iter().map(|(id, _)| id);
    let locked = lock_free(conn, "SELECT id FROM hook WHERE id IN", ids).await?;
    let mut claimed = Vec::new();
    for (hook_id, take) in hooks.into_iter().filter(|(id, _)| locked.contains(id)) {
        claimed.extend(due_of(conn, hook_id, now, take).await?);
    }
    let leased = claimed.iter().map(|one| (&one.run_id, one.fence));
    let looked_at: Vec<Value> = locked.iter().map(Into::into).collect();
    lease(conn, leased, lease_until, looked_at).await?;
    Ok(claimed)
}

async fn due_of(conn: &mut Conn, hook_id: HookId, now: Millis, take: usize) -> Result<Vec<DueRun>, DbError> {
    let sql =
        "SELECT q.run_id, q.hook_id, h.name, r.merchant_id, r.test, v.id AS version_id, h.shadow_id, v.sha256, v.version,
                 v.manifest, h.settings, r.event_id, e.kind, e.payload, q.fence, q.claims, r.attempts, q.attempts_before
               FROM hook_run_queue q
               JOIN hook_run r ON r.id = q.run_id
               JOIN event e ON e.id = r.event_id
               JOIN hook h ON h.id = q.hook_id
               JOIN hook_version v ON v.id = h.active_id
               WHERE q.hook_id = $1 AND q.waits = 0 AND q.due_at <= $2
               ORDER BY q.due_at, q.run_id LIMIT $3 /*pg: FOR UPDATE OF q SKIP LOCKED*/";
    let take = i64::try_from(take).unwrap_or(i64::MAX);
    conn.rows(sql, args![hook_id, now, take])
        .await?
        .iter()
        .map(|row| {
            Ok(DueRun {
                run_id: row.id("run_id")?,
                callee: Callee::read(row)?,
                shadow_id: row.opt_id("shadow_id")?,
                event_id: row.id("event_id")?,
                event_kind: row.text("kind")?,
                payload: row.text("payload")?,
                fence: row.int("fence")? + 1,
                attempts: row.int("attempts")?,
                attempts_before: row.int("attempts_before")?,
                unheard: row.int("claims")?,
            })
        })
        .collect()
}

/// A call that has ended, and its consequence.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) run_id: HookRunId,
    pub(crate) hook_id: HookId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) fence: i64,
    pub(crate) attempt: Attempt,
    /// Number within this round, from 1.
    pub(crate) in_round: u32,
    pub(crate) next: Next,
}

/// The result of reporting a call's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The claim was lost: nothing was written, and nothing of the call may be kept.
    Stale,
    Written {
        /// True if this failure paused the hook: its runs wait.
        paused: bool,
    },
}

/// Records the end of a call: the attempt, the run, the queue, the breaker, the usage. Where the merchant's hooks have
/// reached their `limit`, the attempt's log and recording are left out.
pub(crate) async fn finish(
    conn: &mut Conn,
    ended: &Ended,
    limit: DiskLimit,
    now: Millis,
) -> Result<Finish, DbError> {
    let held = fences(conn, std::iter::once(&ended.run_id)).await?;
    if held.get(&ended.run_id) != Some(&ended.fence) {
        return Ok(Finish::Stale);
    }
    let attempt = &ended.attempt;
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
    let failed = attempt.outcome == Outcome::Failed;
    let mut breakers = lock_owners(conn, std::iter::once(&ended.hook_id)).await?;
    let judged = judge(&mut breakers, !failed, now);
    if judged.changed {
        set_breakers(conn, &breakers).await?;
    }
    match ended.next {
        Next::RetryAt(at) => {
            reschedule(conn, vec![args![&ended.run_id, at]]).await?;
            if retry::lets_others_pass(ended.in_round) {
                let lines = step_aside(conn, args![&ended.run_id]).await?;
                advance(conn, lines, now).await?;
            }
            due_by(conn, [(ended.hook_id.clone(), at)].into()).await?;
        }
        _ => {
            let lines = remove(conn, args![&ended.run_id]).await?;
            advance(conn, lines, now).await?;
        }
    }
    use_up(conn, &ended.hook_id, attempt.at, failed, attempt.used).await?;
    log(conn, ended, limit).await?;
    Ok(Finish::Written { paused: judged.paused })
}

async fn log(conn: &mut Conn, ended: &Ended, limit: DiskLimit) -> Result<(), DbError> {
    let (run_id, attempt) = (&ended.run_id, &ended.attempt);
    let used = attempt.used;
    // A replay uses the last call; recordings of earlier ones would only take space.
    let before = conn
        .row(
            "SELECT tape_bytes FROM hook_attempt WHERE run_id = $1 AND number = $2 AND tape_bytes > 0 /*pg: FOR UPDATE*/",
            args![run_id, attempt.number - 1],
        )
        .await?;
    let freed = before.map_or(Ok(0), |row| row.int("tape_bytes"))?;
    if freed > 0 {
        conn.exec(
            r#"UPDATE hook_attempt SET tape = '{"steps":[],"cut":true}', bytes = bytes - tape_bytes, tape_bytes = 0
               WHERE run_id = $1 AND number = $2"#,
            args![run_id, attempt.number - 1],
        )
        .await?;
    }
    let (mut lines, mut tape) =
        (serde_json::Value::from(attempt.log.clone()).to_string(), attempt.tape.as_str());
    let (note, none) = (attempt.note.as_str(), "[]");
    let mut tape_bytes = if tape == NO_TAPE { 0 } else { disk::bytes(tape) };
    let mut bytes = disk::row_bytes(&[note, &lines]) + tape_bytes;
    let without = disk::row_bytes(&[note, none]);
    if !disk::count_call(conn, &ended.merchant_id, (bytes - freed, without - freed), limit).await? {
        (lines, tape, tape_bytes, bytes) = (none.to_owned(), NO_TAPE, 0, without);
    }
    conn.exec(
        "INSERT INTO hook_attempt (run_id, number, at, version_id, outcome, note, duration_us, cpu_us, fuel,
             memory_bytes, host_calls, http_requests, log, tape, bytes, tape_bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        args![
            run_id,
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
            lines,
            tape.to_owned(),
            bytes,
            tape_bytes,
        ],
    )
    .await?;
    Ok(())
}

/// Adds a call to its hook's usage of that day.
pub(crate) async fn use_up(
    conn: &mut Conn,
    hook_id: &HookId,
    at: Millis,
    failed: bool,
    used: Used,
) -> Result<(), DbError> {
    conn.exec(
        "INSERT INTO hook_usage (hook_id, day, attempts, failed, cpu_us, http_requests) VALUES ($1, $2, 1, $3, $4, $5)
         ON CONFLICT (hook_id, day) DO UPDATE SET attempts = hook_usage.attempts + 1,
             failed = hook_usage.failed + excluded.failed, cpu_us = hook_usage.cpu_us + excluded.cpu_us,
             http_requests = hook_usage.http_requests + excluded.http_requests",
        args![
            hook_id.clone(),
            at.div_euclid(MS_PER_DAY),
            failed,
            used.cpu_us,
            used.http_requests,
        ],
    )
    .await?;
    Ok(())
}
