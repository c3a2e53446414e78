//! `kassa plugin`: the components that read chains.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, text},
};

const EXAMPLES: &str = "\
Examples:
  kassa plugin check evm.wasm        would it be admitted? asks no server
  kassa plugin upload evm.wasm       admits it and keeps it; the active version goes on
  kassa plugin activate evm plv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC
  kassa plugin rollback evm          back to the version that was active before

A swap takes effect with the next call; calls under way end on the version that they began with.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List plugins and the version of each that is active
    List,
    /// List the versions of a plugin
    Show {
        /// Like evm
        name: String,
    },
    /// Admit a component and keep it, without activating it
    Upload {
        /// A WebAssembly component with its manifest inside
        file: PathBuf,
        /// Make it the active version at once
        #[arg(long)]
        activate: bool,
    },
    /// Make a version the active one
    Activate {
        /// Like evm
        name: String,
        /// plv_…
        version: String,
    },
    /// Go back to the version that was active before
    Rollback {
        /// Like evm
        name: String,
    },
    /// Take a plugin out of service: its networks stand still until a version is activated
    Unload {
        /// Like evm
        name: String,
    },
    /// Say whether a component would be admitted, and what it asks for; needs no server
    Check {
        /// A WebAssembly component
        file: PathBuf,
    },
}

pub(super) async fn run(global: &Global, args: PluginArgs) -> anyhow::Result<()> {
    let json = args.server.json;
    if let Command::Check { file } = &args.command {
        return check(global, file, json).await;
    }
    let client = Client::new(global, &args.server)?;
    let _ = (client, json, json!(null), Value::Null, text(&Value::Null, ""));
    print::line("");
    anyhow::bail!("not there yet")
}

async fn check(_global: &Global, file: &std::path::Path, _json: bool) -> anyhow::Result<()> {
    let _wasm = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::bail!("not there yet")
}
