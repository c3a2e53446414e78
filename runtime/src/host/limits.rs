//! Limits of one call, and their counters.
//!
//! Every call has a budget of each kind; none of them is shared, so that no plugin can use up another's. What
//! goes beyond the guest's own code (memory, processor time, host calls) ends the call; what it asks a service
//! for beyond its budget is refused with a typed error, and the guest goes on.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::{
    config,
    db::disk::DiskLimit,
    domain::size::SizeClass,
    host::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX},
};

/// Maximum number of calls of host functions. The most expensive known scan (200 blocks of the sandbox chain) makes
/// about 500.
const HOST_CALLS_MAX: u32 = 10_000;
/// Maximum size of what a guest hands to the host at once, bytes: the parameters of a host call, or its own result. A
/// scan that reports 5,000 transfers hands over 1.5 MB, and one block may hold more. It bounds the total of many
/// strings that overlap in memory.
const HANDOVER_BYTES_MAX: usize = 8 << 20;
/// Maximum number of live handles of resources. Our interfaces have no resources; WASI's shims make few.
const HANDLES_MAX: usize = 1_000;
/// Maximum number of log lines, and their total size in bytes: enough for a line for each block.
const LOG_LINES_MAX: u32 = 200;
const LOG_BYTES_MAX: usize = 64 << 10;
/// Maximum number of operations on `storage`; each is a query of the database.
const STORAGE_OPS_MAX: u32 = 5_000;
/// Maximum size of a call's writes, bytes: they wait in memory until the call's result is committed.
const STORAGE_WRITE_BYTES_MAX: u64 = 8 << 20;
/// Limits of a hook, which sees one event at a time. Its log is kept in the database with each call.
const HOOK_HANDOVER_BYTES_MAX: usize = 1 << 20;
const HOOK_STORAGE_OPS_MAX: u32 = 500;
const HOOK_STORAGE_WRITE_BYTES_MAX: u64 = 1 << 20;
const HOOK_LOG_LINES_MAX: u32 = 50;
const HOOK_LOG_BYTES_MAX: usize = 8 << 10;
/// Maximum number of webhooks. Each becomes a delivery to every endpoint of the merchant.
const WEBHOOKS_MAX: u32 = 10;
/// Maximum number of random bytes for a hook: a few hundred tokens. They are kept with each run.
const RANDOM_BYTES_MAX: u32 = 4096;
/// Maximum time of a question to a matcher: money waits no longer for it.
const MATCHER_WALL_MAX: Duration = Duration::from_secs(1);
/// Maximum times of a call that only computes (an address, a link): it is answered within one request.
const PURE_CPU_MAX: Duration = Duration::from_millis(500);
const PURE_WALL_MAX: Duration = Duration::from_secs(5);

/// The budgets of one call.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: usize,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    pub(crate) host_calls: u32,
    pub(crate) handover_bytes: usize,
    pub(crate) handles: usize,
    pub(crate) http_requests: u32,
    pub(crate) http_bytes: usize,
    pub(crate) storage_ops: u32,
    pub(crate) storage_write_bytes: u64,
    /// Maximum size of the scope's storage, bytes.
    pub(crate) storage_bytes: u64,
    /// Maximum size of what all hooks of the merchant store.
    pub(crate) disk: DiskLimit,
    pub(crate) log_lines: u32,
    pub(crate) log_bytes: usize,
    pub(crate) webhooks: u32,
    pub(crate) random_bytes: u32,
}

