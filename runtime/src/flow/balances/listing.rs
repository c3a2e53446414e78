//! Listing: keeps what addresses hold, and puts what nothing explains into the network's log, from where settle lists it.

use std::{collections::BTreeMap, sync::Arc};

use super::AgainError;
use crate::{
    app::App,
    db::{Conn, DbError, balances, chain, invoices, transfers},
    domain::{
        Millis,
        balance::{Arrived, Watched, rise_name},
        id::{AddressId, Ids},
        money::Amount,
        network::Manifest,
        transfer::{Kind, Sighting, Status, Transfer},
    },
};

/// An address whose balance was read.
pub(super) struct Look {
    pub(super) watched: Watched,
    /// Balance at the block of the previous look.
    pub(super) base: Amount,
    /// Balance at the block of this look.
    pub(super) held: Amount,
}

/// The final block at which balances are read.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) height: i64,
    pub(super) hash: String,
    pub(super) time: Millis,
}

fn native(network: &Manifest) -> String {
    let native = network.assets.iter().find(|asset| asset.contract.is_none());
    native.map(|asset| asset.id(&network.name)).unwrap_or_default()
}

/// Transfers that arrived at these addresses since the previous look.
pub(super) async fn arrived(
    conn: &mut Conn,
    network: &Manifest,
    looks: &[Look],
    to: i64,
) -> Result<Vec<Arrived>, DbError> {
    let from = looks.iter().map(|look| look.watched.height).min().unwrap_or(to);
    let address_ids: Vec<AddressId> = looks.iter().map(|look| look.watched.address_id.clone()).collect();
    balances::arrived(conn, &network.name, &native(network), (from, to), &address_ids).await
}

/// Commits looks. Returns the number of rises listed.
pub(super) async fn commit(
    app: &App,
    network: &Arc<Manifest>,
    looks: Vec<Look>,
    at: At,
) -> Result<usize, AgainError> {
    let to = at.height;
    let (inside, ids, now) = (Arc::clone(network), app.ids.clone(), app.clock.now());
    let rises = app
        .db
        .write::<_, AgainError, _>(move |conn| {
            Box::pin(async move { take_in(conn, &inside, looks, at, &ids, now).await })
        })
        .await?;
    for rise in &rises {
        let amount = rise.amount.unwrap_or(Amount::ZERO);
        tracing::info!(network = network.name, id = rise.id.as_str(), height = to, %amount, "a balance rose unexplained");
    }
    let count = u64::try_from(rises.len()).unwrap_or(0);
    metrics::counter!("kassa_rises_total", "network" => network.name.clone()).increment(count);
    Ok(rises.len())
}

async fn take_in(
    conn: &mut Conn,
    network: &Manifest,
    mut looks: Vec<Look>,
    At { height: to, hash, time }: At,
    ids: &Ids,
    now: Millis,
) -> Result<Vec<Transfer>, AgainError> {
    let name = &network.name;
    // First of all: this takes the row's lock, so that the log is numbered in order of commit, and one replica after
    // the other compares.
    let (cursor, seq) = chain::lock(conn, name).await?.ok_or(AgainError::NotStarted)?;
    if cursor.frozen.is_some() {
        return Err(AgainError::Frozen);
    }
    let address_ids: Vec<AddressId> = looks.iter().map(|look| look.watched.address_id.clone()).collect();
    let still: BTreeMap<AddressId, Watched> = balances::of(conn, &address_ids)
        .await?
        .into_iter()
        .map(|watched| (watched.address_id.clone(), watched))
        .collect();
    // Another replica may have been here since.
    looks.retain(|Look { watched, .. }| {
        still
            .get(&watched.address_id)
            .is_some_and(|now| (now.height, now.amount) == (watched.height, watched.amount))
    });
    let arrived = arrived(conn, network, &looks, to).await?;
    let rise = |look: &Look| {
        let amount = look.rise(to, &arrived)?;
        Some(Transfer {
            id: ids.next(now),
            network: name.clone(),
            kind: Kind::Rise,
            tx: rise_name(&look.watched.address, to),
            ordinal: 0,
            asset_id: native(network),
            address_id: look.watched.address_id.clone(),
            merchant_id: look.watched.merchant_id.clone(),
            sender: None,
            amount: Some(amount),
            memo: None,
            memo_problem: None,
            height: to,
            block_hash: hash.clone(),
            block_time: time,
            status: Status::Final,
            epoch: 1,
            seen_at: now,
            seq: seq + 1,
        })
    };
    let rises: Vec<Transfer> = looks.iter().filter_map(rise).collect();
    if !rises.is_empty() {
        transfers::insert(conn, &rises).await?;
        let log: Vec<(Sighting, &Transfer)> = rises.iter().map(|rise| (Sighting::Confirmed, rise)).collect();
        let logged = transfers::log(conn, name, seq, &log, now).await?;
        chain::logged(conn, name, logged).await?;
    }
    let held = looks.iter().map(|look| (look.watched.address_id.clone(), look.held)).collect();
    balances::keep(conn, to, held).await?;
    let ended = ended(conn, name, &looks, &still, time).await?;
    balances::end(conn, &ended).await?;
    Ok(rises)
}

/// Addresses that await nothing any more at a block of this time.
async fn ended(
    conn: &mut Conn,
    network: &str,
    looks: &[Look],
    still: &BTreeMap<AddressId, Watched>,
    time: Millis,
) -> Result<Vec<Watched>, DbError> {
    let own = looks.iter().filter(|look| look.watched.own).map(|look| look.watched.address_id.clone());
    let paid = balances::paid(conn, own.collect()).await?;
    // An invoice whose deadline does not count yet is waited for longer than it says.
    let deadlines_count = !invoices::any_unpinned(conn, network).await?;
    let over = |one: &&Watched| (deadlines_count && one.until < time) || paid.contains(&one.address_id);
    let now = looks.iter().filter_map(|look| still.get(&look.watched.address_id));
    Ok(now.filter(over).cloned().collect())
}
