//! A local chain: a program of the source tree that Node.js runs. It ends with this process, in whatever way that ends.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Minimum version of Node.js.
const NODE_MIN: (u32, u32) = (20, 11);
/// Copy of the lock file at the last installation, to see whether the packages are up to date.
const INSTALLED: &str = "node_modules/.kassa-lock";

/// A running local chain.
pub(super) struct Local {
    pub(super) url: String,
    plugin: String,
    http: reqwest::Client,
    /// Its stdin closes with this process, and it ends then.
    _process: Child,
}

impl Local {
    pub(super) async fn start(plugin: &str, caip2: &str) -> anyhow::Result<Self> {
        let folder = folder()?;
        let program = folder.join("chains").join(format!("{plugin}.mjs"));
        ensure!(
            program.is_file(),
            "there is no local chain for the plugin {plugin}: no {}",
            program.display()
        );
        check_node().await?;
        install(&folder).await?;
        let mut command = Command::new("node");
        command.arg(&program).args(["--port", "0", "--with-parent", "--caip2", caip2]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start Node.js")?;
        let output = process.stdout.take().context("the local chain has no output")?;
        let mut lines = BufReader::new(output).lines();
        loop {
            let Some(line) = lines.next_line().await? else {
                bail!("the local chain ended; `node {}` says why", program.display());
            };
            if let Some(address) = line.strip_prefix("Listening on ") {
                let url = format!("http://{}", address.trim());
                let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
                return Ok(Self { url, plugin: plugin.to_owned(), http, _process: process });
            }
        }
    }

    /// Description for people.
    pub(super) fn what(&self) -> &'static str {
        match self.plugin.as_str() {
            "evm" => "a local EVM node",
            "tron" => "a local TRON",
            "ton" => "a local TON",
            _ => "a local chain",
        }
    }

    pub(super) async fn control(&self, name: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.http.post(format!("{}/control/{name}", self.url)).json(body).send().await?;
        let status = answer.status();
        let told: Value = answer.json().await?;
        ensure!(status.is_success(), "the local chain refused {name}: {told}");
        Ok(told)
    }

    /// A height in its state: `head` or `final`.
    pub(super) async fn height(&self, name: &str) -> anyhow::Result<u64> {
        let state = self.control("state", &serde_json::json!({})).await?;
        state.get(name).and_then(Value::as_u64).with_context(|| format!("no {name} in {state}"))
    }
}

/// `tests/node` of the source tree that contains this program or the working folder.
fn folder() -> anyhow::Result<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let above = starts.iter().flatten().flat_map(|path| path.ancestors());
    let found = above.map(|folder| folder.join("tests/node")).find(|folder| folder.join("chains").is_dir());
    found.context(
        "local chains are in Kassa's source tree (tests/node): run this in a checkout. Without one there is \
         `kassa demo`, whose chain is simulated",
    )
}

async fn check_node() -> anyhow::Result<()> {
    let output = Command::new("node").arg("--version").output().await;
    let output = output.context("local chains need Node.js 20.11 or later: https://nodejs.org")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = text.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ensure!(version >= NODE_MIN, "Node.js {text} is too old for local chains: 20.11 or later is needed");
    Ok(())
}

/// Installs the packages, unless they are there.
async fn install(folder: &Path) -> anyhow::Result<()> {
    let lock = std::fs::read(folder.join("package-lock.json"))?;
    if std::fs::read(folder.join(INSTALLED)).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder).kill_on_drop(true);
    let output = npm.output().await.context("local chains need npm, which comes with Node.js")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm could not install what the local chains are made of: {errors}");
    std::fs::write(folder.join(INSTALLED), lock)?;
    Ok(())
}
