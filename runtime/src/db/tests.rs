//! What is read takes its time from nobody else.

use std::time::Duration;

use super::{Db, REQUEST_READS_MAX, args};
use crate::testing;

/// A query that runs for ever.
const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n)
                       SELECT COUNT(*) AS n FROM n";

async fn one(db: &Db) -> i64 {
    let row = db.read().await.unwrap().row("SELECT CAST($1 AS BIGINT) AS one", args![1_i64]).await.unwrap();
    row.unwrap().int("one").unwrap()
}

#[tokio::test]
async fn a_request_that_reads_for_ever_is_broken_off() {
    for db in testing::databases().await {
        let requests = db.for_requests();
        let mut conn = requests.read().await.unwrap();
        let broken_off = conn.rows(ENDLESS, args![1_i64]).await.unwrap_err();
        assert!(broken_off.is_too_long(), "{broken_off}");
        drop(conn);
        assert_eq!(one(&requests).await, 1);
    }
}

#[tokio::test]
async fn requests_that_read_for_ever_hold_up_no_worker() {
    for db in testing::databases().await {
        let reads: Vec<_> = (0..2 * REQUEST_READS_MAX)
            .map(|_| {
                let requests = db.for_requests();
                tokio::spawn(
                    async move { requests.read().await?.rows(ENDLESS, args![1_i64]).await.map(|_| ()) },
                )
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        // It is answered before them, though they outnumber the connections.
        assert_eq!(one(&db).await, 1);
        assert!(reads.iter().all(|read| !read.is_finished()));
        for read in reads {
            read.await.unwrap().unwrap_err();
        }
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_broken_off() {
    let db = testing::sqlite().await;
    for _ in 0..3 {
        // As many as there are connections, without a time limit.
        let reads: Vec<_> = (0..REQUEST_READS_MAX)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { db.read().await?.rows(ENDLESS, args![1_i64]).await.map(|_| ()) })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        reads.iter().for_each(tokio::task::JoinHandle::abort);
    }
    assert_eq!(one(&db).await, 1);
}
