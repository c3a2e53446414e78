//! `kassa hook upload` and what follows it: versions, the one in use, and whether it runs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Out, encoded, read};
use crate::cli::{
    print::{self, some, text},
    progress::spinner,
};

impl Out {
    pub(super) async fn validate(&self, file: &Path) -> anyhow::Result<()> {
        let valid = self.client.upload("/v1/hooks/validate", read(file)?).await?;
        if self.json {
            print::json(&valid);
            return Ok(());
        }
        print::done("the server would take it");
        let manifest = &valid["manifest"];
        print::fields(&[
            ("hook", Some(format!("{} {}", text(manifest, "name"), text(manifest, "version")))),
            ("about", some(manifest, "description")),
            ("roles", some(manifest, "roles")),
            ("size", some(&valid, "size")),
            ("sha256", some(&valid, "sha256")),
        ]);
        Ok(())
    }

    pub(super) async fn upload(&self, file: &Path, activate: bool) -> anyhow::Result<()> {
        let made = self.client.upload(&format!("/v1/hooks?activate={activate}"), read(file)?).await?;
        if self.json {
            print::json(&made);
            return Ok(());
        }
        let (hook, version) = (text(&made["hook"], "name"), &made["version"]);
        let active = version["active"] == true;
        let what = if active { "is in use" } else { "is kept" };
        print::done(format!("{hook} {} {what} ({})", text(version, "version"), text(version, "id")));
        if !active {
            let manifest = &version["manifest"];
            if manifest["settings"].is_object() {
                print::note(format!("Its settings: kassa hook settings {hook} FILE"));
            }
            for name in manifest["secrets"].as_object().into_iter().flat_map(Map::keys) {
                print::note(format!("Its secret:   kassa hook secret set {hook} {name}"));
            }
            print::note(format!("\nNext: kassa hook activate {hook}"));
        }
        Ok(())
    }

    pub(super) async fn list(&self) -> anyhow::Result<()> {
        let hooks = self.client.get("/v1/hooks").await?;
        let hooks = hooks["data"].as_array().cloned().unwrap_or_default();
        if self.json {
            print::json(&Value::Array(hooks));
            return Ok(());
        }
        let rows: Vec<_> = hooks
            .iter()
            .map(|hook| {
                let state = match (text(hook, "state").as_str(), hook["active"].is_null()) {
                    ("active", true) => "not activated".to_owned(),
                    ("active", false) if !hook["paused_until"].is_null() => "PAUSED, it fails".to_owned(),
                    ("active", false) => "runs".to_owned(),
                    (state, _) => state.to_owned(),
                };
                vec![text(hook, "name"), text(&hook["active"], "version"), state, text(hook, "id")]
            })
            .collect();
        print::table(&["NAME", "VERSION", "STATE", "ID"], &rows);
        Ok(())
    }

    pub(super) async fn show(&self, hook: &str) -> anyhow::Result<()> {
        let hook = self.find(hook).await?;
        let path = format!("/v1/hooks/{}", text(&hook, "id"));
        let versions = self.client.get(&format!("{path}/versions")).await?;
        let secrets = self.client.get(&format!("{path}/secrets")).await?;
        if self.json {
            print::json(&json!({ "hook": hook, "versions": versions["data"], "secrets": secrets["data"] }));
            return Ok(());
        }
        let names = |list: &Value| {
            let names = list["data"].as_array().into_iter().flatten().map(|one| text(one, "name"));
            names.collect::<Vec<_>>().join(", ")
        };
        print::fields(&[
            ("id", some(&hook, "id")),
            ("name", some(&hook, "name")),
            ("state", some(&hook, "state")),
            ("version", some(&hook["active"], "version")),
            ("run for", some(&hook, "binding")),
            ("settings", some(&hook, "settings")),
            ("secrets", Some(names(&secrets)).filter(|names| !names.is_empty())),
            ("paused until", some(&hook, "paused_until")),
        ]);
        let rows = versions["data"].as_array().into_iter().flatten().map(|version| {
            let active = if version["active"] == true { "in use" } else { "" };
            vec![
                text(version, "id"),
                text(version, "version"),
                active.to_owned(),
                text(version, "created_at"),
            ]
        });
        print::line("");
        print::table(&["VERSION", "NUMBER", "", "SINCE"], &rows.collect::<Vec<_>>());
        Ok(())
    }

    pub(super) async fn activate(&self, hook: &str, version: Option<String>) -> anyhow::Result<()> {
        let path = self.path(hook).await?;
        let version = self.newest(&path, version).await?;
        let active = self.client.post(&format!("{path}/activate"), &json!({ "version_id": version })).await?;
        self.say(&active, "is in use");
        Ok(())
    }

