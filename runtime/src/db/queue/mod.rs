//! A queue of work, each item owed to an owner: deliveries to endpoints, runs to hooks. One text for both.
//!
//! A worker claims from an owner at a time, never from the queue as a whole: however much waits for one that is
//! dead, nobody walks past it. For that an owner knows when the first of its items is due (`due_at`). It may be
//! too early (the next claim finds nothing and corrects it), never too late. Hence the one rule: who makes
//! something due earlier says so to the owner in the same transaction (`due_by`), and whoever sets `due_at` has
//! locked the owner in a statement before, so that the one sees what the other did.
//!
//! Items of one line go one after the other ([`lines`]).
//!
//! A claim lasts for a lease; a worker that dies loses nothing, since the lease ends. One that comes back after
//! that is told apart by the fence and changes nothing. Claims of which nothing is heard are counted: what a worker died
//! over again and again may be why.

pub(crate) mod lines;

use std::collections::HashMap;

pub(crate) use lines::Place;

use super::{Conn, DbError};
use crate::domain::{Millis, id::Id, retry::Breaker};

/// Distance of the first fences of two successive attempts: fences of different rounds of an item must differ.
pub(super) const FENCES_PER_ATTEMPT: i64 = 1 << 20;

/// An item to be queued.
pub(super) struct Entry<I, O> {
    pub(super) item: I,
    pub(super) owner: O,
    pub(super) attempts_before: i64,
    /// Number of its line; `None` if it waits for nobody.
    pub(super) line: Option<i64>,
    pub(super) place: i64,
}

impl<I: Id, O: Id> Entry<I, O> {
    /// Makes the entry of an item's first round.
    pub(super) fn new(item: I, owner: O, place: Option<&Place>) -> Self {
        let line = place.map(|place| lines::line(owner.as_str(), &place.of));
        Self { item, owner, attempts_before: 0, line, place: place.map_or(0, |place| place.place) }
    }

    /// Makes the entry of another round, after this number of attempts.
    pub(super) fn again(self, attempts_before: i64) -> Self {
        Self { attempts_before, ..self }
    }
}

/// Locks the owners among these that no other transaction has locked; `select` reads their ids and ends in `IN`.
pub(super) async fn lock_free<'i, O: Id + 'i>(
    conn: &mut Conn,
    select: &'static str,
    ids: impl Iterator<Item = &'i O>,
) -> Result<Vec<O>, DbError> {
    let tail = "ORDER BY id /*pg: FOR NO KEY UPDATE SKIP LOCKED*/";
    let locked = conn.rows_in(select, ids.map(|id| id.as_str().to_owned().into()).collect(), tail).await?;
    locked.iter().map(|row| row.id("id")).collect()
}

/// Changes to an owner's breaker by a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) changed: bool,
    /// True if this failure paused the owner.
    pub(super) paused: bool,
}

/// Tells the breakers the outcome of a call for their owners.
pub(super) fn judge<O>(breakers: &mut HashMap<O, Breaker>, well: bool, now: Millis) -> Judged {
    let mut judged = Judged { changed: false, paused: false };
    for breaker in breakers.values_mut() {
        let before = *breaker;
        *breaker = breaker.after(well, now);
        judged.changed |= before != *breaker;
        judged.paused |= before.paused_until.is_none() && breaker.paused_until.is_some();
    }
    judged
}

