//! `kassa plugin`: the components that read chains.

mod trial;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, text},
};
use crate::{
    clock::Clock,
    host::{self, CheckError, Checked},
    outbound::Outbound,
    upstreams::Upstreams,
};

const EXAMPLES: &str = "\
Examples:
  kassa plugin check evm.wasm        would it be admitted? asks no server
  kassa plugin try base.toml         what does it read? asks no server either
  kassa plugin upload evm.wasm       admits it and keeps it; the active version goes on
  kassa plugin shadow evm plv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC
  kassa plugin activate evm plv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC
  kassa plugin rollback evm

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
    /// Go back to the version that was active before; twice ends where it began
    Rollback {
        /// Like evm
        name: String,
    },
    /// Let a version read the same blocks beside the active one, or show where the two differ
    Shadow {
        /// Like evm
        name: String,
        /// plv_…; without one it shows how the version in the shadow does
        version: Option<String>,
        /// Take the version out of the shadow
        #[arg(long, conflicts_with = "version")]
        off: bool,
    },
    /// Set what a version may use, when it asks for more than uploads get by themselves
    Grant(GrantArgs),
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
    /// Let a plugin read a chain, and show what it says; needs no server
    Try(trial::TryArgs),
}

#[derive(Debug, Args)]
struct GrantArgs {
    /// Like evm
    name: String,
    /// plv_…
    version: String,
    /// Memory of one call
    #[arg(long, value_name = "MIB")]
    memory_mib: u32,
    /// Storage on each network
    #[arg(long, value_name = "KIB")]
    storage_kib: u32,
}

