//! The `[settings]` of a network manifest; `lib.rs` documents the keys.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    max_blocks_per_call: Option<u32>,
    max_accounts_per_request: Option<usize>,
    max_transactions_per_request: Option<usize>,
    proofs: Option<Proofs>,
    ownership_domain: Option<String>,
}

impl Raw {
    fn parse(json: &str) -> Result<Self, String> {
        let raw: Self = match json.trim() {
            "" => Self::default(),
            json => serde_json::from_str(json).map_err(|error| error.to_string())?,
        };
        match &raw.ownership_domain {
            Some(domain) if !(1..=128).contains(&domain.len()) => {
                Err("ownership_domain: 1 to 128 bytes".into())
            }
            _ => Ok(raw),
        }
    }
}

/// The only domain that may have asked a wallet to prove an address. `None` if any may.
pub(crate) fn ownership_domain(json: &str) -> Result<Option<String>, String> {
    Raw::parse(json).map(|raw| raw.ownership_domain)
}

/// The source of transactions' own cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Proofs {
    /// No source: the upstream's URL is that of the index.
    #[default]
    None,
    /// Toncenter's API v2: the upstream's URL is what comes before `/v2` and `/v3`.
    V2,
}

/// Checked settings of one network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Maximum number of blocks that one scan reads.
    pub(crate) blocks: u32,
    /// Maximum number of accounts in one request: each is 75 characters of a path that may have 8,192.
    pub(crate) accounts: usize,
    /// Maximum number of transactions in one answer, of some four kilobytes each.
    pub(crate) transactions: usize,
    pub(crate) proofs: Proofs,
}

impl Settings {
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let raw = Raw::parse(json)?;
        let settings = Self {
            blocks: raw.max_blocks_per_call.unwrap_or(500),
            accounts: raw.max_accounts_per_request.unwrap_or(100),
            transactions: raw.max_transactions_per_request.unwrap_or(500),
            proofs: raw.proofs.unwrap_or_default(),
        };
        // The API returns at most 1,000 rows.
        if !(1..=900).contains(&settings.blocks) {
            return Err("max_blocks_per_call: 1 to 900".into());
        }
        if !(1..=100).contains(&settings.accounts) {
            return Err("max_accounts_per_request: 1 to 100".into());
        }
        // A page has to have room for more than one transaction of each of its accounts.
        if !(200..=1_000).contains(&settings.transactions) {
            return Err("max_transactions_per_request: 200 to 1000".into());
        }
        Ok(settings)
    }

    /// The path between the upstream's URL and that of a request to the index.
    pub(crate) fn index(&self) -> &'static str {
        match self.proofs {
            Proofs::None => "",
            Proofs::V2 => "/v3",
        }
    }
}
