//! A scan: head and solid block first, then steps of blocks until the limits or the head are reached.
//!
//! An idle scan is one request, and another one where the host wants to know the solid block anew; a block more costs
//! one for itself (none if it is the head) and one for the infos of its transactions. Steps that were read completely
//! are kept when a later one fails: the failure comes again at the next scan, the work does not.
//!
//! Which chain the node serves is asked only where it is in doubt: the last four bytes of the genesis
//! block's id are the chain's id. A node whose chain holds the block of the cursor, by its hash, is on the
//! cursor's chain, and the first cursor came from a node that was asked.

use crate::host::Host;
use crate::moves::Assets;
use crate::settings::Settings;
use crate::step::{self, Step};
use crate::top::Top;
use crate::wire::Header;
use crate::{address, api};
use kassa_sdk::chain::{Block, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Network, Position};
use kassa_sdk::upstream::{agrees, lags, malformed};

/// A scan and its network.
pub(crate) struct Scan<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) assets: Assets,
    chain_id: u32,
}

pub(crate) fn scan<H: Host>(
    host: &H,
    network: &Network,
    cursor: Option<&Position>,
    limits: &ScanLimits,
) -> Result<ScanResult, ScanError> {
    let settings = Settings::parse(&network.settings).map_err(ScanError::Settings)?;
    let scan = Scan { host, assets: listed(network)?, chain_id: chain_id(network)? };
    let known = cursor.and(limits.known);
    let solid = || known.is_none().then(api::solid);
    let mut bodies =
        api::ask(host, &[api::head()].into_iter().chain(solid()).collect::<Vec<_>>())?.into_iter();
    let head_body = bodies.next().unwrap_or_default();
    let Top { header: head, has_transactions } = Top::read(&head_body, "the head")?;
    // Without transactions it may be a header alone.
    let head_body = has_transactions.then_some(head_body.as_slice());
    let solid =
        bodies.next().map(|body| Top::read(&body, "the solid block")).transpose()?.map(|top| top.header);
    let solid_height =
        known.map(|known| known.final_).or(solid.as_ref().map(|solid| solid.height)).unwrap_or(0);
    let mut result = ScanResult {
        blocks: Vec::new(),
        transfers: Vec::new(),
        head: Position { height: head.height, hash: hex::encode(head.hash) },
        safe: None,
        final_: solid_height.min(head.height),
        more: Vec::new(),
    };
    let Some(cursor) = cursor else {
        scan.check_chain()?;
        let solid = solid.filter(|solid| solid.height <= head.height);
        let solid = solid.ok_or_else(|| lags("the head is below the solid block"))?;
        // A new network starts where no reorg can take the ground away.
        result.blocks.push(block(&solid));
        agrees(&result)?;
        return Ok(result);
    };
    if head.height < cursor.height {
        scan.check_chain()?;
        return Err(ScanError::Behind(head.height));
    }
    if head.height == cursor.height {
        if result.head.hash != cursor.hash {
            scan.check_chain()?;
        }
        return Ok(result);
    }
    scan.read_on(cursor, head_body, limits, settings, &mut result)?;
    agrees(&result)?;
    Ok(result)
}

impl<H: Host> Scan<'_, H> {
    fn check_chain(&self) -> Result<(), ScanError> {
        let [body] = api::ask_each(self.host, &[api::block(0)])?;
        check_genesis(&body, self.chain_id)
    }

    fn read_on(
        &self,
        cursor: &Position,
        head_body: Option<&[u8]>,
        limits: &ScanLimits,
        settings: Settings,
        result: &mut ScanResult,
    ) -> Result<(), ScanError> {
        let head = result.head.height;
        let last = head.min(cursor.height.saturating_add(limits.blocks.max(1).into()));
        let transfers_max = usize::try_from(limits.transfers).unwrap_or(usize::MAX);
        let mut above = Position { height: cursor.height, hash: cursor.hash.clone() };
        while above.height < last {
            let (next, may_be_empty) = (above.height.saturating_add(1), !result.blocks.is_empty());
            let to = last.min(above.height.saturating_add(settings.blocks_at_once));
            let room = transfers_max.saturating_sub(result.transfers.len());
            let Step { headers, transfers, is_cut } =
                match step::read(self, next, to, head_body.filter(|_| to == head), room, may_be_empty) {
                    Ok(step) => step,
                    Err(_) if may_be_empty => return Ok(()),
                    Err(error) => return Err(error),
                };
            let joins = headers.first().is_none_or(|first| hex::encode(first.parent) == above.hash);
            match (joins, may_be_empty) {
                (true, _) => {}
                // The chain moved between two steps.
                (false, true) => return Ok(()),
                // A reorg, which the host sees by the parent; or another chain.
                (false, false) => self.check_chain()?,
            }
            result.blocks.extend(headers.iter().map(block));
            result.transfers.extend(transfers);
            let Some(top) = result.blocks.last().filter(|_| !is_cut) else { return Ok(()) };
            above = Position { height: top.height, hash: top.hash.clone() };
        }
        Ok(())
    }
}

/// Errors if `body` is not block 0, or not the genesis block of the chain with this id.
pub(crate) fn check_genesis(body: &[u8], chain_id: u32) -> Result<(), ScanError> {
    let genesis = Top::read(body, "the genesis block")?.header;
    if genesis.height != 0 {
        return Err(malformed(format!("asked for block 0, got block {}", genesis.height)));
    }
    let id = genesis.hash.last_chunk().copied().map(u32::from_be_bytes);
    match id {
        Some(id) if id == chain_id => Ok(()),
        id => Err(ScanError::WrongNetwork(format!("0x{:08x}", id.unwrap_or_default()))),
    }
}

fn listed(network: &Network) -> Result<Assets, ScanError> {
    let mut assets = Assets { tokens: Vec::new(), native: None };
    for (index, asset) in (0u32..).zip(&network.assets) {
        let Some(contract) = &asset.contract else {
            assets.native = assets.native.or(Some(index));
            continue;
        };
        let key = address::parse(contract)
            .map_err(|_| ScanError::Settings(format!("{contract} is not a contract's address")))?;
        assets.tokens.push((key, index));
    }
    Ok(assets)
}

/// Reads the chain id: `0x2b6653dc`, the form that TRON's CAIP-2 ids have, or the same number in decimal digits.
pub(crate) fn chain_id(network: &Network) -> Result<u32, ScanError> {
    let text = network.chain_id.as_str();
    let id = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    id.map_err(|_| ScanError::Settings(format!("{text} is not a chain id like 0x2b6653dc")))
}

fn block(header: &Header) -> Block {
    Block {
        height: header.height,
        hash: hex::encode(header.hash),
        parent: hex::encode(header.parent),
        time_ms: header.time_ms,
        more: Vec::new(),
    }
}
