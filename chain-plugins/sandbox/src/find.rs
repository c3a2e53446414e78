//! The block of a transaction.

use crate::host::Host;
use crate::ledger::Ledger;
use crate::scan::failure;
use kassa_sdk::finder::{FindError, Place};

/// Number of heights that are searched at a time, from the head downwards.
const WINDOW: u32 = 500;
/// Maximum number of windows: each of their segments is a request to the host's storage.
const WINDOWS_MAX: u32 = 8;

pub(crate) fn find<H: Host>(host: &H, tx: &str) -> Result<Vec<Place>, FindError> {
    let Some(id) = id_of(tx) else {
        let shape = "a sandbox transaction's id is 64 hexadecimal digits, with or without 0x before them";
        return Err(FindError::NotAnId(shape.into()));
    };
    let ledger = Ledger::open(host).map_err(FindError::Upstream)?;
    if let Some((left, outage)) = ledger.outage() {
        return Err(failure(outage, left, None).into());
    }
    let mut high = ledger.head.height;
    for _ in 0..WINDOWS_MAX {
        let low = high.saturating_sub(u64::from(WINDOW));
        let segments = ledger.segments_above(low, WINDOW).map_err(FindError::Upstream)?;
        if let Some(segment) = segments.iter().find(|segment| segment.txs.iter().any(|tx| tx.id == id)) {
            return Ok(vec![Place { height: segment.from, tx: id, more: Vec::new() }]);
        }
        if low == 0 {
            return Ok(Vec::new());
        }
        high = low;
    }
    Err(FindError::Upstream("the sandbox looks for transactions in its newest 4000 blocks only".into()))
}

fn id_of(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let is_id = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_id.then(|| digits.to_owned())
}
