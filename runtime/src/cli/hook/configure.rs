//! `kassa hook bind`, `settings`, `secret` and `storage`: a hook's events, settings and data.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{BindArgs, Out, SecretCommand, StorageCommand, encoded, read};
use crate::{
    cli::{
        print::{self, text},
        secret,
    },
    domain::verbatim::Verbatim,
};

impl Out {
    pub(super) async fn bind(&self, bind: BindArgs) -> anyhow::Result<()> {
        let lists =
            [("events", bind.event), ("networks", bind.network), ("assets", bind.asset), ("tags", bind.tag)];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        let mut binding: BTreeMap<_, _> = lists.map(|(field, names)| (field, json!(names))).collect();
        if bind.match_first {
            binding.insert("match_first", json!(true));
        }
        let path = format!("{}/binding", self.path(&bind.hook).await?);
        let bound = self.client.put(&path, &json!(binding)).await?;
        self.say(&bound, &format!("is run for {}", bound["binding"]));
        Ok(())
    }

    pub(super) async fn settings(&self, hook: &str, file: Option<&Path>) -> anyhow::Result<()> {
        let found = self.find(hook).await?;
        let Some(file) = file else {
            print::json(&found["settings"]);
            return Ok(());
        };
        let bytes = if file == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
            bytes
        } else {
            read(file)?
        };
        let settings: Verbatim = serde_json::from_slice(&bytes).context("the settings are no JSON")?;
        let path = format!("/v1/hooks/{}/settings", text(&found, "id"));
        self.say(&self.client.put(&path, &settings).await?, "has these settings from its next call on");
        Ok(())
    }

    pub(super) async fn secret(&self, command: SecretCommand) -> anyhow::Result<()> {
        match command {
            SecretCommand::List { hook } => {
                let secrets = self.client.get(&format!("{}/secrets", self.path(&hook).await?)).await?;
                if self.json {
                    print::json(&secrets["data"]);
                    return Ok(());
                }
                let rows = secrets["data"].as_array().into_iter().flatten();
                let row = |one: &Value| vec![text(one, "name"), purpose(one), text(one, "set_at")];
                print::table(&["NAME", "WHAT FOR", "SET"], &rows.map(row).collect::<Vec<_>>());
            }
            SecretCommand::Set { hook, name, value, host, sign } => {
                let value = match value {
                    Some(value) => secret::read(&value)?,
                    None => {
                        let mut value = String::new();
                        std::io::stdin().read_to_string(&mut value).context("cannot read stdin")?;
                        value.trim_end_matches(['\r', '\n']).to_owned()
                    }
                };
                let path = format!("{}/secrets/{name}", self.path(&hook).await?);
                let mut body = json!({ "value": value });
                if let Some(host) = host {
                    body["host"] = host.into();
                }
                if sign {
                    body["use"] = "sign".into();
                }
                let set = self.client.put(&path, &body).await?;
                self.told(&set, &format!("{hook} has its secret {name}, {}", purpose(&set)));
            }
            SecretCommand::Delete { hook, name } => {
                let path = format!("{}/secrets/{name}", self.path(&hook).await?);
                self.told(
                    &self.client.delete(&path).await?,
                    &format!("{hook} has no secret {name} any more"),
                );
            }
        }
        Ok(())
    }

    pub(super) async fn storage(&self, command: StorageCommand) -> anyhow::Result<()> {
        match command {
            StorageCommand::List { hook, prefix } => {
                let path = format!("{}/storage", self.path(&hook).await?);
                let mut after = String::new();
                loop {
                    let query = format!("?limit=1000&prefix={}{after}", encoded(&prefix));
                    let page = self.client.get(&format!("{path}{query}")).await?;
                    for key in page["data"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                        print::line(key);
                    }
                    match page["next_after"].as_str() {
                        Some(next) => after = format!("&after={}", encoded(next)),
                        None => return Ok(()),
                    }
                }
            }
            StorageCommand::Get { hook, under } => {
                let path = format!("{}/storage/{}", self.path(&hook).await?, encoded(&under));
                let value = self.client.get(&path).await?;
                match value["text"].as_str() {
                    Some(text) if !self.json => print::line(text),
                    _ => print::json(&value),
                }
            }
            StorageCommand::Put { hook, under, value } => {
                let path = format!("{}/storage/{}", self.path(&hook).await?, encoded(&under));
                let put = self.client.put(&path, &json!({ "text": value })).await?;
                self.told(&put, &format!("{under} is stored"));
            }
            StorageCommand::Delete { hook, under } => {
                let path = format!("{}/storage/{}", self.path(&hook).await?, encoded(&under));
                self.told(&self.client.delete(&path).await?, &format!("{under} is deleted"));
            }
        }
        Ok(())
    }
}

/// A secret's purpose, in words.
fn purpose(secret: &Value) -> String {
    secret["host"].as_str().map_or_else(|| "to sign with".to_owned(), |host| format!("for {host}"))
}
