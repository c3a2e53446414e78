//! What persons decided or put right: only ever added to.

use crate::{
    db::{Conn, DbError, Row, Value, args},
    domain::{
        correction::{Correction, Mark},
        id::{CorrectionId, InvoiceId, TransferId},
        tenant::Tenant,
    },
};

/// Adds a correction.
pub(crate) async fn insert(conn: &mut Conn, correction: Correction) -> Result<(), DbError> {
    let evidence = correction.evidence.as_ref().map(serde_json::to_string).transpose();
    let evidence = evidence.map_err(DbError::Unwritable)?;
    conn.exec(
        "INSERT INTO correction (id, merchant_id, test, kind, transfer_id, payment_id, invoice_id, address_id, of_id,
             amount, why, evidence, was, key_id, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        args![
            correction.id,
            correction.tenant.merchant,
            correction.tenant.mode,
            correction.kind,
            correction.transfer_id,
            correction.payment_id,
            correction.invoice_id,
            correction.address_id,
            correction.of_id,
            correction.amount,
            correction.why,
            evidence,
            &correction.was,
            correction.key_id,
            correction.at
        ],
    )
    .await?;
    Ok(())
}

/// The mark of an invoice that nobody has taken back, if there is one. The caller has locked the invoice.
pub(crate) async fn live_mark(conn: &mut Conn, invoice_id: &InvoiceId) -> Result<Option<Mark>, DbError> {
    let sql = "SELECT c.id, c.merchant_id, c.amount, i.asset_id FROM correction c JOIN invoice i ON i.id = c.invoice_id
               WHERE c.invoice_id = $1 AND c.kind = 'mark_paid'
                 AND NOT EXISTS (SELECT 1 FROM correction u WHERE u.of_id = c.id)";
    let row = conn.row(sql, args![invoice_id]).await?;
    row.map(|row| {
        Ok(Mark {
            correction_id: row.id("id")?,
            merchant_id: row.id("merchant_id")?,
            invoice_id: invoice_id.clone(),
            asset_id: row.text("asset_id")?,
            amount: row.amount("amount")?,
        })
    })
    .transpose()
}

/// A correction, and the decimals of its amount's asset.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) correction: Correction,
    pub(crate) decimals: u8,
}

/// Filter of a list of corrections.
#[derive(Debug, Clone)]
pub(crate) enum Of {
    All,
    Invoice(InvoiceId),
    Transfer(TransferId),
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT c.*, COALESCE(a.decimals, 0) AS decimals FROM correction c
             LEFT JOIN invoice i ON i.id = c.invoice_id LEFT JOIN asset a ON a.id = i.asset_id ",
            $rest
        )
    };
}

fn listed(row: &Row) -> Result<Listed, DbError> {
    Ok(Listed {
        correction: Correction {
            id: row.id("id")?,
            tenant: row.tenant()?,
            kind: row.parsed("kind")?,
            transfer_id: row.opt_id("transfer_id")?,
            payment_id: row.opt_id("payment_id")?,
            invoice_id: row.opt_id("invoice_id")?,
            address_id: row.opt_id("address_id")?,
            of_id: row.opt_id("of_id")?,
            amount: row.opt_amount("amount")?,
            why: row.opt_text("why")?,
            evidence: row.opt_json("evidence")?,
            was: row.opt_json("was")?,
            key_id: row.id("key_id")?,
            at: row.int("at")?,
        },
        decimals: row.decimals()?,
    })
}

/// The merchant's corrections, the newest first, below the id `before`.
pub(crate) async fn list(
    conn: &mut Conn,
    tenant: &Tenant,
    of: Of,
    before: CorrectionId,
    rows: i64,
) -> Result<Vec<Listed>, DbError> {
    let mut args = args![&tenant.merchant, tenant.mode, before, rows];
    let sql = match of {
        Of::All => {
            select!(
                "WHERE c.merchant_id = $1 AND c.test = $2 AND c.id /*pg: COLLATE \"C\"*/ < $3
                 ORDER BY c.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            )
        }
        Of::Invoice(id) => {
            args.push(id.into());
            select!(
                "WHERE c.merchant_id = $1 AND c.test = $2 AND c.id /*pg: COLLATE \"C\"*/ < $3 AND c.invoice_id = $5
                 ORDER BY c.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            )
        }
        Of::Transfer(id) => {
            args.push(id.into());
            select!(
                "WHERE c.merchant_id = $1 AND c.test = $2 AND c.id /*pg: COLLATE \"C\"*/ < $3 AND c.transfer_id = $5
                 ORDER BY c.id /*pg: COLLATE \"C\"*/ DESC LIMIT $4"
            )
        }
    };
    conn.rows(sql, args).await?.iter().map(listed).collect()
}

/// Decisions about these transfers, the oldest first.
pub(crate) async fn of_transfers(conn: &mut Conn, ids: Vec<Value>) -> Result<Vec<Listed>, DbError> {
    let rows = conn.rows_in(select!("WHERE c.transfer_id IN"), ids, "ORDER BY c.id").await?;
    rows.iter().map(listed).collect()
}
