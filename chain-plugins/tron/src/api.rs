//! The node's HTTP interface: the requests, and which responses are answers to them.

use crate::host::{Call, Host};
use crate::wire::Hash;
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::{Answer, ask_all, failed, lags, malformed, retry_after_ms};
use serde::Deserialize;
use std::borrow::Cow;

/// Asks for the newest block.
pub(crate) fn head() -> Call {
    Call { path: "/wallet/getnowblock", body: "{}".into() }
}

/// Asks for the newest block that no fork can replace any more.
pub(crate) fn solid() -> Call {
    Call { path: "/walletsolidity/getnowblock", body: "{}".into() }
}

pub(crate) fn block(height: u64) -> Call {
    Call { path: "/wallet/getblockbynum", body: format!(r#"{{"num":{height}}}"#) }
}

/// Asks for the infos of a block's transactions: their outcomes, logs and internal transactions.
pub(crate) fn infos(height: u64) -> Call {
    Call { path: "/wallet/gettransactioninfobyblocknum", body: format!(r#"{{"num":{height}}}"#) }
}

/// Asks for the info of one transaction, which names its block.
pub(crate) fn info(id: &Hash) -> Call {
    Call { path: "/wallet/gettransactioninfobyid", body: format!(r#"{{"value":"{}"}}"#, hex::encode(id)) }
}

/// Asks everything at once, and what is refused again one by one. Returns the JSON bodies in the order of the calls.
pub(crate) fn ask<H: Host>(host: &H, calls: &[Call]) -> Result<Vec<Vec<u8>>, ScanError> {
    let send = |indexes: &[usize]| {
        let calls: Vec<Call> = indexes.iter().filter_map(|index| calls.get(*index)).cloned().collect();
        host.ask_all(&calls)
    };
    ask_all(calls.len(), send, |answer| accept(answer).inspect_err(|error| tell(host, error))).all()
}

/// Reports a rate limit to the host, which does not see one that comes in the body with status 200.
fn tell<H: Host>(host: &H, error: &ScanError) {
    if let ScanError::RateLimited(ms) = error {
        host.refused(1, *ms);
    }
}

/// Like [`ask`], for a fixed number of calls.
pub(crate) fn ask_each<H: Host, const N: usize>(
    host: &H,
    calls: &[Call; N],
) -> Result<[Vec<u8>; N], ScanError> {
    ask(host, calls)?.try_into().map_err(|_| failed("an answer is missing"))
}

/// A refusal by a node (`Error`) or by a gateway before it; its status is often 200.
#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(rename = "Error", alias = "error", alias = "message", borrow)]
    text: Cow<'a, str>,
}

/// Maximum length of a refusal, bytes.
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
            200 if !is_whole(&body) => Err(malformed("half an answer")),
            200 => Ok(body),
            429 => Err(ScanError::RateLimited(retry_after_ms)),
            _ => Err(failed(format!("HTTP {status}"))),
        };
    };
    match rate_limit_ms(&text) {
        Some(ms) => Err(ScanError::RateLimited(ms.max(retry_after_ms))),
        None if status == 429 => Err(ScanError::RateLimited(retry_after_ms)),
        None => Err(failed(format!("HTTP {status}: {text}"))),
    }
}

/// True for an empty object, with which a node says that it does not have what was asked for.
pub(crate) fn is_missing(body: &[u8]) -> bool {
    body.iter().filter(|byte| !byte.is_ascii_whitespace()).take(3).eq(b"{}")
}

pub(crate) fn check_present(body: &[u8], what: &str) -> Result<(), ScanError> {
    if is_missing(body) { Err(lags(format!("{what} is missing"))) } else { Ok(()) }
}

/// Parses JSON. Errors if the body is an empty object or not a `T`.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, ScanError> {
    check_present(body, what)?;
    serde_json::from_slice(body).map_err(|error| malformed(format!("{what}: {error}")))
}

/// True if JSON ends with the bracket that it begins with. What is between is its reader's to check.
fn is_whole(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    matches!((body.first(), body.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

/// The wait that a text asks for, milliseconds, if it speaks of too many requests. TronGrid: "request rate exceeded the
/// allowed_rps(10), and the query server is suspended for 5 s", "Exceed the user daily usage (100000), …". java-tron:
/// "lack of computing resources".
fn rate_limit_ms(text: &str) -> Option<u32> {
    const WORDS: [&str; 8] = [
        "rate exceeded",
        "rate limit",
        "daily usage",
        "query frequency",
        "too many requests",
        "lack of computing",
        "allowed_rps",
        "suspended for",
    ];
    let text = text.to_ascii_lowercase();
    if !WORDS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let digits = |text: &str| {
        let rest = text.trim_start();
        rest.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default().to_owned()
    };
    let seconds = text.split_once("suspended for").map(|(_, rest)| digits(rest));
    Some(retry_after_ms(seconds.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_rate_limits() {
        for (text, ms) in [
            ("request rate exceeded the allowed_rps(10), and the query server is suspended for 5 s", 5_000),
            ("suspended for 30s", 30_000),
            ("suspended for 86400 s", 60_000),
            ("suspended for a while", 1_000),
            ("Exceed the user daily usage (100000), the maximum query frequency is 1 time per second", 1_000),
            ("class java.lang.IllegalAccessException : lack of computing resources", 1_000),
        ] {
            assert_eq!(rate_limit_ms(text), Some(ms), "{text}");
        }
        for text in ["", "class java.lang.NullPointerException : null", "Forbidden"] {
            assert_eq!(rate_limit_ms(text), None, "{text}");
        }
    }
}
