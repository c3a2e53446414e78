//! Tapes of hooks' calls: the questions to the host and its answers, recorded with every run, and played to another
//! version to see what that would have done.
//!
//! A version that is played a tape has no effects. A question that the recorded version asked too gets the recorded
//! answer; any other is read from the storage as it is now, sent nowhere and queued for nobody. [`differences`] says
//! where the two part.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::host::bindings::services::kassa::plugin::{
    http::{self, HttpError},
    random::RandomError,
    secrets::SecretError,
    storage::StorageError,
    webhooks::WebhooksError,
};

/// Maximum length of a recording, bytes. A longer one is cut and cannot be played.
const BYTES_MAX: usize = 128 << 10;
/// Maximum length of stored or sent text that is shown, characters.
const SHOWN_CHARS_MAX: usize = 500;

/// A question to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::host) enum HostCall {
    Get(String),
    GetMany(Vec<String>),
    Set(String, Vec<u8>),
    Delete(String),
    Keys(String, Option<String>, u32),
    Send(Vec<http::Request>),
    Queue(Option<String>, String, String),
    Sign(String, String, Vec<u8>),
    Random(u32),
    Now,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::host) enum HostAnswer {
    Get(Result<Option<Vec<u8>>, StorageError>),
    GetMany(Result<Vec<Option<Vec<u8>>>, StorageError>),
    Set(Result<(), StorageError>),
    Delete(Result<(), StorageError>),
    Keys(Result<Vec<String>, StorageError>),
    Send(Vec<Result<http::Response, HttpError>>),
    Queue(Result<String, WebhooksError>),
    Sign(Result<Vec<u8>, SecretError>),
    Random(Result<Vec<u8>, RandomError>),
    Now(u64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    asked: HostCall,
    answered: HostAnswer,
}

/// A recording as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recording {
    steps: Vec<Step>,
    /// True if it became too long and ends before the call did.
    cut: bool,
}

/// Recording or replay of a call's questions.
#[derive(Debug, Default)]
pub(crate) enum Tape {
    /// Nothing is recorded: for chain plugins.
    #[default]
    Off,
    Record(Recorder),
    /// Answers come from a recording while it has any.
    Play(VecDeque<Step>, Recorder),
}

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    recording: Recording,
    bytes: usize,
}

impl Tape {
    pub(crate) fn record() -> Self {
        Self::Record(Recorder::default())
    }

    /// A tape that plays a recording; nothing that is asked has an effect.
    pub(crate) fn play(recording: Recording) -> Self {
        Self::Play(recording.steps.into(), Recorder::default())
    }

    pub(in crate::host) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    pub(in crate::host) fn is_playing(&self) -> bool {
        matches!(self, Self::Play(..))
    }

    /// The recorded answer to the same question, each used once and in order.
    pub(in crate::host) fn played(&mut self, asked: &HostCall) -> Option<HostAnswer> {
        let Self::Play(steps, _) = self else { return None };
        let index = steps.iter().position(|step| step.asked == *asked)?;
        steps.remove(index).map(|step| step.answered)
    }

    pub(in crate::host) fn note(&mut self, asked: HostCall, answered: HostAnswer) {
        let (Self::Record(recorder) | Self::Play(_, recorder)) = self else { return };
        if recorder.recording.cut {
            return;
        }
        let step = Step { asked, answered };
        // Approximately its size where it is stored.
        recorder.bytes += serde_json::to_vec(&step).map_or(BYTES_MAX, |bytes| bytes.len());
        if recorder.bytes > BYTES_MAX {
            recorder.recording = Recording { steps: Vec::new(), cut: true };
        } else {
            recorder.recording.steps.push(step);
        }
    }

    pub(in crate::host) fn into_recording(self) -> Recording {
        match self {
            Self::Off => Recording::default(),
            Self::Record(recorder) | Self::Play(_, recorder) => recorder.recording,
        }
    }
}

/// Asks the tape first, and records the answer: `taped!(self, Get(key.clone()), storage.get(&key))`.
macro_rules! taped {
    ($state:expr, $case:ident $(($($asked:expr),*))?, $answer:expr) => {{
        let asked = $state.services.tape.is_on().then(|| HostCall::$case $(($($asked),*))?);
        let played = match &asked {
            Some(asked) => $state.services.tape.played(asked),
            None => None,
        };
        let answer = match played {
            Some(HostAnswer::$case(answer)) => answer,
            _ => $answer,
        };
        if let Some(asked) = asked {
            $state.services.tape.note(asked, HostAnswer::$case(answer.clone()));
        }
        answer
    }};
}
pub(super) use taped;

