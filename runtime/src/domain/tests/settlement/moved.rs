//! What a reorg makes of what was decided.

use std::collections::BTreeMap;

use super::{Confirmed, Included, World};
use crate::domain::{
    invoice::{Matching, Status as InvoiceStatus},
    matching::Reason,
    payment,
    policy::{Late, Policy},
    settlement::Listed,
};

/// Simulates a reorg: the first transfer's block now has this time.
fn moved_to(world: &mut World, block_time: i64) {
    world.known.transfers.get_mut(&"0".into()).unwrap().block_time = block_time;
}

#[test]
fn another_blocks_time_is_another_decision() {
    let in_review = Policy { late: Late::Review, ..Policy::default() };
    // First seen after everything had ended, after the deadline, or before anybody had the amount.
    for first in [Reason::TooLate, Reason::Late, Reason::NoMatch] {
        for sighting in [Included, Confirmed] {
            let mut world = World::new(Matching::Amount, 5, &[5]);
            world.known.invoices.get_mut(&"inv".into()).unwrap().policy = in_review;
            let named = world.known.named.clone();
            moved_to(&mut world, 2_500_000);
            match first {
                Reason::TooLate => {
                    world.known.named.clear();
                    world.known.former.insert("0".into(), "inv".into());
                }
                Reason::NoMatch => world.known.named.clear(),
                _ => {}
            }
            world.batch(&[(sighting, 0, 1)]);
            assert_eq!(world.reasons[&"0".into()], first);
            let events = world.events.len();
            world.batch(&[(sighting, 0, 1)]);
            assert_eq!(world.events.len(), events, "the same again is nothing new");

            (world.known.named, world.known.former) = (named, BTreeMap::new());
            moved_to(&mut world, 1_500_000);
            world.batch(&[(sighting, 0, 1), (Confirmed, 0, 1)]);
            assert_eq!(world.status(), InvoiceStatus::Paid);
            assert!(world.reasons.is_empty() && world.known.listed.is_empty());
            assert_eq!(world.journals.len(), 1);
        }
    }
}

#[test]
fn an_invoice_that_was_made_later_is_no_news_of_a_listed_transfer() {
    let mut world = World::new(Matching::Amount, 5, &[5]);
    let named = std::mem::take(&mut world.known.named);
    world.batch(&[(Included, 0, 1)]);
    world.known.named = named;
    world.known.invoices.get_mut(&"inv".into()).unwrap().sighted = 101;
    world.batch(&[(Confirmed, 0, 1)]);
    assert_eq!((world.reasons[&"0".into()], world.events.len()), (Reason::NoMatch, 1));
}

#[test]
fn what_a_person_decided_a_reorg_leaves_alone() {
    let mut world = World::new(Matching::Amount, 5, &[5]);
    world.known.listed.insert("0".into(), Listed::Closed);
    world.batch(&[(Included, 0, 1), (Confirmed, 0, 1)]);
    assert_eq!(world.status(), InvoiceStatus::New);
    assert!(world.journals.is_empty() && world.events.is_empty());
}

#[test]
fn a_payment_that_a_reorg_moves_stays_and_is_late_or_not_by_its_new_time() {
    let mut world = World::new(Matching::Amount, 5, &[5]);
    let exception = |world: &World| world.known.payments[&("0".into(), 0)].exception;
    world.batch(&[(Included, 0, 1), (Confirmed, 0, 1)]);
    for (time, expected) in [(2_500_000, payment::Exception::Late), (2_000_000, payment::Exception::None)] {
        moved_to(&mut world, time);
        world.batch(&[(Confirmed, 0, 1)]);
        assert_eq!((exception(&world), world.status()), (expected, InvoiceStatus::Paid));
    }
    assert_eq!(world.journals.len(), 1);
}
