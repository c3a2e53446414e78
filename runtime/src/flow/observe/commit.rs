//! Taking a report in: transfers, blocks, the plugin's storage and the cursor, in one transaction.

use std::collections::{BTreeSet, HashSet};

use super::{Found, ObserveError, deep};
use crate::{
    db::{Conn, DbError, addresses, chain, plugin_storage, transfers},
    domain::{
        Millis,
        id::{Ids, TransferId},
        network::Manifest,
        observation::{self, Owner, Plan, Scan, ScanFacts},
        transfer::{Depth, Sighting, Status, Transfer},
    },
};

/// Commits a report. Returns the cursor as it is now, and the number of changes of transfers logged.
pub(super) async fn commit(
    conn: &mut Conn,
    network: &Manifest,
    cursor: Option<chain::Cursor>,
    found: Found,
    fence: i64,
    ids: &Ids,
    now: Millis,
) -> Result<(chain::Cursor, usize), ObserveError> {
    let Found { base, scan, writes, .. } = found;
    let name = &network.name;
    let final_before = cursor.as_ref().map_or(0, |cursor| cursor.r#final);
    let (height, hash) = match (scan.blocks.last(), &base) {
        (Some(last), _) => (last.height, last.hash.clone()),
        (None, Some(base)) => (base.height, base.hash.clone()),
        (None, None) => return Err(ObserveError::Stale),
    };
    let depth = observation::depth(height, &scan, final_before);
    let (time, final_time) = times(conn, name, cursor.as_ref(), &scan, depth).await?;
    let to = chain::Cursor {
        network: name.clone(),
        height,
        hash,
        head: scan.head.height,
        safe: depth.safe,
        r#final: depth.r#final,
        time,
        final_time,
        frozen: None,
        moved_at: now,
    };
    // First of all: this takes the row's lock, so that the log below is numbered in order of commit.
    let Some(seq) = chain::advance(conn, cursor.as_ref(), &to, fence).await? else {
        return Err(ObserveError::Stale);
    };
    let base_height = base.map_or(height - 1, |base| base.height);
    let kept: Vec<chain::Block> = scan
        .blocks
        .iter()
        .filter(|block| block.height >= depth.r#final || block.height == height)
        .map(|b| chain::Block {
            height: b.height,
            hash: b.hash.clone(),
            parent: b.parent.clone(),
            time: b.time,
        })
        .collect();
    chain::replace_blocks(conn, name, Some(base_height), &kept, depth.r#final).await?;
    plugin_storage::apply(conn, &writes).await?;
    let position = ReportPosition { base: base_height, depth, seq };
    let logged = take_in(conn, network, &scan, position, ids, now).await?;
    if logged != seq {
        chain::logged(conn, name, logged).await?;
    }
    Ok((to, usize::try_from(logged - seq).unwrap_or(0)))
}

/// Times of the last block read and of the final one. The latter never goes back, whatever a chain or a reorg says.
async fn times(
    conn: &mut Conn,
    network: &str,
    before: Option<&chain::Cursor>,
    scan: &Scan,
    depth: Depth,
) -> Result<(i64, i64), DbError> {
    let read = |height| scan.blocks.iter().find(|block| block.height == height).map(|block| block.time);
    let time = scan.blocks.last().map(|block| block.time).or(before.map(|cursor| cursor.time)).unwrap_or(0);
    let final_before = before.map_or(0, |cursor| cursor.final_time);
    let final_time = match (read(depth.r#final), before) {
        (Some(time), _) => time,
        // It has not moved.
        (None, Some(cursor)) if cursor.r#final == depth.r#final => cursor.final_time,
        (None, _) => chain::block_time(conn, network, depth.r#final).await?.unwrap_or(final_before),
    };
    Ok((time, final_time.max(final_before)))
}

/// Position at which a report is taken in.
struct ReportPosition {
    /// Height of the block before the report's first.
    base: i64,
    /// Depth that the report establishes.
    depth: Depth,
    /// Number of the last entry of the network's log.
    seq: i64,
}

/// Writes a report. Returns the number of the last entry of the network's log.
async fn take_in(
    conn: &mut Conn,
    network: &Manifest,
    scan: &Scan,
    ReportPosition { base, depth, seq }: ReportPosition,
    ids: &Ids,
    now: Millis,
) -> Result<i64, DbError> {
    let known = ScanFacts { base, ..known(conn, network, scan, seq, ids, now).await? };
    let above = transfers::above(conn, &network.name, base).await?;
    let plan = observation::plan(scan, ScanFacts { above, ..known }, depth);
    put(conn, network, plan, depth, seq, now).await
}

/// Reads the stored facts about a report's transactions and recipients.
pub(in crate::flow) async fn known<'a>(
    conn: &mut Conn,
    network: &'a Manifest,
    scan: &Scan,
    seq: i64,
    ids: &'a Ids,
    now: Millis,
) -> Result<ScanFacts<'a>, DbError> {
    let name = &network.name;
    let txs: BTreeSet<String> = scan.transfers.iter().map(|seen| seen.tx.clone()).collect();
    let recipients: BTreeSet<String> = scan.transfers.iter().map(|seen| seen.recipient.clone()).collect();
    let owners = addresses::by_address(conn, name, &recipients.into_iter().collect::<Vec<_>>()).await?;
    Ok(ScanFacts {
        network,
        base: 0,
        above: Vec::new(),
        same_tx: transfers::of_transactions(conn, name, &txs.into_iter().collect::<Vec<_>>()).await?,
        owners: owners
            .into_iter()
            .map(|(text, a)| (text, Owner { address_id: a.id, merchant_id: a.merchant_id }))
            .collect(),
        first_seq: seq + 1,
        ids,
        now,
    })
}

/// Writes a plan, and confirms what is deep enough by now. The caller holds the cursor's row. Returns the number of the
/// last entry of the network's log.
pub(in crate::flow) async fn put(
    conn: &mut Conn,
    network: &Manifest,
    plan: Plan,
    depth: Depth,
    seq: i64,
    now: Millis,
) -> Result<i64, DbError> {
    let name = &network.name;
    transfers::insert(conn, &plan.insert).await?;
    transfers::update(conn, &plan.update).await?;
    let mut log: Vec<(Sighting, Transfer)> = plan.log;

    let mut confirmed = deep::enough(conn, network, depth).await?;
    for transfer in &mut confirmed {
        transfer.status = Status::Confirmed;
    }
    transfers::update(conn, &confirmed).await?;
    // To be confirmed is to be included: what is deep enough when it is first seen (after a downtime most is)
    // changes once, and settle writes it once. It keeps its position in the log, which is in the order of the chain: of two
    // payments for one thing the earlier comes first.
    let mut deep: HashSet<TransferId> = confirmed.iter().map(|transfer| transfer.id.clone()).collect();
    for (kind, transfer) in &mut log {
        if *kind == Sighting::Included && deep.remove(&transfer.id) {
            *kind = Sighting::Confirmed;
        }
    }
    let others = confirmed.into_iter().filter(|transfer| deep.contains(&transfer.id));
    log.extend(others.map(|transfer| (Sighting::Confirmed, transfer)));
    transfers::finalize_to(conn, name, depth.r#final).await?;

    let changes: Vec<(Sighting, &Transfer)> = log.iter().map(|(kind, transfer)| (*kind, transfer)).collect();
    transfers::log(conn, name, seq, &changes, now).await
}
