//! What a chain plugin knows, and says, of the upstream that its call asks.

use super::text::one_line;
use crate::{
    domain::Millis,
    host::{
        bindings::services::kassa::plugin::{
            http::HttpError,
            upstream::{self, NoteError, UpstreamTerms},
        },
        call::CallState,
    },
    upstreams::NOTES_MAX,
};

/// Longer an upstream is not left alone for a word of the plugin.
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
        if notes.len() > NOTES_MAX || notes.chars().any(char::is_control) {
            let shown = one_line(&notes, SHOWN_CHARS_MAX);
            let why =
                format!("{} bytes, at most {NOTES_MAX}, without control characters: {shown}", notes.len());
            return Ok(Err(NoteError::Malformed(why)));
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
