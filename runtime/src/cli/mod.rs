//! The command line: one subcommand a file.
//!
//! stdout carries the result, stderr everything else. Exit status: 0 done, 1 it failed, 2 the command line itself is
//! wrong.
//!
//! `serve`, `demo`, `migrate` and `bench` work on a data folder; so do `key operator` and `plugin check`, in
//! their way. All other commands are a client of the REST API: what they can do, any program can.

#[cfg(feature = "bench")]
mod bench;
mod client;
mod compile;
mod demo;
mod folder;
mod hook;
mod key;
mod logging;
mod merchant;
mod migrate;
mod network;
mod plugin;
mod print;
mod progress;
mod rescan;
mod retention;
mod rotation;
mod scratch;
mod secret;
mod serve;
mod stop;
mod transfer;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  kassa demo                          see a payment go through, on a simulated chain
  kassa serve                         start the server; the first start says what is next
  kassa merchant create 'Corner shop'
  kassa network upstream add base https://base.example/rpc

`kassa help <command>` explains each. The server also serves its API reference, at /docs.";

/// Kassa: a self-hosted runtime for crypto payments.
///
/// It watches chains through sandboxed WebAssembly plugins, finds out which invoice a payment is for, and tells
/// merchants by signed webhooks. It holds no keys that can spend.
#[derive(Debug, Parser)]
#[command(name = "kassa", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 80)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// Folder with all that Kassa keeps: database, master key, kassa.toml [env: KASSA_DATA] [default: kassa-data]
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    data: Option<PathBuf>,
    /// Configuration file [default: kassa.toml in the data folder, if it is there]
    #[arg(long, global = true, value_name = "FILE", display_order = 101)]
    config: Option<PathBuf>,
    /// Colours; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Colors::Auto, value_name = "WHEN", display_order = 102)]
    color: Colors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colors {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: watch chains, serve the API, deliver webhooks
    Serve(serve::ServeArgs),
    /// Watch one invoice being paid, from the order to the verified webhook, on a simulated chain
    Demo(demo::DemoArgs),
    /// Bring the database up to date, and do nothing else
    Migrate(migrate::MigrateArgs),
    /// Look at, load, swap and roll back plugins
    Plugin(plugin::PluginArgs),
    /// A merchant's own components: build, upload, watch them at work
    Hook(hook::HookArgs),
    /// Networks that are watched, and the RPC providers they are read from
    Network(network::NetworkArgs),
    /// The merchants that this server takes payments for
    Merchant(merchant::MerchantArgs),
    /// Transfers to merchants' addresses
    Transfer(transfer::TransferArgs),
    /// Old data that would be deleted, and how long each kind is kept
    Retention(retention::RetentionArgs),
    /// API keys of merchants, and of the operator
    Key(key::KeyArgs),
    /// Measure this machine, Kassa on it, and how far apart the two are
    #[cfg(feature = "bench")]
    Bench(bench::BenchArgs),
    /// Compile one component, as the server's child; not for people
    #[command(hide = true)]
    CompileComponent(compile::CompileArgs),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::CompileComponent(args) = &cli.command {
        return compile::run(args);
    }
    print::colors(cli.global.color);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    // Every TLS connection of this process, in and out, uses the same implementation.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads to run on")?;
    let global = cli.global;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(&global, args).await,
            Command::Demo(args) => demo::run(&global, args).await,
            Command::Migrate(args) => migrate::run(&global, args).await,
            Command::Plugin(args) => plugin::run(&global, args).await,
            Command::Hook(args) => hook::run(&global, args).await,
            Command::Network(args) => network::run(&global, args).await,
            Command::Merchant(args) => merchant::run(&global, args).await,
            Command::Transfer(args) => transfer::run(&global, args).await,
            Command::Retention(args) => retention::run(&global, args).await,
            Command::Key(args) => key::run(&global, args).await,
            #[cfg(feature = "bench")]
            Command::Bench(args) => bench::run(&global, args).await,
            Command::CompileComponent(_) => Ok(()),
        }
    })
}

impl Global {
    /// The data folder. Not by clap's `env`: the demo must not run in the folder that a variable names.
    fn data(&self) -> PathBuf {
        let named = || std::env::var_os("KASSA_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.data.clone().or_else(named).unwrap_or_else(|| PathBuf::from("kassa-data"))
    }

    /// The configuration: defaults, then the file, then the environment.
    fn config(&self) -> anyhow::Result<Config> {
        let usual = self.data().join("kassa.toml");
        let file = self.config.as_deref().unwrap_or(&usual);
        Ok(Config::load(file, self.config.is_some(), std::env::vars())?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_argument_shadows_a_global_one() {
        fn walk(command: &clap::Command, globals: &mut Vec<String>) {
            let known = globals.len();
            for argument in command.get_arguments() {
                let id = argument.get_id().to_string();
                assert!(
                    !globals.contains(&id),
                    "{}: {id} is the name of a global argument",
                    command.get_name()
                );
            }
            let own = command.get_arguments().filter(|argument| argument.is_global_set());
            globals.extend(own.map(|argument| argument.get_id().to_string()));
            for inner in command.get_subcommands() {
                walk(inner, globals);
            }
            globals.truncate(known);
        }
        walk(&Cli::command(), &mut Vec::new());
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no description");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} has no description", argument.get_id());
            }
            for inner in command.get_subcommands() {
                walk(inner, &path);
            }
        }
        walk(&Cli::command(), "");
    }
}
