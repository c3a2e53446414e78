//! Which open invoices a matcher is offered for a transfer.
//!
//! An index by amount would cost every invoice of everyone; so this makes do with what is there. Invoices that wait
//! for an exact amount hold it under a key that ends in it (`domain::matching::amount_key`), and among keys with as
//! many digits those near in amount are near in order. Invoices that wait for a memo are found among the merchant's
//! newest, one with an address of its own by that address. Each look is bounded, whatever a merchant has open.

use crate::{
    db::{Conn, DbError, args, invoices::invoice, newest::newest_of_each},
    domain::{invoice::Invoice, matching::amount_key, money::Amount, tenant::Tenant, transfer::Transfer},
};

/// Invoices (of `from`, as `i`) that are open.
macro_rules! open {
    ($($from:expr),+) => {
        concat!(
            "SELECT i.*, a.symbol, a.decimals, r.address FROM ",
            $($from,)+
            " JOIN asset a ON a.id = i.asset_id JOIN receive_address r ON r.id = i.address_id
             WHERE i.expired_at IS NULL AND i.cancelled_at IS NULL
               AND i.status IN ('new', 'detected', 'underpaid', 'manual_review')"
        )
    };
}

/// The open invoices that a transfer may be meant for, the nearest in amount first. Where there are thousands, some are
/// left out.
pub(crate) async fn near(
    conn: &mut Conn,
    transfer: &Transfer,
    tenant: &Tenant,
    amount: Amount,
) -> Result<Vec<Invoice>, DbError> {
    let key = |amount: &str| amount_key(&transfer.address_id, &transfer.asset_id, amount);
    let mut rows = Vec::new();
    for Look { from, to, down } in looks(amount) {
        let sql = if down {
            open!(
                "(SELECT invoice_id FROM hold WHERE key >= $1 AND key <= $2 ORDER BY key DESC LIMIT 500) AS h
                   JOIN invoice i ON i.id = h.invoice_id"
            )
        } else {
            open!(
                "(SELECT invoice_id FROM hold WHERE key >= $1 AND key <= $2 ORDER BY key LIMIT 500) AS h
                   JOIN invoice i ON i.id = h.invoice_id"
            )
        };
        rows.extend(conn.rows(sql, args![key(&from), key(&to)]).await?);
    }
    let newest = open!(
        newest_of_each!(
            "SELECT id FROM invoice WHERE merchant_id = $1 AND test = $2 AND status = ",
            "ORDER BY id /*pg: COLLATE \"C\"*/ DESC LIMIT 500",
            ["new", "detected", "underpaid", "manual_review"]
        ),
        " AS newest JOIN invoice i ON i.id = newest.id"
    );
    rows.extend(conn.rows(newest, args![&tenant.merchant, tenant.mode]).await?);
    let own = open!("(SELECT * FROM invoice WHERE matching = 'address' AND address_id = $1) AS i");
    rows.extend(conn.rows(own, args![&transfer.address_id]).await?);
    let mut near: Vec<Invoice> = rows.iter().map(invoice).collect::<Result<_, _>>()?;
    // Some collations ignore the separators between the parts of a key.
    near.retain(|i| i.address_id == transfer.address_id && i.asset_id == transfer.asset_id);
    near.sort_by(|a, b| {
        let distance = |invoice: &Invoice| invoice.due.0.abs_diff(amount.0);
        (distance(a), &a.id).cmp(&(distance(b), &b.id))
    });
    near.dedup_by(|a, b| a.id == b.id);
    Ok(near)
}

/// A range of held keys to look at, from the amount at which it begins.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    from: String,
    to: String,
    /// True if it is read from `to` downwards.
    down: bool,
}

/// The ranges to look at: the amounts with as many digits, and the nearest ones with a digit less or more.
fn looks(amount: Amount) -> Vec<Look> {
    let text = amount.to_string();
    let digits = text.len();
    let least = |digits: usize| format!("1{}", "0".repeat(digits - 1));
    let look = |from: String, to: String, down| Look { from, to, down };
    let mut looks = vec![
        look(least(digits), text.clone(), true),
        look(text, "9".repeat(digits), false),
        look(least(digits + 1), "9".repeat(digits + 1), false),
    ];
    if digits > 1 {
        looks.push(look(least(digits - 1), "9".repeat(digits - 1), true));
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_amounts_are_looked_at() {
        let look = |from: &str, to: &str, down| Look { from: from.to_owned(), to: to.to_owned(), down };
        assert_eq!(
            looks(Amount(512)),
            [
                look("100", "512", true),
                look("512", "999", false),
                look("1000", "9999", false),
                look("10", "99", true),
            ]
        );
        assert_eq!(looks(Amount(7)).len(), 3);
    }
}
