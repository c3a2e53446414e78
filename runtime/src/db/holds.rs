//! Holds: who has an amount or a memo, since when and until when; and where the amounts of a price go on.
//!
//! A key has one holder now (`hold`) and any number before (`past_hold`). Both are intervals of block times, so that a
//! payment finds whoever held its key when it was made, however late it is read.

use super::{Conn, DbError, Row, args};
use crate::domain::{
    Millis,
    id::{AddressId, InvoiceId},
    matching::{Hold, amount_key},
    money::Amount,
    slots::Ring,
};

/// End of the hold of an invoice whose deadline does not count yet.
pub(crate) const UNPINNED_UNTIL: Millis = Millis::MAX;

/// A hold to be taken.
#[derive(Debug, Clone)]
pub(crate) struct NewHold {
    pub(crate) network: String,
    pub(crate) hold: Hold,
}

/// Takes these holds. Returns the keys that were free; the others are held already.
pub(crate) async fn take(conn: &mut Conn, mut holds: Vec<NewHold>) -> Result<Vec<String>, DbError> {
    // A single order for all that take several: no two can deadlock.
    holds.sort_by(|a, b| a.hold.key.cmp(&b.hold.key));
    let rows = holds
        .iter()
        .map(|NewHold { network, hold }| args![&hold.key, network, &hold.invoice_id, hold.since, hold.until])
        .collect();
    let taken = conn
        .insert_many_returning(
            "INSERT INTO hold (key, network, invoice_id, since, until)",
            rows,
            "ON CONFLICT (key) DO NOTHING RETURNING key",
        )
        .await?;
    taken.iter().map(|row| row.text("key")).collect()
}

fn hold(row: &Row) -> Result<Hold, DbError> {
    Ok(Hold {
        key: row.text("key")?,
        invoice_id: row.id("invoice_id")?,
        since: row.int("since")?,
        until: row.int("until")?,
    })
}

/// The present holds of these keys.
pub(crate) async fn present(conn: &mut Conn, keys: Vec<String>) -> Result<Vec<Hold>, DbError> {
    let items = keys.into_iter().map(Into::into).collect();
    let sql = "SELECT key, invoice_id, since, until FROM hold WHERE key IN";
    conn.rows_in(sql, items, "").await?.iter().map(hold).collect()
}

/// The past holds of these keys.
pub(crate) async fn past(conn: &mut Conn, keys: Vec<String>) -> Result<Vec<Hold>, DbError> {
    let items = keys.into_iter().map(Into::into).collect();
    let sql = "SELECT key, invoice_id, since, until FROM past_hold WHERE key IN";
    conn.rows_in(sql, items, "").await?.iter().map(hold).collect()
}

/// True if holds of a network end before `time` (of the final block).
pub(crate) async fn any_ended(conn: &mut Conn, network: &str, time: Millis) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS one FROM hold WHERE network = $1 AND until < $2 LIMIT 1";
    Ok(conn.row(sql, args![network.to_owned(), time]).await?.is_some())
}

/// Ends the holds that end before `time`, at most `limit`, and keeps them as past ones. Returns their number.
pub(crate) async fn end(conn: &mut Conn, network: &str, time: Millis, limit: i64) -> Result<usize, DbError> {
    let rows = conn
        .rows(
            "DELETE FROM hold WHERE key IN (SELECT key FROM hold WHERE network = $1 AND until < $2
                 ORDER BY until LIMIT $3 /*pg: FOR UPDATE SKIP LOCKED*/) RETURNING key, since, until, invoice_id",
            args![network.to_owned(), time, limit],
        )
        .await?;
    let ended = rows
        .iter()
        .map(|row| Ok(args![row.text("key")?, row.int("since")?, row.int("until")?, row.text("invoice_id")?]))
        .collect::<Result<Vec<_>, DbError>>()?;
    let count = ended.len();
    conn.insert_many("INSERT INTO past_hold (key, since, until, invoice_id)", ended, "").await?;
    Ok(count)
}

/// Prolongs the hold of an invoice to `until` at least. Returns false if the invoice no longer holds the key.
pub(crate) async fn prolong(
    conn: &mut Conn,
    key: String,
    invoice_id: &InvoiceId,
    until: Millis,
) -> Result<bool, DbError> {
    let sql = "UPDATE hold SET until = CASE WHEN until < $3 THEN $3 ELSE until END WHERE key = $1 AND invoice_id = $2";
    Ok(conn.exec(sql, args![key, invoice_id, until]).await? == 1)
}