    /// The given version, or the newest of the hook.
    async fn newest(&self, path: &str, version: Option<String>) -> anyhow::Result<String> {
        if let Some(version) = version {
            return Ok(version);
        }
        let versions = self.client.get(&format!("{path}/versions")).await?;
        Ok(text(&versions["data"][0], "id"))
    }

    pub(super) async fn replay(&self, hook: &str, version: Option<String>, limit: u32) -> anyhow::Result<()> {
        let path = self.path(hook).await?;
        let version = self.newest(&path, version).await?;
        let bar = spinner("playing past events");
        let wanted = json!({ "version_id": version, "limit": limit });
        let replayed = self.client.post(&format!("{path}/replay"), &wanted).await;
        bar.finish_and_clear();
        let replayed = replayed?;
        if self.json {
            print::json(&replayed);
            return Ok(());
        }
        let events = replayed["data"].as_array().cloned().unwrap_or_default();
        let did = |did: &Value| match did {
            Value::Null => "was not run".to_owned(),
            did => format!("{}: {}", text(did, "outcome"), text(did, "note")),
        };
        for event in &events {
            let same = if event["same"] == true { "same" } else { "DIFFERENT" };
            print::line(format!("{same:<9}  {} {}", text(event, "event_type"), text(event, "event_id")));
            if event["same"] == true {
                continue;
            }
            print::fields(&[("  then", Some(did(&event["then"]))), ("  now", Some(did(&event["now"])))]);
            for (sign, list) in [("-", "missing"), ("+", "added")] {
                for effect in event[list].as_array().into_iter().flatten() {
                    print::line(format!("    {sign} {effect}"));
                }
            }
        }
        let matches = replayed["matches"].as_array().cloned().unwrap_or_default();
        for one in &matches {
            let same = if one["same"] == true { "same" } else { "DIFFERENT" };
            print::line(format!("{same:<9}  match {}", text(one, "transfer_id")));
            if one["same"] == true {
                continue;
            }
            let said =
                |said: &Value| format!("{}: {} {}", text(said, "outcome"), text(said, "note"), said["parts"]);
            print::fields(&[("  then", Some(said(&one["then"]))), ("  now", Some(said(&one["now"])))]);
        }
        let played = events.len() + matches.len();
        print::note(format!("{} of {played} events would go differently", replayed["different"]));
        Ok(())
    }

    pub(super) async fn shadow(&self, hook: &str, version: Option<String>, off: bool) -> anyhow::Result<()> {
        let path = format!("{}/shadow", self.path(hook).await?);
        let shadow = if off || version.is_some() {
            self.client.put(&path, &json!({ "version_id": version })).await?
        } else {
            self.client.get(&path).await?
        };
        if self.json {
            print::json(&shadow);
            return Ok(());
        }
        if shadow["version_id"].is_null() {
            print::line("no version is in the shadow");
            return Ok(());
        }
        let [version, calls, different] =
            ["version_id", "calls", "different"].map(|field| text(&shadow, field));
        print::line(format!("{version} was played {calls} calls, {different} would have gone differently"));
        for one in shadow["newest"].as_array().into_iter().flatten() {
            print::line(format!("\n{} {}\n{:#}", text(one, "at"), text(one, "run_id"), one["difference"]));
        }
        Ok(())
    }

    pub(super) async fn roll_back(&self, hook: &str) -> anyhow::Result<()> {
        let found = self.find(hook).await?;
        // Names the version to leave, so that two of these at once go back one step, not two.
        let from = json!({ "from": found["active"]["id"] });
        let path = format!("/v1/hooks/{}/roll_back", text(&found, "id"));
        self.say(&self.client.post(&path, &from).await?, "is in use again");
        Ok(())
    }

    pub(super) async fn act(&self, hook: &str, action: &str, what: &str) -> anyhow::Result<()> {
        let path = format!("{}/{action}", self.path(hook).await?);
        self.say(&self.client.post(&path, &Value::Null).await?, what);
        Ok(())
    }

    pub(super) async fn delete(&self, hook: &str, only: Option<String>) -> anyhow::Result<()> {
        let path = self.path(hook).await?;
        if let Some(version) = only {
            let left = self.client.delete(&format!("{path}/versions/{}", encoded(&version))).await?;
            self.told(&left, &format!("{version} is deleted"));
            return Ok(());
        }
        let deleted = self.client.delete(&path).await?;
        self.say(&deleted, "is deleted");
        Ok(())
    }
}
