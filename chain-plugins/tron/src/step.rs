//! One step of a scan: a few blocks, read completely.
//!
//! 1. The blocks, in one wave.
//! 2. The transaction infos of those blocks in which code ran, in another one.
//! 3. The host says which recipients are watched; everything else is dropped.
//! 4. What is left is confirmed and proven.

use crate::address::{Key, show};
use crate::host::Host;
use crate::moves::{Block, Move};
use crate::scan::Scan;
use crate::wire::Header;
use crate::{api, memo};
use kassa_sdk::chain::ScanError;
use kassa_sdk::types::Transfer;
use kassa_sdk::upstream::{lags, malformed};
use std::collections::HashSet;

pub(crate) struct Step {
    pub(crate) headers: Vec<Header>,
    pub(crate) transfers: Vec<Transfer>,
    /// The limit of transfers ended the step early.
    pub(crate) is_cut: bool,
}

/// Reads blocks `from..=to`. `last` is the body of the last one, if it is here already. `room` transfers still fit;
/// at least one block is read unless `may_be_empty`.
pub(crate) fn read<H: Host>(
    scan: &Scan<'_, H>,
    from: u64,
    to: u64,
    last: Option<&[u8]>,
    room: usize,
    may_be_empty: bool,
) -> Result<Step, ScanError> {
    let asked = (from..=to).filter(|height| *height < to || last.is_none());
    let bodies = api::ask(scan.host, &asked.map(api::block).collect::<Vec<_>>())?;
    let bodies = bodies.iter().map(Vec::as_slice).chain(last);
    let blocks = (from..=to).zip(bodies).map(|(height, body)| Block::read(body, height));
    let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    if blocks.array_windows().any(|[below, above]| above.header.parent != below.header.hash) {
        return Err(lags(format!("blocks {from} to {to} are no chain")));
    }
    let mut calls = Vec::new();
    for block in &blocks {
        if block.runs_code()? {
            calls.push((block.header.height, api::infos(block.header.height)));
        }
    }
    let (heights, calls): (Vec<u64>, Vec<_>) = calls.into_iter().unzip();
    let infos = api::ask(scan.host, &calls)?;
    let with_code = blocks.iter_mut().filter(|block| heights.contains(&block.header.height));
    for (block, body) in with_code.zip(&infos) {
        block.add_infos(body)?;
    }
    let mut moves = Vec::new();
    for block in &blocks {
        block.moves(&scan.assets, &mut moves)?;
    }
    drop_unwatched(scan, &mut moves)?;
    let kept = fitting(&blocks, &moves, room, may_be_empty);
    let last = kept.checked_sub(1).and_then(|last| blocks.get(last)).map(|block| block.header.height);
    let mut transfers = Vec::new();
    for found in moves.iter().filter(|found| Some(found.height) <= last) {
        transfers.extend(transfer(found)?);
    }
    check_once(&transfers)?;
    let is_cut = kept < blocks.len();
    let headers = blocks.into_iter().take(kept).map(|block| block.header).collect();
    Ok(Step { headers, transfers, is_cut })
}

fn drop_unwatched<H: Host>(scan: &Scan<'_, H>, moves: &mut Vec<Move<'_>>) -> Result<(), ScanError> {
    if moves.is_empty() {
        return Ok(());
    }
    let keys: Vec<Key> = moves.iter().map(|found| found.to).collect();
    let mut watched = scan.host.watched(keys.as_flattened())?.into_iter().peekable();
    let mut place = 0u32;
    moves.retain(|_| {
        let is_watched = watched.next_if_eq(&place).is_some();
        place = place.saturating_add(1);
        is_watched
    });
    Ok(())
}

/// How many blocks there are until one whose transfers no longer fit. Whether all of them will be confirmed is
/// not known yet; that they may be is reason enough to leave the rest to the next scan.
fn fitting(blocks: &[Block<'_>], moves: &[Move<'_>], room: usize, may_be_empty: bool) -> usize {
    let mut total = 0usize;
    let fits = |block: &&Block<'_>| {
        let count = moves.iter().filter(|found| found.height == block.header.height).count();
        total = total.saturating_add(count);
        total <= room
    };
    let fitting = blocks.iter().take_while(fits).count();
    if may_be_empty { fitting } else { fitting.max(1) }
}

fn transfer(found: &Move<'_>) -> Result<Option<Transfer>, ScanError> {
    let Some(memo) = found.confirm()? else { return Ok(None) };
    Ok(Some(Transfer {
        tx: found.tx.id.to_ascii_lowercase(),
        ordinal: found.ordinal,
        asset: found.asset,
        sender: Some(show(&found.from)),
        recipient: show(&found.to),
        amount: found.amount.map(Into::into),
        memo: memo::read(&memo),
        height: found.height,
    }))
}

/// A transaction is on the chain once.
fn check_once(transfers: &[Transfer]) -> Result<(), ScanError> {
    let mut seen = HashSet::new();
    if transfers.iter().all(|transfer| seen.insert((&transfer.tx, transfer.ordinal))) {
        Ok(())
    } else {
        Err(malformed("the same transaction twice"))
    }
}