/// Sets the end of these keys' present holds.
pub(crate) async fn set_end(conn: &mut Conn, ends: Vec<(String, Millis)>) -> Result<(), DbError> {
    let rows = ends.into_iter().map(|(key, until)| args![key, until]).collect();
    let sql = "UPDATE hold SET until = v.column2 FROM (";
    conn.insert_many(sql, rows, ") AS v WHERE hold.key = v.column1").await?;
    Ok(())
}

// ------------------------------------------------------------------ rings

/// The place of a price's unique amounts: the address, the asset and the ring.
#[derive(Debug, Clone)]
pub(crate) struct Price<'a> {
    pub(crate) address_id: &'a AddressId,
    pub(crate) asset_id: &'a str,
    pub(crate) amount: Amount,
    pub(crate) ring: Ring,
}

/// Number of amounts that one reservation looks at before it looks at all of a ring.
const LOOKED_AT: i64 = 32;

/// Takes the next amounts of a price: at most `wanted`, and at least one if one is free. They are given to nobody else
/// before all others of the ring. Empty if none is free.
///
/// `random` decides how far a ring leaps in a new life of the database. A ring that this life sees first leaps too: an
/// earlier life may have used it.
pub(crate) async fn reserve(
    conn: &mut Conn,
    price: &Price<'_>,
    wanted: i64,
    random: u32,
) -> Result<Vec<Amount>, DbError> {
    let Price { address_id, asset_id, amount, ring } = price;
    let name = amount_key(address_id, asset_id, amount);
    let slots = i64::from(ring.slots());
    let life = super::installation::life(conn).await?;
    let leap = ring.leap(random);
    let begin = ring.begin(&name) + if life > 0 { leap } else { 0 };
    // The row's lock is held until the commit: replicas reserve one after the other.
    let sql = "INSERT INTO ring (key, next, life) VALUES ($1, $2, $3)
               ON CONFLICT (key) DO UPDATE SET next = CASE WHEN ring.life = excluded.life THEN ring.next
                   ELSE ring.next + $4 END, life = excluded.life RETURNING next";
    let row = conn.row(sql, args![&name, begin, life, leap]).await?;
    let mut next = row.map_or(Ok(0), |row| row.int("next"))?;
    let key = |amount: Amount| amount_key(address_id, asset_id, amount);
    let mut free = Vec::new();
    let mut passed = 0;
    // Looks at the next few first, which suffices unless most of the ring is held.
    while free.is_empty() && passed < slots {
        let counts = next..next + if passed == 0 { wanted.max(LOOKED_AT).min(slots) } else { slots };
        let held: std::collections::HashSet<Amount> = if passed == 0 {
            let dues: Vec<Amount> = counts.clone().filter_map(|count| ring.due(count)).collect();
            let holds = present(conn, dues.iter().map(|due| key(*due)).collect()).await?;
            let held: std::collections::HashSet<String> = holds.into_iter().map(|hold| hold.key).collect();
            dues.into_iter().filter(|due| held.contains(&key(*due))).collect()
        } else {
            held_in(conn, price).await?.into_iter().collect()
        };
        for count in counts {
            next = count + 1;
            passed += 1;
            let Some(due) = ring.due(count) else { continue };
            if !held.contains(&due) {
                free.push(due);
                if i64::try_from(free.len()).unwrap_or(i64::MAX) >= wanted {
                    break;
                }
            }
        }
    }
    conn.exec("UPDATE ring SET next = $2 WHERE key = $1", args![name, next]).await?;
    Ok(free)
}

/// The amounts of a ring that are held, whoever holds them.
async fn held_in(conn: &mut Conn, price: &Price<'_>) -> Result<Vec<Amount>, DbError> {
    let mut held = Vec::new();
    for (least, largest) in same_length(price.ring.range()) {
        let key = |amount: Amount| amount_key(price.address_id, price.asset_id, amount);
        let sql = "SELECT key FROM hold WHERE key >= $1 AND key <= $2";
        for row in conn.rows(sql, args![key(least), key(largest)]).await? {
            held.extend(amount_of(&row.text("key")?));
        }
    }
    Ok(held)
}

