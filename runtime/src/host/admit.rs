//! Admission: the checks that an artefact must pass before it may be called.
//!
//! The order is from cheap to expensive, and nothing is compiled until everything that can be known without compiling
//! is known: size, imports, exports, structure, manifest; then validity and the compiler, one artefact at a time; then
//! the types of its imports and exports; then a first call under small limits, so that a component that loops at its
//! start is never active.
//!
//! Checking and compiling run in a process of their own (see [`super::compiler`]), so a component can do no harm to
//! this one.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{
    config,
    domain::size::SizeClass,
    host::{
        bindings::{chain::ChainRole, services::kassa::plugin::types},
        cache::deserialize,
        call::{CallStore, Caller},
        compiler::Compiler,
        engine::Guests,
        error::{AdmitError, SHOWN_CHARS_MAX},
        interface::Interface,
        limits::Limits,
        link::Linked,
        manifest::{HOST_OF_SETTING, Manifest, ManifestError, Role},
        services::{Behalf, Subject, is_allowed, text::one_line},
        summary::ComponentSummary,
    },
};

/// An artefact that may be called.
pub(super) struct Admitted {
    pub(super) sha256: String,
    pub(super) manifest: Manifest,
    /// Freshly compiled code; `None` if its code was known.
    pub(super) code: Option<Vec<u8>>,
    /// Size of its code, bytes.
    pub(super) compiled: usize,
}

/// Rules for components, by who brings them.
#[derive(Debug, Clone)]
pub(super) enum Rules {
    /// The operator: chain plugins.
    Chains(config::Plugins),
    /// Merchants: hooks.
    Hooks(config::Hooks),
}

impl Rules {
    fn guests(&self) -> Guests {
        match self {
            Self::Chains(_) => Guests::Chains,
            Self::Hooks(_) => Guests::Hooks,
        }
    }

    fn artefact_bytes_max(&self) -> usize {
        match self {
            Self::Chains(config) => config.artefact_bytes_max,
            Self::Hooks(config) => config.largest.artefact_bytes_max(),
        }
    }

    /// Refuses a manifest that asks for what nobody can grant.
    fn refuse(&self, manifest: &Manifest, class: SizeClass) -> Result<(), AdmitError> {
        let refuse = |what: String| Err(AdmitError::NotGrantable(what));
        let config = match self {
            Self::Chains(_) => {
                return match manifest.grants.hosts.first() {
                    Some(host) => refuse(format!(
                        "the host {}; a chain talks to its network's upstreams",
                        one_line(host, SHOWN_CHARS_MAX)
                    )),
                    None => Ok(()),
                };
            }
            Self::Hooks(config) => config,
        };
        if manifest.grants.storage_kib > config.storage_kib {
            let (asked, max) = (manifest.grants.storage_kib, config.storage_kib);
            return refuse(format!("storage_kib {asked}; the operator allows {max} (hooks.storage_kib)"));
        }
        let memory_mib = class.memory_bytes() >> 20;
        let asked = manifest.limits.memory_mib.map(|mib| usize::try_from(mib).unwrap_or(usize::MAX));
        if let Some(asked) = asked.filter(|asked| *asked > memory_mib) {
            return refuse(format!("memory_mib {asked}; a {} component has {memory_mib}", class.as_str()));
        }
        let allowed = |host: &String| is_allowed(&config.hosts, host) || host.starts_with(HOST_OF_SETTING);
        if let Some(host) = manifest.grants.hosts.iter().find(|host| !allowed(host)) {
            return refuse(format!(
                "the host {}; the operator allows {} (hooks.hosts)",
                one_line(host, SHOWN_CHARS_MAX),
                config.hosts.join(", ")
            ));
        }
        if let Some(schema) = &manifest.settings {
            super::settings::Schema::new(schema)
                .map_err(|why| AdmitError::Manifest(ManifestError::Settings(why.to_string())))?;
        }
        Ok(())
    }
}

/// Admits artefacts.
pub(super) struct Admission {
    caller: Caller,
    rules: Rules,
    compiler: Compiler,
}

impl Admission {
    pub(super) fn new(caller: Caller, rules: Rules, compiler: Compiler) -> Self {
        Self { caller, rules, compiler }
    }

    /// Runs all checks, then the compiler (unless the code of this SHA-256 is `known`), then a first call.
    pub(super) async fn admit(
        &self,
        wasm: Arc<[u8]>,
        known: impl FnOnce(&Engine, &str) -> Option<Component> + Send + 'static,
    ) -> Result<Admitted, AdmitError> {
        let (bytes, max) = (wasm.len(), self.rules.artefact_bytes_max());
        let class = SizeClass::of(bytes).filter(|_| bytes <= max);
        let class = class.ok_or(AdmitError::TooLarge { bytes, max })?;
        let (engine, rules, looked_at) = (self.caller.engine().clone(), self.rules.clone(), wasm.clone());
        let (manifest, sha256, component) = blocking(move || {
            let manifest = inspect(&looked_at, &rules, class)?;
            let sha256 = hex::encode(Sha256::digest(&looked_at));
            let component = known(&engine, &sha256);
            Ok((manifest, sha256, component))
        })
        .await?;
        let (component, code) = match component {
            Some(component) => (component, None),
            None => {
                let (component, code) = self.compile(wasm).await?;
                (component, Some(code))
            }
        };
        let linked = link(&component, &manifest)?;
        self.first_call(&manifest, &linked, class).await?;
        Ok(Admitted { sha256, manifest, code, compiled: code_bytes(&component) })
    }

