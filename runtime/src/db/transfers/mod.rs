//! Transfers, and the log of their changes that settle reads.

mod not_final;

pub(crate) use not_final::{at_risk, finalize_to, included_to};

use super::{Conn, DbError, Row, Value, args, corrections};
use crate::domain::{
    Millis,
    id::{AddressId, InvoiceId, MerchantId, PaymentId, TransferId},
    money::Amount,
    near::NearMiss,
    settlement::AssetNames,
    tenant::Tenant,
    transfer::{Destination, Sighting, Transfer},
};

fn transfer(row: &Row) -> Result<Transfer, DbError> {
    Ok(Transfer {
        id: row.id("id")?,
        network: row.text("network")?,
        kind: row.parsed("kind")?,
        tx: row.text("tx")?,
        ordinal: row.int("ordinal")?,
        asset_id: row.text("asset_id")?,
        address_id: row.id("address_id")?,
        merchant_id: row.id("merchant_id")?,
        sender: row.opt_text("sender")?,
        amount: row.opt_amount("amount")?,
        memo: row.opt_text("memo")?,
        memo_problem: row.opt_text("memo_problem")?,
        height: row.int("height")?,
        block_hash: row.text("block_hash")?,
        block_time: row.int("block_time")?,
        status: row.parsed("status")?,
        epoch: row.int("epoch")?,
        seen_at: row.int("seen_at")?,
        seq: row.int("seq")?,
    })
}

/// The transfers of these transactions.
pub(crate) async fn of_transactions(
    conn: &mut Conn,
    network: &str,
    txs: &[String],
) -> Result<Vec<Transfer>, DbError> {
    let items = txs.iter().map(Into::into).collect();
    let head = "SELECT * FROM transfer WHERE network = $1 AND tx IN";
    let rows = conn.rows_in_with(head, args![network.to_owned()], items, "").await?;
    rows.iter().map(transfer).collect()
}

/// The transfers above `height` that are on chain as far as is known.
pub(crate) async fn above(conn: &mut Conn, network: &str, height: i64) -> Result<Vec<Transfer>, DbError> {
    let rows = conn
        .rows(
            "SELECT * FROM transfer WHERE network = $1 AND height > $2 AND status <> 'retracted'",
            args![network.to_owned(), height],
        )
        .await?;
    rows.iter().map(transfer).collect()
}

pub(crate) async fn by_ids(conn: &mut Conn, ids: &[TransferId]) -> Result<Vec<Transfer>, DbError> {
    let rows =
        conn.rows_in("SELECT * FROM transfer WHERE id IN", ids.iter().map(Into::into).collect(), "").await?;
    rows.iter().map(transfer).collect()
}

/// A transfer, locked until the transaction ends: its state on chain does not change meanwhile.
pub(crate) async fn lock(conn: &mut Conn, id: &TransferId) -> Result<Option<Transfer>, DbError> {
    let sql = "SELECT * FROM transfer WHERE id = $1 /*pg: FOR NO KEY UPDATE*/";
    conn.row(sql, args![id]).await?.as_ref().map(transfer).transpose()
}

