//! Writing TON's cells: the bodies of messages.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// The generic form, with a checksum; references to cells take one byte.
const MAGIC: [u8; 4] = [0xb5, 0xee, 0x9c, 0x72];
const CRC_AND_REF_BYTES: u8 = 0x40 | 1;
const OFFSET_BYTES: u8 = 2;

/// A cell under construction.
#[derive(Clone, Default)]
pub(super) struct Cell {
    data: Vec<u8>,
    bits: usize,
    refs: Vec<Cell>,
}

impl Cell {
    fn bit(&mut self, is_set: bool) {
        if self.bits.is_multiple_of(8) {
            self.data.push(0);
        }
        if let Some(last) = self.data.last_mut().filter(|_| is_set) {
            *last |= 0x80 >> (self.bits % 8);
        }
        self.bits += 1;
    }

    /// Appends at most 128 bits, the highest first.
    pub(super) fn uint(mut self, value: u128, bits: usize) -> Self {
        for bit in (0..bits).rev() {
            self.bit(value >> bit & 1 == 1);
        }
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |cell, byte| cell.uint(u128::from(*byte), 8))
    }

    /// Appends a `VarUInteger 16`.
    pub(super) fn coins(self, value: u128) -> Self {
        let bytes: u128 = (0..16).filter(|byte| value >> (byte * 8) > 0).count().try_into().unwrap_or(0);
        (0..bytes).rev().fold(self.uint(bytes, 4), |cell, byte| cell.uint(value >> (byte * 8) & 0xff, 8))
    }

    /// Appends the address of a basechain account.
    pub(super) fn address(self, hash: &[u8; 32]) -> Self {
        self.uint(0b100, 3).uint(0, 8).bytes(hash)
    }

    pub(super) fn reference(mut self, cell: Self) -> Self {
        self.refs.push(cell);
        self
    }

    /// The data as it is written and hashed: a one and zeros fill the last byte.
    pub(super) fn padded(&self) -> Vec<u8> {
        let mut padded = self.clone();
        if !padded.bits.is_multiple_of(8) {
            padded.bit(true);
        }
        padded.data
    }

    fn descriptors(&self) -> [u8; 2] {
        let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        [byte(self.refs.len()), byte(self.bits / 8 + self.bits.div_ceil(8))]
    }

    fn depth(&self) -> u16 {
        self.refs.iter().map(|below| below.depth() + 1).max().unwrap_or(0)
    }

    /// The representation hash.
    fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.descriptors());
        hasher.update(self.padded());
        self.refs.iter().for_each(|below| hasher.update(below.depth().to_be_bytes()));
        self.refs.iter().for_each(|below| hasher.update(below.hash()));
        hasher.finalize().into()
    }

    pub(super) fn hash_base64(&self) -> String {
        STANDARD.encode(self.hash())
    }

    /// Appends its cells to `cells`, each before those that it refers to, with the indexes of these. Returns its own
    /// index.
    fn flat<'a>(&'a self, cells: &mut Vec<(&'a Self, Vec<u8>)>) -> u8 {
        let index = cells.len();
        cells.push((self, Vec::new()));
        for below in &self.refs {
            let below = below.flat(cells);
            if let Some((_, refs)) = cells.get_mut(index) {
                refs.push(below);
            }
        }
        u8::try_from(index).unwrap_or(u8::MAX)
    }

    /// The bag of cells with this root, as base64.
    pub(super) fn base64(&self) -> String {
        let mut cells = Vec::new();
        self.flat(&mut cells);
        let mut data = Vec::new();
        for (cell, refs) in &cells {
            data.extend(cell.descriptors());
            data.extend(cell.padded());
            data.extend(refs);
        }
        let mut bag = MAGIC.to_vec();
        let (count, length) = (u8::try_from(cells.len()), u16::try_from(data.len()));
        bag.extend([CRC_AND_REF_BYTES, OFFSET_BYTES, count.unwrap_or(u8::MAX), 1, 0]);
        bag.extend(length.unwrap_or(u16::MAX).to_be_bytes());
        bag.push(0);
        bag.extend(data);
        bag.extend(crc32c(&bag).to_le_bytes());
        STANDARD.encode(bag)
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82f6_3b78 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From <https://docs.ton.org/foundations/serialization/boc>, and RFC 3720, B.4.
    #[test]
    fn known_values() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(Cell::default().hash_base64(), "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=");
        let cell = Cell::default().uint(0, 32).bytes(b"hi").coins(1).coins(0x1ff);
        assert_eq!(hex::encode(cell.padded()), "000000006869101201ff");
        assert_eq!(Cell::default().uint(0b101, 3).padded(), [0b1011_0000]);
    }
}
