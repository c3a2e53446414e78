//! Cross-checks of answers that take money away: another answer may say otherwise.
//!
//! # No logs
//!
//! Behind a provider's address stand many nodes, and one that lacks a block answers `[]` to a range that
//! includes it, not an error. Nothing in the answer shows it, and a cursor that went past would have lost the
//! payments. The block's bloom filter shows it: where it may hold a listed token's `Transfer` but none came,
//! the logs are asked for again by block hash, which a node without the block must refuse; and where they
//! still are none, the block's receipts decide, if the node offers them.
//!
//! # A failed transaction with logs
//!
//! On nearly all chains a transaction that failed has left no logs: a receipt that says both is a contradiction,
//! and one wrong word would hide a payment. But there are chains where it has some (on Tempo the fee is paid in a
//! token, and is paid all the same), so that it can be true. The block's receipts, another question to the
//! node, have to say the same. Then its logs are no payments, and the scan goes on: anyone can make such a
//! transaction, and none of them may stop a network.

use crate::bloom::Bits;
use crate::fault::Fault;
use crate::hex::Hash;
use crate::host::Host;
use crate::learned::Learned;
use crate::logs::{self, Found};
use crate::receipts;
use crate::rpc::{self, Call};
use crate::scan::Scan;
use crate::wire::{Header, LogJson, TRANSFER, bytes};
use std::collections::HashMap;

pub(crate) fn settle<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[Header],
    found: &mut Found,
    learned: &mut Learned,
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
    let replies = rpc::send(scan.host, &calls, learned)?;
    let mut still_empty = Vec::new();
    for (index, header) in doubtful.into_iter().enumerate() {
        let json = replies.get(index).map_err(|error| error.fault("eth_getLogs of a block"))?;
        let logs: Vec<LogJson<'_>> = rpc::parse(json, "eth_getLogs of a block")?;
        found.add(&scan.tokens, &logs, &(header.height..=header.height))?;
        // In a dense bloom everything looks present, which is no reason to fetch receipts by the megabyte.
        if !found.heights.contains(&header.height) && !header.bloom.is_dense() {
            still_empty.push(header);
        }
    }
    by_receipts(scan, &still_empty, found, learned)
}

fn by_receipts<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[&Header],
    found: &mut Found,
    learned: &mut Learned,
) -> Result<(), Fault> {
    let replies = receipts::ask(scan, headers, learned)?;
    for (index, header) in headers.iter().enumerate() {
        // Receipts are not offered here: the answer by block hash stands.
        let Ok(receipts) = receipts::of_block(&replies, index, header)? else { continue };
        receipts::add(scan, &receipts, header, found)?;
    }
    Ok(())
}

/// Errors unless the receipts of their blocks say as well that these transactions failed.
pub(crate) fn failures<H: Host>(
    scan: &Scan<'_, H>,
    failed: &[(&Header, Hash)],
    learned: &mut Learned,
) -> Result<(), Fault> {
    let mut headers: Vec<&Header> = failed.iter().map(|(header, _)| *header).collect();
    headers.dedup_by_key(|header| header.height);
    let replies = receipts::ask(scan, &headers, learned)?;
    for (index, header) in headers.iter().enumerate() {
        let receipts = receipts::of_block(&replies, index, header)?.map_err(|_| {
            Fault::upstream(
                "a failed transaction has logs, and without eth_getBlockReceipts it is not believed",
            )
        })?;
        let mut ends = HashMap::new();
        for receipt in &receipts {
            let tx = bytes::<32>(receipt.transaction_hash, "receipt's transaction")?;
            ends.insert(tx, receipt.has_succeeded()?);
        }
        let mut of_block = failed.iter().filter(|(of, _)| of.height == header.height);
        if of_block.any(|(_, tx)| ends.get(tx) != Some(&false)) {
            return Err(Fault::lags(
                "a receipt contradicts the logs, and the block's receipts contradict it",
            ));
        }
    }
    Ok(())
}
