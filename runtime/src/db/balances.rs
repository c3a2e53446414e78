//! Balances of addresses on which native coin is waited for.

use super::{Conn, DbError, Row, args};
use crate::domain::{
    Millis,
    balance::{Arrived, Watched},
    id::{AddressId, InvoiceId},
    money::Amount,
};

/// An address whose native coin is compared from now on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Begin {
    pub(crate) address_id: AddressId,
    pub(crate) network: String,
    /// The network's final block: it holds no payment that is waited for.
    pub(crate) height: i64,
    pub(crate) until: Millis,
}

/// Begins to compare balances, or prolongs the comparison.
pub(crate) async fn begin(conn: &mut Conn, mut new: Vec<Begin>) -> Result<(), DbError> {
    // A single order for all writers of several rows, and each row once.
    new.sort();
    let mut rows: Vec<Begin> = Vec::with_capacity(new.len());
    for one in new {
        match rows.last_mut().filter(|last| last.address_id == one.address_id) {
            Some(last) => last.until = last.until.max(one.until),
            None => rows.push(one),
        }
    }
    let rows = rows.into_iter().map(|b| args![b.address_id, b.network, b.height, b.until]).collect();
    // The row is locked even if it stays as it is: whoever would end it meanwhile sees that it is wanted.
    conn.insert_many(
        "INSERT INTO balance (address_id, network, height, until)",
        rows,
        "ON CONFLICT (address_id) DO UPDATE SET until = excluded.until WHERE balance.until < excluded.until",
    )
    .await?;
    Ok(())
}

/// Prolongs the comparison of addresses that are compared already.
pub(crate) async fn extend(conn: &mut Conn, ends: Vec<(AddressId, Millis)>) -> Result<(), DbError> {
    let rows = ends.into_iter().map(|(address_id, until)| args![address_id, until]).collect();
    let sql = "UPDATE balance SET until = v.column2 FROM (";
    let tail = ") AS v WHERE balance.address_id = v.column1 AND balance.until < v.column2";
    conn.insert_many(sql, rows, tail).await?;
    Ok(())
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT b.address_id, r.address, r.merchant_id, r.kind, b.height, b.amount, b.until FROM balance b
             JOIN receive_address r ON r.id = b.address_id ",
            $rest
        )
    };
}

fn watched(row: &Row) -> Result<Watched, DbError> {
    Ok(Watched {
        address_id: row.id("address_id")?,
        address: row.text("address")?,
        merchant_id: row.id("merchant_id")?,
        own: row.text("kind")? == "invoice",
        height: row.int("height")?,
        amount: row.opt_amount("amount")?,
        until: row.int("until")?,
    })
}

/// Addresses to look at when the network is final up to `to`, the longest waiting first.
pub(crate) async fn due(
    conn: &mut Conn,
    network: &str,
    to: i64,
    limit: i64,
) -> Result<Vec<Watched>, DbError> {
    let sql = select!(
        "WHERE b.network = $1 AND b.height <= $2 AND (b.height < $2 OR b.amount IS NULL)
         ORDER BY b.height, b.address_id LIMIT $3"
    );
    conn.rows(sql, args![network.to_owned(), to, limit]).await?.iter().map(watched).collect()
}

/// The addresses among these that are still compared.
pub(crate) async fn of(conn: &mut Conn, address_ids: &[AddressId]) -> Result<Vec<Watched>, DbError> {
    let items = address_ids.iter().map(Into::into).collect();
    conn.rows_in(select!("WHERE b.address_id IN"), items, "").await?.iter().map(watched).collect()
}

/// Transfers of an asset to these addresses that were seen in the blocks above `from`, up to `to`.
pub(crate) async fn arrived(
    conn: &mut Conn,
    network: &str,
    asset_id: &str,
    (from, to): (i64, i64),
    address_ids: &[AddressId],
) -> Result<Vec<Arrived>, DbError> {
    let rows = conn
        .rows_in_with(
            "SELECT address_id, height, amount FROM transfer WHERE network = $1 AND height > $2 AND height <= $3
                 AND asset_id = $4 AND kind = 'seen' AND status <> 'retracted' AND address_id IN",
            args![network.to_owned(), from, to, asset_id.to_owned()],
            address_ids.iter().map(Into::into).collect(),
            "",
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Arrived {
                address_id: row.id("address_id")?,
                height: row.int("height")?,
                amount: row.opt_amount("amount")?,
            })
        })
        .collect()
}

/// Stores the balances of these addresses at the end of a block. The caller has locked the cursor.
pub(crate) async fn keep(
    conn: &mut Conn,
    height: i64,
    held: Vec<(AddressId, Amount)>,
) -> Result<(), DbError> {
    let rows = held.into_iter().map(|(address_id, amount)| args![address_id, height, amount]).collect();
    let sql = "UPDATE balance SET height = v.column2, amount = v.column3 FROM (";
    conn.insert_many(sql, rows, ") AS v WHERE balance.address_id = v.column1").await?;
    Ok(())
}

/// Ends the comparison, unless it was prolonged meanwhile.
pub(crate) async fn end(conn: &mut Conn, ended: &[Watched]) -> Result<(), DbError> {
    for one in ended {
        let sql = "DELETE FROM balance WHERE address_id = $1 AND until = $2";
        conn.exec(sql, args![&one.address_id, one.until]).await?;
    }
    Ok(())
}

/// Moves first looks from block `from` to `to`, where `from` can no longer be looked at. Returns their number.
pub(crate) async fn begin_later(conn: &mut Conn, network: &str, from: i64, to: i64) -> Result<u64, DbError> {
    let sql = "UPDATE balance SET height = $3 WHERE network = $1 AND height = $2 AND amount IS NULL";
    conn.exec(sql, args![network.to_owned(), from, to]).await
}

/// The addresses among these, each one invoice's own, whose invoice is paid.
pub(crate) async fn paid(conn: &mut Conn, address_ids: Vec<AddressId>) -> Result<Vec<AddressId>, DbError> {
    let items = address_ids.into_iter().map(Into::into).collect();
    let sql = "SELECT address_id FROM invoice WHERE matching = 'address' AND status IN ('paid', 'overpaid')
               AND address_id IN";
    conn.rows_in(sql, items, "").await?.iter().map(|row| row.id("address_id")).collect()
}

/// The open invoice in this asset on a shared address, if it is the only one.
pub(crate) async fn only_open(
    conn: &mut Conn,
    address_id: &AddressId,
    asset_id: &str,
) -> Result<Option<InvoiceId>, DbError> {
    // All keys of the address: they begin with its id and a slash, and `0` is the next character after the slash.
    let rows = conn
        .rows(
            "SELECT DISTINCT i.id FROM hold h JOIN invoice i ON i.id = h.invoice_id
             WHERE h.key > $1 AND h.key < $2 AND i.asset_id = $3
                 AND i.status IN ('new', 'detected', 'underpaid', 'manual_review') LIMIT 2",
            args![format!("{address_id}/"), format!("{address_id}0"), asset_id.to_owned()],
        )
        .await?;
    match rows.as_slice() {
        [only] => only.id("id").map(Some),
        _ => Ok(None),
    }
}
