//! Payments, the transfers that pay nothing, and settle's own cursor.

use crate::{
    db::{Conn, DbError, Row, args},
    domain::{
        Millis,
        id::{InvoiceId, PaymentId, TransferId},
        matching::Reason,
        payment::Payment,
        settlement::{self, Listing},
        tenant::Tenant,
    },
};

fn payment(row: &Row) -> Result<Payment, DbError> {
    Ok(Payment {
        id: row.id("id")?,
        transfer_id: row.id("transfer_id")?,
        part: row.int("part")?,
        merchant_id: row.id("merchant_id")?,
        invoice_id: row.opt_id("invoice_id")?,
        address_id: row.id("address_id")?,
        asset_id: row.text("asset_id")?,
        amount: row.amount("amount")?,
        status: row.parsed("status")?,
        exception: row.parsed("exception")?,
        epoch: row.int("epoch")?,
        created_at: row.int("created_at")?,
        credited_at: row.opt_int("credited_at")?,
    })
}

/// Reads and locks the number of the last change that was settled.
pub(crate) async fn settled_to(conn: &mut Conn, network: &str) -> Result<i64, DbError> {
    let row = conn
        .row("SELECT seq FROM settle_cursor WHERE network = $1 /*pg: FOR UPDATE*/", args![network.to_owned()])
        .await?;
    row.map_or(Ok(0), |row| row.int("seq"))
}

/// Moves settle's cursor. Returns false if another moved it or holds a newer fence: undo everything.
pub(crate) async fn settle_to(
    conn: &mut Conn,
    network: &str,
    from: i64,
    to: i64,
    fence: i64,
) -> Result<bool, DbError> {
    let changed = conn
        .exec(
            "INSERT INTO settle_cursor (network, seq, fence) VALUES ($1, $2, $3)
             ON CONFLICT (network) DO UPDATE SET seq = excluded.seq, fence = excluded.fence
             WHERE settle_cursor.seq = $4 AND settle_cursor.fence <= excluded.fence",
            args![network.to_owned(), to, fence, from],
        )
        .await?;
    Ok(changed == 1)
}

/// The payments that these transfers make.
pub(crate) async fn of_transfers(
    conn: &mut Conn,
    transfer_ids: &[TransferId],
) -> Result<Vec<Payment>, DbError> {
    let items = transfer_ids.iter().map(Into::into).collect();
    let rows = conn.rows_in("SELECT * FROM payment WHERE transfer_id IN", items, "").await?;
    rows.iter().map(payment).collect()
}

/// All payments of these invoices.
pub(crate) async fn of_invoices(conn: &mut Conn, invoice_ids: &[InvoiceId]) -> Result<Vec<Payment>, DbError> {
    let items = invoice_ids.iter().map(Into::into).collect();
    let rows = conn.rows_in("SELECT * FROM payment WHERE invoice_id IN", items, "").await?;
    rows.iter().map(payment).collect()
}

