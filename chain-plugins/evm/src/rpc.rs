//! JSON-RPC in batches.
//!
//! All calls of a step go out in as few HTTP requests as the provider lets pass. Providers cap batches (some
//! at 100, some at 10, some refuse them) and say so in their own ways: one error object for the whole batch,
//! a single entry without an id, HTTP 413. Whatever refuses a batch is answered by half of it, down to single
//! calls; only the error of a single call is an error of that call.

use crate::fault::{Fault, RpcError};
use crate::host::Host;
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::Answer;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::Range;

/// HTTP requests that go out at once.
const WAVE: usize = 8;

/// One call. `params` is JSON that this plugin wrote.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) params: String,
}

/// The answers to a list of calls, in its order. Results are not copied out of the bodies.
pub(crate) struct Replies {
    bodies: Vec<String>,
    parts: Vec<Option<Part>>,
}

type Part = Result<(usize, Range<usize>), RpcError>;

impl Replies {
    /// The JSON text of a result, or the error that the provider gave.
    pub(crate) fn get(&self, place: usize) -> Result<&str, &RpcError> {
        match self.parts.get(place) {
            Some(Some(Ok((body, range)))) => {
                Ok(self.bodies.get(*body).and_then(|body| body.get(range.clone())).unwrap_or_default())
            }
            Some(Some(Err(error))) => Err(error),
            // `send` leaves no place empty; an empty text is not JSON, so this would be seen as malformed.
            _ => Ok(""),
        }
    }

    fn set(&mut self, place: usize, part: Option<Part>) {
        if let Some(slot) = self.parts.get_mut(place) {
            *slot = part;
        }
    }

    /// The result parsed as `T`.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self, place: usize, what: &str) -> Result<T, Fault> {
        let json = self.get(place).map_err(|error| error.fault(what))?;
        parse(json, what)
    }
}

/// JSON as `T`, or `malformed`.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::malformed(format!("{what}: {error}")))
}

/// Sends the calls in batches of at most `batch`, which shrinks when the provider refuses.
pub(crate) fn send<H: Host>(host: &H, calls: &[Call], batch: &mut usize) -> Result<Replies, Fault> {
    let mut replies = Replies { bodies: Vec::new(), parts: vec![None; calls.len()] };
    let mut waiting: VecDeque<Range<usize>> = split(0..calls.len(), *batch).collect();
    // After a refusal one request at a time shows which size the provider takes.
    let mut probing = false;
    while !waiting.is_empty() {
        let count = if probing { 1 } else { waiting.len().min(WAVE) };
        let wave: Vec<_> = waiting.drain(..count).collect();
        let bodies = wave.iter().map(|range| body(calls, range)).collect();
        let mut answers = host.post_all(bodies).into_iter();
        for range in wave.into_iter() {
            let answer = answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer")))?;
            match read(answer, &range, &mut replies)? {
                Ok(()) => probing = false,
                // Neither a batch nor a single call: the provider refuses everything.
                Err(error) if range.len() == 1 && probing => return Err(error.fault("every call is refused")),
                Err(error) if range.len() == 1 => replies.set(range.start, Some(Err(error))),
                Err(_) => {
                    range.clone().for_each(|place| replies.set(place, None));
                    *batch = (*batch).min(range.len().div_ceil(2));
                    waiting.push_front(range);
                    probing = true;
                }
            }
        }
        if probing {
            waiting = waiting.into_iter().flat_map(|range| split(range, *batch)).collect();
        }
    }
    Ok(replies)
}

/// Sends the calls in one request, beside another one that is small: the host shares what is left of the bytes
/// among requests that go out together, so that this answer is half of them at the most. The inner error refuses
/// the request as a whole.
pub(crate) fn send_beside<H: Host>(host: &H, calls: &[Call]) -> Result<Result<Replies, RpcError>, Fault> {
    let range = 0..calls.len();
    let mut replies = Replies { bodies: Vec::new(), parts: vec![None; calls.len()] };
    let small = [Call { method: "eth_chainId", params: String::new() }];
    let mut answers = host.post_all(vec![body(calls, &range), body(&small, &(0..1))]).into_iter();
    let answer = answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer")))?;
    Ok(read(answer, &range, &mut replies)?.map(|()| replies))
}

/// A range in pieces of at most `size`.
pub(crate) fn split(range: Range<usize>, size: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let (size, end) = (size.max(1), range.end);
    range.step_by(size).map(move |start| start..end.min(start.saturating_add(size)))
}

