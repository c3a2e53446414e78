//! The chain that the demo pays on: the sandbox inside Kassa, or a local chain of the source tree that stands in for a
//! network that Kassa knows (`tests/node/chains`; its README says what is real there and what is not).

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{
    super::{client::Client, print::text},
    local::Local,
};
use crate::{
    domain::{
        credit::{Credit, Tag},
        network::{Asset, Manifest},
    },
    networks,
};

/// The network of a demo that names none.
pub(super) const SANDBOX: &str = "sandbox";
/// Time between polls of a local chain, milliseconds: it is on this machine.
const POLL_MS: u64 = 200;
/// Maximum number of blocks until a payment is final on any local chain.
const FINAL_MAX: u32 = 100;

/// Certainty that the demo waits for on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// This number of confirmations; the payment's own block is the first.
    Confirmations(u64),
    /// The chain's tag `final` or `safe` for the block.
    Final,
    /// None: a payment in a block is final.
    Nothing,
}

pub(super) struct Ground {
    pub(super) network: Manifest,
    /// Asset of the invoice.
    pub(super) asset: Asset,
    local: Option<Local>,
}

impl Ground {
    /// The network with this name, and the asset of its first token.
    pub(super) fn of(name: &str) -> anyhow::Result<Self> {
        let known = networks::shipped()?;
        let names: Vec<&str> = known.iter().map(|network| network.name.as_str()).collect();
        let Some(network) = known.iter().find(|network| network.name == name) else {
            bail!("no network {name}; there are {}", names.join(", "));
        };
        // A dollar if there is one.
        let pegged = network.assets.iter().find(|asset| asset.peg.is_some());
        let asset = pegged.or(network.assets.first()).context("the network has no asset")?;
        Ok(Self { asset: asset.clone(), network: network.clone(), local: None })
    }

    /// True if a local chain stands in for it.
    pub(super) fn is_local(&self) -> bool {
        self.network.plugin != SANDBOX
    }

