//! From compiled code to something that can be called: imports are linked, roles are looked up.

use wasmtime::component::{
    Component, InstancePre, Linker, ResourceType,
    types::{ComponentInstance, ComponentItem},
};

use super::{
    bindings::{chain::ChainRolePre, simulator::SimulatorRolePre},
    call::CallState,
    manifest::Role,
    services,
};

/// What a component imports when its language's library wants something to make hash maps unpredictable with.
const SEED: &str = "wasi:random/insecure-seed@";

/// A component with its imports linked, and a view of it for each role that it exports.
#[derive(Clone)]
pub(super) struct Linked {
    pub(super) instance: InstancePre<CallState>,
    pub(super) chain: Option<ChainRolePre<CallState>>,
    pub(super) simulator: Option<SimulatorRolePre<CallState>>,
}

impl Linked {
    /// Fails where the component wants a function that no service has, or has one of its own too few.
    pub(super) fn new(component: &Component, roles: &[Role]) -> wasmtime::Result<Self> {
        let engine = component.engine();
        let mut linker = Linker::new(engine);
        services::add_to_linker(&mut linker)?;
        for (name, import) in component.component_type().imports(engine) {
            if let (true, ComponentItem::ComponentInstance(instance)) = (name.starts_with("wasi:"), import.ty)
            {
                stand_in(&mut linker, name, &instance)?;
            }
        }
        let instance = linker.instantiate_pre(component)?;
        let has = |role| roles.contains(&role).then(|| instance.clone());
        Ok(Self {
            chain: has(Role::Chain).map(ChainRolePre::new).transpose()?,
            simulator: has(Role::Simulator).map(SimulatorRolePre::new).transpose()?,
            instance,
        })
    }
}

/// Fills an interface of WASI with functions that end the call. What drags it in never calls it on the way of
/// a plugin's work; and what is not there cannot be reached.
fn stand_in(
    linker: &mut Linker<CallState>,
    name: &str,
    interface: &ComponentInstance,
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let mut instance = linker.instance(name)?;
    for (item, export) in interface.exports(&engine) {
        match export.ty {
            ComponentItem::ComponentFunc(_) if name.starts_with(SEED) => {
                instance.func_wrap(item, |_, (): ()| Ok(((0_u64, 0_u64),)))?;
            }
            ComponentItem::ComponentFunc(_) => {
                let called = format!("{name}#{item}");
                instance.func_new(item, move |_, _, _, _| {
                    Err(wasmtime::Error::msg(format!("it called {called}, which plugins do not have")))
                })?;
            }
            ComponentItem::Resource(_) => {
                instance.resource(item, ResourceType::host::<NoResource>(), |_, _| Ok(()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// There is never one of these.
struct NoResource;
