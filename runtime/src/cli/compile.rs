//! `kassa compile-component`: the child process that the server starts for each compilation. Not for people.

use std::process::ExitCode;

use crate::host::{Guests, compile_child};

#[derive(Debug, clap::Args)]
pub(super) struct CompileArgs {
    /// Engine that the code is for
    #[arg(value_enum)]
    guests: Guests,
    /// Maximum processor time, seconds
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
