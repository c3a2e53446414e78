//! The sandbox chain: it exists only in the plugin's storage and does what a test says.
//!
//! It has blocks, a native coin, tokens, memos, failed transactions, reorganizations, finality and outages,
//! so that everything the host does with a chain can be met without one. The host moves it by `simulate`
//! (see [`actions`]) and reads it by `scan` like any other chain. Nothing arrives on it unseen, so it has no role
//! `balances`.
//!
//! Settings: `finality_depth` (12), the depth below the head at which blocks are final. The chain calls a block safe at
//! half of that depth.
//!
//! Addresses are `sbx1` and 40 hex digits, the last 8 of which are a checksum; see [`address`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

pub mod actions;
pub mod address;
mod find;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod ledger;
mod link;
mod scan;
#[cfg(test)]
mod tests;

use kassa_sdk::chain::{
    Address, AddressError, Chain, DeriveError, DescribeError, Description, Link, LinkError, MemoSupport,
    PaymentRequest, ScanError, ScanLimits, ScanResult,
};
use kassa_sdk::finder::{FindError, Finder, Place};
use kassa_sdk::simulator::{SimulateError, Simulator};
use kassa_sdk::types::{Network, Position};
use serde::Deserialize;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_chain!(Sandbox);
kassa_sdk::export_finder!(Sandbox);
kassa_sdk::export_simulator!(Sandbox);

struct Sandbox;

/// The `[settings]` of a sandbox network.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Depth below the head at which blocks are final.
    finality_depth: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { finality_depth: 12 }
    }
}

impl Settings {
    fn of(network: &Network) -> Result<Self, String> {
        if network.settings.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(&network.settings).map_err(|error| error.to_string())
    }
}

impl Chain for Sandbox {
    fn describe(_network: Network) -> Result<Description, DescribeError> {
        Ok(Description {
            kind: "sandbox".into(),
            memo: MemoSupport::Optional,
            derives_addresses: true,
            exact_native_amounts: true,
            more: Vec::new(),
        })
    }

    fn normalize_address(_network: Network, text: String) -> Result<Address, AddressError> {
        address::normalize(&text)
    }

    fn derive_address(_network: Network, key: String, index: u32) -> Result<Address, DeriveError> {
        address::derive(&key, index)
    }

    fn payment_link(network: Network, request: PaymentRequest) -> Result<Link, LinkError> {
        link::payment_link(&network, &request)
    }

    fn scan(network: Network, cursor: Option<Position>, limits: ScanLimits) -> Result<ScanResult, ScanError> {
        let settings = Settings::of(&network).map_err(ScanError::Settings)?;
        scan::scan(&host::Real, &network, settings.finality_depth, cursor.as_ref(), &limits)
    }
}

impl Finder for Sandbox {
    fn find(_network: Network, tx: String) -> Result<Vec<Place>, FindError> {
        find::find(&host::Real, &tx)
    }
}

impl Simulator for Sandbox {
    fn simulate(network: Network, action: String) -> Result<String, SimulateError> {
        let settings = Settings::of(&network)
            .map_err(|error| SimulateError::Malformed(format!("the network's settings: {error}")))?;
        actions::simulate(&host::Real, settings.finality_depth, &action)
    }
}
