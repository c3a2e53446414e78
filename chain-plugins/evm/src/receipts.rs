//! Blocks' receipts (`eth_getBlockReceipts`): every log of a block, and the outcome of each of its transactions.
//!
//! They are many times the size of the logs that are of interest, so they are read where those are doubted, and instead
//! of them where a provider does not serve `eth_getLogs` at all, such as the public nodes of BSC. That is noted of the
//! provider; logs are tried again after a while, like larger batches.

use crate::bloom::Bits;
use crate::fault::{Fault, RpcError};
use crate::host::Host;
use crate::learned::Learned;
use crate::logs::Found;
use crate::rpc::{self, Call, Replies};
use crate::scan::Scan;
use crate::wire::{Header, ReceiptJson, bytes};

pub(crate) fn call(height: u64) -> Call {
    Call { method: "eth_getBlockReceipts", params: format!(r#""0x{height:x}""#) }
}

pub(crate) fn ask<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[&Header],
    learned: &mut Learned,
) -> Result<Replies, Fault> {
    rpc::send(scan.host, &headers.iter().map(|header| call(header.height)).collect::<Vec<_>>(), learned)
}

/// All receipts of a block. The inner error is that of a node that does not offer them.
pub(crate) fn of_block<'a>(
    replies: &'a Replies,
    index: usize,
    header: &Header,
) -> Result<Result<Vec<ReceiptJson<'a>>, &'a RpcError>, Fault> {
    let missing = || Fault::lags("receipts of a block are missing");
    let json = match replies.get(index) {
        Ok(json) => json,
        Err(error) if error.is_missing() => return Err(missing()),
        Err(error) => return Ok(Err(error)),
    };
    let receipts = rpc::parse::<Option<Vec<ReceiptJson<'_>>>>(json, "eth_getBlockReceipts")?;
    let receipts = receipts.ok_or_else(missing)?;
    if receipts.len() != header.tx_count {
        return Err(Fault::lags("a block has more or fewer receipts than transactions"));
    }
    for receipt in &receipts {
        if bytes::<32>(receipt.block_hash, "receipt's block")? != header.hash {
            return Err(Fault::lags("receipts of another block"));
        }
    }
    Ok(Ok(receipts))
}

/// Adds the logs of a block's receipts. Errors if some are missing: what the block's bloom filter shows, some log has
/// set. A filter that is full shows nothing.
pub(crate) fn add<H>(
    scan: &Scan<'_, H>,
    receipts: &[ReceiptJson<'_>],
    header: &Header,
    found: &mut Found,
) -> Result<(), Fault> {
    let mut rest = header.bloom.clone();
    for receipt in receipts {
        for log in &receipt.logs {
            rest.clear(&Bits::of(&bytes::<20>(log.address, "log's address")?));
            for topic in &log.topics {
                rest.clear(&Bits::of(&bytes::<32>(topic, "log's topic")?));
            }
        }
        found.add(&scan.tokens, &receipt.logs, &(header.height..=header.height))?;
    }
    if rest.is_empty() || header.bloom.is_full() {
        return Ok(());
    }
    Err(Fault::lags("the receipts of a block lack logs"))
}

/// Adds the logs of these blocks from their receipts, whose answers begin at index `first`.
pub(crate) fn collect<H>(
    scan: &Scan<'_, H>,
    replies: &Replies,
    first: usize,
    headers: &[Header],
    learned: &mut Learned,
    found: &mut Found,
) -> Result<(), Fault> {
    for (index, header) in (first..).zip(headers) {
        match of_block(replies, index, header)? {
            Ok(receipts) => add(scan, &receipts, header, found)?,
            Err(error) => {
                learned.logs_were(None);
                return Err(error.fault("eth_getBlockReceipts"));
            }
        }
    }
    Ok(())
}

/// Like [`collect`], after `eth_getLogs` of a single block was refused. Errors with that refusal if receipts are
/// refused as well.
pub(crate) fn instead_of_logs<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[Header],
    refused: &RpcError,
    learned: &mut Learned,
) -> Result<Found, Fault> {
    let (first, rest) = headers.split_at(headers.len().min(1));
    let mut found = Found::default();
    for headers in [first, rest] {
        let replies = ask(scan, &headers.iter().collect::<Vec<_>>(), learned)?;
        if replies.get(0).is_err_and(|error| !error.is_missing()) && !headers.is_empty() {
            return Err(refused.fault("eth_getLogs"));
        }
        collect(scan, &replies, 0, headers, learned, &mut found)?;
    }
    learned.logs_were(Some(refused));
    Ok(found)
}
