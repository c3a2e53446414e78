//! Limits of a provider that were learned, noted of it so that no scan runs into them again.
//!
//! Providers cap the blocks of an `eth_getLogs`, the entries of a batch and the bytes of an answer, each at its own
//! figure, and say so only when a call goes over it. What worked is noted of the upstream, so that one provider's caps
//! never make another's smaller; after [`PATIENCE`] good scans twice as much is tried, since a cap may have been that
//! of a busy minute. How many calls a second it takes is for the host to know.

use crate::fault::{Fault, RpcError};
use crate::host::Host;
use crate::settings::Settings;

/// Number of good scans before more is tried. Each trial can cost one call in vain.
const PATIENCE: u32 = 64;

/// Number of scans in a row with refusals after which `eth_getLogs` is taken to be off. One may be an accident, and
/// receipts are large.
const REFUSED: u32 = 2;

/// Storage key of the chain's time at which the first block was met that cannot be traced.
const WAITS: &str = "waits";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Maximum number of blocks that one `eth_getLogs` covers.
    pub(crate) log_range: u64,
    /// Maximum number of blocks that one step reads.
    pub(crate) blocks: u64,
    /// Number of scans in a row in which `eth_getLogs` was refused, at most [`REFUSED`].
    logs_refused: u32,
    /// Maximum number of calls in one batch.
    batch: usize,
    good_scans: u32,
    /// Number of calls that may go out in a second.
    calls_per_s: usize,
    /// The chain's time when the first block was met that cannot be traced, seconds. 0 if there is none.
    pub(crate) waits_since_s: u32,
}

impl Learned {
    pub(crate) fn load<H: Host>(host: &H, settings: &Settings) -> Result<Self, Fault> {
        let terms = host.terms()?;
        let mut learned = Self {
            log_range: settings.max_log_range,
            blocks: settings.max_blocks,
            logs_refused: 0,
            batch: settings.max_batch,
            good_scans: 0,
            calls_per_s: usize::try_from(terms.calls_per_second).unwrap_or(usize::MAX).max(1),
            waits_since_s: if settings.traces.is_some() { waits(host) } else { 0 },
        };
        // What cannot be read counts as absent: nothing was learned.
        for word in terms.notes.split(' ') {
            let Some((name, Ok(number))) =
                word.split_once('=').map(|(name, text)| (name, text.parse::<u32>()))
            else {
                continue;
            };
            match name {
                "logs" => learned.log_range = u64::from(number).clamp(1, settings.max_log_range),
                "blocks" => learned.blocks = u64::from(number).clamp(1, settings.max_blocks),
                "batch" => {
                    learned.batch =
                        usize::try_from(number).unwrap_or(usize::MAX).clamp(1, settings.max_batch);
                }
                "refused" => learned.logs_refused = number.min(REFUSED),
                "good" => learned.good_scans = number,
                _ => {}
            }
        }
        Ok(learned)
    }

    /// Number of calls that one request may hold.
    pub(crate) fn batch(&self) -> usize {
        self.batch.min(self.calls_per_s)
    }

    /// Lowers the size of a batch to `batch`, since larger requests are refused.
    pub(crate) fn takes(&mut self, batch: usize) {
        self.batch = self.batch.min(batch).max(1);
    }

    /// Lowers the calls of a second to `calls`, or to what the host allows now if that is less.
    pub(crate) fn slows<H: Host>(&mut self, host: &H, calls: usize) {
        let terms = host.terms().ok().and_then(|terms| usize::try_from(terms.calls_per_second).ok());
        self.calls_per_s = terms.unwrap_or(calls).min(calls).max(1);
    }

    /// Restores the size of a batch: what was refused was a single call, and not the number of calls.
    pub(crate) fn takes_as(&mut self, before: &Self) {
        self.batch = before.batch;
    }

    /// True if logs are not served, and are read from receipts.
    pub(crate) fn logs_by_receipts(&self) -> bool {
        self.logs_refused >= REFUSED
    }

    /// Notes that logs were served, or with which error a single block's were refused: for good, if the node has no
    /// such method.
    pub(crate) fn logs_were(&mut self, refused: Option<&RpcError>) {
        self.logs_refused = match refused {
            None => 0,
            Some(error) if error.is_unsupported() => REFUSED,
            Some(_) => self.logs_refused.saturating_add(1).min(REFUSED),
        };
    }

    /// Number of blocks of a step that ends within a few seconds.
    pub(crate) fn step(&self) -> u64 {
        self.blocks.min(u64::try_from(self.calls_per_s).unwrap_or(u64::MAX).saturating_mul(2))
    }

    /// Writes the note after a scan, even a failed one. `before` is what it began with.
    pub(crate) fn note<H: Host>(mut self, host: &H, settings: &Settings, before: &Self, has_read: bool) {
        let sizes = |learned: &Self| (learned.log_range, learned.blocks, learned.batch, learned.logs_refused);
        let most = (settings.max_log_range, settings.max_blocks, settings.max_batch, 0);
        if sizes(&self) != sizes(before) {
            self.good_scans = 0;
        } else if sizes(&self) == most || !has_read {
            // Nothing limits the scans, or nothing is known to.
            return;
        } else {
            self.good_scans = self.good_scans.saturating_add(1);
            if self.good_scans >= PATIENCE {
                self.good_scans = 0;
                self.log_range = self.log_range.saturating_mul(2).min(settings.max_log_range);
                self.blocks = self.blocks.saturating_mul(2).min(settings.max_blocks);
                self.batch = self.batch.saturating_mul(2).min(settings.max_batch);
                self.logs_refused = self.logs_refused.min(REFUSED - 1);
            }
        }
        let Self { log_range, blocks, batch, good_scans, logs_refused, .. } = self;
        if sizes(&self) == most {
            host.note("");
        } else {
            host.note(&format!(
                "blocks={blocks} logs={log_range} refused={logs_refused} batch={batch} good={good_scans}"
            ));
        }
    }

    /// Stores the time since which a block is waited for, if it has changed.
    pub(crate) fn keep_waits<H: Host>(&self, host: &H, before: &Self) {
        if self.waits_since_s != before.waits_since_s {
            host.keep(WAITS, self.waits_since_s.to_string().as_bytes());
        }
    }
}

fn waits<H: Host>(host: &H) -> u32 {
    let kept = host.load(WAITS).and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    kept.unwrap_or(0)
}
