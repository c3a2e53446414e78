//! `kassa compile-component`: what the server starts for each component that it compiles. Not for people.

use std::process::ExitCode;

use crate::host::{Guests, compile_child};

#[derive(Debug, clap::Args)]
pub(super) struct CompileArgs {
    /// Whose engine the code is for
    #[arg(value_enum)]
    guests: Guests,
}

#[expect(clippy::print_stderr, reason = "the server reads it")]
pub(super) fn run(args: &CompileArgs) -> ExitCode {
    match compile_child(args.guests) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(why.exit_code())
        }
    }
}
