//! Balances of addresses at the end of blocks, from a node that has read that far and keeps the state of those blocks.

use crate::fault::Fault;
use crate::hex::{self, Key};
use crate::host::Host;
use crate::learned::Learned;
use crate::rpc::{self, Call, Replies};
use crate::settings::Settings;
use crate::wire::number;
use kassa_sdk::balances::{BalanceError, Point};
use kassa_sdk::chain::ScanError;
use kassa_sdk::types::{Amount, Network};

/// Number of calls before those for the points.
const HEAD_CALLS: usize = 2;

/// True if the native coin is listed and not traced.
pub(crate) fn needed(network: &Network) -> Result<bool, BalanceError> {
    let native = network.assets.iter().any(|asset| asset.contract.is_none());
    let settings = Settings::parse(&network.settings, native).map_err(BalanceError::Settings)?;
    Ok(native && settings.traces.is_none())
}

pub(crate) fn read<H: Host>(
    host: &H,
    network: &Network,
    points: &[Point],
) -> Result<Vec<Amount>, BalanceError> {
    let settings = Settings::parse(&network.settings, true).map_err(BalanceError::Settings)?;
    let mut learned = Learned::load(host, &settings)?;
    let mut calls = vec![
        Call { method: "eth_chainId", params: String::new() },
        Call { method: "eth_blockNumber", params: String::new() },
    ];
    for point in points {
        let key: Key = hex::bytes(&point.address)
            .ok_or_else(|| BalanceError::Malformed(format!("{} is not an address", point.address)))?;
        let params = format!(r#""{}","0x{:x}""#, hex::text(&key), point.height);
        calls.push(Call { method: "eth_getBalance", params });
    }
    let replies = rpc::send(host, &calls, &mut learned)?;
    Ok(amounts(network, &replies, points)?)
}

fn amounts(network: &Network, replies: &Replies, points: &[Point]) -> Result<Vec<Amount>, Fault> {
    let chain = number(replies.parse(0, "eth_chainId")?, "chain id")?.to_string();
    if chain != network.chain_id {
        return Err(Fault::Scan(ScanError::WrongNetwork(chain)));
    }
    // Some nodes answer with the state of their head when they are asked about a block above it.
    let head = number(replies.parse(1, "eth_blockNumber")?, "head")?;
    if let Some(above) = points.iter().find(|point| point.height > head) {
        return Err(Fault::lags(format!("block {} is asked for, with the head at {head}", above.height)));
    }
    let amount = |index: usize| {
        let held = replies.parse(index.saturating_add(HEAD_CALLS), "eth_getBalance")?;
        let held = hex::big_quantity(held).flatten();
        held.map(Amount::from).ok_or_else(|| Fault::malformed("the balance is not a quantity of 128 bits"))
    };
    (0..points.len()).map(amount).collect()
}
