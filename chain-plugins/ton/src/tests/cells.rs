//! Writing cells, which only tests need.

use crate::address::Account;
use crate::base64;
use crate::boc::Boc;
use sha2::{Digest, Sha256};

/// A cell under construction.
#[derive(Clone, Default)]
pub(crate) struct Cell {
    bits: Vec<bool>,
    refs: Vec<Cell>,
    pub(crate) is_exotic: bool,
    /// Levels of a pruned branch or of a cell above one; they are not derived from the cells below.
    levels: u8,
}

impl Cell {
    /// The cell at an index of a bag, and all below it.
    pub(crate) fn of(boc: &Boc<'_>, index: usize) -> Self {
        let cell = boc.cell(index).unwrap();
        let bit = |index: usize| cell.data()[index / 8] >> (7 - index % 8) & 1 == 1;
        let refs = cell.refs().iter().map(|index| Self::of(boc, *index)).collect();
        let [first, _] = cell.descriptors();
        let bits = (0..cell.bits).map(bit).collect();
        Self { bits, refs, is_exotic: cell.is_exotic, levels: first >> 5 }
    }

    pub(crate) fn uint(mut self, value: u128, bits: usize) -> Self {
        self.bits.extend((0..bits).rev().map(|bit| bit < 128 && value >> bit & 1 == 1));
        self
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |cell, byte| cell.uint(u128::from(*byte), 8))
    }

    pub(crate) fn coins(self, value: u128) -> Self {
        let bytes = (128 - value.leading_zeros() as usize).div_ceil(8);
        self.uint(bytes as u128, 4).uint(value, bytes * 8)
    }

    pub(crate) fn address(self, account: Option<&Account>) -> Self {
        match account {
            None => self.uint(0, 2),
            Some(account) => self.uint(0b100, 3).bytes(&account.key()),
        }
    }

    pub(crate) fn reference(mut self, cell: Cell) -> Self {
        self.refs.push(cell);
        self
    }

    /// Appends the bits and references of another cell.
    pub(crate) fn slice(mut self, cell: &Cell) -> Self {
        self.bits.extend(&cell.bits);
        self.refs.extend(cell.refs.iter().cloned());
        self
    }

    pub(crate) fn descriptors(&self) -> [u8; 2] {
        let (bits, refs) = (self.bits.len(), self.refs.len() as u8);
        [refs | u8::from(self.is_exotic) << 3 | self.levels << 5, (bits / 8 + bits.div_ceil(8)) as u8]
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let mut bits = self.bits.clone();
        if !bits.len().is_multiple_of(8) {
            bits.push(true);
        }
        let byte = |bits: &[bool]| {
            (0..8).fold(0, |byte, index| byte << 1 | u8::from(bits.get(index) == Some(&true)))
        };
        bits.chunks(8).map(byte).collect()
    }

    fn depth(&self) -> u16 {
        self.refs.iter().map(|below| below.depth() + 1).max().unwrap_or(0)
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.descriptors());
        hasher.update(self.data());
        self.refs.iter().for_each(|below| hasher.update(below.depth().to_be_bytes()));
        self.refs.iter().for_each(|below| hasher.update(below.hash()));
        hasher.finalize().into()
    }

    /// Appends the tree's cells and, for each, the indexes of those that it refers to. Returns the index of the root.
    fn flat<'a>(&'a self, out: &mut Vec<(&'a Cell, Vec<usize>)>) -> usize {
        let index = out.len();
        out.push((self, Vec::new()));
        for below in &self.refs {
            let below = below.flat(out);
            out[index].1.push(below);
        }
        index
    }

    /// The bag in the generic form. `flags`: 0x80 index, 0x40 checksum, 0x20 cache bits.
    pub(crate) fn bag(&self, flags: u8) -> Vec<u8> {
        let mut cells = Vec::new();
        self.flat(&mut cells);
        let (mut data, mut index) = (Vec::new(), Vec::new());
        for (cell, refs) in &cells {
            data.extend(cell.descriptors());
            data.extend(cell.data());
            refs.iter().for_each(|number| data.extend((*number as u16).to_be_bytes()));
            index.push(data.len() << u32::from(flags & 0x20 != 0));
        }
        let mut out = vec![0xb5, 0xee, 0x9c, 0x72, flags | 2, 3];
        out.extend((cells.len() as u16).to_be_bytes());
        out.extend([0, 1, 0, 0]);
        out.extend(&(data.len() as u32).to_be_bytes()[1..]);
        out.extend([0, 0]);
        if flags & 0x80 != 0 {
            index.iter().for_each(|end| out.extend(&(*end as u32).to_be_bytes()[1..]));
        }
        out.extend(data);
        if flags & 0x40 != 0 {
            out.extend(crate::boc::crc32c(&out).to_le_bytes());
        }
        out
    }

    pub(crate) fn base64(&self) -> String {
        base64::encode(&self.bag(0x40))
    }
}

/// A text in a chain of cells of up to `chunk` bytes. `first` has the beginning of the first cell.
pub(crate) fn snake(first: Cell, text: &[u8], chunk: usize) -> Cell {
    let (here, rest) = text.split_at(text.len().min(chunk));
    let cell = first.bytes(here);
    if rest.is_empty() { cell } else { cell.reference(snake(Cell::default(), rest, chunk)) }
}

pub(crate) fn comment(text: &str) -> Cell {
    snake(Cell::default().uint(0, 32), text.as_bytes(), 100)
}

pub(crate) fn operation(op: u32) -> Cell {
    Cell::default().uint(u128::from(op), 32).uint(7, 64)
}

/// An `internal_transfer` with a payload in place or, if `by_ref`, in a cell of its own.
pub(crate) fn internal_transfer(amount: u128, from: Option<&Account>, payload: &Cell, by_ref: bool) -> Cell {
    let body = operation(crate::body::INTERNAL_TRANSFER).coins(amount).address(from).address(from).coins(1);
    if by_ref { body.uint(1, 1).reference(payload.clone()) } else { body.uint(0, 1).slice(payload) }
}
