//! Idempotency keys: one effect and one answer for each, whatever is retried.
//!
//! A key is claimed first thing in the transaction of its effect and gets its answer at the end of it. So a key
//! without an answer is never seen from outside: a crash undoes the claim with the effect, and on PostgreSQL a
//! second request with the same key waits at the claim until the first one has committed or failed.

use std::collections::{HashMap, HashSet};

use super::{Conn, DbError, args};
use crate::domain::Millis;

/// A request to be the one that does the work of a key.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Owner of the key: `mer_…:live`, `mer_…:test` or `operator`.
    pub(crate) owner: String,
    pub(crate) key: String,
    /// SHA-256 of the request.
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) now: Millis,
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    /// The key is yours: do the work, and store the answer in this transaction.
    New,
    /// The work was done, with this answer.
    Replay(StoredAnswer),
    /// Another claim of the same batch, at index `of`, has the same key; its answer will serve both.
    Twin { of: usize },
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredAnswer {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) status: i64,
    pub(crate) body: Vec<u8>,
}

/// An answer to be stored.
#[derive(Debug, Clone)]
pub(crate) struct NewAnswer {
    pub(crate) owner: String,
    pub(crate) key: String,
    pub(crate) status: i64,
    pub(crate) body: Vec<u8>,
}

/// Claims one key.
pub(crate) async fn claim(conn: &mut Conn, claim: Claim) -> Result<ClaimOutcome, DbError> {
    Ok(claim_many(conn, vec![claim]).await?.pop().unwrap_or(ClaimOutcome::New))
}

/// Claims keys. Results are in the order of the claims.
pub(crate) async fn claim_many(conn: &mut Conn, claims: Vec<Claim>) -> Result<Vec<ClaimOutcome>, DbError> {
    let mut first: HashMap<(String, String), usize> = HashMap::with_capacity(claims.len());
    for (index, claim) in claims.iter().enumerate() {
        first.entry((claim.owner.clone(), claim.key.clone())).or_insert(index);
    }
    // Always in the same order, so that two batches with common keys wait for each other and do not deadlock.
    let mut order: Vec<(&(String, String), &Claim)> =
        first.iter().filter_map(|(name, index)| claims.get(*index).map(|claim| (name, claim))).collect();
    order.sort_by_key(|(name, _)| *name);
    let rows = order
        .into_iter()
        .map(|(_, claim)| {
            args![&claim.owner, &claim.key, claim.fingerprint.clone(), 0_i64, Vec::new(), claim.now]
        })
        .collect();
    let inserted = conn
        .insert_many_returning(
            "INSERT INTO idempotency (owner, key, fingerprint, status, body, created_at)",
            rows,
            "ON CONFLICT (owner, key) DO NOTHING RETURNING owner, key",
        )
        .await?;
    let mut mine = HashSet::with_capacity(inserted.len());
    for row in inserted {
        mine.insert((row.text("owner")?, row.text("key")?));
    }
    let mut answers = Vec::with_capacity(claims.len());
    for (index, claim) in claims.into_iter().enumerate() {
        let name = (claim.owner, claim.key);
        let of = first.get(&name).copied().unwrap_or(index);
        answers.push(if of != index {
            ClaimOutcome::Twin { of }
        } else if mine.contains(&name) {
            ClaimOutcome::New
        } else {
            ClaimOutcome::Replay(stored(conn, name).await?)
        });
    }
    Ok(answers)
}

async fn stored(conn: &mut Conn, (owner, key): (String, String)) -> Result<StoredAnswer, DbError> {
    // The key was old and was swept between the claim and this query: the next try claims it anew.
    find(conn, &owner, &key).await?.ok_or(DbError::Vanished("the idempotency key"))
}

/// The text that an answer with a secret is sealed for.
pub(crate) fn sealed_for(owner: &str, key: &str) -> String {
    format!("idempotency:{owner}:{key}")
}

