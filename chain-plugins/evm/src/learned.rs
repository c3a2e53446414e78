//! What was learned about the provider, noted of it so that no scan runs into the same wall again.
//!
//! Providers cap the blocks of an `eth_getLogs`, the entries of a batch and the bytes of an answer, each at its own figure,
//! and say so only when a call goes over it. What worked is noted of the upstream, so that one provider's caps never
//! make another's smaller; after [`PATIENCE`] good scans twice as much is tried, since a cap may have been that of a busy
//! minute. How many calls a second it takes is the host's to know.

use crate::fault::{Fault, RpcError};
use crate::host::Host;
use crate::settings::Settings;

/// Good scans before more is tried. Each trial can cost one call in vain.
const PATIENCE: u32 = 64;

/// Scans in a row after whose refusals `eth_getLogs` is taken to be off. One may be an accident, and receipts are large.
const REFUSED: u32 = 2;

/// Where the chain's time is kept at which the first block was met that cannot be traced.
const WAITS: &str = "waits";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Blocks that one `eth_getLogs` covers.
    pub(crate) log_range: u64,
    /// Blocks that one step reads.
    pub(crate) blocks: u64,
    /// Scans in a row that `eth_getLogs` was refused to, [`REFUSED`] at the most.
    logs_refused: u32,
    /// Calls in one batch.
    batch: usize,
    good_scans: u32,
    /// Calls that may go out in a second.
    calls_per_s: usize,
    /// The chain's time, in seconds, when the first block was met that cannot be traced; 0 while there is none.
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
        // Unreadable is as good as absent: nothing was learned.
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

    /// Calls that one request holds.
    pub(crate) fn batch(&self) -> usize {
        self.batch.min(self.calls_per_s)
    }

    /// More than this many calls in one request are refused.
    pub(crate) fn takes(&mut self, batch: usize) {
        self.batch = self.batch.min(batch).max(1);
    }

    /// Its calls of a second are used up by this many: what the host allows now, or that.
    pub(crate) fn slows<H: Host>(&mut self, host: &H, calls: usize) {
        let terms = host.terms().ok().and_then(|terms| usize::try_from(terms.calls_per_second).ok());
        self.calls_per_s = terms.unwrap_or(calls).min(calls).max(1);
    }

    /// What was refused was one call, and not that there were many.
    pub(crate) fn takes_as(&mut self, before: &Self) {
        self.batch = before.batch;
    }

    /// Whether logs are not served, and read from receipts.
    pub(crate) fn logs_by_receipts(&self) -> bool {
        self.logs_refused >= REFUSED
    }

    /// Logs were served, or refused even of a single block; for ever, if the node says so.
    pub(crate) fn logs_were(&mut self, refused: Option<&RpcError>) {
        self.logs_refused = match refused {
            None => 0,
            Some(error) if error.is_unsupported() => REFUSED,
            Some(_) => self.logs_refused.saturating_add(1).min(REFUSED),
        };
    }

    /// Blocks of a step that is over in a few seconds.
    pub(crate) fn step(&self) -> u64 {
        self.blocks.min(u64::try_from(self.calls_per_s).unwrap_or(u64::MAX).saturating_mul(2))
    }

    /// After a scan, be it that it failed. `before` is what it began with.
    pub(crate) fn note<H: Host>(mut self, host: &H, settings: &Settings, before: &Self, has_read: bool) {
        let sizes = |learned: &Self| (learned.log_range, learned.blocks, learned.batch, learned.logs_refused);
        let most = (settings.max_log_range, settings.max_blocks, settings.max_batch, 0);
        if sizes(&self) != sizes(before) {
            self.good_scans = 0;
        } else if sizes(&self) == most || !has_read {
            // Nothing holds the scans back, or nothing was seen to hold.
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

    /// Keeps since when a block is waited for, if that has changed.
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
