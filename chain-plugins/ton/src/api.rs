//! Requests to the index, and which of its answers are refusals.

use crate::host::{Answer, Host, Request};
use crate::scan::Scan;
use crate::wire::RefusalJson;
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::{Asked, Fault, ask_all};
use serde::Deserialize;

/// Maximum length of a refusal, bytes.
const REFUSAL_MAX: usize = 4_096;
/// Words of refusals for too many requests that come with another code than 429.
const RATE_LIMITS: [&str; 3] = ["ratelimit", "rate limit", "too many requests"];

/// Number of HTTP requests that go out at once.
pub(crate) const WAVE: usize = 8;

pub(crate) fn get<H: Host>(scan: &Scan<'_, H>, path: String) -> Result<Answer, Fault> {
    let answers = send(scan, &[Request { path, body: None }]).all()?;
    answers.into_iter().next().ok_or_else(|| Fault::upstream("no answer"))
}

/// Sends requests to the index, under its path below the upstream's URL.
fn send<H: Host>(scan: &Scan<'_, H>, requests: &[Request]) -> Asked<Answer, Fault> {
    let below = |request: &Request| Request {
        path: format!("{}{}", scan.settings.index(), request.path),
        body: request.body.clone(),
    };
    ask(scan, &requests.iter().map(below).collect::<Vec<_>>())
}

/// Sends requests. Those that are refused for being too many are sent again one by one.
pub(crate) fn ask<H: Host>(scan: &Scan<'_, H>, requests: &[Request]) -> Asked<Answer, Fault> {
    let send = |indexes: &[usize]| {
        scan.host.send_all(indexes.iter().filter_map(|index| requests.get(*index)).cloned().collect())
    };
    ask_all(requests.len(), send, |answer: Answer| {
        let Some(ms) = wait_ms(&answer) else { return accept(answer) };
        scan.host.refused(1, ms);
        Err(Fault::Scan(ScanError::RateLimited(ms)))
    })
}

/// Takes an answer of the index, even if it is an error. Errors if it comes from a gateway before the index, or is cut
/// off.
fn accept(answer: Answer) -> Result<Answer, Fault> {
    let body = answer.body.trim_ascii();
    match (body.first(), body.last()) {
        (Some(b'{'), Some(b'}')) if answer.status < 500 => Ok(answer),
        (Some(b'{'), _) if answer.status < 300 => Err(Fault::malformed("half an answer")),
        _ => {
            let start = String::from_utf8_lossy(body.get(..80).unwrap_or(body));
            Err(Fault::upstream(format!("HTTP {}, not what was asked for: {start}", answer.status)))
        }
    }
}

/// Calls `read` with the index of each request and its answer. Ends at the first fault.
pub(crate) fn each<H: Host>(
    scan: &Scan<'_, H>,
    requests: &[Request],
    mut read: impl FnMut(usize, &Answer) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut index = 0usize;
    for wave in requests.chunks(WAVE) {
        let Asked { answers, error } = send(scan, wave);
        for answer in answers.into_iter().map_while(|answer| answer) {
            read(index, &answer)?;
            index = index.saturating_add(1);
        }
        if let Some(error) = error {
            return Err(error);
        }
    }
    Ok(())
}

/// Milliseconds that the index asks to wait, if the answer is a refusal for too many requests.
fn wait_ms(answer: &Answer) -> Option<u32> {
    let Answer { status, retry_after_ms, body } = answer;
    let refused = |refusal: RefusalJson<'_>| {
        let text =
            refusal.error.or(refusal.result).map(|text| text.0.to_ascii_lowercase()).unwrap_or_default();
        refusal.code == Some(429) || RATE_LIMITS.iter().any(|words| text.contains(words))
    };
    let is_short = body.len() <= REFUSAL_MAX;
    let is_refusal = || match serde_json::from_slice(body) {
        Ok(refusal) => refused(refusal),
        // A refusal in plain words.
        Err(_) => {
            let text = String::from_utf8_lossy(body).to_ascii_lowercase();
            !text.trim_start().starts_with('{') && RATE_LIMITS.iter().any(|words| text.contains(words))
        }
    };
    (*status == 429 || (is_short && is_refusal())).then_some(*retry_after_ms)
}

/// Parses the answer as `T`. Errors if it is an error of the index, or malformed.
pub(crate) fn parse<'a, T: Deserialize<'a>>(answer: &'a Answer, what: &str) -> Result<T, Fault> {
    let Answer { status, body, .. } = answer;
    let error = match serde_json::from_slice(body) {
        Ok(value) if (200..300).contains(status) => return Ok(value),
        Ok(_) => return Err(Fault::upstream(format!("{what}: HTTP {status}"))),
        Err(error) => error,
    };
    if let Ok(refusal) = serde_json::from_slice::<RefusalJson<'_>>(body)
        && (refusal.ok == Some(false) || refusal.error.is_some())
    {
        let code = refusal.code.unwrap_or(i64::from(*status));
        let text = refusal.error.or(refusal.result).map(|text| text.0.into_owned()).unwrap_or_default();
        return Err(Fault::upstream(format!("{what}: {text} ({code})")));
    }
    if !(200..300).contains(status) {
        return Err(Fault::upstream(format!("{what}: HTTP {status}")));
    }
    Err(Fault::malformed(format!("{what}: {error}")))
}
