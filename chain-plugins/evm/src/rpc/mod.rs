//! JSON-RPC in batches.
//!
//! All calls of a step go out in as few HTTP requests as the provider lets pass. Providers cap batches (some
//! at 100, some at 10, some refuse them) and say so in their own ways: one error object for the whole batch,
//! a single entry, HTTP 413. Whatever refuses a batch is answered by half of it, down to single
//! calls; only the error of a single call is an error of that call.
//!
//! Others take the batch and serve a part of it, up to a number of calls a second or of bytes an answer. What was
//! answered is kept, and the rest is asked for again in batches of as many as were served. The host is told of refusals
//! and lets the next requests wait; after [`STRIKES`] in a row that brought nothing the scan ends.
//!
//! An invalid answer, or an error that the call gives no reason for, comes from one bad backend of many: the call is
//! made again, twice.

mod answer;

use crate::fault::{Fault, RpcError};
use crate::host::{Host, Post};
use crate::learned::Learned;
use kassa_sdk::chain::ScanError;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::Range;

/// Number of HTTP requests that go out at once.
const WAVE: usize = 8;

/// Maximum number of waves in a row of which everything was refused.
const STRIKES: u32 = 3;

/// Maximum number of invalid answers in a row, as of a broken backend among many.
const UNSOUND_MAX: u32 = 3;

/// Number of times that a call is made if it fails for no reason of its own.
const TRIES: u32 = 3;

/// Methods that every provider serves, at every size that a call of them can have: an error is the passing trouble of a
/// backend.
const PLAIN: [&str; 5] =
    ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber", "eth_getTransactionReceipt", "eth_getBalance"];

/// One call. `params` is JSON that this plugin wrote.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) params: String,
}

impl Call {
    /// True if this error says nothing of the call: it may be answered if it is made again.
    fn may_pass(&self, error: &RpcError) -> bool {
        let has_a_reason = error.is_unknown_tag() || error.is_forgotten();
        PLAIN.contains(&self.method) && !has_a_reason
    }
}

/// The answers to a list of calls, in its order. Results are not copied out of the bodies.
pub(crate) struct Replies {
    bodies: Vec<String>,
    parts: Vec<Option<Part>>,
}

type Part = Result<(usize, Range<usize>), RpcError>;

impl Replies {
    /// The JSON text of a result. Errors if the provider answered with an error.
    pub(crate) fn get(&self, index: usize) -> Result<&str, &RpcError> {
        match self.parts.get(index) {
            Some(Some(Ok((body, range)))) => {
                Ok(self.bodies.get(*body).and_then(|body| body.get(range.clone())).unwrap_or_default())
            }
            Some(Some(Err(error))) => Err(error),
            // `send` leaves no answer out; an empty text is not JSON, so one would be seen as malformed.
            _ => Ok(""),
        }
    }

    /// Indexes in this range that have no answer yet.
    fn open(&self, range: &Range<usize>) -> Vec<usize> {
        range.clone().filter(|index| matches!(self.parts.get(*index), Some(None))).collect()
    }

    fn set(&mut self, index: usize, part: Option<Part>) {
        if let Some(slot) = self.parts.get_mut(index) {
            *slot = part;
        }
    }

    /// Parses the result as `T`.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self, index: usize, what: &str) -> Result<T, Fault> {
        let json = self.get(index).map_err(|error| error.fault(what))?;
        parse(json, what)
    }
}

/// Parses JSON as `T`. Errors with `malformed` if it is not a `T`.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::malformed(format!("{what}: {error}")))
}

/// Outcome of one HTTP request for its calls.
enum Taken {
    /// Every call has its answer.
    All,
    /// Some calls have none yet: it was too much at once, in bytes or, with a wait in milliseconds, in calls.
    Some(Option<u32>),
    /// The request was refused as a whole.
    None(RpcError),
}

/// Sends the calls in batches of as many as the provider accepts, which shrink when it refuses.
pub(crate) fn send<H: Host>(host: &H, calls: &[Call], learned: &mut Learned) -> Result<Replies, Fault> {
    let mut replies = Replies { bodies: Vec::new(), parts: vec![None; calls.len()] };
    let mut waiting: VecDeque<Range<usize>> = split(0..calls.len(), learned.batch()).collect();
    let before = *learned;
    // After a refusal, one request at a time finds the size that the provider accepts.
    let (mut probing, mut strikes, mut unsound) = (false, 0u32, 0u32);
    let mut tries = vec![1u32; calls.len()];
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
                Ok(answer) => match answer::read(answer, &range, &mut replies) {
                    Ok(taken) => taken,
                    Err(fault) => {
                        unsound = unsound.saturating_add(1);
                        if unsound >= UNSOUND_MAX {
                            return Err(fault);
                        }
                        open.iter().for_each(|index| replies.set(*index, None));
                        again.extend(open);
                        continue;
                    }
                },
                // The host has seen this refusal itself.
                Err(Fault::Scan(ScanError::RateLimited(ms))) => {
                    wait = wait.max(Some(ms));
                    Taken::Some(None)
                }
                Err(fault) => return Err(fault),
            };
            let mut fails_in_passing = |index: usize, error: &RpcError| match tries.get_mut(index) {
                Some(tries)
                    if *tries < TRIES && calls.get(index).is_some_and(|call| call.may_pass(error)) =>
                {
                    *tries = tries.saturating_add(1);
                    true
                }
                _ => false,
            };
            match taken {
                Taken::All => {
                    (probing, unsound) = (false, 0);
                    is_served = true;
                    for index in open {
                        if replies.get(index).is_err_and(|error| fails_in_passing(index, error)) {
                            replies.set(index, None);
                            again.push(index);
                        }
                    }
                }
                Taken::None(error) if range.len() == 1 && fails_in_passing(range.start, &error) => {
                    again.push(range.start);
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

/// Sends the calls in one request, beside another one that is small: the host shares what is left of the bytes among
/// requests that go out together, so this answer takes at most half of them. The inner error refuses the request as a
/// whole.
pub(crate) fn send_beside<H: Host>(host: &H, calls: &[Call]) -> Result<Result<Replies, RpcError>, Fault> {
    let range = 0..calls.len();
    let mut replies = Replies { bodies: Vec::new(), parts: vec![None; calls.len()] };
    let small = [Call { method: "eth_chainId", params: String::new() }];
    let mut answers = host.post_all(vec![post(calls, &range), post(&small, &(0..1))]).into_iter();
    let answer = answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer")))?;
    Ok(match answer::read(answer, &range, &mut replies)? {
        Taken::All => Ok(replies),
        Taken::Some(wait) => {
            let ms = wait.unwrap_or_default();
            host.refused(count(calls.len()), ms);
            return Err(Fault::Scan(ScanError::RateLimited(ms)));
        }
        Taken::None(error) => Err(error),
    })
}

/// Joins ascending indexes into ranges.
fn runs(indexes: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some(run) if run.end == *index => run.end = index.saturating_add(1),
            _ => runs.push(*index..index.saturating_add(1)),
        }
    }
    runs
}

/// Splits a range into pieces of at most `size`.
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

/// Body of a request: a batch, or the bare call if there is one. The id of a call is its index.
fn body(calls: &[Call], range: &Range<usize>) -> String {
    let calls = calls.get(range.clone()).unwrap_or_default();
    let mut out = String::with_capacity(calls.iter().map(|call| call.params.len().saturating_add(80)).sum());
    let is_batch = calls.len() != 1;
    if is_batch {
        out.push('[');
    }
    for (index, (id, call)) in range.clone().zip(calls).enumerate() {
        if index > 0 {
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
