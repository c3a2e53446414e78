//! Events, and what was made of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{COUNTED, PARTS, Position, Step, Window};
use crate::{
    db::{
        Conn, DbError, Row, Value, args,
        disk::{self, DiskUse},
    },
    domain::{
        Millis,
        id::{DeliveryId, EventId, HookRunId, Id, MerchantId},
    },
};

macro_rules! counting {
    ($old:expr) => {
        concat!(
            "SELECT COUNT(*) AS n, MIN(at) AS oldest FROM (SELECT created_at AS at ",
            $old,
            " ORDER BY id LIMIT $4) AS d"
        )
    };
}

// Deliveries between two ids that may go, if they ended before `$3`.
macro_rules! old_deliveries {
    () => {
        "FROM delivery WHERE id > $1 AND id <= $2 AND state <> 'pending' AND done_at < $3"
    };
}
macro_rules! old_hook_runs {
    () => {
        "FROM hook_run WHERE id > $1 AND id <= $2 AND state <> 'pending' AND done_at < $3"
    };
}
macro_rules! old_events {
    () => {
        "FROM event WHERE id > $1 AND id <= $2 AND created_at < $3
           AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = event.id)
           AND NOT EXISTS (SELECT 1 FROM hook_run r WHERE r.event_id = event.id)"
    };
}

fn all<I: Id>(before: Millis) -> Vec<Value> {
    args![String::new(), I::first_at(before).as_str().to_owned(), before, COUNTED]
}

pub(super) async fn count_deliveries(conn: &mut Conn, before: Millis) -> Result<Option<Row>, DbError> {
    conn.row(counting!(old_deliveries!()), all::<DeliveryId>(before)).await
}

pub(super) async fn count_hook_runs(conn: &mut Conn, before: Millis) -> Result<Option<Row>, DbError> {
    conn.row(counting!(old_hook_runs!()), all::<HookRunId>(before)).await
}

pub(super) async fn count_events(conn: &mut Conn, before: Millis) -> Result<Option<Row>, DbError> {
    conn.row(counting!(old_events!()), all::<EventId>(before)).await
}

pub(super) async fn deliveries(conn: &mut Conn, position: Position, before: Millis) -> Result<Step, DbError> {
    let ends = "SELECT id FROM delivery WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3";
    let window = Window::<DeliveryId>::next(conn, ends, position.clone(), before).await?;
    let sql = concat!("SELECT id ", old_deliveries!(), " ORDER BY id /*pg: FOR UPDATE SKIP LOCKED*/");
    let old = ids(&conn.rows(sql, args![&window.after, &window.to, before]).await?)?;
    // A delivery that was sent again and again may have many attempts.
    let sql = "SELECT delivery_id, number FROM attempt WHERE delivery_id IN";
    let attempts = conn.rows_in(sql, old.clone(), "ORDER BY delivery_id, number LIMIT 2000").await?;
    let parts = attempts.iter().map(|row| Ok(args![row.text("delivery_id")?, row.int("number")?]));
    let parts = parts.collect::<Result<_, DbError>>()?;
    conn.insert_many("DELETE FROM attempt WHERE (delivery_id, number) IN (", parts, ")").await?;
    if is_many(&attempts) {
        return Ok(Step { deleted: 0, next: Some(position) });
    }
    let deleted = conn.exec_in("DELETE FROM delivery WHERE id IN", old, "").await?;
    Ok(Step { deleted, next: window.next_position() })
}

pub(super) async fn hook_runs(conn: &mut Conn, position: Position, before: Millis) -> Result<Step, DbError> {
    let ends = "SELECT id FROM hook_run WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3";
    let window = Window::<HookRunId>::next(conn, ends, position.clone(), before).await?;
    let sql =
        concat!("SELECT id, merchant_id ", old_hook_runs!(), " ORDER BY id /*pg: FOR UPDATE SKIP LOCKED*/");
    let rows = conn.rows(sql, args![&window.after, &window.to, before]).await?;
    let of = rows.iter().map(|row| Ok((row.id("id")?, row.id("merchant_id")?)));
    let of: HashMap<HookRunId, MerchantId> = of.collect::<Result<_, DbError>>()?;
    let old = ids(&rows)?;
    let sql = "SELECT run_id, number, bytes FROM hook_attempt WHERE run_id IN";
    let calls =
        conn.rows_in(sql, old.clone(), "ORDER BY run_id, number LIMIT 2000 /*pg: FOR UPDATE*/").await?;
    let mut freed: BTreeMap<&MerchantId, i64> = BTreeMap::new();
    let mut parts = Vec::with_capacity(calls.len());
    for call in &calls {
        let run_id: HookRunId = call.id("run_id")?;
        if let Some(merchant_id) = of.get(&run_id) {
            *freed.entry(merchant_id).or_default() += call.int("bytes")?;
        }
        parts.push(args![run_id, call.int("number")?]);
    }
    conn.insert_many("DELETE FROM hook_attempt WHERE (run_id, number) IN (", parts, ")").await?;
    let many = is_many(&calls);
    let deleted = if many { 0 } else { conn.exec_in("DELETE FROM hook_run WHERE id IN", old, "").await? };
    for (merchant_id, bytes) in freed {
        disk::count(conn, merchant_id, DiskUse::of_runs(-bytes)).await?;
    }
    Ok(Step { deleted, next: if many { Some(position) } else { window.next_position() } })
}

pub(super) async fn events(conn: &mut Conn, position: Position, before: Millis) -> Result<Step, DbError> {
    let ends = "SELECT id FROM event WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3";
    let window = Window::<EventId>::next(conn, ends, position, before).await?;
    let sql = concat!("SELECT id ", old_events!(), " ORDER BY id /*pg: FOR UPDATE SKIP LOCKED*/");
    let mut old = conn.rows(sql, args![&window.after, &window.to, before]).await?;
    if !old.is_empty() {
        let sql = "SELECT event_id AS id FROM dispatch_queue WHERE event_id > $1 AND event_id <= $2";
        let waiting = conn.rows(sql, args![&window.after, &window.to]).await?;
        let waiting = waiting.iter().map(|row| row.text("id")).collect::<Result<HashSet<_>, _>>()?;
        old.retain(|row| row.text("id").is_ok_and(|id| !waiting.contains(&id)));
    }
    let deleted = conn.exec_in("DELETE FROM event WHERE id IN", ids(&old)?, "").await?;
    Ok(Step { deleted, next: window.next_position() })
}

/// True if there may be more parts than were read.
fn is_many(parts: &[Row]) -> bool {
    i64::try_from(parts.len()).is_ok_and(|count| count >= PARTS)
}

fn ids(rows: &[Row]) -> Result<Vec<Value>, DbError> {
    rows.iter().map(|row| Ok(row.text("id")?.into())).collect()
}
