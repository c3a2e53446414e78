//! Recordings, questions, differences, and the log that settle has read.

use std::collections::BTreeMap;

use super::{COUNTED, Position, ROWS, Step, Window};
use crate::{
    db::{
        Conn, DbError, Row, Value, args,
        disk::{self, DiskUse},
        hooks::{matches, runs},
    },
    domain::{
        Millis,
        id::{HookMatchId, HookRunId, HookVersionId, Id, MerchantId},
    },
};

/// The parts of the recordings: calls first, then questions.
const CALLS: &str = "";
const QUESTIONS: &str = "questions";
/// The part in which a network's log is finished.
const OVER: &str = "over";

pub(super) async fn count_tapes(conn: &mut Conn, before: Millis) -> Result<Option<Row>, DbError> {
    let sql = "SELECT COUNT(*) AS n, MIN(at) AS oldest FROM (
                 SELECT at FROM hook_attempt a WHERE tape_bytes > 0
                   AND (run_id < $1 OR NOT EXISTS (SELECT 1 FROM hook_version v WHERE v.id = a.version_id))
                 UNION ALL
                 SELECT at FROM hook_match m WHERE tape_bytes > 0
                   AND (id < $2 OR NOT EXISTS (SELECT 1 FROM hook_version v WHERE v.id = m.version_id))
                 LIMIT $3) AS d";
    let (runs, matches) = (HookRunId::first_at(before), HookMatchId::first_at(before));
    conn.row(sql, args![runs, matches, COUNTED]).await
}

/// Deletes recordings version by version, in the order of their ids; all recordings of a deleted version.
pub(super) async fn tapes(conn: &mut Conn, position: Position, before: Millis) -> Result<Step, DbError> {
    let is_calls = position.part == CALLS;
    let sql = if is_calls {
        "SELECT a.version_id, r.merchant_id, v.id AS known FROM hook_attempt a JOIN hook_run r ON r.id = a.run_id
         LEFT JOIN hook_version v ON v.id = a.version_id
         WHERE a.version_id > $1 AND a.tape_bytes > 0 ORDER BY a.version_id LIMIT 1"
    } else {
        "SELECT m.version_id, m.merchant_id, v.id AS known FROM hook_match m
         LEFT JOIN hook_version v ON v.id = m.version_id
         WHERE m.version_id > $1 AND m.tape_bytes > 0 ORDER BY m.version_id LIMIT 1"
    };
    let Some(row) = conn.row(sql, args![&position.after]).await? else {
        let next = is_calls.then(|| Position { part: QUESTIONS.to_owned(), ..Position::default() });
        return Ok(Step { deleted: 0, next });
    };
    let (version, merchant_id) = (row.id::<HookVersionId>("version_id")?, row.id("merchant_id")?);
    let young = row.opt_text("known")?.is_some();
    let (count, freed) = if is_calls {
        let to = young.then(|| HookRunId::first_at(before));
        runs::forget_tapes(conn, &version, to, ROWS).await?
    } else {
        let to = young.then(|| HookMatchId::first_at(before));
        matches::forget_tapes(conn, &version, to, ROWS).await?
    };
    disk::count(conn, &merchant_id, DiskUse::of_runs(-freed)).await?;
    let next = if count < ROWS { Position { after: version.to_string(), ..position } } else { position };
    Ok(Step { deleted: u64::try_from(count).unwrap_or(0), next: Some(next) })
}

pub(super) async fn shadows(conn: &mut Conn, before: Millis) -> Result<Step, DbError> {
    let sql = "SELECT s.hook_id, s.version_id, s.run_id, s.number, s.bytes, h.merchant_id
               FROM hook_shadow s JOIN hook h ON h.id = s.hook_id WHERE s.at < $1 ORDER BY s.at LIMIT $2
               /*pg: FOR UPDATE OF s*/";
    let old = conn.rows(sql, args![before, ROWS]).await?;
    let freed = by_merchant(&old)?;
    let keys = old.iter().map(|row| {
        Ok(args![row.text("hook_id")?, row.text("version_id")?, row.text("run_id")?, row.int("number")?])
    });
    let keys = keys.collect::<Result<Vec<Vec<Value>>, DbError>>()?;
    let delete = "DELETE FROM hook_shadow WHERE (hook_id, version_id, run_id, number) IN (";
    let deleted = conn.insert_many(delete, keys, ")").await?;
    free(conn, freed).await?;
    let more = i64::try_from(old.len()).is_ok_and(|count| count >= ROWS);
    Ok(Step { deleted, next: more.then(Position::default) })
}

