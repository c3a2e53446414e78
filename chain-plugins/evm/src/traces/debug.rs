//! `callTracer`, the dialect of Geth that most clients have: each transaction is a call with the calls that it made
//! inside (<https://geth.ethereum.org/docs/developers/evm-tracing/built-in-tracers#call-tracer>).
//!
//! They can lie in each other a thousand deep, further than a recursive reader goes, and be many megabytes: so the
//! text, which the JSON parser has checked, is walked through with a stack of its own, and nothing is kept of it
//! but the movements.

use super::{DEPTH_MAX, Inner, Read, moved};
use crate::fault::Fault;
use crate::hex::{self, Hash};
use crate::rpc::{self, Call};
use crate::wire::{Header, bytes};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Number of characters after the first letter of `null`.
const NULL_REST: usize = 3;

const TRACER: &str = r#"{"tracer":"callTracer"}"#;

/// Asks by the hash: a node that lacks the block has to say so.
pub(super) fn block_call(header: &Header) -> Call {
    let params = format!(r#""{}",{TRACER}"#, hex::text(&header.hash));
    Call { method: "debug_traceBlockByHash", params }
}

pub(super) fn tx_call(tx: &Hash) -> Call {
    Call { method: "debug_traceTransaction", params: format!(r#""{}",{TRACER}"#, hex::text(tx)) }
}

#[derive(Deserialize)]
struct TxJson<'a> {
    #[serde(rename = "txHash")]
    hash: &'a str,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
}

/// Reads the traces of a block, which are those of its transactions, in their order.
pub(super) fn read_block(json: &str, of: &[Hash]) -> Result<Read, Fault> {
    let txs: Vec<TxJson<'_>> = rpc::parse(json, "traces of a block")?;
    if txs.len() != of.len() {
        let (traces, txs) = (txs.len(), of.len());
        return Err(Fault::malformed(format!("traces of {traces} transactions for a block of {txs}")));
    }
    let mut moves = Vec::with_capacity(txs.len());
    for (json, tx) in txs.iter().zip(of) {
        if bytes::<32>(json.hash, "a trace's transaction")? != *tx {
            return Err(Fault::malformed("a trace of another transaction than the block has there"));
        }
        match (&json.error, json.result) {
            (Some(error), _) => return Ok(Err(format!("a transaction's trace: {error}"))),
            (None, Some(result)) => moves.push(read_tx(result.get())?),
            (None, None) => return Err(Fault::malformed("a trace with neither result nor error")),
        }
    }
    Ok(Ok(moves))
}

/// Reads the movements of one transaction. `json` is known to be valid JSON.
pub(super) fn read_tx(json: &str) -> Result<Vec<Inner>, Fault> {
    if json == "null" {
        return Err(Fault::lags("a transaction's trace is missing"));
    }
    let mut walk = Walk { json: json.as_bytes(), at: 0 };
    let mut reading = Reading::default();
    walk.one_of(b"{")?;
    reading.open()?;
    while !reading.stack.is_empty() {
        reading.step(&mut walk)?;
    }
    reading.moves.sort_unstable_by_key(|(index, _)| *index);
    Ok(reading.moves.into_iter().map(|(_, inner)| inner).collect())
}

/// A call that has not ended yet.
#[derive(Default)]
struct Frame<'a> {
    /// Index of its beginning among the calls of the transaction.
    index: u32,
    /// Number of movements before it.
    before: usize,
    is_in_calls: bool,
    has_failed: bool,
    kind: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    value: Option<&'a str>,
}

#[derive(Default)]
struct Reading<'a> {
    stack: Vec<Frame<'a>>,
    calls: u32,
    /// Movements with the indexes of their calls: a call's own fields may come after those of the calls inside.
    moves: Vec<(u32, Inner)>,
}

