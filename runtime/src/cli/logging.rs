//! Destinations of the log.

use std::{fs::File, path::Path, sync::Mutex};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(text)
        .with_context(|| format!("log_filter {text:?} is no filter (like info or kassa=debug)"))
}

/// Logs to stderr, in the configured format.
pub(super) fn to_stderr(config: &Config) -> anyhow::Result<()> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(&config.log_filter)?).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => {
            builder.with_ansi(console::colors_enabled_stderr()).with_target(false).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Logs to a file, for commands whose screen shows something else.
pub(super) fn to_file(file: &Path) -> anyhow::Result<()> {
    let out = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter("info")?)
        .with_ansi(false)
        .with_writer(Mutex::new(out))
        .init();
    Ok(())
}
