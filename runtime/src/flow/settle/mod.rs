//! Settle: reads the changes of a network's transfers in order, and makes of them payments, ledger entries,
//! invoices and events, in one transaction with its own cursor.
//!
//! What is decided is in `domain::settlement`, which is pure; here facts are gathered and results written. A transfer
//! that a merchant's hook is asked about waits for `matching`, which ends in the same writes.
//! Correct with any number of replicas: the cursor's row is locked, and moves only from where it was read. The
//! lease merely keeps them from doing the same work twice. What the chain's time decides follows when everything is
//! settled ([`expire`]).

pub(crate) mod expire;
mod near;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    db::{
        Conn, DbError, balances, chain, events, holds, hooks::match_queue, invoices, leases, ledger,
        payments, transfers,
    },
    domain::{
        Millis,
        id::{AddressId, Ids, InvoiceId, MerchantId, TransferId},
        matching::{Hold, Named, amount_key, memo_key, named},
        network::Manifest,
        settlement::{Book, Listed, SettlementFacts, Written},
        tenant::Mode,
        transfer::{Kind, Transfer},
    },
};

/// Maximum number of changes settled in one transaction.
const CHANGES_PER_STEP: i64 = 500;
/// Time between polls.
const POLL: Duration = Duration::from_millis(250);

/// Settles one network until told to stop.
pub(crate) async fn run(app: App, network: Arc<Manifest>, stop: CancellationToken) {
    let mut given_at = None;
    loop {
        let bell = app.wake.settle.notified();
        let busy = match work(&app, &network, &mut given_at).await {
            Ok(busy) => busy,
            Err(error) => {
                if error.trouble().is_none() {
                    tracing::error!(network = network.name, %error, "settle failed; it tries again");
                }
                false
            }
        };
        if busy && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = bell => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Settles and expires once. Returns true if there may be more to do.
async fn work(app: &App, network: &Manifest, given_at: &mut Option<i64>) -> Result<bool, DbError> {
    if step(app, &network.name, network.mode()).await? > 0 || expire::step(app, network).await? {
        return Ok(true);
    }
    // Its blocks have to be read before there is more to do.
    expire::let_time_pass(app, network, given_at).await.map(|()| false)
}

/// Settles at most one batch. Returns its number of changes.
pub(crate) async fn step(app: &App, network: &str, mode: Mode) -> Result<usize, DbError> {
    // Looking costs a read; only work costs a write.
    let mut conn = app.db.read().await?;
    if !payments::any_unsettled(&mut conn, network).await? {
        return Ok(0);
    }
    drop(conn);
    let (now, holder, ttl) = (app.clock.now(), app.leases.holder().clone(), app.leases.ttl_ms());
    let (network, ids) = (network.to_owned(), app.ids.clone());
    let (settled, wakeups) = app
        .db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let Some(fence) = leases::take(conn, &format!("settle/{network}"), &holder, ttl).await?
                else {
                    return Ok((0, Wakeups::default()));
                };
                settle(conn, &network, mode, fence, &ids, now).await
            })
        })
        .await?;
    if wakeups.told {
        app.wake.dispatch.notify_one();
    }
    if wakeups.waiting {
        app.wake.matching.notify_one();
    }
    metrics::counter!("kassa_changes_settled_total").increment(u64::try_from(settled).unwrap_or(0));
    Ok(settled)
}

/// Workers that have work from a batch.
#[derive(Debug, Clone, Copy, Default)]
struct Wakeups {
    told: bool,
    waiting: bool,
}

