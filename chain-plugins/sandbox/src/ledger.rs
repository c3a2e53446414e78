//! The chain's state and how it lies in storage.
//!
//! | key | value |
//! |---|---|
//! | `head` | [`Head`]: all that an idle scan reads |
//! | `b/<last height, 16 hex digits>` | [`Segment`]: blocks that were mined at once; only the first has transactions |
//! | `pool` | transactions of nobody's that wait for the next block of nobody's |
//! | `pool/<merchant>` | the same of a merchant: no other's block takes them along |
//!
//! A segment has the key of its *last* block, so the one that holds a height is the first key at or after
//! it, and mining a thousand blocks is one write. Hashes are not stored: a block's hash follows from its
//! height and its *era*. A reorganization begins a new era at some height, which renames every block from
//! there on.
//!
//! What a merchant can put into a block is bounded by [`SHARE_BYTES`], so that all blocks that are kept fit into the
//! storage that the plugin asks for, however hard one tries: 4,012 of twice that are 48 of 64 MiB.

use crate::address::{hash16, hex};
use crate::host::Host;
use kassa_sdk::chain::Block;
use serde::{Deserialize, Serialize};

/// Time of the genesis block, milliseconds: 2026-01-01. The block exists before anything is written.
pub(crate) const GENESIS_MS: u64 = 1_767_225_600_000;

/// Number of blocks below the final one that are kept, for hosts that were away for a while.
const KEPT_BLOCKS: u64 = 4_000;
/// Maximum number of old segments that one action removes, so that no action pays for all.
const PRUNED_PER_ACTION: u32 = 8;
/// Maximum bytes, as stored, of one transaction of a merchant, and of all that wait for the merchant's next block.
pub(crate) const SHARE_BYTES: usize = 6 * 1024;
/// Maximum number of outages that one call ends; the next call ends the rest.
const ENDED_PER_CALL: usize = 8;
/// Maximum length of an outage, milliseconds: of the whole chain, and of one merchant.
pub(crate) const OUTAGE_MS_MAX: u64 = 24 * 3_600_000;
pub(crate) const OWN_OUTAGE_MS_MAX: u64 = 600_000;

const HEAD: &str = "head";
const POOL: &str = "pool";
const SEGMENTS: &str = "b/";

/// The tip of the chain, and what applies to all of it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Head {
    pub(crate) height: u64,
    /// Time of the highest block.
    pub(crate) time_ms: u64,
    /// Number of transactions that were ever made; the next one's id comes from it.
    pub(crate) txs: u64,
    /// Beginnings of eras, ascending: (height, number of the era).
    eras: Vec<(u64, u64)>,
    /// Number of the next era.
    next_era: u64,
    /// Time until which scans fail, milliseconds, and how they fail.
    outage: Option<(u64, Outage)>,
    /// Merchants who have an outage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<Held>,
}

/// A merchant's own outage: what the merchant does meanwhile reaches the chain when it is over.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    pub(crate) by: String,
    pub(crate) until_ms: u64,
    /// Number of blocks that the merchant mined meanwhile; all that waits is in the first.
    pub(crate) blocks: u64,
}

/// Failure of scans during an outage.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outage {
    Upstream,
    RateLimited,
    Malformed,
    Behind,
}

/// Blocks `from..=to`, mined at once.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Segment {
    pub(crate) from: u64,
    #[serde(skip)]
    pub(crate) to: u64,
    pub(crate) time_ms: u64,
    /// Transactions of block `from`.
    pub(crate) txs: Vec<Tx>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Tx {
    pub(crate) id: String,
    /// Merchant who made it. `None` if it is nobody's: then only the operator can take it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// True if it is in a block but did nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) failed: bool,
    pub(crate) moves: Vec<Move>,
}

/// One movement of an asset.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Move {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asset: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Decimal digits, possibly of more than 128 bits.
    pub(crate) amount: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memo: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unreadable_memo: bool,
}

/// The chain, opened on a host's storage. Errors come from the host.
pub(crate) struct Ledger<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) head: Head,
}

impl<'a, H: Host> Ledger<'a, H> {
    pub(crate) fn open(host: &'a H) -> Result<Self, String> {
        let head = match host.get(HEAD)? {
            Some(bytes) => decode(&bytes)?,
            None => Head {
                height: 0,
                time_ms: GENESIS_MS,
                txs: 0,
                eras: vec![(0, 0)],
                next_era: 1,
                outage: None,
                held: Vec::new(),
            },
        };
        Ok(Self { host, head })
    }

    pub(crate) fn save(&self) -> Result<(), String> {
        self.host.set(HEAD, &encode(&self.head)?)
    }

    pub(crate) fn hash(&self, height: u64) -> String {
        let era = self.head.eras.iter().rev().find(|(from, _)| *from <= height).map_or(0, |(_, era)| *era);
        hex(&hash16(format!("block {height} of era {era}").as_bytes()))
    }

    pub(crate) fn block(&self, height: u64, time_ms: u64) -> Block {
        let parent = height.checked_sub(1).map_or_else(|| "0".repeat(32), |below| self.hash(below));
        Block { height, hash: self.hash(height), parent, time_ms, more: Vec::new() }
    }

    /// The block at a height that is still kept.
    pub(crate) fn block_at(&self, height: u64) -> Result<Block, String> {
        let Some(below) = height.checked_sub(1) else { return Ok(self.block(0, GENESIS_MS)) };
        let segment = self.segments_above(below, 1)?.pop().ok_or("the block is forgotten")?;
        Ok(self.block(height, segment.time_ms))
    }

