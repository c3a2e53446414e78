//! `kassa network rescan`, `rescans` and `cancel-rescan`: reading blocks again.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    client::Client,
    print::{self, some, text},
    progress,
};

/// Time between looks at a rescan's progress.
const LOOK: Duration = Duration::from_millis(500);
/// Number of a network's newest rescans among which a new one must be.
const NEWEST: u32 = 5;

pub(super) const EXAMPLES: &str = "\
Examples:
  kassa network rescan base --from 41000000
  kassa network rescan base --from 2026-03-01T12:00:00Z --to 41200000
  kassa network rescan base --from 41000000 --detach
  kassa network rescans base                    those that were, and how far the one is that runs

For transfers to addresses that were registered after the transfer, and for what a provider had kept back. It runs beside
the watcher and survives restarts of the server. What is known stays as it is: nothing is credited twice.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RescanArgs {
    /// Like base
    name: String,
    /// The first block: its height, or a time like 2026-03-01T12:00:00Z
    #[arg(long, value_name = "HEIGHT|TIME")]
    from: String,
    /// The last block; if left out, the last one that was read
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u64>,
    /// Do not wait for its end
    #[arg(long)]
    detach: bool,
}

impl RescanArgs {
    fn body(&self) -> Value {
        let mut body = Map::new();
        match self.from.parse::<u64>() {
            Ok(height) => body.insert("from".to_owned(), json!(height)),
            Err(_) => body.insert("since".to_owned(), json!(self.from)),
        };
        if let Some(to) = self.to {
            body.insert("to".to_owned(), json!(to));
        }
        Value::Object(body)
    }
}

/// Starts a rescan, and follows it to its end.
pub(super) async fn start(client: &Client, as_json: bool, args: RescanArgs) -> anyhow::Result<()> {
    let path = format!("/v1/operator/networks/{}/rescans", args.name);
    let made = client.post(&path, &args.body()).await?;
    let id = text(&made, "id");
    let end = if args.detach { made } else { follow(client, &path, &id).await? };
    if as_json {
        print::json(&end);
    } else {
        show(&end);
    }
    match text(&end, "state").as_str() {
        "failed" => anyhow::bail!("{id} failed: {}", text(&end, "error")),
        "cancelled" => anyhow::bail!("{id} was cancelled"),
        _ => Ok(()),
    }
}

async fn follow(client: &Client, path: &str, id: &str) -> anyhow::Result<Value> {
    print::note(format!("{id} goes on when this command ends; kassa network cancel-rescan {id} ends it"));
    let bar = progress::Blocks::new();
    loop {
        let page = client.get(&format!("{path}?limit={NEWEST}")).await?;
        let rows = page["data"].as_array().into_iter().flatten();
        let rescan =
            rows.into_iter().find(|row| row["id"] == id).context("the rescan is not listed any more")?;
        if text(rescan, "state") != "running" {
            return Ok(rescan.clone());
        }
        bar.show(rescan["read"].as_u64(), rescan["blocks"].as_u64(), &said(rescan));
        tokio::time::sleep(LOOK).await;
    }
}

/// Describes the present state of a rescan.
fn said(rescan: &Value) -> String {
    if let Some(error) = some(rescan, "error") {
        return error;
    }
    match rescan["from"].is_null() {
        true => "looking for the first block of that time".to_owned(),
        false => format!("reading again, {} new transfers", text(rescan, "found")),
    }
}

pub(super) async fn list(client: &Client, as_json: bool, name: &str) -> anyhow::Result<()> {
    let rescans = client.list(&format!("/v1/operator/networks/{name}/rescans"), "").await?;
    if as_json {
        print::json(&Value::Array(rescans));
        return Ok(());
    }
    let row = |rescan: &Value| {
        let from = some(rescan, "from").unwrap_or_else(|| text(rescan, "since"));
        let [id, to, read, found, state, error] =
            ["id", "to", "read", "found", "state", "error"].map(|field| text(rescan, field));
        vec![id, from, to, read, found, state, error]
    };
    let head = ["RESCAN", "FROM", "TO", "READ", "NEW", "STATE", "WHY"];
    print::table(&head, &rescans.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn cancel(client: &Client, as_json: bool, id: &str) -> anyhow::Result<()> {
    let ended = client.delete(&format!("/v1/operator/rescans/{id}")).await?;
    if as_json {
        print::json(&ended);
    } else {
        print::done(format!("{id} reads no further; what it found stays"));
    }
    Ok(())
}

fn show(rescan: &Value) {
    print::fields(&[
        ("id", some(rescan, "id")),
        ("network", some(rescan, "network")),
        ("state", some(rescan, "state")),
        ("since", some(rescan, "since")),
        ("from", some(rescan, "from")),
        ("to", some(rescan, "to")),
        ("blocks read", some(rescan, "read")),
        ("new transfers", some(rescan, "found")),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(from: &str, to: Option<u64>) -> Value {
        RescanArgs { name: "base".to_owned(), from: from.to_owned(), to, detach: false }.body()
    }

    #[test]
    fn it_begins_at_a_height_or_a_time() {
        assert_eq!(args("41000000", None), json!({"from": 41_000_000}));
        assert_eq!(args("41000000", Some(41_000_007)), json!({"from": 41_000_000, "to": 41_000_007}));
        let time = "2026-03-01T12:00:00Z";
        assert_eq!(args(time, None), json!({"since": time}));
        // The server says what is wrong with it.
        assert_eq!(args("-5", None), json!({"since": "-5"}));
    }
}
