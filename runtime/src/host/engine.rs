//! The engine: the form of compiled code, the memory that instances live in, and the tick that makes them yield.
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

/// Time between interruptions of a running guest, which let others run. 1 ms keeps timers of the process within 4 ms
/// while every worker thread has a looping guest; the yields cost up to 10 % of tight loops.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// Number of ticks without a call after which the ticker sleeps until the next call: an idle process wakes nobody.
const IDLE_TICKS: u32 = 100;
/// Time between a sleeping ticker's checks that its engine still exists.
const ENGINE_CHECK: Duration = Duration::from_secs(5);

/// Maximum stack of the guest's own frames, bytes. wasmtime's default, enough for recursive parsers of real languages.
const WASM_STACK_BYTES: usize = 512 << 10;
/// Size of the stack that a call runs on, bytes: the guest's part, and 1.5 MiB for the host functions that it calls,
/// which poll the futures of the database and the HTTP client.
const CALL_STACK_BYTES: usize = 2 << 20;
/// Maximum number of core instances of a component. A Rust component has 3 to 5, a Python one more than 33.
pub(crate) const CORE_INSTANCES_MAX: u32 = 100;
/// Maximum number of memories of a component. Every known toolchain makes one; adapters between composed components add
/// some.
pub(crate) const MEMORIES_MAX: u32 = 4;
pub(crate) const TABLES_MAX: u32 = 16;
/// Maximum number of function pointers of a table: a C# module in debug mode has more than 10,000, Python 9,000.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Maximum size of a component's bookkeeping, bytes. JavaScript takes 100 KiB, Python 600 KiB.
pub(super) const INSTANCE_BYTES_MAX: usize = 2 << 20;
/// Maximum size of touched pages that are zeroed in place instead of given back after a call, bytes. With PAGEMAP_SCAN
/// (Linux 6.7) only touched pages are looked at, so more is faster; without it the lowest pages are zeroed blindly, so
/// more is slower.
pub(super) const KEEP_RESIDENT_SCANNED: usize = 1 << 20;
pub(super) const KEEP_RESIDENT_BLIND: usize = 64 << 10;
/// Depth of a stack that is zeroed in place at the end of every call, touched or not, bytes; anything deeper is given
/// back and faulted in again. A Rust hook goes about 8 KiB deep, a matcher with 100 candidates deeper.
const STACK_KEEP_RESIDENT: usize = 16 << 10;
/// Maximum size of a memory, bytes: that of a 32-bit one.
const MEMORY_BYTES_MAX: usize = 4 << 30;
/// Number of slots in the pool in addition to those for admitted calls: admission tries new versions in them.
const SPARE_CALLS: u32 = 8;

/// Features of WebAssembly that guests may use: those that the compilers of C, Rust, JavaScript and Python emit.
/// Everything else is attack surface, whatever a new version of wasmtime enables by default: subtypes, memories of 64
/// bits, relaxed SIMD and others had an advisory each.
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
    // For SpiderMonkey, in JavaScript components.
    .union(WasmFeatures::TAIL_CALL);

/// Kinds of components, each with an engine of its own: neither can take the other's slots, and only hooks pay for
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
    /// Makes an engine for `calls_max` calls at once, each with at most `memory_bytes_max` bytes of memory.
    pub(crate) fn new(guests: Guests, calls_max: u32, memory_bytes_max: usize) -> Result<Self, HostError> {
        let memory_bytes_max = memory_bytes_max.min(MEMORY_BYTES_MAX);
        // Trying is the only probe: making the engine reserves the whole pool.
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

    /// Keeps the ticks coming while the guard lives.
    pub(crate) fn ticking(&self) -> Ticking {
        self.ticker.clone().enter()
    }

    /// A hash of the compiler, its settings and this processor: code compiled under another one does not run.
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
        // Calls into a guest are fibers; nothing runs concurrently inside one. Without it a call is four times cheaper.
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Nobody is shown where in its code a guest trapped, and no debugger walks its frames. These tables would be 10
        // to 14 % of all code in memory.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        // Stacks are reused by guests of different owners.
        .async_stack_zeroing(true)
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        // JavaScript's toolchain composes components; wasmtime's own code passes data between them and works on the
        // memories of both.
        .wasm_multi_memory(guests == Guests::Hooks);
    config
}

/// An engine that compiles for [`Runtime`]s of these guests and runs nothing. The allocation of instances makes no
/// difference to the code.
pub(super) fn compiling(guests: Guests) -> wasmtime::Result<Engine> {
    Engine::new(&common(guests))
}

fn pooled(guests: Guests, calls_max: u32, memory_bytes_max: usize) -> Config {
    // The same number of hooks again may wait for the network.
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

/// Configuration for scarce address space: each memory reserves no more than it may grow to.
fn on_demand(guests: Guests, memory_bytes_max: usize) -> Config {
    let mut config = common(guests);
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(u64::try_from(memory_bytes_max).unwrap_or(u64::MAX))
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10);
    config
}

/// Advances the engine's epoch, on a thread of its own: the executor's threads are the ones that a looping guest would
/// keep busy. It ticks while there are calls, and ends when the engine is gone.
struct Ticker {
    calls: AtomicUsize,
    asleep: AtomicBool,
    thread: Thread,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Arc<Self>> {
        // The thread needs the counters and the counters need the thread, so they are sent to it once it has started.
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
        // Fails only if the thread has ended, which it cannot do before it has received this.
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
            // A call that was counted before the line above saw no sleeper; hence this second look.
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

/// Guard of a call under way; the ticks go on while it lives.
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
