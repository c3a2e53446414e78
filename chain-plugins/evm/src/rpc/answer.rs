//! One HTTP answer, split into the answers to the calls of its request.

use super::{Part, Replies, Taken};
use crate::fault::{Fault, RpcError};
use kassa_sdk::upstream::Answer;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::ops::Range;

/// Maximum length of a refusal in words, bytes.
const REFUSAL_MAX: usize = 1_024;

#[derive(Deserialize)]
struct Entry<'a> {
    id: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    error: Option<ErrorJson>,
}

/// Deserializes a field that is there, even if it is null.
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

/// Splits one HTTP answer into the answers to its calls.
pub(super) fn read(answer: Answer, range: &Range<usize>, replies: &mut Replies) -> Result<Taken, Fault> {
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
                // One error for all: an object instead of a list, or an entry without the id of a call.
                return Ok(Taken::None(error));
            } else if error.is_too_large() && range.len() > 1 {
                is_large = true;
            } else {
                errors.push((entry.id, error));
            }
        } else if let Some(result) = entry.result {
            results.push((entry.id, range_of(&body, result.get())?));
        } else {
            return Err(Fault::malformed("an answer with neither result nor error"));
        }
    }
    if count < range.len() && count == errors.len() {
        // An entry under the id of the first call.
        if let Some((_, error)) = errors.pop() {
            return Ok(Taken::None(error));
        }
    }
    let number = replies.bodies.len();
    for (id, part) in results {
        put(replies, range, id, Ok((number, part)))?;
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
    let index = id.and_then(|id| usize::try_from(id).ok()).filter(|index| range.contains(index));
    match index.and_then(|index| replies.parts.get_mut(index)) {
        Some(slot) if slot.is_none() => {
            *slot = Some(part);
            Ok(())
        }
        Some(_) => Err(Fault::malformed("two answers to one call")),
        None => Err(Fault::malformed("an answer to no call")),
    }
}

/// The range of `part` in `body`. Errors if it is not a slice of `body`.
fn range_of(body: &[u8], part: &str) -> Result<Range<usize>, Fault> {
    let start = part.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
    let range = start..start.wrapping_add(part.len());
    if body.get(range.clone()) == Some(part.as_bytes()) {
        Ok(range)
    } else {
        Err(Fault::malformed("unreadable result"))
    }
}
