//! One step of a scan: a few blocks, read completely.
//!
//! 1. Blocks and logs of the range, in one batch; receipts of all blocks where logs are not served
//!    ([`crate::receipts`]).
//! 2. Logs that look too few are asked for again by block hash, and then by receipts ([`crate::cross_check`]).
//! 3. Where the provider traces, what code moved of the native coin ([`crate::traces`]).
//! 4. The host says which recipients are watched; everything else is dropped.
//! 5. Receipts of the transactions that are left: they confirm the logs, tell whether a native payment
//!    succeeded, and give each log's index within its transaction.

use crate::address::show;
use crate::cross_check;
use crate::fault::Fault;
use crate::hex::{self, Hash, Key};
use crate::host::Host;
use crate::learned::Learned;
use crate::logs::{self, Log};
use crate::receipts;
use crate::rpc::{self, Call, Replies};
use crate::scan::Scan;
use crate::traces::{self, Internal};
use crate::wire::{BlockJson, Header, HeaderJson, Move, ReceiptJson, TxJson, bytes};
use kassa_sdk::types::{Memo, Transfer};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

/// Maximum number of keys that one request to the host carries: 200 kB.
const KEYS_MAX: usize = 10_000;

pub(crate) struct Step {
    pub(crate) headers: Vec<Header>,
    pub(crate) transfers: Vec<Transfer>,
    /// True if the step ended early, because of the limit of transfers or because of traces that could not be had.
    pub(crate) is_cut: bool,
}

/// A possible native payment, whose receipt is still to be read.
struct Payment {
    height: u64,
    tx: Hash,
    from: Key,
    to: Key,
    amount: Option<u128>,
}

/// The parts of one transaction that may be payments.
#[derive(Default)]
struct Candidate {
    payment: Option<Payment>,
    moves: Vec<Move>,
    internals: Vec<Internal>,
}

/// Everything that a step found in its blocks.
#[derive(Default)]
struct Seen {
    payments: Vec<Payment>,
    logs: Vec<Log>,
    internals: Vec<Internal>,
    /// Transactions of each block, if they are traced.
    txs: Vec<Vec<Hash>>,
}

impl Seen {
    /// Recipients with the heights at which they received something; each kind in its own order.
    fn recipients(&self) -> impl Iterator<Item = (u64, Key)> + '_ {
        let payments = self.payments.iter().map(|payment| (payment.height, payment.to));
        let logs = self.logs.iter().map(|log| (log.height, log.movement.to));
        let internals = self.internals.iter().map(|internal| (internal.height, internal.inner.to));
        payments.chain(logs).chain(internals)
    }
}

/// Reads the blocks of these heights. `room` is the number of transfers that still fit; at least one block is read
/// unless `may_be_empty`. `blocks` are the blocks, if they were read already.
pub(crate) fn read<H: Host>(
    scan: &Scan<'_, H>,
    heights: RangeInclusive<u64>,
    room: usize,
    may_be_empty: bool,
    learned: &mut Learned,
    blocks: Option<Replies>,
) -> Result<Step, Fault> {
    let (ranges, has_tokens) = (logs::ranges(&heights, learned.log_range), !scan.tokens.0.is_empty());
    let block_calls = heights.clone().map(|height| block_call(height, scan.native.is_some()));
    let mut calls: Vec<Call> = block_calls.filter(|_| blocks.is_none()).collect();
    let logs_from = calls.len();
    let by_receipts = learned.logs_by_receipts();
    if has_tokens && by_receipts {
        calls.extend(heights.clone().map(receipts::call));
    } else if has_tokens {
        calls.extend(ranges.iter().map(|range| logs::call(&scan.tokens, range)));
    }
    let replies = rpc::send(scan.host, &calls, learned)?;
    let (mut headers, mut seen) = (Vec::new(), Seen::default());
    for (index, height) in heights.enumerate() {
        read_block(scan, blocks.as_ref().unwrap_or(&replies), index, height, &mut headers, &mut seen)?;
    }
    let mut found = logs::Found::default();
    if has_tokens && by_receipts {
        receipts::collect(scan, &replies, logs_from, &headers, learned, &mut found)?;
    } else if has_tokens {
        let log_range = learned.log_range;
        match logs::collect(scan, &replies, logs_from, &ranges, learned, &mut found)? {
            Ok(()) => {
                learned.logs_were(None);
                cross_check::settle(scan, &headers, &mut found, learned)?;
            }
            Err(refused) => {
                learned.log_range = log_range;
                found = receipts::instead_of_logs(scan, &headers, &refused, learned)?;
            }
        }
    }
    logs::check(&headers, &mut found)?;
    drop((replies, blocks));
    seen.logs = found.logs;
    let count = headers.len();
    seen.internals = traces::read(scan, &mut headers, &seen.txs, may_be_empty, learned)?;
    drop_unwatched(scan, &mut seen)?;
    cut(&mut headers, &seen, room, may_be_empty);
    let transfers = confirm(scan, &headers, seen, learned)?;
    Ok(Step { is_cut: headers.len() < count, headers, transfers })
}

