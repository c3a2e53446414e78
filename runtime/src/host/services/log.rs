//! A plugin's lines in the host's log: cleaned, counted, and never the reason that a call fails.

use super::{Behalf, text};
use crate::host::{bindings::services::kassa::plugin::log, limits::Limits, services::CallState};

/// Maximum length of a line, characters; longer ones are cut.
const LINE_CHARS_MAX: usize = 2_000;

/// A line that a hook wrote, kept for its merchant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct LogLine {
    pub(crate) level: &'static str,
    pub(crate) text: String,
}

pub(in crate::host) struct Log {
    lines_left: u32,
    bytes_left: usize,
    /// Lines of a hook; those of chain plugins go to the log of the process.
    pub(in crate::host) kept: Vec<LogLine>,
}

impl Log {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { lines_left: limits.log_lines, bytes_left: limits.log_bytes, kept: Vec::new() }
    }

    /// The line to write for `message`; `None` once the budget is used up, and the last line says so.
    fn admit(&mut self, message: &str) -> Option<String> {
        self.lines_left = self.lines_left.checked_sub(1)?;
        let line = text::one_line(message, LINE_CHARS_MAX);
        if self.lines_left == 0 || line.len() > self.bytes_left {
            self.lines_left = 0;
            return Some("(the plugin says more; this call's budget of log lines is used up)".to_owned());
        }
        self.bytes_left -= line.len();
        Some(line)
    }
}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.count()?;
        let services = &mut self.services;
        let Some(line) = services.log.admit(&message) else { return Ok(()) };
        let subject = &services.subject;
        let Behalf::Network(network) = &subject.behalf else {
            let level = match level {
                log::Level::Debug => "debug",
                log::Level::Info => "info",
                log::Level::Warn => "warn",
                log::Level::Error => "error",
            };
            services.log.kept.push(LogLine { level, text: line });
            return Ok(());
        };
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(plugin = subject.plugin, version = subject.version, network, "{line}")
            };
        }
        match level {
            log::Level::Debug => write!(debug),
            log::Level::Info => write!(info),
            log::Level::Warn => write!(warn),
            log::Level::Error => write!(error),
        }
        Ok(())
    }
}
