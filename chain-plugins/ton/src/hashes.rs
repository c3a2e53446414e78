//! The hashes of cells (<https://docs.ton.org/foundations/serialization/cells>).
//!
//! A cell that stands above pruned branches has up to four hashes, one for each level: a proof hashes what it
//! is about as if nothing had been cut out. Payers may put proofs into what they send, so that all of it is
//! computed here, though what a payment says never lies in such cells.
//!
//! Which levels are in use is a mask, and it may have gaps. What is hashed at a level is the mask as it is up to there,
//! as nodes do (`LevelMask::apply` in `crypto/vm/cells/DataCell.cpp` of ton-blockchain/ton).

use crate::address::Hash;
use crate::boc::{Boc, Cell, DEPTH_MAX};
use crate::slice::Slice;
use sha2::{Digest, Sha256};

const LEVELS: usize = 4;
const PRUNED: u8 = 1;
const LIBRARY: u8 = 2;
const MERKLE_PROOF: u8 = 3;
const MERKLE_UPDATE: u8 = 4;

/// The hash and the depth of a cell at each level, and the mask of levels that differ from the one below.
#[derive(Clone, Copy, Default)]
struct Levels {
    mask: u8,
    at: [(Hash, u16); LEVELS],
}

/// The hashes of all cells of a bag.
pub(crate) struct Hashes(Vec<Levels>);

impl Hashes {
    /// Hashes all cells of a bag. `None` if one cannot be on chain: an exotic cell of no known kind, a proof of
    /// something else than is below it, or a cell above too many others (including those that were cut out).
    pub(crate) fn of(boc: &Boc<'_>) -> Option<Self> {
        let mut all = vec![Levels::default(); boc.len()];
        // Backwards, since references point forward.
        for index in (0..boc.len()).rev() {
            let cell = boc.cell(index)?;
            let below: Option<Vec<_>> = cell.refs().iter().map(|index| all.get(*index)).collect();
            let levels = levels(cell, &below?)?;
            *all.get_mut(index)? = levels;
        }
        Some(Self(all))
    }

    /// The representation hash of a cell. `None` if its level is above zero, which no tree on chain has.
    pub(crate) fn get(&self, index: usize) -> Option<Hash> {
        let levels = self.0.get(index).filter(|levels| levels.mask == 0)?;
        levels.at.first().map(|(hash, _)| *hash)
    }

    /// The hash of an ordinary cell with the bits and references that are left in a slice.
    pub(crate) fn rest(&self, slice: Slice<'_>) -> Option<Hash> {
        let below: Option<Vec<_>> = slice.refs().iter().map(|index| self.0.get(*index)).collect();
        let below = below?;
        if below.iter().any(|levels| levels.mask != 0) {
            return None;
        }
        let bits = slice.bits_left();
        let descriptors = [below.len(), (bits / 8).saturating_add(bits.div_ceil(8))];
        let [first, second] = descriptors.map(|byte| u8::try_from(byte).unwrap_or(u8::MAX));
        Some(hash([first, second], &slice.padded()?, &below, 0).0)
    }
}

fn levels(cell: &Cell<'_>, below: &[&Levels]) -> Option<Levels> {
    let [first, second] = cell.descriptors();
    let (mask, shift) = match cell.is_exotic {
        false => (mask_of(below), 0),
        true => match (*cell.data().first()?, cell.bits, below.len()) {
            (PRUNED, _, 0) => return pruned(cell),
            (LIBRARY, 264, 0) => (0, 0),
            // What they prove has one level more than they have themselves.
            (MERKLE_PROOF, 280, 1) | (MERKLE_UPDATE, 552, 2) => {
                let has_proven = stored(cell.data().get(1..)?, below.len())?
                    .zip(below)
                    .all(|(stored, levels)| levels.at.first() == Some(&stored));
                has_proven.then_some((mask_of(below) >> 1, 1))?
            }
            _ => return None,
        },
    };
    if first >> 5 != mask {
        return None;
    }
    let mut levels = Levels { mask, at: Default::default() };
    let mut last: Option<(Hash, u16)> = None;
    for (level, slot) in levels.at.iter_mut().enumerate() {
        let at = match last {
            Some(last) if mask >> level.saturating_sub(1) & 1 == 0 => last,
            last => {
                let descriptors = [(first & 0x1f) | (below_level(mask, level) << 5), second];
                let data = last.as_ref().map_or(cell.data(), |(hash, _)| hash);
                let at = hash(descriptors, data, below, level.saturating_add(shift));
                Some(at).filter(|(_, depth)| *depth <= DEPTH_MAX)?
            }
        };
        *slot = *last.insert(at);
    }
    Some(levels)
}

fn mask_of(below: &[&Levels]) -> u8 {
    below.iter().fold(0, |mask, levels| mask | levels.mask)
}

/// The part of a mask below this level.
fn below_level(mask: u8, level: usize) -> u8 {
    mask & [0, 1, 3, 7].get(level).copied().unwrap_or(7)
}

/// Hashes descriptors, data and the trees below at their level. Returns the hash and the depth.
fn hash(descriptors: [u8; 2], data: &[u8], below: &[&Levels], level: usize) -> (Hash, u16) {
    let at = |levels: &&Levels| levels.at.get(level.min(LEVELS - 1)).copied().unwrap_or_default();
    let mut hasher = Sha256::new();
    hasher.update(descriptors);
    hasher.update(data);
    below.iter().map(at).for_each(|(_, depth)| hasher.update(depth.to_be_bytes()));
    below.iter().map(at).for_each(|(hash, _)| hasher.update(hash));
    let depth = below.iter().map(at).map(|(_, depth)| depth.saturating_add(1)).max();
    (hasher.finalize().into(), depth.unwrap_or(0))
}

/// Reads the hashes that an exotic cell carries, and the depths after them.
fn stored(bytes: &[u8], count: usize) -> Option<impl Iterator<Item = (Hash, u16)>> {
    let (hashes, depths) = bytes.split_at_checked(count.checked_mul(32)?)?;
    let (hashes, depths) = (hashes.as_chunks::<32>().0, depths.as_chunks::<2>().0);
    Some(hashes.iter().copied().zip(depths.iter().map(|depth| u16::from_be_bytes(*depth))))
}

/// Levels of a pruned branch, which carries the hashes and depths of what was cut out and has a hash of its own on top.
fn pruned(cell: &Cell<'_>) -> Option<Levels> {
    let (descriptors, data) = (cell.descriptors(), cell.data());
    let [_, mask, ..] = *data else { return None };
    let count = usize::try_from(mask.count_ones()).ok()?;
    let bits = count.checked_mul(272)?.checked_add(16)?;
    let [first, _] = descriptors;
    if !(1..=7).contains(&mask) || cell.bits != bits || first >> 5 != mask {
        return None;
    }
    let mut stored = stored(data.get(2..)?, count)?;
    let own = hash(descriptors, data, &[], 0);
    let mut levels = Levels { mask, at: Default::default() };
    let mut last = stored.next()?;
    for (level, slot) in levels.at.iter_mut().enumerate() {
        if level > 0 && mask >> level.saturating_sub(1) & 1 == 1 {
            last = stored.next().unwrap_or(own);
        }
        *slot = last;
    }
    Some(levels)
}

#[cfg(test)]
#[path = "tests/another_reader.rs"]
mod another_reader;
#[cfg(test)]
#[path = "tests/hashes.rs"]
mod tests;
