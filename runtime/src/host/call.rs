//! One call: a fresh store and instance, every limit, and the effects that it leaves.
//!
//! The store never outlives its call. After a trap, a failed host function or a dropped future an instance
//! refuses to be entered again; so nothing is kept, and all state of a plugin is in `storage`.
//!
//! A call is stopped from three sides, since each is blind to something. Ticks interrupt guest code to count
//! its processor time and to let others run, but do not fire while a host function waits. The wall clock sees
//! waiting, but not a guest that never yields. Budgets of host calls, bytes and memory see neither.
//!
//! What a call does to the world is handed back to the caller, who commits it with the call's result in one
//! transaction, or drops it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{sync::Semaphore, time::Instant};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::{
    engine::Runtime,
    error::CallError,
    limits::{Exceeded, Limits},
    meter::Meter,
    seat::Seat,
    services::{CallState, LogLine, QueuedWebhook, Recording, Services, Shared, Subject, Tape, text},
};
use crate::{db::plugin_storage::StorageWrites, domain::id::UpstreamId};

/// Processor time after which a hook's call goes on in the slow lane, nanoseconds: three times Python's start.
const QUICK_NS: u64 = 3_000_000;
/// Maximum length of a guest's own message about its end, characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// A call without an answer, and the upstream that it talked to, whose health is judged by that.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct CallFailed {
    #[source]
    pub error: CallError,
    pub upstream: Option<UpstreamId>,
    /// Usage and log of the call until it failed.
    pub trace: Box<Trace>,
}

/// Usage, log and tape of a call, whether it came to an answer or not.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// Processor time charged to the call; this is what is limited.
    pub(crate) cpu: Duration,
    /// Approximate number of instructions; counted for hooks only.
    pub(crate) fuel: u64,
    pub(crate) memory_bytes: usize,
    pub(crate) host_calls: u32,
    pub(crate) http_requests: u32,
    /// Lines that a hook logged.
    pub(crate) log: Vec<LogLine>,
    /// Questions of a hook to the host, with their answers.
    pub(crate) tape: Recording,
}

impl From<CallError> for CallFailed {
    fn from(error: CallError) -> Self {
        Self { error, upstream: None, trace: Box::default() }
    }
}

/// An answer, and the effects to be committed with it.
#[derive(Debug)]
pub(crate) struct Called<T> {
    pub(crate) value: T,
    /// For [`crate::db::plugin_storage::apply`], in the transaction that commits the value.
    pub(crate) writes: StorageWrites,
    /// Webhooks to be committed with the writes.
    pub(crate) webhooks: Vec<QueuedWebhook>,
    /// The upstream that answered.
    pub(crate) upstream: Option<UpstreamId>,
    /// The version of the plugin that ran.
    pub(crate) version_id: String,
    pub(crate) trace: Trace,
}

/// The store of one call.
pub(super) type CallStore = Store<CallState>;

/// Runs calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Caller {
    runtime: Runtime,
    places: Arc<Semaphore>,
    /// Places for hooks' calls that wait for the network.
    waiting: Option<Arc<Semaphore>>,
    /// Threads that hooks' calls share once they have used more than [`QUICK_NS`], a tick each in turn, so that the
    /// other threads are free for the quick ones.
    slow_lane: Option<Arc<Semaphore>>,
    shared: Arc<Shared>,
}

impl Caller {
    pub(crate) fn new(runtime: Runtime, calls_max: u32, shared: Arc<Shared>) -> Self {
        let calls_max = usize::try_from(calls_max).unwrap_or(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(calls_max));
        let waiting = runtime.counts_fuel().then(|| Arc::new(Semaphore::new(calls_max)));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let slow_lane = runtime.counts_fuel().then(|| Arc::new(Semaphore::new((threads / 2).max(1))));
        Self { runtime, places, waiting, slow_lane, shared }
    }

    /// A seat for a call, with no place yet.
    pub(super) fn seat(&self) -> Seat {
        Seat::new(self.waiting.clone())
    }

    pub(super) fn engine(&self) -> &Engine {
        self.runtime.engine()
    }

