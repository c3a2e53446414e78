//! Reasons that a component was refused or that a call gave no answer.

use super::{
    manifest::ManifestError,
    services::text::one_line,
    summary::{Fault, MANIFEST_SECTION},
};

/// Maximum length of a guest's names and messages, characters.
pub(super) const SHOWN_CHARS_MAX: usize = 200;

/// Reason that an artefact was refused. Each case has a slug that never changes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error("the component has {bytes} bytes; the operator allows {max} at the most")]
    TooLarge { bytes: usize, max: usize },
    #[error("this is not WebAssembly")]
    NotWasm,
    #[error("the file ends in the middle; was it uploaded completely?")]
    Truncated,
    #[error("this is a core module, not a component; encode it with `wasm-tools component new`")]
    CoreModule,
    #[error("the component is not valid, or uses a feature that plugins do not have: {0}")]
    Invalid(String),
    #[error("the component is too complex: {0}")]
    TooComplex(String),
    #[error("the component imports {0}, which plugins may not; build it against the package kassa:plugin")]
    ForbiddenImport(String),
    #[error(
        "the component imports {import}, which is for none of its roles ({roles}); leave it out, or give the \
         component a role whose world has it"
    )]
    ImportOfNoRole { import: String, roles: String },
    #[error(
        "the component imports {0}; this Kassa has the services of kassa:plugin@0.1: build it against those, or \
         take a newer Kassa"
    )]
    ImportVersion(String),
    #[error("the component exports {0}, which is no role of kassa:plugin@0.1 that this Kassa runs")]
    UnknownExport(String),
    #[error(
        "the component exports {0}; this Kassa runs the roles of kassa:plugin@0.1: build it against those, or \
         take a newer Kassa"
    )]
    ExportVersion(String),
    #[error(
        "the component exports no role; a chain plugin exports kassa:plugin/chain@0.1.0, a hook \
         kassa:plugin/fulfiller@0.1.0 or another"
    )]
    NoRole,
    #[error(
        "a component with the role {0} is not uploaded here: operators upload chain plugins, merchants hooks"
    )]
    WrongPlace(&'static str),
    #[error("the manifest (custom section {MANIFEST_SECTION}) is unusable: {0}")]
    Manifest(ManifestError),
    #[error("the manifest names the roles {manifest}, but the component exports {exports}")]
    RolesDiffer { manifest: String, exports: String },
    #[error("the manifest asks for what plugins cannot be granted here: {0}")]
    NotGrantable(String),
    #[error("the component does not compile: {0}")]
    Compile(String),
    #[error("what the component imports or exports has other types than kassa:plugin@0.1.0: {0}")]
    WrongTypes(String),
    #[error("the component failed its first call: {0}")]
    FirstCall(CallError),
}

impl AdmitError {
    /// The stable name of the case, for programs.
    #[must_use]
    pub(crate) fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotWasm => "not-wasm",
            Self::Truncated => "truncated",
            Self::CoreModule => "core-module",
            Self::Invalid(_) => "invalid",
            Self::TooComplex(_) => "too-complex",
            Self::ForbiddenImport(_) | Self::ImportOfNoRole { .. } | Self::ImportVersion(_) => {
                "forbidden-import"
            }
            Self::UnknownExport(_) | Self::ExportVersion(_) => "unknown-export",
            Self::NoRole => "no-role",
            Self::WrongPlace(_) => "wrong-place",
            Self::Manifest(_) => "bad-manifest",
            Self::RolesDiffer { .. } => "roles-differ",
            Self::NotGrantable(_) => "not-grantable",
            Self::Compile(_) => "does-not-compile",
            Self::WrongTypes(_) => "wrong-types",
            Self::FirstCall(_) => "first-call-failed",
        }
    }
}

impl From<Fault> for AdmitError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotWasm => Self::NotWasm,
            Fault::CoreModule => Self::CoreModule,
            Fault::Truncated => Self::Truncated,
            Fault::Invalid(why) => Self::Invalid(one_line(&why, SHOWN_CHARS_MAX)),
            Fault::TooComplex(why) => Self::TooComplex(why),
        }
    }
}

/// Reason that a call gave no answer. Its effects are discarded; the plugin's own typed errors are answers, not these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("plugin {plugin} is not loaded; `kassa plugin list` shows what is")]
    NotLoaded { plugin: String },
    #[error("the component could not be made ready; the operator's log says why")]
    NotReady,
    #[error("plugin {plugin} has no role {role}")]
    NoRole { plugin: String, role: &'static str },
    #[error("all places for plugin calls are taken (plugins.calls_max); try again")]
    Busy,
    #[error("the plugin broke: {message}")]
    Trap { message: String },
    #[error("it used up its processor time")]
    CpuBudget,
    #[error("the call took too long")]
    WallClock,
    #[error("the plugin used up its memory (limits.memory_mib of its manifest)")]
    Memory,
    #[error("the plugin called the host too often")]
    HostCalls,
    #[error("the plugin handed over too much at once")]
    Handover,
    /// The plugin answered with a typed error where nobody can go on without an answer.
    #[error("the plugin cannot {what}: {why}")]
    Refused { what: &'static str, why: String },
    /// Another call changed the plugin's storage in the meantime.
    #[error("the plugin's storage changed during the call; try again")]
    Stale,
}
