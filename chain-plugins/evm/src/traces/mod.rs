//! Native coin that code moves inside of a transaction, from traces of what the code did.
//!
//! Such a movement leaves neither a log nor a transaction to its recipient. A node that runs the block again can
//! tell it, in one of two dialects: `callTracer` of the `debug` methods ([`debug`]), or the list of calls that came
//! from Parity ([`parity`]). Both are read to the same movements in the same order, so that a network may change
//! from one to the other, or read a range again, without a movement becoming another one.
//!
//! # What a trace may weigh
//!
//! Anyone can write code whose trace is a thousand times as long as what it cost: every call repeats its input. So
//! a block is asked for by itself, one request at a time, beside a small one: the host lets each of the requests
//! that are under way have its share of the bytes that are left, and so the answer is half of them at the most and
//! fits into the plugin's memory. Where a block is too much, its transactions are asked for in ever smaller
//! pieces; one that is too much by itself is passed over with a line in the log. Its internal transfers are not
//! seen, as without traces, but it cannot stop the network.
//!
//! What a provider fails to trace for whatever other reason is waited for, on whichever upstream the host picks,
//! until the chain has gone on for [`PATIENCE_S`]; then it is passed over as well.

mod debug;
mod parity;

use crate::fault::{Fault, RpcError};
use crate::hex::{self, Hash, Key};
use crate::host::Host;
use crate::learned::Learned;
use crate::rpc::{self, Call};
use crate::scan::Scan;
use crate::settings::Dialect;
use crate::wire::{Header, bytes};
use kassa_sdk::chain::ScanError;
use std::collections::VecDeque;
use std::ops::Range;

/// First ordinal of internal transfers, beyond those of any number of logs. So neither shifts the other.
pub(crate) const INTERNAL: u32 = 1 << 31;

/// Time by which the chain moves on while a block that cannot be traced is waited for, seconds.
const PATIENCE_S: u32 = 600;

/// Maximum number of requests for pieces of one block, and maximum time that they take together, milliseconds: the rest
/// of a call's minute has to be enough for everything else.
const PIECES_MAX: u32 = 32;
const PIECES_MS_MAX: u64 = 15_000;

/// Maximum depth of nested frames. The EVM allows 1,024 calls below the transaction's own.
const DEPTH_MAX: usize = 1_100;

/// Maximum number of movements in one block. A transfer of value costs at least 6,700 gas, and no block has the gas for
/// more.
const MOVES_MAX: usize = 200_000;

/// Maximum number of transactions that one line of the log names.
const NAMED_MAX: usize = 5;

/// One movement by code, to another account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    pub(crate) from: Key,
    pub(crate) to: Key,
    pub(crate) amount: u128,
}

/// The same with its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Internal {
    pub(crate) height: u64,
    pub(crate) tx: Hash,
    pub(crate) ordinal: u32,
    pub(crate) inner: Inner,
}

/// A block with the hashes of its transactions.
#[derive(Clone, Copy)]
struct Block<'a> {
    dialect: Dialect,
    header: &'a Header,
    txs: &'a [Hash],
}

/// The movements of each transaction in a list, or the reason that the node could not trace one of them.
type Read = Result<Vec<Vec<Inner>>, String>;

/// Reads traces as far as possible. Blocks with which it gets no further are cut off, so that the failure comes again
/// when the first of them is the first one. That one is read completely unless the step `may_be_empty`.
pub(crate) fn read<H: Host>(
    scan: &Scan<'_, H>,
    headers: &mut Vec<Header>,
    txs: &[Vec<Hash>],
    may_be_empty: bool,
    learned: &mut Learned,
) -> Result<Vec<Internal>, Fault> {
    let mut found = Vec::new();
    let Some(dialect) = scan.traces else { return Ok(found) };
    for (index, (header, txs)) in headers.iter().zip(txs).enumerate() {
        let block = Block { dialect, header, txs };
        let is_first = index == 0 && !may_be_empty;
        match of_block(scan, block, is_first, learned) {
            Ok(moves) => add(block, moves, &mut found),
            Err(fault) if is_first => return Err(fault),
            Err(fault) => {
                if !may_be_empty && matches!(fault, Fault::Budget(_)) {
                    learned.blocks = learned.blocks.min(u64::try_from(index).unwrap_or(u64::MAX)).max(1);
                }
                headers.truncate(index);
                break;
            }
        }
    }
    Ok(found)
}

