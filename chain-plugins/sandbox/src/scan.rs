//! Reading the sandbox as a host reads any chain.

use crate::address;
use crate::host::Host;
use crate::ledger::{Ledger, Move, Outage, Segment, Tx};
use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Memo, Network, Position, Transfer};
use std::collections::HashSet;

const ACCOUNT_BYTES: u32 = 16;

pub(crate) fn scan<H: Host>(
    host: &H,
    network: &Network,
    finality_depth: u64,
    cursor: Option<&Position>,
    limits: &ScanLimits,
) -> Result<ScanResult, ScanError> {
    let mut ledger = Ledger::open(host).map_err(ScanError::Upstream)?;
    if let Some((left, outage)) = ledger.outage() {
        return Err(failure(outage, left, cursor));
    }
    ledger.end_outages(finality_depth).map_err(ScanError::Upstream)?;
    let head = &ledger.head;
    let mut result = ScanResult {
        blocks: Vec::new(),
        transfers: Vec::new(),
        head: Position { height: head.height, hash: ledger.hash(head.height) },
        safe: Some(head.height.saturating_sub(finality_depth / 2)),
        final_: ledger.final_height(finality_depth),
        more: Vec::new(),
    };
    let Some(cursor) = cursor else {
        // A new network starts where no reorg can take the ground away.
        result.blocks.push(ledger.block_at(result.final_).map_err(ScanError::Upstream)?);
        return Ok(result);
    };
    if cursor.height > head.height {
        return Err(ScanError::Behind(head.height));
    }
    if cursor.height < head.height {
        read_on(&ledger, network, cursor.height, limits, &mut result)?;
    }
    Ok(result)
}

pub(crate) fn failure(outage: Outage, left_ms: u64, cursor: Option<&Position>) -> ScanError {
    match (outage, cursor) {
        (Outage::RateLimited, _) => ScanError::RateLimited(u32::try_from(left_ms).unwrap_or(u32::MAX)),
        (Outage::Malformed, _) => {
            ScanError::Malformed("the sandbox talks nonsense, as it was told to".into())
        }
        (Outage::Behind, Some(cursor)) => ScanError::Behind(cursor.height.saturating_sub(1)),
        _ => ScanError::Upstream("the sandbox is down, as it was told to".into()),
    }
}

/// Reads blocks above `cursor`, as many as the limits allow.
fn read_on<H: Host>(
    ledger: &Ledger<'_, H>,
    network: &Network,
    cursor: u64,
    limits: &ScanLimits,
    result: &mut ScanResult,
) -> Result<(), ScanError> {
    let block_limit = limits.blocks.max(1);
    let segments = ledger.segments_above(cursor, block_limit).map_err(ScanError::Upstream)?;
    let watched = watched(ledger.host, network, &segments)?;
    let last = cursor.saturating_add(u64::from(block_limit));
    let mut next = cursor.saturating_add(1);
    for segment in &segments {
        if segment.from > next {
            return Err(ScanError::Upstream(format!("the sandbox has forgotten block {next}")));
        }
        let found = if segment.from == next { transfers(network, segment, &watched) } else { Vec::new() };
        let total = result.transfers.len().saturating_add(found.len());
        let limit = usize::try_from(limits.transfers).unwrap_or(usize::MAX);
        if total > limit && !result.blocks.is_empty() {
            return Ok(());
        }
        result.transfers.extend(found);
        while next <= segment.to.min(last) {
            result.blocks.push(ledger.block(next, segment.time_ms));
            next = next.saturating_add(1);
        }
        if next > last {
            return Ok(());
        }
    }
    Ok(())
}

/// The watched recipients of the segments, asked for all at once.
fn watched<H: Host>(host: &H, network: &Network, segments: &[Segment]) -> Result<HashSet<String>, ScanError> {
    let recipients: Vec<&str> = segments
        .iter()
        .flat_map(|segment| listed(network, &segment.txs))
        .map(|(_, _, _, movement)| movement.to.as_str())
        .collect();
    let mut keys = Vec::with_capacity(recipients.len().saturating_mul(16));
    for recipient in &recipients {
        // Only valid addresses are ever stored; another one would merely be nobody's.
        keys.extend_from_slice(&address::decode(recipient).unwrap_or_default());
    }
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let indexes = host.watched(&keys, ACCOUNT_BYTES).map_err(ScanError::Upstream)?;
    let recipient = |index: u32| usize::try_from(index).ok().and_then(|index| recipients.get(index));
    Ok(indexes.into_iter().filter_map(recipient).map(|recipient| (*recipient).to_owned()).collect())
}

/// Movements of listed assets in transactions that succeeded, each with its ordinal and asset. What an account sends to
/// itself is left out: it was there before.
fn listed<'a>(
    network: &'a Network,
    txs: &'a [Tx],
) -> impl Iterator<Item = (&'a Tx, u32, u32, &'a Move)> + 'a {
    txs.iter().filter(|tx| !tx.failed).flat_map(move |tx| {
        let moves = (0u32..).zip(&tx.moves).filter(|(_, movement)| movement.from != movement.to);
        moves.filter_map(move |(ordinal, movement)| {
            let asset = network.assets.iter().position(|asset| asset.contract == movement.asset)?;
            Some((tx, ordinal, u32::try_from(asset).ok()?, movement))
        })
    })
}

fn transfers(network: &Network, segment: &Segment, watched: &HashSet<String>) -> Vec<Transfer> {
    listed(network, &segment.txs)
        .filter(|(_, _, _, movement)| watched.contains(&movement.to))
        .map(|(tx, ordinal, asset, movement)| Transfer {
            tx: tx.id.clone(),
            ordinal,
            asset,
            sender: Some(movement.from.clone()),
            recipient: movement.to.clone(),
            amount: movement.amount.parse::<u128>().ok().map(Into::into),
            memo: memo(movement),
            height: segment.from,
            more: Vec::new(),
        })
        .collect()
}

fn memo(movement: &Move) -> Memo {
    if movement.unreadable_memo {
        return Memo::Unreadable("encrypted".into());
    }
    movement.memo.clone().filter(|memo| !memo.is_empty()).map_or(Memo::None, Memo::Text)
}
