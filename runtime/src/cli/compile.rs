//! `kassa compile-component`: what the server starts for each component that it compiles. Not for people.

use std::process::ExitCode;

use crate::host::{Guests, compile_child};

#[derive(Debug, clap::Args)]
pub(super) struct CompileArgs {
    /// Whose engine the code is for
    #[arg(value_enum)]
    guests: Guests,
    /// Seconds of a processor that it may take
    cpu_s: u64,
}

#[expect(clippy::print_stderr, reason = "the server reads it")]
pub(super) fn run(args: &CompileArgs) -> ExitCode {
    match compile_child(args.guests, args.cpu_s) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(why.exit_code())
        }
    }
}
