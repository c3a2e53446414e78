//! A real EVM node: anvil of the foundry project, from npm.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Contract, contract, eventually, process::Process, word};

/// Options of the node. Blocks come only when a case mines them.
#[derive(Debug, Clone, Copy)]
pub struct AnvilOptions {
    pub chain_id: u64,
    /// Depth of `safe` below the head; `final` is twice as deep.
    pub slots_in_an_epoch: u64,
}

impl Default for AnvilOptions {
    fn default() -> Self {
        Self { chain_id: 31337, slots_in_an_epoch: 8 }
    }
}

/// A running node, stopped when dropped.
pub struct Anvil {
    url: String,
    client: reqwest::Client,
    /// The node's own accounts, unlocked and rich.
    pub accounts: Vec<String>,
    _process: Process,
    _folder: TempDir,
}

/// The outcome of a transaction.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub tx: String,
    pub height: u64,
    pub block_hash: String,
    pub succeeded: bool,
    pub logs: Vec<Value>,
}

impl Anvil {
    pub async fn start(options: AnvilOptions) -> Self {
        let folder = TempDir::with_prefix("kassa-anvil-").expect("a temp folder");
        let mut command = Command::new(program());
        command.args(["--port", "0", "--no-mining", "--order", "fifo"]);
        command.args(["--chain-id", &options.chain_id.to_string()]);
        command.args(["--slots-in-an-epoch", &options.slots_in_an_epoch.to_string()]);
        command.current_dir(folder.path());
        let process = Process::start("anvil", &mut command, &folder.path().join("anvil.log"));
        let address = eventually("anvil", || async {
            let output = process.output();
            let line =
                output.lines().find_map(|line| line.strip_prefix("Listening on ")).ok_or(output.as_str())?;
            Ok(line.trim().to_owned())
        })
        .await;
        let client = crate::client().timeout(Duration::from_secs(30)).build().expect("a client");
        let mut anvil = Self {
            url: format!("http://{address}"),
            client,
            accounts: Vec::new(),
            _process: process,
            _folder: folder,
        };
        let accounts = anvil.rpc("eth_accounts", json!([])).await;
        anvil.accounts = accounts.as_array().expect("accounts").iter().map(text).collect();
        anvil
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes one JSON-RPC call, which must succeed.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        self.try_rpc(method, params.clone())
            .await
            .unwrap_or_else(|why| panic!("anvil {method} {params}: {why}"))
    }

    /// Makes one JSON-RPC call. Errors with the node's error.
    pub async fn try_rpc(&self, method: &str, params: Value) -> Result<Value, Value> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.client.post(&self.url).json(&call).send().await.expect("anvil answers");
        let mut answer: Value = answer.json().await.expect("JSON");
        if answer.get("error").is_some() { Err(answer["error"].take()) } else { Ok(answer["result"].take()) }
    }

    pub async fn head(&self) -> u64 {
        number(&self.rpc("eth_blockNumber", json!([])).await)
    }

    pub async fn block_hash(&self, height: u64) -> String {
        text(&self.rpc("eth_getBlockByNumber", json!([hex(height), false])).await["hash"])
    }

    /// Mines `blocks` blocks; the first takes what waits in the pool. Returns the new head.
    pub async fn mine(&self, blocks: u64) -> u64 {
        self.rpc("anvil_mine", json!([hex(blocks)])).await;
        self.head().await
    }

    /// Puts a transaction from one of the node's accounts into the pool. Returns its hash.
    pub async fn send(&self, transaction: Value) -> String {
        text(&self.rpc("eth_sendTransaction", json!([transaction])).await)
    }

    /// Puts a transfer of native coin into the pool. Returns its hash.
    pub async fn send_native(&self, from: &str, to: &str, units: u128) -> String {
        self.send(json!({"from": from, "to": to, "value": hex(units)})).await
    }

    /// Puts a call of a contract into the pool, with gas enough for anything here, so that the node does not refuse one
    /// that will revert. Returns its hash.
    pub async fn send_call(&self, from: &str, to: &str, data: &str) -> String {
        self.send(json!({"from": from, "to": to, "data": data, "gas": hex(2_000_000u64)})).await
    }

    /// Puts an ERC-20 transfer into the pool. Returns its hash.
    pub async fn send_token(&self, token: &str, from: &str, to: &str, units: u128) -> String {
        let data = contract("Token").call("transfer(address,uint256)", &[word(to), word(&units.to_string())]);
        self.send_call(from, token, &data).await
    }

    /// Deploys a contract and mines the block. Returns its address.
    pub async fn deploy(&self, contract: &Contract, arguments: &[String]) -> String {
        let data = format!("0x{}{}", contract.code, arguments.concat());
        let tx = self.send(json!({"from": self.accounts[0], "data": data, "gas": hex(5_000_000u64)})).await;
        self.mine(1).await;
        let receipt = self.rpc("eth_getTransactionReceipt", json!([tx])).await;
        assert_eq!(receipt["status"], "0x1", "deployment: {receipt}");
        text(&receipt["contractAddress"])
    }

    /// Deploys a stablecoin with `decimals` decimals, of which every account of the node holds plenty. Returns its
    /// address.
    pub async fn deploy_token(&self, decimals: u8) -> String {
        let token = self.deploy(&contract("Token"), &[word(&decimals.to_string())]).await;
        self.mint("Token", &token, &self.accounts.clone()).await;
        token
    }

    /// Gives each holder 10^30 units of a token that anyone may mint; mines the block.
    pub async fn mint(&self, name: &str, token: &str, holders: &[String]) {
        let plenty = (10u128.pow(30)).to_string();
        for holder in holders {
            let data = contract(name).call("mint(address,uint256)", &[word(holder), word(&plenty)]);
            self.send_call(&self.accounts[0], token, &data).await;
        }
        self.mine(1).await;
    }

    /// The outcome of a mined transaction. The node may need a moment to find it.
    pub async fn receipt(&self, tx: &str) -> Receipt {
        let found = eventually("a receipt", || async {
            let found = self.rpc("eth_getTransactionReceipt", json!([tx])).await;
            if found.is_null() { Err(format!("none for {tx}")) } else { Ok(found) }
        })
        .await;
        Receipt {
            tx: tx.to_owned(),
            height: number(&found["blockNumber"]),
            block_hash: text(&found["blockHash"]),
            succeeded: found["status"] == "0x1",
            logs: found["logs"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// The signed bytes of a transaction, to send it again after a reorg.
    pub async fn raw(&self, tx: &str) -> String {
        text(&self.rpc("eth_getRawTransactionByHash", json!([tx])).await)
    }

    /// Puts a signed transaction into the pool again.
    pub async fn send_raw(&self, raw: &str) -> String {
        text(&self.rpc("eth_sendRawTransaction", json!([raw])).await)
    }

    /// Replaces the last `depth` blocks by as many empty ones with other hashes. Their transactions are gone: neither
    /// mined nor waiting.
    pub async fn reorg(&self, depth: u64) {
        self.rpc("anvil_reorg", json!([depth, []])).await;
    }
}

fn program() -> PathBuf {
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    // The platform's own package: the install script of the general one may be switched off.
    let package = format!("node/node_modules/@foundry-rs/anvil-{os}-{arch}/bin/anvil");
    let path = crate::tests_folder().join(package);
    assert!(path.exists(), "{} is missing: `tests/run` installs it", path.display());
    path
}

/// A quantity of JSON-RPC.
pub(crate) fn hex(value: impl Into<u128>) -> String {
    format!("{:#x}", value.into())
}

/// Reads a quantity.
pub(crate) fn number(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| panic!("no quantity: {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