    /// Starts the local chain of this network's plugin; its packages are installed the first time.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        if self.is_local() {
            self.local = Some(Local::start(&self.network.plugin, &self.network.caip2).await?);
        }
        Ok(())
    }

    /// Replaces the network's upstreams by the local chain, and enables it.
    pub(super) async fn connect(&self, operator: &Client) -> anyhow::Result<String> {
        let local = self.local()?;
        let name = &self.network.name;
        let path = format!("/v1/operator/networks/{name}");
        for upstream in operator.list(&format!("{path}/upstreams"), "").await? {
            operator.delete(&format!("/v1/operator/upstreams/{}", text(&upstream, "id"))).await?;
        }
        let hasty = Manifest { poll_ms: POLL_MS, upstreams: Vec::new(), ..self.network.clone() };
        operator.put(&path, &serde_json::to_value(hasty)?).await?;
        let upstream = json!({ "url": local.url, "calls_per_s": 1000 });
        operator.post(&format!("{path}/upstreams"), &upstream).await?;
        operator.post(&format!("{path}/enable"), &Value::Null).await?;
        Ok(format!("{} stands in for {}", local.what(), self.network.title))
    }

    /// Mode of the keys that use the network.
    pub(super) fn mode(&self) -> &'static str {
        if self.network.test { "test" } else { "live" }
    }

    /// An address that nobody else pays to.
    pub(super) async fn address(&self, shop: &Client) -> anyhow::Result<String> {
        if self.is_local() {
            let assets: Vec<Value> = self
                .network
                .assets
                .iter()
                .map(|asset| json!({ "contract": asset.contract, "decimals": asset.decimals }))
                .collect();
            let told = self.local()?.control("prepare", &json!({ "assets": assets })).await?;
            let address = told.pointer("/addresses/0").and_then(Value::as_str);
            return address.map(str::to_owned).context("the local chain gave no address");
        }
        let me = shop.get("/v1/me").await?;
        // The sandbox makes addresses of words; each merchant has its own, since two could not share one.
        let seed = json!({ "do": "address", "seed": text(&me, "merchant_id") });
        Ok(text(&shop.post(&self.sandbox(), &seed).await?, "address"))
    }

    /// Pays the invoice as it asks. Returns the height of the block.
    pub(super) async fn pay(&self, shop: &Client, invoice: &Value) -> anyhow::Result<u64> {
        let (to, units) = (text(invoice, "destination_address"), text(invoice, "payable_amount_units"));
        let contract = &self.asset.contract;
        if self.is_local() {
            let local = self.local()?;
            let memo = invoice.get("payment_comment");
            let payment = json!({ "to": to, "asset": contract, "units": units, "memo": memo });
            local.control("pay", &payment).await?;
            return local.height("head").await;
        }
        let transfer = json!({ "do": "transfer", "to": to, "asset": contract, "amount": units });
        let sent = shop.post(&self.sandbox(), &transfer).await?;
        sent.get("height").and_then(Value::as_u64).context("the transfer is in no block")
    }

    pub(super) async fn mine(&self, shop: &Client, blocks: u64) -> anyhow::Result<()> {
        if self.is_local() {
            self.local()?.control("mine", &json!({ "blocks": blocks })).await?;
        } else {
            shop.post(&self.sandbox(), &json!({ "do": "mine", "blocks": blocks })).await?;
        }
        Ok(())
    }

    /// Mines until the chain calls this block final. Returns the number of blocks that took.
    pub(super) async fn mine_until_final(&self, shop: &Client, height: u64) -> anyhow::Result<u32> {
        for blocks in 0..FINAL_MAX {
            if self.local()?.height("final").await? >= height {
                return Ok(blocks);
            }
            self.mine(shop, 1).await?;
        }
        bail!("block {height} is not final after {FINAL_MAX} more");
    }

    /// The certainty that the network's manifest asks for, on this chain.
    pub(super) async fn wait(&self) -> anyhow::Result<Wait> {
        Ok(match self.network.credit {
            Credit::Confirmations(count) => Wait::Confirmations(u64::from(count)),
            Credit::Tag(Tag::Safe | Tag::Final) => {
                let told = self.local()?.control("describe", &json!({})).await?;
                let reorganizes = told.get("reorgs").and_then(Value::as_bool).unwrap_or(true);
                if reorganizes { Wait::Final } else { Wait::Nothing }
            }
        })
    }

    /// Shell commands for a reader to pay an invoice and have it credited. `$INVOICE` is the invoice.
    pub(super) fn commands(&self, address: &str) -> Vec<String> {
        let field =
            |name: &str| format!("$(echo \"$INVOICE\" | sed -n 's/.*\"{name}\":\"\\([^\"]*\\)\".*/\\1/p')");
        let units = format!("UNITS={}", field("payable_amount_units"));
        let contract = self.asset.contract.as_deref();
        let Some(local) = &self.local else {
            return vec![
                units,
                format!("curl -s $KASSA/v1/sandbox/{SANDBOX} -H \"$KEY\" -H \"$JSON\" -d '{{"),
                "  \"do\": \"transfer\", \"mine\": 3, \"amount\": \"'$UNITS'\",".to_owned(),
                format!("  \"asset\": \"{}\", \"to\": \"{address}\"}}'; echo", contract.unwrap_or_default()),
            ];
        };
        let asset = contract.map_or("null".to_owned(), |contract| format!("\"{contract}\""));
        vec![
            units,
            format!("MEMO={}", field("payment_comment")),
            format!("curl -s {}/control/pay -d '{{", local.url),
            format!("  \"units\": \"'$UNITS'\", \"memo\": \"'$MEMO'\", \"asset\": {asset},"),
            format!("  \"to\": \"{address}\"}}'; echo"),
            format!("curl -s {}/control/mine -d '{{\"blocks\": 40}}'; echo", local.url),
        ]
    }

    fn local(&self) -> anyhow::Result<&Local> {
        self.local.as_ref().context("the local chain does not run")
    }

    fn sandbox(&self) -> String {
        format!("/v1/sandbox/{}", self.network.name)
    }
}

/// Maximum time of a local chain's start: contracts are compiled then, and packages installed once.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(300);
