//! Many transactions, many accounts, small budgets.

use super::cells::comment;
use super::index::*;
use kassa_sdk::chain::ScanLimits;

/// Scans until the head is reached. Returns `(height, amount)` of all transfers, and the number of scans.
fn all(index: &Index, limits: &ScanLimits) -> (Vec<(u64, u128)>, usize) {
    let (mut at, mut found, mut scans) = (CURSOR, Vec::new(), 0);
    while at < index.head {
        let result = index.scan_from(at, limits).unwrap();
        assert!(result.blocks.len() <= limits.blocks as usize);
        assert_eq!(result.head.height, index.head);
        let last = result.blocks.last().unwrap().height;
        found.extend(brief(&result).iter().map(|(height, _, amount, _)| (*height, amount.unwrap())));
        assert!(result.transfers.iter().all(|transfer| transfer.height > at && transfer.height <= last));
        at = last;
        scans += 1;
    }
    (found, scans)
}

/// `count` payments in each of the blocks, spread over some owners and both assets.
fn busy(blocks: u64, count: u64) -> Index {
    let mut index = Index::new(5_000 + blocks);
    let owners: Vec<_> = (1..=5).map(account).collect();
    let mut amount = 0;
    for height in 5_001..=5_000 + blocks {
        for number in 0..count {
            amount += 1;
            let owner = owners[(number % 5) as usize];
            let json = match number % 2 {
                0 => paid(owner, amount, &comment("x")),
                _ => credited(USDT, owner, u128::from(amount), "x"),
            };
            index.add(height, json);
        }
    }
    *index.owners.borrow_mut() = owners;
    index
}

fn expected(blocks: u64, count: u64) -> Vec<(u64, u128)> {
    (0..blocks * count).map(|number| (5_001 + number / count, u128::from(number + 1))).collect()
}

#[test]
fn nothing_is_lost_or_doubled_under_any_limits() {
    let expected = expected(20, 21);
    for (blocks, transfers, settings) in [
        (200, 5_000, "{}"),
        (1, 5_000, "{}"),
        (7, 100, "{}"),
        (200, 1, "{}"),
        (200, 0, "{}"),
        (200, 50, r#"{"max_accounts_per_request":1}"#),
        (200, 5_000, r#"{"max_transactions_per_request":200,"max_accounts_per_request":3}"#),
        (200, 5_000, r#"{"max_blocks_per_call":3}"#),
    ] {
        let mut index = busy(20, 21);
        index.settings = settings.into();
        let (found, scans) = all(
            &index,
            &ScanLimits { blocks, transfers, known: None, next_is_head: false, more: Vec::new() },
        );
        assert_eq!(found, expected, "{blocks} {transfers} {settings}");
        assert!(transfers != 1 || scans == 20);
    }
}

/// More than one scan takes: it is content with fewer blocks, but reads a single block to its end.
#[test]
fn thousands_of_transactions() {
    for (blocks, count) in [(9, 700), (2, 5_100)] {
        let index = busy(blocks, count);
        let (found, scans) = all(
            &index,
            &ScanLimits {
                blocks: 200,
                transfers: 50_000,
                known: None,
                next_is_head: false,
                more: Vec::new(),
            },
        );
        assert_eq!(found, expected(blocks, count));
        assert!(scans >= 2, "{scans}");
    }
}

#[test]
fn answers_larger_than_the_budget_are_asked_for_in_parts() {
    let index = busy(20, 21);
    index.budget.set(100_000);
    let (found, _) = all(
        &index,
        &ScanLimits { blocks: 5, transfers: 5_000, known: None, next_is_head: false, more: Vec::new() },
    );
    assert_eq!(found, expected(20, 21));
    index.budget.set(100);
    index.stored.borrow_mut().clear();
    assert!(index.scan().is_err());
}

#[test]
fn a_thousand_watched_owners() {
    let mut index = Index::new(5_001);
    let owner =
        |number: u32| crate::address::Account { workchain: 0, hash: hash_of(&format!("owner {number}")) };
    *index.owners.borrow_mut() = (0..1_100).map(owner).collect();
    for number in (0..1_100).step_by(7) {
        index.add(5_001, paid(owner(number), 1 + u64::from(number), &comment("x")));
    }
    let limits =
        ScanLimits { blocks: 200, transfers: 5_000, known: None, next_is_head: false, more: Vec::new() };
    let mut result = index.scan_from(CURSOR, &limits).unwrap();
    while result.blocks.is_empty() {
        result = index.scan_from(CURSOR, &limits).unwrap();
    }
    assert_eq!(result.transfers.len(), 158);
    assert!(index.stored.borrow().values().all(|value| value.len() < 100_000));
}
