//! Invoices.

use crate::{
    db::{Conn, DbError, Row, args, balances, holds, newest::newest_of_each},
    domain::{
        Millis,
        id::{AddressId, InvoiceId},
        invoice::{Invoice, Matching, Status},
        matching::{amount_key, memo_key},
        tenant::Tenant,
    },
};

macro_rules! select {
    ($($rest:expr),+) => {
        concat!(
            "SELECT i.*, a.symbol, a.decimals, r.address FROM invoice i
             JOIN asset a ON a.id = i.asset_id JOIN receive_address r ON r.id = i.address_id ",
            $($rest),+
        )
    };
}

pub(super) fn invoice(row: &Row) -> Result<Invoice, DbError> {
    Ok(Invoice {
        id: row.id("id")?,
        tenant: row.tenant()?,
        order_id: row.opt_text("order_id")?,
        title: row.text("title")?,
        tag: row.opt_text("tag")?,
        meta: row.opt_json("meta")?,
        network: row.text("network")?,
        asset_id: row.text("asset_id")?,
        symbol: row.text("symbol")?,
        decimals: row.decimals()?,
        address_id: row.id("address_id")?,
        address: row.text("address")?,
        matching: row.parsed("matching")?,
        memo: row.opt_text("memo")?,
        currency: row.opt_text("currency")?,
        price: row.opt_text("price")?,
        amount: row.amount("amount")?,
        due: row.amount("due")?,
        status: row.parsed("status")?,
        exception: row.parsed("exception")?,
        pending: row.amount("pending")?,
        credited: row.amount("credited")?,
        marked: row.amount("marked")?,
        sequence: row.int("sequence")?,
        payment_uri: row.opt_text("payment_uri")?,
        policy: row.json("policy")?,
        sighted: row.int("sighted")?,
        created_at: row.int("created_at")?,
        expires_at: row.int("expires_at")?,
        held_until: row.int("held_until")?,
        pinned: row.bool("pinned")?,
        expired_at: row.opt_int("expired_at")?,
        cancelled_at: row.opt_int("cancelled_at")?,
        paid_at: row.opt_int("paid_at")?,
    })
}

/// Finds one of the merchant's invoices.
pub(crate) async fn get(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &InvoiceId,
) -> Result<Option<Invoice>, DbError> {
    let sql = select!("WHERE i.id = $1 AND i.merchant_id = $2 AND i.test = $3");
    let row = conn.row(sql, args![id, &tenant.merchant, tenant.mode]).await?;
    row.as_ref().map(invoice).transpose()
}

/// The merchant's invoices with these order ids that are open or paid.
pub(crate) async fn by_order_ids(
    conn: &mut Conn,
    tenant: &Tenant,
    order_ids: Vec<String>,
) -> Result<Vec<Invoice>, DbError> {
    let items = order_ids.into_iter().map(Into::into).collect();
    let head = select!(
        "WHERE i.merchant_id = $1 AND i.test = $2 AND i.status NOT IN ('expired', 'cancelled') AND i.order_id IN"
    );
    let rows = conn.rows_in_with(head, args![&tenant.merchant, tenant.mode], items, "").await?;
    rows.iter().map(invoice).collect()
}

/// Filter of a list of invoices.
#[derive(Debug, Clone)]
pub(crate) enum Of {
    All,
    Status(Status),
    /// All invoices of this order.
    Order(String),
}

/// The merchant's invoices, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    of: Of,
    before: InvoiceId,
    limit: i64,
) -> Result<Vec<Invoice>, DbError> {
    let mut args = args![&tenant.merchant, tenant.mode, before, limit];
    let sql = match of {
        Of::All => select!(
            "JOIN ",
            newest_of_each!(
                "SELECT id FROM invoice WHERE merchant_id = $1 AND test = $2 AND status = ",
                "AND id /*pg: COLLATE \"C\"*/ < $3 ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT $4",
                ["new", "detected", "underpaid", "paid", "overpaid", "expired", "manual_review", "cancelled"]
            ),
            " AS newest ON newest.id = i.id ORDER BY i.id DESC LIMIT $4"
        ),
        Of::Status(status) => {
            args.push(status.into());
            select!(
                "WHERE i.merchant_id = $1 AND i.test = $2 AND i.id /*pg: COLLATE \"C\"*/ < $3 AND i.status = $5
                 ORDER BY i.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            )
        }
        Of::Order(order_id) => {
            args.push(order_id.into());
            // Only one invoice of an order has the empty turn; the turn of each other is its id.
            select!(
                "WHERE i.id IN (
                   SELECT id FROM invoice WHERE merchant_id = $1 AND test = $2 AND order_id = $5 AND order_turn = ''
                       AND id < $3
                   UNION ALL
                   SELECT id FROM (SELECT id FROM invoice WHERE merchant_id = $1 AND test = $2 AND order_id = $5
                       AND order_turn > '' AND order_turn < $3 ORDER BY order_turn DESC LIMIT $4) AS former)
                 ORDER BY i.id DESC LIMIT $4"
            )
        }
    };
    conn.rows(sql, args).await?.iter().map(invoice).collect()
}

