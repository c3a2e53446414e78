//! Reading the past again: which blocks of a report may be taken in, what of it is new, and where to begin. Pure.
//!
//! The watcher owns the cursor and every reorg. Whoever reads the past again takes nothing back: it adds what nobody
//! knew, from blocks that the watcher has read as well.

use std::collections::BTreeMap;

use super::{
    Millis,
    observation::{self, Plan, Scan, ScanFacts},
    transfer::{Sighting, Status},
    word::words,
};

/// Maximum number of blocks of one rescan.
pub const BLOCKS_MAX: i64 = 5_000_000;
/// Maximum number of block times asked for in a search. Halving alone needs 23 for [`BLOCKS_MAX`].
const PROBES_MAX: u32 = 100;
/// Number of blocks that the first look goes back. The next constant is the maximum factor from one look to the next.
const FIRST_LOOK: i64 = 1_000;
const LOOK_GROWS: i64 = 8;

words! {
    /// State of a rescan.
    #[schema(as = RescanState)]
    State {
        Running = "running",
        /// All of its blocks were read.
        Done = "done",
        /// It was given up; `error` says why.
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

/// The blocks of a chain that the watcher knows.
#[derive(Debug)]
pub struct Ground {
    /// The last block that it has read.
    pub height: i64,
    pub r#final: i64,
    /// Hashes of the blocks that it keeps, by height: those from the final one on.
    pub kept: BTreeMap<i64, String>,
}

/// Why a block is none of those that the watcher has read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtherBlock {
    #[error("block {height} is {told} by this provider, and {read} by what was read")]
    Hash { height: i64, told: String, read: String },
    #[error("block {0} was not read yet")]
    NotRead(i64),
    #[error("block {0} is not kept, so that nobody can tell whether it stands")]
    NotKept(i64),
}

/// Checks that these blocks are the ones that the watcher has read. Blocks up to the final one are taken as told, since
/// they stay; above it a block has to be the very same. The error says which block does not fit.
pub fn check(scan: &Scan, ground: &Ground) -> Result<(), OtherBlock> {
    for block in &scan.blocks {
        let height = block.height;
        match ground.kept.get(&height) {
            Some(hash) if *hash != block.hash => {
                return Err(OtherBlock::Hash { height, told: block.hash.clone(), read: hash.clone() });
            }
            Some(_) => {}
            None if height <= ground.r#final => {}
            None if height > ground.height => return Err(OtherBlock::NotRead(height)),
            None => return Err(OtherBlock::NotKept(height)),
        }
    }
    Ok(())
}

/// Plans the changes that a report about the past makes: it adds unknown transfers, and puts back retracted ones that
/// are on chain after all. Everything else stays.
#[must_use]
pub fn plan(scan: &Scan, mut known: ScanFacts<'_>) -> Plan {
    let blocks: BTreeMap<i64, _> = scan.blocks.iter().map(|block| (block.height, block)).collect();
    let mut before: BTreeMap<(String, i64), _> =
        std::mem::take(&mut known.same_tx).into_iter().map(|t| ((t.tx.clone(), t.ordinal), t)).collect();
    let mut plan = Plan::default();
    for seen in &scan.transfers {
        let (Some(owner), Some(block)) = (known.owners.get(&seen.recipient), blocks.get(&seen.height)) else {
            continue;
        };
        match before.remove(&(seen.tx.clone(), seen.ordinal)) {
            None => {
                let transfer = observation::new_transfer(seen, owner, block, &known);
                plan.log.push((Sighting::Included, transfer.clone()));
                plan.insert.push(transfer);
            }
            Some(transfer) if transfer.status == Status::Retracted => {
                observation::include_again(transfer, block, &mut plan);
            }
            Some(_) => {}
        }
    }
    plan
}

/// Search for the first block that is not older than a time, by asking for the times of single blocks.
///
/// It goes back from the newest block in growing steps, each guessed from the pace so far, so that it asks for blocks
/// near the wanted one: providers do not keep all.
#[derive(Debug)]
pub struct Search {
    since: Millis,
    /// The newest block: height and time.
    top: (i64, Millis),
    /// The lowest block known not to be older.
    high: (i64, Millis),
    /// The highest block known to be older.
    low: Option<(i64, Millis)>,
    probes: u32,
}

/// The next step of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask for the time of this block.
    Probe(i64),
    /// The block is found.
    Found(i64),
    /// The block cannot be found; the text says why.
    GiveUp(String),
}

/// The lowest block that can be read: it follows on block 0.
const FLOOR: i64 = 1;

impl Search {
    /// Begins a search from `top`, a block that is not older than `since`.
    #[must_use]
    pub fn new(since: Millis, top: (i64, Millis)) -> Self {
        Self { since, top, high: top, low: None, probes: 0 }
    }

    /// Takes the time of a block.
    pub fn tell(&mut self, height: i64, time: Millis) {
        self.probes += 1;
        if time < self.since {
            if self.low.is_none_or(|(low, _)| height > low) && height < self.high.0 {
                self.low = Some((height, time));
            }
        } else if height < self.high.0 && self.low.is_none_or(|(low, _)| height > low) {
            self.high = (height, time);
        }
    }

    #[must_use]
    pub fn next(&self) -> Next {
        let (high, _) = self.high;
        let lowest = self.low.map_or(FLOOR, |(low, _)| low + 1);
        if high <= lowest {
            return Next::Found(high);
        }
        if self.top.0 - high >= BLOCKS_MAX {
            return Next::GiveUp(too_many(self.top.0 - high + 1));
        }
        if self.probes >= PROBES_MAX {
            return Next::GiveUp(
                "the times of its blocks do not run on, so that no block of that time is found".to_owned(),
            );
        }
        let guess = match self.low {
            None => self.further_back(),
            // Guesses alone may converge slowly, so every other look halves.
            Some(low) if self.probes.is_multiple_of(2) => self.between(low),
            Some((low, _)) => low + (high - low) / 2,
        };
        Next::Probe(guess.clamp(lowest, high - 1))
    }

    fn further_back(&self) -> i64 {
        let ((top, top_time), (high, high_time)) = (self.top, self.high);
        let (blocks, ms) = (top - high, top_time - high_time);
        if blocks == 0 {
            return high - FIRST_LOOK;
        }
        let missing = scaled(high_time - self.since, blocks, ms.max(1));
        // The step is a little longer than the guess, to pass the block by rather than approach it, and its minimum
        // doubles with each look, since many blocks may have the same time.
        let step = (missing + missing / 16).max(1_i64 << self.probes.min(30));
        high - step.min(blocks.saturating_mul(LOOK_GROWS))
    }

    fn between(&self, (low, low_time): (i64, Millis)) -> i64 {
        let (high, high_time) = self.high;
        low + scaled(self.since - low_time, high - low, (high_time - low_time).max(1))
    }
}

/// Computes `part * whole / all` without overflow.
fn scaled(part: i64, whole: i64, all: i64) -> i64 {
    i64::try_from(i128::from(part) * i128::from(whole) / i128::from(all.max(1))).unwrap_or(i64::MAX / 2)
}

/// Says why this number of blocks is not read again at once.
#[must_use]
pub fn too_many(blocks: i64) -> String {
    format!("{blocks} blocks are more than are read again at once ({BLOCKS_MAX}); say where to end with `to`")
}
