//! Every case, a file for each subject. `tests/run` runs them all; `cargo test -p kassa-tests -- WORD` some.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails; its message goes to the one who runs it"
)]

mod kit;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = kassa_tests::Suite::new();
    kit::cases(&mut suite);
    suite.run()
}
