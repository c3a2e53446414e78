//! A local chain of any kind, run by Node.js: `tests/node/chains`, whose README says what each of them proves.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{eventually, process::Process};

/// A running local chain, stopped when dropped.
pub struct Facade {
    url: String,
    client: reqwest::Client,
    _process: Process,
    _folder: TempDir,
}

impl Facade {
    /// The program of the local chain for a folder of `chain-plugins`.
    #[must_use]
    pub fn program(folder: &str) -> PathBuf {
        crate::tests_folder().join(format!("node/chains/{folder}.mjs"))
    }

    /// Starts the local chain for a folder of `chain-plugins`; it claims to be the chain of this CAIP-2 id.
    pub async fn start(folder: &str, caip2: &str) -> Self {
        let scratch = TempDir::with_prefix("kassa-chain-").expect("a temp folder");
        let mut command = Command::new("node");
        command.arg(Self::program(folder)).args(["--port", "0", "--caip2", caip2, "--cache"]);
        command.arg(crate::kassa::target_folder().join("kassa-tests")).current_dir(scratch.path());
        let process = Process::start("local chain", &mut command, &scratch.path().join("chain.log"));
        let address = eventually("the local chain", || async {
            let output = process.output();
            let line = output.lines().find_map(|line| line.strip_prefix("Listening on "));
            line.map(|line| line.trim().to_owned()).ok_or(output)
        })
        .await;
        // Node.js closes what was idle for five seconds, just when it may be used again.
        let client = crate::client().timeout(Duration::from_secs(60)).pool_max_idle_per_host(0);
        let client = client.build().expect("a client");
        Self { url: format!("http://{address}"), client, _process: process, _folder: scratch }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes a control call, which must succeed.
    pub async fn control(&self, name: &str, body: Value) -> Value {
        let answer = self.client.post(format!("{}/control/{name}", self.url)).json(&body).send().await;
        let answer = answer.unwrap_or_else(|why| panic!("control {name} {body}: {why}"));
        let status = answer.status();
        let told: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "control {name} {body}: {told}");
        told
    }
}
