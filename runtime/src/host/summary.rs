//! One walk over an artefact, before any of it is compiled: its structure, its names, its manifest.
//!
//! Running a guest is limited in every way, compiling it is not: wasmtime's makers do not count a slow compile as a
//! defect. So an artefact that would make the compiler's work explode is refused here. The worst is nesting: a
//! component that instantiates another ten times, which instantiates another ten times, and so on, is a few hundred
//! bytes that stand for billions of instances.
//!
//! The walk takes time in proportion to the artefact's bytes. Validity is checked in the compiler's process
//! ([`super::compiler`]) and not here: two bytes that call a function of 1,000 parameters are 1,000 checks, and a
//! megabyte of them takes minutes.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    Encoding, Instance, Parser, Payload,
};

use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};

/// The section that holds a plugin's manifest.
pub(super) const MANIFEST_SECTION: &str = "kassa:manifest";

/// Maximum number of functions in all modules: a Python component with its standard library has about 60,000.
const FUNCTIONS_MAX: u64 = 200_000;
/// Maximum number of instances of components and modules once all nesting is unfolded. Python has some 130.
const INSTANCES_MAX: u64 = 1_000;
/// Maximum depth of components in components. A composed one has three levels.
const NESTING_MAX: u64 = 20;
/// Maximum number of the component's own imports, and of its exports. Python imports some 30 interfaces.
const NAMES_MAX: u64 = 200;

/// Reason that the walk ended early.
#[derive(Debug)]
pub(super) enum Fault {
    NotWasm,
    CoreModule,
    Truncated,
    Invalid(String),
    TooComplex(String),
}

/// The parts of an artefact that admission asks about.
#[derive(Debug, Default)]
pub(super) struct ComponentSummary<'a> {
    /// Names of the component's own imports.
    pub(super) imports: Vec<&'a str>,
    pub(super) exports: Vec<&'a str>,
    /// All manifests, at any depth: a component's modules keep the sections that their compiler wrote.
    pub(super) manifests: Vec<&'a [u8]>,
    functions: u64,
    memories: u64,
    tables: u64,
}

/// One component on the way down, and the number of instances that each component it knows stands for.
#[derive(Default)]
struct Frame {
    components: Vec<u64>,
    instances: u64,
    is_module: bool,
}

impl From<BinaryReaderError> for Fault {
    fn from(error: BinaryReaderError) -> Self {
        if error.message().starts_with("unexpected end") {
            return Self::Truncated;
        }
        Self::Invalid(error.to_string())
    }
}

impl<'a> ComponentSummary<'a> {
    /// Walks over the whole artefact except the functions' bodies.
    pub(super) fn of(wasm: &'a [u8]) -> Result<Self, Fault> {
        if !b"\0asm".starts_with(wasm.get(..4).unwrap_or(wasm)) {
            return Err(Fault::NotWasm);
        }
        let mut summary = Self::default();
        let mut frames: Vec<Frame> = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let Payload::Version { encoding: Encoding::Module, .. } = payload
                && frames.is_empty()
            {
                return Err(Fault::CoreModule);
            }
            summary.note(&mut frames, payload)?;
        }
        Ok(summary)
    }

    fn note(&mut self, frames: &mut Vec<Frame>, payload: Payload<'a>) -> Result<(), Fault> {
        match payload {
            Payload::Version { encoding, .. } => {
                frames.push(Frame { is_module: encoding == Encoding::Module, ..Frame::default() });
                at_most("levels of nesting", count(frames.len()), NESTING_MAX)?;
            }
            Payload::End(_) => {
                let Some(ended) = frames.pop() else { return Ok(()) };
                match frames.last_mut() {
                    Some(outer) if !ended.is_module => {
                        outer.components.push(ended.instances.saturating_add(1));
                    }
                    Some(_) => {}
                    None => at_most("instances", ended.instances, INSTANCES_MAX)?,
                }
            }
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                self.manifests.push(section.data());
            }
            Payload::FunctionSection(section) => {
                self.functions = self.functions.saturating_add(section.count().into());
                at_most("functions", self.functions, FUNCTIONS_MAX)?;
            }
            Payload::MemorySection(section) => {
                self.memories = self.memories.saturating_add(section.count().into());
                at_most("memories", self.memories, MEMORIES_MAX.into())?;
            }
            Payload::TableSection(section) => {
                self.tables = self.tables.saturating_add(section.count().into());
                at_most("tables", self.tables, TABLES_MAX.into())?;
            }
            Payload::ComponentImportSection(section) if frames.len() == 1 => {
                for import in section {
                    self.imports.push(import?.name.name);
                    at_most("imports", count(self.imports.len()), NAMES_MAX)?;
                }
            }
            Payload::ComponentExportSection(section) if frames.len() == 1 => {
                for export in section {
                    self.exports.push(export?.name.name);
                    at_most("exports", count(self.exports.len()), NAMES_MAX)?;
                }
            }
            other => note_instances(frames, other)?,
        }
        Ok(())
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

fn at_most(what: &str, found: u64, max: u64) -> Result<(), Fault> {
    if found > max {
        return Err(Fault::TooComplex(format!("{found} {what}, at most {max}")));
    }
    Ok(())
}

/// Counts the instances that the innermost component makes, each nested component with all that it stands for.
fn note_instances(frames: &mut [Frame], payload: Payload<'_>) -> Result<(), Fault> {
    let odd = |what: &str| Err(Fault::TooComplex(format!("{what}, which no toolchain makes")));
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section {
                if let (Instance::Instantiate { .. }, Some(frame)) = (instance?, frames.last_mut()) {
                    frame.instances = frame.instances.saturating_add(1);
                    at_most("core instances", frame.instances, CORE_INSTANCES_MAX.into())?;
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section {
                if let (ComponentInstance::Instantiate { component_index, .. }, Some(frame)) =
                    (instance?, frames.last_mut())
                {
                    let unfolded =
                        usize::try_from(component_index).ok().and_then(|at| frame.components.get(at));
                    frame.instances = frame.instances.saturating_add(unfolded.copied().unwrap_or(u64::MAX));
                }
            }
        }
        Payload::ComponentAliasSection(section) => {
            for alias in section {
                match alias? {
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                        let outer = usize::try_from(count).ok().and_then(|up| frames.iter().rev().nth(up));
                        let at = usize::try_from(index).ok();
                        let unfolded =
                            outer.zip(at).and_then(|(outer, at)| outer.components.get(at)).copied();
                        if let Some(frame) = frames.last_mut() {
                            frame.components.push(unfolded.unwrap_or(u64::MAX));
                        }
                    }
                    ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                        return odd("a component taken out of an instance");
                    }
                    _ => {}
                }
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section {
                if matches!(import?.ty, wasmparser::ComponentTypeRef::Component(_)) {
                    return odd("an imported component");
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section {
                if export?.kind == ComponentExternalKind::Component {
                    return odd("an exported component");
                }
            }
        }
        _ => {}
    }
    Ok(())
}
