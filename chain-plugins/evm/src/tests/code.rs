//! Code of a transaction, as a test writes it and as nodes tell it in both dialects.

use super::txs::{PAYER, Tx};
use crate::hex::{self, Hash, Key};
use serde_json::{Value, json};

/// A call and the calls that it made.
#[derive(Clone)]
pub(super) struct Code {
    /// Name of the kind, as Geth writes it.
    pub(super) kind: &'static str,
    pub(super) from: Key,
    pub(super) to: Key,
    pub(super) wei: u128,
    pub(super) has_failed: bool,
    pub(super) calls: Vec<Code>,
}

pub(super) fn code(kind: &'static str, from: Key, to: Key, wei: u128, calls: Vec<Code>) -> Code {
    Code { kind, from, to, wei, has_failed: false, calls }
}

pub(super) fn failed(code: Code) -> Code {
    Code { has_failed: true, ..code }
}

/// A transaction of a block and its trace.
pub(super) struct Traced<'a> {
    pub(super) block: Hash,
    pub(super) height: u64,
    pub(super) hash: Hash,
    pub(super) index: usize,
    pub(super) tx: &'a Tx,
}

impl Traced<'_> {
    fn root(&self) -> Code {
        let Tx { to, value, ok, inside, .. } = self.tx;
        let kind = if to.is_some() { "CALL" } else { "CREATE" };
        let wei = hex::big_quantity(value).flatten().unwrap_or_default();
        // The address of contracts that tests create.
        let to = to.unwrap_or(super::txs::SHOP);
        Code { kind, from: PAYER, to, wei, has_failed: !ok, calls: inside.clone() }
    }

    /// Geth's form: a call with its calls inside.
    pub(super) fn frame(&self) -> Value {
        frame(&self.root())
    }

    /// Parity's form: each call with its path.
    pub(super) fn list(&self) -> Vec<Value> {
        let mut out = Vec::new();
        list(&self.root(), &[], &mut out);
        for trace in &mut out {
            trace["blockHash"] = json!(hex::text(&self.block));
            trace["blockNumber"] = json!(self.height);
            trace["transactionHash"] = json!(hex::text(&self.hash));
            trace["transactionPosition"] = json!(self.index);
        }
        out
    }

    /// The reward of a block, which belongs to no transaction.
    pub(super) fn reward(block: Hash, height: u64) -> Value {
        json!({
            "action": {"author": hex::text(&super::txs::SHOP), "rewardType": "block", "value": "0x7"},
            "blockHash": hex::text(&block), "blockNumber": height, "result": null, "subtraces": 0,
            "traceAddress": [], "transactionHash": null, "transactionPosition": null, "type": "reward",
        })
    }
}

fn frame(code: &Code) -> Value {
    let mut frame = json!({
        "from": hex::text(&code.from), "to": hex::text(&code.to), "gas": "0x5208", "gasUsed": "0x1",
        "input": "0xa9059cbb\u{1F4A5}", "output": "0x", "type": code.kind,
    });
    if code.kind != "STATICCALL" {
        frame["value"] = json!(format!("0x{:x}", code.wei));
    }
    if code.has_failed {
        frame["error"] = json!("execution reverted");
        frame["revertReason"] = json!("\"}],\\ as a payer likes");
    }
    if !code.calls.is_empty() {
        frame["calls"] = code.calls.iter().map(frame_of).collect();
    }
    frame
}

fn frame_of(code: &Code) -> Value {
    frame(code)
}

fn list(code: &Code, path: &[u32], out: &mut Vec<Value>) {
    let (from, to, value) = (hex::text(&code.from), hex::text(&code.to), format!("0x{:x}", code.wei));
    let kind = code.kind.to_lowercase();
    let mut trace = match kind.as_str() {
        "create" | "create2" => json!({
            "action": {"from": from, "gas": "0x1", "init": "0x60", "value": value},
            "result": {"address": to, "code": "0x", "gasUsed": "0x1"}, "type": "create",
        }),
        "selfdestruct" => json!({
            "action": {"address": from, "refundAddress": to, "balance": value}, "result": null, "type": "suicide",
        }),
        kind => json!({
            "action": {"callType": kind, "from": from, "to": to, "value": value, "gas": "0x1", "input": "0x"},
            "result": {"gasUsed": "0x1", "output": "0x"}, "type": "call",
        }),
    };
    trace["subtraces"] = json!(code.calls.len());
    trace["traceAddress"] = json!(path);
    if code.has_failed {
        trace["error"] = json!("Reverted");
        trace["result"] = Value::Null;
    }
    out.push(trace);
    let calls = (0..).zip(&code.calls).map(|(index, call)| ([path, &[index]].concat(), call));
    // Some clients list what a contract sends as it ends before what it called.
    let (ends, others): (Vec<_>, Vec<_>) = calls.partition(|(_, call)| call.kind == "SELFDESTRUCT");
    for (path, call) in ends.into_iter().chain(others) {
        list(call, &path, out);
    }
}
