//! `Transfer` logs of the listed tokens, over ranges that the provider accepts.

use crate::fault::{Fault, RpcError};
use crate::hex::{self, Hash};
use crate::host::Host;
use crate::learned::Learned;
use crate::rpc::{self, Call, Replies};
use crate::scan::Scan;
use crate::wire::{Header, LogJson, Move, TRANSFER, Tokens, bytes, number};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

/// One movement of a listed token, and its position.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) height: u64,
    pub(crate) block: Hash,
    /// Index among all logs of the block.
    pub(crate) index: u64,
    pub(crate) tx: Hash,
    pub(crate) movement: Move,
}

/// Everything found so far.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) logs: Vec<Log>,
    /// Blocks for which the provider gave logs of listed tokens, whether or not they are movements.
    pub(crate) heights: HashSet<u64>,
}

impl Found {
    /// Adds the logs of one answer, all of which must lie in `range`.
    pub(crate) fn add(
        &mut self,
        tokens: &Tokens,
        logs: &[LogJson<'_>],
        range: &RangeInclusive<u64>,
    ) -> Result<(), Fault> {
        // Logs of one block follow each other: its hash is parsed once, not for each of them.
        let mut last_block: Option<(&str, Hash)> = None;
        for log in logs {
            // A provider that ignores the filter is not believed, but not refused either.
            let Some(asset) = tokens.asset_of(log)? else { continue };
            if log.removed == Some(true) {
                return Err(Fault::lags("a log is marked as removed"));
            }
            let height = number(log.block_number, "log's block number")?;
            if !range.contains(&height) {
                return Err(Fault::malformed(format!("a log of block {height}, which was not asked for")));
            }
            self.heights.insert(height);
            let Some(movement) = log.movement(asset)? else { continue };
            let block = match last_block {
                Some((text, hash)) if text == log.block_hash => hash,
                _ => bytes(log.block_hash, "log's block hash")?,
            };
            last_block = Some((log.block_hash, block));
            self.logs.push(Log {
                height,
                block,
                index: number(log.log_index, "log index")?,
                tx: bytes(log.transaction_hash, "log's transaction hash")?,
                movement,
            });
        }
        Ok(())
    }
}

/// Splits a range into pieces of at most `size` blocks.
pub(crate) fn ranges(range: &RangeInclusive<u64>, size: u64) -> Vec<RangeInclusive<u64>> {
    let (mut ranges, to) = (Vec::new(), *range.end());
    let mut next = Some(*range.start());
    while let Some(start) = next.filter(|start| *start <= to) {
        let end = to.min(start.saturating_add(size.saturating_sub(1)));
        ranges.push(start..=end);
        next = end.checked_add(1);
    }
    ranges
}

/// Asks for the logs of a range of heights.
pub(crate) fn call(tokens: &Tokens, range: &RangeInclusive<u64>) -> Call {
    let (from, to) = (range.start(), range.end());
    let filter = filter(tokens);
    Call {
        method: "eth_getLogs",
        params: format!(r#"{{"fromBlock":"0x{from:x}","toBlock":"0x{to:x}",{filter}}}"#),
    }
}

/// Asks for the logs of one block by its hash: a node that lacks the block has to say so.
pub(crate) fn call_by_hash(tokens: &Tokens, block: &Hash) -> Call {
    let (hash, filter) = (hex::text(block), filter(tokens));
    Call { method: "eth_getLogs", params: format!(r#"{{"blockHash":"{hash}",{filter}}}"#) }
}

fn filter(tokens: &Tokens) -> String {
    let addresses: Vec<String> = tokens.0.iter().map(|(key, _)| format!(r#""{}""#, hex::text(key))).collect();
    format!(r#""address":[{}],"topics":["{TRANSFER}"]"#, addresses.join(","))
}

/// Reads the answers for `ranges`, which begin at index `first`, and asks for halves of those that were too much for
/// the provider. The inner error is the refusal of a single block, or of the method.
pub(crate) fn collect<H: Host>(
    scan: &Scan<'_, H>,
    replies: &Replies,
    first: usize,
    ranges: &[RangeInclusive<u64>],
    learned: &mut Learned,
    found: &mut Found,
) -> Result<Result<(), RpcError>, Fault> {
    let mut waiting = match take(scan, replies, first, ranges, found)? {
        Ok(waiting) => waiting,
        Err(refused) => return Ok(Err(refused)),
    };
    while let Some(widest) = waiting.iter().map(|range| range.end() - range.start() + 1).max() {
        learned.log_range = learned.log_range.min(widest.div_ceil(2)).max(1);
        let halves: Vec<_> =
            waiting.iter().flat_map(|range| self::ranges(range, learned.log_range)).collect();
        // One piece first: if it is too much as well, the others need not be tried at this size.
        let calls = [call(&scan.tokens, halves.first().unwrap_or(&(0..=0)))];
        let probe = rpc::send(scan.host, &calls, learned)?;
        let (first, rest) = halves.split_at(halves.len().min(1));
        waiting = match take(scan, &probe, 0, first, found)? {
            Ok(waiting) => waiting,
            Err(refused) => return Ok(Err(refused)),
        };
        if !waiting.is_empty() {
            waiting.extend_from_slice(rest);
            continue;
        }
        let calls: Vec<Call> = rest.iter().map(|range| call(&scan.tokens, range)).collect();
        let replies = rpc::send(scan.host, &calls, learned)?;
        waiting = match take(scan, &replies, 0, rest, found)? {
            Ok(waiting) => waiting,
            Err(refused) => return Ok(Err(refused)),
        };
    }
    Ok(Ok(()))
}

/// Adds what was answered. Returns the ranges that were too much, or the error with which a single block is refused.
fn take<H: Host>(
    scan: &Scan<'_, H>,
    replies: &Replies,
    first: usize,
    ranges: &[RangeInclusive<u64>],
    found: &mut Found,
) -> Result<Result<Vec<RangeInclusive<u64>>, RpcError>, Fault> {
    let mut too_much = Vec::new();
    for (index, range) in (first..).zip(ranges) {
        match replies.get(index) {
            Ok(json) => {
                let logs: Vec<LogJson<'_>> = rpc::parse(json, "eth_getLogs")?;
                found.add(&scan.tokens, &logs, range)?;
            }
            Err(error) if error.is_missing() => return Err(Fault::lags("eth_getLogs misses a block")),
            // Any other error of several blocks may go away with fewer: providers find new words for their limits all
            // the time.
            Err(error) if !error.is_unsupported() && range.start() < range.end() => {
                too_much.push(range.clone());
            }
            Err(error) => return Ok(Err(error.clone())),
        }
    }
    Ok(Ok(too_much))
}

/// Sorts the logs into the chain's order. Errors if one is not of the blocks that were read.
pub(crate) fn check(headers: &[Header], found: &mut Found) -> Result<(), Fault> {
    let hashes: HashMap<u64, &Hash> = headers.iter().map(|header| (header.height, &header.hash)).collect();
    for log in &found.logs {
        if hashes.get(&log.height).is_none_or(|hash| **hash != log.block) {
            return Err(Fault::lags(format!("a log of another block {}", log.height)));
        }
    }
    found.logs.sort_by_key(|log| (log.height, log.index));
    let mut pairs = found.logs.iter().zip(found.logs.iter().skip(1));
    if pairs.any(|(one, other)| (one.height, one.index) == (other.height, other.index)) {
        return Err(Fault::malformed("the same log twice"));
    }
    Ok(())
}
