//! Admission: what an artefact must be before it may ever be called.
//!
//! The order is from cheap to dear, and nothing is compiled before all that can be known without compiling is
//! known: size, validity, imports, exports, structure, manifest; then the compiler, one artefact at a time; then
//! the types of what it imports and exports; then a first call under small limits, so that a component that
//! loops at its start is never active.
//!
//! The compiler runs in this process. Moving it to a child with limits of its own is planned; until then only
//! operators may upload.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::{Engine, component::Component};

use super::{
    bindings::{chain::ChainRole, services::kassa::plugin::types, simulator::SimulatorRole},
    call::{CallError, Caller},
    limits::Limits,
    link::Linked,
    manifest::{Manifest, Role},
    outline::{Fault, MANIFEST_SECTION, Outline},
    services::{Subject, text::one_line},
};
use crate::config;

/// Services that a plugin may import, in any 0.1.x: a function that this version lacks is found by linking.
const SERVICES: [&str; 6] = ["types", "http", "storage", "watch", "log", "clock"];
/// What a language's standard library may drag in; see `link`.
const STANDARD: [&str; 5] = ["cli", "io", "clocks", "filesystem", "random"];
/// Names and messages of a guest are cut here.
const SHOWN_CHARS_MAX: usize = 200;

/// Why an artefact was refused. Each case has a slug that stays the same for good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    #[error("the component has {bytes} bytes, at most {max} are allowed (plugins.artefact_bytes_max)")]
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
    #[error("the component exports {0}, which is no role of kassa:plugin@0.1.0 that this Kassa runs")]
    UnknownExport(String),
    #[error("the component exports no role; a chain plugin exports kassa:plugin/chain@0.1.0")]
    NoRole,
    #[error("the manifest (custom section {MANIFEST_SECTION}) is unusable: {0}")]
    Manifest(String),
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
    /// What a program tells the cases apart by.
    #[must_use]
    pub(crate) fn slug(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotWasm => "not-wasm",
            Self::Truncated => "truncated",
            Self::CoreModule => "core-module",
            Self::Invalid(_) => "invalid",
            Self::TooComplex(_) => "too-complex",
            Self::ForbiddenImport(_) => "forbidden-import",
            Self::UnknownExport(_) => "unknown-export",
            Self::NoRole => "no-role",
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

/// An artefact that may be called.
pub(super) struct Admitted {
    pub(super) sha256: String,
    pub(super) manifest: Manifest,
    pub(super) component: Component,
    /// Whether it was compiled just now.
    pub(super) is_new: bool,
}

/// Lets artefacts in.
pub(super) struct Admission {
    caller: Caller,
    config: config::Plugins,
    /// The compiler takes all cores by itself; a second artefact waits.
    compiling: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(caller: Caller, config: config::Plugins) -> Self {
        Self { caller, config, compiling: Arc::new(Semaphore::new(1)) }
    }

    /// All checks, then the compiler (unless the code of this sha256 is `known`), then a first call.
    pub(super) async fn admit(
        &self,
        wasm: Arc<[u8]>,
        known: impl FnOnce(&Engine, &str) -> Option<Component> + Send + 'static,
    ) -> Result<Admitted, AdmitError> {
        let (bytes, max) = (wasm.len(), self.config.artefact_bytes_max);
        if bytes > max {
            return Err(AdmitError::TooLarge { bytes, max });
        }
        let engine = self.caller.engine().clone();
        let admitted = self
            .blocking(move || {
                let manifest = inspect(&wasm, &engine)?;
                let sha256 = hex::encode(Sha256::digest(&wasm));
                let known = known(&engine, &sha256);
                let is_new = known.is_none();
                let component = known.map_or_else(|| compile(&engine, &wasm), Ok)?;
                Ok(Admitted { sha256, manifest, component, is_new })
            })
            .await?;
        let linked = link(&admitted.component, &admitted.manifest)?;
        self.first_call(&admitted.manifest, &linked).await?;
        Ok(admitted)
    }

    /// Compiles what was admitted before, by this or an older version of Kassa.
    pub(super) async fn compile(&self, wasm: Vec<u8>) -> Result<Component, AdmitError> {
        let engine = self.caller.engine().clone();
        self.blocking(move || compile(&engine, &wasm)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AdmitError> + Send + 'static,
    ) -> Result<T, AdmitError> {
        let turn = self.compiling.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work has ended, even if nobody waits for it any more.
            let _turn = turn;
            work()
        });
        done.await.unwrap_or_else(|_| Err(AdmitError::Compile("the compiler broke off".to_owned())))
    }

    /// Instantiates it, checks the types of its roles, and asks a chain to describe itself.
    async fn first_call(&self, manifest: &Manifest, linked: &Linked) -> Result<(), AdmitError> {
        let subject = Arc::new(Subject {
            plugin: manifest.name.clone(),
            version: manifest.version.to_string(),
            version_id: String::new(),
            network: "admission".to_owned(),
        });
        let allowed = u32::try_from(self.config.memory_mib).unwrap_or(u32::MAX);
        let memory_mib = manifest.limits.memory_mib.unwrap_or(allowed).min(allowed);
        let limits = Limits::new(&self.config, memory_mib, 0).pure();
        let linked = linked.clone();
        let called = self.caller.run(subject, limits, move |store| {
            Box::pin(async move {
                let instance = linked.instance.instantiate_async(&mut *store).await?;
                if linked.simulator.is_some()
                    && let Err(error) = SimulatorRole::new(&mut *store, &instance)
                {
                    return Ok(Err(error));
                }
                if linked.chain.is_some() {
                    let chain = match ChainRole::new(&mut *store, &instance) {
                        Ok(chain) => chain,
                        Err(error) => return Ok(Err(error)),
                    };
                    let network = types::Network {
                        name: "admission".to_owned(),
                        chain_id: "0".to_owned(),
                        assets: Vec::new(),
                        settings: "{}".to_owned(),
                    };
                    chain.kassa_plugin_chain().call_describe(store, &network).await?;
                }
                Ok(Ok(()))
            })
        });
        match called.await {
            Ok(called) => called.value.map_err(|error| wrong_types(&error)),
            Err(failed) => Err(AdmitError::FirstCall(failed.error)),
        }
    }
}

