//! Plugins by name, and the active version of each.
//!
//! Two places know it. The database is the truth: versions, grants, and every activation in order, so that a
//! rollback is the activation before and every replica sees the same. In memory is one map from a name to what
//! is ready to be called; a change makes another map and exchanges the pointer. A call takes its version out of
//! the map once, at its beginning, and ends on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{
    clock::Clock,
    config,
    db::{
        Db, DbError, plugins as rows,
        plugins::{NewVersion, Origin, VersionRow},
    },
    domain::id::PluginVersionId,
    host::{
        admit::{self, Admission, Admitted, Rules},
        cache::Cache,
        call::Caller,
        compiler::Compiler,
        error::{AdmitError, CallError},
        limits::Limits,
        loaded::Loaded,
        manifest::Grants,
        shadow::{Shadow, Shadows},
        version::{PluginInfo, PluginVersion, grants_of, json, manifest_of, view},
    },
};

/// Storage on each network that an uploaded version is granted by default, KiB.
const STORAGE_KIB_GRANTED: u32 = 64 << 10;

/// Reason that a change of the registry was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error("there is no plugin {0}")]
    NoPlugin(String),
    #[error("plugin {plugin} has no version {version_id}")]
    NoVersion { plugin: String, version_id: PluginVersionId },
    #[error("plugin {0} had no other version before this one")]
    NothingBefore(String),
    #[error("version {version} of {plugin} asks for more than it is granted: {what}; grant it or refuse it")]
    NotGranted { plugin: String, version: String, what: String },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// All plugins of this process.
pub(crate) struct Registry {
    db: Db,
    clock: Clock,
    config: config::Plugins,
    caller: Caller,
    admission: Admission,
    cache: Arc<Cache>,
    active: ArcSwap<HashMap<String, Arc<Loaded>>>,
    /// The version of each plugin that the last change took out of use, still loaded for a rollback.
    before: Mutex<HashMap<String, Arc<Loaded>>>,
    /// Held while the registry changes, so that changes are serial and memory never falls behind the database. Inside:
    /// activations that could not be followed, so that each is tried once and not at every refresh.
    changing: tokio::sync::Mutex<HashMap<String, i64>>,
    shadows: Shadows,
}

impl Registry {
    pub(super) fn new(
        db: Db,
        clock: Clock,
        config: config::Plugins,
        caller: Caller,
        cache: Cache,
        compiler: Compiler,
    ) -> Self {
        let admission = Admission::new(caller.clone(), Rules::Chains(config.clone()), compiler);
        let (cache, active) = (Arc::new(cache), ArcSwap::default());
        Self {
            db,
            clock,
            config,
            caller,
            admission,
            cache,
            active,
            before: Mutex::default(),
            changing: Default::default(),
            shadows: Shadows::default(),
        }
    }

    pub(super) fn active(&self, plugin: &str) -> Result<Arc<Loaded>, CallError> {
        let loaded = self.active.load().get(plugin).cloned();
        loaded.ok_or_else(|| CallError::NotLoaded { plugin: plugin.to_owned() })
    }

    /// Admits a component and stores it as a version of its plugin, not active yet. A component that is already stored
    /// gives the existing version.
    pub(crate) async fn install(&self, wasm: Vec<u8>) -> Result<PluginVersion, RegistryError> {
        self.install_as(wasm, Origin::Uploaded).await
    }

