//! Every case, a file for each subject. `tests/run` runs them all; `cargo test -p kassa-tests -- WORD` some.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails; its message goes to the one who runs it"
)]

mod advisories;
mod api_bad_input;
mod api_wire;
mod as_sent;
mod by_amount;
mod conformance;
mod contract;
mod corrections;
mod crash;
mod evm_payments;
mod evm_reorgs;
mod evm_upstreams;
mod forms;
mod frozen;
mod health;
mod hook_build;
mod hooks;
mod hostile;
mod idempotency;
mod identity;
mod kit;
mod layers;
mod limits;
mod matchers;
mod metrics_and_health;
mod near;
mod new_chain;
mod openapi;
mod order;
mod ownership;
mod plugins;
mod prices;
mod rescan;
mod retention;
mod rises;
mod rotation;
mod scripts;
mod webhooks;
mod whose;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = kassa_tests::Suite::new();
    // The longest first: at the end each would wait alone for its own restarts.
    crash::cases(&mut suite);
    advisories::cases(&mut suite);
    kit::cases(&mut suite);
    layers::cases(&mut suite);
    contract::cases(&mut suite);
    conformance::cases(&mut suite);
    by_amount::cases(&mut suite);
    corrections::cases(&mut suite);
    evm_payments::cases(&mut suite);
    evm_reorgs::cases(&mut suite);
    evm_upstreams::cases(&mut suite);
    health::cases(&mut suite);
    rises::cases(&mut suite);
    rotation::cases(&mut suite);
    scripts::cases(&mut suite);
    idempotency::cases(&mut suite);
    openapi::cases(&mut suite);
    identity::cases(&mut suite);
    limits::cases(&mut suite);
    webhooks::cases(&mut suite);
    whose::cases(&mut suite);
    new_chain::cases(&mut suite);
    order::cases(&mut suite);
    ownership::cases(&mut suite);
    rescan::cases(&mut suite);
    retention::cases(&mut suite);
    hook_build::cases(&mut suite);
    forms::cases(&mut suite);
    frozen::cases(&mut suite);
    hooks::cases(&mut suite);
    matchers::cases(&mut suite);
    prices::cases(&mut suite);
    hostile::cases(&mut suite);
    plugins::cases(&mut suite);
    api_bad_input::cases(&mut suite);
    api_wire::cases(&mut suite);
    as_sent::cases(&mut suite);
    metrics_and_health::cases(&mut suite);
    near::cases(&mut suite);
    suite.run()
}
