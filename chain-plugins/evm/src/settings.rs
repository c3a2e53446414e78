//! The `[settings]` of a network manifest; `lib.rs` documents the keys.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    finality_depth: Option<u64>,
    max_blocks_per_call: Option<u64>,
    max_log_range: Option<u64>,
    max_batch: Option<usize>,
    #[serde(default)]
    traces: Traces,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Traces {
    #[default]
    None,
    Debug,
    Parity,
}

/// Method by which the provider tells what code did in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `debug_traceBlockByHash` with `callTracer`, from Geth.
    Debug,
    /// `trace_block`, from Parity.
    Parity,
}

/// Checked settings of one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Depth at which blocks count as final where the chain does not say so itself.
    pub(crate) finality_depth: Option<u64>,
    /// Maximum number of blocks that one step reads.
    pub(crate) max_blocks: u64,
    /// Maximum number of blocks that one `eth_getLogs` covers.
    pub(crate) max_log_range: u64,
    /// Maximum number of calls in one JSON-RPC batch.
    pub(crate) max_batch: usize,
    /// `None` if nothing is traced; then native coin from contracts is not seen.
    pub(crate) traces: Option<Dialect>,
}

/// Default number of blocks in a step, with full blocks and with headers. A full block of a busy chain is half a
/// megabyte, a header with its list of hashes some ten kilobytes; both come with the logs of listed tokens. So either
/// step is some megabytes at most.
const FULL_BLOCKS: u64 = 8;
const HEADERS: u64 = 25;

impl Settings {
    pub(crate) fn parse(json: &str, full_blocks: bool) -> Result<Self, String> {
        let raw: Raw = match json.trim() {
            "" => Raw::default(),
            json => serde_json::from_str(json).map_err(|error| error.to_string())?,
        };
        let max_blocks = raw.max_blocks_per_call.unwrap_or(if full_blocks { FULL_BLOCKS } else { HEADERS });
        let settings = Self {
            finality_depth: raw.finality_depth,
            max_blocks,
            max_log_range: raw.max_log_range.unwrap_or(max_blocks).min(max_blocks),
            max_batch: raw.max_batch.unwrap_or(100),
            // Without the native coin there is nothing in traces.
            traces: match raw.traces {
                _ if !full_blocks => None,
                Traces::None => None,
                Traces::Debug => Some(Dialect::Debug),
                Traces::Parity => Some(Dialect::Parity),
            },
        };
        if !(1..=1_000).contains(&settings.max_blocks) {
            return Err("max_blocks_per_call: 1 to 1000".into());
        }
        if settings.max_log_range == 0 {
            return Err("max_log_range: at least 1".into());
        }
        if !(1..=1_000).contains(&settings.max_batch) {
            return Err("max_batch: 1 to 1000".into());
        }
        Ok(settings)
    }
}
