//! `kassa network`: the watched chains, and their RPC providers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, some, text},
    progress, rescan, secret,
};
use crate::domain::network::Manifest;

/// Time between looks whether an enabled network was read for the first time, and their maximum number.
const START_LOOK: Duration = Duration::from_millis(250);
const STARTS_LOOKED_FOR: u32 = 60;

const EXAMPLES: &str = "\
Examples:
  kassa network upstream add base https://base.example/rpc --rate 50
  kassa network upstream add base https://rpc.example --header 'Authorization: @env:RPC_TOKEN'
  kassa network enable base
  kassa network show base
  kassa network rescan base --from 41000000     reads blocks again
  kassa network add polygon.toml                any other EVM network is one more file

An upstream is an RPC provider. Several of one network share the work; one that fails is left out until it is well.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NetworkArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all networks: which are watched, and how far they are read
    List,
    /// Show one network: its assets, its upstreams, how far it is read
    Show {
        /// Like base
        name: String,
    },
    /// Add a network, or change one, as a manifest says
    Add {
        /// TOML; the networks that come with Kassa are examples
        file: PathBuf,
    },
    /// Start watching a network
    Enable {
        /// Like base
        name: String,
    },
    /// Stop watching a network; what it owes stays, and is read when it is enabled again
    Disable {
        /// Like base
        name: String,
    },
    /// Go on with a network whose final blocks were replaced; without --yes, only say what happened
    Unfreeze {
        /// Like base
        name: String,
        /// You have read why, and have looked at the chain
        #[arg(long)]
        yes: bool,
    },
    /// Read blocks again, beside the watcher: for addresses that were registered too late
    Rescan(rescan::RescanArgs),
    /// List the rescans of a network, and how far the one is that runs
    Rescans {
        /// Like base
        name: String,
    },
    /// End a rescan before its time; what it found stays
    CancelRescan {
        /// rsc_…
        id: String,
    },
    /// RPC providers of a network
    Upstream {
        #[command(subcommand)]
        command: UpstreamCommand,
    },
}

#[derive(Debug, Subcommand)]
enum UpstreamCommand {
    /// Add an RPC provider
    Add(UpstreamArgs),
    /// List a network's RPC providers, and how well they are
    List {
        /// Like base
        network: String,
    },
    /// Remove an RPC provider
    Remove {
        /// ups_…
        id: String,
    },
}

#[derive(Debug, Args)]
struct UpstreamArgs {
    /// Like base
    network: String,
    /// Its URL; @env:NAME and @file:PATH say where to read it
    // Not `url`: that is the server's, and clap would take the one for the other.
    #[arg(value_name = "URL")]
    upstream_url: String,
    /// Calls a second that the provider allows; the entries of a batch are calls of their own
    #[arg(long, default_value_t = 10, value_name = "N")]
    rate: u32,
    /// Calls a day (UTC) that it allows; they are spread over the day
    #[arg(long, value_name = "N")]
    per_day: Option<u32>,
    /// Lower is asked first
    #[arg(long, value_name = "N")]
    priority: Option<i64>,
    /// Sent with every request and kept encrypted; for the value, @env:NAME and @file:PATH work too
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

pub(super) async fn run(global: &Global, args: NetworkArgs) -> anyhow::Result<()> {
    // Before the server is asked: a wrong file is wrong without one.
    let manifest = match &args.command {
        Command::Add { file } => Some(read(file)?),
        _ => None,
    };
    let client = Client::new(global, &args.server)?;
    let out = Out { client: &client, json: args.server.json };
    match args.command {
        Command::List => out.list().await,
        Command::Show { name } => out.show(&name).await,
        Command::Add { .. } => match manifest {
            Some(manifest) => out.add(&serde_json::to_value(manifest)?).await,
            None => Ok(()),
        },
        Command::Enable { name } => out.switch(&name, "enable").await,
        Command::Disable { name } => out.switch(&name, "disable").await,
        Command::Unfreeze { name, yes } => out.unfreeze(&name, yes).await,
        Command::Rescan(args) => rescan::start(&client, out.json, args).await,
        Command::Rescans { name } => rescan::list(&client, out.json, &name).await,
        Command::CancelRescan { id } => rescan::cancel(&client, out.json, &id).await,
        Command::Upstream { command } => match command {
            UpstreamCommand::Add(new) => out.add_upstream(new).await,
            UpstreamCommand::List { network } => out.upstreams(&network).await,
            UpstreamCommand::Remove { id } => out.remove_upstream(&id).await,
        },
    }
}

/// Reads a manifest, checked here so that the error names the file.
pub(super) fn read(file: &Path) -> anyhow::Result<Manifest> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("{shown} is no network manifest"))?;
    manifest.check().map_err(|why| anyhow::anyhow!("{shown}: {why}"))?;
    Ok(manifest)
}