/// The invoices with these ids.
pub(crate) async fn by_ids(conn: &mut Conn, ids: Vec<InvoiceId>) -> Result<Vec<Invoice>, DbError> {
    let items = ids.into_iter().map(Into::into).collect();
    conn.rows_in(select!("WHERE i.id IN"), items, "").await?.iter().map(invoice).collect()
}

/// The invoices with these ids, locked until the transaction ends: whoever changes their payments goes one at a time.
pub(crate) async fn lock(conn: &mut Conn, ids: &[InvoiceId]) -> Result<Vec<Invoice>, DbError> {
    // A single order for all that lock several: no two can deadlock.
    let mut ids = ids.to_vec();
    ids.sort();
    ids.dedup();
    let items = ids.into_iter().map(Into::into).collect();
    let rows = conn.rows_in(select!("WHERE i.id IN"), items, "ORDER BY i.id /*pg: FOR UPDATE OF i*/").await?;
    rows.iter().map(invoice).collect()
}

/// The invoices whose own address is among these.
pub(crate) async fn by_addresses(
    conn: &mut Conn,
    address_ids: &[AddressId],
) -> Result<Vec<(AddressId, InvoiceId)>, DbError> {
    let rows = conn
        .rows_in(
            "SELECT id, address_id FROM invoice WHERE matching = 'address' AND address_id IN",
            address_ids.iter().map(Into::into).collect(),
            "",
        )
        .await?;
    rows.iter().map(|row| Ok((row.id("address_id")?, row.id("id")?))).collect()
}

