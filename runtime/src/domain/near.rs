//! Near misses: open invoices that a transfer could be meant for which no key names for certain. They are shown to the
//! person who decides, and never paid by themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{id::InvoiceId, invoice::Invoice, word::words};

words! {
    /// In what an invoice is like a transfer.
    Likeness {
        /// It differs by a fee that an exchange took: the invoice tolerates it, and the digits fit.
        Fee = "fee",
        /// Its memo differs in case, or by O for 0, or I or L for 1.
        Memo = "memo",
        /// The same sender has paid part of it.
        Sender = "sender",
        /// It is one of the nearest amounts.
        Amount = "amount",
    }
}

/// An open invoice that a transfer could be meant for, as it stood when the transfer was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NearMiss {
    #[schema(example = "inv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC")]
    pub invoice_id: InvoiceId,
    pub order_id: Option<String>,
    /// What it asks for, in whole units.
    #[schema(example = "25.003712")]
    pub payable_amount: String,
    pub because: Likeness,
}

impl NearMiss {
    #[must_use]
    pub fn new(invoice: &Invoice, because: Likeness) -> Self {
        Self {
            invoice_id: invoice.id.clone(),
            order_id: invoice.order_id.clone(),
            payable_amount: invoice.due.to_decimal(invoice.decimals),
            because,
        }
    }
}

/// The memo as Kassa would have written it, with characters that people confuse corrected; `None` if it is not like one
/// of Kassa's.
#[must_use]
pub fn as_written(memo: &str) -> Option<String> {
    let plain = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let written: String = memo.chars().filter(|c| !c.is_whitespace() && *c != '-').map(plain).collect();
    let like_ours = (1..=64).contains(&written.len()) && written.bytes().all(|b| b.is_ascii_alphanumeric());
    (like_ours && written != memo).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_read_as_it_was_written() {
        for typed in ["7h0k9xq1", "7HOK9XQI", "7hok-9xql", " 7h0K 9xQ1"] {
            assert_eq!(as_written(typed).as_deref(), Some("7H0K9XQ1"), "{typed}");
        }
        for other in ["7H0K9XQ1", "", "   ", "thanks!", "\u{442}\u{435}\u{441}\u{442}", &"x".repeat(65)] {
            assert_eq!(as_written(other), None, "{other}");
        }
    }
}