    /// Milliseconds for which scans still fail, and how they fail. `None` if they do not.
    pub(crate) fn outage(&self) -> Option<(u64, Outage)> {
        let (until, outage) = self.head.outage?;
        left(until, self.host.now_ms(), OUTAGE_MS_MAX).map(|left| (left, outage))
    }

    /// Makes scans fail for `ms` milliseconds. Returns the time at which that ends, milliseconds.
    pub(crate) fn set_outage(&mut self, ms: u64, outage: Outage) -> u64 {
        let until = self.host.now_ms().saturating_add(ms);
        self.head.outage = (ms > 0).then_some((until, outage));
        until
    }

    /// Ends the merchants' outages that are over: what was done meanwhile reaches the chain.
    pub(crate) fn end_outages(&mut self, depth: u64) -> Result<(), String> {
        let now = self.host.now_ms();
        let is_over = |held: &mut Held| left(held.until_ms, now, OWN_OUTAGE_MS_MAX).is_none();
        let over: Vec<Held> = self.head.held.extract_if(.., is_over).take(ENDED_PER_CALL).collect();
        for held in &over {
            if held.blocks > 0 {
                self.mine(Some(&held.by), Vec::new(), held.blocks, depth)?;
            }
        }
        if over.is_empty() { Ok(()) } else { self.save() }
    }

    /// Height of the highest block that cannot change any more.
    pub(crate) fn final_height(&self, depth: u64) -> u64 {
        self.head.height.saturating_sub(depth)
    }

    /// Adds `count` blocks. What waits in the pool of `by`, and then `txs`, go into the first of them.
    pub(crate) fn mine(
        &mut self,
        by: Option<&str>,
        txs: Vec<Tx>,
        count: u64,
        depth: u64,
    ) -> Result<(), String> {
        let final_height = self.final_height(depth);
        let mut all = self.pool(by)?;
        if !all.is_empty() {
            self.host.delete(&pool_key(by))?;
        }
        all.extend(txs);
        let time_ms = self.host.now_ms().max(self.head.time_ms);
        let (from, to) = (self.head.height.saturating_add(1), self.head.height.saturating_add(count));
        self.put(&Segment { from, to, time_ms, txs: all })?;
        self.head.height = to;
        self.head.time_ms = time_ms;
        self.prune(final_height.saturating_sub(KEPT_BLOCKS))
    }

    /// Begins an era: all blocks from `height` up get other hashes.
    pub(crate) fn begin_era(&mut self, height: u64) {
        self.head.eras.retain(|(from, _)| *from < height);
        self.head.eras.push((height, self.head.next_era));
        self.head.next_era = self.head.next_era.saturating_add(1);
    }

    pub(crate) fn pool(&self, by: Option<&str>) -> Result<Vec<Tx>, String> {
        self.host.get(&pool_key(by))?.map_or_else(|| Ok(Vec::new()), |bytes| decode(&bytes))
    }

    pub(crate) fn set_pool(&self, by: Option<&str>, txs: &[Tx]) -> Result<(), String> {
        if txs.is_empty() {
            return self.host.delete(&pool_key(by));
        }
        self.host.set(&pool_key(by), &encode(&txs)?)
    }

    /// Segments that hold blocks above `height`, ascending.
    pub(crate) fn segments_above(&self, height: u64, limit: u32) -> Result<Vec<Segment>, String> {
        let keys = self.host.keys(SEGMENTS, Some(&segment_key(height)), limit)?;
        keys.iter().map(|key| self.segment(key)).collect()
    }

    pub(crate) fn put(&self, segment: &Segment) -> Result<(), String> {
        self.host.set(&segment_key(segment.to), &encode(segment)?)
    }

    fn segment(&self, key: &str) -> Result<Segment, String> {
        let bytes = self.host.get(key)?.ok_or("a segment vanished")?;
        let mut segment: Segment = decode(&bytes)?;
        segment.to = height_of(key).ok_or("a segment has a wrong key")?;
        Ok(segment)
    }

    fn prune(&mut self, floor: u64) -> Result<(), String> {
        if floor == 0 {
            return Ok(());
        }
        for key in self.host.keys(SEGMENTS, None, PRUNED_PER_ACTION)? {
            if height_of(&key).is_some_and(|to| to < floor) {
                self.host.delete(&key)?;
            }
        }
        // Of the eras that began below the floor, the last one still names the blocks above it.
        let below = self.head.eras.iter().filter(|(from, _)| *from < floor).count();
        self.head.eras.drain(..below.saturating_sub(1));
        Ok(())
    }
}

fn pool_key(by: Option<&str>) -> String {
    by.map_or_else(|| POOL.to_owned(), |by| format!("{POOL}/{by}"))
}

/// Milliseconds that are left until then. A time that is further ahead than `longest_ms` was set by a clock that was
/// ahead, and counts as over.
fn left(until_ms: u64, now_ms: u64, longest_ms: u64) -> Option<u64> {
    until_ms.checked_sub(now_ms).filter(|left| (1..=longest_ms).contains(left))
}

/// Size of transactions as they are stored, bytes.
pub(crate) fn size(txs: &[Tx]) -> Result<usize, String> {
    encode(&txs).map(|bytes| bytes.len())
}

fn segment_key(to: u64) -> String {
    format!("{SEGMENTS}{to:016x}")
}

fn height_of(key: &str) -> Option<u64> {
    u64::from_str_radix(key.strip_prefix(SEGMENTS)?, 16).ok()
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the sandbox's own state is unreadable: {error}"))
}