async fn settle(
    conn: &mut Conn,
    network: &str,
    mode: Mode,
    fence: i64,
    ids: &Ids,
    now: Millis,
) -> Result<(usize, Wakeups), DbError> {
    let from = payments::settled_to(conn, network).await?;
    let changes = transfers::changes_after(conn, network, from, CHANGES_PER_STEP).await?;
    let Some(last) = changes.last() else { return Ok((0, Wakeups::default())) };
    if !payments::settle_to(conn, network, from, last.seq, fence).await? {
        return Err(DbError::Stale("how far the network is settled"));
    }
    let changed: BTreeSet<TransferId> = changes.iter().map(|change| change.transfer_id.clone()).collect();
    let found = transfers::by_ids(conn, &changed.into_iter().collect::<Vec<_>>()).await?;
    let mut known = gather(conn, network, mode, found, &[]).await?;
    let merchants: BTreeSet<MerchantId> = known.transfers.values().map(|t| t.merchant_id.clone()).collect();
    known.matchers = match_queue::of_merchants(conn, mode, merchants.into_iter(), now).await?;
    let mut book = Book::open(known, ids, now);
    for change in &changes {
        book.apply(change.kind, &change.transfer_id, change.epoch);
    }
    let written = book.close();
    let wakeups = Wakeups { told: !written.events.is_empty(), waiting: !written.waiting.is_empty() };
    write(conn, written, ids, now).await?;
    Ok((changes.len(), wakeups))
}

/// Reads all facts about these transfers, and about these invoices. Locks all invoices at once: in two steps, two
/// callers could wait for each other.
pub(crate) async fn gather(
    conn: &mut Conn,
    network: &str,
    mode: Mode,
    found: Vec<Transfer>,
    also: &[InvoiceId],
) -> Result<SettlementFacts, DbError> {
    let mut known = SettlementFacts::of(mode);
    let transfer_ids: Vec<TransferId> = found.iter().map(|t| t.id.clone()).collect();
    let address_ids: BTreeSet<AddressId> = found.iter().map(|t| t.address_id.clone()).collect();
    let address_ids: Vec<AddressId> = address_ids.into_iter().collect();
    known.destinations = transfers::destinations(conn, &address_ids).await?.into_iter().collect();
    known.assets = transfers::assets(conn, network).await?.into_iter().collect();
    known.listed = payments::listed_of(conn, &transfer_ids).await?.into_iter().collect();
    let own = payments::of_transfers(conn, &transfer_ids).await?;
    name_invoices(conn, &mut known, &found, &address_ids).await?;
    let paying: BTreeSet<&TransferId> = own.iter().map(|payment| &payment.transfer_id).collect();
    near::look(conn, &mut known, found.iter().filter(|t| !paying.contains(&t.id))).await?;

    let mut invoice_ids: BTreeSet<InvoiceId> = own.iter().filter_map(|p| p.invoice_id.clone()).collect();
    invoice_ids.extend(known.named.values().flatten().cloned());
    invoice_ids.extend(known.listed.values().filter_map(Listed::late_for).cloned());
    invoice_ids.extend(also.iter().cloned());
    known.transfers = found.into_iter().map(|t| (t.id.clone(), t)).collect();
    known.payments = own.into_iter().map(|p| (p.part_of(), p)).collect();
    add_invoices(conn, &mut known, &invoice_ids.into_iter().collect::<Vec<_>>()).await?;
    Ok(known)
}

/// Adds these invoices with all their payments, and the height to which the network was read. Locks the invoices.
pub(crate) async fn add_invoices(
    conn: &mut Conn,
    known: &mut SettlementFacts,
    ids: &[InvoiceId],
) -> Result<(), DbError> {
    known.invoices.extend(invoices::lock(conn, ids).await?.into_iter().map(|i| (i.id.clone(), i)));
    let payments = payments::of_invoices(conn, ids).await?;
    known.payments.extend(payments.into_iter().map(|p| (p.part_of(), p)));
    let behind: BTreeSet<&TransferId> = known.payments.values().map(|payment| &payment.transfer_id).collect();
    let behind = behind.into_iter().filter(|id| !known.transfers.contains_key(*id)).cloned();
    let behind = transfers::by_ids(conn, &behind.collect::<Vec<_>>()).await?;
    known.transfers.extend(behind.into_iter().map(|transfer| (transfer.id.clone(), transfer)));
    if let Some(transfer) = known.transfers.values().next() {
        known.height = chain::cursor(conn, &transfer.network).await?.map_or(0, |cursor| cursor.height);
    }
    for (invoice_id, transfer_id) in payments::in_review(conn, ids).await? {
        known.in_review.entry(invoice_id).or_default().insert(transfer_id);
    }
    Ok(())
}