/// The answer stored for a key, if there is one.
pub(crate) async fn find(conn: &mut Conn, owner: &str, key: &str) -> Result<Option<StoredAnswer>, DbError> {
    let sql = "SELECT fingerprint, status, body FROM idempotency WHERE owner = $1 AND key = $2";
    let row = conn.row(sql, args![owner.to_owned(), key.to_owned()]).await?;
    row.map(|row| {
        Ok(StoredAnswer {
            fingerprint: row.blob("fingerprint")?,
            status: row.int("status")?,
            body: row.blob("body")?,
        })
    })
    .transpose()
}

/// Releases a key that this transaction has claimed: its work is not done after all.
pub(crate) async fn let_go(conn: &mut Conn, owner: &str, key: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM idempotency WHERE owner = $1 AND key = $2";
    conn.exec(sql, args![owner.to_owned(), key.to_owned()]).await?;
    Ok(())
}

/// Stores the answers of keys that this transaction has claimed.
pub(crate) async fn store_many(conn: &mut Conn, answers: Vec<NewAnswer>) -> Result<(), DbError> {
    // An insert that always conflicts: the only way to update many rows in one statement on both databases.
    let rows = answers
        .into_iter()
        .map(|answer| args![answer.owner, answer.key, Vec::new(), answer.status, answer.body, 0_i64])
        .collect();
    conn.insert_many(
        "INSERT INTO idempotency (owner, key, fingerprint, status, body, created_at)",
        rows,
        "ON CONFLICT (owner, key) DO UPDATE SET status = excluded.status, body = excluded.body",
    )
    .await?;
    Ok(())
}

/// Deletes keys older than `before`, at most `rows` of them. Returns their number.
pub(super) async fn sweep(conn: &mut Conn, before: Millis, rows: i64) -> Result<u64, DbError> {
    conn.exec(
        "DELETE FROM idempotency WHERE (owner, key) IN
           (SELECT owner, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
        args![before, rows],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn a(key: &str, print: u8) -> Claim {
        Claim { owner: "operator".into(), key: key.into(), fingerprint: vec![print], now: 5 }
    }

    fn answer(key: &str, status: i64) -> NewAnswer {
        NewAnswer { owner: "operator".into(), key: key.into(), status, body: b"{}".to_vec() }
    }

    #[tokio::test]
    async fn one_claim_wins_and_the_others_get_its_answer() {
        for db in testing::databases().await {
            let first = db
                .write::<_, DbError, _>(|conn| {
                    Box::pin(async move {
                        let claimed = claim_many(conn, vec![a("k1", 1), a("k2", 2), a("k1", 3)]).await?;
                        store_many(conn, vec![answer("k1", 201), answer("k2", 422)]).await?;
                        Ok(claimed)
                    })
                })
                .await
                .unwrap();
            assert_eq!(first, [ClaimOutcome::New, ClaimOutcome::New, ClaimOutcome::Twin { of: 0 }]);
            let second = db
                .write::<_, DbError, _>(|conn| Box::pin(claim_many(conn, vec![a("k3", 1), a("k2", 9)])))
                .await
                .unwrap();
            let stored = StoredAnswer { fingerprint: vec![2], status: 422, body: b"{}".to_vec() };
            assert_eq!(second, [ClaimOutcome::New, ClaimOutcome::Replay(stored)]);
        }
    }

    #[tokio::test]
    async fn a_failed_effect_leaves_the_key_free_and_a_sweep_forgets() {
        for db in testing::databases().await {
            let failed = db
                .write::<(), DbError, _>(|conn| {
                    Box::pin(async move {
                        claim(conn, a("k", 1)).await?;
                        Err(DbError::Closed)
                    })
                })
                .await;
            assert!(failed.is_err());
            let claimed = db.write::<_, DbError, _>(|conn| Box::pin(claim(conn, a("k", 1)))).await.unwrap();
            assert_eq!(claimed, ClaimOutcome::New);
            let swept = db.write::<_, DbError, _>(|conn| Box::pin(sweep(conn, 6, 9))).await.unwrap();
            assert_eq!(swept, 1);
        }
    }
}