pub(super) async fn run(global: &Global, args: PluginArgs) -> anyhow::Result<()> {
    let json = args.server.json;
    if let Command::Try(args) = args.command {
        return trial::run(args, json).await;
    }
    let wasm = match &args.command {
        Command::Check { file } | Command::Upload { file, .. } => Some(read(file)?),
        _ => None,
    };
    if let (Command::Check { .. }, Some(wasm)) = (&args.command, wasm.as_ref()) {
        return check(global, wasm, json).await;
    }
    let out = Out { client: Client::new(global, &args.server)?, json };
    match args.command {
        Command::Check { .. } | Command::Try(_) => Ok(()),
        Command::List => out.list().await,
        Command::Show { name } => out.show(&name).await,
        Command::Upload { activate, .. } => out.upload(wasm.unwrap_or_default(), activate).await,
        Command::Activate { name, version } => out.activate(&name, &version).await,
        Command::Rollback { name } => out.roll_back(&name).await,
        Command::Unload { name } => out.unload(&name).await,
        Command::Shadow { name, version, off } => out.shadow(&name, version, off).await,
        Command::Grant(new) => out.grant(new).await,
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

async fn check(global: &Global, wasm: &[u8], json: bool) -> anyhow::Result<()> {
    let config = global.config()?;
    let scratch = std::env::temp_dir().join(format!("kassa-check-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let outbound = Outbound::new().context("cannot make an HTTP client")?;
    let upstreams = Upstreams::new(outbound, Clock::default());
    let checked = host::check(wasm.to_vec(), &config, &scratch, upstreams).await;
    let _ = std::fs::remove_dir_all(&scratch);
    let Checked { sha256, manifest, imports } = match checked {
        Ok(checked) => checked,
        Err(CheckError::Refused(refused)) => {
            if json {
                print::json(
                    &json!({ "admitted": false, "reason": refused.slug(), "detail": refused.to_string() }),
                );
            }
            anyhow::bail!("it would not be admitted: {refused} ({})", refused.slug());
        }
        Err(other) => return Err(other.into()),
    };
    if json {
        print::json(&json!({
            "admitted": true, "sha256": sha256, "bytes": wasm.len(), "imports": imports, "manifest": manifest,
        }));
        return Ok(());
    }
    let words = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let memory = manifest
        .limits
        .memory_mib
        .map_or_else(|| "as the operator allows".to_owned(), |mib| format!("{mib} MiB"));
    print::done("it would be admitted");
    print::fields(&[
        ("plugin", Some(format!("{} {}", manifest.name, manifest.version))),
        ("about", Some(manifest.description.clone())),
        ("roles", Some(words(manifest.roles.iter().map(|role| role.as_str().to_owned()).collect()))),
        ("imports", Some(words(imports))),
        ("memory", Some(memory)),
        ("storage", Some(format!("{} KiB on each network", manifest.grants.storage_kib))),
        ("size", Some(format!("{} KiB", wasm.len().div_ceil(1024)))),
        ("sha256", Some(sha256)),
    ]);
    Ok(())
}

/// The commands that ask a server.
struct Out {
    client: Client,
    json: bool,
}

impl Out {
    async fn list(&self) -> anyhow::Result<()> {
        let plugins = self.client.list("/v1/operator/plugins", "").await?;
        if self.json {
            print::json(&Value::Array(plugins));
            return Ok(());
        }
        let row = |plugin: &Value| {
            let active = &plugin["active"];
            let state = match (active.is_null(), plugin["loaded"] == true) {
                (true, _) => "unloaded",
                (false, true) => "runs",
                (false, false) => "NOT LOADED, see the log",
            };
            vec![text(plugin, "name"), text(active, "version"), state.to_owned(), text(active, "id")]
        };
        let rows: Vec<_> = plugins.iter().map(row).collect();
        print::table(&["NAME", "VERSION", "STATE", "ACTIVE"], &rows);
        Ok(())
    }

    async fn show(&self, name: &str) -> anyhow::Result<()> {
        let versions = self.client.list(&format!("/v1/operator/plugins/{name}"), "").await?;
        if self.json {
            print::json(&Value::Array(versions));
            return Ok(());
        }
        let row = |version: &Value| {
            let active = if version["active"] == true { "active" } else { "" };
            vec![
                text(version, "id"),
                text(version, "version"),
                active.to_owned(),
                text(version, "origin"),
                text(version, "created_at"),
            ]
        };
        let rows: Vec<_> = versions.iter().map(row).collect();
        print::table(&["VERSION", "NUMBER", "", "ORIGIN", "SINCE"], &rows);
        Ok(())
    }

    async fn upload(&self, wasm: Vec<u8>, activate: bool) -> anyhow::Result<()> {
        let version = self.client.upload(&format!("/v1/operator/plugins?activate={activate}"), wasm).await?;
        let (name, id) = (text(&version, "plugin"), text(&version, "id"));
        let active = version["active"] == true;
        self.version(&version, if active { "is active" } else { "is kept" });
        if !self.json && !active {
            print::note(format!("\nNext: kassa plugin activate {name} {id}"));
        }
        Ok(())
    }

    async fn activate(&self, name: &str, version: &str) -> anyhow::Result<()> {
        let path = format!("/v1/operator/plugins/{name}/activate");
        let active = self.client.post(&path, &json!({ "version_id": version })).await?;
        self.version(&active, "is active");
        Ok(())
    }

    async fn roll_back(&self, name: &str) -> anyhow::Result<()> {
        let path = format!("/v1/operator/plugins/{name}");
        let versions = self.client.list(&path, "").await?;
        let left =
            versions.iter().find(|version| version["active"] == true).map(|version| text(version, "id"));
        // Names the version to leave, so that two of these at once go back one step, not two.
        let active = self.client.post(&format!("{path}/roll_back"), &json!({ "from": left })).await?;
        self.version(&active, "is active again");
        Ok(())
    }

    async fn grant(&self, new: GrantArgs) -> anyhow::Result<()> {
        let body = json!({
            "version_id": new.version,
            "grants": { "memory_mib": new.memory_mib, "storage_kib": new.storage_kib },
        });
        let version = self.client.put(&format!("/v1/operator/plugins/{}/grants", new.name), &body).await?;
        self.version(&version, "has these grants from its next activation on");
        Ok(())
    }

    async fn shadow(&self, name: &str, version: Option<String>, off: bool) -> anyhow::Result<()> {
        let path = format!("/v1/operator/plugins/{name}/shadow");
        let shadow = match (version, off) {
            (None, false) => self.client.get(&path).await?,
            (version, _) => self.client.put(&path, &json!({ "version_id": version })).await?,
        };
        if self.json {
            print::json(&shadow);
            return Ok(());
        }
        if shadow["version_id"].is_null() {
            print::done(format!("no version of {name} is in the shadow"));
            return Ok(());
        }
        let [scans, different, behind, skipped] =
            ["scans", "different", "behind", "skipped"].map(|field| text(&shadow, field));
        print::fields(&[
            (
                "in the shadow",
                Some(format!("{}, since {}", text(&shadow, "version_id"), text(&shadow, "since"))),
            ),
            (
                "scans",
                Some(format!(
                    "{scans}, {different} different; {behind} of which it read less ({skipped} say nothing: a provider failed)"
                )),
            ),
        ]);
        for one in shadow["newest"].as_array().into_iter().flatten() {
            let [at, network, from, what] =
                ["at", "network", "from_height", "what"].map(|field| text(one, field));
            print::line(format!("  {at}  {network} from {from}: {what}"));
        }
        Ok(())
    }

    async fn unload(&self, name: &str) -> anyhow::Result<()> {
        let plugin = self.client.post(&format!("/v1/operator/plugins/{name}/unload"), &Value::Null).await?;
        if self.json {
            print::json(&plugin);
        } else {
            print::done(format!("{name} is out of service; its networks stand still"));
        }
        Ok(())
    }

    fn version(&self, version: &Value, what: &str) {
        if self.json {
            return print::json(version);
        }
        let [name, number, id] = ["plugin", "version", "id"].map(|field| text(version, field));
        print::done(format!("{name} {number} {what} ({id})"));
    }
}
