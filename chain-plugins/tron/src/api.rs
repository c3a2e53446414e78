//! The node's HTTP interface: which questions there are, and what is an answer to them.

use crate::fault::{lags, malformed, rate_limit_ms, upstream};
use crate::host::{Answer, Call, Host};
use kassa_sdk::chain::ScanError;
use serde::Deserialize;
use std::borrow::Cow;

/// The newest block.
pub(crate) fn head() -> Call {
    Call { path: "/wallet/getnowblock", body: "{}".into() }
}

/// The newest block that no fork can replace any more.
pub(crate) fn solid() -> Call {
    Call { path: "/walletsolidity/getnowblock", body: "{}".into() }
}

pub(crate) fn block(height: u64) -> Call {
    Call { path: "/wallet/getblockbynum", body: format!(r#"{{"num":{height}}}"#) }
}

/// What the transactions of a block did.
pub(crate) fn infos(height: u64) -> Call {
    Call { path: "/wallet/gettransactioninfobyblocknum", body: format!(r#"{{"num":{height}}}"#) }
}

/// Asks everything at once; the JSON bodies come in the same order.
pub(crate) fn ask<H: Host>(host: &H, calls: &[Call]) -> Result<Vec<Vec<u8>>, ScanError> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let answers = host.ask_all(calls);
    if answers.len() != calls.len() {
        return Err(upstream("an answer is missing"));
    }
    answers.into_iter().map(|answer| accept(answer?)).collect()
}

/// The same for a fixed number of calls.
pub(crate) fn ask_each<H: Host, const N: usize>(
    host: &H,
    calls: &[Call; N],
) -> Result<[Vec<u8>; N], ScanError> {
    ask(host, calls)?.try_into().map_err(|_| upstream("an answer is missing"))
}

/// The words with which nodes (`Error`) and the gateways before them refuse; the status is often 200.
#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(rename = "Error", alias = "error", alias = "message", borrow)]
    text: Cow<'a, str>,
}

/// No refusal is longer.
const REFUSAL_MAX: usize = 4_096;

fn accept(answer: Answer) -> Result<Vec<u8>, ScanError> {
    let Answer { status, retry_after_ms, body } = answer;
    let start = body.get(..REFUSAL_MAX).unwrap_or(&body);
    let is_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    let refusal = match serde_json::from_slice::<Refusal<'_>>(start) {
        Ok(refusal) => Some(refusal.text),
        Err(_) if is_json => None,
        Err(_) => Some(String::from_utf8_lossy(start)),
    };
    let Some(text) = refusal else {
        return match status {
            200 => Ok(body),
            429 => Err(ScanError::RateLimited(retry_after_ms)),
            _ => Err(upstream(format!("HTTP {status}"))),
        };
    };
    match rate_limit_ms(&text) {
        Some(ms) => Err(ScanError::RateLimited(ms.max(retry_after_ms))),
        None if status == 429 => Err(ScanError::RateLimited(retry_after_ms)),
        None => Err(upstream(format!("HTTP {status}: {text}"))),
    }
}

/// JSON as `T`. An empty object is how a node says that it does not have what was asked for.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, ScanError> {
    if body.iter().filter(|byte| !byte.is_ascii_whitespace()).take(3).eq(b"{}") {
        return Err(lags(format!("{what} is missing")));
    }
    serde_json::from_slice(body).map_err(|error| malformed(format!("{what}: {error}")))
}