pub(crate) async fn insert(conn: &mut Conn, invoices: &[Invoice]) -> Result<(), DbError> {
    let rows = invoices
        .iter()
        .map(|i| {
            args![
                &i.id,
                &i.tenant.merchant,
                i.tenant.mode,
                &i.order_id,
                &i.title,
                &i.tag,
                &i.meta,
                &i.network,
                &i.asset_id,
                &i.address_id,
                i.matching,
                &i.memo,
                &i.currency,
                &i.price,
                i.amount,
                i.due,
                i.status,
                i.exception,
                i.pending,
                i.credited,
                i.sequence,
                &i.payment_uri,
                serde_json::to_string(&i.policy).unwrap_or_default(),
                i.sighted,
                i.created_at,
                i.expires_at,
                i.held_until,
                i.pinned,
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO invoice (id, merchant_id, test, order_id, title, tag, meta, network, asset_id, address_id,
             matching, memo, currency, price, amount, due, status, exception, pending, credited, sequence,
             payment_uri, policy, sighted, created_at, expires_at, held_until, pinned)",
        rows,
        "",
    )
    .await?;
    Ok(())
}

/// Writes the fields that change in an invoice's life; all others change only by corrections. An expired or cancelled
/// invoice makes way for another of its order.
pub(crate) async fn update(conn: &mut Conn, invoices: &[Invoice]) -> Result<(), DbError> {
    let rows = invoices
        .iter()
        .map(|i| {
            args![
                &i.id,
                i.status,
                i.exception,
                i.pending,
                i.credited,
                i.sequence,
                i.expired_at,
                i.cancelled_at,
                i.paid_at,
            ]
        })
        .collect();
    conn.insert_many(
        "UPDATE invoice SET status = v.column2, exception = v.column3, pending = v.column4,
             credited = v.column5, sequence = v.column6, expired_at = v.column7, cancelled_at = v.column8,
             paid_at = v.column9 FROM (",
        rows,
        ") AS v WHERE invoice.id = v.column1",
    )
    .await?;
    let over = |i: &&Invoice| i.order_id.is_some() && matches!(i.status, Status::Expired | Status::Cancelled);
    let over = invoices.iter().filter(over).map(|i| (&i.id).into()).collect();
    conn.exec_in("UPDATE invoice SET order_turn = id WHERE id IN", over, "").await?;
    Ok(())
}

/// Writes the total that a person marked as paid.
pub(crate) async fn set_marked(conn: &mut Conn, invoice: &Invoice) -> Result<(), DbError> {
    let sql = "UPDATE invoice SET marked = $2 WHERE id = $1";
    conn.exec(sql, args![&invoice.id, invoice.marked]).await?;
    Ok(())
}

/// Writes an invoice's deadline and the end of its hold.
pub(crate) async fn set_deadline(conn: &mut Conn, invoice: &Invoice) -> Result<(), DbError> {
    let sql = "UPDATE invoice SET expires_at = $2, held_until = $3 WHERE id = $1";
    conn.exec(sql, args![&invoice.id, invoice.expires_at, invoice.held_until]).await?;
    Ok(())
}

/// Gives an invoice its order back. Errors ([`DbError::is_taken`]) if another invoice has it.
pub(crate) async fn take_order(conn: &mut Conn, id: &InvoiceId) -> Result<(), DbError> {
    conn.exec("UPDATE invoice SET order_turn = '' WHERE id = $1", args![id]).await?;
    Ok(())
}

/// Open invoices of a network whose deadline lies before `time` (of the final block), the oldest first. They wait while
/// a hook of their merchant is being asked about a transfer, which may be for one of them.
pub(crate) async fn overdue(
    conn: &mut Conn,
    network: &str,
    time: Millis,
    limit: i64,
) -> Result<Vec<InvoiceId>, DbError> {
    let rows = conn
        .rows(
            "SELECT id FROM invoice i WHERE network = $1 AND expires_at < $2 AND expired_at IS NULL
                 AND cancelled_at IS NULL AND status IN ('new', 'detected', 'underpaid') AND pinned = 1
                 AND NOT EXISTS (SELECT 1 FROM unmatched u WHERE u.merchant_id = i.merchant_id
                     AND u.state = 'open' AND u.reason = 'matching')
             ORDER BY expires_at LIMIT $3",
            args![network.to_owned(), time, limit],
        )
        .await?;
    rows.iter().map(|row| row.id("id")).collect()
}

// ------------------------------------------------------------------ deadlines that do not count yet

/// True if deadlines of a network wait for the chain's time to be known.
pub(crate) async fn any_unpinned(conn: &mut Conn, network: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS one FROM invoice WHERE network = $1 AND pinned = 0 LIMIT 1";
    Ok(conn.row(sql, args![network.to_owned()]).await?.is_some())
}

/// Starts the deadlines that did not count, now that the chain's time is known to be `time`, and moves each on, so that
/// at least the promised time remains. At most `limit`; returns their number.
pub(crate) async fn pin(conn: &mut Conn, network: &str, time: Millis, limit: i64) -> Result<usize, DbError> {
    // The promise is a length of time, by a clock that may be wrong.
    let rows = conn
        .rows(
            "UPDATE invoice SET pinned = 1,
                 expires_at = expires_at + CASE WHEN $2 > created_at THEN $2 - created_at ELSE 0 END,
                 held_until = held_until + CASE WHEN $2 > created_at THEN $2 - created_at ELSE 0 END
             WHERE id IN (SELECT id FROM invoice WHERE network = $1 AND pinned = 0 LIMIT $3) AND pinned = 0
             RETURNING matching, address_id, asset_id, due, memo, held_until",
            args![network.to_owned(), time, limit],
        )
        .await?;
    let mut ends = Vec::with_capacity(rows.len());
    let mut compared = Vec::with_capacity(rows.len());
    for row in &rows {
        compared.push((row.id("address_id")?, row.int("held_until")?));
        let (address_id, memo) = (row.id("address_id")?, row.opt_text("memo")?);
        let key = match (row.parsed("matching")?, memo) {
            (Matching::Address, _) | (Matching::Memo, None) => continue,
            (Matching::Memo, Some(memo)) => memo_key(&address_id, &memo),
            (Matching::Amount, _) => amount_key(&address_id, &row.text("asset_id")?, row.amount("due")?),
        };
        ends.push((key, row.int("held_until")?));
    }
    holds::set_end(conn, ends).await?;
    balances::extend(conn, compared).await?;
    Ok(rows.len())
}