/// Adds payments, or updates the state of existing ones.
pub(crate) async fn put(conn: &mut Conn, payments: &[Payment]) -> Result<(), DbError> {
    let rows = payments
        .iter()
        .map(|p| {
            args![
                &p.id,
                &p.transfer_id,
                p.part,
                &p.merchant_id,
                &p.invoice_id,
                &p.address_id,
                &p.asset_id,
                p.amount,
                p.status,
                p.exception,
                p.epoch,
                p.created_at,
                p.credited_at,
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO payment (id, transfer_id, part, merchant_id, invoice_id, address_id, asset_id, amount, status,
             exception, epoch, created_at, credited_at, test)
         SELECT v.*, t.test FROM (",
        rows,
        ") AS v JOIN transfer t ON t.id = v.column2 WHERE 1 = 1
         ON CONFLICT (transfer_id, part) DO UPDATE SET status = excluded.status, epoch = excluded.epoch,
             credited_at = excluded.credited_at",
    )
    .await?;
    Ok(())
}

/// A payment, with the facts that its view needs.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) payment: Payment,
    pub(crate) network: String,
    /// `None` if its transfer is a rise.
    pub(crate) tx: Option<String>,
    pub(crate) height: i64,
    pub(crate) symbol: String,
    pub(crate) decimals: u8,
    pub(crate) address: String,
}

macro_rules! listed {
    ($where:literal) => {
        concat!(
            "SELECT p.*, t.network, CASE t.kind WHEN 'seen' THEN t.tx END AS tx, t.height, a.symbol, a.decimals, r.address FROM payment p
             JOIN transfer t ON t.id = p.transfer_id
             JOIN asset a ON a.id = p.asset_id
             JOIN receive_address r ON r.id = p.address_id ",
            $where
        )
    };
}

fn listed(row: &Row) -> Result<Listed, DbError> {
    Ok(Listed {
        payment: payment(row)?,
        network: row.text("network")?,
        tx: row.opt_text("tx")?,
        height: row.int("height")?,
        symbol: row.text("symbol")?,
        decimals: row.decimals()?,
        address: row.text("address")?,
    })
}

/// The merchant's payments, the newest first, below the id `before`; of one invoice, if given.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    invoice_id: Option<&InvoiceId>,
    before: PaymentId,
    limit: i64,
) -> Result<Vec<Listed>, DbError> {
    let mut args = args![&tenant.merchant, tenant.mode, before, limit];
    let rows = match invoice_id {
        None => {
            let sql = listed!(
                "WHERE p.merchant_id = $1 AND p.test = $2 AND p.id /*pg: COLLATE \"C\"*/ < $3
                 ORDER BY p.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            );
            conn.rows(sql, args).await?
        }
        Some(invoice_id) => {
            args.push(invoice_id.clone().into());
            let sql = listed!(
                "WHERE p.merchant_id = $1 AND p.test = $2 AND p.id /*pg: COLLATE \"C\"*/ < $3 AND p.invoice_id = $5
                 ORDER BY p.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            );
            conn.rows(sql, args).await?
        }
    };
    rows.iter().map(listed).collect()
}

pub(crate) async fn get(conn: &mut Conn, tenant: &Tenant, id: &PaymentId) -> Result<Option<Listed>, DbError> {
    let sql = listed!("WHERE p.merchant_id = $1 AND p.test = $2 AND p.id = $3");
    let row = conn.row(sql, args![&tenant.merchant, tenant.mode, id]).await?;
    row.as_ref().map(listed).transpose()
}

// ------------------------------------------------------------------ transfers that pay nothing

/// Lists transfers. One that is listed already (it came back after a reorg) keeps its state.
pub(crate) async fn list_unmatched(
    conn: &mut Conn,
    unmatched: &[Listing],
    now: Millis,
) -> Result<(), DbError> {
    let row = |u: &Listing| {
        let near = (!u.near.is_empty()).then(|| serde_json::to_string(&u.near)).transpose();
        let near = near.map_err(DbError::Unwritable)?;
        Ok(args![&u.transfer_id, &u.merchant_id, u.reason, &u.invoice_id, near, "open", now])
    };
    let rows = unmatched.iter().map(row).collect::<Result<_, DbError>>()?;
    conn.insert_many(
        "INSERT INTO unmatched (transfer_id, merchant_id, reason, invoice_id, near, state, created_at, test)
         SELECT v.*, t.test FROM (",
        rows,
        ") AS v JOIN transfer t ON t.id = v.column1 WHERE 1 = 1
         ON CONFLICT (transfer_id) DO NOTHING",
    )
    .await?;
    Ok(())
}

/// The transfers among these that are listed as unmatched.
pub(crate) async fn listed_of(
    conn: &mut Conn,
    transfer_ids: &[TransferId],
) -> Result<Vec<(TransferId, settlement::Listed)>, DbError> {
    let items = transfer_ids.iter().map(Into::into).collect();
    let sql = "SELECT transfer_id, state, reason, invoice_id FROM unmatched WHERE transfer_id IN";
    let rows = conn.rows_in(sql, items, "").await?;
    let listed = |row: &Row| {
        let is = match row.text("state")?.as_str() {
            "open" => settlement::Listed::Open {
                reason: row.parsed("reason")?,
                invoice_id: row.opt_id("invoice_id")?,
            },
            _ => settlement::Listed::Closed,
        };
        Ok((row.id("transfer_id")?, is))
    };
    rows.iter().map(listed).collect()
}

/// Takes open transfers off the list. Errors if a person has decided about one meanwhile.
pub(crate) async fn unlist(conn: &mut Conn, transfer_ids: &[TransferId]) -> Result<(), DbError> {
    for id in transfer_ids {
        let sql = "DELETE FROM unmatched WHERE transfer_id = $1 AND state = 'open'";
        if conn.exec(sql, args![id]).await? == 0 {
            return Err(DbError::Stale("what is decided about a transfer"));
        }
    }
    Ok(())
}

/// Pairs of one of these invoices and a late transfer that may be meant for it and waits for a person.
pub(crate) async fn in_review(
    conn: &mut Conn,
    invoice_ids: &[InvoiceId],
) -> Result<Vec<(InvoiceId, TransferId)>, DbError> {
    let items = invoice_ids.iter().map(Into::into).collect();
    let rows = conn
        .rows_in(
            "SELECT u.invoice_id, u.transfer_id FROM unmatched u JOIN transfer t ON t.id = u.transfer_id
             WHERE u.state = 'open' AND t.status <> 'retracted' AND u.reason = 'late' AND u.invoice_id IN",
            items,
            "",
        )
        .await?;
    rows.iter().map(|row| Ok((row.id("invoice_id")?, row.id("transfer_id")?))).collect()
}

/// Takes a transfer that waits for a matcher off the list. Returns false if a person has decided about it.
pub(crate) async fn unlist_matching(conn: &mut Conn, transfer_id: &TransferId) -> Result<bool, DbError> {
    let sql = "DELETE FROM unmatched WHERE transfer_id = $1 AND state = 'open' AND reason = $2";
    Ok(conn.exec(sql, args![transfer_id, Reason::Matching]).await? == 1)
}

/// Closes an open transfer. Returns false if it is not open.
pub(crate) async fn resolve(
    conn: &mut Conn,
    transfer_id: &TransferId,
    state: &'static str,
    now: Millis,
) -> Result<bool, DbError> {
    let changed = conn
        .exec(
            "UPDATE unmatched SET state = $1, resolved_at = $2 WHERE transfer_id = $3 AND state = 'open'",
            args![state, now, transfer_id],
        )
        .await?;
    Ok(changed == 1)
}

/// Opens a transfer again that a person closed in this way. Returns false if it is not closed in this way.
///
/// A matcher is not asked a second time: a transfer that waited for one is listed as `no_match`.
pub(crate) async fn relist(
    conn: &mut Conn,
    transfer_id: &TransferId,
    closed: &'static str,
) -> Result<bool, DbError> {
    let sql = "UPDATE unmatched SET state = 'open', resolved_at = NULL,
                   reason = CASE WHEN reason = 'matching' AND NOT EXISTS (
                       SELECT 1 FROM match_queue q WHERE q.transfer_id = unmatched.transfer_id)
                     THEN 'no_match' ELSE reason END
               WHERE transfer_id = $1 AND state = $2";
    Ok(conn.exec(sql, args![transfer_id, closed]).await? == 1)
}

/// The number of the last change that was settled, not locked.
pub(crate) async fn peek(conn: &mut Conn, network: &str) -> Result<i64, DbError> {
    let row = conn.row("SELECT seq FROM settle_cursor WHERE network = $1", args![network.to_owned()]).await?;
    row.map_or(Ok(0), |row| row.int("seq"))
}

/// True if settle has not reached the end of the network's log.
pub(crate) async fn any_unsettled(conn: &mut Conn, network: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS one FROM sighting WHERE network = $1
                   AND seq > COALESCE((SELECT seq FROM settle_cursor WHERE network = $1), 0) LIMIT 1";
    Ok(conn.row(sql, args![network.to_owned()]).await?.is_some())
}
