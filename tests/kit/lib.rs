//! The test kit: everything around a running Kassa that a case needs, with nothing simulated that can be real.
//!
//! The cast:
//! - [`Suite`] is the list of cases; a flow case runs once for each kind of [`Database`];
//! - [`Shop`] is a merchant with a [`Receiver`] for its webhooks on a [`Kassa`] process;
//! - [`World`] is where most cases start: a shop, an [`Anvil`] node and a [`Proxy`] between them;
//! - [`Sandbox`] is a shop on the simulated chain, [`Hooks`] what its merchant does with components;
//! - [`Facade`] is a local chain of any kind, with the same control calls for all (`tests/node/chains`);
//! - [`invariants::check`] looks at the database itself and reports what must never be.
//!
//! Cases wait for conditions ([`eventually`]), never for a time; a case that waits in vain says what it saw.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails; its message goes to the one who runs it"
)]

mod anvil;
mod api;
mod barrier;
mod contracts;
mod database;
mod document;
mod facade;
mod hooks;
mod hostile;
pub mod invariants;
mod kassa;
mod process;
mod proxy;
mod receiver;
mod sandbox;
mod shop;
mod sign;
mod suite;
mod values;
mod wire;
mod world;

pub use anvil::{Anvil, AnvilOptions, Receipt};
pub use api::{Answer, Api};
pub use barrier::Barrier;
pub use contracts::{Contract, contract, word};
pub use database::{Database, Kind, Rows};
pub use facade::Facade;
pub use hooks::{Hooks, Source, component, patched};
pub use hostile::{
    asking, assembled, carrying, doing, hostile, hostile_as, numbered, quiet, stale, straight,
};
pub use kassa::{Kassa, KassaOptions, MASTER_KEY};
pub use proxy::{Change, Fault, Provider, Proxy, Refused, Rule};
pub use receiver::{Receiver, Reply, Webhook, verify, verify_hmac, verify_ipn};
pub use sandbox::Sandbox;
pub use shop::{Merchant, Shop};
pub use sign::sign;
pub use suite::Suite;
pub use values::{list, now_ms, text, units};
pub use world::{NETWORK, SHARED_ADDRESS, World, WorldOptions};

use std::{path::PathBuf, time::Duration};

/// Time between two looks of [`eventually`].
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Maximum time for a condition on a machine that is busy with everything else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder `tests` of this repository.
#[must_use]
pub fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A client of plain HTTP, which is all that is used here: reading the machine's certificates takes longer than most
/// requests.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_certs_only([])
}

/// Asks again and again until the answer is `Ok`. Panics after [`PATIENCE`] with the last `Err`.
pub async fn eventually<T, F, Fut>(what: &str, ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    within(PATIENCE, what, ask).await
}

/// Like [`eventually`], with another patience.
pub async fn within<T, F, Fut>(patience: Duration, what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = tokio::time::Instant::now() + patience;
    loop {
        let seen = match ask().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(
            tokio::time::Instant::now() < end,
            "waited {patience:?} in vain for {what}; last seen: {seen}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