fn add(block: Block<'_>, moves: Vec<Vec<Inner>>, found: &mut Vec<Internal>) {
    for (tx, moves) in block.txs.iter().zip(moves) {
        found.extend((INTERNAL..).zip(moves).map(|(ordinal, inner)| Internal {
            height: block.header.height,
            tx: *tx,
            ordinal,
            inner,
        }));
    }
}

fn of_block<H: Host>(
    scan: &Scan<'_, H>,
    block: Block<'_>,
    is_first: bool,
    learned: &mut Learned,
) -> Result<Vec<Vec<Inner>>, Fault> {
    if block.txs.is_empty() {
        return Ok(Vec::new());
    }
    let call = block.call();
    let why = match rpc::send_beside(scan.host, std::slice::from_ref(&call)) {
        Ok(Ok(replies)) => match replies.get(0) {
            Ok(json) => match block.read(json)? {
                Ok(moves) => return checked(moves),
                Err(why) => why,
            },
            Err(error) => refused(&call, error)?,
        },
        Ok(Err(error)) => refused(&call, &error)?,
        // An earlier step used the budget; in a call of its own the block has the whole budget.
        Err(fault) if !is_first => return Err(fault),
        Err(Fault::Budget(why)) => why,
        Err(Fault::Scan(ScanError::Upstream(why))) => {
            be_patient(scan, block, &why, learned)?;
            why
        }
        Err(fault) => return Err(fault),
    };
    if !is_first {
        return Err(Fault::upstream(why));
    }
    Pieces::new(scan, block, learned).read(learned)
}

/// The reason that a call was refused, if it may succeed with less. Errors if it cannot.
fn refused(call: &Call, error: &RpcError) -> Result<String, Fault> {
    let method = call.method;
    if error.is_unsupported() {
        let message = &error.message;
        let why = format!("{method}: {message}; take `traces` out of the settings, or another provider");
        return Err(Fault::upstream(why));
    }
    if error.is_not_found() && !error.is_forgotten() {
        return Err(Fault::lags(format!("{method} misses a block")));
    }
    Ok(format!("{method}: {} ({})", error.message, error.code))
}

/// Errors as long as waiting may help.
fn be_patient<H: Host>(
    scan: &Scan<'_, H>,
    block: Block<'_>,
    why: &str,
    learned: &mut Learned,
) -> Result<(), Fault> {
    // If the stored time is ahead of the head's, it is replaced.
    if learned.waits_since_s == 0 || learned.waits_since_s > scan.head_s {
        learned.waits_since_s = scan.head_s;
    }
    if scan.head_s.saturating_sub(learned.waits_since_s) >= PATIENCE_S {
        return Ok(());
    }
    Err(Fault::upstream(format!("block {} cannot be traced: {why}", block.header.height)))
}

fn checked(moves: Vec<Vec<Inner>>) -> Result<Vec<Vec<Inner>>, Fault> {
    match moves.iter().map(Vec::len).sum::<usize>() {
        0..=MOVES_MAX => Ok(moves),
        count => Err(Fault::malformed(format!("{count} internal transfers in one block"))),
    }
}

/// Reads a block that is too much at once, transaction by transaction if necessary.
struct Pieces<'s, 'h, 'b, H> {
    scan: &'s Scan<'h, H>,
    block: Block<'b>,
    open: VecDeque<Range<usize>>,
    moves: Vec<Vec<Inner>>,
    /// Transactions that are too much even by themselves.
    heavy: Vec<usize>,
    /// Transactions that failed or were not reached; and the first reason.
    failed: Vec<usize>,
    why: Option<String>,
}

impl<'s, 'h, 'b, H: Host> Pieces<'s, 'h, 'b, H> {
    fn new(scan: &'s Scan<'h, H>, block: Block<'b>, learned: &Learned) -> Self {
        let count = block.txs.len();
        let size = (count / 4).clamp(1, learned.batch());
        Self {
            scan,
            block,
            open: rpc::split(0..count, size).collect(),
            moves: vec![Vec::new(); count],
            heavy: Vec::new(),
            failed: Vec::new(),
            why: None,
        }
    }

