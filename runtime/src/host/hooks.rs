//! Merchants' hooks, ready to be called when they are needed, and let go when they are not.
//!
//! There may be ten thousand of them, and most sleep. So none is loaded at the start: the first call loads its
//! component from the cache of compiled code, later ones find it in memory, and what was used longest ago makes
//! room when all together take too much. Hooks made of the same artefact share one component.
//!
//! What a hook may use, its size class says ([`SizeClass`]); calls of a class have so many places, so that large
//! ones cannot take all.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OnceCell, Semaphore};
use url::Url;
use wasmtime::Engine;

use crate::{
    clock::Clock,
    config,
    db::{Db, DbError, crash, plugins as rows},
    domain::{Millis, id::HookVersionId, size::SizeClass},
    host::{
        admit::{self, Admission, Admitted},
        bindings::{
            form::exports::kassa::plugin::form, fulfiller::exports::kassa::plugin::fulfiller,
            matcher::exports::kassa::plugin::matcher, rates::exports::kassa::plugin::rates,
            services::kassa::plugin::types,
        },
        cache::Cache,
        call::{CallFailed, CallStore, Called, Caller},
        error::{AdmitError, CallError},
        limits::Limits,
        link::Linked,
        manifest::{Manifest, Role},
        seat::Seat,
        services::{Behalf, OfMerchant, Rendered, Subject, Tape, Unsendable},
    },
};

/// What was not used for so long is let go.
const IDLE_MS: Millis = 5 * 60_000;

/// Which version of which hook is called.
#[derive(Debug, Clone)]
pub(crate) struct HookVersion {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) version_id: HookVersionId,
    pub(crate) sha256: String,
    pub(crate) manifest: Arc<Manifest>,
}

/// An artefact that may become a version of a hook.
#[derive(Debug)]
pub(crate) struct AdmittedHook {
    pub(crate) sha256: String,
    pub(crate) manifest: Manifest,
    pub(crate) class: SizeClass,
    /// What the compiler made of it, for [`Hooks::keep`]; none if it is kept already.
    pub(crate) code: Option<Vec<u8>>,
    /// Bytes of its code.
    pub(crate) compiled: usize,
}

/// Why a hook could not be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why a form that has answered gives nothing to send.
#[derive(Debug, PartialEq)]
pub(crate) enum NotRendered {
    Said(form::FormError),
    Unsendable(Unsendable),
}

impl From<Unsendable> for NotRendered {
    fn from(error: Unsendable) -> Self {
        Self::Unsendable(error)
    }
}

/// A component in memory.
struct Loaded {
    linked: Linked,
    class: SizeClass,
    /// About what it takes.
    bytes: usize,
}

#[derive(Default)]
struct Place {
    loaded: OnceCell<Arc<Loaded>>,
    used_at: AtomicU64,
}

/// All hooks of this process.
pub(crate) struct Hooks {
    db: Db,
    clock: Clock,
    config: config::Hooks,
    caller: Caller,
    admission: Admission,
    cache: Arc<Cache>,
    /// By sha256.
    places: Mutex<HashMap<String, Arc<Place>>>,
    calls: HashMap<SizeClass, Arc<Semaphore>>,
}

impl Hooks {
    pub(super) fn new(
        db: Db,
        clock: Clock,
        config: config::Hooks,
        caller: Caller,
        admission: Admission,
        cache: Cache,
    ) -> Self {
        let places = |class: SizeClass| usize::try_from(class.calls(config.calls_max)).unwrap_or(1);
        let calls = SizeClass::ALL.map(|class| (class, Arc::new(Semaphore::new(places(class).max(1)))));
        Self {
            db,
            clock,
            config,
            caller,
            admission,
            cache: Arc::new(cache),
            places: Mutex::default(),
            calls: calls.into(),
        }
    }

    /// Checks a component, compiles it and starts it once. Nothing is kept.
    pub(crate) async fn admit(&self, wasm: Arc<[u8]>) -> Result<AdmittedHook, AdmitError> {
        let cache = self.cache.clone();
        let known = move |engine: &Engine, sha256: &str| cache.load(engine, sha256);
        let bytes = wasm.len();
        let Admitted { sha256, manifest, code, compiled } = self.admission.admit(wasm, known).await?;
        // Admission has refused what is larger than any class.
        let class = SizeClass::of(bytes).unwrap_or(SizeClass::Large);
        Ok(AdmittedHook { sha256, manifest, class, code, compiled })
    }

