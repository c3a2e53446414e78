//! The workers. Each does the same three steps: claim, decide (a pure function of facts and time), commit.

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