/// The statements of a queue, as functions of the module that names its tables.
macro_rules! queue {
    (owner $owner:literal: $Owner:ty, queue $queue:literal, owner_id $owner_id:literal, item_id $item_id:literal: $Item:ty) => {
        /// Queues items, due now unless they wait in their line.
        pub(super) async fn push(
            conn: &mut $crate::db::Conn,
            entries: Vec<$crate::db::queue::Entry<$Item, $Owner>>,
            now: $crate::domain::Millis,
        ) -> Result<(), $crate::db::DbError> {
            let lines: std::collections::BTreeSet<i64> =
                entries.iter().filter_map(|entry| entry.line).collect();
            let queued = conn
                .rows_in(
                    concat!("SELECT line, place FROM ", $queue, " WHERE line IN"),
                    lines.into_iter().map(Into::into).collect(),
                    concat!("/*pg: ORDER BY line, place, ", $item_id, " FOR UPDATE*/"),
                )
                .await?;
            let queued: Vec<(i64, i64)> = queued
                .iter()
                .map(|row| Ok((row.int("line")?, row.int("place")?)))
                .collect::<Result<_, $crate::db::DbError>>()?;
            let waits = $crate::db::queue::lines::waiting(&entries, &queued);
            let due = entries.iter().zip(&waits).filter(|(_, waits)| !**waits);
            let due = due.map(|(entry, _)| (entry.owner.clone(), now)).collect();
            let rows = entries
                .into_iter()
                .zip(waits)
                .map(|(entry, waits)| {
                    let fence = entry.attempts_before.saturating_mul($crate::db::queue::FENCES_PER_ATTEMPT);
                    $crate::db::args![
                        entry.item,
                        entry.owner,
                        now,
                        fence,
                        entry.attempts_before,
                        entry.line,
                        entry.place,
                        waits
                    ]
                })
                .collect();
            conn.insert_many(
                concat!(
                    "INSERT INTO ",
                    $queue,
                    " (",
                    $item_id,
                    ", ",
                    $owner_id,
                    ", due_at, fence, attempts_before, line, place, waits)"
                ),
                rows,
                "",
            )
            .await?;
            due_by(conn, due).await
        }

        /// Moves the due times of owners to these times, if those are earlier.
        pub(super) async fn due_by(
            conn: &mut $crate::db::Conn,
            due: std::collections::BTreeMap<$Owner, $crate::domain::Millis>,
        ) -> Result<(), $crate::db::DbError> {
            lock_owners(conn, due.keys()).await?;
            let rows = due.into_iter().map(|(owner, at)| $crate::db::args![owner, at]).collect();
            conn.insert_many(
                "WITH v (id, at) AS (",
                rows,
                concat!(
                    ") UPDATE ",
                    $owner,
                    " SET due_at = v.at FROM v WHERE ",
                    $owner,
                    ".id = v.id AND (",
                    $owner,
                    ".due_at IS NULL OR ",
                    $owner,
                    ".due_at > v.at)"
                ),
            )
            .await?;
            Ok(())
        }

        /// Locks owners until the transaction ends; `ids` ascend, so that two transactions do not deadlock. Returns
        /// their breakers.
        pub(super) async fn lock_owners(
            conn: &mut $crate::db::Conn,
            ids: impl Iterator<Item = &$Owner>,
        ) -> Result<std::collections::HashMap<$Owner, $crate::domain::retry::Breaker>, $crate::db::DbError> {
            let rows = conn
                .rows_in(
                    concat!("SELECT id, failures, paused_until FROM ", $owner, " WHERE id IN"),
                    ids.map(Into::into).collect(),
                    "ORDER BY id /*pg: FOR NO KEY UPDATE*/",
                )
                .await?;
            rows.iter()
                .map(|row| {
                    let failures = u32::try_from(row.int("failures")?).unwrap_or(u32::MAX);
                    let paused_until = row.opt_int("paused_until")?;
                    Ok((row.id("id")?, $crate::domain::retry::Breaker { failures, paused_until }))
                })
                .collect()
        }

        /// Stores breakers.
        pub(super) async fn set_breakers(
            conn: &mut $crate::db::Conn,
            breakers: &std::collections::HashMap<$Owner, $crate::domain::retry::Breaker>,
        ) -> Result<(), $crate::db::DbError> {
            let rows = breakers
                .iter()
                .map(|(id, breaker)| $crate::db::args![id, breaker.failures, breaker.paused_until]);
            conn.insert_many(
                "WITH v (id, failures, paused_until) AS (",
                rows.collect(),
                concat!(
                    ") UPDATE ",
                    $owner,
                    " SET failures = v.failures, paused_until = v.paused_until FROM v WHERE ",
                    $owner,
                    ".id = v.id"
                ),
            )
            .await?;
            Ok(())
        }

        /// Leases items, each an id with its new fence, and sets the next due times of the owners that were looked at.
        pub(super) async fn lease<'i>(
            conn: &mut $crate::db::Conn,
            items: impl Iterator<Item = (&'i $Item, i64)>,
            lease_until: $crate::domain::Millis,
            looked_at: Vec<$crate::db::Value>,
        ) -> Result<(), $crate::db::DbError> {
            let rows = items.map(|(id, fence)| $crate::db::args![id, lease_until, fence]).collect();
            conn.insert_many(
                "WITH v (id, due_at, fence) AS (",
                rows,
                concat!(
                    ") UPDATE ",
                    $queue,
                    " SET due_at = v.due_at, fence = v.fence, claims = claims + 1 FROM v WHERE ",
                    $item_id,
                    " = v.id"
                ),
            )
            .await?;
            settle_due(conn, looked_at).await
        }

        /// Sets the next due times of owners, which are locked.
        pub(super) async fn settle_due(
            conn: &mut $crate::db::Conn,
            owners: Vec<$crate::db::Value>,
        ) -> Result<(), $crate::db::DbError> {
            conn.exec_in(
                concat!(
                    "UPDATE ",
                    $owner,
                    " SET due_at = (SELECT MIN(q.due_at) FROM ",
                    $queue,
                    " q WHERE q.",
                    $owner_id,
                    " = ",
                    $owner,
                    ".id AND q.waits = 0) WHERE id IN"
                ),
                owners,
                "",
            )
            .await?;
            Ok(())
        }

        /// The current fences of queued items, which are locked.
        pub(super) async fn fences(
            conn: &mut $crate::db::Conn,
            ids: impl Iterator<Item = &$Item>,
        ) -> Result<std::collections::HashMap<$Item, i64>, $crate::db::DbError> {
            let ids: std::collections::BTreeSet<&$Item> = ids.collect();
            let rows = conn
                .rows_in(
                    concat!("SELECT ", $item_id, " AS item, fence FROM ", $queue, " WHERE ", $item_id, " IN"),
                    ids.into_iter().map(Into::into).collect(),
                    concat!("/*pg: ORDER BY line, place, ", $item_id, " FOR UPDATE*/"),
                )
                .await?;
            rows.iter().map(|row| Ok((row.id("item")?, row.int("fence")?))).collect()
        }

        /// Sets the due times of items whose claims were reported; each row is an id and a time.
        pub(super) async fn reschedule(
            conn: &mut $crate::db::Conn,
            rows: Vec<Vec<$crate::db::Value>>,
        ) -> Result<(), $crate::db::DbError> {
            conn.insert_many(
                "WITH v (id, due_at) AS (",
                rows,
                concat!(
                    ") UPDATE ",
                    $queue,
                    " SET due_at = v.due_at, claims = 0 FROM v WHERE ",
                    $item_id,
                    " = v.id"
                ),
            )
            .await?;
            Ok(())
        }

        /// Makes due what was put off further than anything is ([`LONGEST_WAIT`]): a clock was ahead. Answers of how
        /// many owners.
        ///
        /// [`LONGEST_WAIT`]: $crate::domain::retry::LONGEST_WAIT
        pub(crate) async fn wake(
            conn: &mut $crate::db::Conn,
            now: $crate::domain::Millis,
        ) -> Result<usize, $crate::db::DbError> {
            let longest = now.saturating_add($crate::domain::retry::LONGEST_WAIT);
            let asleep = conn
                .rows(
                    concat!("SELECT id FROM ", $owner, " WHERE due_at > $1 OR paused_until > $1 ORDER BY id"),
                    $crate::db::args![longest],
                )
                .await?;
            let ids = asleep.iter().map(|row| row.id("id")).collect::<Result<Vec<$Owner>, _>>()?;
            lock_owners(conn, ids.iter()).await?;
            for id in &ids {
                conn.exec(
                    concat!(
                        "UPDATE ",
                        $queue,
                        " SET due_at = $3 WHERE ",
                        $owner_id,
                        " = $1 AND due_at > $2"
                    ),
                    $crate::db::args![id, longest, now],
                )
                .await?;
                conn.exec(
                    concat!(
                        "UPDATE ",
                        $owner,
                        " SET due_at = CASE WHEN due_at > $2 THEN $3 ELSE due_at END,
                              paused_until = CASE WHEN paused_until > $2 THEN NULL ELSE paused_until END
                          WHERE id = $1"
                    ),
                    $crate::db::args![id, longest, now],
                )
                .await?;
            }
            Ok(ids.len())
        }

        /// Gives back what was claimed and not worked on (item, owner, fence): it is due at once. Stale claims
        /// are passed over.
        pub(crate) async fn release(
            conn: &mut $crate::db::Conn,
            claims: &[($Item, $Owner, i64)],
            now: $crate::domain::Millis,
        ) -> Result<(), $crate::db::DbError> {
            let held = fences(conn, claims.iter().map(|(item, _, _)| item)).await?;
            let live: Vec<_> =
                claims.iter().filter(|(item, _, fence)| held.get(item) == Some(fence)).collect();
            let due = live.iter().map(|(_, owner, _)| (owner.clone(), now)).collect();
            let rows = live.into_iter().map(|(item, _, _)| $crate::db::args![item, now]).collect();
            reschedule(conn, rows).await?;
            due_by(conn, due).await
        }
    };
}
pub(super) use queue;