/// The holds of the amounts nearest to this one, from its half to its double: at most `each` below it, and as many
/// above.
pub(crate) async fn nearest(
    conn: &mut Conn,
    address_id: &AddressId,
    asset_id: &str,
    amount: Amount,
    each: i64,
) -> Result<Vec<Hold>, DbError> {
    let key = |amount: Amount| amount_key(address_id, asset_id, amount);
    let below = (Amount(amount.0 / 2), Amount(amount.0.saturating_sub(1)));
    let above = (Amount(amount.0.saturating_add(1)), Amount(amount.0.saturating_mul(2)));
    let mut ranges: Vec<_> = same_length(below).into_iter().rev().map(|range| (range, true)).collect();
    ranges.extend(same_length(above).into_iter().map(|range| (range, false)));
    let (mut found, mut lower, mut higher) = (Vec::new(), 0, 0);
    for ((least, largest), is_below) in ranges {
        let (sql, had) = if is_below {
            let sql = "SELECT key, invoice_id, since, until FROM hold WHERE key >= $1 AND key <= $2
                         AND LENGTH(key) = $3 ORDER BY key DESC LIMIT $4";
            (sql, &mut lower)
        } else {
            let sql = "SELECT key, invoice_id, since, until FROM hold WHERE key >= $1 AND key <= $2
                         AND LENGTH(key) = $3 ORDER BY key LIMIT $4";
            (sql, &mut higher)
        };
        if *had >= each {
            continue;
        }
        // Amounts with another number of digits sort among them.
        let (least, largest) = (key(least), key(largest));
        let length = i64::try_from(largest.chars().count()).unwrap_or(i64::MAX);
        let rows = conn.rows(sql, args![least, largest, length, each - *had]).await?;
        *had += i64::try_from(rows.len()).unwrap_or(each);
        for row in &rows {
            found.push(hold(row)?);
        }
    }
    Ok(found)
}

/// The amount in a hold's key.
fn amount_of(key: &str) -> Option<Amount> {
    key.rsplit_once('=')?.1.parse().ok()
}