struct Out<'c> {
    client: &'c Client,
    json: bool,
}

impl Out<'_> {
    async fn list(&self) -> anyhow::Result<()> {
        let networks = self.client.list("/v1/operator/networks", "").await?;
        if self.json {
            print::json(&Value::Array(networks));
            return Ok(());
        }
        let row = |network: &Value| {
            let manifest = &network["manifest"];
            vec![text(manifest, "name"), text(manifest, "caip2"), text(manifest, "plugin"), state(network)]
        };
        print::table(&["NAME", "CHAIN", "PLUGIN", "STATE"], &networks.iter().map(row).collect::<Vec<_>>());
        Ok(())
    }

    async fn show(&self, name: &str) -> anyhow::Result<()> {
        let network = self.client.get(&network(name)).await?;
        self.print(&network);
        if !self.json {
            print::line("");
            self.upstreams(name).await?;
        }
        Ok(())
    }

    fn print(&self, network: &Value) {
        if self.json {
            return print::json(network);
        }
        let (manifest, read) = (&network["manifest"], &network["state"]);
        print::fields(&[
            ("name", some(manifest, "name")),
            ("title", some(manifest, "title")),
            ("chain", some(manifest, "caip2")),
            ("plugin", some(manifest, "plugin")),
            ("credited at", some(manifest, "credit").map(credit)),
            ("state", Some(state(network))),
            ("head", some(read, "head")),
            ("final", some(read, "final")),
            ("last block read", some(read, "moved_at")),
            ("last heard of", some(network, "heard_at")),
            ("frozen", some(read, "frozen")),
        ]);
        let assets = manifest["asset"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |asset: &Value| {
            let contract = some(asset, "contract").unwrap_or_else(|| "native coin".to_owned());
            vec![text(asset, "symbol"), text(asset, "decimals"), contract, tiers(asset)]
        };
        print::line("");
        print::table(
            &["ASSET", "DECIMALS", "CONTRACT", "CREDITED AT"],
            &assets.iter().map(row).collect::<Vec<_>>(),
        );
    }

    async fn add(&self, manifest: &Value) -> anyhow::Result<()> {
        let made = self.client.put(&network(&text(manifest, "name")), manifest).await?;
        self.print(&made);
        Ok(())
    }

    /// Switches a network; `verb` is `enable` or `disable`.
    async fn switch(&self, name: &str, verb: &str) -> anyhow::Result<()> {
        let switched = self.client.post(&format!("{}/{verb}", network(name)), &Value::Null).await?;
        if verb == "enable" && switched["state"].is_null() {
            return self.wait_for_start(name).await;
        }
        self.print(&switched);
        Ok(())
    }

    /// Waits for the first read of the chain: until then nobody can be promised that a payment on it is seen.
    async fn wait_for_start(&self, name: &str) -> anyhow::Result<()> {
        let spinner = progress::spinner("asking the network's provider where to begin …");
        let mut now = Value::Null;
        for _ in 0..STARTS_LOOKED_FOR {
            now = self.client.get(&network(name)).await?;
            if !now["state"].is_null() {
                break;
            }
            tokio::time::sleep(START_LOOK).await;
        }
        spinner.finish_and_clear();
        self.print(&now);
        if now["state"].is_null() && !self.json {
            print::line(format!(
                "\nNo provider has answered yet. It is asked again and again; until it answers, invoices on {name} are \
                 refused.\nWhat is wrong with it: kassa network upstream list {name}. Another one: kassa network upstream add \
                 {name} URL"
            ));
        }
        Ok(())
    }

    async fn unfreeze(&self, name: &str, yes: bool) -> anyhow::Result<()> {
        let path = network(name);
        let frozen = some(&self.client.get(&path).await?["state"], "frozen");
        let Some(frozen) = frozen else { anyhow::bail!("{name} is not frozen") };
        if !yes {
            anyhow::bail!(
                "{name} is frozen: {frozen}. Compare its blocks with another source. To go on with the chain as it \
                 is now, repeat with --yes; what was credited up to its final block stays credited"
            );
        }
        // The reason that was shown: the server refuses if it has changed.
        let unfrozen = self.client.post(&format!("{path}/unfreeze"), &json!({ "frozen": frozen })).await?;
        self.print(&unfrozen);
        Ok(())
    }

    async fn add_upstream(&self, new: UpstreamArgs) -> anyhow::Result<()> {
        let mut headers = Map::new();
        for header in &new.headers {
            let (name, value) = secret::header(header)?;
            headers.insert(name, Value::String(value));
        }
        let mut body = json!({ "url": secret::read(&new.upstream_url)?, "calls_per_s": new.rate, "calls_per_day": new.per_day });
        if let Some(priority) = new.priority {
            body["priority"] = json!(priority);
        }
        if !headers.is_empty() {
            body["headers"] = Value::Object(headers);
        }
        let path = format!("{}/upstreams", network(&new.network));
        let upstream = self.client.post(&path, &body).await?;
        if self.json {
            print::json(&upstream);
        } else {
            let (id, url) = (text(&upstream, "id"), text(&upstream, "url"));
            print::done(format!("{} is read through {url} ({id})", new.network));
        }
        Ok(())
    }

    async fn upstreams(&self, name: &str) -> anyhow::Result<()> {
        let upstreams = self.client.list(&format!("{}/upstreams", network(name)), "").await?;
        if self.json {
            print::json(&Value::Array(upstreams));
            return Ok(());
        }
        let row = |upstream: &Value| {
            let health = &upstream["health"];
            let state = some(health, "state").unwrap_or_else(|| "not asked".to_owned());
            let [id, url, allowed] = ["id", "url", "calls_per_s"].map(|field| text(upstream, field));
            let rate = match some(health, "pace_per_s") {
                Some(pace) => format!("{pace} of {allowed}"),
                None => allowed,
            };
            let today = match some(upstream, "calls_per_day") {
                Some(allowed) => format!("{} of {allowed}", text(health, "calls_today")),
                None => text(health, "calls_today"),
            };
            let [errors, requests, last, learned] =
                ["errors", "requests", "last_error", "learned"].map(|field| text(health, field));
            let failed = if errors.is_empty() { String::new() } else { format!("{errors} of {requests}") };
            vec![id, url, rate, today, state, failed, learned, last]
        };
        let head = ["UPSTREAM", "URL", "PER S", "TODAY", "STATE", "FAILED", "LEARNED", "LAST ERROR"];
        print::table(&head, &upstreams.iter().map(row).collect::<Vec<_>>());
        Ok(())
    }

    async fn remove_upstream(&self, id: &str) -> anyhow::Result<()> {
        let answer = self.client.delete(&format!("/v1/operator/upstreams/{id}")).await?;
        if self.json {
            print::json(&answer);
        } else {
            print::done(format!("{id} is asked no more"));
        }
        Ok(())
    }
}