/// A batch, or the bare call if it is one. The id of a call is its place.
fn body(calls: &[Call], range: &Range<usize>) -> String {
    let calls = calls.get(range.clone()).unwrap_or_default();
    let mut out = String::with_capacity(calls.iter().map(|call| call.params.len().saturating_add(80)).sum());
    let is_batch = calls.len() != 1;
    if is_batch {
        out.push('[');
    }
    for (place, (id, call)) in range.clone().zip(calls).enumerate() {
        if place > 0 {
            out.push(',');
        }
        let (method, params) = (call.method, &call.params);
        let _ = write!(out, r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":[{params}]}}"#);
    }
    if is_batch {
        out.push(']');
    }
    out
}

#[derive(Deserialize)]
struct Entry<'a> {
    id: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<ErrorJson>,
}

/// A field that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorJson {
    Standard {
        #[serde(default)]
        code: i64,
        #[serde(default)]
        message: String,
    },
    Text(String),
}

impl From<ErrorJson> for RpcError {
    fn from(error: ErrorJson) -> Self {
        match error {
            ErrorJson::Standard { code, message } => Self { code, message },
            ErrorJson::Text(message) => Self { code: 0, message },
        }
    }
}

/// Takes one HTTP answer apart into the places of its calls. The inner error refuses the request as a whole.
fn read(answer: Answer, range: &Range<usize>, replies: &mut Replies) -> Result<Result<(), RpcError>, Fault> {
    let Answer { status, retry_after_ms, body } = answer;
    match status {
        429 => return Err(Fault::Scan(ScanError::RateLimited(retry_after_ms))),
        413 => return Ok(Err(RpcError { code: 413, message: "too large for the provider".into() })),
        401 | 403 | 404 => {
            let start = String::from_utf8_lossy(body.get(..100).unwrap_or(&body)).into_owned();
            return Err(Fault::upstream(format!("HTTP {status}: {start}")));
        }
        _ => {}
    }
    let Ok(body) = String::from_utf8(body) else { return Err(Fault::malformed("the answer is not UTF-8")) };
    let entries = match body.trim_start().chars().next() {
        Some('[') => serde_json::from_str::<Vec<Entry<'_>>>(&body),
        Some('{') => serde_json::from_str::<Entry<'_>>(&body).map(|entry| vec![entry]),
        _ => {
            let start: String = body.chars().take(80).collect();
            return Err(Fault::upstream(format!("HTTP {status}, not JSON: {start}")));
        }
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(_) if status >= 500 => return Err(Fault::upstream(format!("HTTP {status}"))),
        Err(error) => return Err(Fault::malformed(format!("HTTP {status}: {error}"))),
    };
    let is_whole = !body.trim_start().starts_with('[');
    let text = replies.bodies.len();
    for entry in entries {
        if let Some(error) = entry.error {
            let error = RpcError::from(error);
            if error.is_rate_limit() {
                return Err(Fault::Scan(ScanError::RateLimited(retry_after_ms)));
            }
            // One error for all: as an object instead of a list, or as an entry of nobody's.
            if entry.id.is_none() || is_whole {
                return Ok(Err(error));
            }
            put(replies, range, entry.id, Err(error))?;
        } else if let Some(result) = entry.result {
            let place = place_of(&body, result.get())?;
            put(replies, range, entry.id, Ok((text, place)))?;
        } else {
            return Err(Fault::malformed("an answer with neither result nor error"));
        }
    }
    let parts = replies.parts.get(range.clone()).unwrap_or_default();
    if parts.iter().any(Option::is_none) {
        return Err(Fault::malformed("an answer to some call is missing"));
    }
    replies.bodies.push(body);
    Ok(Ok(()))
}

fn put(replies: &mut Replies, range: &Range<usize>, id: Option<u64>, part: Part) -> Result<(), Fault> {
    let place = id.and_then(|id| usize::try_from(id).ok()).filter(|place| range.contains(place));
    match place.and_then(|place| replies.parts.get_mut(place)) {
        Some(slot) if slot.is_none() => {
            *slot = Some(part);
            Ok(())
        }
        Some(_) => Err(Fault::malformed("two answers to one call")),
        None => Err(Fault::malformed("an answer to no call")),
    }
}

/// Where `part`, which is a piece of `body`, lies in it.
fn place_of(body: &str, part: &str) -> Result<Range<usize>, Fault> {
    let start = part.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
    let range = start..start.wrapping_add(part.len());
    if body.get(range.clone()) == Some(part) { Ok(range) } else { Err(Fault::malformed("unreadable result")) }
}
