//! The disk's durable writes, and their rate.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::stats;

/// Rate from which a disk is taken for memory: none makes that many writes a second durable.
pub(super) const IN_MEMORY_FROM: f64 = 100_000.0;
const PROBE: Duration = Duration::from_millis(500);
/// One page of a database.
const PAGE: [u8; 4096] = [7; 4096];

/// Number of times a second that a page can be overwritten and made durable, one after the other.
pub(super) fn syncs_per_s(file: &Path) -> anyhow::Result<f64> {
    let probe = || -> std::io::Result<f64> {
        let mut out = File::create(file)?;
        out.write_all(&PAGE)?;
        out.sync_all()?;
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed() < PROBE {
            out.rewind()?;
            out.write_all(&PAGE)?;
            out.sync_data()?;
            count += 1;
        }
        Ok(stats::rate(count, started.elapsed()))
    };
    probe().with_context(|| format!("cannot write to {}", file.display()))
}
