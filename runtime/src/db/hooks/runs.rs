//! Hook runs: events owed to hooks, the calls that were made for them, and what they used.
//!
//! Here is what a merchant sees of them and may do with them; a function finds nothing of another merchant or mode.
//! What workers do is in [`super::run_queue`].

use super::run_queue::{due_by, lock_owners, push};
use crate::{
    db::{
        Conn, DbError, Row, args,
        disk::sum,
        events::place,
        newest::newest_of_each,
        queue::{Entry, FENCES_PER_ATTEMPT},
    },
    domain::{
        Millis,
        hook::{Outcome, RunState},
        id::{EventId, HookId, HookRunId, HookVersionId},
        tenant::Tenant,
    },
};

pub(super) const MS_PER_DAY: i64 = 86_400_000;

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// On the clock, waiting included.
    pub(crate) duration_us: i64,
    /// Of a processor.
    pub(crate) cpu_us: i64,
    /// Approximate number of WebAssembly instructions; the same for the same input on every machine.
    pub(crate) fuel: i64,
    /// Peak memory, bytes.
    pub(crate) memory_bytes: i64,
    pub(crate) host_calls: i64,
    pub(crate) http_requests: i64,
}

/// One call of a run.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// Number over all rounds, from 1.
    pub(crate) number: i64,
    pub(crate) at: Millis,
    pub(crate) version_id: HookVersionId,
    pub(crate) outcome: Outcome,
    /// What the hook said, or why it failed.
    pub(crate) note: String,
    pub(crate) used: Used,
    /// What it wrote into its log: objects of `level` and `text`.
    pub(crate) log: Vec<serde_json::Value>,
    /// The recording of its calls to the host and their answers, JSON.
    pub(crate) tape: String,
}

/// A run as its merchant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: HookRunId,
    pub(crate) hook_id: HookId,
    pub(crate) hook_name: String,
    pub(crate) event_id: EventId,
    pub(crate) event_kind: String,
    pub(crate) state: RunState,
    pub(crate) attempts: i64,
    pub(crate) note: Option<String>,
    pub(crate) created_at: Millis,
    /// Time of the next call while pending; while a call is under way, the time at which it counts as lost.
    pub(crate) due_at: Option<Millis>,
    /// True if it waits for the run of an earlier event of the same invoice to end.
    pub(crate) waits: bool,
    pub(crate) done_at: Option<Millis>,
}

// Where rows are found by another index than the merchant's, the merchant is compared as an expression: without
// statistics of its tables SQLite might take either index.
macro_rules! select {
    ($($rest:expr),+) => {
        concat!(
            "SELECT r.id, r.hook_id, h.name, r.event_id, e.kind, r.state, r.attempts, r.note, r.created_at,
                 CASE WHEN q.waits = 0 THEN q.due_at END AS due_at, COALESCE(q.waits, 0) AS waits, r.done_at
             FROM hook_run r
             JOIN hook h ON h.id = r.hook_id
             JOIN event e ON e.id = r.event_id
             LEFT JOIN hook_run_queue q ON q.run_id = r.id
             ",
            $($rest),+
        )
    };
}

fn read(row: &Row) -> Result<Run, DbError> {
    Ok(Run {
        id: row.id("id")?,
        hook_id: row.id("hook_id")?,
        hook_name: row.text("name")?,
        event_id: row.id("event_id")?,
        event_kind: row.text("kind")?,
        state: row.parsed("state")?,
        attempts: row.int("attempts")?,
        note: row.opt_text("note")?,
        created_at: row.int("created_at")?,
        due_at: row.opt_int("due_at")?,
        waits: row.bool("waits")?,
        done_at: row.opt_int("done_at")?,
    })
}

