//! The block of a transaction, and the transactions that it caused.
//!
//! The id that a payer has is mostly not the one that Kassa reports: a payment is a transaction of the payer's wallet,
//! which sends a message, which is a transaction of the receiver's account (with jettons, of two accounts on the way).
//! All of them are one trace, and a trace is found by any of its transactions, or by the message that began it.

use crate::address::{Hash, hex, unhex};
use crate::api;
use crate::base64;
use crate::blocks;
use crate::host::{Answer, Host, Request};
use crate::scan::Scan;
use crate::wire::TracesJson;
use kassa_sdk::finder::{FindError, Place};
use kassa_sdk::types::Network;
use kassa_sdk::upstream::{Fault, clean};

/// Maximum number of transactions that are named. A payment has six.
const LOCATIONS_MAX: usize = 64;

/// A transaction of the trace that is final.
struct FinalTx {
    hash: Hash,
    lt: u64,
    height: u64,
}

pub(crate) fn find<H: Host>(host: &H, network: &Network, tx: &str) -> Result<Vec<Place>, FindError> {
    let Some(hash) = hash_of(tx) else {
        let shape =
            "a transaction's hash is 64 hexadecimal digits, or 32 bytes in base64 (43 or 44 characters)";
        return Err(FindError::NotAnId(shape.into()));
    };
    let scan = Scan::new(host, network).map_err(|why| FindError::Settings(clean(&why)))?;
    Ok(locations(&scan, &hash)?)
}

fn locations<H: Host>(scan: &Scan<'_, H>, hash: &Hash) -> Result<Vec<Place>, Fault> {
    let request = |path: String| Request { path, body: None };
    let requests = [request("/masterchainInfo".into()), request(trace_path("tx_hash", hash))];
    let (mut head, mut found) = (None, Vec::new());
    api::each(scan, &requests, |index, answer| {
        match index {
            0 => head = Some(blocks::head_of(scan, answer)?.height),
            _ => found = trace(answer, Some(hash))?,
        }
        Ok(())
    })?;
    if found.is_empty() {
        let answer = api::get(scan, trace_path("msg_hash", hash))?;
        found = trace(&answer, None)?;
    }
    let head = head.unwrap_or(0);
    if let Some(above) = found.iter().find(|tx| tx.height > head) {
        return Err(Fault::lags(format!("a transaction in block {}, with the head at {head}", above.height)));
    }
    // The one that was asked for first; the others in the order in which they happened.
    found.sort_by_key(|tx| (tx.hash != *hash, tx.lt));
    let location = |tx: &FinalTx| Place { height: tx.height, tx: hex(&tx.hash), more: Vec::new() };
    Ok(found.iter().take(LOCATIONS_MAX).map(location).collect())
}

fn trace_path(by: &str, hash: &Hash) -> String {
    format!("/traces?{by}={}&include_actions=false&limit=1", hex(hash))
}

/// Reads the final transactions of the trace. Errors if `by`, the transaction that it was asked for by, is not in it.
fn trace(answer: &Answer, by: Option<&Hash>) -> Result<Vec<FinalTx>, Fault> {
    let traces = api::parse::<TracesJson<'_>>(answer, "traces")?.traces.unwrap_or_default();
    let [trace] = traces.as_slice() else {
        return if traces.is_empty() { Ok(Vec::new()) } else { Err(Fault::malformed("traces: several")) };
    };
    let mut holds_it = by.is_none();
    let mut found = Vec::new();
    for tx in trace.transactions.values() {
        let hash = tx.hash.hash("transaction's hash")?;
        holds_it |= by == Some(&hash);
        if let Some(height) = tx.height()? {
            found.push(FinalTx { hash, lt: tx.lt.u64("lt")?, height });
        }
    }
    if holds_it { Ok(found) } else { Err(Fault::malformed("the trace of another transaction")) }
}

/// Reads a hash as wallets and explorers write it: hexadecimal with or without `0x`, or base64 in either alphabet.
fn hash_of(text: &str) -> Option<Hash> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    unhex(digits).or_else(|| base64::hash(text))
}