impl<'a> Reading<'a> {
    fn open(&mut self) -> Result<(), Fault> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Fault::malformed("a trace is deeper than calls can be"));
        }
        self.stack.push(Frame { index: self.calls, before: self.moves.len(), ..Frame::default() });
        self.calls = self.calls.saturating_add(1);
        Ok(())
    }

    /// Reads the next item of the innermost call: a field, a call inside, or its end.
    fn step(&mut self, walk: &mut Walk<'a>) -> Result<(), Fault> {
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        if frame.is_in_calls {
            return match walk.one_of(b"{,]")? {
                b'{' => self.open(),
                b']' => {
                    frame.is_in_calls = false;
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        match walk.one_of(b"\",}")? {
            b'}' => self.close(),
            b'"' => {
                let field = walk.text()?;
                walk.one_of(b":")?;
                match field {
                    "type" => frame.kind = walk.text_or_null()?,
                    "from" => frame.from = walk.text_or_null()?,
                    "to" => frame.to = walk.text_or_null()?,
                    "value" => frame.value = walk.text_or_null()?,
                    "error" => frame.has_failed |= walk.text_or_null()?.is_some_and(|why| !why.is_empty()),
                    "calls" => frame.is_in_calls = walk.list_or_null()?,
                    _ => walk.pass()?,
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the innermost call. If it failed, everything done inside it is undone.
    fn close(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        if frame.has_failed {
            self.moves.truncate(frame.before);
            return Ok(());
        }
        let is_moving = match frame.kind.unwrap_or_default() {
            // What the transaction itself carries is no internal transfer; if it makes a contract, it has no
            // recipient that the block would tell.
            "CALL" | "EXTCALL" => !self.stack.is_empty(),
            "CREATE" | "CREATE2" | "EOFCREATE" | "SELFDESTRUCT" => true,
            // Others' code on one's own behalf, or without the right to move anything.
            "DELEGATECALL" | "STATICCALL" | "CALLCODE" | "EXTDELEGATECALL" | "EXTSTATICCALL" => false,
            kind => return Err(Fault::malformed(format!("a trace of the unknown type {kind:?}"))),
        };
        if is_moving {
            let inner = moved(frame.from, frame.to, frame.value)?;
            self.moves.extend(inner.map(|inner| (frame.index, inner)));
        }
        Ok(())
    }
}

/// A position in JSON that is known to be well-formed, so that commas need not be counted.
struct Walk<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.json.get(self.at..)?;
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at = self.at.saturating_add(space);
        self.json.get(self.at).copied()
    }

    fn unreadable<T>() -> Result<T, Fault> {
        Err(Fault::malformed("a trace is not what a call looks like"))
    }

    /// Reads the next character. Errors if it is not one of these.
    fn one_of(&mut self, wanted: &[u8]) -> Result<u8, Fault> {
        let Some(byte) = self.peek().filter(|byte| wanted.contains(byte)) else { return Self::unreadable() };
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    /// Reads a text after its opening quote. Escapes are left as they are: no text that matters has any.
    fn text(&mut self) -> Result<&'a str, Fault> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let mut is_escaped = false;
        for (length, byte) in rest.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    self.at = self.at.saturating_add(length).saturating_add(1);
                    let text = rest.get(..length).and_then(|text| std::str::from_utf8(text).ok());
                    return text.map_or_else(Self::unreadable, Ok);
                }
                _ => {}
            }
        }
        Self::unreadable()
    }

    fn text_or_null(&mut self) -> Result<Option<&'a str>, Fault> {
        match self.one_of(b"\"n")? {
            b'"' => self.text().map(Some),
            _ => {
                self.at = self.at.saturating_add(NULL_REST);
                Ok(None)
            }
        }
    }

    /// Reads the beginning of a list, or `null`. Returns true if a list begins.
    fn list_or_null(&mut self) -> Result<bool, Fault> {
        match self.one_of(b"[n")? {
            b'[' => Ok(true),
            _ => {
                self.at = self.at.saturating_add(NULL_REST);
                Ok(false)
            }
        }
    }

    /// Skips a value of any kind.
    fn pass(&mut self) -> Result<(), Fault> {
        let mut depth = 0usize;
        loop {
            let Some(byte) = self.peek() else { return Self::unreadable() };
            match byte {
                b'"' => {
                    self.at = self.at.saturating_add(1);
                    self.text()?;
                }
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    self.at = self.at.saturating_add(1);
                    continue;
                }
                b'}' | b']' | b',' | b':' if depth > 0 => {
                    depth = depth.saturating_sub(usize::from(matches!(byte, b'}' | b']')));
                    self.at = self.at.saturating_add(1);
                    if matches!(byte, b',' | b':') {
                        continue;
                    }
                }
                b'}' | b']' | b',' | b':' => return Self::unreadable(),
                // A number, or one of the words.
                _ => {
                    let rest = self.json.get(self.at..).unwrap_or_default();
                    let is_part =
                        |byte: &&u8| !matches!(byte, b'}' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t');
                    self.at = self.at.saturating_add(rest.iter().take_while(is_part).count().max(1));
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OTHER: &str = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn call(wei: u128, more: &str) -> String {
        format!(r#"{{"from":"{OTHER}","to":"{SHOP}","value":"0x{wei:x}","type":"CALL"{more}}}"#)
    }

    fn amounts(json: &str) -> Result<Vec<u128>, Fault> {
        assert!(serde_json::from_str::<&RawValue>(json).is_ok(), "{json:.200}");
        read_tx(json).map(|moves| moves.into_iter().map(|inner| inner.amount).collect())
    }

    #[test]
    fn fields_may_stand_in_any_order() {
        let calls = format!(r#""calls":[{}, {}]"#, call(2, ""), call(3, ""));
        let outer = format!(r#"{{{calls},"type":"CALL","value":"0x1","from":"{OTHER}","to":"{SHOP}"}}"#);
        let json = format!(" {{ \"calls\" : [\n{outer} ] ,\t\"type\":\"CALL\" }} ");
        assert_eq!(amounts(&json).unwrap(), [1, 2, 3]);
        // The end of an outer call is known last, and takes all with it.
        let undone = outer.replace(r#""type""#, r#""error":"out of gas","type""#);
        let json = format!(r#"{{"calls":[{},{undone},{}],"type":"CALL"}}"#, call(7, ""), call(8, ""));
        assert_eq!(amounts(&json).unwrap(), [7, 8]);
        let json = format!(r#"{{"calls":[{undone}],"type":"CALL","error":""}}"#);
        assert_eq!(amounts(&json).unwrap(), [0u128; 0]);
    }

    #[test]
    fn what_is_not_read_may_be_anything() {
        for other in [
            r#""output":"\"}]},{\\""#,
            r#""logs":[{"data":"]","topics":[[],{}]},[1,-2.5e3,true,null,{"calls":[{}]}]]"#,
            r#""revertReason":"\ud83d\udca5 \u0022type\u0022""#,
            r#""gas":12,"gasUsed":null,"calls":null"#,
            r#""calls":[],"error":null"#,
            r#""ty\u0070e":"CREATE""#,
        ] {
            let json = format!(r#"{{{other},"type":"CALL","calls":[{}]}}"#, call(5, &format!(",{other}")));
            assert_eq!(amounts(&json).unwrap(), [5], "{other}");
        }
    }

    #[test]
    fn what_is_no_call() {
        for json in [
            "7",
            "[]",
            "\"call\"",
            "{}",
            "[{}]",
            r#"{"type":null}"#,
            r#"{"type":7}"#,
            r#"{"type":"call"}"#,
            r#"{"type":"CALL","calls":{}}"#,
            r#"{"type":"CALL","calls":[7]}"#,
            r#"{"type":"CALL","calls":[[]]}"#,
            r#"{"type":"CALL","calls":[null]}"#,
            r#"{"type":"CALL","error":true}"#,
            r#"{"type":"CALL","calls":[{"type":"CALL"}]}"#,
        ] {
            assert!(matches!(amounts(json), Err(Fault::Scan(_))), "{json}");
        }
    }

    #[test]
    fn calls_lie_in_each_other_as_deep_as_they_can() {
        let deep = |depth: usize| {
            let inner = format!(r#"{{"type":"CALL","from":"{OTHER}","to":"{SHOP}","value":"0x1","calls":["#);
            let root = r#"{"type":"CALL","calls":["#;
            format!("{root}{}{}", inner.repeat(depth), "]}".repeat(depth + 1))
        };
        assert_eq!(amounts(&deep(1_024)).unwrap().len(), 1_024);
        let unread = format!(r#"{{"x":{}{},"type":"CALL"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(amounts(&unread).unwrap().len(), 0);
        for depth in [1_100, 100_000] {
            assert!(matches!(amounts(&deep(depth)), Err(Fault::Scan(_))));
        }
    }
}
