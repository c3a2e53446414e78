//! The API from outside: requests through the whole router, on real databases.

mod bodies;
mod document;
mod documented;
mod erasure;
mod hooks;
mod idempotency;
mod keys;
mod kit;
mod lists;
mod rescans;
mod resources;
mod secrets;
mod socket;
mod usage;
mod walk;
