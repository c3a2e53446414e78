//! State of a store while its call runs.

use std::sync::Arc;

use super::Services;
use crate::host::{
    limits::{Exceeded, Limits, MemoryLimiter},
    meter::Meter,
    seat::Seat,
};

/// State of a store while its call runs.
pub(crate) struct CallState {
    pub(in crate::host) memory: MemoryLimiter,
    meter: Arc<Meter>,
    host_calls_max: u32,
    host_calls_left: u32,
    seat: Seat,
    pub(in crate::host) services: Services,
}

impl CallState {
    pub(in crate::host) fn new(limits: &Limits, meter: Arc<Meter>, seat: Seat, services: Services) -> Self {
        Self {
            memory: MemoryLimiter::new(limits.memory_bytes),
            meter,
            host_calls_max: limits.host_calls,
            host_calls_left: limits.host_calls,
            seat,
            services,
        }
    }

    /// Number of calls of host functions so far.
    pub(in crate::host) fn host_calls(&self) -> u32 {
        self.host_calls_max - self.host_calls_left
    }

    /// Counts a call of a host function; each begins with this. Errors if the budget is used up.
    pub(in crate::host) fn count(&mut self) -> wasmtime::Result<()> {
        self.host_calls_left = self.host_calls_left.checked_sub(1).ok_or(Exceeded::HostCalls)?;
        Ok(self.meter.asked()?)
    }

    /// The seat and services of a host function that waits for something outside.
    pub(in crate::host) fn outside(&mut self) -> (&mut Seat, &mut Services) {
        (&mut self.seat, &mut self.services)
    }
}
