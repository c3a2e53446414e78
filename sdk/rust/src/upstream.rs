//! For chain plugins: answers of an upstream, and the faults that all upstreams have.

/// The limits of the upstream that this call uses, and a line about it that outlives the call.
pub use crate::bindings::services::kassa::plugin::upstream::{
    NoteError, UpstreamTerms, note, refused, terms,
};

use crate::balances::BalanceError;
use crate::chain::{Block, ScanError, ScanResult};
use crate::finder::FindError;
use crate::http::{HttpError, Response};
use std::collections::HashSet;

/// Maximum length of a provider's text that is passed on, characters.
const TEXT_MAX: usize = 160;
/// Maximum wait that is taken from a provider, seconds.
const WAIT_MAX_S: u32 = 60;
/// Wait if the provider does not say how long, milliseconds.
const RATE_LIMITED_MS: u32 = 1_000;

/// An HTTP answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Wait according to `Retry-After`, or its default, milliseconds.
    pub retry_after_ms: u32,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let retry_after = response.headers.iter().find(|(name, _)| name == "retry-after");
        Self {
            status: response.status,
            retry_after_ms: retry_after_ms(retry_after.map(|(_, value)| value.as_str())),
            body: response.body,
        }
    }
}

impl From<HttpError> for ScanError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(why) => Self::Settings(format!("the host denies the call: {why}")),
            HttpError::Malformed(why) => failed(format!("the host cannot send the call: {why}")),
            HttpError::Budget(why) => failed(format!("budget: {why}")),
            HttpError::RateLimited(ms) => Self::RateLimited(ms),
            HttpError::Timeout => failed("timeout"),
            HttpError::Connection(why) => failed(format!("connection: {why}")),
            HttpError::NoUpstream => failed("no usable upstream"),
            HttpError::Other(why) => failed(why),
        }
    }
}

/// Reason that a step of a scan did not succeed, for plugins that go on with less if the budget ends.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The scan ends with this error.
    Scan(ScanError),
    /// The host's budget is used up, or an answer was larger than what is left of it: less may succeed.
    Budget(String),
}

impl Fault {
    /// A fault made by [`failed`].
    pub fn upstream(why: impl AsRef<str>) -> Self {
        Self::Scan(failed(why))
    }

    /// A fault made by [`malformed`].
    pub fn malformed(why: impl AsRef<str>) -> Self {
        Self::Scan(malformed(why))
    }

    /// A fault made by [`lags`].
    pub fn lags(what: impl AsRef<str>) -> Self {
        Self::Scan(lags(what))
    }

    /// The scan's error when less would not succeed either.
    #[must_use]
    pub fn into_scan_error(self) -> ScanError {
        match self {
            Self::Scan(error) => error,
            Self::Budget(why) => failed(format!("budget: {why}")),
        }
    }
}

/// Gives a search the error that a scan would have.
impl From<ScanError> for FindError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Upstream(why) => Self::Upstream(why),
            ScanError::RateLimited(ms) => Self::RateLimited(ms),
            ScanError::Malformed(why) => Self::Malformed(why),
            ScanError::WrongNetwork(id) => Self::WrongNetwork(id),
            ScanError::Behind(head) => Self::Upstream(format!("its head {head} is behind")),
            ScanError::Settings(why) => Self::Settings(why),
            ScanError::Other(why) => Self::Other(why),
        }
    }
}

impl From<Fault> for FindError {
    fn from(fault: Fault) -> Self {
        fault.into_scan_error().into()
    }
}

/// Gives a reading of balances the error that a scan would have.
impl From<ScanError> for BalanceError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Upstream(why) => Self::Upstream(why),
            ScanError::RateLimited(ms) => Self::RateLimited(ms),
            ScanError::Malformed(why) => Self::Malformed(why),
            ScanError::WrongNetwork(id) => Self::WrongNetwork(id),
            ScanError::Behind(head) => Self::Upstream(format!("its head {head} is behind")),
            ScanError::Settings(why) => Self::Settings(why),
            ScanError::Other(why) => Self::Other(why),
        }
    }
}

impl From<Fault> for BalanceError {
    fn from(fault: Fault) -> Self {
        fault.into_scan_error().into()
    }
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Budget(why) => Self::Budget(why),
            error => Self::Scan(error.into()),
        }
    }
}

/// The upstream failed. The text may be a stranger's.
pub fn failed(why: impl AsRef<str>) -> ScanError {
    ScanError::Upstream(clean(why.as_ref()))
}

/// The upstream's answer contradicts itself or the format. The text may be a stranger's.
pub fn malformed(why: impl AsRef<str>) -> ScanError {
    ScanError::Malformed(clean(why.as_ref()))
}

/// The answer is sound by itself but contradicts another one.
pub fn lags(what: impl AsRef<str>) -> ScanError {
    failed(format!("{}: a backend lags or the chain moved", what.as_ref()))
}

