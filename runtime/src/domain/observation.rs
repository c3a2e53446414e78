//! Observation: whether what a scan says can be believed, and what it makes of the transfers known so far. Pure.
//!
//! A plugin only reports; everything that could lose money is decided here: that blocks follow on one another
//! without a gap, what a reorg took away, which transfers are new and which only moved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Millis,
    id::{AddressId, Ids, MerchantId},
    money::Amount,
    network::Manifest,
    transfer::{Depth, Kind, Moved, Sighting, Status, Transfer, moved},
};

/// A point of the chain. An empty hash stands for a height whose block is not known: the operator let a frozen network
/// go on there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub height: i64,
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub height: i64,
    pub hash: String,
    pub parent: String,
    pub time: Millis,
}

/// A transfer as a plugin reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub tx: String,
    pub ordinal: i64,
    /// Index into the network's list of assets.
    pub asset: usize,
    pub sender: Option<String>,
    pub recipient: String,
    pub amount: Option<Amount>,
    pub memo: Option<String>,
    pub memo_problem: Option<String>,
    pub height: i64,
}

/// The report of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub blocks: Vec<Block>,
    pub transfers: Vec<Seen>,
    pub head: Position,
    pub safe: Option<i64>,
    pub r#final: i64,
}

/// Maximum length of a hash, an address or a transaction id, bytes.
const NAME_LEN_MAX: usize = 256;
/// Maximum length of a memo that is kept, bytes; a longer one counts as unreadable.
pub const MEMO_LEN_MAX: usize = 4096;

/// The relation of a scan to the position that it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Nothing new.
    Still,
    /// The blocks follow on the position.
    Forward,
    /// The position's block is no longer on the chain.
    Reorg,
    /// The upstream has not reached the position yet.
    Behind,
}

/// Why a report cannot be believed, or does not go on from where it was asked to. Nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("{reported} blocks, but {asked} were asked for")]
    TooManyBlocks { reported: usize, asked: usize },
    #[error("the final block is above the head")]
    FinalAboveHead,
    #[error("the safe block is above the head")]
    SafeAboveHead,
    #[error("the head has no usable hash")]
    HeadWithoutHash,
    #[error("block {0} has an unusable field")]
    BlockField(i64),
    #[error("block {height} is above the head {head}")]
    BlockAboveHead { height: i64, head: i64 },
    #[error("block {after} does not follow on block {before}")]
    Gap { before: i64, after: i64 },
    #[error("the first block is {first}, not {next}")]
    FirstBlock { first: i64, next: i64 },
    #[error("a first scan reports one block and no transfers")]
    FirstScan,
    #[error("the head and the last block differ")]
    OtherHead,
    #[error("transfer {tx} is in block {height}, which is not reported")]
    BlockNotReported { tx: String, height: i64 },
    #[error("transfer {tx} is of asset {asset}, which is not listed")]
    AssetNotListed { tx: String, asset: usize },
    #[error("a transfer has an unusable name")]
    TransferName,
    #[error("transfer {tx} number {ordinal} is reported twice")]
    Twice { tx: String, ordinal: i64 },
    #[error("height {0} is beyond any chain")]
    Height(u64),
    #[error("a block time is beyond any clock")]
    Time,
    #[error("a transaction has an unusable name")]
    TransactionName,
    #[error("its head {head} is below block {next}")]
    Behind { head: i64, next: i64 },
    #[error("it gives no block {0}")]
    NoBlock(i64),
    #[error("block {0} does not follow on the one before it, as that was read here")]
    OtherBranch(i64),
}

