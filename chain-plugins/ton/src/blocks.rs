//! The masterchain: the blocks after the cursor.
//!
//! The index names the parent of a block by its number only. The parent's hash is that of the block before it in the
//! list, so a list begins one block early.

use crate::address::{Hash, hex};
use crate::api;
use crate::host::{Answer, Host};
use crate::scan::Scan;
use crate::store::At;
use crate::wire::{BlockJson, BlocksJson, MasterchainJson};
use kassa_sdk::chain::{self, ScanError};
use kassa_sdk::types::Position;
use kassa_sdk::upstream::Fault;

const MASTERCHAIN: i64 = -1;
const LIST: &str = "/blocks?workchain=-1&shard=8000000000000000";

/// Number of rows that are asked for beyond the blocks that are wanted. The list is in the order of seconds, and one
/// second has two or three blocks, in any order; so the last second does not cut into the blocks that are wanted.
const SLACK: u32 = 16;

/// A block of the masterchain.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Block {
    pub(crate) height: u64,
    pub(crate) hash: Hash,
    time_ms: u64,
    pub(crate) start_lt: u64,
    /// Logical time above that of every transaction that this block makes final.
    pub(crate) end_lt: u64,
}

impl Block {
    pub(crate) fn position(&self) -> Position {
        Position { height: self.height, hash: hex(&self.hash) }
    }

    pub(crate) fn child_of(&self, parent: &Self) -> chain::Block {
        let Position { height, hash } = self.position();
        chain::Block { height, hash, parent: hex(&parent.hash), time_ms: self.time_ms, more: Vec::new() }
    }
}

/// The cursor's block, the blocks after it, and the head.
pub(crate) struct Chain {
    pub(crate) cursor: Block,
    pub(crate) blocks: Vec<Block>,
    pub(crate) head: Block,
}

/// Reads the head and the block before it.
pub(crate) fn newest<H: Host>(scan: &Scan<'_, H>) -> Result<(Block, Block), Fault> {
    let rows = list(scan, format!("{LIST}&sort=desc&limit={SLACK}"))?;
    match rows.as_slice() {
        [.., parent, head] if parent.height.checked_add(1) == Some(head.height) => Ok((*parent, *head)),
        _ => Err(Fault::lags("the newest blocks do not follow on each other")),
    }
}

pub(crate) fn after<H: Host>(
    scan: &Scan<'_, H>,
    cursor: u64,
    at: Option<At>,
    max: u32,
) -> Result<Chain, Fault> {
    let at = at.filter(|at| at.height == cursor);
    let start_lt = match at {
        Some(at) => at.start_lt,
        None => {
            let rows = list(scan, format!("{LIST}&seqno={cursor}&limit=1"))?;
            match rows.first().filter(|row| row.height == cursor) {
                Some(row) => row.start_lt,
                None => return Err(missing(scan, cursor)),
            }
        }
    };
    let limit = max.saturating_add(SLACK);
    let rows = list(scan, format!("{LIST}&start_lt={start_lt}&sort=asc&limit={limit}"))?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|rows| rows >= limit);
    let mut rows = rows.into_iter().skip_while(|row| row.height < cursor);
    let Some(at_cursor) = rows.next().filter(|row| row.height == cursor) else {
        // The block at that height may be another one now, with another time: then the host has to see it.
        return if at.is_some() { after(scan, cursor, None, max) } else { Err(missing(scan, cursor)) };
    };
    let mut chain = Chain { cursor: at_cursor, blocks: Vec::new(), head: at_cursor };
    for row in rows {
        let last = chain.blocks.last().unwrap_or(&chain.cursor);
        let is_next = last.height.checked_add(1) == Some(row.height);
        if is_next && row.start_lt < last.end_lt {
            return Err(Fault::malformed("logical time runs backwards"));
        }
        // A gap ends what can be read; the head may lie beyond it.
        if is_next && chain.blocks.len() < usize::try_from(max).unwrap_or(usize::MAX) {
            chain.blocks.push(row);
        }
        chain.head = row;
    }
    if chain.blocks.is_empty() && chain.head.height > cursor {
        return Err(Fault::lags(format!("block {} is missing", cursor.saturating_add(1))));
    }
    if is_full {
        let head = head(scan)?;
        if head.height > chain.head.height {
            chain.head = head;
        }
    }
    Ok(chain)
}

/// The reason that the cursor's block is not listed.
fn missing<H: Host>(scan: &Scan<'_, H>, cursor: u64) -> Fault {
    match head(scan) {
        Ok(head) if head.height < cursor => Fault::Scan(ScanError::Behind(head.height)),
        Ok(_) => Fault::lags(format!("block {cursor} is missing")),
        Err(fault) => fault,
    }
}

fn head<H: Host>(scan: &Scan<'_, H>) -> Result<Block, Fault> {
    head_of(scan, &api::get(scan, "/masterchainInfo".into())?)
}

/// Reads the answer of `/masterchainInfo`.
pub(crate) fn head_of<H: Host>(scan: &Scan<'_, H>, answer: &Answer) -> Result<Block, Fault> {
    let info = api::parse::<MasterchainJson<'_>>(answer, "masterchainInfo")?;
    block(scan, &info.last)
}

/// Reads a list of blocks, sorted by height, each once.
fn list<H: Host>(scan: &Scan<'_, H>, path: String) -> Result<Vec<Block>, Fault> {
    let answer = api::get(scan, path)?;
    let rows = api::parse::<BlocksJson<'_>>(&answer, "blocks")?.blocks;
    let mut blocks = rows.iter().map(|row| block(scan, row)).collect::<Result<Vec<_>, _>>()?;
    blocks.sort_by_key(|block| block.height);
    blocks.dedup();
    if blocks.windows(2).any(|pair| matches!(pair, [a, b] if a.height == b.height)) {
        return Err(Fault::malformed("two blocks of the same height"));
    }
    Ok(blocks)
}

fn block<H: Host>(scan: &Scan<'_, H>, json: &BlockJson<'_>) -> Result<Block, Fault> {
    if json.global_id != scan.global_id {
        return Err(Fault::Scan(ScanError::WrongNetwork(json.global_id.to_string())));
    }
    if json.workchain != MASTERCHAIN {
        return Err(Fault::malformed("a block of another workchain"));
    }
    let seconds = json.gen_utime.u64("gen_utime")?;
    // A masterchain block's number has 32 bits; the host counts in 63.
    let height =
        u32::try_from(json.seqno.u64("seqno")?).map_err(|_| Fault::malformed("seqno is too large"))?;
    let block = Block {
        height: u64::from(height),
        hash: json.root_hash.hash("root_hash")?,
        time_ms: u32::try_from(seconds)
            .map(|seconds| u64::from(seconds).saturating_mul(1_000))
            .map_err(|_| Fault::malformed("gen_utime is too large"))?,
        start_lt: json.start_lt.u64("start_lt")?,
        end_lt: json.end_lt.u64("end_lt")?,
    };
    if block.end_lt <= block.start_lt {
        return Err(Fault::malformed("a block ends before it starts"));
    }
    Ok(block)
}
