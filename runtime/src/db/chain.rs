//! The cursor of each network, and the blocks above its final one.

use super::{Conn, DbError, Row, alarms, args};
use crate::domain::{Millis, alarm::NetworkFrozen, event::Data, transfer::Depth};

/// Progress of the reading of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) network: String,
    /// The last block that was read completely.
    pub(crate) height: i64,
    pub(crate) hash: String,
    /// Height of the chain's head when it was last asked for.
    pub(crate) head: i64,
    pub(crate) safe: Option<i64>,
    /// The highest block that the chain called final; never goes back.
    pub(crate) r#final: i64,
    /// Time of the last block that was read.
    pub(crate) time: Millis,
    /// Time of the final block; never goes back. Everything before it was read and stays as it is.
    pub(crate) final_time: Millis,
    /// Reason that the network is frozen, if it is.
    pub(crate) frozen: Option<String>,
    pub(crate) moved_at: Millis,
}

impl Cursor {
    pub(crate) fn depth(&self) -> Depth {
        Depth { height: self.height, safe: self.safe, r#final: self.r#final }
    }
}

/// A block as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) height: i64,
    pub(crate) hash: String,
    pub(crate) parent: String,
    pub(crate) time: Millis,
}

pub(crate) async fn cursor(conn: &mut Conn, network: &str) -> Result<Option<Cursor>, DbError> {
    let row = conn.row("SELECT * FROM cursor WHERE network = $1", args![network.to_owned()]).await?;
    row.as_ref().map(read).transpose()
}

/// The cursor, locked until the transaction ends, and the number of the last entry of the network's log.
pub(crate) async fn lock(conn: &mut Conn, network: &str) -> Result<Option<(Cursor, i64)>, DbError> {
    let sql = "SELECT * FROM cursor WHERE network = $1 /*pg: FOR NO KEY UPDATE*/";
    let row = conn.row(sql, args![network.to_owned()]).await?;
    row.map(|row| Ok((read(&row)?, row.int("seq")?))).transpose()
}

fn read(row: &Row) -> Result<Cursor, DbError> {
    Ok(Cursor {
        network: row.text("network")?,
        height: row.int("height")?,
        hash: row.text("hash")?,
        head: row.int("head")?,
        safe: row.opt_int("safe")?,
        r#final: row.int("final")?,
        time: row.int("time")?,
        final_time: row.int("final_time")?,
        frozen: row.opt_text("frozen")?,
        moved_at: row.int("moved_at")?,
    })
}

/// Moves the cursor from where the caller read it, or makes the first one, and locks it. Returns the number of the last
/// entry of the network's log. `None` if another moved or froze it, or holds a newer fence: the caller must undo
/// everything.
pub(crate) async fn advance(
    conn: &mut Conn,
    from: Option<&Cursor>,
    to: &Cursor,
    fence: i64,
) -> Result<Option<i64>, DbError> {
    let row = match from {
        None => {
            conn.row(
                "INSERT INTO cursor (network, height, hash, head, safe, final, time, final_time, seq, fence, moved_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10) ON CONFLICT (network) DO NOTHING RETURNING seq",
                args![
                    &to.network,
                    to.height,
                    &to.hash,
                    to.head,
                    to.safe,
                    to.r#final,
                    to.time,
                    to.final_time,
                    fence,
                    to.moved_at
                ],
            )
            .await?
        }
        Some(from) => {
            conn.row(
                "UPDATE cursor SET height = $1, hash = $2, head = $3, safe = $4, final = $5, time = $6,
                     final_time = $7, fence = $8, moved_at = $9
                 WHERE network = $10 AND height = $11 AND hash = $12 AND fence <= $8 AND frozen IS NULL RETURNING seq",
                args![
                    to.height,
                    &to.hash,
                    to.head,
                    to.safe,
                    to.r#final,
                    to.time,
                    to.final_time,
                    fence,
                    to.moved_at,
                    &to.network,
                    from.height,
                    &from.hash,
                ],
            )
            .await?
        }
    };
    row.map(|row| row.int("seq")).transpose()
}

/// Stores the number of the last entry of the network's log. The caller has locked the cursor.
pub(crate) async fn logged(conn: &mut Conn, network: &str, seq: i64) -> Result<(), DbError> {
    conn.exec("UPDATE cursor SET seq = $1 WHERE network = $2", args![seq, network.to_owned()]).await?;
    Ok(())
}

/// The position of a network for new invoices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetworkPosition {
    /// Number of the last entry of its log.
    pub(crate) seq: i64,
    pub(crate) r#final: i64,
    pub(crate) final_time: Millis,
}

