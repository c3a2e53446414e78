//! State of the database at the end of a simulation.

use std::collections::{BTreeMap, HashMap};

use crate::world::World;

/// The outcome of a transfer in Kassa.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) status: String,
    /// Invoice (empty if none), status and exception of each payment.
    pub(super) payments: Vec<(String, String, String)>,
    pub(super) listed: Option<String>,
    pub(super) credits: i64,
}

pub(super) async fn outcomes(world: &World<'_>) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    let rows = world
        .store
        .query(
            "SELECT t.id, t.tx, t.status, u.reason FROM transfer t LEFT JOIN unmatched u ON u.transfer_id = t.id",
            &["id", "tx", "status", "reason"],
        )
        .await?;
    for row in rows {
        let [id, tx, status, reason] = four(row);
        let listed = (!reason.is_empty()).then_some(reason);
        outcomes.insert(tx, Outcome { id, status, listed, ..Outcome::default() });
    }
    let rows = world
        .store
        .query(
            "SELECT t.tx, p.invoice_id, p.status, p.exception FROM payment p JOIN transfer t ON t.id = p.transfer_id",
            &["tx", "invoice_id", "status", "exception"],
        )
        .await?;
    for row in rows {
        let [tx, invoice_id, status, exception] = four(row);
        outcomes.entry(tx).or_default().payments.push((invoice_id, status, exception));
    }
    let rows = world.store.query("SELECT transfer_id, kind FROM journal", &["transfer_id", "kind"]).await?;
    for row in rows {
        let [transfer_id, kind, ..] = four(row);
        if let Some(outcome) = outcomes.values_mut().find(|outcome| outcome.id == transfer_id) {
            outcome.credits += if kind == "credit" { 1 } else { -1 };
        }
    }
    Ok(outcomes)
}

/// Name, address and amount of each rise.
pub(super) async fn risen(world: &World<'_>) -> anyhow::Result<Vec<(String, String, u128)>> {
    let sql = "SELECT t.tx, a.address, t.amount FROM transfer t
               JOIN receive_address a ON a.id = t.address_id WHERE t.kind = 'rise'";
    let rows = world.store.query(sql, &["tx", "address", "amount"]).await?;
    rows.into_iter()
        .map(|row| {
            let [tx, address, amount, _] = four(row);
            Ok((tx, address, amount.parse()?))
        })
        .collect()
}

/// Kinds of the events of each invoice, in order.
pub(super) async fn told(world: &World<'_>) -> anyhow::Result<HashMap<String, Vec<String>>> {
    let sql = "SELECT invoice_id, kind FROM event WHERE invoice_id IS NOT NULL ORDER BY sequence";
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for row in world.store.query(sql, &["invoice_id", "kind"]).await? {
        let [invoice_id, kind, ..] = four(row);
        told.entry(invoice_id).or_default().push(kind);
    }
    Ok(told)
}

fn four(row: Vec<String>) -> [String; 4] {
    let mut row = row.into_iter();
    std::array::from_fn(|_| row.next().unwrap_or_default())
}