pub(crate) async fn insert(conn: &mut Conn, transfers: &[Transfer]) -> Result<(), DbError> {
    let rows = transfers
        .iter()
        .map(|t| {
            args![
                &t.id,
                &t.network,
                t.kind,
                &t.tx,
                t.ordinal,
                &t.asset_id,
                &t.address_id,
                &t.merchant_id,
                &t.sender,
                t.amount,
                &t.memo,
                &t.memo_problem,
                t.height,
                &t.block_hash,
                t.block_time,
                t.status,
                t.epoch,
                t.seen_at,
                t.seq,
            ]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO transfer (id, network, kind, tx, ordinal, asset_id, address_id, merchant_id, sender, amount,
             memo, memo_problem, height, block_hash, block_time, status, epoch, seen_at, seq, test)
         SELECT v.*, n.test FROM (",
        rows,
        ") AS v JOIN network n ON n.name = v.column2",
    )
    .await?;
    Ok(())
}

/// Writes the place, status and epoch of these transfers.
pub(crate) async fn place(conn: &mut Conn, transfers: &[Transfer]) -> Result<(), DbError> {
    let rows = transfers
        .iter()
        .map(|t| args![&t.id, t.height, &t.block_hash, t.block_time, t.status, t.epoch])
        .collect();
    conn.insert_many(
        "UPDATE transfer SET height = v.column2, block_hash = v.column3, block_time = v.column4,
             status = v.column5, epoch = v.column6 FROM (",
        rows,
        ") AS v WHERE transfer.id = v.column1",
    )
    .await?;
    Ok(())
}

/// Appends changes to the network's log, after the entry number `seq`. Returns the last entry's number. The caller has
/// locked the cursor's row, so that numbers are in order of commit.
pub(crate) async fn log(
    conn: &mut Conn,
    network: &str,
    mut seq: i64,
    changes: &[(Sighting, &Transfer)],
    now: Millis,
) -> Result<i64, DbError> {
    let rows = changes
        .iter()
        .map(|(kind, t)| {
            seq += 1;
            args![network.to_owned(), seq, &t.id, *kind, t.epoch, t.height, &t.block_hash, now]
        })
        .collect();
    conn.insert_many(
        "INSERT INTO sighting (network, seq, transfer_id, kind, epoch, height, block_hash, at)",
        rows,
        "",
    )
    .await?;
    Ok(seq)
}

/// A change that settle has not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) seq: i64,
    pub(crate) kind: Sighting,
    pub(crate) epoch: i64,
    pub(crate) transfer_id: TransferId,
}

/// The changes after `seq`, in order.
pub(crate) async fn changes_after(
    conn: &mut Conn,
    network: &str,
    seq: i64,
    limit: i64,
) -> Result<Vec<Change>, DbError> {
    let rows = conn
        .rows(
            "SELECT seq, kind, epoch, transfer_id FROM sighting WHERE network = $1 AND seq > $2
             ORDER BY seq LIMIT $3",
            args![network.to_owned(), seq, limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Change {
                seq: row.int("seq")?,
                kind: row.parsed("kind")?,
                epoch: row.int("epoch")?,
                transfer_id: row.id("transfer_id")?,
            })
        })
        .collect()
}

/// Filter of a merchant's list of transfers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// True for only those that pay nothing and wait for a person.
    pub(crate) unmatched: bool,
}

/// A payment of a transfer.
#[derive(Debug, Clone)]
pub(crate) struct Paid {
    pub(crate) payment_id: PaymentId,
    pub(crate) invoice_id: Option<InvoiceId>,
    pub(crate) amount: Amount,
}

/// A transfer, and the results of settle.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) transfer: Transfer,
    pub(crate) address: String,
    pub(crate) symbol: String,
    pub(crate) decimals: u8,
    /// Payments that it makes.
    pub(crate) paid: Vec<Paid>,
    /// The invoice that it may be meant for, if it pays nothing by itself.
    pub(crate) invoice_id: Option<InvoiceId>,
    pub(crate) reason: Option<String>,
    pub(crate) state: Option<String>,
    /// Open invoices that it could be meant for.
    pub(crate) near: Vec<NearMiss>,
    /// What was decided about it by hand, the oldest first.
    pub(crate) corrections: Vec<corrections::Listed>,
}

macro_rules! listed {
    ($where:literal) => {
        concat!(
            "SELECT t.*, r.address, a.symbol, a.decimals, u.reason, u.state, u.invoice_id, u.near
             FROM transfer t
             JOIN receive_address r ON r.id = t.address_id
             JOIN asset a ON a.id = t.asset_id
             LEFT JOIN unmatched u ON u.transfer_id = t.id ",
            $where
        )
    };
}

fn listed(row: &Row) -> Result<Listed, DbError> {
    Ok(Listed {
        transfer: transfer(row)?,
        address: row.text("address")?,
        symbol: row.text("symbol")?,
        decimals: row.decimals()?,
        paid: Vec::new(),
        invoice_id: row.opt_id("invoice_id")?,
        reason: row.opt_text("reason")?,
        state: row.opt_text("state")?,
        near: row.opt_json("near")?.unwrap_or_default(),
        corrections: Vec::new(),
    })
}

/// The invoices that this sender has last paid to this address, at most `limit` payments back.
pub(crate) async fn paid_by(
    conn: &mut Conn,
    sender: &str,
    address_id: &AddressId,
    limit: i64,
) -> Result<Vec<InvoiceId>, DbError> {
    let sql = "SELECT p.invoice_id FROM transfer t JOIN payment p ON p.transfer_id = t.id
               WHERE t.sender = $1 AND t.address_id = $2 AND p.invoice_id IS NOT NULL
                 AND p.status IN ('pending', 'credited') ORDER BY t.id DESC LIMIT $3";
    let rows = conn.rows(sql, args![sender.to_owned(), address_id, limit]).await?;
    rows.iter().map(|row| row.id("invoice_id")).collect()
}