/// Number of refusals in a row after which [`ask_all`] gives up.
const STRIKES: u32 = 3;
/// Number of times that [`ask_all`] asks a question whose answers are invalid.
const TRIES: u32 = 3;

/// An error that may be a refusal for too many requests.
pub trait Refusal: From<ScanError> {
    /// Milliseconds that the upstream asks to wait, if the error is such a refusal.
    fn wait_ms(&self) -> Option<u32>;
}

impl Refusal for ScanError {
    fn wait_ms(&self) -> Option<u32> {
        match self {
            Self::RateLimited(ms) => Some(*ms),
            _ => None,
        }
    }
}

impl From<ScanError> for Fault {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

impl Refusal for Fault {
    fn wait_ms(&self) -> Option<u32> {
        match self {
            Self::Scan(error) => error.wait_ms(),
            Self::Budget(_) => None,
        }
    }
}

/// The result of [`ask_all`].
#[derive(Debug, PartialEq)]
pub struct Asked<T, E> {
    /// Answers in the order of the questions. `None` if one was not answered.
    pub answers: Vec<Option<T>>,
    /// Reason that some are missing.
    pub error: Option<E>,
}

impl<T, E> Asked<T, E> {
    /// All answers.
    ///
    /// # Errors
    /// The reason that one is missing.
    pub fn all(self) -> Result<Vec<T>, E> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.answers.into_iter().flatten().collect()),
        }
    }
}

/// Asks `count` questions. When the upstream refuses some for being too many, it keeps what was answered and asks the
/// rest again, one at a time, until several refusals in a row have brought nothing. An invalid answer, as of a broken
/// backend among many, is asked for again twice. If the host has no answer at all, it ends.
///
/// `ask` gets the indexes of questions and returns their answers in that order; `accept` takes what is in one, or
/// returns the reason that it is invalid. The host makes requests wait for their turn, so this need not.
pub fn ask_all<A, T, E: Refusal>(
    count: usize,
    mut ask: impl FnMut(&[usize]) -> Vec<Result<A, E>>,
    mut accept: impl FnMut(A) -> Result<T, E>,
) -> Asked<T, E> {
    let mut asked = Asked { answers: (0..count).map(|_| None).collect(), error: None };
    let mut open: Vec<usize> = (0..count).collect();
    let mut tries = vec![0u32; count];
    let mut strikes = 0u32;
    while !open.is_empty() && asked.error.is_none() {
        let wave: Vec<usize> = open.iter().copied().take(if strikes == 0 { count } else { 1 }).collect();
        let (mut answers, mut refusal) = (ask(&wave).into_iter(), None);
        for index in &wave {
            let answer = answers.next().unwrap_or_else(|| Err(failed("an answer is missing").into()));
            let is_sent = answer.is_ok();
            match answer.and_then(&mut accept) {
                Ok(answer) => {
                    if let Some(slot) = asked.answers.get_mut(*index) {
                        *slot = Some(answer);
                    }
                }
                Err(error) if error.wait_ms().is_some() => refusal = Some(error),
                Err(error) => {
                    let tries = tries.get_mut(*index).map_or(TRIES, |tries| {
                        *tries = tries.saturating_add(1);
                        *tries
                    });
                    if !is_sent || tries >= TRIES {
                        asked.error = asked.error.or(Some(error));
                    }
                }
            }
        }
        let before = open.len();
        open.retain(|index| matches!(asked.answers.get(*index), Some(None)));
        strikes = match refusal {
            // A question that was served shows that others will be.
            None => 0,
            Some(_) if open.len() < before => 1,
            Some(refusal) => {
                if strikes >= STRIKES {
                    asked.error = asked.error.or(Some(refusal));
                }
                strikes.saturating_add(1)
            }
        };
    }
    asked
}

/// Checks that the parts of an upstream's answers are one report: the block at the head's height is the head (the chain
/// may have moved between two requests), and no movement is there twice. Errors if they are not.
pub fn agrees(result: &ScanResult) -> Result<(), ScanError> {
    let is_at_head = |last: &&Block| last.height == result.head.height;
    if result.blocks.last().filter(is_at_head).is_some_and(|last| last.hash != result.head.hash) {
        return Err(lags("the block at the head's height is not the head"));
    }
    let mut seen = HashSet::new();
    if result.transfers.iter().all(|transfer| seen.insert((&transfer.tx, transfer.ordinal))) {
        Ok(())
    } else {
        Err(malformed("the same transaction twice"))
    }
}

/// `Retry-After` in milliseconds. Its other form, a date, is treated as absent.
#[must_use]
pub fn retry_after_ms(header: Option<&str>) -> u32 {
    let seconds = header.and_then(|text| text.trim().parse::<u32>().ok());
    seconds.map_or(RATE_LIMITED_MS, |seconds| seconds.clamp(1, WAIT_MAX_S).saturating_mul(1_000))
}