pub(crate) async fn get(conn: &mut Conn, tenant: &Tenant, id: &HookRunId) -> Result<Option<Run>, DbError> {
    let args = args![&tenant.merchant, tenant.mode, id];
    conn.row(select!("WHERE r.merchant_id = $1 AND r.test = $2 AND r.id = $3"), args)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The runs of one hook or of all, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    hook_id: Option<HookId>,
    state: Option<RunState>,
    before: HookRunId,
    rows: i64,
) -> Result<Vec<Run>, DbError> {
    let mut args = args![&tenant.merchant, tenant.mode, before, rows];
    let sql = match (hook_id, state) {
        (None, None) => select!(
            "WHERE r.merchant_id || '' = $1 AND r.test + 0 = $2 AND r.id IN ",
            newest_of_each!(
                "SELECT id FROM hook_run WHERE merchant_id = $1 AND test = $2 AND state = ",
                "AND id /*pg: COLLATE \"C\"*/ < $3 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4",
                ["pending", "done", "rejected", "exhausted"]
            ),
            " ORDER BY r.id DESC LIMIT $4"
        ),
        (None, Some(state)) => {
            args.push(state.into());
            select!(
                "WHERE r.merchant_id = $1 AND r.test = $2 AND r.state = $5 AND r.id /*pg: COLLATE \"C\"*/ < $3
                 ORDER BY r.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            )
        }
        (Some(id), None) => {
            args.push(id.into());
            select!(
                "WHERE r.merchant_id || '' = $1 AND r.test + 0 = $2 AND r.id IN ",
                newest_of_each!(
                    "SELECT id FROM hook_run WHERE hook_id = $5 AND state = ",
                    "AND id /*pg: COLLATE \"C\"*/ < $3 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4",
                    ["pending", "done", "rejected", "exhausted"]
                ),
                " ORDER BY r.id DESC LIMIT $4"
            )
        }
        (Some(id), Some(state)) => {
            args.extend(args![id, state]);
            select!(
                "WHERE r.merchant_id || '' = $1 AND r.test + 0 = $2 AND r.id IN (
                   SELECT id FROM hook_run WHERE hook_id = $5 AND state = $6 AND id /*pg: COLLATE \"C\"*/ < $3
                   ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4)
                 ORDER BY r.id DESC"
            )
        }
    };
    conn.rows(sql, args).await?.iter().map(read).collect()
}

/// The last calls of a run, at most `rows`, the oldest first.
pub(crate) async fn attempts(
    conn: &mut Conn,
    run_id: &HookRunId,
    rows: i64,
) -> Result<Vec<Attempt>, DbError> {
    let sql = "SELECT * FROM hook_attempt WHERE run_id = $1 ORDER BY number DESC LIMIT $2";
    conn.rows(sql, args![run_id, rows]).await?.iter().rev().map(attempt).collect()
}

