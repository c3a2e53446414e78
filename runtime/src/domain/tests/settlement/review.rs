//! An invoice waits for a person as long as one late transfer does.

use super::{Confirmed, Included, Retracted, World};
use crate::domain::{
    event::Kind,
    id::{Ids, TransferId},
    invoice::{Matching, Status as InvoiceStatus},
    matching::Reason,
    policy::{Late, Policy},
    settlement::{Book, Listed, SettlementFacts},
    transfer::Status,
};

/// A world with `count` late transfers for an invoice that has expired.
fn late(count: usize) -> World {
    let mut world = World::new(Matching::Address, 5, &vec![5; count]);
    let invoice = world.known.invoices.get_mut(&"inv".into()).unwrap();
    invoice.policy = Policy { late: Late::Review, ..Policy::default() };
    invoice.expired_at = Some(1);
    invoice.status = InvoiceStatus::Expired;
    for transfer in world.known.transfers.values_mut() {
        transfer.block_time = 2_500_000;
    }
    world
}

/// Decides about one transfer as a person does; it is no longer listed as open.
fn decide(world: &mut World, transfer_id: &TransferId, decision: impl FnOnce(&mut Book)) {
    world.known.listed.insert(transfer_id.clone(), Listed::Closed);
    with_book(world, decision);
}

fn with_book(world: &mut World, work: impl FnOnce(&mut Book)) {
    world.look_for_reviews();
    let known: SettlementFacts = world.known.clone();
    let mut book = Book::open(known, &Ids::seeded(1), 8);
    work(&mut book);
    world.keep(book.close());
}

fn told_of_invoice(world: &World) -> Vec<Kind> {
    world.events.iter().map(|(kind, _)| *kind).filter(|kind| *kind != Kind::TransferUnmatched).collect()
}

#[test]
fn it_waits_until_nobody_does() {
    let mut world = late(3);
    world.batch(&[(Included, 0, 1), (Included, 1, 1)]);
    world.batch(&[(Included, 2, 1)]);
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    assert_eq!(told_of_invoice(&world), [Kind::InvoiceManualReview]);
    decide(&mut world, &"0".into(), |book| book.reviewed(&"0".into(), &"inv".into()));
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    // One is assigned elsewhere.
    let other = crate::domain::invoice::Invoice { ..super::invoice("other", 5) };
    world.known.invoices.insert("other".into(), other);
    decide(&mut world, &"1".into(), |book| {
        book.assign(&"1".into(), &"other".into(), true);
        book.reviewed(&"1".into(), &"inv".into());
    });
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    // Back again, and the last is dismissed meanwhile.
    let listed = Listed::Open { reason: Reason::Late, invoice_id: Some("inv".into()) };
    world.known.listed.insert("0".into(), listed);
    with_book(&mut world, |book| book.listed_again(&"0".into(), Reason::Late, Some(&"inv".into())));
    decide(&mut world, &"2".into(), |book| book.reviewed(&"2".into(), &"inv".into()));
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    assert_eq!(told_of_invoice(&world).iter().filter(|kind| **kind == Kind::InvoiceExpired).count(), 0);
    decide(&mut world, &"0".into(), |book| book.reviewed(&"0".into(), &"inv".into()));
    assert_eq!(world.status(), InvoiceStatus::Expired);
    assert_eq!(told_of_invoice(&world).last(), Some(&Kind::InvoiceExpired));
}

#[test]
fn a_part_of_what_is_due_is_assigned_and_the_other_still_waits() {
    let mut world = late(2);
    for transfer in world.known.transfers.values_mut() {
        transfer.amount = Some(crate::domain::money::Amount(2));
    }
    world.batch(&[(Confirmed, 0, 1), (Confirmed, 1, 1)]);
    decide(&mut world, &"0".into(), |book| drop(book.assign(&"0".into(), &"inv".into(), true)));
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    decide(&mut world, &"1".into(), |book| book.reviewed(&"1".into(), &"inv".into()));
    assert_eq!(world.status(), InvoiceStatus::Underpaid);
}

#[test]
fn a_reorg_takes_away_whom_it_waited_for() {
    let mut world = late(2);
    world.batch(&[(Included, 0, 1), (Included, 1, 1)]);
    let stands = |world: &mut World, id: &str, status| {
        world.known.transfers.get_mut(&id.into()).unwrap().status = status;
    };
    stands(&mut world, "0", Status::Retracted);
    world.batch(&[(Retracted, 0, 1)]);
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    // Nobody waits for a transfer that is not on chain, even when it is listed again.
    with_book(&mut world, |book| book.listed_again(&"0".into(), Reason::Late, Some(&"inv".into())));
    stands(&mut world, "1", Status::Retracted);
    world.batch(&[(Retracted, 1, 1)]);
    assert_eq!(world.status(), InvoiceStatus::Expired);
    stands(&mut world, "1", Status::Included);
    world.batch(&[(Included, 1, 2)]);
    assert_eq!(world.status(), InvoiceStatus::ManualReview);
    let told = told_of_invoice(&world);
    assert_eq!(told, [Kind::InvoiceManualReview, Kind::InvoiceExpired, Kind::InvoiceManualReview]);
    // Retracted and back within one batch: the facts are those at its end.
    world.batch(&[(Retracted, 1, 2), (Included, 1, 3)]);
    assert_eq!(told_of_invoice(&world), told);
}
