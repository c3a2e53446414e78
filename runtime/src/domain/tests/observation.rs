//! Scans that follow, contradict themselves, or tell of a reorg.

use std::collections::BTreeMap;

use super::{network, transfer};
use crate::domain::{
    id::Ids,
    money::Amount,
    observation::{Block, Course, Owner, Plan, Position, Scan, ScanFacts, Seen, check, course, depth, plan},
    transfer::{Sighting, Status, Transfer},
};

/// Blocks `from..=to` of a branch; the one below the first is of the common trunk.
fn blocks(from: i64, to: i64, branch: &str) -> Vec<Block> {
    (from..=to)
        .map(|height| Block {
            height,
            hash: format!("{height}{branch}"),
            parent: if height == from { (height - 1).to_string() } else { format!("{}{branch}", height - 1) },
            time: 1_500_000 + height,
        })
        .collect()
}

fn scan(from: i64, to: i64, branch: &str, transfers: Vec<Seen>) -> Scan {
    Scan {
        blocks: blocks(from, to, branch),
        transfers,
        head: Position { height: to, hash: format!("{to}{branch}") },
        safe: None,
        r#final: 90,
    }
}

fn seen(id: &str, height: i64) -> Seen {
    Seen {
        tx: format!("tx-{id}"),
        ordinal: 1,
        asset: 0,
        sender: None,
        recipient: "0xa".to_owned(),
        amount: Some(Amount(5)),
        memo: None,
        memo_problem: None,
        height,
    }
}

fn taken(scan: &Scan, base: i64, before: Vec<Transfer>, credit: i64) -> Plan {
    let network = network(credit);
    let owner = Owner { address_id: "adr".into(), merchant_id: "mer".into() };
    let (above, same_tx) = before.into_iter().partition(|t| t.height > base && t.status != Status::Retracted);
    let known = ScanFacts {
        network: &network,
        base,
        above,
        same_tx,
        owners: BTreeMap::from([("0xa".to_owned(), owner)]),
        first_seq: 1,
        ids: &Ids::seeded(1),
        now: 1,
    };
    let height = scan.blocks.last().map_or(base, |block| block.height);
    plan(scan, known, depth(height, scan, 0))
}

fn log(plan: &Plan) -> Vec<(Sighting, &str, i64)> {
    plan.log.iter().map(|(kind, t)| (*kind, t.id.as_str(), t.epoch)).collect()
}

fn at(id: &str, height: i64, branch: &str, status: Status) -> Transfer {
    Transfer { height, block_hash: format!("{height}{branch}"), status, ..transfer(id, 5) }
}

#[test]
fn a_new_transfer_is_inserted_once() {
    let scan = scan(101, 105, "", vec![seen("a", 103)]);
    let first = taken(&scan, 100, vec![], 3);
    assert_eq!((first.insert.len(), first.update.len(), first.log.len()), (1, 0, 1));
    let again = taken(&scan, 100, vec![at("a", 103, "", Status::Included)], 3);
    assert_eq!((again.insert.len(), again.update.len(), again.log.len()), (0, 0, 0));
}

#[test]
fn what_the_new_branch_does_not_hold_is_retracted() {
    for status in [Status::Included, Status::Confirmed] {
        let plan = taken(&scan(101, 105, "b", vec![]), 100, vec![at("a", 103, "", status)], 3);
        assert_eq!(log(&plan), [(Sighting::Retracted, "a", 1)]);
        assert_eq!(plan.update[0].status, Status::Retracted);
    }
}

#[test]
fn what_is_in_an_unchanged_block_stands() {
    // The watcher stepped back further than the branches part.
    let plan = taken(&scan(101, 105, "", vec![]), 100, vec![at("a", 103, "", Status::Confirmed)], 3);
    assert!(plan.log.is_empty() && plan.update.is_empty());
}

#[test]
fn a_credited_transfer_that_is_deep_enough_on_the_new_branch_stands() {
    let new = scan(101, 105, "b", vec![seen("a", 103)]);
    let plan = taken(&new, 100, vec![at("a", 102, "", Status::Confirmed)], 3);
    // In a block of another time: settle hears of it, and nothing is taken back.
    assert_eq!(log(&plan), [(Sighting::Confirmed, "a", 1)]);
    assert_eq!((plan.update[0].height, plan.update[0].block_hash.as_str()), (103, "103b"));
    assert_eq!((plan.update[0].status, plan.update[0].epoch), (Status::Confirmed, 1));
}

