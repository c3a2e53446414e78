//! The one engine: what compiled code looks like, where instances live, and the tick that makes them yield.
//!
//! Every number here has its reason beside it; those that an operator may change come from the configuration.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmFeatures,
};

use super::HostError;

/// How often a running guest is interrupted to let others run. 1 ms keeps timers of the process within 4 ms
/// while every worker thread has a looping guest; the yields cost up to 10 % of tight loops.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// So many ticks without a call, and the ticker sleeps until the next one: an idle process wakes nobody.
const IDLE_TICKS: u32 = 100;
/// How often a sleeping ticker looks whether its engine is still there.
const ENGINE_CHECK: Duration = Duration::from_secs(5);

/// Stack of the guest's own frames. wasmtime's default, enough for recursive parsers of real languages.
const WASM_STACK_BYTES: usize = 512 << 10;
/// The stack a call runs on: the guest's part, and 1.5 MiB for the host functions that it calls, which poll
/// the database's and the HTTP client's futures.
const CALL_STACK_BYTES: usize = 2 << 20;
/// A Rust component has 3 to 5 core instances, a Python one more than 33.
pub(crate) const CORE_INSTANCES_MAX: u32 = 100;
/// One memory is what every known toolchain makes; adapters between composed components add some.
pub(crate) const MEMORIES_MAX: u32 = 4;
pub(crate) const TABLES_MAX: u32 = 16;
/// Function pointers of one table: a C# module in debug mode has more than 10,000, Python 9,000.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Bookkeeping of one component's instances. JavaScript takes 100 KiB of it, Python 600 KiB.
pub(super) const INSTANCE_BYTES_MAX: usize = 2 << 20;
/// Pages that a finished call has touched are zeroed in place instead of given back, up to so many bytes.
/// With PAGEMAP_SCAN (Linux 6.7) only touched ones are looked at, so that more is faster; without it the
/// lowest pages are zeroed blindly, so that more is slower.
pub(super) const KEEP_RESIDENT_SCANNED: usize = 1 << 20;
pub(super) const KEEP_RESIDENT_BLIND: usize = 64 << 10;
/// Of a stack: zeroed in place at the end of every call, touched or not; what is deeper is given back and faulted in
/// again. A Rust hook goes about 8 KiB deep, a matcher with 100 candidates deeper.
const STACK_KEEP_RESIDENT: usize = 16 << 10;
/// More than a 32-bit memory has.
const MEMORY_BYTES_MAX: usize = 4 << 30;
/// Places in the pool beside those of the calls that are let in: admission tries a new version out.
const SPARE_CALLS: u32 = 8;

/// What of WebAssembly guests may use: what the compilers of C, Rust, JavaScript and Python put out. Everything else is
/// attack surface, whatever a new version of wasmtime has on by default: subtypes, memories of 64 bits, relaxed SIMD and
/// others had an advisory each.
const FEATURES: WasmFeatures = WasmFeatures::COMPONENT_MODEL
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST)
    // SpiderMonkey, in components of JavaScript.
    .union(WasmFeatures::TAIL_CALL);

/// Whose components an engine runs. Two engines: neither can take the other's places, and only hooks pay for
/// counting their instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Guests {
    Chains,
    Hooks,
}

/// The engine, and the ticker that makes its guests yield. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Runtime {
    engine: Engine,
    guests: Guests,
    ticker: Arc<Ticker>,
}

impl Runtime {
    /// `calls_max` calls at once, each with so much memory at the most.
    pub(crate) fn new(guests: Guests, calls_max: u32, memory_bytes_max: usize) -> Result<Self, HostError> {
        let memory_bytes_max = memory_bytes_max.min(MEMORY_BYTES_MAX);
        // The probe is the thing itself: making the engine reserves the whole pool.
        let engine = match Engine::new(&pooled(guests, calls_max, memory_bytes_max)) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(
                    error = %format!("{error:#}"),
                    "cannot reserve address space for plugins (is it limited, as by `ulimit -v`?); \
                     they run without a pool, somewhat slower"
                );
                Engine::new(&on_demand(guests, memory_bytes_max))
                    .map_err(|error| HostError::Engine(format!("{error:#}")))?
            }
        };
        let ticker = Ticker::start(engine.weak()).map_err(HostError::Ticker)?;
        Ok(Self { engine, guests, ticker })
    }

    pub(crate) fn counts_fuel(&self) -> bool {
        self.guests == Guests::Hooks
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Keeps the ticks coming as long as the guard lives.
    pub(crate) fn ticking(&self) -> Ticking {
        self.ticker.clone().enter()
    }

    /// Names the compiler, its settings and this processor: code compiled under another name does not run.
    pub(crate) fn compatibility(&self) -> u64 {
        // Fixed keys: the same at every start.
        let mut hasher = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }
}