macro_rules! old_matches {
    () => {
        "FROM hook_match WHERE id > $1 AND id <= $2 AND at < $3
           AND NOT EXISTS (SELECT 1 FROM match_queue q WHERE q.transfer_id = hook_match.transfer_id)"
    };
}

pub(super) async fn count_matches(conn: &mut Conn, before: Millis) -> Result<Option<Row>, DbError> {
    let sql = concat!(
        "SELECT COUNT(*) AS n, MIN(at) AS oldest FROM (SELECT at ",
        old_matches!(),
        " ORDER BY id LIMIT $4) AS d"
    );
    conn.row(sql, args![String::new(), HookMatchId::first_at(before), before, COUNTED]).await
}

pub(super) async fn matches(conn: &mut Conn, position: Position, before: Millis) -> Result<Step, DbError> {
    let ends = "SELECT id FROM hook_match WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3";
    let window = Window::<HookMatchId>::next(conn, ends, position, before).await?;
    let sql = concat!(
        "SELECT id, merchant_id, bytes ",
        old_matches!(),
        " ORDER BY id /*pg: FOR UPDATE SKIP LOCKED*/"
    );
    let old = conn.rows(sql, args![&window.after, &window.to, before]).await?;
    let ids = old.iter().map(|row| Ok(row.text("id")?.into())).collect::<Result<_, DbError>>()?;
    let deleted = conn.exec_in("DELETE FROM hook_match WHERE id IN", ids, "").await?;
    free(conn, by_merchant(&old)?).await?;
    Ok(Step { deleted, next: window.next_position() })
}

macro_rules! old_sightings {
    () => {
        "at < $1 AND EXISTS (SELECT 1 FROM transfer t WHERE t.id = sighting.transfer_id
           AND t.status IN ('final', 'retracted'))"
    };
}

pub(super) async fn count_sightings(conn: &mut Conn, before: Millis) -> Result<Option<Row>, DbError> {
    let sql = concat!(
        "SELECT COUNT(*) AS n, MIN(at) AS oldest FROM (SELECT at FROM sighting WHERE ",
        old_sightings!(),
        " AND seq <= (SELECT c.seq FROM settle_cursor c WHERE c.network = sighting.network) LIMIT $2) AS d"
    );
    conn.row(sql, args![before, COUNTED]).await
}

/// Deletes log entries network by network, in the order of the log, as far as settle has read it.
pub(super) async fn sightings(conn: &mut Conn, position: Position, before: Millis) -> Result<Step, DbError> {
    let sql = "SELECT network, seq FROM settle_cursor WHERE network > $1 OR (network = $1 AND $2 = 0)
               ORDER BY network LIMIT 1";
    let Some(row) = conn.row(sql, args![&position.after, position.part == OVER]).await? else {
        return Ok(Step { deleted: 0, next: None });
    };
    let (network, settled) = (row.text("network")?, row.int("seq")?);
    let after = if network == position.after { position.seq } else { i64::MIN };
    let sql =
        "SELECT seq, at FROM sighting WHERE network = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4";
    let log = conn.rows(sql, args![&network, after, settled, ROWS]).await?;
    let mut deleted = 0;
    let mut is_last = i64::try_from(log.len()).is_ok_and(|count| count < ROWS);
    let mut to = after;
    if let Some(last) = log.last() {
        to = last.int("seq")?;
        is_last |= last.int("at")? >= before;
        let sql = concat!(
            "DELETE FROM sighting WHERE ",
            old_sightings!(),
            " AND network = $2 AND seq > $3 AND seq <= $4"
        );
        deleted = conn.exec(sql, args![before, &network, after, to]).await?;
    }
    let part = if is_last { OVER } else { "" };
    Ok(Step { deleted, next: Some(Position { part: part.to_owned(), after: network, seq: to }) })
}

fn by_merchant(rows: &[Row]) -> Result<BTreeMap<MerchantId, i64>, DbError> {
    let mut bytes = BTreeMap::new();
    for row in rows {
        *bytes.entry(row.id("merchant_id")?).or_default() += row.int("bytes")?;
    }
    Ok(bytes)
}

async fn free(conn: &mut Conn, bytes: BTreeMap<MerchantId, i64>) -> Result<(), DbError> {
    for (merchant_id, bytes) in bytes {
        disk::count(conn, &merchant_id, DiskUse::of_runs(-bytes)).await?;
    }
    Ok(())
}
