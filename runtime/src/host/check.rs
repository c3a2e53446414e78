//! Admission without a server: checks whether Kassa would take an artefact. Nothing is stored.

use std::path::Path;

use super::{
    AdmitError, Host, HostError, Manifest,
    admit::{Admission, Admitted, Rules},
    compiler::Compiler,
    summary::ComponentSummary,
};
use crate::{clock::Clock, config::Config, db::Db, upstreams::Upstreams};

/// An artefact that would be admitted.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) sha256: String,
    pub(crate) manifest: Manifest,
    /// Full names of its imports.
    pub(crate) imports: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Refused(#[from] AdmitError),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Checks the artefact as an upload does, the compiler and the first call included. `scratch` is a folder for the
/// storage that the first call may read.
pub(crate) async fn check(
    wasm: Vec<u8>,
    config: &Config,
    scratch: &Path,
    upstreams: Upstreams,
) -> Result<Checked, CheckError> {
    let db = Db::open(&scratch.join("check.db").display().to_string()).await.map_err(HostError::Db)?;
    // The key of a cache from which nothing is read.
    let host =
        Host::empty(db.clone(), Clock::default(), config, &scratch.join("compiled"), [0; 32], upstreams)?;
    let wasm: std::sync::Arc<[u8]> = wasm.into();
    let rules = Rules::Chains(config.plugins.clone());
    let admission = Admission::new(host.caller.clone(), rules, Compiler::new());
    let Admitted { sha256, manifest, .. } = admission.admit(wasm.clone(), |_, _| None).await?;
    let summary = ComponentSummary::of(&wasm).map_err(AdmitError::from)?;
    let imports = summary.imports.iter().map(|&import| import.to_owned()).collect();
    db.close().await;
    Ok(Checked { sha256, manifest, imports })
}
