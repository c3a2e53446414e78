//! Questions to matchers and what came of them, as merchants see them.

use crate::{
    db::{
        Conn, DbError, Row, args,
        disk::{self, DiskLimit, sum},
        hooks::{run_queue::use_up, runs::Used},
    },
    domain::{
        Millis,
        hook::MatchOutcome,
        id::{HookId, HookMatchId, HookVersionId, TransferId},
        settlement::Share,
        tenant::Tenant,
        verbatim::Verbatim,
    },
};

/// A question to a matcher.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) id: HookMatchId,
    pub(crate) hook_id: HookId,
    pub(crate) transfer_id: TransferId,
    pub(crate) version_id: HookVersionId,
    pub(crate) outcome: MatchOutcome,
    /// Why: what the hook said, or what was wrong with it.
    pub(crate) note: String,
    /// The question; null where it is not kept: only the newest thousand are, for a limited time.
    pub(crate) question: Verbatim,
    /// What the transfer pays by it.
    pub(crate) parts: Vec<Share>,
    pub(crate) at: Millis,
    pub(crate) used: Used,
    /// What it wrote into its log: objects of `level` and `text`.
    pub(crate) log: Vec<serde_json::Value>,
    /// The recording of its calls to the host and their answers, JSON.
    pub(crate) tape: String,
}

fn read(row: &Row) -> Result<Match, DbError> {
    Ok(Match {
        id: row.id("id")?,
        hook_id: row.id("hook_id")?,
        transfer_id: row.id("transfer_id")?,
        version_id: row.id("version_id")?,
        outcome: row.parsed("outcome")?,
        note: row.text("note")?,
        question: row.json("question")?,
        parts: row.json("parts")?,
        at: row.int("at")?,
        used: Used {
            duration_us: row.int("duration_us")?,
            cpu_us: row.int("cpu_us")?,
            fuel: row.int("fuel")?,
            memory_bytes: row.int("memory_bytes")?,
            host_calls: row.int("host_calls")?,
            http_requests: 0,
        },
        log: row.json("log")?,
        tape: row.text("tape")?,
    })
}

/// Stores a question. Where the merchant's hooks have reached their `limit`, its text, log and recording are left out.
pub(crate) async fn insert(
    conn: &mut Conn,
    tenant: &Tenant,
    one: &Match,
    limit: DiskLimit,
) -> Result<(), DbError> {
    use_up(conn, &one.hook_id, one.at, one.outcome == MatchOutcome::Failed, one.used).await?;
    // A question with a hundred offers is long: only the answers of older ones are kept.
    let sql = "SELECT id FROM hook_match WHERE hook_id = $1 ORDER BY id DESC LIMIT 1 OFFSET 999";
    let old = conn.rows(sql, args![&one.hook_id]).await?;
    let freed = forget_tapes_of(conn, &old).await?;
    let mut log = serde_json::Value::from(one.log.clone()).to_string();
    let parts = serde_json::json!(one.parts).to_string();
    let (mut question, mut tape) = (one.question.text(), one.tape.as_str());
    let mut tape_bytes = disk::bytes(question) + disk::bytes(tape);
    let mut bytes = disk::row_bytes(&[&one.note, &parts, &log]) + tape_bytes;
    let without = disk::row_bytes(&[&one.note, &parts, "[]"]);
    if !disk::count_call(conn, &tenant.merchant, (bytes - freed, without - freed), limit).await? {
        log = "[]".to_owned();
        (question, tape, tape_bytes, bytes) = ("null", "null", 0, without);
    }
    conn.exec(
        "INSERT INTO hook_match (id, hook_id, merchant_id, test, transfer_id, version_id, outcome, note, question,
             parts, at, duration_us, cpu_us, fuel, memory_bytes, host_calls, log, tape, bytes, tape_bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        args![
            &one.id,
            &one.hook_id,
            &tenant.merchant,
            tenant.mode,
            &one.transfer_id,
            &one.version_id,
            one.outcome,
            &one.note,
            question.to_owned(),
            parts,
            one.at,
            one.used.duration_us,
            one.used.cpu_us,
            one.used.fuel,
            one.used.memory_bytes,
            one.used.host_calls,
            log,
            tape.to_owned(),
            bytes,
            tape_bytes,
        ],
    )
    .await?;
    Ok(())
}

/// Deletes the recordings and the texts of a version's questions, the oldest first, at most `rows`; with `before`, only
/// those below this id. Returns their number, and the bytes freed.
pub(crate) async fn forget_tapes(
    conn: &mut Conn,
    version_id: &HookVersionId,
    before: Option<HookMatchId>,
    rows: i64,
) -> Result<(i64, i64), DbError> {
    let sql = "SELECT id FROM hook_match WHERE version_id = $1 AND tape_bytes > 0 AND ($2 IS NULL OR id < $2)
               ORDER BY id LIMIT $3";
    let found = conn.rows(sql, args![version_id, before, rows]).await?;
    let freed = forget_tapes_of(conn, &found).await?;
    Ok((i64::try_from(found.len()).unwrap_or(i64::MAX), freed))
}

/// Deletes the texts and recordings of these rows' questions. Returns the bytes freed.
pub(super) async fn forget_tapes_of(conn: &mut Conn, matches: &[Row]) -> Result<i64, DbError> {
    let ids: Vec<_> = matches.iter().map(|row| Ok(row.text("id")?.into())).collect::<Result<_, DbError>>()?;
    let sql = "SELECT tape_bytes FROM hook_match WHERE tape_bytes > 0 AND id IN";
    let freed = sum(&conn.rows_in(sql, ids.clone(), "/*pg: FOR UPDATE*/").await?, "tape_bytes")?;
    let sql =
        "UPDATE hook_match SET question = 'null', tape = 'null', bytes = bytes - tape_bytes, tape_bytes = 0
               WHERE tape_bytes > 0 AND id IN";
    conn.exec_in(sql, ids, "").await?;
    Ok(freed)
}

/// The questions to a hook, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    hook_id: &HookId,
    before: HookMatchId,
    rows: i64,
) -> Result<Vec<Match>, DbError> {
    let sql = "SELECT * FROM hook_match WHERE merchant_id = $1 AND test = $2 AND hook_id = $3 AND id /*pg: COLLATE \"C\"*/ < $4
               ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $5";
    let args = args![&tenant.merchant, tenant.mode, hook_id, before, rows];
    conn.rows(sql, args).await?.iter().map(read).collect()
}