/// Checks a report by itself. The error says what is wrong; nothing of such a report is used.
pub fn check(
    scan: &Scan,
    from: Option<&Position>,
    assets: usize,
    blocks_max: usize,
) -> Result<(), Contradiction> {
    use Contradiction as No;

    let name = |text: &str| (1..=NAME_LEN_MAX).contains(&text.len()) && !text.contains(char::is_control);
    if scan.blocks.len() > blocks_max.max(1) {
        return Err(No::TooManyBlocks { reported: scan.blocks.len(), asked: blocks_max });
    }
    if scan.head.height < 0 || scan.r#final < 0 || scan.r#final > scan.head.height {
        return Err(No::FinalAboveHead);
    }
    if scan.safe.is_some_and(|safe| safe > scan.head.height || safe < 0) {
        return Err(No::SafeAboveHead);
    }
    if !name(&scan.head.hash) {
        return Err(No::HeadWithoutHash);
    }
    for block in &scan.blocks {
        if !name(&block.hash) || !name(&block.parent) || block.height < 0 || block.time < 0 {
            return Err(No::BlockField(block.height));
        }
        if block.height > scan.head.height {
            return Err(No::BlockAboveHead { height: block.height, head: scan.head.height });
        }
    }
    for pair in scan.blocks.windows(2) {
        if let [before, after] = pair
            && (after.height != before.height + 1 || after.parent != before.hash)
        {
            return Err(No::Gap { before: before.height, after: after.height });
        }
    }
    match (from, scan.blocks.first()) {
        (Some(from), Some(first)) if first.height != from.height + 1 => {
            return Err(No::FirstBlock { first: first.height, next: from.height + 1 });
        }
        (None, first) if first.is_none() || scan.blocks.len() != 1 || !scan.transfers.is_empty() => {
            return Err(No::FirstScan);
        }
        _ => {}
    }
    if let Some(last) = scan.blocks.last()
        && last.height == scan.head.height
        && last.hash != scan.head.hash
    {
        return Err(No::OtherHead);
    }
    let heights: BTreeSet<i64> = scan.blocks.iter().map(|block| block.height).collect();
    let mut ordinals = BTreeSet::new();
    for seen in &scan.transfers {
        if !heights.contains(&seen.height) {
            return Err(No::BlockNotReported { tx: seen.tx.clone(), height: seen.height });
        }
        if seen.asset >= assets {
            return Err(No::AssetNotListed { tx: seen.tx.clone(), asset: seen.asset });
        }
        if !name(&seen.tx) || !name(&seen.recipient) || seen.sender.as_deref().is_some_and(|s| !name(s)) {
            return Err(No::TransferName);
        }
        if seen.ordinal < 0 || !ordinals.insert((&seen.tx, seen.ordinal)) {
            return Err(No::Twice { tx: seen.tx.clone(), ordinal: seen.ordinal });
        }
    }
    Ok(())
}

/// Finds how a checked report continues the position that it was asked for.
#[must_use]
pub fn course(scan: &Scan, from: &Position) -> Course {
    let other = |hash: &str| !from.hash.is_empty() && hash != from.hash;
    match scan.blocks.first() {
        Some(first) if other(&first.parent) => Course::Reorg,
        Some(_) => Course::Forward,
        None if scan.head.height < from.height => Course::Behind,
        None if scan.head.height == from.height && other(&scan.head.hash) => Course::Reorg,
        None => Course::Still,
    }
}

/// The merchant and the address that receive a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub address_id: AddressId,
    pub merchant_id: MerchantId,
}

/// The facts that a report is taken in against.
pub struct ScanFacts<'a> {
    pub network: &'a Manifest,
    /// The height on which the report's blocks follow.
    pub base: i64,
    /// Transfers above the base that count as being on chain.
    pub above: Vec<Transfer>,
    /// Transfers of the report's transactions, wherever they are.
    pub same_tx: Vec<Transfer>,
    /// Owners by the recipient's address. Recipients that belong to nobody are left out.
    pub owners: BTreeMap<String, Owner>,
    /// Number of the next entry of the network's log, which newly seen transfers carry.
    pub first_seq: i64,
    pub ids: &'a Ids,
    pub now: Millis,
}

/// The changes to write.
#[derive(Debug, Default)]
pub struct Plan {
    pub insert: Vec<Transfer>,
    pub update: Vec<Transfer>,
    pub log: Vec<(Sighting, Transfer)>,
}