fn attempt(row: &Row) -> Result<Attempt, DbError> {
    Ok(Attempt {
        number: row.int("number")?,
        at: row.int("at")?,
        version_id: row.id("version_id")?,
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

/// The last calls of a hook, one for each event that it ran for: the input of a replay. The newest first; each with its
/// run's and its event's id.
pub(crate) async fn last_calls(
    conn: &mut Conn,
    hook_id: &HookId,
    limit: i64,
) -> Result<Vec<(HookRunId, EventId, Attempt)>, DbError> {
    let sql = concat!(
        "SELECT a.*, r.event_id FROM hook_run r JOIN hook_attempt a ON a.run_id = r.id AND a.number = r.attempts
         WHERE r.id IN ",
        newest_of_each!(
            "SELECT id FROM hook_run WHERE hook_id = $1 AND state = ",
            "ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $2",
            ["pending", "done", "rejected", "exhausted"]
        ),
        " ORDER BY r.id DESC LIMIT $2"
    );
    let rows = conn.rows(sql, args![hook_id, limit]).await?;
    rows.iter().map(|row| Ok((row.id("run_id")?, row.id("event_id")?, attempt(row)?))).collect()
}

/// Stands in place of a recording that is not kept.
pub(super) const NO_TAPE: &str = r#"{"steps":[],"cut":true}"#;

/// Deletes the recordings of a version's calls, the oldest first, at most `rows`; with `before`, only those of runs
/// below this id. Returns the number of calls, and the bytes freed.
pub(crate) async fn forget_tapes(
    conn: &mut Conn,
    version_id: &HookVersionId,
    before: Option<HookRunId>,
    rows: i64,
) -> Result<(i64, i64), DbError> {
    let sql = "SELECT run_id, number, tape_bytes FROM hook_attempt
               WHERE version_id = $1 AND tape_bytes > 0 AND ($2 IS NULL OR run_id < $2)
               ORDER BY run_id, number LIMIT $3 /*pg: FOR UPDATE*/";
    let found = conn.rows(sql, args![version_id, before, rows]).await?;
    let calls = found.iter().map(|row| Ok(args![row.text("run_id")?, row.int("number")?]));
    conn.insert_many(
        "WITH v (run_id, number) AS (",
        calls.collect::<Result<_, DbError>>()?,
        r#") UPDATE hook_attempt SET tape = '{"steps":[],"cut":true}', bytes = bytes - tape_bytes, tape_bytes = 0 FROM v
             WHERE hook_attempt.run_id = v.run_id AND hook_attempt.number = v.number"#,
    )
    .await?;
    Ok((i64::try_from(found.len()).unwrap_or(i64::MAX), sum(&found, "tape_bytes")?))
}

/// Makes the runs of a hook (or one of them) that wait for a retry due now. Runs under way stay as they are: they have
/// more claims than ends. Returns the number of runs.
pub(crate) async fn hurry(
    conn: &mut Conn,
    hook_id: &HookId,
    run_id: Option<&HookRunId>,
    now: Millis,
) -> Result<u64, DbError> {
    lock_owners(conn, std::iter::once(hook_id)).await?;
    let hurried = conn
        .exec(
            "UPDATE hook_run_queue SET due_at = $3
             WHERE hook_id = $1 AND ($2 IS NULL OR run_id = $2) AND due_at > $3 AND waits = 0
               AND fence - attempts_before * $4 = (SELECT r.attempts FROM hook_run r WHERE r.id = run_id) - attempts_before",
            args![hook_id, run_id, now, FENCES_PER_ATTEMPT],
        )
        .await?;
    if hurried > 0 {
        due_by(conn, [(hook_id.clone(), now)].into()).await?;
    }
    Ok(hurried)
}

/// Starts a new round of a run that has ended, whatever its end, due now. A run that waits for a retry becomes due now.
/// Returns false if it is under way.
pub(crate) async fn run_again(conn: &mut Conn, run: &Run, now: Millis) -> Result<bool, DbError> {
    if run.state == RunState::Pending {
        return Ok(hurry(conn, &run.hook_id, Some(&run.id), now).await? > 0);
    }
    let sql = "UPDATE hook_run SET state = 'pending', done_at = NULL
               WHERE id = $1 AND state <> 'pending' RETURNING attempts";
    let Some(row) = conn.row(sql, args![&run.id]).await? else { return Ok(false) };
    let attempts_before = row.int("attempts")?;
    let sql = "SELECT invoice_id, transfer_id, sequence, created_at AS event_at FROM event WHERE id = $1";
    let place = conn.row(sql, args![&run.event_id]).await?.as_ref().map(place).transpose()?.flatten();
    let entry = Entry::new(run.id.clone(), run.hook_id.clone(), place.as_ref()).again(attempts_before);
    push(conn, vec![entry], now).await?;
    Ok(true)
}

/// What a hook used on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// First millisecond of the day, UTC.
    pub(crate) day: Millis,
    pub(crate) attempts: i64,
    pub(crate) failed: i64,
    pub(crate) cpu_us: i64,
    pub(crate) http_requests: i64,
}

/// The usage of the last `days` days with runs, the newest first.
pub(crate) async fn usage(conn: &mut Conn, hook_id: &HookId, days: i64) -> Result<Vec<Usage>, DbError> {
    let sql = "SELECT * FROM hook_usage WHERE hook_id = $1 ORDER BY day DESC LIMIT $2";
    conn.rows(sql, args![hook_id, days])
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
