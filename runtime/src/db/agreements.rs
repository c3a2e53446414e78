//! What providers say of transfers that two of them have to have seen.

use std::collections::HashMap;

use super::{Conn, DbError, args};
use crate::domain::{Millis, id::TransferId, transfer::Transfer, word::words};

words! {
    /// The agreement of two providers about a transfer.
    State {
        /// Two providers have seen it.
        Agreed = "agreed",
        /// A provider contradicts.
        Disputed = "disputed",
        /// There is no second provider to ask.
        Alone = "alone",
    }
}

/// Finds the transfers that two providers have seen, with the hash of the block in which they saw them.
pub(crate) async fn agreed(
    conn: &mut Conn,
    transfers: &[&Transfer],
) -> Result<HashMap<TransferId, String>, DbError> {
    let ids = transfers.iter().map(|transfer| (&transfer.id).into()).collect();
    let sql = "SELECT transfer_id, block_hash FROM agreement WHERE state = 'agreed' AND transfer_id IN";
    let rows = conn.rows_in(sql, ids, "").await?;
    rows.iter().map(|row| Ok((row.id("transfer_id")?, row.text("block_hash")?))).collect()
}

/// Records the state of a transfer in its block. Returns true if that is news; an agreement about a block stands.
pub(crate) async fn note(
    conn: &mut Conn,
    transfer: &Transfer,
    state: State,
    now: Millis,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO agreement (transfer_id, block_hash, state, at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (transfer_id) DO UPDATE
                 SET block_hash = excluded.block_hash, state = excluded.state, at = excluded.at
               WHERE agreement.block_hash <> excluded.block_hash
                  OR (agreement.state <> excluded.state AND agreement.state <> 'agreed')";
    Ok(conn.exec(sql, args![&transfer.id, &transfer.block_hash, state, now]).await? == 1)
}
