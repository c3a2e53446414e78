//! A network as the operator describes it: one TOML file (or the same as JSON through the API).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    credit::{self, Credit, CreditError, Rule, Tier},
    money::Amount,
    slots::{Ring, Unique},
    tenant::Mode,
};

/// One chain instance: which plugin reads it, which assets are money there, when a transfer is credited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NetworkManifest)]
pub struct Manifest {
    /// Its name in the API.
    #[schema(example = "base")]
    pub name: String,
    #[schema(example = "Base")]
    pub title: String,
    /// The chain's CAIP-2 id.
    #[schema(example = "eip155:8453")]
    pub caip2: String,
    /// The plugin that reads it.
    #[schema(example = "evm")]
    pub plugin: String,
    /// Test-mode keys use only networks with `test`, live keys only the others.
    #[serde(default)]
    pub test: bool,
    /// Depth at which a transfer of an asset without tiers of its own is credited.
    pub credit: Credit,
    /// Milliseconds between two questions for the head.
    pub poll_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explorer: Option<Explorer>,
    /// Handed to the plugin, which defines the keys.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
    #[serde(rename = "asset")]
    pub assets: Vec<Asset>,
    /// Upstreams that are there from the start.
    #[serde(rename = "upstream", default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
}

/// Links for people; `{tx}` and `{address}` are filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explorer {
    pub tx: String,
    pub address: String,
}

/// A native coin or a token, known by its contract and never by its ticker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ManifestAsset)]
pub struct Asset {
    #[schema(example = "USDC")]
    pub symbol: String,
    pub name: String,
    /// None is the network's native coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    pub decimals: u8,
    /// The currency that it is worth one to one, for invoices priced in that currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "USD")]
    pub peg: Option<String>,
    /// Depth at which a transfer is credited, by its amount; the network's if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Vec<Tier>>,
    /// The digits by which amounts on a shared address are made unique; without it they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub unique: Option<Unique>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ManifestUpstream)]
pub struct Upstream {
    pub url: String,
    /// Calls a second that the provider allows; the entries of a batch are calls of their own.
    #[serde(default = "default_rate")]
    pub calls_per_s: u32,
    /// Calls a day (UTC) that it allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_day: Option<u32>,
}

fn default_rate() -> u32 {
    10
}

impl Manifest {
    #[must_use]
    pub fn mode(&self) -> Mode {
        Mode::of_test(self.test)
    }
}

impl Asset {
    /// `base:native` or `base:0x8335…`.
    #[must_use]
    pub fn id(&self, network: &str) -> String {
        format!("{network}:{}", self.contract.as_deref().unwrap_or("native"))
    }

