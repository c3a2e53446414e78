//! Reading the bits and references of a cell, one after the other.

use crate::address::{Account, Hash};
use crate::boc::Boc;

/// The rest of a cell.
#[derive(Clone, Copy)]
pub(crate) struct Slice<'a> {
    boc: &'a Boc<'a>,
    data: &'a [u8],
    bit: usize,
    end: usize,
    refs: &'a [usize],
}

impl<'a> Slice<'a> {
    pub(crate) fn root(boc: &'a Boc<'a>) -> Option<Self> {
        Self::of(boc, boc.root())
    }

    /// Begins at a cell of the bag. `None` if it is exotic: such a cell stands for something else.
    fn of(boc: &'a Boc<'a>, index: usize) -> Option<Self> {
        let cell = boc.cell(index).filter(|cell| !cell.is_exotic)?;
        Some(Self { boc, data: cell.data(), bit: 0, end: cell.bits, refs: cell.refs() })
    }

    pub(crate) fn bits_left(&self) -> usize {
        self.end.saturating_sub(self.bit)
    }

    pub(crate) fn refs_left(&self) -> usize {
        self.refs.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits_left() == 0 && self.refs.is_empty()
    }

    pub(crate) fn refs(&self) -> &'a [usize] {
        self.refs
    }

    pub(crate) fn next_ref(&mut self) -> Option<Self> {
        let index = self.next_index()?;
        Self::of(self.boc, index)
    }

    /// Reads the index of the next cell, which may be exotic.
    pub(crate) fn next_index(&mut self) -> Option<usize> {
        let (first, rest) = self.refs.split_first()?;
        self.refs = rest;
        Some(*first)
    }

    pub(crate) fn skip(&mut self, bits: usize) -> Option<()> {
        self.bit = self.bit.checked_add(bits).filter(|bit| *bit <= self.end)?;
        Some(())
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        self.uint(1).map(|bit| bit == 1)
    }

    /// Reads eight bits, which need not be aligned.
    fn byte(&mut self) -> Option<u8> {
        let (offset, shift) = (self.bit / 8, self.bit % 8);
        self.skip(8)?;
        let high = u16::from(*self.data.get(offset)?);
        // Zero at the very end, where the byte is aligned and nothing of the next one is taken.
        let low = u16::from(self.data.get(offset.saturating_add(1)).copied().unwrap_or(0));
        let [_, byte] = (((high << 8) | low) >> (8 - shift)).to_be_bytes();
        Some(byte)
    }

    /// Reads a number of at most 128 bits, the highest first.
    pub(crate) fn uint(&mut self, bits: usize) -> Option<u128> {
        if bits > 128 || bits > self.bits_left() {
            return None;
        }
        let mut number = 0;
        for _ in 0..bits / 8 {
            number = (number << 8) | u128::from(self.byte()?);
        }
        for _ in 0..bits % 8 {
            let byte = self.data.get(self.bit / 8)?;
            let bit = (byte >> (7 - self.bit % 8)) & 1;
            number = (number << 1) | u128::from(bit);
            self.skip(1)?;
        }
        Some(number)
    }

    pub(crate) fn op(&mut self) -> Option<u32> {
        self.uint(32).and_then(|op| u32::try_from(op).ok())
    }

    /// Appends the whole bytes that are left. `None` if bits would be left over.
    pub(crate) fn bytes_into(&mut self, out: &mut Vec<u8>) -> Option<()> {
        if !self.bits_left().is_multiple_of(8) {
            return None;
        }
        out.reserve(self.bits_left() / 8);
        while self.bits_left() > 0 {
            out.push(self.byte()?);
        }
        Some(())
    }

    /// The bits that are left, as in a cell of their own: if they are not whole bytes, the last one is padded with a
    /// one and zeros.
    pub(crate) fn padded(mut self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.bits_left().div_ceil(8));
        while self.bits_left() >= 8 {
            out.push(self.byte()?);
        }
        let left = self.bits_left();
        if left > 0 {
            let last = u8::try_from(self.uint(left)?).ok()?;
            out.push(((last << 1) | 1) << (7 - left));
        }
        Some(out)
    }

    pub(crate) fn hash(&mut self) -> Option<Hash> {
        let mut hash = [0; 32];
        for byte in &mut hash {
            *byte = self.byte()?;
        }
        Some(hash)
    }

    /// Reads a `VarUInteger 16`: four bits give the number of bytes that follow.
    pub(crate) fn coins(&mut self) -> Option<u128> {
        let bytes = usize::try_from(self.uint(4)?).ok()?;
        self.uint(bytes.checked_mul(8)?)
    }

    /// Reads a `MsgAddress`. The inner `Option` is `None` if it is no account of a known workchain.
    pub(crate) fn address(&mut self) -> Option<Option<Account>> {
        match self.uint(2)? {
            0 => Some(None),
            // External: nine bits give its length.
            1 => {
                let bits = usize::try_from(self.uint(9)?).ok()?;
                self.skip(bits)?;
                Some(None)
            }
            2 => {
                let is_rewritten = self.anycast()?;
                let [workchain] = [self.byte()?].map(|byte| i8::from_be_bytes([byte]));
                let hash = self.hash()?;
                Some(Account::new(workchain, hash).filter(|_| !is_rewritten))
            }
            // With a length of its own.
            _ => {
                self.anycast()?;
                let bits = usize::try_from(self.uint(9)?).ok()?;
                self.skip(32usize.saturating_add(bits))?;
                Some(None)
            }
        }
    }

    /// Skips the part of an address that is rewritten. Returns true if there is one.
    fn anycast(&mut self) -> Option<bool> {
        let is_there = self.bit()?;
        if is_there {
            let depth = usize::try_from(self.uint(5)?).ok()?;
            self.skip(depth)?;
        }
        Some(is_there)
    }
}
