//! Workers, and the operations that handlers call.
//!
//! A worker does the same three steps: claim, decide (a pure function of facts and time), commit. An operation is what a
//! handler calls. One that changes something takes the connection of the transaction that keeps its answer too, and the
//! time; one that only reads takes the [`App`](crate::app::App). Both answer with rows and errors of their own, and know
//! nothing of HTTP.

pub(crate) mod addresses;
pub(crate) mod again;
mod agree;
pub(crate) mod api_keys;
pub(crate) mod balances;
pub(crate) mod chain_clock;
pub(crate) mod deliver;
pub(crate) mod deliveries;
pub(crate) mod dispatch;
pub(crate) mod endpoints;
pub(crate) mod find;
pub(crate) mod first_calls;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod invoicing;
pub(crate) mod leases;
pub(crate) mod merchants;
pub(crate) mod networks;
pub(crate) mod observe;
pub(crate) mod ownership;
pub(crate) mod report;
pub(crate) mod rescan;
pub(crate) mod resolve;
pub(crate) mod resources;
pub(crate) mod retention;
pub(crate) mod sandbox;
pub(crate) mod settle;
pub(crate) mod simulations;
pub(crate) mod supervise;

#[cfg(test)]
mod tests;