fn network(name: &str) -> String {
    format!("/v1/operator/networks/{name}")
}

fn credit(credit: String) -> String {
    match credit.as_str() {
        "1" => "1 confirmation".to_owned(),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{number} confirmations"),
        _ => credit,
    }
}

/// An asset's credit by amount, if it has its own.
fn tiers(asset: &Value) -> String {
    let tier = |tier: &Value| {
        let amount = some(tier, "up_to").map_or("more".to_owned(), |up_to| format!("up to {up_to}"));
        let by = if tier["agreed"] == true { ", seen by two providers" } else { "" };
        format!("{amount}: {}{by}", credit(text(tier, "at")))
    };
    let tiers = asset["credit"].as_array().map_or(&[][..], Vec::as_slice);
    tiers.iter().map(tier).collect::<Vec<_>>().join("; ")
}

fn state(network: &Value) -> String {
    let read = &network["state"];
    let (height, lag) = (text(read, "height"), text(read, "lag"));
    if network["enabled"] != true {
        "off".to_owned()
    } else if some(read, "frozen").is_some() {
        format!("FROZEN at block {height}")
    } else if let Some(since) = some(network, "stalled_since") {
        let read = if read.is_null() { "nothing".to_owned() } else { format!("to block {height}") };
        format!("STALLED since {since}: no provider gives a good answer; read {read}")
    } else if read.is_null() {
        "nothing read yet".to_owned()
    } else if lag == "0" {
        format!("read to block {height}, the head since {}", text(read, "moved_at"))
    } else {
        format!("read to block {height}, {lag} behind")
    }
}
