//! `kassa merchant`: the tenants of this installation.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    print::{self, some, text},
};

const EXAMPLES: &str = "\
Examples:
  kassa merchant create 'Corner shop'
  kassa key create mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC --test
  kassa merchant create 'Our own alarms' --operator-events
  kassa merchant list --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MerchantArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a merchant
    Create {
        /// Name, for people
        name: String,
        /// Its endpoints and hooks are told what concerns the operator (`network.stalled`, …)
        #[arg(long)]
        operator_events: bool,
    },
    /// List all merchants
    List,
    /// Show one merchant and its policy
    Show {
        /// mer_…
        id: String,
    },
    /// Tell a merchant's endpoints and hooks what concerns the operator, or no more
    ///
    /// The events: network.stalled, network.resumed, network.frozen, transfer.disputed,
    /// network.second_provider_missing, work.set_aside, database.unwritable.
    OperatorEvents {
        /// mer_…
        id: String,
        /// Turn it on or off
        #[arg(value_enum)]
        switch: Switch,
    },
    /// Lock a merchant out: its keys open nothing; its payments are still watched and credited
    Disable {
        /// mer_…
        id: String,
    },
    /// Let a disabled merchant in again
    Enable {
        /// mer_…
        id: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) async fn run(global: &Global, args: MerchantArgs) -> anyhow::Result<()> {
    let client = Client::new(global, &args.server)?;
    let json = args.server.json;
    match args.command {
        Command::Create { name, operator_events } => {
            let body = json!({ "name": name, "operator_events": operator_events });
            let merchant = client.post("/v1/operator/merchants", &body).await?;
            show(json, &merchant);
            if !json {
                let id = text(&merchant, "id");
                print::note(format!("\nNext: kassa key create {id} --test    (or --live)"));
            }
        }
        Command::List => {
            let merchants = client.list("/v1/operator/merchants", "").await?;
            if json {
                print::json(&Value::Array(merchants));
            } else if merchants.is_empty() {
                print::note("There is no merchant yet: kassa merchant create 'Corner shop'");
            } else {
                let rows: Vec<_> = merchants
                    .iter()
                    .map(|merchant| vec![text(merchant, "id"), text(merchant, "name"), state(merchant)])
                    .collect();
                print::table(&["ID", "NAME", "STATE"], &rows);
            }
        }
        Command::Show { id } => show(json, &client.get(&format!("/v1/operator/merchants/{id}")).await?),
        Command::OperatorEvents { id, switch } => {
            change(&client, json, &id, &json!({ "operator_events": switch == Switch::On })).await?;
        }
        Command::Disable { id } => change(&client, json, &id, &json!({ "disabled": true })).await?,
        Command::Enable { id } => change(&client, json, &id, &json!({ "disabled": false })).await?,
    }
    Ok(())
}

async fn change(client: &Client, json: bool, id: &str, body: &Value) -> anyhow::Result<()> {
    let path = format!("/v1/operator/merchants/{id}");
    show(json, &client.patch(&path, body).await?);
    Ok(())
}

fn state(merchant: &Value) -> String {
    if text(merchant, "disabled_at").is_empty() { "active" } else { "disabled" }.to_owned()
}

fn show(json: bool, merchant: &Value) {
    if json {
        return print::json(merchant);
    }
    print::fields(&[
        ("id", some(merchant, "id")),
        ("name", some(merchant, "name")),
        ("state", Some(state(merchant))),
        ("created", some(merchant, "created_at")),
        ("disabled", some(merchant, "disabled_at")),
        ("operator's events", some(merchant, "operator_events")),
        ("policy", some(merchant, "policy")),
    ]);
}
