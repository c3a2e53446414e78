//! Requests to the index, and which of its answers are refusals.

use crate::host::{Answer, Host, Request};
use crate::scan::Scan;
use crate::wire::RefusalJson;
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::Fault;
use serde::Deserialize;

/// HTTP requests that go out at once.
pub(crate) const WAVE: usize = 8;

pub(crate) fn get<H: Host>(scan: &Scan<'_, H>, path: String) -> Result<Answer, Fault> {
    let mut answers = send(scan, vec![Request { path, body: None }]).into_iter();
    answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer")))
}

/// Sends requests to the index, wherever below the upstream's URL it is.
fn send<H: Host>(scan: &Scan<'_, H>, mut requests: Vec<Request>) -> Vec<Result<Answer, Fault>> {
    requests.iter_mut().for_each(|request| request.path.insert_str(0, scan.settings.index()));
    scan.host.send_all(requests)
}

/// Hands each answer to `read` with the place of its request. Ends at the first fault.
pub(crate) fn each<H: Host>(
    scan: &Scan<'_, H>,
    requests: Vec<Request>,
    mut read: impl FnMut(usize, &Answer) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut place = 0usize;
    let mut requests = requests.into_iter();
    loop {
        let wave: Vec<_> = requests.by_ref().take(WAVE).collect();
        if wave.is_empty() {
            return Ok(());
        }
        let count = wave.len();
        let mut answers = send(scan, wave).into_iter();
        for _ in 0..count {
            let answer = answers.next().unwrap_or_else(|| Err(Fault::upstream("no answer")))?;
            read(place, &answer)?;
            place = place.saturating_add(1);
        }
    }
}

/// The answer as `T`, or why there is none.
pub(crate) fn parse<'a, T: Deserialize<'a>>(answer: &'a Answer, what: &str) -> Result<T, Fault> {
    let Answer { status, retry_after_ms, body } = answer;
    if *status == 429 {
        return Err(Fault::Scan(ScanError::RateLimited(*retry_after_ms)));
    }
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
        if code == 429 || text.to_ascii_lowercase().contains("ratelimit") {
            return Err(Fault::Scan(ScanError::RateLimited(*retry_after_ms)));
        }
        return Err(Fault::upstream(format!("{what}: {text} ({code})")));
    }
    if !(200..300).contains(status) || !body.trim_ascii_start().starts_with(b"{") {
        let start = String::from_utf8_lossy(body.get(..80).unwrap_or(body)).into_owned();
        return Err(Fault::upstream(format!("{what}: HTTP {status}, not what was asked for: {start}")));
    }
    Err(Fault::malformed(format!("{what}: {error}")))
}