/// Finds the invoice that each transfer names: by an address of its own, else by its memo, else by its exact amount. A
/// memo or an amount names the invoice that held it at the time of the transfer's block.
async fn name_invoices(
    conn: &mut Conn,
    known: &mut SettlementFacts,
    found: &[Transfer],
    address_ids: &[AddressId],
) -> Result<(), DbError> {
    for (address_id, invoice_id) in invoices::by_addresses(conn, address_ids).await? {
        for transfer in found.iter().filter(|t| t.address_id == address_id) {
            known.named.entry(transfer.id.clone()).or_default().push(invoice_id.clone());
        }
    }
    let unnamed: Vec<(&Transfer, Vec<String>)> =
        found.iter().filter(|t| !known.named.contains_key(&t.id)).map(|t| (t, keys(t))).collect();
    let wanted: BTreeSet<String> = unnamed.iter().flat_map(|(_, keys)| keys).cloned().collect();
    let mut of_key: BTreeMap<String, Vec<Hold>> = BTreeMap::new();
    for hold in holds::present(conn, wanted.into_iter().collect()).await? {
        of_key.entry(hold.key.clone()).or_default().push(hold);
    }
    // The past is asked only about keys that name nobody at present.
    let past: BTreeSet<String> = unnamed
        .iter()
        .filter(|(t, keys)| !keys.iter().any(|key| matches!(whom(&of_key, key, t), Named::Holder(_))))
        .flat_map(|(_, keys)| keys)
        .cloned()
        .collect();
    for hold in holds::past(conn, past.into_iter().collect()).await? {
        of_key.entry(hold.key.clone()).or_default().push(hold);
    }
    for (transfer, keys) in unnamed {
        let names: Vec<Named<'_>> = keys.iter().map(|key| whom(&of_key, key, transfer)).collect();
        let holder = names.iter().find_map(|name| match name {
            Named::Holder(invoice_id) => Some(*invoice_id),
            _ => None,
        });
        let former = names.iter().find_map(|name| match name {
            Named::Former(invoice_id) => Some(*invoice_id),
            _ => None,
        });
        if let Some(invoice_id) = holder {
            known.named.insert(transfer.id.clone(), vec![invoice_id.clone()]);
        } else if let Some(invoice_id) = former {
            known.former.insert(transfer.id.clone(), invoice_id.clone());
        } else if transfer.kind == Kind::Rise {
            let only = balances::only_open(conn, &transfer.address_id, &transfer.asset_id).await?;
            known.named.extend(only.map(|invoice_id| (transfer.id.clone(), vec![invoice_id])));
        }
    }
    Ok(())
}

/// Keys by which a transfer may be told apart, the surest first.
fn keys(transfer: &Transfer) -> Vec<String> {
    let memo = transfer.memo.as_deref().map(|memo| memo_key(&transfer.address_id, memo));
    let amount = transfer.amount.map(|amount| amount_key(&transfer.address_id, &transfer.asset_id, amount));
    memo.into_iter().chain(amount).collect()
}

fn whom<'a>(of_key: &'a BTreeMap<String, Vec<Hold>>, key: &str, transfer: &Transfer) -> Named<'a> {
    of_key.get(key).map_or(Named::Nobody, |holds| named(holds.iter(), transfer.block_time))
}

/// Writes a book's result.
pub(crate) async fn write(conn: &mut Conn, written: Written, ids: &Ids, now: Millis) -> Result<(), DbError> {
    payments::put(conn, &written.payments).await?;
    let journals: Vec<_> = written
        .journals
        .into_iter()
        .map(|entry| ledger::NewJournal { id: ids.next(now), kind: entry.kind, of: entry.of })
        .collect();
    ledger::write(conn, &journals, now).await?;
    invoices::update(conn, &written.invoices).await?;
    payments::unlist(conn, &written.unlisted).await?;
    payments::list_unmatched(conn, &written.listings, now).await?;
    match_queue::wait(conn, written.waiting, now).await?;
    events::insert(conn, written.events).await
}
