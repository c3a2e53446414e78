//! The addresses of a network, as its watcher learns of them.

use super::{Conn, DbError, args};

/// The keys of addresses with a `seq` above the given one, in that order.
///
/// `seq` is the order of commit (the counter's row lock makes it so): a reader that has seen one of them has missed
/// none below it.
pub(crate) async fn keys_after(
    conn: &mut Conn,
    network: &str,
    seq: i64,
    limit: i64,
) -> Result<Vec<(i64, Vec<u8>)>, DbError> {
    let rows = conn
        .rows(
            "SELECT seq, key FROM receive_address WHERE network = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            args![network.to_owned(), seq, limit],
        )
        .await?;
    rows.iter().map(|row| Ok((row.int("seq")?, row.blob("key")?))).collect()
}

/// Addresses after `after`, ascending.
pub(crate) async fn addresses_after(
    conn: &mut Conn,
    network: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    let rows = conn
        .rows(
            "SELECT address FROM receive_address WHERE network = $1 AND address > $2
             ORDER BY address LIMIT $3",
            args![network.to_owned(), after.to_owned(), limit],
        )
        .await?;
    rows.iter().map(|row| row.text("address")).collect()
}
