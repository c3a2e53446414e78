//! Comparison with another reader, the crate `tycho-types`: the same bags are read to the same cells, and nothing is
//! accepted here that it refuses.

use super::*;
use crate::base64;
use crate::tests::cells::Cell as Written;
use crate::tests::ledger::{known, unchecked};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use tycho_types::boc::{Boc as TheirBoc, de::Error, ser::BocHeader};
use tycho_types::cell::{Cell as Theirs, CellBuilder};

/// Masks in which a level is used and one below it is not. `tycho-types` gives a cell above such pruned branches
/// another hash than a node, which hashes the mask as it is up to that level.
const WITH_GAPS: [u8; 4] = [2, 4, 5, 6];

/// True if both readers take a bag. Checks that they then agree on its cells, and on their hashes and depths at each
/// level.
fn both(bytes: &[u8]) -> bool {
    let Ok(boc) = Boc::parse_transaction(bytes) else { return false };
    let Some(hashes) = Hashes::of(&boc) else { return false };
    if hashes.0.iter().any(|levels| WITH_GAPS.contains(&levels.mask)) {
        return false;
    }
    let root = match TheirBoc::decode(bytes) {
        Ok(root) => root,
        // Pruned branches with stored hashes, and cells that no other refers to: this reader skips them.
        Err(Error::UnnormalizedCell | Error::InvalidTotalSize) => return false,
        Err(why) => panic!("{why}: {bytes:02x?}"),
    };
    if let Some(hash) = hashes.get(boc.root()) {
        assert_eq!(hash, root.repr_hash().0);
    }
    let mut is_seen = vec![false; boc.len()];
    let mut open = vec![(boc.root(), root)];
    while let Some((index, theirs)) = open.pop() {
        if std::mem::replace(&mut is_seen[index], true) {
            continue;
        }
        let (ours, levels) = (boc.cell(index).unwrap(), hashes.0[index]);
        assert_eq!((ours.bits, ours.data()), (usize::from(theirs.bit_len()), theirs.data()));
        assert_eq!((ours.is_exotic, levels.mask), (theirs.is_exotic(), theirs.level_mask().to_byte()));
        for (level, (hash, depth)) in (0..).zip(levels.at) {
            assert_eq!((hash, depth), (theirs.hash(level).0, theirs.depth(level)), "level {level}");
        }
        assert_eq!(ours.refs().len(), usize::from(theirs.reference_count()));
        let below = (0..).map_while(|index| theirs.reference_cloned(index));
        open.extend(ours.refs().iter().copied().zip(below));
    }
    true
}

