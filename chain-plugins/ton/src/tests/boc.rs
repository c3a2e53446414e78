use super::*;
use crate::base64;
use crate::slice::Slice;
use crate::tests::cells::{Cell, comment, snake};

/// The empty cell, as every tool of TON writes it, and its hash.
const EMPTY: (&str, &str) = ("te6cckEBAQEAAgAAAEysuc0=", "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=");

fn tree() -> Cell {
    let shared = comment("below").uint(5, 3);
    let middle = Cell::default().uint(1, 1).reference(shared.clone()).reference(Cell::default());
    Cell::default().bytes(&[7; 127]).uint(3, 7).reference(middle).reference(shared)
}

#[test]
fn the_empty_cell_has_the_hash_that_everyone_knows() {
    let bytes = base64::decode(EMPTY.0).unwrap();
    assert_eq!(base64::encode(&Boc::parse(&bytes).unwrap().hash().unwrap()), EMPTY.1);
    assert_eq!(base64::encode(&Cell::default().hash()), EMPTY.1);
}

#[test]
fn every_form_of_the_format() {
    for flags in [0, 0x40, 0x80, 0xc0, 0xa0, 0xe0] {
        let bytes = tree().bag(flags);
        let boc = Boc::parse(&bytes).unwrap();
        assert_eq!(boc.hash().unwrap(), tree().hash(), "{flags:x}");
        let root = boc.cell(boc.root()).unwrap();
        assert_eq!((root.bits, root.refs().len()), (127 * 8 + 7, 2));
    }
    // The two old forms: always an index, no list of roots.
    for (magic, has_crc) in [(INDEXED, false), (INDEXED_CRC, true)] {
        let mut bytes = magic.to_be_bytes().to_vec();
        bytes.extend([1, 1, 2, 1, 0, 7, 4, 7, 1, 2, 0xaa, 1, 0, 2, 0xbb]);
        if has_crc {
            bytes.extend(crc32c(&bytes).to_le_bytes());
        }
        let boc = Boc::parse(&bytes).unwrap();
        assert_eq!(boc.cell(1).unwrap().data(), [0xbb]);
    }
}

#[test]
fn crc32c_of_the_standard_text() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn stored_hashes_are_read_over() {
    let plain = [0xb5, 0xee, 0x9c, 0x72, 1, 1, 1, 1, 0, 3, 0, 0, 2, 0xaa];
    let mut stored = plain[..10].to_vec();
    stored[9] = 3 + 34;
    stored.extend([0, 0x10, 2]);
    stored.extend([9; 34]);
    stored.push(0xaa);
    let hash = |bytes: &[u8]| Boc::parse(bytes).unwrap().hash().unwrap();
    assert_eq!(hash(&stored), hash(&plain));
}

#[test]
fn exotic_cells_are_kept_but_not_read() {
    let mut library = Cell::default().uint(2, 8).bytes(&[5; 32]);
    library.is_exotic = true;
    let bytes = comment("beside").reference(library.clone()).bag(0);
    let boc = Boc::parse(&bytes).unwrap();
    assert_eq!(boc.hash().unwrap(), comment("beside").reference(library).hash());
    assert!(Slice::root(&boc).unwrap().next_ref().is_none());
    // Others have hashes for several levels.
    let mut pruned = Cell::default().uint(1, 8).uint(1, 8).bytes(&[5; 34]);
    pruned.is_exotic = true;
    assert_eq!(Boc::parse(&comment("beside").reference(pruned).bag(0)).unwrap().hash(), None);
}

#[test]
fn what_is_no_bag() {
    let good = [0xb5, 0xee, 0x9c, 0x72, 1, 1, 2, 1, 0, 6, 0, 1, 2, 0x80, 1, 0, 0];
    assert!(Boc::parse(&good).is_ok());
    let with = |offset: usize, value: u8| {
        let mut bad = good.to_vec();
        bad[offset] = value;
        bad
    };
    for (bad, why) in [
        (vec![], "cut off"),
        (good[..16].to_vec(), "not as long as it says"),
        ([&good[..], &[0]].concat(), "not as long as it says"),
        (with(0, 0), "no bag of cells"),
        (with(4, 0x11), "no bag of cells"),
        (with(4, 0), "sizes out of range"),
        (with(4, 5), "sizes out of range"),
        (with(4, 0x21), "sizes out of range"),
        (with(5, 0), "sizes out of range"),
        (with(5, 9), "sizes out of range"),
        (with(4, 0x41), "wrong checksum"),
        (with(6, 1), "a reference that does not point forward"),
        (with(6, 3), "cut off"),
        (with(7, 0), "not exactly one root"),
        (with(7, 2), "not exactly one root"),
        (with(8, 1), "not exactly one root"),
        (with(10, 2), "not as many cells as it says"),
        (with(11, 5), "more than four references"),
        (with(12, 1), "a last byte without an end"),
        (with(14, 0), "a reference that does not point forward"),
        (with(14, 2), "a reference that does not point forward"),
    ] {
        assert_eq!(Boc::parse(&bad).err(), Some(NotACell(why)), "{bad:?}");
    }
    assert_eq!(Boc::parse(&vec![0; BYTES_MAX + 1]).err(), Some(NotACell("too large")));
    let many = [0xb5, 0xee, 0x9c, 0x72, 4, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0];
    let many = [&many[..], &[0xff; 8]].concat();
    assert!(Boc::parse(&many).is_err());
}

#[test]
fn depth_is_bounded() {
    let chain = |depth: usize| snake(Cell::default(), &vec![1; depth + 1], 1).bag(0);
    assert!(Boc::parse(&chain(1_024)).is_ok());
    assert_eq!(Boc::parse(&chain(1_025)).err(), Some(NotACell("too deep")));
}

/// Any bytes lead to an answer in bounded time, and to no panic.
#[test]
fn any_bytes() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for flags in [0, 0x40, 0x80, 0xa0] {
        let good = tree().bag(flags);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random() % 3 {
                let offset = random() % bytes.len();
                bytes[offset] = random() as u8;
            }
            bytes.truncate(bytes.len() - if random() % 4 == 0 { random() % bytes.len() } else { 0 });
            let Ok(boc) = Boc::parse(&bytes) else { continue };
            let _ = boc.hash();
            let _ = Slice::root(&boc).map(crate::body::Body::read);
            let _ = Slice::root(&boc).and_then(crate::body::InternalTransfer::read);
        }
    }
}