    /// Runs a fulfiller for one event. [`Called::writes`] and [`Called::webhooks`] belong into the transaction
    /// that writes down how the run ended.
    pub(crate) async fn fulfill(
        &self,
        version: &HookVersion,
        of: OfMerchant,
        event: &fulfiller::Event,
        context: &fulfiller::Context,
        tape: Tape,
    ) -> Result<Called<fulfiller::Outcome>, CallFailed> {
        let (loaded, seat) = self.called(version).await?;
        crash::in_hook(&version.name);
        let pre = loaded.linked.fulfiller.as_ref().ok_or_else(|| no_role(version, Role::Fulfiller))?;
        self.caller
            .run_taped(
                seat,
                subject(version, of),
                self.limits(&loaded, version),
                tape,
                async |store: &mut CallStore| {
                    let hook = pre.instantiate_async(&mut *store).await?;
                    hook.kassa_plugin_fulfiller().call_fulfill(store, event, context).await
                },
            )
            .await
    }

    /// Asks a matcher what a transfer pays: the transfer, the candidates and the context. [`Called::writes`] and
    /// [`Called::webhooks`] belong into the transaction that settles its answer.
    pub(crate) async fn match_transfer(
        &self,
        version: &HookVersion,
        of: OfMerchant,
        (transfer, candidates, context): (&types::Transfer, &[matcher::Candidate], &matcher::Context),
        tape: Tape,
    ) -> Result<Called<matcher::Decision>, CallFailed> {
        let (loaded, seat) = self.called(version).await?;
        crash::in_hook(&version.name);
        let pre = loaded.linked.matcher.as_ref().ok_or_else(|| no_role(version, Role::Matcher))?;
        let limits = self.limits(&loaded, version).matcher();
        self.caller
            .run_taped(seat, subject(version, of), limits, tape, async |store: &mut CallStore| {
                let hook = pre.instantiate_async(&mut *store).await?;
                let hook = hook.kassa_plugin_matcher();
                hook.call_match_transfer(store, transfer, candidates, context).await
            })
            .await
    }

    /// Asks what an asset costs. [`Called::writes`] and [`Called::webhooks`] are to be committed.
    pub(crate) async fn price_of(
        &self,
        version: &HookVersion,
        of: OfMerchant,
        pair: &rates::Pair,
        context: &rates::Context,
    ) -> Result<Called<Result<rates::Price, rates::RatesError>>, CallFailed> {
        let (loaded, seat) = self.called(version).await?;
        let pre = loaded.linked.rates.as_ref().ok_or_else(|| no_role(version, Role::Rates))?;
        self.caller
            .run_taped(
                seat,
                subject(version, of),
                self.limits(&loaded, version),
                Tape::Off,
                async |store: &mut CallStore| {
                    let hook = pre.instantiate_async(&mut *store).await?;
                    hook.kassa_plugin_rates().call_price_of(store, pair, context).await
                },
            )
            .await
    }

    /// Asks a form what a delivery to this URL looks like on the wire, and checks what it says. It has no effects.
    pub(crate) async fn render(
        &self,
        version: &HookVersion,
        of: OfMerchant,
        url: &Url,
        delivery: &form::Delivery,
        context: &form::Context,
    ) -> Result<Called<Result<Rendered, NotRendered>>, CallFailed> {
        let (loaded, seat) = self.called(version).await?;
        crash::in_hook(&version.name);
        let pre = loaded.linked.form.as_ref().ok_or_else(|| no_role(version, Role::Form))?;
        let limits = self.limits(&loaded, version).form();
        let subject = subject(version, of.clone());
        self.caller
            .run_taped(seat, subject, limits, Tape::Off, async |store: &mut CallStore| {
                let hook = pre.instantiate_async(&mut *store).await?;
                let said = hook.kassa_plugin_form().call_render(store, delivery, context).await?;
                Ok(said
                    .map_err(NotRendered::Said)
                    .and_then(|request| Ok(Rendered::check(&of, url, request)?)))
            })
            .await
    }

    /// The component in memory, and a place among the calls of its class.
    async fn called(&self, version: &HookVersion) -> Result<(Arc<Loaded>, Seat), CallError> {
        let loaded = self.ready(version).await?;
        let mut seat = self.caller.seat();
        seat.take(self.calls.get(&loaded.class).ok_or(CallError::Busy)?).await?;
        Ok((loaded, seat))
    }

    fn limits(&self, loaded: &Loaded, version: &HookVersion) -> Limits {
        Limits::hook(&self.config, loaded.class, version.manifest.grants.storage_kib)
    }

