//! Transfers without a key that names an invoice, and the invoices that their payers may have meant.
//!
//! One thing is certain enough to be paid: of the invoices that tolerate what is missing there is one whose suffix the
//! amount still ends in, as it does when an exchange has taken its fee of what was typed. Everything else is named for
//! the person who decides.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    db::{Conn, DbError, holds, invoices, networks, transfers},
    domain::{
        id::InvoiceId,
        invoice::{Invoice, Matching},
        matching::{Hold, amount_key, memo_key},
        money::Amount,
        near::{Likeness, NearMiss, as_written},
        network::Asset,
        settlement::SettlementFacts,
        transfer::Transfer,
    },
};

/// Maximum fee tried, in units of the amount above the suffix. With units of a hundredth of a dollar it is three
/// dollars.
const FEES_MAX: u128 = 300;
/// Number of amounts named below, and above.
const NEAREST: i64 = 2;
/// Number of the same sender's payments searched.
const PAYMENTS_BACK: i64 = 10;
/// Maximum number of invoices named for one transfer.
const NAMED_MAX: usize = 5;
/// Maximum number of transfers looked into in one batch. Whoever sends more that pays nothing is no payer.
const LOOKED_INTO: usize = 50;

/// Looks, for each transfer that names no invoice, for invoices that its payer may have meant.
pub(super) async fn look(
    conn: &mut Conn,
    known: &mut SettlementFacts,
    found: impl Iterator<Item = &Transfer>,
) -> Result<(), DbError> {
    let unknown: Vec<(&Transfer, Amount)> = found
        .filter(|t| !known.named.contains_key(&t.id) && !known.former.contains_key(&t.id))
        .filter(|t| known.destinations.get(&t.address_id).is_some_and(|to| !to.customer))
        .filter_map(|t| Some((t, t.amount.filter(|amount| !amount.is_zero())?)))
        .take(LOOKED_INTO)
        .collect();
    let Some((first, _)) = unknown.first() else { return Ok(()) };
    let steps = steps(conn, &first.network).await?;
    for (transfer, amount) in unknown {
        let step = steps.get(&transfer.asset_id).copied().flatten();
        let near = short(conn, transfer, amount, step).await?;
        if let [only] = near.as_slice() {
            known.named.insert(transfer.id.clone(), vec![only.id.clone()]);
            continue;
        }
        let mut misses: Vec<NearMiss> = near.iter().map(|i| NearMiss::new(i, Likeness::Fee)).collect();
        for (because, ids) in like(conn, transfer, amount).await? {
            let others = invoices::by_ids(conn, ids).await?;
            let open = others.iter().filter(|i| is_open(i) && i.tenant.merchant == transfer.merchant_id);
            misses.extend(open.map(|invoice| NearMiss::new(invoice, because)));
        }
        let mut seen = BTreeSet::new();
        misses.retain(|miss| seen.insert(miss.invoice_id.clone()));
        misses.truncate(NAMED_MAX);
        if !misses.is_empty() {
            known.near.insert(transfer.id.clone(), misses);
        }
    }
    Ok(())
}

/// The unit of which a fee is a multiple, by asset id; `None` for assets whose amounts have no suffixes.
async fn steps(conn: &mut Conn, network: &str) -> Result<BTreeMap<String, Option<u128>>, DbError> {
    let Some(network) = networks::get(conn, network).await? else { return Ok(BTreeMap::new()) };
    let manifest = network.manifest;
    let step = |asset: &Asset| asset.unique.and_then(|unique| unique.step(asset.decimals));
    Ok(manifest.assets.iter().map(|asset| (asset.id(&manifest.name), step(asset))).collect())
}

/// The invoices that this transfer pays if a fee was deducted from it, and which accept that.
async fn short(
    conn: &mut Conn,
    transfer: &Transfer,
    amount: Amount,
    step: Option<u128>,
) -> Result<Vec<Invoice>, DbError> {
    let Some(step) = step else { return Ok(Vec::new()) };
    // Nobody tolerates more than half of what is due.
    let fees = (amount.0 / step).min(FEES_MAX);
    let due = |fee: u128| Some(Amount(amount.0.checked_add(fee.checked_mul(step)?)?));
    let key = |due: Amount| amount_key(&transfer.address_id, &transfer.asset_id, due);
    let keys: Vec<String> = (1..=fees).filter_map(due).map(key).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let holds = holds::present(conn, keys).await?;
    let then = holds.into_iter().filter(|h| h.since <= transfer.block_time && transfer.block_time <= h.until);
    let mut found = invoices::by_ids(conn, then.map(|hold| hold.invoice_id).collect()).await?;
    found.retain(|invoice| {
        let missing = invoice.due.0.saturating_sub(amount.0);
        let waits = invoice.cancelled_at.is_none() && !is_covered(invoice);
        invoice.matching == Matching::Amount && missing <= invoice.tolerated().0 && waits
    });
    Ok(found)
}

/// Ids of the invoices that are like this transfer, the surest likeness first.
async fn like(
    conn: &mut Conn,
    transfer: &Transfer,
    amount: Amount,
) -> Result<Vec<(Likeness, Vec<InvoiceId>)>, DbError> {
    let ids = |holds: Vec<Hold>| holds.into_iter().map(|hold| hold.invoice_id).collect::<Vec<_>>();
    let mut like = Vec::new();
    if let Some(written) = transfer.memo.as_deref().and_then(as_written) {
        let key = memo_key(&transfer.address_id, &written);
        like.push((Likeness::Memo, ids(holds::present(conn, vec![key]).await?)));
    }
    if let Some(sender) = &transfer.sender {
        let paid = transfers::paid_by(conn, sender, &transfer.address_id, PAYMENTS_BACK).await?;
        like.push((Likeness::Sender, paid));
    }
    let near = holds::nearest(conn, &transfer.address_id, &transfer.asset_id, amount, NEAREST).await?;
    like.push((Likeness::Amount, ids(near)));
    like.retain(|(_, ids)| !ids.is_empty());
    Ok(like)
}

/// True if somebody may still want to pay the invoice.
fn is_open(invoice: &Invoice) -> bool {
    invoice.status.is_open() && invoice.cancelled_at.is_none() && !is_covered(invoice)
}

fn is_covered(invoice: &Invoice) -> bool {
    invoice.credited.0.saturating_add(invoice.pending.0) >= invoice.due.0
}
