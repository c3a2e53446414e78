//! Plugins: artefacts, versions, activations.

#[path = "watch.rs"]
pub(crate) mod watch;
