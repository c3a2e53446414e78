//! The list of calls that came from Parity and that Erigon, Nethermind, Reth and others give: each call of a block
//! by itself, with the path of indexes that leads to it (<https://openethereum.github.io/JSONRPC-trace-module>).
//!
//! Clients differ in where they put what a contract sends as it ends, so the calls of a transaction are put in the
//! order of their paths, which is that in which the calls began.

use super::{DEPTH_MAX, Inner, moved};
use crate::fault::Fault;
use crate::hex::{self, Hash};
use crate::rpc::{self, Call};
use crate::wire::{Header, bytes};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Asks by the height, as clients have it; every trace names its block.
pub(super) fn block_call(header: &Header) -> Call {
    Call { method: "trace_block", params: format!(r#""0x{:x}""#, header.height) }
}

pub(super) fn tx_call(tx: &Hash) -> Call {
    Call { method: "trace_transaction", params: format!(r#""{}""#, hex::text(tx)) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceJson<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    action: ActionJson<'a>,
    #[serde(borrow)]
    result: Option<ResultJson<'a>>,
    /// Error of the call. What was done inside a failed call is undone with it, though it has no error of its own.
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    trace_address: Vec<u32>,
    block_hash: &'a str,
    #[serde(borrow)]
    transaction_hash: Option<&'a str>,
}

/// The fields of all kinds of action.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionJson<'a> {
    #[serde(borrow)]
    call_type: Option<&'a str>,
    #[serde(borrow)]
    from: Option<&'a str>,
    #[serde(borrow)]
    to: Option<&'a str>,
    #[serde(borrow)]
    value: Option<&'a str>,
    /// Fields of a contract that ends: its address, the recipient of its balance, and the balance.
    #[serde(borrow)]
    address: Option<&'a str>,
    #[serde(borrow)]
    refund_address: Option<&'a str>,
    #[serde(borrow)]
    balance: Option<&'a str>,
}

#[derive(Deserialize)]
struct ResultJson<'a> {
    /// Address of a contract that was created.
    #[serde(borrow)]
    address: Option<&'a str>,
}

/// A call of one transaction, and the movement that it made itself.
struct Traced {
    path: Vec<u32>,
    has_failed: bool,
    moved: Option<Inner>,
}

/// Reads the traces of a block, which are those of its transactions, in their order.
pub(super) fn read_block(json: &str, header: &Header, txs: &[Hash]) -> Result<Vec<Vec<Inner>>, Fault> {
    let traces = list(json)?;
    let mut moves = Vec::with_capacity(txs.len());
    let mut rest = traces.as_slice();
    for tx in txs {
        let mut of_tx = Vec::new();
        while let Some((json, after)) = rest.split_first() {
            let trace: TraceJson<'_> = rpc::parse(json.get(), "a trace")?;
            if trace.is_of(header, tx)? {
                of_tx.push(trace.read()?);
            } else if trace.transaction_hash.is_some() {
                break;
            }
            rest = after;
        }
        moves.push(in_order(of_tx)?);
    }
    for json in rest {
        let trace: TraceJson<'_> = rpc::parse(json.get(), "a trace")?;
        if trace.transaction_hash.is_some() {
            return Err(Fault::malformed("a trace of another transaction than the block has there"));
        }
    }
    Ok(moves)
}

pub(super) fn read_tx(json: &str, header: &Header, tx: &Hash) -> Result<Vec<Inner>, Fault> {
    let mut of_tx = Vec::new();
    for json in list(json)? {
        let trace: TraceJson<'_> = rpc::parse(json.get(), "a trace")?;
        if !trace.is_of(header, tx)? {
            return Err(Fault::malformed("a trace of another transaction than was asked for"));
        }
        of_tx.push(trace.read()?);
    }
    in_order(of_tx)
}

fn list(json: &str) -> Result<Vec<&RawValue>, Fault> {
    let traces: Option<Vec<&RawValue>> = rpc::parse(json, "traces")?;
    traces.filter(|traces| !traces.is_empty()).ok_or_else(|| Fault::lags("traces of a block are missing"))
}

impl TraceJson<'_> {
    /// True if it is of this transaction. Rewards of a block are of none. Errors if it is of another block.
    fn is_of(&self, header: &Header, tx: &Hash) -> Result<bool, Fault> {
        if bytes::<32>(self.block_hash, "a trace's block")? != header.hash {
            return Err(Fault::lags("a trace of another block"));
        }
        match self.transaction_hash {
            Some(hash) => Ok(bytes::<32>(hash, "a trace's transaction")? == *tx),
            None if self.kind == "reward" => Ok(false),
            None => Err(Fault::malformed("a trace of no transaction")),
        }
    }

    fn read(self) -> Result<Traced, Fault> {
        let has_failed = self.error.as_ref().is_some_and(|why| !why.is_empty());
        let moved = if has_failed { None } else { self.moved()? };
        if self.trace_address.len() >= DEPTH_MAX {
            return Err(Fault::malformed("a trace is deeper than calls can be"));
        }
        Ok(Traced { path: self.trace_address, has_failed, moved })
    }

    fn moved(&self) -> Result<Option<Inner>, Fault> {
        let ActionJson { call_type, from, to, value, address, refund_address, balance } = self.action;
        match (self.kind, call_type) {
            // What the transaction itself carries is no internal transfer; if it makes a contract, it has no
            // recipient that the block would tell.
            ("call", Some("call" | "extcall")) if self.trace_address.is_empty() => Ok(None),
            ("call", Some("call" | "extcall")) => moved(from, to, value),
            // Others' code on one's own behalf, or without the right to move anything.
            (
                "call",
                Some("delegatecall" | "staticcall" | "callcode" | "extdelegatecall" | "extstaticcall"),
            ) => Ok(None),
            ("create", _) => moved(from, self.result.as_ref().and_then(|result| result.address), value),
            ("suicide" | "selfdestruct", _) => moved(address, refund_address, balance),
            (kind, call) => Err(Fault::malformed(format!("a trace of the unknown type {kind:?} {call:?}"))),
        }
    }
}

/// The movements of a transaction in the order of its calls, without those of calls that failed.
fn in_order(mut traces: Vec<Traced>) -> Result<Vec<Inner>, Fault> {
    traces.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    if traces.first().is_none_or(|root| !root.path.is_empty()) {
        return Err(Fault::malformed("a transaction without its traces"));
    }
    if traces.array_windows().any(|[one, other]| one.path == other.path) {
        return Err(Fault::malformed("the same trace twice"));
    }
    let mut failed: Option<&[u32]> = None;
    let mut moves = Vec::new();
    for trace in &traces {
        if failed.is_some_and(|failed| trace.path.starts_with(failed)) {
            continue;
        }
        failed = trace.has_failed.then_some(trace.path.as_slice());
        moves.extend(trace.moved);
    }
    Ok(moves)
}