pub(crate) fn block_call(height: u64, full: bool) -> Call {
    Call { method: "eth_getBlockByNumber", params: format!(r#""0x{height:x}",{full}"#) }
}

fn read_block<H: Host>(
    scan: &Scan<'_, H>,
    replies: &Replies,
    index: usize,
    height: u64,
    headers: &mut Vec<Header>,
    seen: &mut Seen,
) -> Result<(), Fault> {
    let what = format!("block {height}");
    let missing = || Fault::lags(format!("{what} is missing"));
    let header = if scan.native.is_some() {
        let block = replies.parse::<Option<BlockJson<'_, TxJson<'_>>>>(index, &what)?.ok_or_else(missing)?;
        for tx in &block.transactions {
            seen.payments.extend(payment(tx, height)?);
        }
        if scan.traces.is_some() {
            let hash = |tx: &TxJson<'_>| bytes(tx.hash.unwrap_or_default(), "transaction hash");
            seen.txs.push(block.transactions.iter().map(hash).collect::<Result<_, _>>()?);
        }
        Header::of(&block)?
    } else {
        let block = replies.parse::<Option<HeaderJson<'_>>>(index, &what)?.ok_or_else(missing)?;
        Header::of(&block)?
    };
    if header.height != height {
        return Err(Fault::malformed(format!("asked for {what}, got block {}", header.height)));
    }
    if headers.last().is_some_and(|below| below.hash != header.parent) {
        return Err(Fault::lags(format!("{what} is not the child of the one below")));
    }
    headers.push(header);
    Ok(())
}

/// The payment of a transaction that moves the native coin, or that carries nothing at all: a call of a contract
/// without value is no payment, but a plain zero-value transfer gets its outcome from the host.
///
/// What an account sends to itself was there before, and is no payment; but it may be a deposit from another layer, and
/// then what that brought was not.
fn payment(tx: &TxJson<'_>, height: u64) -> Result<Option<Payment>, Fault> {
    let to = match tx.to {
        Some(Some(to)) => to,
        None if tx.has_recipient() && tx.amount()? != Some(0) => {
            return Err(Fault::malformed("a transaction with a value and without a recipient"));
        }
        _ => return Ok(None),
    };
    let mut amount = tx.amount()?;
    if amount == Some(0) && tx.input != Some("0x") {
        return Ok(None);
    }
    let from = bytes(tx.from.unwrap_or_default(), "transaction's from")?;
    let to = bytes(to, "transaction's to")?;
    if from == to {
        amount = tx.minted()?;
        if amount == Some(0) {
            return Ok(None);
        }
    }
    let tx = bytes(tx.hash.unwrap_or_default(), "transaction hash")?;
    Ok(Some(Payment { height, tx, from, to, amount }))
}

fn drop_unwatched<H: Host>(scan: &Scan<'_, H>, seen: &mut Seen) -> Result<(), Fault> {
    let keys: Vec<Key> = seen.recipients().map(|(_, key)| key).collect();
    let mut watched = HashSet::new();
    for keys in keys.chunks(KEYS_MAX) {
        let indexes = scan.host.watched(keys.as_flattened())?;
        let key = |index: u32| usize::try_from(index).ok().and_then(|index| keys.get(index));
        watched.extend(indexes.into_iter().filter_map(key).copied());
    }
    seen.payments.retain(|payment| watched.contains(&payment.to));
    seen.logs.retain(|log| watched.contains(&log.movement.to));
    seen.internals.retain(|internal| watched.contains(&internal.inner.to));
    Ok(())
}

/// Cuts the step after the last block whose transfers still fit. Not all of them may be confirmed; that they might be
/// is reason enough to leave the rest to the next scan.
fn cut(headers: &mut Vec<Header>, seen: &Seen, room: usize, may_be_empty: bool) {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for (height, _) in seen.recipients() {
        let count = counts.entry(height).or_default();
        *count = count.saturating_add(1);
    }
    let mut total = 0usize;
    let fitting = headers
        .iter()
        .take_while(|header| {
            total = total.saturating_add(counts.get(&header.height).copied().unwrap_or(0));
            total <= room
        })
        .count();
    headers.truncate(if may_be_empty { fitting } else { fitting.max(1) });
}

/// The transfers of the remaining blocks, each confirmed by the receipt of its transaction.
fn confirm<H: Host>(
    scan: &Scan<'_, H>,
    headers: &[Header],
    seen: Seen,
    learned: &mut Learned,
) -> Result<Vec<Transfer>, Fault> {
    let kept: HashMap<u64, &Header> = headers.iter().map(|header| (header.height, header)).collect();
    // By height first, which is the order in which the host reads them.
    let mut candidates: BTreeMap<(u64, Hash), Candidate> = BTreeMap::new();
    let Seen { payments, logs, internals, .. } = seen;
    for payment in payments.into_iter().filter(|payment| kept.contains_key(&payment.height)) {
        let candidate = candidates.entry((payment.height, payment.tx)).or_default();
        candidate.payment = Some(payment);
    }
    for log in logs.into_iter().filter(|log| kept.contains_key(&log.height)) {
        candidates.entry((log.height, log.tx)).or_default().moves.push(log.movement);
    }
    for internal in internals.into_iter().filter(|internal| kept.contains_key(&internal.height)) {
        candidates.entry((internal.height, internal.tx)).or_default().internals.push(internal);
    }
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let receipt = |(_, tx): &(u64, Hash)| Call {
        method: "eth_getTransactionReceipt",
        params: format!(r#""{}""#, hex::text(tx)),
    };
    let calls: Vec<Call> = candidates.keys().map(receipt).collect();
    let replies = rpc::send(scan.host, &calls, learned)?;
    let (mut transfers, mut failed) = (Vec::new(), Vec::new());
    for (index, ((height, tx), candidate)) in candidates.iter().enumerate() {
        let receipt = replies
            .parse::<Option<ReceiptJson<'_>>>(index, "receipt")?
            .ok_or_else(|| Fault::lags("a receipt is missing"))?;
        if bytes::<32>(receipt.transaction_hash, "receipt's transaction")? != *tx {
            return Err(Fault::malformed("the receipt of another transaction"));
        }
        let block = bytes::<32>(receipt.block_hash, "receipt's block")?;
        let header = kept.get(height).filter(|header| header.hash == block);
        let header = header.ok_or_else(|| Fault::lags("a receipt names another block"))?;
        transfers.extend(confirmed(scan, &receipt, candidate, *height, tx)?);
        if !candidate.moves.is_empty() && !receipt.has_succeeded()? {
            failed.push((*header, *tx));
        }
    }
    cross_check::failures(scan, &failed, learned)?;
    Ok(transfers)
}

/// The transfers of one transaction. Ordinals: the payment itself is 0, a log is 1 plus its index among all logs of the
/// transaction, an internal transfer is [`traces::INTERNAL`] plus its index among all of them. Each is the same in
/// whatever block the transaction ends up, and whether or not the others are read. A failed transaction has no
/// transfers, even on a chain where it leaves logs behind; but its logs have to be those that were found.
fn confirmed<H: Host>(
    scan: &Scan<'_, H>,
    receipt: &ReceiptJson<'_>,
    candidate: &Candidate,
    height: u64,
    tx: &Hash,
) -> Result<Vec<Transfer>, Fault> {
    let has_succeeded = receipt.has_succeeded()?;
    let transfer = |ordinal: u32, asset: u32, from: &Key, to: &Key, amount: Option<u128>| Transfer {
        tx: hex::text(tx),
        ordinal,
        asset,
        sender: Some(show(from)),
        recipient: show(to),
        amount: amount.map(Into::into),
        memo: Memo::None,
        height,
        more: Vec::new(),
    };
    let mut transfers = Vec::new();
    if let (Some(payment), Some(native), true) = (&candidate.payment, scan.native, has_succeeded) {
        transfers.push(transfer(0, native, &payment.from, &payment.to, payment.amount));
    }
    if let (Some(native), false) = (scan.native, candidate.internals.is_empty()) {
        if !has_succeeded {
            return Err(Fault::lags("a receipt contradicts the traces"));
        }
        transfers.extend(candidate.internals.iter().map(|Internal { ordinal, inner, .. }| {
            transfer(*ordinal, native, &inner.from, &inner.to, Some(inner.amount))
        }));
    }
    if candidate.moves.is_empty() {
        return Ok(transfers);
    }
    let watched: HashSet<Key> = candidate.moves.iter().map(|movement| movement.to).collect();
    let mut moves = Vec::new();
    for (ordinal, log) in (1u32..).zip(&receipt.logs) {
        let Some(movement) = scan.tokens.movement(log)? else { continue };
        if watched.contains(&movement.to) {
            transfers.push(transfer(ordinal, movement.asset, &movement.from, &movement.to, movement.amount));
            moves.push(movement);
        }
    }
    if moves != candidate.moves {
        return Err(Fault::lags("a receipt contradicts the logs"));
    }
    Ok(if has_succeeded { transfers } else { Vec::new() })
}
