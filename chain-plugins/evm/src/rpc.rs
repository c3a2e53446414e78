//! JSON-RPC in batches.
//!
//! All calls of a step go out in as few HTTP requests as the provider lets pass. Providers cap batches (some
//! at 100, some at 10, some refuse them) and say so in their own ways: one error object for the whole batch,
//! a single entry, HTTP 413. Whatever refuses a batch is answered by half of it, down to single
//! calls; only the error of a single call is an error of that call.
//!
//! Others take the batch and serve a part of it: so many calls a second, so many bytes an answer. What was answered
//! is kept, and the rest is asked for again in batches of as many as were served. The host is told of refusals and
//! lets the next requests wait; after [`STRIKES`] in a row that brought nothing the scan ends.

use crate::fault::{Fault, RpcError};
use crate::host::{Host, Post};
use crate::learned::Learned;
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::Answer;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::Range;

/// HTTP requests that go out at once.
const WAVE: usize = 8;

/// No refusal in words is longer.
const REFUSAL_MAX: usize = 1_024;

/// Waves in a row of which everything was refused.
const STRIKES: u32 = 3;

/// Answers in a row that were none, as of a broken backend among many.
const UNSOUND_MAX: u32 = 3;

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

    /// The places in this range that have no answer yet.
    fn open(&self, range: &Range<usize>) -> Vec<usize> {
        range.clone().filter(|place| matches!(self.parts.get(*place), Some(None))).collect()
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

/// What one HTTP answer was for the calls of its request.
enum Taken {
    /// Each has its answer.
    All,
    /// Some have none yet: it was too much at once, in bytes or, with a time to wait, in calls.
    Some(Option<u32>),
    /// The request was refused as a whole.
    None(RpcError),
}

/// Sends the calls in batches of as many as the provider takes, which shrinks when it refuses.
pub(crate) fn send<H: Host>(host: &H, calls: &[Call], learned: &mut Learned) -> Result<Replies, Fault> {
    let mut replies = Replies { bodies: Vec::new(), parts: vec![None; calls.len()] };
    let mut waiting: VecDeque<Range<usize>> = split(0..calls.len(), learned.batch()).collect();
    let before = *learned;
    // After a refusal one request at a time shows which size the provider takes.
    let (mut probing, mut strikes, mut unsound) = (false, 0u32, 0u32);
    let (mut is_a_calls_own, mut is_limited) = (false, false);
    while !waiting.is_empty() {
        let many = if probing { 1 } else { waiting.len().min(WAVE) };
        let wave: Vec<_> = waiting.drain(..many).collect();
        let posts = wave.iter().map(|range| post(calls, range)).collect();
        let mut answers = host.post_all(posts).into_iter();
        let (mut again, mut is_served, mut wait) = (Vec::new(), false, None);
        for range in wave {
            let open = replies.open(&range);
            let taken = match answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer"))) {
                Ok(answer) => match read(answer, &range, &mut replies) {
                    Ok(taken) => taken,
                    Err(fault) => {
                        unsound = unsound.saturating_add(1);
                        if unsound >= UNSOUND_MAX {
                            return Err(fault);
                        }
                        open.iter().for_each(|place| replies.set(*place, None));
                        again.extend(open);
                        continue;
                    }
                },
                // The host has seen it itself.
                Err(Fault::Scan(ScanError::RateLimited(ms))) => {
                    wait = wait.max(Some(ms));
                    Taken::Some(None)
                }
                Err(fault) => return Err(fault),
            };
            match taken {
                Taken::All => {
                    (probing, unsound) = (false, 0);
                    is_served = true;
                }
                Taken::Some(told) => {
                    let open = replies.open(&range);
                    if let Some(ms) = told {
                        host.refused(count(open.len()), ms);
                        wait = wait.max(told);
                    }
                    let served = range.len().saturating_sub(open.len());
                    is_served |= served > 0;
                    let fewer = if served > 0 { served } else { range.len().div_ceil(2) };
                    if wait.is_some() {
                        learned.slows(host, fewer);
                    } else {
                        learned.takes(fewer);
                    }
                    again.extend(open);
                    (probing, is_limited) = (true, true);
                }
                // Neither a batch nor a single call: the provider refuses everything.
                Taken::None(error) if range.len() == 1 && probing && replies.bodies.is_empty() => {
                    return Err(error.fault("every call is refused"));
                }
                Taken::None(error) if range.len() == 1 => {
                    is_a_calls_own = true;
                    replies.set(range.start, Some(Err(error)));
                }
                Taken::None(_) => {
                    learned.takes(range.len().div_ceil(2));
                    again.extend(range);
                    probing = true;
                }
            }
        }
        strikes = if is_served || wait.is_none() { 0 } else { strikes.saturating_add(1) };
        if let Some(ms) = wait.filter(|_| strikes >= STRIKES) {
            return Err(Fault::Scan(ScanError::RateLimited(ms)));
        }
        if !again.is_empty() {
            let mut rest: Vec<_> = again.into_iter().chain(waiting.into_iter().flatten()).collect();
            rest.sort_unstable();
            waiting = runs(&rest).into_iter().flat_map(|range| split(range, learned.batch())).collect();
        }
    }
    if is_a_calls_own && !is_limited {
        learned.takes_as(&before);
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
    let mut answers = host.post_all(vec![post(calls, &range), post(&small, &(0..1))]).into_iter();
    let answer = answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer")))?;
    Ok(match read(answer, &range, &mut replies)? {
        Taken::All => Ok(replies),
        Taken::Some(wait) => {
            let ms = wait.unwrap_or_default();
            host.refused(count(calls.len()), ms);
            return Err(Fault::Scan(ScanError::RateLimited(ms)));
        }
        Taken::None(error) => Err(error),
    })
}

/// Ascending places as ranges.
fn runs(places: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(run) if run.end == *place => run.end = place.saturating_add(1),
            _ => runs.push(*place..place.saturating_add(1)),
        }
    }
    runs
}

