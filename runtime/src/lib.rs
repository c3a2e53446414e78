//! Kassa: a self-hosted runtime for crypto payments.
//!
//! `ARCHITECTURE.md` beside this crate has the map. One way, each arrow one database transaction:
//!
//! ```text
//! chain plugin ─scan→ observe ─{transfer, cursor}→ settle ─{payment, ledger, invoice, event}→ dispatch ─{delivery}→ deliver
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub(crate) mod db;
pub mod domain;
pub(crate) mod flow;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod keys;
pub(crate) mod master_key;
pub(crate) mod metrics;
pub(crate) mod networks;
pub(crate) mod outbound;
pub mod server;
pub(crate) mod shares;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod upstreams;
pub mod vault;
pub(crate) mod wake;