    fn read(mut self, learned: &mut Learned) -> Result<Vec<Vec<Inner>>, Fault> {
        let began_ms = self.scan.host.now_ms();
        for _ in 0..PIECES_MAX {
            let Some(range) = self.open.pop_front() else { break };
            self.ask(range)?;
            if self.scan.host.now_ms().saturating_sub(began_ms) > PIECES_MS_MAX {
                break;
            }
        }
        if !self.open.is_empty() {
            self.why.get_or_insert_with(|| "there is more than one call can read".into());
            self.failed.extend(self.open.drain(..).flatten());
        }
        let Self { scan, block, moves, heavy, failed, why, .. } = self;
        if let Some(why) = why {
            be_patient(scan, block, &why, learned)?;
            pass_over(scan, block, &failed, &why);
        }
        if !heavy.is_empty() {
            pass_over(scan, block, &heavy, "larger than plugins.http_bytes_max allows for");
        }
        checked(moves)
    }

    fn ask(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let txs = self.block.txs.get(range.clone()).unwrap_or_default();
        let calls: Vec<Call> = txs.iter().map(|tx| self.block.tx_call(tx)).collect();
        let replies = match rpc::send_beside(self.scan.host, &calls) {
            Ok(Ok(replies)) => replies,
            Err(Fault::Budget(_)) if range.len() == 1 => {
                self.heavy.extend(range);
                return Ok(());
            }
            Ok(Err(_)) | Err(Fault::Budget(_)) if range.len() > 1 => {
                let half = range.len().div_ceil(2);
                rpc::split(range, half).collect::<Vec<_>>().into_iter().rev().for_each(|half| {
                    self.open.push_front(half);
                });
                return Ok(());
            }
            Ok(Err(error)) => return self.fail(range, calls.first(), &error),
            Err(Fault::Scan(ScanError::Upstream(why))) => {
                self.why.get_or_insert(why);
                self.failed.extend(range);
                // A provider that does not answer is not asked thirty times.
                self.failed.extend(self.open.drain(..).flatten());
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        for (index, (at, tx)) in range.zip(txs).enumerate() {
            match replies.get(index) {
                Ok(json) => {
                    let moves = self.block.read_tx(json, tx)?;
                    if let Some(slot) = self.moves.get_mut(at) {
                        *slot = moves;
                    }
                }
                Err(error) => self.fail(at..at.saturating_add(1), calls.get(index), error)?,
            }
        }
        Ok(())
    }

    fn fail(&mut self, range: Range<usize>, call: Option<&Call>, error: &RpcError) -> Result<(), Fault> {
        let Some(call) = call else { return Ok(()) };
        let why = refused(call, error)?;
        self.why.get_or_insert(why);
        self.failed.extend(range);
        Ok(())
    }
}

fn pass_over<H: Host>(scan: &Scan<'_, H>, block: Block<'_>, indexes: &[usize], why: &str) {
    let named = indexes.iter().take(NAMED_MAX).filter_map(|index| block.txs.get(*index));
    let named: Vec<String> = named.map(|tx| hex::text(tx)).collect();
    let (height, count, named) = (block.header.height, indexes.len(), named.join(", "));
    scan.host.warn(&format!(
        "block {height}: internal transfers of {count} transactions are not seen, as their traces could not be \
         read: {why} ({named})"
    ));
}

impl Block<'_> {
    fn call(&self) -> Call {
        match self.dialect {
            Dialect::Debug => debug::block_call(self.header),
            Dialect::Parity => parity::block_call(self.header),
        }
    }

    fn tx_call(&self, tx: &Hash) -> Call {
        match self.dialect {
            Dialect::Debug => debug::tx_call(tx),
            Dialect::Parity => parity::tx_call(tx),
        }
    }

    fn read(&self, json: &str) -> Result<Read, Fault> {
        match self.dialect {
            Dialect::Debug => debug::read_block(json, self.txs),
            Dialect::Parity => parity::read_block(json, self.header, self.txs).map(Ok),
        }
    }

    fn read_tx(&self, json: &str, tx: &Hash) -> Result<Vec<Inner>, Fault> {
        match self.dialect {
            Dialect::Debug => debug::read_tx(json),
            Dialect::Parity => parity::read_tx(json, self.header, tx),
        }
    }
}

/// A movement of an amount from one account to another. `None` if nothing moves, or only from an account to itself.
fn moved(from: Option<&str>, to: Option<&str>, value: Option<&str>) -> Result<Option<Inner>, Fault> {
    let value = value.and_then(hex::big_quantity).flatten();
    let amount = value.ok_or_else(|| Fault::malformed("a trace's value is not an amount"))?;
    if amount == 0 {
        return Ok(None);
    }
    let from: Key = bytes(from.unwrap_or_default(), "a trace's from")?;
    let to: Key = bytes(to.unwrap_or_default(), "a trace's to")?;
    Ok((from != to).then_some(Inner { from, to, amount }))
}
