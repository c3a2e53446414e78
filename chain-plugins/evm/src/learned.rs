//! What was learned about the provider, kept between scans so that no scan runs into the same wall again.
//!
//! Providers cap the blocks of an `eth_getLogs`, the entries of a batch and the bytes of an answer, each at
//! its own figure, and say so only when a call goes over it. What worked is kept in `storage` under the key
//! `learned`; after [`PATIENCE`] good scans twice as much is tried, since a cap may have been somebody
//! else's (another upstream's, or that of a busy minute).

use crate::host::Host;
use crate::settings::Settings;

const KEY: &str = "learned";

/// Good scans before more is tried. Each trial can cost one call in vain.
const PATIENCE: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Blocks that one `eth_getLogs` covers.
    pub(crate) log_range: u64,
    /// Blocks that one step reads.
    pub(crate) blocks: u64,
    /// Calls in one batch.
    pub(crate) batch: usize,
    good_scans: u32,
    /// The chain's time, in seconds, when the first block was met that cannot be traced; 0 while there is none.
    pub(crate) waits_since_s: u32,
}

impl Learned {
    fn most(settings: &Settings) -> Self {
        Self {
            log_range: settings.max_log_range,
            blocks: settings.max_blocks,
            batch: settings.max_batch,
            good_scans: 0,
            waits_since_s: 0,
        }
    }

    pub(crate) fn load<H: Host>(host: &H, settings: &Settings) -> Self {
        let most = Self::most(settings);
        let read = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).ok()?;
            let mut numbers = text.split(' ').map(str::parse::<u32>);
            let mut next = || numbers.next()?.ok();
            let (log_range, blocks, batch, good_scans) = (next()?, next()?, next()?, next()?);
            Some(Self {
                log_range: u64::from(log_range).clamp(1, most.log_range),
                blocks: u64::from(blocks).clamp(1, most.blocks),
                batch: usize::try_from(batch).ok()?.clamp(1, most.batch),
                good_scans,
                // An earlier version did not keep it.
                waits_since_s: next().unwrap_or(0),
            })
        };
        // Unreadable is as good as absent: nothing was learned.
        host.load(KEY).and_then(read).unwrap_or(most)
    }

    /// After a scan that read blocks. `before` is what it began with.
    pub(crate) fn keep<H: Host>(mut self, host: &H, settings: &Settings, before: &Self) {
        let most = Self::most(settings);
        if self != *before {
            self.good_scans = 0;
        } else if (self.log_range, self.blocks, self.batch) == (most.log_range, most.blocks, most.batch) {
            // Nothing holds the scans back, so there is nothing to count: no write while all is well.
            return;
        } else {
            self.good_scans = self.good_scans.saturating_add(1);
            if self.good_scans >= PATIENCE {
                self.good_scans = 0;
                self.log_range = self.log_range.saturating_mul(2).min(most.log_range);
                self.blocks = self.blocks.saturating_mul(2).min(most.blocks);
                self.batch = self.batch.saturating_mul(2).min(most.batch);
            }
        }
        let Self { log_range, blocks, batch, good_scans, waits_since_s } = self;
        host.keep(KEY, format!("{log_range} {blocks} {batch} {good_scans} {waits_since_s}").as_bytes());
    }
}
