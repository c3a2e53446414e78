//! Rescans: ranges of blocks that are read again.

use super::{Conn, DbError, Row, args};
use crate::domain::{Millis, id::RescanId, rescan::State};

/// A rescan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rescan {
    pub(crate) id: RescanId,
    pub(crate) network: String,
    /// Time at which it was asked to begin, if it was.
    pub(crate) since: Option<Millis>,
    /// None: the block of that time is still looked for.
    pub(crate) from: Option<i64>,
    pub(crate) to: i64,
    /// The block that is read next.
    pub(crate) next: Option<i64>,
    /// Hash of the block before that, as it was read here; empty if none was.
    pub(crate) parent: String,
    pub(crate) state: State,
    /// Number of transfers that were unknown before.
    pub(crate) found: i64,
    pub(crate) error: Option<String>,
    pub(crate) created_at: Millis,
    pub(crate) done_at: Option<Millis>,
}

fn read(row: &Row) -> Result<Rescan, DbError> {
    Ok(Rescan {
        id: row.id("id")?,
        network: row.text("network")?,
        since: row.opt_int("since")?,
        from: row.opt_int("from_height")?,
        to: row.int("to_height")?,
        next: row.opt_int("next_height")?,
        parent: row.text("parent")?,
        state: row.parsed("state")?,
        found: row.int("found")?,
        error: row.opt_text("error")?,
        created_at: row.int("created_at")?,
        done_at: row.opt_int("done_at")?,
    })
}

/// Stores a new rescan. Returns false if another of this network is running.
pub(crate) async fn insert(conn: &mut Conn, rescan: &Rescan) -> Result<bool, DbError> {
    let made = conn
        .exec(
            "INSERT INTO rescan (id, network, since, from_height, to_height, next_height, state, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'running', $7)
             ON CONFLICT (network) WHERE state = 'running' DO NOTHING",
            args![
                &rescan.id,
                &rescan.network,
                rescan.since,
                rescan.from,
                rescan.to,
                rescan.next,
                rescan.created_at
            ],
        )
        .await?;
    Ok(made == 1)
}

pub(crate) async fn get(conn: &mut Conn, id: &RescanId) -> Result<Option<Rescan>, DbError> {
    let sql = "SELECT * FROM rescan WHERE id = $1";
    conn.row(sql, args![id]).await?.as_ref().map(read).transpose()
}

/// The running rescan of a network.
pub(crate) async fn running(conn: &mut Conn, network: &str) -> Result<Option<Rescan>, DbError> {
    let sql = "SELECT * FROM rescan WHERE network = $1 AND state = 'running'";
    conn.row(sql, args![network.to_owned()]).await?.as_ref().map(read).transpose()
}

/// The rescans of a network, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    network: &str,
    before: &RescanId,
    limit: i64,
) -> Result<Vec<Rescan>, DbError> {
    let sql = "SELECT * FROM rescan WHERE network = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    let rows = conn.rows(sql, args![network.to_owned(), before.to_owned(), limit]).await?;
    rows.iter().map(read).collect()
}

/// Records the first block, once it is found.
pub(crate) async fn begin(conn: &mut Conn, id: &RescanId, from: i64) -> Result<bool, DbError> {
    let sql = "UPDATE rescan SET from_height = $2, next_height = $2, error = NULL
               WHERE id = $1 AND state = 'running' AND from_height IS NULL";
    Ok(conn.exec(sql, args![id, from]).await? == 1)
}

/// The progress of a rescan after a step.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) next: i64,
    /// Hash of the block before that.
    pub(crate) parent: String,
    /// Number of transfers that were unknown before.
    pub(crate) found: i64,
}

/// Moves a rescan on from where the caller read it; it is done when its last block was read. Returns false if it was
/// cancelled or another has moved it: the caller must undo everything.
pub(crate) async fn advance(
    conn: &mut Conn,
    from: &Rescan,
    to: &Progress,
    now: Millis,
) -> Result<bool, DbError> {
    let done = to.next > from.to;
    let (state, done_at) = if done { (State::Done, Some(now)) } else { (State::Running, None) };
    let changed = conn
        .exec(
            "UPDATE rescan SET next_height = $1, parent = $2, found = found + $3, error = NULL, state = $4, done_at = $5
             WHERE id = $6 AND state = 'running' AND next_height = $7",
            args![to.next, &to.parent, to.found, state, done_at, &from.id, from.next],
        )
        .await?;
    Ok(changed == 1)
}