    /// The ring of unique amounts of a price; `None` if the asset has none or the price leaves no room for it.
    #[must_use]
    pub fn ring(&self, price: Amount) -> Option<Ring> {
        self.unique.and_then(|unique| Ring::new(unique, self.decimals, price))
    }
}

/// Error of a network's manifest: the field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("name: 1 to 40 of a-z, 0-9 and -")]
    Name,
    #[error("caip2: like eip155:8453")]
    Caip2,
    #[error("credit: {0}")]
    Credit(#[from] CreditError),
    #[error("poll_ms: from 50 to 600000")]
    Poll,
    #[error("asset: from 1 to 200 of them")]
    Assets,
    #[error("asset {0}: at most 30 decimals")]
    Decimals(String),
    #[error("asset {symbol}: credit: {why}")]
    AssetCredit { symbol: String, why: CreditError },
    #[error("asset {0}: unique.decimals is at most its decimals, slots at least 1, share_bp from 1 to 10000")]
    Unique(String),
    #[error("asset {0}: listed twice (by symbol or by contract)")]
    Twice(String),
    #[error("upstream: calls_per_s and calls_per_day are at least 1")]
    Calls,
}

impl Manifest {
    /// Checks the manifest.
    pub fn check(&self) -> Result<(), ManifestError> {
        let name_ok = !self.name.is_empty()
            && self.name.len() <= 40
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name_ok {
            return Err(ManifestError::Name);
        }
        let Some((namespace, reference)) = self.caip2.split_once(':') else {
            return Err(ManifestError::Caip2);
        };
        if namespace.is_empty() || reference.is_empty() || self.caip2.len() > 64 {
            return Err(ManifestError::Caip2);
        }
        self.credit.check()?;
        if !(50..=600_000).contains(&self.poll_ms) {
            return Err(ManifestError::Poll);
        }
        if self.assets.is_empty() || self.assets.len() > 200 {
            return Err(ManifestError::Assets);
        }
        for (index, asset) in self.assets.iter().enumerate() {
            let symbol = || asset.symbol.clone();
            if asset.decimals > 30 {
                return Err(ManifestError::Decimals(symbol()));
            }
            if let Some(tiers) = &asset.credit {
                credit::check(tiers, asset.decimals)
                    .map_err(|why| ManifestError::AssetCredit { symbol: symbol(), why })?;
            }
            if asset.unique.is_some_and(|unique| unique.unit(asset.decimals).is_none()) {
                return Err(ManifestError::Unique(symbol()));
            }
            let same = |other: &Asset| other.symbol == asset.symbol || other.contract == asset.contract;
            if self.assets[..index].iter().any(same) {
                return Err(ManifestError::Twice(symbol()));
            }
        }
        for upstream in &self.upstreams {
            if upstream.calls_per_s == 0 || upstream.calls_per_day == Some(0) {
                return Err(ManifestError::Calls);
            }
        }
        Ok(())
    }

    /// The reference part of the CAIP-2 id: the chain's own answer when asked for its identity.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        self.caip2.split_once(':').map_or("", |(_, reference)| reference)
    }

    /// True if the chain exists only inside Kassa and produces blocks on request.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.plugin == "sandbox"
    }

    /// The rule for crediting this amount of an asset; `None` stands for more than 128 bits.
    #[must_use]
    pub fn credit_of(&self, asset_id: &str, amount: Option<Amount>) -> Rule {
        let tiers = self.tiered(asset_id);
        let rule = tiers.and_then(|(tiers, decimals)| credit::rule(tiers, decimals, amount));
        rule.unwrap_or(Rule { at: self.credit, agreed: false })
    }

    /// The deepest credit rule of an asset, which holds for the largest amounts.
    #[must_use]
    pub fn deepest_credit_of(&self, asset_id: &str) -> Credit {
        self.credit_of(asset_id, None).at
    }

    /// True if an asset's credit rule depends on the amount.
    #[must_use]
    pub fn is_tiered(&self, asset_id: &str) -> bool {
        self.tiered(asset_id).is_some()
    }

    fn tiered(&self, asset_id: &str) -> Option<(&[Tier], u8)> {
        // Looks for tiers first: few networks have any, and each comparison makes an id.
        let asset =
            self.assets.iter().find(|asset| asset.credit.is_some() && asset.id(&self.name) == asset_id)?;
        Some((asset.credit.as_deref()?, asset.decimals))
    }

    /// All credit rules that its transfers may wait for.
    pub fn credits(&self) -> impl Iterator<Item = Credit> {
        let tiers = self.assets.iter().filter_map(|asset| asset.credit.as_deref()).flatten();
        std::iter::once(self.credit).chain(tiers.map(|tier| tier.at))
    }

    /// True if some transfers have to be seen by a second provider.
    #[must_use]
    pub fn wants_agreement(&self) -> bool {
        self.assets.iter().filter_map(|asset| asset.credit.as_deref()).flatten().any(|tier| tier.agreed)
    }

    /// Finds an asset by its symbol.
    #[must_use]
    pub fn asset(&self, symbol: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.symbol.eq_ignore_ascii_case(symbol))
    }
}
