//! The ledger: only ever added to.

use super::{Conn, DbError, args};
use crate::domain::{
    Millis,
    id::JournalId,
    ledger::{Account, JournalKind, entries},
    settlement::JournalOf,
};

/// A journal to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewJournal {
    pub(crate) id: JournalId,
    pub(crate) kind: JournalKind,
    pub(crate) of: JournalOf,
}

/// Writes journals with their entries. The schema refuses a second credit or reversal of the same inclusion, or of the
/// same mark.
pub(crate) async fn write(conn: &mut Conn, journals: &[NewJournal], now: Millis) -> Result<(), DbError> {
    let mut heads = Vec::with_capacity(journals.len());
    let mut lines = Vec::with_capacity(journals.len() * 2);
    for NewJournal { id, kind, of } in journals {
        let word = kind.as_str();
        let (from, payee, asset_id, amount) = match of {
            JournalOf::Payment(payment) => {
                let none: Option<String> = None;
                heads.push(args![id, &payment.transfer_id, payment.part, payment.epoch, none, word, now]);
                let payee = match &payment.invoice_id {
                    Some(invoice_id) => Account::Invoice(invoice_id.clone()),
                    None => Account::Customer(payment.address_id.clone()),
                };
                (Account::Chain(payment.address_id.clone()), payee, &payment.asset_id, payment.amount)
            }
            JournalOf::Mark(mark) => {
                let none: Option<String> = None;
                heads.push(args![id, none, 0_i64, 0_i64, &mark.correction_id, word, now]);
                let payee = Account::Invoice(mark.invoice_id.clone());
                (Account::Manual(mark.merchant_id.clone()), payee, &mark.asset_id, mark.amount)
            }
        };
        for (line, entry) in (1i64..).zip(entries(*kind, from, payee, amount)) {
            lines.push(args![id, line, entry.account.to_string(), asset_id, entry.signed()]);
        }
    }
    conn.insert_many(
        "INSERT INTO journal (id, transfer_id, part, epoch, correction_id, kind, at)",
        heads,
        "",
    )
    .await?;
    conn.insert_many("INSERT INTO ledger_entry (journal_id, line, account, asset_id, amount)", lines, "")
        .await?;
    Ok(())
}
