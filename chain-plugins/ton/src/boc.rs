//! Bags of cells: how TON writes trees of cells (<https://docs.ton.org/foundations/serialization/boc>).
//!
//! The bytes come from strangers: everything is bounded, and references must point forward, as the format
//! demands, so that there are no cycles. Exotic cells are kept as what they are and never read; a payer may
//! put one beside a comment.
//!
//! # Why no crate
//!
//! Bags, slices and hashes (here, `slice`, `hashes`) are our own code: payers and providers choose the cells, and a
//! hash that is wrong, or a call that does not end, keeps a block from being read. This is what crates.io had in
//! November 2026, each built as plugins are, for reading a bag and hashing its root alone:
//!
//! | | wasm | crates |
//! |---|---:|---:|
//! | here | 29 kB | 7 |
//! | `ton_core` 0.3.11 | 107 kB | 67 |
//! | `tycho-types` 0.3.6 | 63 kB | 25 |
//! | `tonlib-core` 0.26.11 | 66 kB | 39 |
//! | `tlb-ton` 0.11.0 | 55 kB | 41 |
//!
//! * `tlb-ton` hashes a shared cell once for each way to it: 24 cells in 208 bytes took 14 s. It takes every pruned
//!   branch for what was cut out, so that it gives another hash than the network for a payer's own one.
//! * `tonlib-core` overflows the stack with a chain of 200,000 cells, 1 MB, and refuses pruned branches of some levels.
//! * `tycho-types` takes any depth, and hashes cells above such branches otherwise than nodes do (see `hashes`). Its
//!   reading is `unsafe` code, and it builds for the sandbox only with a source of randomness.
//! * `ton_core` did well in all of this, and is the one to look at again. It does not read two of the three forms of a
//!   bag, and has four times the size and ten times the crates of what it would replace.
//!
//! Tests compare this with `tycho-types`, which drags in least (`tests/another_reader.rs`).

use crate::hashes::Hashes;

/// Maximum number of cells of a message on chain.
const CELLS_MAX: usize = 8_192;
/// Maximum size of so many cells, bytes, by the same rule (2^21 bits), with their descriptors.
const BYTES_MAX: usize = 512 << 10;
/// Maximum size of a transaction, in messages: the one that came in and those that were sent, which the gas limit keeps
/// well below this.
const TRANSACTION_MAX: usize = 4;
pub(crate) const DEPTH_MAX: u16 = 1_024;
const REFS_MAX: usize = 4;

const GENERIC: u32 = 0xb5ee_9c72;
const INDEXED: u32 = 0x68ff_65f3;
const INDEXED_CRC: u32 = 0xacc3_a728;

/// Reason that bytes are not a bag with one root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotACell(pub(crate) &'static str);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell<'a> {
    /// The two descriptor bytes, which the hash covers together with the data.
    descriptors: [u8; 2],
    data: &'a [u8],
    pub(crate) bits: usize,
    pub(crate) is_exotic: bool,
    refs: [usize; REFS_MAX],
    refs_len: usize,
}

impl<'a> Cell<'a> {
    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    pub(crate) fn refs(&self) -> &[usize] {
        self.refs.get(..self.refs_len).unwrap_or_default()
    }

    pub(crate) fn descriptors(&self) -> [u8; 2] {
        self.descriptors
    }
}

/// A tree of cells. Its data is borrowed from the bytes.
pub(crate) struct Boc<'a> {
    cells: Vec<Cell<'a>>,
    root: usize,
}