/// Reads the position for new invoices. `None` if the network was never read, or not since it was unfrozen, so that
/// nothing on it can be promised.
pub(crate) async fn standing(conn: &mut Conn, network: &str) -> Result<Option<NetworkPosition>, DbError> {
    let sql = "SELECT seq, final, final_time FROM cursor WHERE network = $1 AND final_time >= 0";
    let row = conn.row(sql, args![network.to_owned()]).await?;
    row.map(|row| {
        let (seq, r#final, final_time) = (row.int("seq")?, row.int("final")?, row.int("final_time")?);
        Ok(NetworkPosition { seq, r#final, final_time })
    })
    .transpose()
}

/// Hash and time of a kept block.
pub(crate) async fn kept(
    conn: &mut Conn,
    network: &str,
    height: i64,
) -> Result<Option<(String, Millis)>, DbError> {
    let sql = "SELECT hash, time FROM block WHERE network = $1 AND height = $2";
    let row = conn.row(sql, args![network.to_owned(), height]).await?;
    row.map(|row| Ok((row.text("hash")?, row.int("time")?))).transpose()
}

/// Time of a kept block.
pub(crate) async fn block_time(
    conn: &mut Conn,
    network: &str,
    height: i64,
) -> Result<Option<Millis>, DbError> {
    let sql = "SELECT time FROM block WHERE network = $1 AND height = $2";
    conn.row(sql, args![network.to_owned(), height]).await?.map(|row| row.int("time")).transpose()
}

/// Freezes the network until the operator decides, and tells of it.
pub(crate) async fn freeze(conn: &mut Conn, network: &str, why: &str, now: Millis) -> Result<(), DbError> {
    let frozen = conn
        .exec(
            "UPDATE cursor SET frozen = $1, frozen_at = $2 WHERE network = $3 AND frozen IS NULL",
            args![why.to_owned(), now, network.to_owned()],
        )
        .await?;
    if frozen == 1 {
        let alarm = NetworkFrozen { network: network.to_owned(), why: why.to_owned() };
        alarms::tell(conn, &Data::NetworkFrozen(alarm.into()), now).await?;
    }
    Ok(())
}

/// Unfreezes a network on its present branch: reading begins again above the last final block, whatever that block's
/// hash is by now. Transfers that the new branch does not hold are then retracted as in any reorg; those at or below
/// that block stay. Nothing is promised until the time of a final block of the new branch is known: the old one's may
/// lie behind payments to come. Returns false if the network is not frozen.
pub(crate) async fn unfreeze(conn: &mut Conn, network: &str) -> Result<bool, DbError> {
    let changed = conn
        .exec(
            "UPDATE cursor SET frozen = NULL, frozen_at = NULL, height = final, hash = '', final_time = -1
             WHERE network = $1 AND frozen IS NOT NULL",
            args![network.to_owned()],
        )
        .await?;
    if changed == 1 {
        // Balances have to be read again on the new branch.
        conn.exec("UPDATE balance SET amount = NULL WHERE network = $1", args![network.to_owned()]).await?;
        conn.exec("DELETE FROM block WHERE network = $1", args![network.to_owned()]).await?;
    }
    Ok(changed == 1)
}

/// The stored blocks at or above `height`, descending.
pub(crate) async fn blocks_from(conn: &mut Conn, network: &str, height: i64) -> Result<Vec<Block>, DbError> {
    let rows = conn
        .rows(
            "SELECT height, hash, parent, time FROM block WHERE network = $1 AND height >= $2 ORDER BY height DESC",
            args![network.to_owned(), height],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Block {
                height: row.int("height")?,
                hash: row.text("hash")?,
                parent: row.text("parent")?,
                time: row.int("time")?,
            })
        })
        .collect()
}

/// Replaces the stored blocks above `base` by `blocks`, and deletes those below `keep_from`.
pub(crate) async fn replace_blocks(
    conn: &mut Conn,
    network: &str,
    base: Option<i64>,
    blocks: &[Block],
    keep_from: i64,
) -> Result<(), DbError> {
    if let Some(base) = base {
        conn.exec("DELETE FROM block WHERE network = $1 AND height > $2", args![network.to_owned(), base])
            .await?;
    }
    let rows = blocks
        .iter()
        .map(|block| args![network.to_owned(), block.height, &block.hash, &block.parent, block.time])
        .collect();
    conn.insert_many("INSERT INTO block (network, height, hash, parent, time)", rows, "").await?;
    conn.exec("DELETE FROM block WHERE network = $1 AND height < $2", args![network.to_owned(), keep_from])
        .await?;
    Ok(())
}

/// True if some transfers above the final block are not deep enough yet. Final ones wait for something else.
pub(crate) async fn is_waited_for(conn: &mut Conn, network: &str, r#final: i64) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS one FROM transfer WHERE network = $1 AND height > $2 AND status = 'included'
               AND status IN ('included', 'confirmed') LIMIT 1";
    Ok(conn.row(sql, args![network.to_owned(), r#final]).await?.is_some())
}
