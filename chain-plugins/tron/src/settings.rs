//! The `[settings]` of a network manifest; `lib.rs` documents the keys.

use serde::Deserialize;

/// Default number of blocks in a step. A full block of the main network is half a megabyte and its infos are another
/// half; a block at the chain's limit is ten times that.
const BLOCKS_AT_ONCE: u64 = 4;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    blocks_at_once: Option<u64>,
}

/// Checked settings of one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Number of blocks that one step reads.
    pub(crate) blocks_at_once: u64,
}

impl Settings {
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let raw: Raw = match json.trim() {
            "" => Raw::default(),
            json => serde_json::from_str(json).map_err(|error| error.to_string())?,
        };
        let settings = Self { blocks_at_once: raw.blocks_at_once.unwrap_or(BLOCKS_AT_ONCE) };
        if !(1..=50).contains(&settings.blocks_at_once) {
            return Err("blocks_at_once: 1 to 50".into());
        }
        Ok(settings)
    }
}