    async fn install_as(&self, wasm: Vec<u8>, origin: Origin) -> Result<PluginVersion, RegistryError> {
        let wasm: Arc<[u8]> = wasm.into();
        // Code that this installation compiled before: for another database, or before the version was removed.
        let cache = self.cache.clone();
        let known = move |engine: &Engine, sha256: &str| cache.load(engine, sha256);
        let Admitted { sha256, manifest, code, .. } = self.admission.admit(wasm.clone(), known).await?;
        if let Some(code) = code {
            self.keep(&sha256, code).await;
        }
        let grants = match origin {
            // The operator runs this binary, so what comes inside it is granted what it asks for.
            Origin::Embedded => Grants {
                memory_mib: manifest.limits.memory_mib.unwrap_or_else(|| self.memory_mib()),
                storage_kib: manifest.grants.storage_kib,
                hosts: Vec::new(),
            },
            Origin::Uploaded => {
                Grants { memory_mib: self.memory_mib(), storage_kib: STORAGE_KIB_GRANTED, hosts: Vec::new() }
            }
        };
        let new = NewVersion {
            plugin: manifest.name.clone(),
            version: manifest.version.to_string(),
            sha256,
            wasm: wasm.to_vec(),
            manifest: json(&manifest)?,
            grants: json(&grants)?,
            origin,
        };
        let now = self.clock.now();
        let row: VersionRow = self
            .db
            .write::<_, DbError, _>(move |conn| Box::pin(async move { rows::insert(conn, new, now).await }))
            .await?;
        let plugin = rows::by_name(&mut self.db.read().await?, &row.plugin).await?;
        let active_id = plugin.and_then(|plugin| plugin.active_id);
        Ok(view(&row, active_id.as_ref())?)
    }

    /// Makes a version the active one: the next call runs on it, calls under way end on theirs.
    pub(crate) async fn activate(
        &self,
        plugin: &str,
        version_id: &PluginVersionId,
    ) -> Result<PluginVersion, RegistryError> {
        let row = self.row(plugin, version_id).await?;
        let _turn = self.changing.lock().await;
        self.activate_row(row).await
    }

    async fn row(&self, plugin: &str, version_id: &PluginVersionId) -> Result<VersionRow, RegistryError> {
        let row = rows::by_id(&mut self.db.read().await?, version_id).await?;
        let (name, id) = (plugin.to_owned(), version_id.clone());
        row.filter(|row| row.plugin == plugin)
            .ok_or(RegistryError::NoVersion { plugin: name, version_id: id })
    }

    /// Sets the version that reads beside the active one from now on; `None` ends that.
    pub(crate) async fn shadow(
        &self,
        plugin: &str,
        id: Option<&PluginVersionId>,
    ) -> Result<(), RegistryError> {
        let shadow = match id {
            None => None,
            Some(id) => {
                let row = self.row(plugin, id).await?;
                Some(Arc::new(Shadow::new(self.load(&row, 0).await?, self.clock.now())))
            }
        };
        self.shadows.set(plugin, shadow);
        Ok(())
    }

    pub(crate) fn shadows(&self) -> &Shadows {
        &self.shadows
    }

    /// Activates the version that was active before the one that is.
    pub(crate) async fn roll_back(&self, plugin: &str) -> Result<PluginVersion, RegistryError> {
        let _turn = self.changing.lock().await;
        let mut conn = self.db.read().await?;
        if rows::by_name(&mut conn, plugin).await?.is_none() {
            return Err(RegistryError::NoPlugin(plugin.to_owned()));
        }
        let before = rows::before_active(&mut conn, plugin).await?;
        drop(conn);
        self.activate_row(before.ok_or_else(|| RegistryError::NothingBefore(plugin.to_owned()))?).await
    }

    /// Takes a plugin out of use. Its versions and its storage stay.
    pub(crate) async fn unload(&self, plugin: &str) -> Result<(), RegistryError> {
        let _turn = self.changing.lock().await;
        if rows::by_name(&mut self.db.read().await?, plugin).await?.is_none() {
            return Err(RegistryError::NoPlugin(plugin.to_owned()));
        }
        self.commit_activation(plugin, None).await?;
        self.exchange(plugin, None);
        Ok(())
    }

    /// Changes the grants of a version, from its next activation on.
    pub(crate) async fn grant(
        &self,
        plugin: &str,
        version_id: &PluginVersionId,
        grants: &Grants,
    ) -> Result<PluginVersion, RegistryError> {
        let (name, id, text) = (plugin.to_owned(), version_id.clone(), json(grants)?);
        self.db
            .write::<u64, DbError, _>(move |conn| {
                Box::pin(async move { rows::set_grants(conn, &name, &id, text).await })
            })
            .await?;
        let versions = self.versions(plugin).await?;
        let found = versions.into_iter().find(|version| version.id == *version_id);
        found.ok_or_else(|| RegistryError::NoVersion {
            plugin: plugin.to_owned(),
            version_id: version_id.clone(),
        })
    }