/// Everything that can be known before compiling.
fn inspect(wasm: &[u8], engine: &Engine) -> Result<Manifest, AdmitError> {
    let outline = Outline::of(wasm, engine.get_wasm_features())?;
    if let Some(import) = outline.imports.iter().find(|import| !may_import(import)) {
        return Err(AdmitError::ForbiddenImport(one_line(import, SHOWN_CHARS_MAX)));
    }
    let mut exports = Vec::new();
    for export in &outline.exports {
        let unknown = || AdmitError::UnknownExport(one_line(export, SHOWN_CHARS_MAX));
        exports.push(Role::of_export(export).ok_or_else(unknown)?);
    }
    exports.sort_unstable();
    if exports.is_empty() {
        return Err(AdmitError::NoRole);
    }
    let manifest = Manifest::read(&outline.manifests).map_err(AdmitError::Manifest)?;
    let mut named = manifest.roles.clone();
    named.sort_unstable();
    if named != exports {
        let words = |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        return Err(AdmitError::RolesDiffer { manifest: words(&named), exports: words(&exports) });
    }
    if let Some(host) = manifest.grants.hosts.first() {
        let host = one_line(host, SHOWN_CHARS_MAX);
        return Err(AdmitError::NotGrantable(format!(
            "the host {host}; a chain talks to its network's upstreams"
        )));
    }
    Ok(manifest)
}

fn may_import(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else { return false };
    let Ok(version) = semver::Version::parse(version) else { return false };
    if let Some(service) = interface.strip_prefix("kassa:plugin/") {
        return SERVICES.contains(&service) && (version.major, version.minor) == (0, 1);
    }
    let package = interface.strip_prefix("wasi:").and_then(|rest| rest.split_once('/'));
    package.is_some_and(|(package, _)| STANDARD.contains(&package))
        && (version.major, version.minor) == (0, 2)
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Component, AdmitError> {
    Component::from_binary(engine, wasm)
        .map_err(|error| AdmitError::Compile(one_line(&format!("{error:#}"), SHOWN_CHARS_MAX)))
}

pub(super) fn link(component: &Component, manifest: &Manifest) -> Result<Linked, AdmitError> {
    Linked::new(component, &manifest.roles).map_err(|error| wrong_types(&error))
}

fn wrong_types(error: &wasmtime::Error) -> AdmitError {
    AdmitError::WrongTypes(one_line(&format!("{error:#}"), SHOWN_CHARS_MAX))
}
