//! `kassa key`: API keys, and the master key. An API key's text is shown once, when it is made; only a keyed hash is
//! stored.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    client::{Client, ServerArgs},
    folder::Folder,
    print::{self, some, text},
    rotation, serve,
};
use crate::{
    app::App,
    domain::Millis,
    keys::{self, NewKey},
};

const EXAMPLES: &str = "\
Examples:
  kassa key create mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC --live --name 'shop backend'
  kassa key list mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC
  kassa key revoke key_01KAN2Q5T4W2J6G0Z8Y3V7X9BC
  kassa key rotate-master                       a new master key, while the server runs
  kassa key rotate-master --finish              the old one opens nothing any more
  kassa key operator --data /var/lib/kassa      the operator's key was lost";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key for a merchant, and show it once
    Create(CreateArgs),
    /// List keys: of a merchant, or without one the operator's
    List {
        /// mer_…
        merchant: Option<String>,
    },
    /// Make a key useless, for good
    Revoke {
        /// key_…
        id: String,
    },
    /// Seal everything with a new master key, while the server runs
    RotateMaster(rotation::RotationArgs),
    /// Make an operator's key without having one, straight in the database; the server must not be running
    Operator {
        /// Purpose, shown in lists
        #[arg(long, default_value = "recovery")]
        name: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// mer_…
    merchant: String,
    /// For test networks
    #[arg(long, required_unless_present = "live", conflicts_with = "live")]
    test: bool,
    /// For networks on which money moves
    #[arg(long)]
    live: bool,
    /// Purpose, shown in lists
    #[arg(long)]
    name: Option<String>,
    /// Time of its end, like 2027-01-31T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

pub(super) async fn run(global: &Global, args: KeyArgs) -> anyhow::Result<()> {
    let json = args.server.json;
    if let Command::Operator { name } = args.command {
        return operator(global, name, json).await;
    }
    let client = Client::new(global, &args.server)?;
    match args.command {
        Command::Operator { .. } => {}
        Command::RotateMaster(args) => rotation::run(&client, args, json).await?,
        Command::Create(new) => {
            let mut body = json!({
                "merchant_id": new.merchant,
                "mode": if new.live { "live" } else { "test" },
            });
            for (field, value) in [("name", new.name), ("expires_at", new.expires)] {
                if let Some(value) = value {
                    body[field] = Value::String(value);
                }
            }
            let key = client.post("/v1/operator/api_keys", &body).await?;
            if json {
                print::json(&key);
            } else {
                shown_once(&text(&key, "key"), &text(&key, "id"));
            }
        }
        Command::List { merchant } => {
            let query = merchant.map(|id| format!("&merchant_id={id}")).unwrap_or_default();
            let keys = client.list("/v1/operator/api_keys", &query).await?;
            if json {
                print::json(&Value::Array(keys));
            } else {
                let row = |key: &Value| {
                    let begins = format!("{}…", text(key, "prefix"));
                    vec![text(key, "id"), text(key, "mode"), begins, state(key), text(key, "name")]
                };
                let rows: Vec<_> = keys.iter().map(row).collect();
                print::table(&["ID", "MODE", "BEGINS", "STATE", "NAME"], &rows);
            }
        }
        Command::Revoke { id } => {
            let key = client.post(&format!("/v1/operator/api_keys/{id}/revoke"), &Value::Null).await?;
            if json {
                print::json(&key);
            } else {
                print::done(format!("{id} ({}…) opens nothing any more", text(&key, "prefix")));
            }
        }
    }
    Ok(())
}

fn state(key: &Value) -> String {
    match (some(key, "revoked_at"), some(key, "expires_at")) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "active".to_owned(),
    }
}

fn shown_once(key: &str, id: &str) {
    print::line(key);
    print::note(format!("\nThis is shown once; store it now. Its id is {id}."));
}

async fn operator(global: &Global, name: String, json: bool) -> anyhow::Result<()> {
    // With the lock, so that a newer kassa does not migrate the database under a running one.
    let folder = Folder::lock(&global.data())?;
    let app = serve::open(&folder, global.config()?).await?;
    let (id, key) = issue_operator(&app, name, None).await?;
    app.db.close().await;
    if json {
        print::json(&json!({ "id": id, "key": key }));
    } else {
        shown_once(&key, &id);
    }
    Ok(())
}

/// Makes an operator's key. Returns its id and text.
pub(super) async fn issue_operator(
    app: &App,
    name: String,
    expires_at: Option<Millis>,
) -> anyhow::Result<(String, String)> {
    let (vault, now) = (app.vault.clone(), app.clock.now());
    let new = NewKey { tenant: None, name, expires_at };
    let (key, text) = app
        .db
        .write::<_, keys::IssueError, _>(move |conn| {
            Box::pin(async move { keys::issue(conn, &vault, new, now).await })
        })
        .await?;
    Ok((key.id.to_string(), text))
}
