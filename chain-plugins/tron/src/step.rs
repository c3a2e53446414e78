//! One step of a scan: a few blocks, read completely.
//!
//! 1. The blocks, in one wave.
//! 2. The transaction infos of those blocks in which code ran, in another one.
//! 3. The host says which recipients are watched; everything else is dropped.
//! 4. What is left is confirmed and proven.
//!
//! Where a block or its infos fail (the newest ones often do, on a backend that is a moment behind), the
//! blocks below are the step; the failure comes again when that block is the first one.

use crate::address::{Key, show};
use crate::host::Host;
use crate::moves::{Block, Move};
use crate::scan::Scan;
use crate::wire::Header;
use crate::{api, memo};
use kassa_sdk::chain::ScanError;
use kassa_sdk::types::Transfer;
use kassa_sdk::upstream::lags;

pub(crate) struct Step {
    pub(crate) headers: Vec<Header>,
    pub(crate) transfers: Vec<Transfer>,
    /// True if blocks are missing at the end: transfers beyond the limit, or a backend that lags.
    pub(crate) is_cut: bool,
}

/// Reads blocks `from..=to`. `top` is the body of the last one, if it was read already. `room` is the number of
/// transfers that still fit; at least one block is read unless `may_be_empty`.
pub(crate) fn read<H: Host>(
    scan: &Scan<'_, H>,
    from: u64,
    to: u64,
    top: Option<&[u8]>,
    room: usize,
    may_be_empty: bool,
) -> Result<Step, ScanError> {
    let asked = (from..=to).filter(|height| *height < to || top.is_none());
    let bodies = api::ask(scan.host, &asked.map(api::block).collect::<Vec<_>>())?;
    let bodies = bodies.iter().map(Vec::as_slice).chain(top);
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (height, body) in (from..=to).zip(bodies) {
        match next(body, height, blocks.last()) {
            Ok(block) => blocks.push(block),
            Err(error) if blocks.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    let with_code = blocks.iter().filter(|block| block.runs_code);
    let calls: Vec<_> = with_code.map(|block| api::infos(block.header.height)).collect();
    let bodies = api::ask(scan.host, &calls)?;
    let with_code = blocks.iter_mut().enumerate().filter(|(_, block)| block.runs_code);
    let mut infos = with_code.zip(&bodies).map(|((index, block), body)| (index, block.add_infos(body)));
    match infos.find_map(|(index, added)| Some((index, added.err()?))) {
        Some((0, error)) => return Err(error),
        Some((index, _)) => blocks.truncate(index),
        None => {}
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
    let headers: Vec<_> = blocks.into_iter().take(kept).map(|block| block.header).collect();
    let is_cut = headers.last().is_none_or(|last| last.height < to);
    Ok(Step { headers, transfers, is_cut })
}

fn next<'a>(body: &'a [u8], height: u64, below: Option<&Block<'_>>) -> Result<Block<'a>, ScanError> {
    let block = Block::read(body, height)?;
    if below.is_some_and(|below| below.header.hash != block.header.parent) {
        return Err(lags(format!("block {height} is not the child of the one below")));
    }
    Ok(block)
}

fn drop_unwatched<H: Host>(scan: &Scan<'_, H>, moves: &mut Vec<Move<'_>>) -> Result<(), ScanError> {
    if moves.is_empty() {
        return Ok(());
    }
    let keys: Vec<Key> = moves.iter().map(|found| found.to).collect();
    let mut watched = scan.host.watched(keys.as_flattened())?.into_iter().peekable();
    let mut index = 0u32;
    moves.retain(|_| {
        let is_watched = watched.next_if_eq(&index).is_some();
        index = index.saturating_add(1);
        is_watched
    });
    Ok(())
}

/// Number of blocks before the first one whose transfers no longer fit. Not all of them may be confirmed; that they
/// might be is reason enough to leave the rest to the next scan.
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
        more: Vec::new(),
    }))
}
