use super::*;
use crate::tests::cells::Cell as Written;

fn exotic(kind: u128, rest: &Written) -> Written {
    let mut cell = Written::default().uint(kind, 8).slice(rest);
    cell.is_exotic = true;
    cell
}

fn has_hashes(cell: &Written) -> bool {
    let bytes = cell.bag(0);
    Hashes::of(&Boc::parse(&bytes).unwrap()).is_some()
}

#[test]
fn exotic_cells_of_no_known_kind() {
    let (hash, two) = (Written::default().bytes(&[5; 34]), Written::default().bytes(&[5; 68]));
    let below = Written::default().uint(7, 8);
    let proven = || Written::default().bytes(&below.hash());
    let depths = [0u128, 1].map(|depth| Written::default().uint(depth, 16));
    let update = |first: &Written, second: &Written| {
        let stored = proven().slice(&proven()).slice(first).slice(second);
        exotic(4, &stored.reference(below.clone()).reference(below.clone()))
    };
    assert!(has_hashes(&exotic(2, &Written::default().bytes(&[5; 32]))));
    assert!(has_hashes(&exotic(3, &proven().slice(&depths[0]).reference(below.clone()))));
    assert!(has_hashes(&update(&depths[0], &depths[0])));
    for wrong in [
        exotic(0, &hash),
        exotic(5, &hash),
        exotic(2, &hash),
        exotic(3, &hash),
        // Proofs of something else.
        exotic(3, &hash.clone().reference(below.clone())),
        exotic(3, &proven().slice(&depths[1]).reference(below.clone())),
        exotic(4, &two.clone().reference(below.clone()).reference(below.clone())),
        update(&depths[0], &depths[1]),
        exotic(3, &two.clone().reference(below.clone())),
        exotic(4, &two.reference(below)),
        exotic(1, &Written::default()),
        exotic(1, &Written::default().uint(0, 8)),
        exotic(1, &Written::default().uint(8, 8).slice(&hash)),
        // Its descriptor says that nothing is cut out.
        exotic(1, &Written::default().uint(1, 8).slice(&hash)),
    ] {
        assert!(!has_hashes(&wrong));
    }
    let mut empty = Written::default();
    empty.is_exotic = true;
    assert!(!has_hashes(&empty));
}
