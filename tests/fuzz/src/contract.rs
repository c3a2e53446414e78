//! What `wit/chain.wit` says of a scan that answers.

use kassa_sdk::chain::{Address, AddressError, Block, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Memo, Network, Position};
use std::collections::HashSet;

pub struct Asked<'a> {
    pub network: &'a Network,
    pub cursor: Option<&'a Position>,
    pub limits: &'a ScanLimits,
    pub watched: &'a [String],
    pub normalize: fn(&str) -> Result<Address, AddressError>,
}

pub fn check(asked: &Asked<'_>, result: &ScanResult) {
    let ScanResult { blocks, transfers, head, safe, final_, more: _ } = result;
    assert!(!head.hash.is_empty());
    assert!(*final_ <= head.height, "final above the head");
    assert!(safe.is_none_or(|safe| safe <= head.height), "safe above the head");
    match asked.cursor {
        None => {
            assert!(transfers.is_empty() && blocks.len() == 1, "a new network starts with one block alone");
            assert_eq!(blocks[0].height, *final_, "a new network starts at the final block");
        }
        Some(cursor) => {
            assert!(cursor.height <= head.height, "a head below the cursor is an error");
            let below = Block { height: cursor.height, ..block() };
            follow(std::iter::once(&below).chain(blocks));
        }
    }
    assert!(blocks.len() <= asked.limits.blocks.max(1) as usize, "more blocks than asked for");
    if let Some(last) = blocks.last() {
        assert!(last.height <= head.height, "blocks above the head");
        assert!(last.height < head.height || last.hash == head.hash, "the head and the last block differ");
    }
    check_transfers(asked, result);
}

/// Text of strangers is short and fit for a log line.
pub fn check_error(error: &ScanError) {
    if let ScanError::Upstream(why) | ScanError::Malformed(why) | ScanError::WrongNetwork(why) = error {
        assert!(!why.is_empty() && why.len() <= 200, "an error's text: {why}");
        assert!(why.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "an error's text: {why}");
    }
}

fn block() -> Block {
    Block { height: 0, hash: String::new(), parent: String::new(), time_ms: 0, more: Vec::new() }
}

/// The first one's hash is not known: whether the chain joins the cursor is the host's question.
fn follow<'a>(blocks: impl Iterator<Item = &'a Block> + Clone) {
    for (below, above) in blocks.clone().zip(blocks.skip(1)) {
        assert_eq!(Some(above.height), below.height.checked_add(1), "a gap");
        assert!(below.hash.is_empty() || below.hash == above.parent, "not a child");
        assert!(!above.hash.is_empty() && !above.parent.is_empty());
    }
}

fn check_transfers(asked: &Asked<'_>, result: &ScanResult) {
    let heights: HashSet<u64> = result.blocks.iter().map(|block| block.height).collect();
    let mut movements = HashSet::new();
    for transfer in &result.transfers {
        assert!(heights.contains(&transfer.height), "a transfer of no block");
        assert!((transfer.asset as usize) < asked.network.assets.len(), "an asset that is not listed");
        assert!(!transfer.tx.is_empty());
        assert!(movements.insert((&transfer.tx, transfer.ordinal)), "the same movement twice");
        assert!(asked.watched.contains(&transfer.recipient), "a recipient that nobody watches");
        for address in transfer.sender.iter().chain([&transfer.recipient]) {
            let normal = (asked.normalize)(address).expect("an address");
            assert_eq!(normal.text, *address, "not in the normal form");
        }
        if let Memo::Text(text) = &transfer.memo {
            assert!(!text.is_empty(), "an empty memo is none");
        }
    }
    let in_blocks: HashSet<u64> = result.transfers.iter().map(|transfer| transfer.height).collect();
    let is_over = result.transfers.len() > asked.limits.transfers as usize;
    assert!(!is_over || in_blocks.len() == 1, "more transfers than asked for, and not of one block");
}