    /// Lets go what was not used for a while. Calls under way keep what they run on.
    pub(crate) fn let_go(&self) {
        let before = u64::try_from(self.clock.now() - IDLE_MS).unwrap_or(0);
        self.places().retain(|_, place| place.used_at.load(Ordering::Relaxed) >= before);
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The component in memory, which is loaded if it is not there.
    async fn ready(&self, version: &HookVersion) -> Result<Arc<Loaded>, CallError> {
        let known = self.places().get(&version.sha256).cloned();
        let place = known.unwrap_or_else(|| self.places().entry(version.sha256.clone()).or_default().clone());
        place.used_at.store(u64::try_from(self.clock.now()).unwrap_or(0), Ordering::Relaxed);
        let mut is_new = false;
        let loaded = place
            .loaded
            .get_or_try_init(|| {
                is_new = true;
                self.load(version)
            })
            .await;
        match loaded {
            Ok(loaded) => {
                let loaded = loaded.clone();
                if is_new {
                    self.make_room();
                }
                Ok(loaded)
            }
            Err(error) => {
                tracing::error!(hook = version.name, version = version.version_id.as_str(), %error, "a hook cannot be loaded");
                Err(CallError::NotReady)
            }
        }
    }

    /// From the cache in a millisecond, else by compiling it.
    async fn load(&self, version: &HookVersion) -> Result<Arc<Loaded>, LoadError> {
        let (cache, engine) = (self.cache.clone(), self.caller.engine().clone());
        let sha256 = version.sha256.clone();
        let cached = tokio::task::spawn_blocking(move || cache.load(&engine, &sha256)).await.ok().flatten();
        let mut conn = self.db.read().await?;
        let component = match cached {
            Some(component) => component,
            None => {
                let wasm = rows::artefact(&mut conn, &version.sha256).await?;
                let missing = || DbError::NoArtefact(version.sha256.clone());
                let (component, code) = self.admission.compile(wasm.ok_or_else(missing)?.into()).await?;
                self.keep(&version.sha256, code).await;
                component
            }
        };
        let bytes = rows::artefact_bytes(&mut conn, &version.sha256).await?;
        let linked = admit::link(&component, &version.manifest)?;
        let class = SizeClass::of(bytes).unwrap_or(SizeClass::Large);
        Ok(Arc::new(Loaded { linked, class, bytes: admit::code_bytes(&component) }))
    }

    /// Lets go what was used longest ago, until the rest fits.
    fn make_room(&self) {
        let mut places = self.places();
        let bytes_of = |place: &Arc<Place>| place.loaded.get().map_or(0, |loaded| loaded.bytes);
        let mut all: Vec<(u64, usize, String)> = places
            .iter()
            .map(|(sha256, place)| (place.used_at.load(Ordering::Relaxed), bytes_of(place), sha256.clone()))
            .collect();
        let mut bytes: usize = all.iter().map(|(_, bytes, _)| bytes).sum();
        all.sort_unstable();
        // The newest stays whatever it takes: it is about to be called.
        all.pop();
        for (_, freed, sha256) in all {
            if bytes <= self.config.loaded_mib << 20 {
                break;
            }
            bytes -= freed;
            places.remove(&sha256);
        }
    }

    /// Deletes the compiled code of what is no version of any hook any more. Answers how many files.
    pub(crate) async fn sweep(&self) -> Result<usize, DbError> {
        let mut conn = self.db.read().await?;
        let mut swept = 0;
        for sha256 in self.cache.kept() {
            if rows::artefact_bytes(&mut conn, &sha256).await? == 0 {
                self.cache.forget(&sha256);
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Deletes the compiled code of an artefact; if it is called after all, it is compiled again.
    pub(crate) fn forget(&self, sha256: &str) {
        self.cache.forget(sha256);
    }

    /// Keeps compiled code, so that it is not compiled again.
    pub(crate) async fn keep(&self, sha256: &str, code: Vec<u8>) {
        let (cache, sha256) = (self.cache.clone(), sha256.to_owned());
        let in_use = self.places().keys().cloned().collect();
        // It says itself what goes wrong.
        let _ = tokio::task::spawn_blocking(move || cache.store(&sha256, &code, &in_use)).await;
    }
}

fn no_role(version: &HookVersion, role: Role) -> CallError {
    CallError::NoRole { plugin: version.name.clone(), role: role.as_str() }
}

fn subject(version: &HookVersion, of: OfMerchant) -> Arc<Subject> {
    Arc::new(Subject {
        plugin: version.name.clone(),
        version: version.version.clone(),
        version_id: version.version_id.to_string(),
        behalf: Behalf::Merchant(of),
        passed_over: Vec::new(),
    })
}