/// Makes strangers' text fit for a log line.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_ascii_graphic() || char == ' ' { char } else { ' ' })
        .take(TEXT_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Memo, Position, Transfer};

    #[test]
    fn retry_after_is_bounded() {
        assert_eq!(retry_after_ms(None), 1_000);
        assert_eq!(retry_after_ms(Some(" 7 ")), 7_000);
        assert_eq!(retry_after_ms(Some("0")), 1_000);
        assert_eq!(retry_after_ms(Some("86400")), 60_000);
        assert_eq!(retry_after_ms(Some("Wed, 21 Oct 2026 07:28:00 GMT")), 1_000);
        assert_eq!(retry_after_ms(Some("-5")), 1_000);
    }

    /// Asks a provider that serves `limit` requests at once. Returns the result, and the number of requests of each
    /// wave.
    fn served(limit: usize, count: usize) -> (Asked<usize, ScanError>, Vec<usize>) {
        let mut waves = Vec::new();
        let asked = ask_all(
            count,
            |indexes| {
                waves.push(indexes.len());
                let answer = |(nth, index): (usize, &usize)| {
                    if nth < limit { Ok(*index) } else { Err(ScanError::RateLimited(1_000)) }
                };
                indexes.iter().enumerate().map(answer).collect()
            },
            Ok,
        );
        (asked, waves)
    }

    #[test]
    fn what_was_answered_is_kept_when_the_rest_is_refused() {
        for (limit, count, waves) in
            [(9, 4, vec![4]), (2, 4, vec![4, 1, 1]), (1, 3, vec![3, 1, 1]), (0, 0, vec![])]
        {
            let (asked, sizes) = served(limit, count);
            assert_eq!((asked.all(), sizes), (Ok((0..count).collect()), waves));
        }
        let (asked, waves) = served(0, 3);
        assert_eq!((asked.all(), waves), (Err(ScanError::RateLimited(1_000)), vec![3, 1, 1, 1]));
    }

    #[test]
    fn another_error_ends_it_and_so_does_an_answer_too_few() {
        let broken = ask_all(3, |_| vec![Ok(1), Err(failed("down")), Ok(3)], Ok);
        assert_eq!(broken, Asked { answers: vec![Some(1), None, Some(3)], error: Some(failed("down")) });
        let short: Asked<i32, Fault> = ask_all(2, |_| vec![Ok(1)], Ok);
        assert_eq!(short.all(), Err(Fault::upstream("an answer is missing")));
        let large: Asked<i32, Fault> = ask_all(1, |_| vec![Err(Fault::Budget("bytes".into()))], Ok);
        assert_eq!(large.all(), Err(Fault::Budget("bytes".into())));
    }

    /// The answers are valid only at the given try.
    #[test]
    fn an_answer_that_is_none_is_asked_for_again_twice() {
        for (good_at, expected, waves) in [
            ([1, 1], Ok(vec![0, 1]), vec![2]),
            ([1, 3], Ok(vec![0, 1]), vec![2, 1, 1]),
            ([4, 1], Err(failed("none at try 3")), vec![2, 1, 1]),
        ] {
            let (mut tries, mut sizes) = ([0, 0], Vec::new());
            let asked = ask_all(
                2,
                |indexes| {
                    sizes.push(indexes.len());
                    indexes.iter().map(|index| Ok(*index)).collect()
                },
                |index| {
                    tries[index] += 1;
                    let is_good = tries[index] >= good_at[index];
                    if is_good { Ok(index) } else { Err(failed(format!("none at try {}", tries[index]))) }
                },
            );
            assert_eq!((asked.all(), sizes), (expected, waves));
        }
    }

    #[test]
    fn strangers_texts_are_cut_and_cleaned() {
        assert_eq!(clean("a\nb\u{1b}[31mc\u{202e}"), "a b [31mc");
        assert_eq!(clean(&"x".repeat(1_000)).len(), 160);
    }

    #[test]
    fn a_report_agrees_with_itself() {
        let transfer = |tx: &str, ordinal| Transfer {
            tx: tx.into(),
            ordinal,
            asset: 0,
            sender: None,
            recipient: "shop".into(),
            amount: None,
            memo: Memo::None,
            height: 7,
            more: Vec::new(),
        };
        let report = |hash: &str, height, transfers: &[(&str, u32)]| ScanResult {
            blocks: vec![Block {
                height: 7,
                hash: hash.into(),
                parent: "6".into(),
                time_ms: 0,
                more: Vec::new(),
            }],
            transfers: transfers.iter().map(|(tx, ordinal)| transfer(tx, *ordinal)).collect(),
            head: Position { height, hash: "7".into() },
            safe: None,
            final_: 0,
            more: Vec::new(),
        };
        assert_eq!(agrees(&report("7", 7, &[("a", 0), ("a", 1), ("b", 0)])), Ok(()));
        assert_eq!(agrees(&report("other", 8, &[])), Ok(()));
        assert!(matches!(agrees(&report("other", 7, &[])), Err(ScanError::Upstream(_))));
        assert!(matches!(agrees(&report("7", 7, &[("a", 0), ("a", 0)])), Err(ScanError::Malformed(_))));
    }
}
