//! Lines: items of one owner that are worked on one after the other, such as the events of one invoice to one endpoint.
//!
//! An item that finds an earlier one of its line in the queue waits: it is not due, whatever its time, so nobody walks
//! past it. Whoever ends an item lets the next of its line go, in the same transaction. Both lock the earlier item
//! first, so that either the one sees that it is gone, or the other sees who waits behind it; and all who lock several
//! do so in the order of line and place.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::Entry;
use crate::domain::id::Id;

/// The place of an item in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The subject of the line: an invoice's id.
    pub(crate) of: String,
    /// Position; lower is earlier.
    pub(crate) place: i64,
}

/// The number of an owner's line. Two lines share one by a chance of 1 in 2^64, and then only wait for each other.
pub(in crate::db) fn line(owner: &str, of: &str) -> i64 {
    let hash = Sha256::new().chain_update(owner).chain_update([0]).chain_update(of).finalize();
    hash.iter().take(8).fold(0, |line, byte| (line << 8) | i64::from(*byte))
}

/// Flags of these entries: true if one waits, behind a queued item (line and place) or behind another entry.
pub(in crate::db) fn waiting<I: Id, O: Id>(entries: &[Entry<I, O>], queued: &[(i64, i64)]) -> Vec<bool> {
    let mut first: HashMap<i64, i64> = HashMap::new();
    for (line, place) in queued {
        first.entry(*line).and_modify(|first| *first = (*first).min(*place)).or_insert(*place);
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|index| entries.get(*index).map(|entry| (entry.place, &entry.item)));
    let mut waits = vec![false; entries.len()];
    for index in order {
        let Some((entry, waits)) = entries.get(index).zip(waits.get_mut(index)) else { continue };
        let Some(line) = entry.line else { continue };
        *waits = first.get(&line).is_some_and(|first| *first <= entry.place);
        first.entry(line).or_insert(entry.place);
    }
    waits
}

/// The first item of each line among those left (item, line, place, whether it waits), if it waits.
pub(in crate::db) fn next<I: Id>(left: &[(I, i64, i64, bool)]) -> Vec<&I> {
    let mut first: HashMap<i64, &(I, i64, i64, bool)> = HashMap::new();
    for one in left {
        let (item, line, place, _) = one;
        let best = first.entry(*line).or_insert(one);
        if (*place, item) < (best.2, &best.0) {
            *best = one;
        }
    }
    let mut next: Vec<&I> = first.values().filter(|(_, _, _, waits)| *waits).map(|(item, ..)| item).collect();
    next.sort();
    next
}

/// The statements of a queue with lines.
macro_rules! lines {
    (queue $queue:literal, owner_id $owner_id:literal: $Owner:ty, item_id $item_id:literal: $Item:ty) => {
        /// Makes the next item of each of these lines due now: an earlier one has ended, or no longer holds the line
        /// up. Returns true if there were any.
        pub(super) async fn advance(
            conn: &mut $crate::db::Conn,
            lines: Vec<i64>,
            now: $crate::domain::Millis,
        ) -> Result<bool, $crate::db::DbError> {
            if lines.is_empty() {
                return Ok(false);
            }
            let rows = conn
                .rows_in(
                    concat!(
                        "SELECT ",
                        $item_id,
                        " AS item, ",
                        $owner_id,
                        " AS owner, line, place, waits FROM ",
                        $queue,
                        " WHERE line IN"
                    ),
                    lines.into_iter().map(Into::into).collect(),
                    concat!("/*pg: ORDER BY line, place, ", $item_id, " FOR UPDATE*/"),
                )
                .await?;
            let mut left = Vec::with_capacity(rows.len());
            let mut owners = std::collections::HashMap::with_capacity(rows.len());
            for row in &rows {
                let item: $Item = row.id("item")?;
                owners.insert(item.clone(), row.id::<$Owner>("owner")?);
                left.push((item, row.int("line")?, row.int("place")?, row.bool("waits")?));
            }
            let next = $crate::db::queue::lines::next(&left);
            if next.is_empty() {
                return Ok(false);
            }
            let due = next.iter().filter_map(|item| Some((owners.get(*item)?.clone(), now))).collect();
            conn.insert_many(
                "WITH v (id, due_at) AS (",
                next.into_iter().map(|item| $crate::db::args![item, now]).collect(),
                concat!(
                    ") UPDATE ",
                    $queue,
                    " SET waits = 0, due_at = v.due_at FROM v WHERE ",
                    $item_id,
                    " = v.id"
                ),
            )
            .await?;
            due_by(conn, due).await?;
            Ok(true)
        }

        /// Takes these items out of their lines, so that they hold nobody up. Returns the lines.
        pub(super) async fn step_aside(
            conn: &mut $crate::db::Conn,
            items: Vec<$crate::db::Value>,
        ) -> Result<Vec<i64>, $crate::db::DbError> {
            let rows = conn
                .rows_in(
                    concat!("SELECT line FROM ", $queue, " WHERE line IS NOT NULL AND ", $item_id, " IN"),
                    items.clone(),
                    "",
                )
                .await?;
            conn.exec_in(concat!("UPDATE ", $queue, " SET line = NULL WHERE ", $item_id, " IN"), items, "")
                .await?;
            rows.iter().map(|row| row.int("line")).collect()
        }

        /// Takes these items out of the queue. Returns the lines in which they stood.
        pub(super) async fn remove(
            conn: &mut $crate::db::Conn,
            items: Vec<$crate::db::Value>,
        ) -> Result<Vec<i64>, $crate::db::DbError> {
            let rows = conn
                .rows_in(concat!("DELETE FROM ", $queue, " WHERE ", $item_id, " IN"), items, "RETURNING line")
                .await?;
            rows.iter().filter_map(|row| row.opt_int("line").transpose()).collect()
        }
    };
}
pub(in crate::db) use lines;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{DeliveryId, EndpointId};

    fn entry(item: &str, owner: &str, place: Option<(&str, i64)>) -> Entry<DeliveryId, EndpointId> {
        let place = place.map(|(of, place)| Place { of: of.to_owned(), place });
        Entry::new(item.into(), owner.into(), place.as_ref())
    }

    #[test]
    fn the_first_of_a_line_goes_and_the_others_wait() {
        let entries = [
            entry("d", "ep_1", Some(("inv_1", 3))),
            entry("c", "ep_1", Some(("inv_1", 2))),
            entry("b", "ep_2", Some(("inv_1", 3))),
            entry("a", "ep_1", Some(("inv_2", 9))),
            entry("e", "ep_1", None),
            entry("f", "ep_1", None),
        ];
        assert_eq!(waiting(&entries, &[]), [true, false, false, false, false, false]);
        let queued = [(line("ep_1", "inv_1"), 1), (line("ep_2", "inv_1"), 4)];
        assert_eq!(waiting(&entries, &queued), [true, true, false, false, false, false]);
        // Items of the same time keep the order in which they were made.
        let twins = [entry("b", "ep_1", Some(("t", 7))), entry("a", "ep_1", Some(("t", 7)))];
        assert_eq!(waiting(&twins, &[]), [true, false]);
    }

    #[test]
    fn the_next_goes_when_it_is_the_first() {
        let one = |item: &str, line, place, waits| (DeliveryId::from(item), line, place, waits);
        let left = [one("b", 1, 3, true), one("a", 1, 2, true), one("c", 2, 1, false), one("d", 2, 5, true)];
        assert_eq!(next(&left), [&DeliveryId::from("a")]);
        assert!(next::<DeliveryId>(&[]).is_empty());
    }
}