impl Limits {
    /// Limits of a chain plugin, with the memory and storage that the operator granted it.
    pub(crate) fn new(config: &config::Plugins, memory_mib: u32, storage_kib: u32) -> Self {
        Self {
            memory_bytes: usize::try_from(memory_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
            cpu: Duration::from_millis(config.cpu_ms),
            wall: Duration::from_millis(config.wall_ms),
            host_calls: HOST_CALLS_MAX,
            handover_bytes: HANDOVER_BYTES_MAX,
            handles: HANDLES_MAX,
            http_requests: config.http_requests_max,
            http_bytes: config.http_bytes_max,
            storage_ops: STORAGE_OPS_MAX,
            storage_write_bytes: STORAGE_WRITE_BYTES_MAX,
            storage_bytes: u64::from(storage_kib) * 1024,
            disk: DiskLimit::of_mib(0),
            log_lines: LOG_LINES_MAX,
            log_bytes: LOG_BYTES_MAX,
            webhooks: 0,
            random_bytes: 0,
        }
    }

    /// Limits of a hook's call that has effects: a fulfiller's, a price source's.
    pub(crate) fn hook(config: &config::Hooks, class: SizeClass, storage_kib: u32) -> Self {
        Self {
            memory_bytes: class.memory_bytes(),
            cpu: class.cpu(),
            wall: Duration::from_millis(config.wall_ms),
            host_calls: HOST_CALLS_MAX,
            handover_bytes: HOOK_HANDOVER_BYTES_MAX,
            handles: HANDLES_MAX,
            http_requests: config.http_requests_max,
            http_bytes: config.http_bytes_max,
            storage_ops: HOOK_STORAGE_OPS_MAX,
            storage_write_bytes: HOOK_STORAGE_WRITE_BYTES_MAX,
            storage_bytes: u64::from(storage_kib) * 1024,
            disk: DiskLimit::of_mib(config.disk_mib_per_merchant),
            log_lines: HOOK_LOG_LINES_MAX,
            log_bytes: HOOK_LOG_BYTES_MAX,
            webhooks: WEBHOOKS_MAX,
            random_bytes: RANDOM_BYTES_MAX,
        }
    }

    /// These limits for a question to a matcher: no requests, and no longer than money may be held up.
    pub(crate) fn matcher(self) -> Self {
        Self { wall: self.wall.min(MATCHER_WALL_MAX), http_requests: 0, ..self }
    }

    /// These limits for a form, which sends no requests and stores nothing. A delivery waits for it.
    pub(crate) fn form(self) -> Self {
        Self { webhooks: 0, random_bytes: 0, ..self.pure() }
    }

    /// These limits for a call that only computes: no requests, no storage, little time.
    pub(crate) fn pure(&self) -> Self {
        Self {
            cpu: self.cpu.min(PURE_CPU_MAX),
            wall: self.wall.min(PURE_WALL_MAX),
            http_requests: 0,
            storage_ops: 0,
            ..self.clone()
        }
    }
}

/// The budget that ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("memory")]
    Memory,
    #[error("processor time")]
    Cpu,
    #[error("host calls")]
    HostCalls,
}

/// Counts the memory of a call over all its memories, and ends the call when none is left: a guest that goes on after a
/// failed allocation usually aborts later, at a place that says nothing.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes: usize,
    left: usize,
    table_elements_left: usize,
}

impl MemoryLimiter {
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self { bytes: memory_bytes, left: memory_bytes, table_elements_left: TABLE_ELEMENTS_MAX }
    }

    /// Total size of all memories, bytes. They never shrink.
    pub(crate) fn used(&self) -> usize {
        self.bytes - self.left
    }
}

/// Subtracts the growth from what is left. Errors if there is not enough.
fn take(left: &mut usize, current: usize, desired: usize) -> wasmtime::Result<bool> {
    *left = left.checked_sub(desired.saturating_sub(current)).ok_or(Exceeded::Memory)?;
    Ok(true)
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        take(&mut self.left, current, desired)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Exceeded::Memory.into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        take(&mut self.table_elements_left, current, desired)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Exceeded::Memory.into())
    }

    fn instances(&self) -> usize {
        usize::try_from(CORE_INSTANCES_MAX).unwrap_or(usize::MAX)
    }

    fn tables(&self) -> usize {
        usize::try_from(TABLES_MAX).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        usize::try_from(MEMORIES_MAX).unwrap_or(usize::MAX)
    }
}
