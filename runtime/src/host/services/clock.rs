//! The host's time, too coarse to measure the host by.

use super::tape::{HostAnswer, HostCall, taped};
use crate::host::{bindings::services::kassa::plugin::clock, services::CallState};

const STEP_MS: i64 = 100;

impl clock::Host for CallState {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        let now = self.services.shared.clock.now();
        Ok(taped!(self, Now, u64::try_from(now - now.rem_euclid(STEP_MS)).unwrap_or(0)))
    }
}
