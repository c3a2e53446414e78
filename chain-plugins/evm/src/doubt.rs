//! Answers without logs are doubted where the block itself says otherwise.
//!
//! Behind a provider's address stand many nodes, and one that lacks a block answers `[]` to a range that
//! includes it, not an error. Nothing in the answer shows it, and a cursor that went past would have lost the
//! payments. The block's bloom filter shows it: where it may hold a listed token's `Transfer` but none came,
//! the logs are asked for again by block hash, which a node without the block must refuse; and where they
//! still are none, the block's receipts decide, if the node offers them.

use crate::bloom::Bits;
use crate::fault::Fault;
use crate::host::Host;
use crate::logs::{self, Found};
use crate::rpc::{self, Call};
use crate::scan::Scan;
use crate::wire::{Header, LogJson, ReceiptJson, TRANSFER, bytes};

pub(crate) fn settle<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[Header],
    found: &mut Found,
    batch: &mut usize,
) -> Result<(), Fault> {
    let topic = Bits::of(&bytes::<32>(TRANSFER, "topic")?);
    let tokens: Vec<Bits> = scan.tokens.0.iter().map(|(token, _)| Bits::of(token)).collect();
    let is_doubtful = |header: &&Header| {
        !found.heights.contains(&header.height)
            && header.bloom.may_have(&topic)
            && tokens.iter().any(|token| header.bloom.may_have(token))
    };
    let doubtful: Vec<&Header> = headers.iter().filter(is_doubtful).collect();
    if doubtful.is_empty() {
        return Ok(());
    }
    let calls: Vec<Call> =
        doubtful.iter().map(|header| logs::call_by_hash(&scan.tokens, &header.hash)).collect();
    let replies = rpc::send(scan.host, &calls, batch)?;
    let mut still_empty = Vec::new();
    for (place, header) in doubtful.into_iter().enumerate() {
        let json = replies.get(place).map_err(|error| error.fault("eth_getLogs of a block"))?;
        let logs: Vec<LogJson<'_>> = rpc::parse(json, "eth_getLogs of a block")?;
        found.add(&scan.tokens, &logs, &(header.height..=header.height))?;
        // In a dense bloom everything looks present: no reason to fetch receipts by the megabyte.
        if !found.heights.contains(&header.height) && !header.bloom.is_dense() {
            still_empty.push(header);
        }
    }
    by_receipts(scan, &still_empty, found, batch)
}

fn by_receipts<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[&Header],
    found: &mut Found,
    batch: &mut usize,
) -> Result<(), Fault> {
    let call = |header: &&Header| Call {
        method: "eth_getBlockReceipts",
        params: format!(r#""0x{:x}""#, header.height),
    };
    let calls: Vec<Call> = headers.iter().map(call).collect();
    let replies = rpc::send(scan.host, &calls, batch)?;
    for (place, header) in headers.iter().enumerate() {
        let json = match replies.get(place) {
            Ok(json) => json,
            Err(error) if error.is_missing() => return Err(Fault::lags("receipts of a block are missing")),
            // Not offered here: the answer by block hash stands.
            Err(_) => continue,
        };
        let receipts = rpc::parse::<Option<Vec<ReceiptJson<'_>>>>(json, "eth_getBlockReceipts")?
            .ok_or_else(|| Fault::lags("receipts of a block are missing"))?;
        if receipts.len() != header.tx_count {
            return Err(Fault::lags("a block has more or fewer receipts than transactions"));
        }
        for receipt in &receipts {
            if bytes::<32>(receipt.block_hash, "receipt's block")? != header.hash {
                return Err(Fault::lags("receipts of another block"));
            }
            found.add(&scan.tokens, &receipt.logs, &(header.height..=header.height))?;
        }
    }
    Ok(())
}