    /// Compiles an artefact that this or an older version of Kassa admitted before. Returns its code too.
    pub(super) async fn compile(&self, wasm: Arc<[u8]>) -> Result<(Component, Vec<u8>), AdmitError> {
        let engine = self.caller.engine().clone();
        let code = self.compiler.compile(&engine, self.rules.guests(), wasm).await?;
        blocking(move || match deserialize(&engine, &code) {
            Ok(component) => Ok((component, code)),
            Err(error) => Err(AdmitError::Compile(one_line(&format!("{error:#}"), SHOWN_CHARS_MAX))),
        })
        .await
    }

    /// Instantiates it, checks the types of its roles, and asks a chain plugin to describe itself.
    async fn first_call(
        &self,
        manifest: &Manifest,
        linked: &Linked,
        class: SizeClass,
    ) -> Result<(), AdmitError> {
        let subject = Arc::new(Subject {
            plugin: manifest.name.clone(),
            version: manifest.version.to_string(),
            version_id: String::new(),
            behalf: Behalf::Network("admission".to_owned()),
            passed_over: Vec::new(),
        });
        let limits = match &self.rules {
            Rules::Chains(config) => {
                let allowed = u32::try_from(config.memory_mib).unwrap_or(u32::MAX);
                let memory_mib = manifest.limits.memory_mib.unwrap_or(allowed).min(allowed);
                Limits::new(config, memory_mib, 0).pure()
            }
            Rules::Hooks(config) => Limits::hook(config, class, 0).pure(),
        };
        let called = self.caller.run(subject, limits, async |store: &mut CallStore| {
            let instance = linked.instance.instantiate_async(&mut *store).await?;
            if let Err(error) = linked.check_types(&mut *store, &instance) {
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
                    more: Vec::new(),
                };
                // Only that it answers matters; an error is an answer too.
                let _ = chain.kassa_plugin_chain().call_describe(store, &network).await?;
            }
            Ok(Ok(()))
        });
        match called.await {
            Ok(called) => called.value.map_err(|error| wrong_types(&error)),
            Err(failed) => Err(AdmitError::FirstCall(failed.error)),
        }
    }
}

/// Size of compiled code, in memory and on disk, bytes.
pub(super) fn code_bytes(component: &Component) -> usize {
    let code = component.image_range();
    (code.end as usize).saturating_sub(code.start as usize)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdmitError> + Send + 'static,
) -> Result<T, AdmitError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(AdmitError::Compile("the check broke off".to_owned())))
}

/// Checks everything that can be known before compiling.
fn inspect(wasm: &[u8], rules: &Rules, class: SizeClass) -> Result<Manifest, AdmitError> {
    let summary = ComponentSummary::of(wasm)?;
    let mut exports = Vec::new();
    for export in &summary.exports {
        let shown = || one_line(export, SHOWN_CHARS_MAX);
        let role = match Interface::of(export) {
            Interface::Ours(name) => Role::named(name).ok_or_else(|| AdmitError::UnknownExport(shown()))?,
            Interface::OtherVersion => return Err(AdmitError::ExportVersion(shown())),
            Interface::Standard | Interface::Unknown => return Err(AdmitError::UnknownExport(shown())),
        };
        if role.of_hook().is_some() != matches!(rules, Rules::Hooks(_)) {
            return Err(AdmitError::WrongPlace(role.as_str()));
        }
        exports.push(role);
    }
    exports.sort_unstable();
    if exports.is_empty() {
        return Err(AdmitError::NoRole);
    }
    for import in &summary.imports {
        may_import(import, &exports)?;
    }
    let manifest = Manifest::read(&summary.manifests).map_err(AdmitError::Manifest)?;
    let mut named = manifest.roles.clone();
    named.sort_unstable();
    if named != exports {
        return Err(AdmitError::RolesDiffer { manifest: words(&named), exports: words(&exports) });
    }
    rules.refuse(&manifest, class)?;
    Ok(manifest)
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

/// Refuses an import that none of the component's roles may use. A component of several roles may import what any of
/// them may; what the called role may not use is refused to that call (see [`Limits`]).
fn may_import(import: &str, roles: &[Role]) -> Result<(), AdmitError> {
    let shown = || one_line(import, SHOWN_CHARS_MAX);
    let named_by = |service: &str, role: &Role| role.services().contains(&service);
    match Interface::of(import) {
        Interface::Standard | Interface::Ours("types") => Ok(()),
        Interface::Ours(service) if roles.iter().any(|role| named_by(service, role)) => Ok(()),
        Interface::Ours(service) if Role::ALL.iter().any(|role| named_by(service, role)) => {
            Err(AdmitError::ImportOfNoRole { import: shown(), roles: words(roles) })
        }
        Interface::OtherVersion => Err(AdmitError::ImportVersion(shown())),
        Interface::Ours(_) | Interface::Unknown => Err(AdmitError::ForbiddenImport(shown())),
    }
}

pub(super) fn link(component: &Component, manifest: &Manifest) -> Result<Linked, AdmitError> {
    Linked::new(component, &manifest.roles).map_err(|error| wrong_types(&error))
}

fn wrong_types(error: &wasmtime::Error) -> AdmitError {
    AdmitError::WrongTypes(one_line(&format!("{error:#}"), SHOWN_CHARS_MAX))
}
