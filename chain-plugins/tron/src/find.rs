//! The block of a transaction: the one that its info names, from a node of this chain that has read that far itself.

use crate::api;
use crate::host::Host;
use crate::scan;
use crate::top::Top;
use crate::wire::{self, Hash};
use kassa_sdk::chain::ScanError;
use kassa_sdk::finder::{FindError, Place};
use kassa_sdk::types::Network;
use kassa_sdk::upstream::{lags, malformed};
use serde::Deserialize;

/// A transaction info, reduced to its id and its block.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WhereJson<'a> {
    id: &'a str,
    block_number: u64,
}

pub(crate) fn find<H: Host>(host: &H, network: &Network, tx: &str) -> Result<Vec<Place>, FindError> {
    let Some(id) = id_of(tx) else {
        let shape = "a transaction's id is 64 hexadecimal digits, with or without 0x before them";
        return Err(FindError::NotAnId(shape.into()));
    };
    Ok(locate(host, network, &id)?.into_iter().collect())
}

fn locate<H: Host>(host: &H, network: &Network, id: &Hash) -> Result<Option<Place>, ScanError> {
    let chain_id = scan::chain_id(network)?;
    let [info, head, genesis] = api::ask_each(host, &[api::info(id), api::head(), api::block(0)])?;
    scan::check_genesis(&genesis, chain_id)?;
    // It is in no block.
    if api::is_missing(&info) {
        return Ok(None);
    }
    let info: WhereJson<'_> = api::parse(&info, "a transaction info")?;
    if wire::hash(info.id, "a transaction info's id")? != *id {
        return Err(malformed("the info of another transaction"));
    }
    let head = Top::read(&head, "the head")?.header.height;
    if info.block_number > head {
        return Err(lags(format!("a transaction in block {}, with the head at {head}", info.block_number)));
    }
    Ok(Some(Place { height: info.block_number, tx: hex::encode(id), more: Vec::new() }))
}

/// Reads an id as wallets and explorers write it: mostly without `0x`, in either case.
fn id_of(text: &str) -> Option<Hash> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let mut id = [0; 32];
    hex::decode_to_slice(digits, &mut id).ok().map(|()| id)
}
