//! `kassa hook runs`, `run`, `again` and `usage`: the work of hooks.

use clap::Args;
use serde_json::{Value, json};

use super::Out;
use crate::cli::print::{self, some, text};

#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    /// Only those of this hook
    hook: Option<String>,
    /// Only those that are pending, done, rejected or exhausted
    #[arg(long)]
    state: Option<String>,
    /// Number to list
    #[arg(long, default_value_t = 25)]
    limit: u32,
}

impl Out {
    pub(super) async fn runs(&self, args: RunsArgs) -> anyhow::Result<()> {
        let mut path = format!("/v1/hook_runs?limit={}", args.limit);
        if let Some(hook) = &args.hook {
            path += &format!("&hook_id={}", text(&self.find(hook).await?, "id"));
        }
        if let Some(state) = &args.state {
            path += &format!("&state={}", super::encoded(state));
        }
        let runs = self.client.get(&path).await?;
        if self.json {
            print::json(&runs["data"]);
            return Ok(());
        }
        let rows: Vec<_> = runs["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|run| {
                ["id", "hook_name", "event_type", "state", "attempts", "note"]
                    .map(|field| text(run, field))
                    .to_vec()
            })
            .collect();
        print::table(&["RUN", "HOOK", "EVENT", "STATE", "CALLS", "NOTE"], &rows);
        Ok(())
    }

    pub(super) async fn run(&self, id: &str) -> anyhow::Result<()> {
        let run = self.client.get(&format!("/v1/hook_runs/{id}")).await?;
        self.show_run(&run);
        Ok(())
    }

    pub(super) async fn again(&self, id: &str) -> anyhow::Result<()> {
        let run = self.client.post(&format!("/v1/hook_runs/{id}/run_again"), &json!({})).await?;
        self.told(&run, &format!("{id} is made again"));
        Ok(())
    }

    pub(super) async fn matches(&self, hook: &str, limit: u32) -> anyhow::Result<()> {
        let path = format!("{}/matches?limit={limit}", self.path(hook).await?);
        let asked = self.client.get(&path).await?;
        if self.json {
            print::json(&asked["data"]);
            return Ok(());
        }
        let rows: Vec<_> = asked["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| {
                let offers = one["question"]["offers"].as_array().map_or(0, Vec::len).to_string();
                let pays = one["parts"].as_array().into_iter().flatten();
                let pays = pays.map(|part| text(part, "invoice_id")).collect::<Vec<_>>().join(" ");
                let [at, transfer, outcome, note] =
                    ["at", "transfer_id", "outcome", "note"].map(|field| text(one, field));
                vec![at, transfer, offers, outcome, pays, note]
            })
            .collect();
        print::table(&["AT", "TRANSFER", "OFFERED", "OUTCOME", "PAYS", "NOTE"], &rows);
        Ok(())
    }

    fn show_run(&self, run: &Value) {
        if self.json {
            return print::json(run);
        }
        print::fields(&[
            ("run", some(run, "id")),
            ("hook", some(run, "hook_name")),
            ("event", Some(format!("{} {}", text(run, "event_type"), text(run, "event_id")))),
            ("state", some(run, "state")),
            ("note", some(run, "note")),
            ("next call", some(run, "due_at")),
        ]);
        for call in run["calls"].as_array().into_iter().flatten() {
            print::line("");
            let kib = call["memory_bytes"].as_u64().unwrap_or(0) / 1024;
            print::fields(&[
                ("call", Some(format!("{}, {}", text(call, "number"), text(call, "at")))),
                ("outcome", Some(format!("{}: {}", text(call, "outcome"), text(call, "note")))),
                (
                    "took",
                    Some(format!(
                        "{} us, {} us of a processor",
                        text(call, "duration_us"),
                        text(call, "cpu_us")
                    )),
                ),
                (
                    "used",
                    Some(format!(
                        "{} fuel, {kib} KiB, {} host calls, {} requests",
                        text(call, "fuel"),
                        text(call, "host_calls"),
                        text(call, "http_requests")
                    )),
                ),
            ]);
            for line in call["log"].as_array().into_iter().flatten() {
                print::line(format!("  {:<5}  {}", text(line, "level"), text(line, "text")));
            }
        }
        print::line(format!("\n{:#}", run["input"]));
    }

    /// Shows the disk space of the merchant's hooks, and its limit.
    pub(super) async fn disk(&self) -> anyhow::Result<()> {
        let usage = self.client.get("/v1/usage").await?;
        if self.json {
            print::json(&usage);
            return Ok(());
        }
        let mib = |field: &str| {
            let bytes = usage["hooks"][field].as_u64()?;
            Some(format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20))
        };
        print::fields(&[
            ("components", mib("components")),
            ("compiled code", mib("compiled_code")),
            ("storage", mib("storage")),
            ("runs", mib("runs")),
            ("in all", mib("total")),
            ("allowed", mib("limit")),
        ]);
        Ok(())
    }

    pub(super) async fn usage(&self, hook: &str) -> anyhow::Result<()> {
        let days = self.client.get(&format!("{}/usage", self.path(hook).await?)).await?;
        if self.json {
            print::json(&days["data"]);
            return Ok(());
        }
        let rows: Vec<_> = days["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|day| {
                let date = text(day, "day").chars().take(10).collect();
                let cpu_ms = day["cpu_us"].as_u64().unwrap_or(0) / 1000;
                let [calls, failed, requests] =
                    ["calls", "failed", "http_requests"].map(|field| text(day, field));
                vec![date, calls, failed, cpu_ms.to_string(), requests]
            })
            .collect();
        print::table(&["DAY", "CALLS", "FAILED", "CPU MS", "REQUESTS"], &rows);
        Ok(())
    }
}
