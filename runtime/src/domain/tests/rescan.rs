//! The past read again: what it adds, which blocks are believed, and where a time lies.

use std::collections::BTreeMap;

use super::{network, transfer};
use crate::domain::{
    id::Ids,
    money::Amount,
    observation::{Block, Owner, Plan, Position, Scan, ScanFacts, Seen},
    rescan::{BLOCKS_MAX, Ground, Next, Search, check, plan},
    transfer::{Sighting, Status, Transfer},
};

fn scan(heights: std::ops::RangeInclusive<i64>, transfers: Vec<Seen>) -> Scan {
    let block = |height: i64| Block {
        height,
        hash: height.to_string(),
        parent: (height - 1).to_string(),
        time: 1_000 * height,
    };
    Scan {
        blocks: heights.map(block).collect(),
        transfers,
        head: Position { height: 999, hash: "999".to_owned() },
        safe: None,
        r#final: 990,
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

fn taken(scan: &Scan, before: Vec<Transfer>) -> Plan {
    let network = network(1);
    let owner = Owner { address_id: "adr".into(), merchant_id: "mer".into() };
    let known = ScanFacts {
        network: &network,
        base: 0,
        above: Vec::new(),
        same_tx: before,
        owners: BTreeMap::from([("0xa".to_owned(), owner)]),
        first_seq: 7,
        ids: &Ids::seeded(1),
        now: 3_000_000,
    };
    plan(scan, known)
}

fn ground() -> Ground {
    let kept = (100..=120).map(|height| (height, height.to_string())).collect();
    Ground { height: 120, r#final: 100, kept }
}

#[test]
fn what_nobody_knew_is_added_with_its_own_block_and_time() {
    let strange = Seen { recipient: "0xb".to_owned(), ..seen("s", 50) };
    let plan = taken(&scan(50..=52, vec![seen("a", 51), strange]), vec![]);
    let [transfer] = plan.insert.as_slice() else { panic!("{plan:?}") };
    assert_eq!((transfer.tx.as_str(), transfer.height, transfer.block_hash.as_str()), ("tx-a", 51, "51"));
    assert_eq!((transfer.block_time, transfer.seq, transfer.epoch), (51_000, 7, 1));
    assert_eq!(plan.log, [(Sighting::Included, transfer.clone())]);
    assert!(plan.update.is_empty());
}

#[test]
fn what_is_known_stays_wherever_it_is() {
    for status in [Status::Included, Status::Confirmed, Status::Final] {
        for height in [51, 77] {
            let known = Transfer { status, height, ..transfer("a", 5) };
            let plan = taken(&scan(50..=52, vec![seen("a", 51)]), vec![known]);
            assert!(plan.insert.is_empty() && plan.update.is_empty() && plan.log.is_empty(), "{plan:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_not_taken_back() {
    let known = Transfer { height: 51, block_hash: "another".to_owned(), ..transfer("a", 5) };
    let plan = taken(&scan(50..=52, vec![]), vec![known]);
    assert!(plan.insert.is_empty() && plan.update.is_empty() && plan.log.is_empty(), "{plan:?}");
}

#[test]
fn what_was_taken_back_and_is_there_all_the_same_begins_anew() {
    let known = Transfer { status: Status::Retracted, epoch: 3, height: 60, ..transfer("a", 5) };
    let plan = taken(&scan(50..=52, vec![seen("a", 51)]), vec![known]);
    let [transfer] = plan.update.as_slice() else { panic!("{plan:?}") };
    assert_eq!((transfer.status, transfer.epoch, transfer.height), (Status::Included, 4, 51));
    assert_eq!(plan.log, [(Sighting::Included, transfer.clone())]);
    assert!(plan.insert.is_empty());
}

#[test]
fn final_blocks_are_taken_as_told_and_others_only_if_they_are_the_very_ones() {
    check(&scan(50..=99, vec![]), &ground()).unwrap();
    check(&scan(95..=120, vec![]), &ground()).unwrap();
    let other = |height: i64| {
        let mut scan = scan(90..=120, vec![]);
        scan.blocks.iter_mut().find(|block| block.height == height).unwrap().hash = "other".to_owned();
        check(&scan, &ground())
    };
    other(99).unwrap();
    for height in [100, 101, 120] {
        assert!(
            other(height).unwrap_err().to_string().starts_with(&format!("block {height} is other")),
            "{height}"
        );
    }
    assert!(check(&scan(119..=121, vec![]), &ground()).unwrap_err().to_string().contains("121 was not read"));
    let mut hole = ground();
    hole.kept.remove(&110);
    assert!(check(&scan(105..=115, vec![]), &hole).unwrap_err().to_string().contains("110 is not kept"));
}

/// The result of a search, and the blocks whose times were asked for.
fn search(since: i64, top: i64, time: impl Fn(i64) -> i64) -> (Next, Vec<i64>) {
    let mut search = Search::new(since, (top, time(top)));
    let mut asked = Vec::new();
    loop {
        match search.next() {
            Next::Probe(height) => {
                assert!((1..top).contains(&height), "{height}");
                asked.push(height);
                search.tell(height, time(height));
            }
            end => return (end, asked),
        }
        assert!(asked.len() <= 100);
    }
}

#[test]
fn the_first_block_of_a_time_is_found_with_few_questions() {
    // Even times, two blocks to a second, a pause of a day, standing still, and odd steps.
    type Pace = fn(i64) -> i64;
    let paces: [(&str, Pace); 5] = [
        ("even", |h| 1_000_000 + h * 12_000),
        ("fast", |h| 1_000_000 + h / 2 * 1_000),
        ("pause", |h| 1_000_000 + h * 2_000 + if h > 700_000 { 86_400_000 } else { 0 }),
        ("still", |h| 1_000_000 + h / 5_000 * 10_000_000),
        ("odd", |h| 1_000_000 + h * 3_000 + (h * 7_919) % 2_999),
    ];
    for (pace, time) in paces {
        let top = 1_000_000;
        for wanted in [1, 2, 700_000, 700_001, 999_000, 999_998, 999_999, top] {
            for since in [time(wanted) - 1, time(wanted)] {
                let (found, asked) = search(since, top, time);
                let Next::Found(height) = found else { panic!("{pace} {wanted}: {found:?}") };
                assert!(time(height) >= since, "{pace} {wanted}");
                assert!(height == 1 || time(height - 1) < since, "{pace} {wanted}: {height}");
                assert!(asked.len() <= 45, "{pace} {wanted}: {} questions", asked.len());
                // The search stays near the wanted block, since providers may not keep older ones.
                let depth = top - asked.iter().min().copied().unwrap_or(top);
                assert!(
                    depth <= 2 * (top - height).max(1_000) || pace == "still" || pace == "pause",
                    "{pace} {wanted}"
                );
            }
        }
    }
}

#[test]
fn a_time_before_everything_is_the_first_block() {
    let (found, _) = search(5, 900, |h| 1_000 + h);
    assert_eq!(found, Next::Found(1));
    assert_eq!(search(1_000, 1, |_| 1_000).0, Next::Found(1));
}

#[test]
fn too_far_back_is_told_and_nonsense_ends() {
    let (end, asked) = search(0, 900_000_000, |h| 1_000_000 + h);
    assert!(matches!(&end, Next::GiveUp(why) if why.contains(&BLOCKS_MAX.to_string())), "{end:?}");
    assert!(asked.len() < 20);
    // With times that go up and down, the search still ends.
    let (_, asked) = search(5_000, 1_000_000, |h| (h * 7_919) % 10_007 + i64::from(h == 1_000_000) * 5_000);
    assert!(asked.len() <= 100);
    let (_, asked) = search(i64::MAX, 1_000_000, |h| if h == 1_000_000 { i64::MAX } else { h });
    assert!(asked.len() <= 100);
}