impl Recording {
    /// True if the recording became too long to be kept.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Effects that the call had, or would have had, as people read them.
    pub(crate) fn effects(&self) -> Vec<Value> {
        self.steps.iter().flat_map(|step| step.asked.effects()).collect()
    }
}

/// Effects that the second recording lacks, and those that it has instead.
pub(crate) fn differences(then: &Recording, now: &Recording) -> (Vec<Value>, Vec<Value>) {
    let mut missing = then.effects();
    let mut added = Vec::new();
    for effect in now.effects() {
        match missing.iter().position(|one| *one == effect) {
            Some(index) => drop(missing.remove(index)),
            None => added.push(effect),
        }
    }
    (missing, added)
}

impl HostCall {
    fn effects(&self) -> Vec<Value> {
        match self {
            Self::Set(key, value) => vec![json!({ "store": key, "value": shown(value) })],
            Self::Delete(key) => vec![json!({ "delete": key })],
            Self::Queue(endpoint, event, data) => {
                vec![json!({ "webhook": event, "endpoint": endpoint, "data": shown(data.as_bytes()) })]
            }
            Self::Send(requests) => requests.iter().map(sent).collect(),
            Self::Get(_)
            | Self::GetMany(_)
            | Self::Keys(..)
            | Self::Sign(..)
            | Self::Random(_)
            | Self::Now => Vec::new(),
        }
    }
}

fn sent(request: &http::Request) -> Value {
    let method = super::method::name(&request.method);
    let url = match &request.target {
        http::Target::Upstream(target) => &target.path,
        http::Target::Url(url) => url,
    };
    // As the hook wrote them: with the names of secrets.
    let headers: Vec<String> =
        request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    json!({ "request": format!("{method} {url}"), "headers": headers, "body": shown(&request.body) })
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => super::text::one_line(text, SHOWN_CHARS_MAX),
        Err(_) => format!("{} bytes that are no text", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: &str) -> HostCall {
        HostCall::Get(key.to_owned())
    }

    fn value(text: &str) -> HostAnswer {
        HostAnswer::Get(Ok(Some(text.as_bytes().to_vec())))
    }

    #[test]
    fn what_was_asked_is_answered_as_it_was_each_time_once() {
        let mut tape = Tape::record();
        assert_eq!(tape.played(&get("a")), None);
        tape.note(get("a"), value("1"));
        tape.note(get("a"), value("2"));
        let mut played = Tape::play(tape.into_recording());
        assert_eq!(played.played(&get("b")), None);
        assert_eq!(played.played(&get("a")), Some(value("1")));
        assert_eq!(played.played(&get("a")), Some(value("2")));
        assert_eq!(played.played(&get("a")), None);
    }

    /// A recording holds what the hook wrote and was answered: names of secrets, and no key.
    #[test]
    fn a_replay_is_given_the_same_randomness_and_signatures() {
        let asked = || {
            let sign = ("key".to_owned(), "ES256".to_owned(), b"m".to_vec());
            [HostCall::Random(3), HostCall::Sign(sign.0, sign.1, sign.2), HostCall::Random(3)]
        };
        let answered = || {
            [
                HostAnswer::Random(Ok(vec![1, 2, 3])),
                HostAnswer::Sign(Ok(vec![7])),
                HostAnswer::Random(Ok(vec![4, 5, 6])),
            ]
        };
        let mut tape = Tape::record();
        for (asked, answered) in asked().into_iter().zip(answered()) {
            tape.note(asked, answered);
        }
        let kept = serde_json::to_string(&tape.into_recording()).unwrap();
        let mut played = Tape::play(serde_json::from_str(&kept).unwrap());
        for (asked, answered) in asked().iter().zip(answered()) {
            assert_eq!(played.played(asked), Some(answered));
        }
        assert_eq!(played.played(&HostCall::Random(3)), None);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut tape = Tape::record();
        tape.note(HostCall::Set("a".to_owned(), vec![7; BYTES_MAX]), HostAnswer::Set(Ok(())));
        tape.note(get("a"), value("1"));
        let recording = tape.into_recording();
        assert!(recording.is_cut() && recording.effects().is_empty());
    }

    #[test]
    fn differences_are_effects_of_the_one_and_not_of_the_other() {
        let recording = |keys: &[&str]| {
            let mut tape = Tape::record();
            tape.note(get("x"), value("1"));
            for key in keys {
                tape.note(HostCall::Delete((*key).to_owned()), HostAnswer::Delete(Ok(())));
            }
            tape.into_recording()
        };
        let (missing, added) = differences(&recording(&["a", "b", "b"]), &recording(&["b", "c"]));
        assert_eq!(missing, [json!({"delete": "a"}), json!({"delete": "b"})]);
        assert_eq!(added, [json!({"delete": "c"})]);
    }
}