/// A range in pieces of at most `size`.
pub(crate) fn split(range: Range<usize>, size: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let (size, end) = (size.max(1), range.end);
    range.step_by(size).map(move |start| start..end.min(start.saturating_add(size)))
}

fn post(calls: &[Call], range: &Range<usize>) -> Post {
    Post { body: body(calls, range), calls: count(range.len()) }
}

fn count(calls: usize) -> u32 {
    u32::try_from(calls).unwrap_or(u32::MAX)
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

/// Takes one HTTP answer apart into the places of its calls.
fn read(answer: Answer, range: &Range<usize>, replies: &mut Replies) -> Result<Taken, Fault> {
    let Answer { status, retry_after_ms, body } = answer;
    let busy = Ok(Taken::Some(Some(retry_after_ms)));
    match status {
        429 => return busy,
        413 => return Ok(Taken::None(RpcError { code: 413, message: "too large for the provider".into() })),
        _ => {}
    }
    let text = |length: usize| String::from_utf8_lossy(body.get(..length).unwrap_or(&body)).into_owned();
    if matches!(status, 401..=404) {
        let error = RpcError { code: 0, message: text(REFUSAL_MAX) };
        return if error.is_rate_limit() {
            busy
        } else {
            Err(Fault::upstream(format!("HTTP {status}: {}", text(100))))
        };
    }
    let start = body.trim_ascii_start().first().copied();
    let entries = match (start, std::str::from_utf8(&body)) {
        (Some(b'['), Ok(body)) => serde_json::from_str::<Vec<Entry<'_>>>(body),
        (Some(b'{'), Ok(body)) => serde_json::from_str::<Entry<'_>>(body).map(|entry| vec![entry]),
        (Some(b'[' | b'{'), Err(_)) => return Err(Fault::malformed("the answer is not UTF-8")),
        _ => {
            let error = RpcError { code: 0, message: text(REFUSAL_MAX) };
            let what = format!("HTTP {status}, not JSON: {}", text(80));
            return if error.is_rate_limit() { busy } else { Err(Fault::upstream(what)) };
        }
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(_) if status >= 500 => return Err(Fault::upstream(format!("HTTP {status}"))),
        Err(error) => return Err(Fault::malformed(format!("HTTP {status}: {error}"))),
    };
    let (is_one, count) = (start == Some(b'{'), entries.len());
    let (mut is_busy, mut is_large, mut errors) = (false, false, Vec::new());
    let mut results = Vec::with_capacity(count);
    for entry in entries {
        if let Some(error) = entry.error {
            let error = RpcError::from(error);
            if error.is_rate_limit() {
                is_busy = true;
            } else if is_one || entry.id.is_none() {
                // One error for all: as an object instead of a list, or as an entry of nobody's.
                return Ok(Taken::None(error));
            } else if error.is_too_large() && range.len() > 1 {
                is_large = true;
            } else {
                errors.push((entry.id, error));
            }
        } else if let Some(result) = entry.result {
            results.push((entry.id, place_of(&body, result.get())?));
        } else {
            return Err(Fault::malformed("an answer with neither result nor error"));
        }
    }
    if count < range.len() && count == errors.len() {
        // As an entry under the id of the first.
        if let Some((_, error)) = errors.pop() {
            return Ok(Taken::None(error));
        }
    }
    let number = replies.bodies.len();
    for (id, place) in results {
        put(replies, range, id, Ok((number, place)))?;
    }
    for (id, error) in errors {
        put(replies, range, id, Err(error))?;
    }
    let is_all = replies.open(range).is_empty();
    let Ok(body) = String::from_utf8(body) else { return Err(Fault::malformed("the answer is not UTF-8")) };
    replies.bodies.push(body);
    match () {
        () if is_all => Ok(Taken::All),
        () if is_busy => busy,
        () if is_large => Ok(Taken::Some(None)),
        () => Err(Fault::malformed("an answer to some call is missing")),
    }
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
fn place_of(body: &[u8], part: &str) -> Result<Range<usize>, Fault> {
    let start = part.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
    let range = start..start.wrapping_add(part.len());
    if body.get(range.clone()) == Some(part.as_bytes()) {
        Ok(range)
    } else {
        Err(Fault::malformed("unreadable result"))
    }
}