    /// All plugins by name.
    pub(crate) async fn list(&self) -> Result<Vec<PluginInfo>, RegistryError> {
        let mut conn = self.db.read().await?;
        let mut infos = Vec::new();
        for plugin in rows::list(&mut conn).await? {
            let active = match &plugin.active_id {
                None => None,
                Some(id) => {
                    let row = rows::by_id(&mut conn, id).await?;
                    row.map(|row| view(&row, Some(id))).transpose()?
                }
            };
            let loaded = self.active.load().get(&plugin.name).map(|loaded| &loaded.version_id)
                == plugin.active_id.as_ref();
            infos.push(PluginInfo { loaded: loaded && active.is_some(), name: plugin.name, active });
        }
        Ok(infos)
    }

    /// All versions of a plugin, the newest first.
    pub(crate) async fn versions(&self, plugin: &str) -> Result<Vec<PluginVersion>, RegistryError> {
        let mut conn = self.db.read().await?;
        let row = rows::by_name(&mut conn, plugin).await?;
        let row = row.ok_or_else(|| RegistryError::NoPlugin(plugin.to_owned()))?;
        let versions = rows::versions(&mut conn, plugin).await?;
        let views = versions.iter().map(|version| view(version, row.active_id.as_ref()));
        Ok(views.collect::<Result<_, DbError>>()?)
    }

    /// Follows the database's active versions: at the start, and later those that other replicas have changed. A
    /// version that cannot be loaded is reported in the log; the one that ran before stays.
    pub(crate) async fn refresh(&self) -> Result<(), DbError> {
        let mut failed = self.changing.lock().await;
        for plugin in rows::list(&mut self.db.read().await?).await? {
            let known = self.active.load().get(&plugin.name).map(|loaded| loaded.generation);
            let Some(active_id) = plugin.active_id else {
                if known.is_some() {
                    self.exchange(&plugin.name, None);
                }
                continue;
            };
            if known == Some(plugin.generation) || failed.get(&plugin.name) == Some(&plugin.generation) {
                continue;
            }
            let Some(row) = rows::by_id(&mut self.db.read().await?, &active_id).await? else { continue };
            match self.load(&row, plugin.generation).await {
                Ok(loaded) => self.exchange(&plugin.name, Some(loaded)),
                Err(RegistryError::Db(error)) => return Err(error),
                Err(error) => {
                    failed.insert(plugin.name.clone(), plugin.generation);
                    tracing::error!(plugin = plugin.name, version = row.version, %error, "a plugin cannot be loaded");
                }
            }
        }
        Ok(())
    }

    /// Installs the components in the binary that are not known yet. Such a component becomes active if its plugin is
    /// new, or if the active version came with an earlier binary. The operator's choice is never replaced.
    pub(super) async fn load_embedded(&self, components: &[&[u8]]) -> Result<(), RegistryError> {
        for wasm in components {
            let sha256 = hex::encode(Sha256::digest(wasm));
            if rows::any_by_sha256(&mut self.db.read().await?, &sha256).await? {
                continue;
            }
            let version = self.install_as(wasm.to_vec(), Origin::Embedded).await?;
            let name = &version.manifest.name;
            let mut conn = self.db.read().await?;
            let plugin = rows::by_name(&mut conn, name).await?;
            let replaces = match plugin {
                None => true,
                Some(plugin) => match plugin.active_id {
                    None => plugin.generation == 0,
                    Some(id) => {
                        rows::by_id(&mut conn, &id).await?.is_some_and(|row| row.origin == Origin::Embedded)
                    }
                },
            };
            drop(conn);
            if replaces {
                self.activate(name, &version.id).await?;
            } else {
                tracing::info!(plugin = name, version = %version.manifest.version, "a newer version came with this binary; activate it when you want it");
            }
        }
        Ok(())
    }