/// A tree to be built. A proof has the hashes of what is below it.
#[derive(Clone, Debug)]
enum Tree {
    /// The bytes, the number of their last bits that are left out, the cells below, and whether the first of those
    /// comes twice.
    Ordinary(Vec<u8>, usize, Vec<Tree>, bool),
    Library([u8; 32]),
    /// The mask of levels, and for each of them the hash and the depth.
    Pruned(u8, [([u8; 32], u16); 3]),
    Proof(Box<Tree>),
    Update(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn build(&self) -> Theirs {
        let mut builder = CellBuilder::new();
        let mut raw = |bytes: &[u8], bits: usize| builder.store_raw(bytes, bits as u16).unwrap();
        let mut below = Vec::new();
        match self {
            Self::Ordinary(bytes, less, trees, is_twice) => {
                raw(bytes, (bytes.len() * 8).saturating_sub(*less));
                below.extend(trees.iter().map(Self::build));
                below.extend(below.first().filter(|_| *is_twice).cloned());
            }
            Self::Library(hash) => raw(&[&[LIBRARY], &hash[..]].concat(), 264),
            Self::Pruned(mask, stored) => {
                let stored = &stored[..mask.count_ones() as usize];
                let mut bytes = vec![PRUNED, *mask];
                stored.iter().for_each(|(hash, _)| bytes.extend(hash));
                stored.iter().for_each(|(_, depth)| bytes.extend(depth.to_be_bytes()));
                raw(&bytes, bytes.len() * 8);
            }
            Self::Proof(tree) => below.push(tree.build()),
            Self::Update(old, new) => below.extend([old.build(), new.build()]),
        }
        if let Self::Proof(_) | Self::Update(..) = self {
            let mut bytes = vec![if below.len() == 1 { MERKLE_PROOF } else { MERKLE_UPDATE }];
            below.iter().for_each(|cell| bytes.extend(cell.hash(0).0));
            below.iter().for_each(|cell| bytes.extend(cell.depth(0).to_be_bytes()));
            raw(&bytes, bytes.len() * 8);
        }
        builder.set_exotic(!matches!(self, Self::Ordinary(..)));
        below.into_iter().for_each(|cell| builder.store_reference(cell).unwrap());
        builder.build().unwrap()
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let data = || (vec(any::<u8>(), 0..=127), 0..8usize);
    let leaf = prop_oneof![
        3 => data().prop_map(|(bytes, less)| Tree::Ordinary(bytes, less, vec![], false)),
        1 => any::<[u8; 32]>().prop_map(Tree::Library),
        // Deep, though not so deep that what is above it could not be on chain.
        2 => (prop_oneof![Just(1), Just(3), Just(7)], any::<[[u8; 32]; 3]>(), [0..900u16, 0..900, 0..900])
            .prop_map(|(mask, hashes, depths)| Tree::Pruned(mask, [0, 1, 2].map(|at| (hashes[at], depths[at])))),
    ];
    leaf.prop_recursive(6, 48, 4, move |tree| {
        let below = vec(tree.clone(), 0..=3);
        let ordinary = (data(), below, any::<bool>());
        prop_oneof![
            4 => ordinary.prop_map(|((bytes, less), below, is_twice)| Tree::Ordinary(bytes, less, below, is_twice)),
            1 => tree.clone().prop_map(|tree| Tree::Proof(Box::new(tree))),
            1 => (tree.clone(), tree).prop_map(|(old, new)| Tree::Update(Box::new(old), Box::new(new))),
        ]
    })
}

fn bag(tree: &Tree, has_crc: bool) -> Vec<u8> {
    let (root, mut bytes) = (tree.build(), Vec::new());
    BocHeader::<std::hash::RandomState>::with_root(root.as_ref()).with_crc(has_crc).encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_tree_that_it_wrote_is_read_as_it_reads_it(tree in tree(), has_crc: bool) {
        prop_assert!(both(&bag(&tree, has_crc)));
    }

    #[test]
    fn a_bag_that_was_tampered_with_is_not_read_otherwise(
        tree in tree(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in option::weighted(0.2, any::<Index>()),
    ) {
        let mut bytes = bag(&tree, false);
        for (offset, byte) in changes {
            let offset = offset.index(bytes.len());
            bytes[offset] = byte;
        }
        let len = cut.map_or(bytes.len(), |cut| cut.index(bytes.len()));
        both(&bytes[..len]);
    }
}

/// Bags that others wrote: transactions of a local chain, and wallets' code and data.
fn recorded() -> Vec<Vec<u8>> {
    let wallets: serde_json::Value = serde_json::from_str(include_str!("ownership.json")).unwrap();
    let states =
        wallets.as_array().unwrap().iter().map(|wallet| wallet["proof"]["state_init"].as_str().unwrap());
    let mut bags: Vec<_> = states.map(|state| base64::decode(state).unwrap()).collect();
    bags.extend(known().iter().map(|(_, _, data)| base64::decode(data).unwrap()));
    bags.extend(known().iter().map(|(_, _, data)| unchecked(data)));
    bags
}

#[test]
fn what_others_wrote_is_read_alike_in_every_form() {
    for bytes in recorded() {
        assert!(both(&bytes));
        let boc = Boc::parse_transaction(&bytes).unwrap();
        let written = Written::of(&boc, boc.root());
        for flags in [0, 0x40, 0x80, 0xa0, 0xc0, 0xe0] {
            assert!(both(&written.bag(flags)), "{flags:x}");
        }
    }
}

#[test]
fn every_byte_that_is_changed_and_every_end_that_is_cut_off() {
    let mut taken = 0;
    for bytes in recorded() {
        for offset in 0..bytes.len() {
            assert!(!both(&bytes[..offset]));
            for change in [1, 2, 8, 0x10, 0x20, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[offset] ^= change;
                taken += usize::from(both(&changed));
            }
        }
    }
    assert!(taken > 10_000, "{taken} of the changes made other trees, and were compared");
}

/// `tycho-types` takes any depth; on chain there is none beyond 1,024, whether the cells are there or cut out.
#[test]
fn what_was_cut_out_counts_for_the_depth() {
    let above = |depth| {
        let pruned = Tree::Pruned(1, [([5; 32], depth); 3]);
        bag(&Tree::Proof(Box::new(Tree::Ordinary(vec![7], 0, vec![pruned], false))), false)
    };
    assert!(both(&above(1_023)));
    for depth in [1_024, 1_025, u16::MAX - 1] {
        let bytes = above(depth);
        assert!(Hashes::of(&Boc::parse(&bytes).unwrap()).is_none(), "{depth}");
        assert!(TheirBoc::decode(&bytes).is_ok(), "{depth}");
    }
}

/// The first bytes of the hash of an ordinary cell above one pruned branch: for the masks with gaps as the crate
/// `ton_core` 0.3.11 computed it, for the others as both crates did.
#[test]
fn levels_with_gaps_are_hashed_as_they_are() {
    for (mask, top) in [
        (1u8, 0x6bd7_f176u32),
        (2, 0x5473_b342),
        (3, 0x0154_7286),
        (4, 0x17ab_6c2d),
        (5, 0x9604_dd7a),
        (6, 0x452f_156c),
        (7, 0x3ce5_721b),
    ] {
        let bytes =
            bag(&Tree::Ordinary(vec![7], 0, vec![Tree::Pruned(mask, [([5; 32], 0); 3])], false), false);
        let boc = Boc::parse(&bytes).unwrap();
        let levels = Hashes::of(&boc).unwrap().0[boc.root()];
        assert!(levels.at[LEVELS - 1].0.starts_with(&top.to_be_bytes()), "{mask}");
        assert_eq!(both(&bytes), !WITH_GAPS.contains(&mask));
    }
}