/// Records the reason of a delay.
pub(crate) async fn held_up(conn: &mut Conn, id: &RescanId, why: &str) -> Result<(), DbError> {
    let sql = "UPDATE rescan SET error = $2 WHERE id = $1 AND state = 'running'";
    conn.exec(sql, args![id, why.to_owned()]).await?;
    Ok(())
}

/// Ends a rescan early. Returns false if it has ended already.
pub(crate) async fn end(
    conn: &mut Conn,
    id: &RescanId,
    state: State,
    why: Option<&str>,
    now: Millis,
) -> Result<bool, DbError> {
    let sql = "UPDATE rescan SET state = $2, error = $3, done_at = $4 WHERE id = $1 AND state = 'running'";
    let args = args![id, state, why.map(str::to_owned), now];
    Ok(conn.exec(sql, args).await? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{Db, networks},
        domain::id::Id,
        testing,
    };

    fn rescan(id: &str, from: Option<i64>) -> Rescan {
        Rescan {
            id: id.into(),
            network: "net".to_owned(),
            since: from.is_none().then_some(5),
            from,
            to: 20,
            next: from,
            parent: String::new(),
            state: State::Running,
            found: 0,
            error: None,
            created_at: 1,
            done_at: None,
        }
    }

    async fn write<T, W>(db: &Db, work: W) -> T
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut Conn) -> crate::db::Work<'t, Result<T, DbError>> + Send + 'static,
    {
        db.write(work).await.unwrap()
    }

    async fn add(db: &Db, one: Rescan) -> bool {
        write(db, move |conn| Box::pin(async move { insert(conn, &one).await })).await
    }

    async fn read_to(db: &Db, from: Rescan, next: i64, found: i64) -> bool {
        let to = Progress { next, parent: format!("{}", next - 1), found };
        write(db, move |conn| Box::pin(async move { advance(conn, &from, &to, 9).await })).await
    }

    #[tokio::test]
    async fn one_at_a_time_from_its_first_block_to_its_last() {
        for db in testing::databases().await {
            let manifest = serde_json::from_value(serde_json::json!({
                "name": "net", "title": "Net", "caip2": "eip155:1", "plugin": "evm", "credit": 1, "poll_ms": 1000,
                "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18}],
            }));
            let manifest = manifest.unwrap();
            db.write::<_, networks::PutError, _>(move |conn| {
                Box::pin(async move { networks::put(conn, &manifest, 1).await })
            })
            .await
            .unwrap();
            assert!(add(&db, rescan("rsc_1", None)).await);
            assert!(!add(&db, rescan("rsc_2", Some(3))).await);
            let found = write(&db, |conn| Box::pin(async { begin(conn, &"rsc_1".into(), 10).await }));
            assert!(found.await);
            let again = write(&db, |conn| Box::pin(async { begin(conn, &"rsc_1".into(), 11).await }));
            assert!(!again.await);

            let mut conn = db.read().await.unwrap();
            let first = running(&mut conn, "net").await.unwrap().unwrap();
            assert_eq!((first.from, first.next), (Some(10), Some(10)));
            assert!(read_to(&db, first.clone(), 15, 2).await);
            assert!(!read_to(&db, first.clone(), 15, 2).await, "it has moved");
            let second = running(&mut conn, "net").await.unwrap().unwrap();
            assert_eq!((second.next, second.parent.as_str(), second.found), (Some(15), "14", 2));
            write(&db, |conn| Box::pin(async { held_up(conn, &"rsc_1".into(), "slow").await })).await;
            assert!(read_to(&db, second, 21, 0).await);
            let done = get(&mut conn, &"rsc_1".into()).await.unwrap().unwrap();
            assert_eq!((done.state, done.error, done.done_at), (State::Done, None, Some(9)));
            assert_eq!(running(&mut conn, "net").await.unwrap(), None);

            // Another may run now; its worker finds it cancelled.
            assert!(add(&db, rescan("rsc_2", Some(3))).await);
            let cancel = || {
                write(&db, |conn| {
                    Box::pin(async { end(conn, &"rsc_2".into(), State::Cancelled, None, 9).await })
                })
            };
            assert!(cancel().await);
            assert!(!cancel().await);
            assert!(!read_to(&db, rescan("rsc_2", Some(3)), 5, 0).await);
            let all = list(&mut conn, "net", &RescanId::greatest(), 10).await.unwrap();
            assert_eq!(all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["rsc_2", "rsc_1"]);
            assert_eq!(list(&mut conn, "net", &"rsc_2".into(), 10).await.unwrap().len(), 1);
        }
    }
}