    fn memory_mib(&self) -> u32 {
        u32::try_from(self.config.memory_mib).unwrap_or(u32::MAX)
    }

    /// Loads first, then commits, then exchanges the pointer: an activation that fails changes nothing.
    async fn activate_row(&self, row: VersionRow) -> Result<PluginVersion, RegistryError> {
        let mut loaded = self.load(&row, 0).await?;
        loaded.generation = self.commit_activation(&row.plugin, Some(row.id.clone())).await?;
        self.exchange(&row.plugin, Some(loaded));
        self.shadows.promoted(&row.plugin, &row.id);
        Ok(view(&row, Some(&row.id))?)
    }

    async fn commit_activation(&self, plugin: &str, id: Option<PluginVersionId>) -> Result<i64, DbError> {
        let (plugin, now) = (plugin.to_owned(), self.clock.now());
        self.db.write(move |conn| Box::pin(async move { rows::activate(conn, &plugin, id, now).await })).await
    }

    fn exchange(&self, plugin: &str, loaded: Option<Loaded>) {
        let loaded = loaded.map(Arc::new);
        let old = self.active.rcu(|map| {
            let mut map = HashMap::clone(map);
            match &loaded {
                Some(loaded) => map.insert(plugin.to_owned(), loaded.clone()),
                None => map.remove(plugin),
            };
            map
        });
        if let Some(old) = old.get(plugin) {
            self.replaced().insert(plugin.to_owned(), old.clone());
        }
        let version = loaded.as_ref().map_or("none", |loaded| loaded.version.as_str());
        tracing::info!(plugin, version, "plugin active");
    }

    fn replaced(&self) -> MutexGuard<'_, HashMap<String, Arc<Loaded>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads a stored version: from memory, from the cache in a millisecond, or by compiling it.
    async fn load(&self, row: &VersionRow, generation: i64) -> Result<Loaded, RegistryError> {
        let (manifest, grants) = (manifest_of(row)?, grants_of(row)?);
        if let Some(what) = grants.refuse(&manifest) {
            let (plugin, version) = (row.plugin.clone(), row.version.clone());
            return Err(RegistryError::NotGranted { plugin, version, what });
        }
        let before = self.replaced().get(&row.plugin).filter(|before| before.sha256 == row.sha256).cloned();
        let found = match before {
            Some(before) => Some(before.component.clone()),
            None => self.cached(&row.sha256).await,
        };
        let component = match found {
            Some(component) => component,
            None => {
                let wasm = rows::artefact(&mut self.db.read().await?, &row.sha256).await?;
                let wasm = wasm.ok_or_else(|| DbError::NoArtefact(row.sha256.clone()))?;
                let (component, code) = self.admission.compile(wasm.into()).await?;
                self.keep(&row.sha256, code).await;
                component
            }
        };
        let memory_mib = manifest.limits.memory_mib.unwrap_or(grants.memory_mib).min(self.memory_mib());
        let limits = Limits::new(&self.config, memory_mib, manifest.grants.storage_kib);
        let linked = admit::link(&component, &manifest)?;
        Ok(Loaded::new(row, generation, limits, linked, component))
    }

    async fn cached(&self, sha256: &str) -> Option<Component> {
        let (cache, engine, sha256) = (self.cache.clone(), self.caller.engine().clone(), sha256.to_owned());
        tokio::task::spawn_blocking(move || cache.load(&engine, &sha256)).await.ok().flatten()
    }

    async fn keep(&self, sha256: &str, code: Vec<u8>) {
        let (cache, sha256) = (self.cache.clone(), sha256.to_owned());
        let in_use = self.active.load().values().map(|loaded| loaded.sha256.clone()).collect();
        // It logs its own failures.
        let _ = tokio::task::spawn_blocking(move || cache.store(&sha256, &code, &in_use)).await;
    }
}
