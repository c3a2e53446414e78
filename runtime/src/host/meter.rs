//! The processor time of a call: the time of whichever thread polls it, while it polls it. Ticks alone would charge
//! a call for what its neighbours use.
//!
//! Most calls are over before their first tick, and a thread's clock costs more to read than much of what they do.
//! So until its first tick a call is measured by the wall clock, a tick for each poll at the most, and from then on
//! by the clock of its threads.
//!
//! wasmtime looks for ticks where a guest's function begins and where a loop goes round. Code that has neither asks
//! the host as often as it likes and sees none; hence each host call looks too, and is a tick where one is due.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{engine::TICK, limits::Exceeded};

/// Processor time that one call has used and may use.
#[derive(Debug)]
pub(super) struct Meter {
    limit_ns: u64,
    /// The permit of the slow lane, while the call has one.
    lane: Mutex<Option<OwnedSemaphorePermit>>,
    began: Instant,
    ticked: AtomicBool,
    used_ns: AtomicU64,
    /// Start of the part of this poll that is not yet in `used_ns`, nanoseconds: by the wall clock before the first
    /// tick, then by the thread's clock.
    since_ns: AtomicU64,
}

impl Meter {
    pub(super) fn start(limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit_ns: nanos(limit),
            lane: Mutex::default(),
            began: Instant::now(),
            ticked: AtomicBool::new(false),
            used_ns: AtomicU64::new(0),
            since_ns: AtomicU64::new(0),
        })
    }

    /// Drives a future and measures its polls.
    pub(super) async fn drive<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            self.since_ns.store(self.clock_ns(), Ordering::Relaxed);
            let polled = future.as_mut().poll(context);
            self.used_ns.store(self.used_ns(), Ordering::Relaxed);
            // A call that waits needs no processor.
            drop(self.lane().take());
            polled
        })
        .await
    }

    /// Handles a tick, which comes inside a poll. Returns the time used until now, nanoseconds. Errors if the limit is
    /// passed.
    pub(super) fn tick(&self) -> Result<u64, Exceeded> {
        let used_ns = self.used_ns();
        if !self.ticked.load(Ordering::Relaxed) {
            self.used_ns.store(used_ns, Ordering::Relaxed);
            self.ticked.store(true, Ordering::Relaxed);
            self.since_ns.store(self.clock_ns(), Ordering::Relaxed);
        }
        if used_ns > self.limit_ns { Err(Exceeded::Cpu) } else { Ok(used_ns) }
    }

    /// Handles a host call, which is a tick if one is due.
    pub(super) fn asked(&self) -> Result<(), Exceeded> {
        let is_tick = self.ticked.load(Ordering::Relaxed)
            || self.this_poll_ns() >= nanos(TICK)
            || self.used_ns.load(Ordering::Relaxed) > self.limit_ns;
        if is_tick { self.tick().map(drop) } else { Ok(()) }
    }

    /// Processor time of all polls; asked between polls.
    pub(super) fn polled(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed))
    }

    /// Lets others run, then waits for a permit of the slow lane, which the call keeps until it waits again.
    pub(super) async fn slow_down(self: Arc<Self>, lane: Arc<Semaphore>) {
        tokio::task::yield_now().await;
        // The semaphore is never closed.
        let permit = lane.acquire_owned().await.ok();
        *self.lane() = permit;
    }

    fn lane(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock_ns(&self) -> u64 {
        let now = if self.ticked.load(Ordering::Relaxed) {
            ThreadTime::now().as_duration()
        } else {
            self.began.elapsed()
        };
        nanos(now)
    }

    fn this_poll_ns(&self) -> u64 {
        self.clock_ns().saturating_sub(self.since_ns.load(Ordering::Relaxed))
    }

    /// Processor time including the poll under way, nanoseconds.
    fn used_ns(&self) -> u64 {
        let most_ns = if self.ticked.load(Ordering::Relaxed) { u64::MAX } else { nanos(TICK) };
        self.used_ns.load(Ordering::Relaxed).saturating_add(self.this_poll_ns().min(most_ns))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any tick; costs no processor time on a thread that has no other work.
    const PAUSE: Duration = Duration::from_millis(50);

    fn spin(time: Duration) {
        let until = nanos(ThreadTime::now().as_duration()) + nanos(time);
        while nanos(ThreadTime::now().as_duration()) < until {}
    }

    #[tokio::test]
    async fn a_call_is_not_charged_for_what_others_use() {
        let meter = Meter::start(PAUSE * 4);
        let call = async {
            // Before the first tick, as if the thread had been preempted.
            std::thread::sleep(PAUSE);
            assert!(meter.tick().unwrap() <= nanos(TICK));
            std::thread::sleep(PAUSE);
            tokio::time::sleep(PAUSE).await;
            std::thread::sleep(PAUSE);
        };
        meter.clone().drive(call).await;
        assert!(meter.polled() < PAUSE, "{:?}", meter.polled());
    }

    #[tokio::test]
    async fn from_the_first_tick_on_all_is_charged() {
        let meter = Meter::start(PAUSE * 4);
        let call = async {
            spin(TICK * 2);
            assert_eq!(meter.tick().unwrap(), nanos(TICK));
            spin(PAUSE);
            let before = meter.tick().unwrap();
            assert!(before >= nanos(TICK + PAUSE));
            tokio::task::yield_now().await;
            spin(PAUSE);
            assert!(meter.tick().unwrap() >= before + nanos(PAUSE));
        };
        meter.clone().drive(call).await;
        assert!(meter.polled() >= TICK + PAUSE * 2, "{:?}", meter.polled());
    }

    #[tokio::test]
    async fn calls_without_a_tick_are_charged_too() {
        let meter = Meter::start(TICK * 4);
        let call = async {
            for _ in 0..5 {
                spin(TICK);
                tokio::task::yield_now().await;
            }
            assert!(matches!(meter.asked(), Err(Exceeded::Cpu)));
        };
        meter.clone().drive(call).await;
        let polls = meter.polled();
        assert!(polls >= TICK * 5 && polls <= TICK * 6, "{polls:?}");
    }

    #[tokio::test]
    async fn host_calls_are_ticks_where_there_are_none() {
        let meter = Meter::start(PAUSE);
        let call = async {
            meter.asked().unwrap();
            spin(TICK);
            meter.asked().unwrap();
            spin(PAUSE);
            assert!(matches!(meter.asked(), Err(Exceeded::Cpu)));
        };
        meter.clone().drive(call).await;
    }
}
