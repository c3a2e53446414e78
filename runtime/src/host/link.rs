//! Linking: makes compiled code callable by linking its imports and looking up its roles.

use wasmtime::{
    Store,
    component::{
        Component, Instance, InstancePre, Linker, ResourceType,
        types::{ComponentInstance, ComponentItem},
    },
};

use crate::host::{
    bindings::{
        balances::{BalancesRole, BalancesRolePre},
        chain::ChainRolePre,
        finder::{FinderRole, FinderRolePre},
        form::{FormRole, FormRolePre},
        fulfiller::{FulfillerRole, FulfillerRolePre},
        matcher::{MatcherRole, MatcherRolePre},
        ownership::{OwnershipRole, OwnershipRolePre},
        rates::{RatesRole, RatesRolePre},
        simulator::{SimulatorRole, SimulatorRolePre},
    },
    manifest::Role,
    services::{self, CallState},
};

/// The import of a component whose language's library wants randomness for its hash maps.
const SEED: &str = "wasi:random/insecure-seed@";

/// A component with its imports linked, and a view of it for each role that it exports.
#[derive(Clone)]
pub(super) struct Linked {
    pub(super) instance: InstancePre<CallState>,
    pub(super) chain: Option<ChainRolePre<CallState>>,
    pub(super) finder: Option<FinderRolePre<CallState>>,
    pub(super) balances: Option<BalancesRolePre<CallState>>,
    pub(super) ownership: Option<OwnershipRolePre<CallState>>,
    pub(super) simulator: Option<SimulatorRolePre<CallState>>,
    pub(super) matcher: Option<MatcherRolePre<CallState>>,
    pub(super) fulfiller: Option<FulfillerRolePre<CallState>>,
    pub(super) rates: Option<RatesRolePre<CallState>>,
    pub(super) form: Option<FormRolePre<CallState>>,
}

impl Linked {
    /// Links a component. Errors if it imports a function that no service has, or lacks a function of its roles.
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
            finder: has(Role::Finder).map(FinderRolePre::new).transpose()?,
            balances: has(Role::Balances).map(BalancesRolePre::new).transpose()?,
            ownership: has(Role::Ownership).map(OwnershipRolePre::new).transpose()?,
            simulator: has(Role::Simulator).map(SimulatorRolePre::new).transpose()?,
            matcher: has(Role::Matcher).map(MatcherRolePre::new).transpose()?,
            fulfiller: has(Role::Fulfiller).map(FulfillerRolePre::new).transpose()?,
            rates: has(Role::Rates).map(RatesRolePre::new).transpose()?,
            form: has(Role::Form).map(FormRolePre::new).transpose()?,
            instance,
        })
    }

    /// Checks that the roles that an instance exports have the types that they should. The role `chain` is checked by
    /// the first call.
    pub(super) fn check_types(
        &self,
        store: &mut Store<CallState>,
        instance: &Instance,
    ) -> wasmtime::Result<()> {
        if self.finder.is_some() {
            FinderRole::new(&mut *store, instance)?;
        }
        if self.balances.is_some() {
            BalancesRole::new(&mut *store, instance)?;
        }
        if self.ownership.is_some() {
            OwnershipRole::new(&mut *store, instance)?;
        }
        if self.simulator.is_some() {
            SimulatorRole::new(&mut *store, instance)?;
        }
        if self.matcher.is_some() {
            MatcherRole::new(&mut *store, instance)?;
        }
        if self.fulfiller.is_some() {
            FulfillerRole::new(&mut *store, instance)?;
        }
        if self.rates.is_some() {
            RatesRole::new(&mut *store, instance)?;
        }
        if self.form.is_some() {
            FormRole::new(&mut *store, instance)?;
        }
        Ok(())
    }
}

/// Fills an interface of WASI with functions that end the call. A library that imports it never calls it in the course
/// of a plugin's work; and functions that are not there cannot be reached.
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

/// A resource of WASI that never exists.
struct NoResource;
