//! The block of a transaction: the one that its receipt names, from a node that has read that far itself.

use crate::fault::Fault;
use crate::hex::{self, Hash};
use crate::host::Host;
use crate::learned::Learned;
use crate::rpc::{self, Call, Replies};
use crate::settings::Settings;
use crate::wire::{bytes, number};
use kassa_sdk::chain::ScanError;
use kassa_sdk::finder::{FindError, Place};
use kassa_sdk::types::Network;
use serde::{Deserialize, Deserializer};

/// A receipt, reduced to the location of its transaction.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WhereJson<'a> {
    transaction_hash: &'a str,
    /// Null while it waits. Some nodes make up receipts for transactions that wait.
    #[serde(borrow, deserialize_with = "present")]
    block_number: Option<&'a str>,
}

/// Deserializes a field that has to be there, even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Option::deserialize(deserializer)
}

pub(crate) fn find<H: Host>(host: &H, network: &Network, tx: &str) -> Result<Vec<Place>, FindError> {
    let Some(hash) = hash_of(tx) else {
        let shape = "a transaction's hash is 64 hexadecimal digits, with or without 0x before them";
        return Err(FindError::NotAnId(shape.into()));
    };
    let settings = Settings::parse(&network.settings, true).map_err(FindError::Settings)?;
    let mut learned = Learned::load(host, &settings)?;
    let calls = [
        Call { method: "eth_chainId", params: String::new() },
        Call { method: "eth_blockNumber", params: String::new() },
        Call { method: "eth_getTransactionReceipt", params: format!(r#""{}""#, hex::text(&hash)) },
    ];
    let replies = rpc::send(host, &calls, &mut learned)?;
    Ok(locate(network, &replies, &hash)?.into_iter().collect())
}

fn locate(network: &Network, replies: &Replies, hash: &Hash) -> Result<Option<Place>, Fault> {
    let chain = number(replies.parse(0, "eth_chainId")?, "chain id")?.to_string();
    if chain != network.chain_id {
        return Err(Fault::Scan(ScanError::WrongNetwork(chain)));
    }
    let head = number(replies.parse(1, "eth_blockNumber")?, "head")?;
    let Some(receipt) = replies.parse::<Option<WhereJson<'_>>>(2, "receipt")? else { return Ok(None) };
    if bytes::<32>(receipt.transaction_hash, "receipt's transaction")? != *hash {
        return Err(Fault::malformed("the receipt of another transaction"));
    }
    let Some(height) = receipt.block_number else { return Ok(None) };
    let height = number(height, "receipt's block number")?;
    if height > head {
        return Err(Fault::lags(format!("a receipt of block {height}, with the head at {head}")));
    }
    Ok(Some(Place { height, tx: hex::text(hash), more: Vec::new() }))
}

/// Reads a hash as wallets and explorers write it: with `0x` or without, in either case.
fn hash_of(text: &str) -> Option<Hash> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    hex::bytes(&format!("0x{digits}"))
}