/// The range of amounts, cut where the number of digits changes: texts of one length sort as their numbers do.
fn same_length((least, largest): (Amount, Amount)) -> Vec<(Amount, Amount)> {
    let mut ranges = Vec::new();
    let mut from = least.0;
    while from <= largest.0 {
        let digits = from.checked_ilog10().unwrap_or(0) + 1;
        let to = 10u128.checked_pow(digits).map_or(u128::MAX, |above| above - 1).min(largest.0);
        ranges.push((Amount(from), Amount(to)));
        let Some(next) = to.checked_add(1) else { break };
        from = next;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::{
        db::{Db, installation},
        domain::slots::Unique,
        testing,
    };

    const SLOTS: u32 = 40;
    static ADDRESS: LazyLock<AddressId> = LazyLock::new(|| "adr".into());

    fn price(amount: u128) -> Price<'static> {
        let ring = Ring::new(Unique { decimals: 6, slots: SLOTS, share_bp: 100 }, 6, Amount(amount)).unwrap();
        Price { address_id: &ADDRESS, asset_id: "net:a", amount: Amount(amount), ring }
    }

    async fn reserve_one(db: &Db, amount: u128, random: u32) -> Option<Amount> {
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { reserve(conn, &price(amount), 1, random).await })
        })
        .await
        .unwrap()
        .first()
        .copied()
    }

    async fn held(db: &Db, due: Amount, since: Millis, until: Millis) -> bool {
        let hold = Hold {
            key: amount_key(&"adr".into(), "net:a", due),
            invoice_id: format!("inv_{since}").as_str().into(),
            since,
            until,
        };
        let new = NewHold { network: "net".to_owned(), hold };
        let taken =
            db.write::<_, DbError, _>(move |conn| Box::pin(async move { take(conn, vec![new]).await })).await;
        !taken.unwrap().is_empty()
    }

    async fn ended(db: &Db, time: Millis) -> usize {
        db.write::<_, DbError, _>(move |conn| Box::pin(async move { end(conn, "net", time, 1000).await }))
            .await
            .unwrap()
    }

    #[test]
    fn ranges_are_cut_where_digits_are_added() {
        let range = |from, to| (Amount(from), Amount(to));
        assert_eq!(
            same_length(range(8, 1_001)),
            [range(8, 9), range(10, 99), range(100, 999), range(1_000, 1_001)]
        );
        assert_eq!(same_length(range(u128::MAX, u128::MAX)).len(), 1);
    }

    #[tokio::test]
    async fn a_key_is_held_by_one_and_its_past_is_kept() {
        for db in testing::databases().await {
            let due = Amount(1_000_001);
            assert!(held(&db, due, 10, 20).await);
            assert!(!held(&db, due, 11, 30).await, "it is held");
            assert_eq!(ended(&db, 20).await, 0, "the end belongs to it");
            assert_eq!(ended(&db, 21).await, 1);
            assert!(held(&db, due, 21, 30).await);
            let mut conn = db.read().await.unwrap();
            let key = amount_key(&"adr".into(), "net:a", due);
            let of = |holds: Vec<Hold>| holds.into_iter().map(|hold| hold.invoice_id).collect::<Vec<_>>();
            assert_eq!(of(present(&mut conn, vec![key.clone()]).await.unwrap()), ["inv_21"]);
            assert_eq!(of(past(&mut conn, vec![key]).await.unwrap()), ["inv_10"]);
        }
    }

    #[tokio::test]
    async fn the_nearest_are_found_across_a_digit() {
        for db in testing::databases().await {
            for due in [9_000, 9_990, 9_999, 10_000, 10_001, 10_050, 19_000, 25_000, 4_000] {
                assert!(held(&db, Amount(due), i64::try_from(due).unwrap(), 99_999).await);
            }
            let mut conn = db.read().await.unwrap();
            let mut near = async |amount| {
                let found = nearest(&mut conn, &"adr".into(), "net:a", Amount(amount), 2).await.unwrap();
                found.iter().filter_map(|hold| amount_of(&hold.key)).map(|due| due.0).collect::<Vec<_>>()
            };
            assert_eq!(near(10_000).await, [9_999, 9_990, 10_001, 10_050]);
            assert_eq!(near(9_500).await, [9_000, 9_990, 9_999]);
            assert_eq!(near(1).await, Vec::<u128>::new());
            assert_eq!(near(u128::MAX).await, Vec::<u128>::new());
        }
    }

    #[tokio::test]
    async fn an_amount_comes_again_only_after_all_others() {
        for db in testing::databases().await {
            let mut seen = std::collections::HashSet::new();
            for _ in 0..SLOTS {
                // The beginning of a ring is decided once.
                assert!(seen.insert(reserve_one(&db, 1_000_000, 3).await.unwrap()));
            }
            assert!(seen.contains(&reserve_one(&db, 1_000_000, 9).await.unwrap()));
        }
    }

    #[tokio::test]
    async fn rings_begin_at_different_places_and_a_new_life_leaves_some_out() {
        for db in testing::databases().await {
            let (one, other) = (price(1_000_000), price(2_000_000));
            let begin = |price: &Price<'_>| {
                price.ring.begin(&amount_key(price.address_id, price.asset_id, price.amount))
            };
            assert_ne!(begin(&one) % i64::from(SLOTS), begin(&other) % i64::from(SLOTS));
            let begun = begin(&one);
            assert_eq!(reserve_one(&db, 1_000_000, 3).await, one.ring.due(begun));
            db.write::<_, DbError, _>(|conn| Box::pin(async { installation::begin_life(conn, 5).await }))
                .await
                .unwrap();
            let leap = one.ring.leap(3);
            assert_eq!(reserve_one(&db, 1_000_000, 3).await, one.ring.due(begun + 1 + leap));
            assert_eq!(reserve_one(&db, 1_000_000, 3).await, one.ring.due(begun + 2 + leap));
            // An earlier life may have used the other ring too, and then began it at the same place.
            assert_eq!(reserve_one(&db, 2_000_000, 3).await, other.ring.due(begin(&other) + leap));
        }
    }

    #[tokio::test]
    async fn none_is_refused_while_one_is_free() {
        for db in testing::databases().await {
            let mut all = Vec::new();
            while let Some(due) = reserve_one(&db, 1_000_000, 0).await {
                assert!(held(&db, due, 1, 2).await);
                all.push(due);
            }
            assert_eq!(all.len(), usize::try_from(SLOTS).unwrap());
            // A neighbouring price, whose ring overlaps this one.
            let near = reserve_one(&db, 1_000_020, 0).await.unwrap();
            assert!(!all.contains(&near));
            assert_eq!(ended(&db, 3).await, all.len());
            assert!(reserve_one(&db, 1_000_000, 0).await.is_some());
        }
    }
}