    #[cfg(feature = "bench")]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Runs `work` on a fresh store.
    pub(crate) async fn run<T, F>(
        &self,
        subject: Arc<Subject>,
        limits: Limits,
        work: F,
    ) -> Result<Called<T>, CallFailed>
    where
        F: AsyncFnOnce(&mut CallStore) -> wasmtime::Result<T>,
    {
        self.run_taped(self.seat(), subject, limits, Tape::Off, work).await
    }

    /// Runs `work` as [`Caller::run`] does, with the call's questions recorded, or answered from a recording. `seat`
    /// has the places that the call needs in addition to one of the common ones.
    pub(crate) async fn run_taped<T, F>(
        &self,
        mut seat: Seat,
        subject: Arc<Subject>,
        limits: Limits,
        tape: Tape,
        work: F,
    ) -> Result<Called<T>, CallFailed>
    where
        F: AsyncFnOnce(&mut CallStore) -> wasmtime::Result<T>,
    {
        seat.take(&self.places).await?;
        let _ticking = self.runtime.ticking();

        let meter = Meter::start(limits.cpu);
        let mut store = self.store(seat, subject.clone(), &limits, meter.clone(), tape);
        let guarded = AssertUnwindSafe(meter.clone().drive(work(&mut store))).catch_unwind();
        let ended = tokio::time::timeout(limits.wall, guarded).await;
        let fuel =
            if self.runtime.counts_fuel() { u64::MAX - store.get_fuel().unwrap_or(u64::MAX) } else { 0 };
        let state = store.into_data();
        let host_calls = state.host_calls();
        let mut services = state.services;
        let upstream = services.http.upstream_id();
        let trace = Trace {
            cpu: meter.polled(),
            fuel,
            memory_bytes: state.memory.used(),
            host_calls,
            http_requests: services.http.requests(),
            log: std::mem::take(&mut services.log.kept),
            tape: std::mem::take(&mut services.tape).into_recording(),
        };
        let error = match ended {
            Ok(Ok(Ok(value))) => {
                let writes = services.storage.into_writes();
                let version_id = subject.version_id.clone();
                let webhooks = services.webhooks.queued;
                return Ok(Called { value, writes, webhooks, upstream, version_id, trace });
            }
            Ok(Ok(Err(error))) => classify(&error),
            Ok(Err(_)) => {
                CallError::Trap { message: "the host itself broke; this is a defect of Kassa".to_owned() }
            }
            Err(_) => CallError::WallClock,
        };
        Err(CallFailed { error, upstream, trace: Box::new(trace) })
    }

    fn store(
        &self,
        seat: Seat,
        subject: Arc<Subject>,
        limits: &Limits,
        meter: Arc<Meter>,
        tape: Tape,
    ) -> CallStore {
        let services =
            Services::new(self.shared.clone(), subject, limits, Instant::now() + limits.wall, tape);
        let state = CallState::new(limits, meter.clone(), seat, services);
        let mut store = Store::new(self.runtime.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.handover_bytes);
        store.set_max_component_handles(limits.handles);
        store.set_epoch_deadline(1);
        if self.runtime.counts_fuel() {
            // Fuel counts and limits nothing: processor time does. This fails only if fuel is not counted.
            let _ = store.set_fuel(u64::MAX);
        }
        let slow_lane = self.slow_lane.clone();
        store.epoch_deadline_callback(move |_| {
            let used_ns = meter.tick()?;
            Ok(match &slow_lane {
                Some(lane) if used_ns > QUICK_NS => {
                    UpdateDeadline::YieldCustom(1, Box::pin(meter.clone().slow_down(lane.clone())))
                }
                _ => UpdateDeadline::Yield(1),
            })
        });
        store
    }
}

/// Classifies the end of a call from wasmtime's error.
pub(super) fn classify(error: &wasmtime::Error) -> CallError {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return match exceeded {
            Exceeded::Memory => CallError::Memory,
            Exceeded::Cpu => CallError::CpuBudget,
            Exceeded::HostCalls => CallError::HostCalls,
        };
    }
    if error.is::<super::services::StaleRead>() {
        return CallError::Stale;
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Busy;
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return CallError::Trap { message: trap.to_string() };
    }
    let message = error.root_cause().to_string();
    // wasmtime has no public type for this error.
    if message.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::Handover;
    }
    CallError::Trap { message: text::one_line(&message, MESSAGE_CHARS_MAX) }
}
