//! Questions to matchers and what came of them, as merchants see them.

use super::{
    Conn, DbError, Row, args,
    hook_runs::{Used, queue::use_up},
    hooks::Owner,
};
use crate::domain::{Millis, hook::MatchOutcome, settlement::Share, verbatim::Verbatim};

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) id: String,
    pub(crate) hook_id: String,
    pub(crate) transfer_id: String,
    pub(crate) version_id: String,
    pub(crate) outcome: MatchOutcome,
    /// Why: what the hook said, or what was wrong with it.
    pub(crate) note: String,
    /// What it was asked; null of all but the newest thousand.
    pub(crate) question: Verbatim,
    /// What the transfer pays by it.
    pub(crate) parts: Vec<Share>,
    pub(crate) at: Millis,
    pub(crate) used: Used,
    /// What it wrote into its log: objects of `level` and `text`.
    pub(crate) log: Vec<serde_json::Value>,
    /// What it asked the host and was answered, as JSON.
    pub(crate) tape: String,
}

fn read(row: &Row) -> Result<Match, DbError> {
    Ok(Match {
        id: row.text("id")?,
        hook_id: row.text("hook_id")?,
        transfer_id: row.text("transfer_id")?,
        version_id: row.text("version_id")?,
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

pub(crate) async fn insert(conn: &mut Conn, owner: &Owner, one: &Match) -> Result<(), DbError> {
    let json = |value| serde_json::Value::from(value).to_string();
    conn.exec(
        "INSERT INTO hook_match (id, hook_id, merchant_id, test, transfer_id, version_id, outcome, note, question,
             parts, at, duration_us, cpu_us, fuel, memory_bytes, host_calls, log, tape)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        args![
            &one.id,
            &one.hook_id,
            &owner.merchant_id,
            owner.test,
            &one.transfer_id,
            &one.version_id,
            one.outcome,
            &one.note,
            &one.question,
            serde_json::json!(one.parts).to_string(),
            one.at,
            one.used.duration_us,
            one.used.cpu_us,
            one.used.fuel,
            one.used.memory_bytes,
            one.used.host_calls,
            json(one.log.clone()),
            &one.tape,
        ],
    )
    .await?;
    // A question with a hundred offers is long: of older ones only the answer is kept.
    conn.exec(
        "UPDATE hook_match SET question = 'null', tape = 'null' WHERE id = (
             SELECT id FROM hook_match WHERE hook_id = $1 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT 1 OFFSET 1000)",
        args![&one.hook_id],
    )
    .await?;
    use_up(conn, &one.hook_id, one.at, one.outcome == MatchOutcome::Failed, one.used).await
}

/// Those of a hook, the newest first, from below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    owner: &Owner,
    hook_id: &str,
    before: String,
    rows: i64,
) -> Result<Vec<Match>, DbError> {
    let sql = "SELECT * FROM hook_match WHERE merchant_id = $1 AND test = $2 AND hook_id = $3 AND id /*pg: COLLATE \"C\"*/ < $4
               ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $5";
    let args = args![&owner.merchant_id, owner.test, hook_id.to_owned(), before, rows];
    conn.rows(sql, args).await?.iter().map(read).collect()
}