/// The merchant's transfers, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    filter: &Filter,
    before: TransferId,
    limit: i64,
) -> Result<Vec<Listed>, DbError> {
    let args = args![&tenant.merchant, tenant.mode, before, limit];
    let rows = if filter.unmatched {
        let sql = listed!(
            "WHERE u.merchant_id = $1 AND u.test = $2 AND u.state = 'open' AND u.transfer_id /*pg: COLLATE \"C\"*/ < $3
             ORDER BY u.transfer_id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
        );
        conn.rows(sql, args).await?
    } else {
        let sql = listed!(
            "WHERE t.merchant_id = $1 AND t.test = $2 AND t.id /*pg: COLLATE \"C\"*/ < $3
             ORDER BY t.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
        );
        conn.rows(sql, args).await?
    };
    with_payments(conn, &rows).await
}

async fn with_payments(conn: &mut Conn, rows: &[Row]) -> Result<Vec<Listed>, DbError> {
    let mut all: Vec<Listed> = rows.iter().map(listed).collect::<Result<_, _>>()?;
    let ids: Vec<Value> = all.iter().map(|one| (&one.transfer.id).into()).collect();
    for decided in corrections::of_transfers(conn, ids.clone()).await? {
        let of = |one: &&mut Listed| decided.correction.transfer_id.as_ref() == Some(&one.transfer.id);
        let Some(one) = all.iter_mut().find(of) else { continue };
        one.corrections.push(decided);
    }
    let sql = "SELECT id, transfer_id, invoice_id, amount FROM payment
               WHERE status <> 'unassigned' AND transfer_id IN";
    for row in conn.rows_in(sql, ids, "ORDER BY transfer_id, part").await? {
        let transfer_id: TransferId = row.id("transfer_id")?;
        let Some(one) = all.iter_mut().find(|one| one.transfer.id == transfer_id) else { continue };
        one.paid.push(Paid {
            payment_id: row.id("id")?,
            invoice_id: row.opt_id("invoice_id")?,
            amount: row.amount("amount")?,
        });
    }
    Ok(all)
}

/// Finds one of the merchant's transfers.
pub(crate) async fn get(
    conn: &mut Conn,
    tenant: &Tenant,
    id: &TransferId,
) -> Result<Option<Listed>, DbError> {
    let sql = listed!("WHERE t.merchant_id = $1 AND t.test = $2 AND t.id = $3");
    let row = conn.row(sql, args![&tenant.merchant, tenant.mode, id]).await?;
    Ok(with_payments(conn, row.as_slice()).await?.pop())
}

/// The merchant's transfers in these transactions of a network, in the order of the chain.
pub(crate) async fn of_merchant(
    conn: &mut Conn,
    merchant_id: &MerchantId,
    network: &str,
    txs: &[String],
) -> Result<Vec<Listed>, DbError> {
    let rows = conn
        .rows_in_with(
            listed!("WHERE t.merchant_id = $1 AND t.network = $2 AND t.tx IN"),
            args![merchant_id, network.to_owned()],
            txs.iter().map(Into::into).collect(),
            "ORDER BY t.height, t.tx, t.ordinal",
        )
        .await?;
    with_payments(conn, &rows).await
}

/// The receive addresses with these ids, reduced to what settlement needs.
pub(crate) async fn destinations(
    conn: &mut Conn,
    address_ids: &[AddressId],
) -> Result<Vec<(AddressId, Destination)>, DbError> {
    let items = address_ids.iter().map(Into::into).collect();
    let sql = "SELECT id, address, kind, unique_id, meta FROM receive_address WHERE id IN";
    let rows = conn.rows_in(sql, items, "").await?;
    rows.iter()
        .map(|row| {
            let destination = Destination {
                address: row.text("address")?,
                customer: row.text("kind")? == "customer",
                unique_id: row.opt_text("unique_id")?,
                meta: row.opt_json("meta")?,
            };
            Ok((row.id("id")?, destination))
        })
        .collect()
}

/// The assets of a network, by id.
pub(crate) async fn assets(conn: &mut Conn, network: &str) -> Result<Vec<(String, AssetNames)>, DbError> {
    let rows = conn
        .rows("SELECT id, symbol, decimals FROM asset WHERE network = $1", args![network.to_owned()])
        .await?;
    rows.iter()
        .map(|row| {
            Ok((row.text("id")?, AssetNames { symbol: row.text("symbol")?, decimals: row.decimals()? }))
        })
        .collect()
}
