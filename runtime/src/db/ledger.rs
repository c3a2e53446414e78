//! The ledger: only ever added to.

use super::{Conn, DbError, args};
use crate::domain::{
    Millis,
    ledger::{Account, JournalKind, entries},
    payment::Payment,
};

/// A journal about to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewJournal {
    pub(crate) id: String,
    pub(crate) kind: JournalKind,
    pub(crate) payment: Payment,
}

/// Writes journals with their entries. The schema refuses a second credit or reversal of the same inclusion.
pub(crate) async fn write(conn: &mut Conn, journals: &[NewJournal], now: Millis) -> Result<(), DbError> {
    let mut heads = Vec::with_capacity(journals.len());
    let mut lines = Vec::with_capacity(journals.len() * 2);
    for journal in journals {
        let payment = &journal.payment;
        let of =
            args![&journal.id, &payment.transfer_id, payment.part, payment.epoch, journal.kind.as_str(), now];
        heads.push(of);
        let payee = match &payment.invoice_id {
            Some(invoice_id) => Account::Invoice(invoice_id.clone()),
            None => Account::Customer(payment.address_id.clone()),
        };
        for (line, entry) in (1i64..).zip(entries(journal.kind, &payment.address_id, payee, payment.amount)) {
            lines.push(args![
                &journal.id,
                line,
                entry.account.to_string(),
                &payment.asset_id,
                entry.signed(),
            ]);
        }
    }
    conn.insert_many("INSERT INTO journal (id, transfer_id, part, epoch, kind, at)", heads, "").await?;
    conn.insert_many("INSERT INTO ledger_entry (journal_id, line, account, asset_id, amount)", lines, "")
        .await?;
    Ok(())
}