#[test]
fn settle_hears_of_another_time_in_the_same_epoch() {
    let new = scan(101, 105, "b", vec![seen("a", 103)]);
    let time = new.blocks.iter().find(|block| block.height == 103).unwrap().time;
    for (status, sighting) in
        [(Status::Included, Sighting::Included), (Status::Confirmed, Sighting::Confirmed)]
    {
        let other_time = Transfer { block_time: time + 1, ..at("a", 102, "", status) };
        assert_eq!(log(&taken(&new, 100, vec![other_time], 3)), [(sighting, "a", 1)]);
        let same_time = Transfer { block_time: time, ..at("a", 102, "", status) };
        assert!(taken(&new, 100, vec![same_time], 3).log.is_empty());
    }
}

#[test]
fn a_credited_transfer_that_is_not_deep_enough_begins_anew() {
    let new = scan(101, 105, "b", vec![seen("a", 104)]);
    let plan = taken(&new, 100, vec![at("a", 102, "", Status::Confirmed)], 3);
    assert_eq!(log(&plan), [(Sighting::Retracted, "a", 1), (Sighting::Included, "a", 2)]);
    assert_eq!((plan.update[0].status, plan.update[0].epoch), (Status::Included, 2));
}

#[test]
fn a_retracted_transfer_comes_back_in_a_new_epoch() {
    let plan =
        taken(&scan(101, 105, "", vec![seen("a", 104)]), 100, vec![at("a", 99, "x", Status::Retracted)], 3);
    assert_eq!(log(&plan), [(Sighting::Included, "a", 2)]);
    assert_eq!(plan.insert.len(), 0);
}

#[test]
fn a_report_that_contradicts_itself_is_refused() {
    let from = Position { height: 100, hash: "100".to_owned() };
    let good = || scan(101, 105, "", vec![seen("a", 103)]);
    assert_eq!(check(&good(), Some(&from), 1, 10), Ok(()));
    type Spoil = Box<dyn Fn(&mut Scan)>;
    let cases: Vec<(&str, Spoil)> = vec![
        ("a gap", Box::new(|s| drop(s.blocks.remove(2)))),
        ("a first block too high", Box::new(|s| drop(s.blocks.remove(0)))),
        ("a wrong parent", Box::new(|s| s.blocks[2].parent = "x".to_owned())),
        ("an empty hash", Box::new(|s| s.blocks[2].hash.clear())),
        ("a block above the head", Box::new(|s| s.head.height = 104)),
        ("another head", Box::new(|s| s.head.hash = "x".to_owned())),
        ("final above the head", Box::new(|s| s.r#final = 106)),
        ("safe above the head", Box::new(|s| s.safe = Some(106))),
        ("a transfer in no block", Box::new(|s| s.transfers[0].height = 100)),
        ("an asset that is not listed", Box::new(|s| s.transfers[0].asset = 1)),
        ("a transfer twice", Box::new(|s| s.transfers.push(seen("a", 104)))),
        ("a control character", Box::new(|s| s.transfers[0].tx.push('\n'))),
        ("a name without end", Box::new(|s| s.transfers[0].recipient = "x".repeat(257))),
    ];
    for (what, spoil) in cases {
        let mut scan = good();
        spoil(&mut scan);
        assert!(check(&scan, Some(&from), 1, 10).is_err(), "{what}");
    }
    assert!(check(&good(), Some(&from), 1, 4).is_err(), "more blocks than asked for");
    assert!(check(&good(), None, 1, 10).is_err(), "a first scan with transfers");
}

#[test]
fn how_a_scan_goes_on() {
    let from = Position { height: 100, hash: "100".to_owned() };
    let empty = |height: i64, hash: &str| Scan {
        blocks: vec![],
        transfers: vec![],
        head: Position { height, hash: hash.to_owned() },
        safe: None,
        r#final: 90,
    };
    assert_eq!(course(&scan(101, 102, "", vec![]), &from), Course::Forward);
    assert_eq!(course(&empty(100, "100"), &from), Course::Still);
    assert_eq!(course(&empty(100, "100b"), &from), Course::Reorg);
    assert_eq!(course(&empty(99, "99"), &from), Course::Behind);
    let other = Position { hash: "100b".to_owned(), ..from };
    assert_eq!(course(&scan(101, 102, "", vec![]), &other), Course::Reorg);
    let unknown = Position { hash: String::new(), ..from };
    assert_eq!(course(&scan(101, 102, "", vec![]), &unknown), Course::Forward);
}
