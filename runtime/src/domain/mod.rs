//! What is true about payments whatever the database, the network or the hour.
//!
//! Pure: no I/O, no async; time is an argument, milliseconds since 1970. Everything here can be tested by
//! calling it.

pub mod alarm;
pub(crate) mod allowance;
pub mod balance;
pub mod correction;
pub mod credit;
pub mod erasure;
pub mod event;
pub mod hook;
pub mod id;
pub mod invoice;
pub mod ledger;
pub mod matching;
pub mod money;
pub mod near;
pub(crate) mod nesting;
pub mod network;
pub(crate) mod objects;
pub mod observation;
pub(crate) mod ownership;
pub mod payment;
pub mod policy;
pub mod price;
pub mod rescan;
pub mod retry;
pub mod settlement;
pub mod signature;
pub mod size;
pub mod slots;
pub mod taken;
pub mod tenant;
pub mod transfer;
pub mod verbatim;
pub mod view;
pub mod word;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

#[cfg(test)]
mod tests;
