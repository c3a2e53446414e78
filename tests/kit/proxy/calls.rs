//! The calls of a request.

use serde_json::Value;

use crate::anvil::number;

/// First and last block of a call that asks for logs.
pub(super) fn range(call: &Value) -> Option<(u64, u64)> {
    let filter = call["params"].get(0)?;
    Some((number(filter.get("fromBlock")?), number(filter.get("toBlock")?)))
}

/// The calls of a request. `None` if it is not JSON-RPC.
pub(super) fn calls(body: &[u8]) -> Option<Vec<Value>> {
    let asked: Value = serde_json::from_slice(body).ok()?;
    let calls = asked.as_array().cloned().unwrap_or_else(|| vec![asked]);
    (!calls.is_empty() && calls.iter().all(|call| call.get("jsonrpc").is_some())).then_some(calls)
}

pub(super) fn method(call: &Value) -> &str {
    call["method"].as_str().unwrap_or("?")
}