impl<'a> Boc<'a> {
    /// Reads a bag that has exactly one root and is no larger than a message.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NotACell> {
        Self::parse_within(bytes, 1)
    }

    /// Reads a bag that has exactly one root and is no larger than a transaction.
    pub(crate) fn parse_transaction(bytes: &'a [u8]) -> Result<Self, NotACell> {
        Self::parse_within(bytes, TRANSACTION_MAX)
    }

    fn parse_within(bytes: &'a [u8], messages: usize) -> Result<Self, NotACell> {
        if bytes.len() > BYTES_MAX.saturating_mul(messages) {
            return Err(NotACell("too large"));
        }
        let mut input = Input(bytes);
        let header = Header::read(&mut input)?;
        if header.cells > CELLS_MAX.saturating_mul(messages) {
            return Err(NotACell("too many cells"));
        }
        if header.has_crc {
            let (body, crc) = bytes.split_last_chunk::<4>().ok_or(NotACell("cut off"))?;
            if crc32c(body) != u32::from_le_bytes(*crc) {
                return Err(NotACell("wrong checksum"));
            }
        }
        let root = if header.has_roots { input.size(header.ref_len)? } else { 0 };
        let mut index = match header.has_index {
            true => Input(input.take(header.cells.saturating_mul(header.offset_len))?),
            false => Input(&[]),
        };
        let all = input.0.len().checked_sub(if header.has_crc { 4 } else { 0 });
        if all != Some(header.data_len) {
            return Err(NotACell("not as long as it says"));
        }
        let mut input = Input(input.take(header.data_len)?);
        let mut cells = Vec::with_capacity(header.cells);
        for number in 0..header.cells {
            cells.push(read_cell(&mut input, number, &header)?);
            if header.has_index {
                let end = index.size(header.offset_len)? >> u32::from(header.has_cache_bits);
                if end != header.data_len.saturating_sub(input.0.len()) {
                    return Err(NotACell("the index does not fit to the cells"));
                }
            }
        }
        if !input.0.is_empty() || root >= cells.len() {
            return Err(NotACell("not as many cells as it says"));
        }
        let boc = Self { cells, root };
        boc.check_depth()?;
        Ok(boc)
    }

    pub(crate) fn root(&self) -> usize {
        self.root
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn cell(&self, index: usize) -> Option<&Cell<'a>> {
        self.cells.get(index)
    }

    /// The depth of each cell's tree. Computed backwards, since references point forward.
    fn depths(&self) -> Vec<u16> {
        let mut depths = vec![0u16; self.cells.len()];
        for (index, cell) in self.cells.iter().enumerate().rev() {
            let below = cell.refs().iter().filter_map(|index| depths.get(*index)).max();
            let depth = below.map_or(0, |below| below.saturating_add(1));
            if let Some(slot) = depths.get_mut(index) {
                *slot = depth;
            }
        }
        depths
    }

    fn check_depth(&self) -> Result<(), NotACell> {
        let is_deep = self.depths().into_iter().any(|depth| depth > DEPTH_MAX);
        if is_deep { Err(NotACell("too deep")) } else { Ok(()) }
    }

    /// The representation hash of the root. `None` if such a tree cannot be on chain.
    pub(crate) fn hash(&self) -> Option<[u8; 32]> {
        Hashes::of(self)?.get(self.root)
    }
}

struct Header {
    has_index: bool,
    has_crc: bool,
    has_cache_bits: bool,
    /// False for the oldest two forms, which have no list of roots: there the first cell is the root.
    has_roots: bool,
    /// Length of a cell's number, bytes.
    ref_len: usize,
    /// Length of an offset, bytes.
    offset_len: usize,
    cells: usize,
    data_len: usize,
}

impl Header {
    fn read(input: &mut Input<'_>) -> Result<Self, NotACell> {
        let magic = input.size(4)?;
        let flags = input.byte()?;
        let offset_len = usize::from(input.byte()?);
        let (has_index, has_crc, has_cache_bits, has_roots, ref_len) = match u32::try_from(magic) {
            Ok(GENERIC) if flags & 0x18 == 0 => {
                (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0, true, flags & 7)
            }
            Ok(INDEXED) => (true, false, false, false, flags),
            Ok(INDEXED_CRC) => (true, true, false, false, flags),
            _ => return Err(NotACell("no bag of cells")),
        };
        let ref_len = usize::from(ref_len);
        if !(1..=4).contains(&ref_len) || !(1..=8).contains(&offset_len) || (has_cache_bits && !has_index) {
            return Err(NotACell("sizes out of range"));
        }
        let (cells, roots, absent) = (input.size(ref_len)?, input.size(ref_len)?, input.size(ref_len)?);
        let data_len = input.size(offset_len)?;
        if roots != 1 || absent != 0 {
            return Err(NotACell("not exactly one root"));
        }
        Ok(Self { has_index, has_crc, has_cache_bits, has_roots, ref_len, offset_len, cells, data_len })
    }
}

