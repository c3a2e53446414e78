//! Progress on a terminal, for work that takes a while.

use std::{convert::Infallible, time::Duration};

use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Body;

/// Size of one step of the bar, bytes.
const STEP: usize = 64 << 10;

const WAITING: &str = "{spinner} {msg} {elapsed}";

/// A spinner for work of unknown length.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    shown(ProgressBar::new_spinner().with_message(what), WAITING)
}

fn shown(bar: ProgressBar, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Progress of reading blocks, a bar once their number is known.
pub(super) struct Blocks(ProgressBar);

impl Blocks {
    pub(super) fn new() -> Self {
        Self(shown(ProgressBar::new_spinner(), WAITING))
    }

    pub(super) fn show(&self, read: Option<u64>, blocks: Option<u64>, what: &str) {
        if let Some(blocks) = blocks.filter(|blocks| self.0.length() != Some(*blocks)) {
            self.0.set_length(blocks);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:30} {pos}/{len} {eta}") {
                self.0.set_style(style);
            }
        }
        self.0.set_position(read.unwrap_or(0));
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Progress of an upload: a bar while it is sent, then a note that it is being compiled.
pub(super) struct Upload(ProgressBar);

impl Upload {
    pub(super) fn new(bytes: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(bytes).unwrap_or(u64::MAX)).with_message("uploading");
        Self(shown(bar, "{spinner} {msg} {bar:30} {bytes}/{total_bytes} {elapsed}"))
    }

    /// A request body of the component, which advances the bar.
    pub(super) fn body(&self, wasm: Vec<u8>) -> Body {
        let bar = self.0.clone();
        let mut rest = bytes::Bytes::from(wasm);
        Body::wrap_stream(stream::iter(std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let step = rest.split_to(rest.len().min(STEP));
            bar.inc(u64::try_from(step.len()).unwrap_or(0));
            if rest.is_empty() {
                compiling(&bar);
            }
            Some(Ok::<_, Infallible>(step))
        })))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn compiling(bar: &ProgressBar) {
    if let Ok(style) = ProgressStyle::with_template(WAITING) {
        bar.set_style(style);
    }
    bar.set_message("checking and compiling");
}
