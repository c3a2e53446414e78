//! Terms and notes of the upstream that a chain plugin's call asks.

use super::text::one_line;
use crate::{
    domain::Millis,
    host::{
        bindings::services::kassa::plugin::{
            http::HttpError,
            upstream::{self, NoteError, UpstreamTerms},
        },
        services::CallState,
    },
    upstreams::NOTES_MAX,
};

/// Maximum time that an upstream is left alone because a plugin said so, milliseconds.
const REFUSED_MS_MAX: u32 = 300_000;
const SHOWN_CHARS_MAX: usize = 60;

impl upstream::Host for CallState {
    fn terms(&mut self) -> wasmtime::Result<Result<UpstreamTerms, HttpError>> {
        self.count()?;
        Ok(self.services.http.upstream().map(|upstream| {
            let (calls_per_second, notes) = upstream.terms();
            UpstreamTerms { calls_per_second, notes }
        }))
    }

    fn note(&mut self, notes: String) -> wasmtime::Result<Result<(), NoteError>> {
        self.count()?;
        if let Err(why) = check(&notes) {
            return Ok(Err(NoteError::Malformed(why.to_string())));
        }
        let upstream = self.services.http.upstream().map_err(|_| NoteError::NoUpstream);
        Ok(upstream.map(|upstream| upstream.note(notes)))
    }

    fn refused(&mut self, calls: u32, retry_ms: u32) -> wasmtime::Result<()> {
        self.count()?;
        if let Ok(upstream) = self.services.http.upstream() {
            upstream.refused(calls, Millis::from(retry_ms.min(REFUSED_MS_MAX)));
        }
        Ok(())
    }
}

/// Notes that are no short line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes, at most {NOTES_MAX}, without control characters: {shown}")]
struct NotShort {
    bytes: usize,
    shown: String,
}

/// Checks that notes are one short line that an operator may be shown.
fn check(notes: &str) -> Result<(), NotShort> {
    if notes.len() <= NOTES_MAX && !notes.chars().any(char::is_control) {
        return Ok(());
    }
    Err(NotShort { bytes: notes.len(), shown: one_line(notes, SHOWN_CHARS_MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_a_short_line() {
        for notes in ["", "batch=10", &"x".repeat(NOTES_MAX)] {
            assert_eq!(check(notes), Ok(()));
        }
        for notes in [&*"x".repeat(NOTES_MAX + 1), "a\nb", "a\u{1b}[31m", "\0"] {
            assert!(check(notes).is_err(), "{notes:?}");
        }
    }
}
