//! Double entry: every journal has a debit and a credit that balance to zero, and none is ever changed.

use std::fmt;

use super::{
    id::{AddressId, InvoiceId, MerchantId},
    money::Amount,
};

/// An account of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Money that arrived on chain at a receive address (its id).
    Chain(AddressId),
    /// Money paid to an invoice (its id).
    Invoice(InvoiceId),
    /// Money that a customer paid to an address of their own (its id).
    Customer(AddressId),
    /// Money that a merchant (its id) reports as paid in a way that Kassa cannot see.
    Manual(MerchantId),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(id) => write!(f, "chain:{id}"),
            Self::Invoice(id) => write!(f, "invoice:{id}"),
            Self::Customer(id) => write!(f, "customer:{id}"),
            Self::Manual(id) => write!(f, "manual:{id}"),
        }
    }
}

/// The reason for a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    Credit,
    /// Takes back a credit: its block is no longer on chain, or a person decided so.
    Reversal,
}

impl JournalKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Reversal => "reversal",
        }
    }
}

/// One side of a journal. `negative` marks a credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub account: Account,
    pub negative: bool,
    pub amount: Amount,
}

impl Entry {
    /// The signed amount as stored: debits are positive, credits negative.
    #[must_use]
    pub fn signed(&self) -> String {
        if self.negative && !self.amount.is_zero() {
            format!("-{}", self.amount)
        } else {
            self.amount.to_string()
        }
    }
}

/// The two entries of a journal: the source against the payee.
#[must_use]
pub fn entries(kind: JournalKind, from: Account, payee: Account, amount: Amount) -> [Entry; 2] {
    let reversed = kind == JournalKind::Reversal;
    [
        Entry { account: from, negative: reversed, amount },
        Entry { account: payee, negative: !reversed, amount },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_balances_and_a_reversal_undoes_it() {
        let sum = |kind| -> i128 {
            entries(kind, Account::Chain("adr_1".into()), Account::Invoice("inv_1".into()), Amount(7))
                .iter()
                .map(|entry| entry.signed().parse::<i128>().unwrap())
                .sum()
        };
        assert_eq!(sum(JournalKind::Credit), 0);
        assert_eq!(sum(JournalKind::Reversal), 0);
        let [credit, _] =
            entries(JournalKind::Credit, Account::Chain("a".into()), Account::Invoice("i".into()), Amount(7));
        let [reversal, _] = entries(
            JournalKind::Reversal,
            Account::Manual("m".into()),
            Account::Invoice("i".into()),
            Amount(7),
        );
        assert_eq!((credit.signed().as_str(), reversal.signed().as_str()), ("7", "-7"));
    }
}
