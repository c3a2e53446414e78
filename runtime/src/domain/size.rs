//! Size classes of hooks: a component brings its language's runtime along, and with it what a call costs.

use std::time::Duration;

use super::word::words;

words! {
    /// Size of a hook's component, which decides the limits of each of its calls.
    #[derive(PartialOrd, Ord)]
    #[schema(as = HookSize)]
    SizeClass {
        /// Rust and other languages without a runtime of their own: 20 to 300 KB.
        Small = "small",
        /// JavaScript, by QuickJS: 1 to 2 MB.
        Medium = "medium",
        /// Python: 18 MB with its standard library.
        Large = "large",
    }
}

impl SizeClass {
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The class of a component of this size; `None` if it is larger than [`Self::Large`] allows.
    pub fn of(bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|class| bytes <= class.artefact_bytes_max())
    }

    pub fn artefact_bytes_max(self) -> usize {
        match self {
            Self::Small => 1 << 20,
            Self::Medium => 6 << 20,
            Self::Large => 32 << 20,
        }
    }

    /// Memory of one call, bytes. A runtime takes 2 MiB (JavaScript) or 30 (Python) before the hook does anything.
    pub fn memory_bytes(self) -> usize {
        match self {
            Self::Small | Self::Medium => 32 << 20,
            Self::Large => 96 << 20,
        }
    }

    /// Processor time of one call: a thousand times the need of a plain hook of its kind.
    pub fn cpu(self) -> Duration {
        Duration::from_millis(match self {
            Self::Small => 100,
            Self::Medium => 250,
            Self::Large => 1_000,
        })
    }

    /// Maximum number of calls of this class at once, out of `calls_max` in all: the memory of all running calls stays
    /// below 1.5 GiB.
    pub fn calls(self, calls_max: u32) -> u32 {
        match self {
            Self::Small => calls_max,
            Self::Medium => calls_max.div_ceil(2),
            Self::Large => calls_max.div_ceil(8),
        }
    }
}
