//! The composition root: what a running Kassa is made of.

use std::sync::Arc;

use crate::{
    clock::Clock, config::Config, db::Db, keys::Keys, networks::Networks, vault::Vault, wake::Wake,
};

/// Everything that handlers and workers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) wake: Wake,
    pub(crate) networks: Networks,
    pub(crate) keys: Keys,
}