fn common(guests: Guests) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(guests == Guests::Hooks)
        // Calls into a guest are fibers; nothing runs concurrently inside one. Off, a call is four times cheaper.
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Nobody is shown where in a guest's code it broke, and no debugger walks its frames: these tables would be
        // a tenth to a seventh of all code in memory.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        // Stacks are reused by guests of different owners.
        .async_stack_zeroing(true)
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        // JavaScript's toolchain composes components; what passes between two of them is wasmtime's own code,
        // which works on the memories of both.
        .wasm_multi_memory(guests == Guests::Hooks);
    config
}

/// An engine that compiles for [`Runtime`]s of these guests and runs nothing: where instances would live makes
/// no difference to the code.
pub(super) fn compiling(guests: Guests) -> wasmtime::Result<Engine> {
    Engine::new(&common(guests))
}

fn pooled(guests: Guests, calls_max: u32, memory_bytes_max: usize) -> Config {
    // As many hooks again may wait for the network.
    let waiting = if guests == Guests::Hooks { calls_max } else { 0 };
    let calls = calls_max.saturating_add(waiting).saturating_add(SPARE_CALLS);
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES_MAX))
        // Each reserves 4 GiB of address space, so that guests need no bounds checks: 1.2 TiB for 72 calls.
        .total_memories(calls.saturating_mul(MEMORIES_MAX))
        .total_tables(calls.saturating_mul(TABLES_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(1)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(memory_bytes_max)
        .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(if scan { KEEP_RESIDENT_SCANNED } else { KEEP_RESIDENT_BLIND })
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT_BLIND);
    let mut config = common(guests);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Where address space is scarce: each memory reserves no more than it may grow to.
fn on_demand(guests: Guests, memory_bytes_max: usize) -> Config {
    let mut config = common(guests);
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(u64::try_from(memory_bytes_max).unwrap_or(u64::MAX))
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10);
    config
}

/// A thread of its own moves the engine's epoch on; the executor's threads are the very ones that a looping
/// guest would keep busy. It ticks while there are calls, and ends when the engine has gone.
struct Ticker {
    calls: AtomicUsize,
    asleep: AtomicBool,
    thread: Thread,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Arc<Self>> {
        // The thread needs the counters and the counters the thread: it is handed them when it has started.
        let (hand_over, handed) = std::sync::mpsc::channel::<Arc<Self>>();
        let thread = thread::Builder::new().name("kassa-ticker".to_owned()).spawn(move || {
            if let Ok(ticker) = handed.recv() {
                ticker.run(&engine);
            }
        })?;
        let ticker = Arc::new(Self {
            calls: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            thread: thread.thread().clone(),
        });
        // It fails only if the thread has ended, which it does not before it was handed this.
        let _ = hand_over.send(ticker.clone());
        Ok(ticker)
    }

    fn run(&self, engine: &EngineWeak) {
        let mut idle = 0;
        while let Some(engine) = engine.upgrade() {
            if self.calls.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle < IDLE_TICKS {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
                continue;
            }
            drop(engine);
            self.asleep.store(true, Ordering::SeqCst);
            // A call that came before the line above was counted saw nobody asleep; hence this second look.
            if self.calls.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(ENGINE_CHECK);
            }
            self.asleep.store(false, Ordering::SeqCst);
        }
    }

    fn enter(self: Arc<Self>) -> Ticking {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self)
    }
}

/// A call is under way.
pub(crate) struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_ends_with_its_engine() {
        let runtime = Runtime::new(Guests::Chains, 4, 16 << 20).unwrap();
        let ticker = Arc::downgrade(&runtime.ticker);
        let guard = runtime.ticking();
        drop(runtime);
        drop(guard);
        while ticker.strong_count() > 0 {
            thread::sleep(TICK);
        }
    }

    #[test]
    fn the_same_settings_have_the_same_name_and_others_another() {
        let runtime = Runtime::new(Guests::Chains, 4, 16 << 20).unwrap();
        assert_eq!(
            runtime.compatibility(),
            Runtime::new(Guests::Chains, 8, 32 << 20).unwrap().compatibility()
        );
    }

    #[test]
    fn the_compiler_compiles_for_the_engine_that_runs() {
        for guests in [Guests::Chains, Guests::Hooks] {
            let runtime = Runtime::new(guests, 4, 16 << 20).unwrap();
            let component = compiling(guests).unwrap().precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
            super::super::cache::deserialize(runtime.engine(), &component).unwrap();
        }
    }

    #[test]
    fn scarce_address_space_is_enough() {
        Engine::new(&on_demand(Guests::Hooks, 64 << 20)).unwrap();
    }
}