fn read_cell<'a>(input: &mut Input<'a>, number: usize, header: &Header) -> Result<Cell<'a>, NotACell> {
    let (first, second) = (input.byte()?, input.byte()?);
    let refs_len = usize::from(first & 7);
    if refs_len > REFS_MAX {
        return Err(NotACell("more than four references"));
    }
    if first & 0x10 != 0 {
        // Stored hashes: one for each level in use and one on top, each with its depth.
        let hashes = usize::try_from((first >> 5).count_ones()).unwrap_or(0).saturating_add(1);
        input.take(hashes.saturating_mul(34))?;
    }
    let data = input.take(usize::from(second.div_ceil(2)))?;
    let bits = if second % 2 == 0 {
        data.len().saturating_mul(8)
    } else {
        // The last byte is padded with a one and zeros.
        let last = data.last().copied().unwrap_or(0);
        if last & 0x7f == 0 {
            return Err(NotACell("a last byte without an end"));
        }
        let unused = usize::try_from(last.trailing_zeros()).unwrap_or(0).saturating_add(1);
        data.len().saturating_mul(8).saturating_sub(unused)
    };
    let mut refs = [0; REFS_MAX];
    for slot in refs.iter_mut().take(refs_len) {
        *slot = input.size(header.ref_len)?;
        if *slot <= number || *slot >= header.cells {
            return Err(NotACell("a reference that does not point forward"));
        }
    }
    let descriptors = [first & !0x10, second];
    Ok(Cell { descriptors, data, bits, is_exotic: first & 8 != 0, refs, refs_len })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], NotACell> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(NotACell("cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, NotACell> {
        self.take(1).map(|taken| taken.first().copied().unwrap_or(0))
    }

    /// Reads a number of `len` bytes. Errors if it is larger than memory could be.
    fn size(&mut self, len: usize) -> Result<usize, NotACell> {
        let number = self
            .take(len)?
            .iter()
            .try_fold(0u64, |number, byte| Some(number.checked_mul(256)?.saturating_add(u64::from(*byte))));
        number.and_then(|number| usize::try_from(number).ok()).ok_or(NotACell("a size out of range"))
    }
}

static CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0u32;
    while index < 256 {
        let mut crc = index;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82f6_3b78 };
            bit += 1;
        }
        table[index as usize] = crc;
        index += 1;
    }
    table
};

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let [.., low] = crc.to_be_bytes();
        CRC32C[usize::from(low ^ byte)] ^ (crc >> 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Writes a bag of one cell of up to 127 bytes without references. `bits` is the number of bits of the data that count.
#[must_use]
pub(crate) fn single(data: &[u8], bits: usize) -> Vec<u8> {
    let mut data = data.to_vec();
    let descriptor = if bits.is_multiple_of(8) { bits / 4 } else { bits / 8 * 2 + 1 };
    if !bits.is_multiple_of(8)
        && let Some(last) = data.last_mut()
    {
        let end = 0x80 >> (bits % 8);
        *last = (*last & !(end - 1)) | end;
    }
    let size = |size: usize| u8::try_from(size).unwrap_or(u8::MAX);
    let mut out = vec![0xb5, 0xee, 0x9c, 0x72, 1, 1, 1, 1, 0, size(data.len() + 2), 0, 0, size(descriptor)];
    out.extend(data);
    out
}

#[cfg(test)]
#[path = "tests/boc.rs"]
mod tests;