/// Plans the changes that a checked report up to `depth` makes.
#[must_use]
pub fn plan(scan: &Scan, mut known: ScanFacts<'_>, depth: Depth) -> Plan {
    let blocks: BTreeMap<i64, &Block> = scan.blocks.iter().map(|block| (block.height, block)).collect();
    let stays = |t: &Transfer| blocks.get(&t.height).is_some_and(|block| block.hash == t.block_hash);
    let mut before: BTreeMap<(String, i64), Transfer> = BTreeMap::new();
    for transfer in std::mem::take(&mut known.above).into_iter().chain(std::mem::take(&mut known.same_tx)) {
        before.insert((transfer.tx.clone(), transfer.ordinal), transfer);
    }
    let mut plan = Plan::default();
    for seen in &scan.transfers {
        let (Some(owner), Some(block)) = (known.owners.get(&seen.recipient), blocks.get(&seen.height)) else {
            continue;
        };
        match before.remove(&(seen.tx.clone(), seen.ordinal)) {
            None => {
                let transfer = new_transfer(seen, owner, block, &known);
                plan.log.push((Sighting::Included, transfer.clone()));
                plan.insert.push(transfer);
            }
            Some(transfer) => {
                let credited_to = depth.credited_to(known.network.deepest_credit_of(&transfer.asset_id));
                again(transfer, block, known.base, credited_to, &mut plan);
            }
        }
    }
    // The rest was on the old branch only, or is in a block that has not changed.
    for (_, mut transfer) in before {
        let on_old_branch = transfer.height > known.base && transfer.status != Status::Retracted;
        if on_old_branch && !stays(&transfer) {
            transfer.status = Status::Retracted;
            plan.log.push((Sighting::Retracted, transfer.clone()));
            plan.update.push(transfer);
        }
    }
    plan
}

/// Takes a known transfer that is reported again.
fn again(mut transfer: Transfer, block: &Block, base: i64, credited_to: i64, plan: &mut Plan) {
    let same_block = transfer.block_hash == block.hash && transfer.height == block.height;
    if transfer.status == Status::Retracted {
        include_again(transfer, block, plan);
    } else if !same_block && transfer.height > base {
        let was = transfer.clone();
        put(&mut transfer, block);
        if moved(was.status, Some(block.height), credited_to) == Moved::BeginsAnew {
            plan.log.push((Sighting::Retracted, was));
            transfer.epoch += 1;
            transfer.status = Status::Included;
            plan.log.push((Sighting::Included, transfer.clone()));
        } else if was.block_time != block.time {
            // Whom it names and whether it is late may be another matter now.
            let sighting = match transfer.status {
                Status::Included | Status::Retracted => Sighting::Included,
                Status::Confirmed | Status::Final => Sighting::Confirmed,
            };
            plan.log.push((sighting, transfer.clone()));
        }
        plan.update.push(transfer);
    }
    // Otherwise the same report came once more, or the transaction lies below the base: nothing changes.
}

/// Puts a retracted transfer back on chain: another epoch begins.
pub(super) fn include_again(mut transfer: Transfer, block: &Block, plan: &mut Plan) {
    put(&mut transfer, block);
    transfer.epoch += 1;
    transfer.status = Status::Included;
    plan.log.push((Sighting::Included, transfer.clone()));
    plan.update.push(transfer);
}

fn put(transfer: &mut Transfer, block: &Block) {
    transfer.height = block.height;
    transfer.block_hash.clone_from(&block.hash);
    transfer.block_time = block.time;
}

pub(super) fn new_transfer(seen: &Seen, owner: &Owner, block: &Block, known: &ScanFacts<'_>) -> Transfer {
    let (network, now) = (known.network, known.now);
    Transfer {
        id: known.ids.next(now),
        network: network.name.clone(),
        kind: Kind::Seen,
        tx: seen.tx.clone(),
        ordinal: seen.ordinal,
        asset_id: network.assets.get(seen.asset).map(|asset| asset.id(&network.name)).unwrap_or_default(),
        address_id: owner.address_id.clone(),
        merchant_id: owner.merchant_id.clone(),
        sender: seen.sender.clone(),
        amount: seen.amount,
        memo: seen.memo.clone(),
        memo_problem: seen.memo_problem.clone(),
        height: block.height,
        block_hash: block.hash.clone(),
        block_time: block.time,
        status: Status::Included,
        epoch: 1,
        seen_at: now,
        seq: known.first_seq,
    }
}

/// The depth of the chain when its blocks were read up to `height`. The final block never goes back, whatever a slower
/// upstream says.
#[must_use]
pub fn depth(height: i64, scan: &Scan, final_before: i64) -> Depth {
    Depth { height, safe: scan.safe, r#final: scan.r#final.max(final_before).min(height) }
}

/// Number of blocks that the next look for a common ancestor goes down: twice the last, but never more than one scan
/// reads, so that the scan that finds the ancestor also covers the fork.
#[must_use]
pub fn next_step(step: i64, blocks_max: i64) -> i64 {
    (step * 2).min(blocks_max.max(1))
}
