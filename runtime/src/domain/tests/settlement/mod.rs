//! Settlement under any order of changes.

mod moved;
mod review;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{invoice, transfer};
use crate::domain::{
    event::Kind,
    hook::Binding,
    id::{Ids, InvoiceId, TransferId},
    invoice::{Invoice, Matching, Status as InvoiceStatus},
    ledger::JournalKind,
    matching::Reason,
    money::Amount,
    payment,
    settlement::{
        AssetNames, Book, Disallowed, JournalOf, Listed, Listing, Matcher, MatcherAnswer, SettlementFacts,
        Share, Written,
    },
    tenant::{Mode, Tenant},
    transfer::{self, Destination, Sighting},
};

/// The facts that a database would hold between batches.
struct World {
    known: SettlementFacts,
    journals: Vec<(JournalKind, TransferId, i64, u128)>,
    events: Vec<(Kind, i64)>,
    reasons: BTreeMap<TransferId, Reason>,
    /// Transfers that a hook is asked about.
    waiting: Vec<TransferId>,
}

impl World {
    fn new(matching: Matching, due: u128, amounts: &[u128]) -> Self {
        let mut world = Self {
            known: SettlementFacts::of(Mode::Live),
            journals: Vec::new(),
            events: Vec::new(),
            reasons: BTreeMap::new(),
            waiting: Vec::new(),
        };
        let known = &mut world.known;
        known.invoices.insert("inv".into(), Invoice { matching, ..invoice("inv", due) });
        known.destinations.insert(
            "adr".into(),
            Destination { address: "0xa".to_owned(), customer: false, unique_id: None, meta: None },
        );
        known.assets.insert("net:0xc".to_owned(), AssetNames { symbol: "USDC".to_owned(), decimals: 6 });
        for (index, amount) in amounts.iter().enumerate() {
            let id = index.to_string();
            known.transfers.insert(id.clone().as_str().into(), transfer(&id, *amount));
            known.named.insert(id.as_str().into(), vec!["inv".into()]);
        }
        world
    }

    /// Settles one batch; the facts are gathered anew for each, as from a database.
    fn batch(&mut self, changes: &[(Sighting, usize, i64)]) {
        self.look_for_reviews();
        let mut book = Book::open(self.known.clone(), &Ids::seeded(1), 7);
        for (kind, index, epoch) in changes {
            book.apply(*kind, &index.to_string().as_str().into(), *epoch);
        }
        self.keep(book.close());
    }

    /// Gathers the late transfers that wait, as the database would.
    fn look_for_reviews(&mut self) {
        self.known.in_review.clear();
        for (transfer_id, listed) in &self.known.listed {
            let on_chain = self.known.transfers[transfer_id].status != transfer::Status::Retracted;
            if let Some(invoice_id) = listed.late_for().filter(|_| on_chain) {
                let waited_for = self.known.in_review.entry(invoice_id.clone()).or_default();
                waited_for.insert(transfer_id.clone());
            }
        }
    }

    fn keep(&mut self, written: Written) {
        for payment in written.payments {
            self.known.payments.insert(payment.part_of(), payment);
        }
        for invoice in written.invoices {
            self.known.invoices.insert(invoice.id.clone(), invoice);
        }
        for transfer_id in written.unlisted {
            self.known.listed.remove(&transfer_id);
            self.reasons.remove(&transfer_id);
        }
        for Listing { transfer_id, reason, invoice_id, .. } in &written.listings {
            let listed = Listed::Open { reason: *reason, invoice_id: invoice_id.clone() };
            self.known.listed.insert(transfer_id.clone(), listed);
        }
        for listing in written.listings {
            self.reasons.insert(listing.transfer_id, listing.reason);
        }
        self.waiting.extend(written.waiting.into_iter().map(|one| one.transfer_id));
        for entry in written.journals {
            let JournalOf::Payment(p) = entry.of else { panic!("a mark") };
            self.journals.push((entry.kind, p.transfer_id, p.epoch, p.amount.0));
        }
        self.events.extend(
            written.events.iter().map(|event| (event.kind.as_str().parse().unwrap(), event.sequence)),
        );
    }

    fn status(&self) -> InvoiceStatus {
        self.known.invoices[&"inv".into()].status
    }
}

use Sighting::{Confirmed, Included, Retracted};

#[test]
fn a_payment_is_detected_then_paid() {
    let mut world = World::new(Matching::Amount, 5, &[5]);
    world.batch(&[(Included, 0, 1)]);
    assert_eq!(world.status(), InvoiceStatus::Detected);
    world.batch(&[(Confirmed, 0, 1)]);
    assert_eq!(world.status(), InvoiceStatus::Paid);
    assert_eq!(world.events, [(Kind::InvoiceDetected, 1), (Kind::InvoicePaid, 2)]);
    assert_eq!(world.journals, [(JournalKind::Credit, "0".into(), 1, 5)]);
}

#[test]
fn a_reorg_reverses_and_a_reinclusion_credits_again() {
    let mut world = World::new(Matching::Amount, 5, &[5]);
    world.batch(&[(Included, 0, 1), (Confirmed, 0, 1), (Retracted, 0, 1)]);
    assert_eq!(world.status(), InvoiceStatus::New);
    assert_eq!(world.events.last(), Some(&(Kind::InvoiceReverted, 3)));
    world.batch(&[(Included, 0, 2)]);
    world.batch(&[(Confirmed, 0, 2)]);
    assert_eq!(world.status(), InvoiceStatus::Paid);
    let kinds: Vec<_> = world.journals.iter().map(|(kind, _, epoch, _)| (*kind, *epoch)).collect();
    assert_eq!(kinds, [(JournalKind::Credit, 1), (JournalKind::Reversal, 1), (JournalKind::Credit, 2)]);
}

#[test]
fn a_second_equal_payment_on_a_shared_address_is_listed() {
    let mut world = World::new(Matching::Amount, 5, &[5, 5]);
    world.batch(&[(Included, 0, 1), (Included, 1, 1), (Confirmed, 0, 1), (Confirmed, 1, 1)]);
    assert_eq!(world.status(), InvoiceStatus::Paid);
    assert_eq!(world.reasons[&"1".into()], Reason::AlreadyPaid);
    assert_eq!(world.journals.len(), 1);
}

#[test]
fn nothing_and_too_much_are_listed() {
    let mut world = World::new(Matching::Address, 5, &[0, u128::MAX, u128::MAX]);
    world.batch(&[(Included, 0, 1), (Included, 1, 1), (Included, 2, 1)]);
    assert_eq!(world.reasons[&"0".into()], Reason::ZeroValue);
    assert_eq!(world.reasons[&"2".into()], Reason::AmountUnsupported);
    // A zero-value transfer is listed without an event.
    let unmatched = world.events.iter().filter(|(kind, _)| *kind == Kind::TransferUnmatched).count();
    assert_eq!(unmatched, 1);
}

#[test]
fn an_assigned_transfer_pays_by_hand() {
    let mut world = World::new(Matching::Amount, 5, &[5]);
    world.known.named.clear();
    world.batch(&[(Included, 0, 1), (Confirmed, 0, 1)]);
    assert_eq!(world.reasons[&"0".into()], Reason::NoMatch);
    let mut book = Book::open(world.known.clone(), &Ids::seeded(1), 8);
    book.assign(&"0".into(), &"inv".into(), true);
    world.keep(book.close());
    assert_eq!(world.status(), InvoiceStatus::Paid);
    assert_eq!(world.known.payments[&("0".into(), 0)].exception, payment::Exception::Manual);
    // The same log entry, read again, changes nothing.
    world.batch(&[(Confirmed, 0, 1)]);
    assert_eq!(world.journals.len(), 1);
}

#[test]
fn a_rise_is_never_matched_whoever_it_is_for() {
    let rise = |world: &mut World| {
        let rise = world.known.transfers.get_mut(&"0".into()).unwrap();
        rise.kind = transfer::Kind::Rise;
        world.batch(&[(Confirmed, 0, 1)]);
        assert_eq!(world.reasons.get(&"0".into()), Some(&Reason::UnexplainedRise));
        assert!(world.journals.is_empty() && world.waiting.is_empty());
        assert_eq!(world.status(), InvoiceStatus::New);
        assert_eq!(world.events, [(Kind::TransferUnmatched, 0)]);
    };
    for matching in [Matching::Amount, Matching::Address] {
        rise(&mut World::new(matching, 100, &[100]));
    }
    rise(&mut asking(true));
    let mut deposit = World::new(Matching::Amount, 100, &[100]);
    deposit.known.named.clear();
    deposit.known.destinations.get_mut(&"adr".into()).unwrap().customer = true;
    rise(&mut deposit);
}

/// A world in which a hook is asked about transfers that the built-in matching cannot decide.
fn asking(match_first: bool) -> World {
    let mut world = World::new(Matching::Amount, 5, &[9]);
    world.known.named.clear();
    for (id, due) in [("b", 3), ("c", 4)] {
        world.known.invoices.insert(id.into(), Invoice { matching: Matching::Amount, ..invoice(id, due) });
    }
    let binding = Binding { match_first, ..Binding::default() };
    world.known.matchers = vec![Matcher { id: "hook".into(), merchant_id: "mer".into(), binding }];
    world
}

/// Takes the hook's answer.
fn answer(world: &mut World, answer: &MatcherAnswer, confirmed: bool) -> Result<(), Disallowed> {
    let matchers = std::mem::take(&mut world.known.matchers);
    world.known.listed.clear();
    let mut book = Book::open(world.known.clone(), &Ids::seeded(1), 8);
    let answered = book.answered(&"0".into(), answer, confirmed);
    world.keep(book.close());
    world.known.matchers = matchers;
    answered
}

fn share(invoice_id: &InvoiceId, amount: u128) -> Share {
    Share { invoice_id: invoice_id.clone(), amount: Amount(amount) }
}

#[test]
fn what_waits_for_a_hook_is_listed_in_silence_until_it_has_answered() {
    let mut world = asking(false);
    world.batch(&[(Included, 0, 1), (Confirmed, 0, 1)]);
    assert_eq!(world.reasons[&"0".into()], Reason::Matching);
    assert_eq!(world.waiting, ["0"]);
    assert!(world.events.is_empty() && world.journals.is_empty());
    // No later entry of its log asks a second time.
    world.batch(&[(Confirmed, 0, 1)]);
    assert_eq!(world.waiting.len(), 1);
    answer(&mut world, &MatcherAnswer::Pass, true).unwrap();
    assert_eq!(world.reasons[&"0".into()], Reason::NoMatch);
    assert_eq!(world.events, [(Kind::TransferUnmatched, 0)]);
    // Where the built-in matching decides, only a hook that wants to be first is asked.
    for match_first in [false, true] {
        let mut world = asking(match_first);
        world.known.named.insert("0".into(), vec!["inv".into()]);
        world.batch(&[(Included, 0, 1)]);
        assert_eq!(world.waiting.len(), usize::from(match_first));
    }
    // Hooks are not asked about zero and unsupported amounts.
    let mut world = asking(true);
    world.known.transfers.insert("0".into(), transfer("0", 0));
    world.batch(&[(Included, 0, 1)]);
    assert_eq!((world.waiting.len(), world.reasons[&"0".into()]), (0, Reason::ZeroValue));
}

#[test]
fn a_divided_transfer_is_paid_taken_back_and_paid_again_in_all_its_parts() {
    let mut world = asking(false);
    world.batch(&[(Included, 0, 1)]);
    answer(&mut world, &MatcherAnswer::Pay(vec![share(&"b".into(), 3), share(&"c".into(), 4)]), false)
        .unwrap();
    assert_eq!(world.reasons[&"0".into()], Reason::Rest, "2 are left");
    let status = |world: &World, id: &str| world.known.invoices[&id.into()].status;
    assert_eq!(status(&world, "b"), InvoiceStatus::Detected);
    world.batch(&[(Confirmed, 0, 1)]);
    assert_eq!((status(&world, "b"), status(&world, "c")), (InvoiceStatus::Paid, InvoiceStatus::Paid));
    world.batch(&[(Retracted, 0, 1)]);
    assert_eq!((status(&world, "b"), status(&world, "c")), (InvoiceStatus::New, InvoiceStatus::New));
    world.batch(&[(Included, 0, 2), (Confirmed, 0, 2)]);
    assert_eq!((status(&world, "b"), status(&world, "c")), (InvoiceStatus::Paid, InvoiceStatus::Paid));
    assert_eq!(world.journals.len(), 6, "a credit, a reversal and a credit of each part");
    // A person assigns the rest to the third.
    let mut book = Book::open(world.known.clone(), &Ids::seeded(1), 9);
    assert_eq!(book.unpaid(&"0".into()), Some(Amount(2)));
    book.assign(&"0".into(), &"inv".into(), true);
    assert_eq!(book.unpaid(&"0".into()), Some(Amount::ZERO));
    world.keep(book.close());
    assert_eq!(world.known.invoices[&"inv".into()].credited, Amount(2));
    assert_eq!(world.known.payments[&("0".into(), 2)].exception, payment::Exception::Manual);
}

#[test]
fn an_answer_is_believed_as_far_as_the_facts_allow() {
    let refused = |shares: Vec<Share>, why: &str| {
        let mut world = asking(false);
        world.batch(&[(Included, 0, 1)]);
        world.known.invoices.get_mut(&"c".into()).unwrap().cancelled_at = Some(1);
        let strange = Invoice { tenant: Tenant::live("other"), ..invoice("theirs", 9) };
        world.known.invoices.insert("theirs".into(), strange);
        let said = answer(&mut world, &MatcherAnswer::Pay(shares), true).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
        assert!(world.known.payments.is_empty() && world.journals.is_empty(), "nothing was done");
    };
    refused(vec![], "nobody");
    refused(vec![share(&"b".into(), 10)], "more than arrived");
    refused(vec![share(&"b".into(), 9), share(&"inv".into(), 1)], "more than arrived");
    refused(vec![share(&"b".into(), 0)], "nothing");
    refused(vec![share(&"b".into(), 1), share(&"b".into(), 1)], "twice");
    refused(vec![share(&"c".into(), 4)], "cancelled");
    refused(vec![share(&"theirs".into(), 9)], "no invoice of the merchant's");
    refused(vec![share(&"nowhere".into(), 9)], "no invoice of the merchant's");
}

/// The life of each transfer on chain, cut into batches anywhere.
fn lives() -> impl Strategy<Value = (Vec<u128>, Vec<(usize, u8)>, Vec<usize>)> {
    let amounts = prop::collection::vec(1u128..12, 1..5);
    let steps = prop::collection::vec((0usize..5, 0u8..3), 0..40);
    let cuts = prop::collection::vec(1usize..6, 1..20);
    (amounts, steps, cuts)
}

proptest! {
    #[test]
    fn credited_at_most_once_and_the_books_agree((amounts, steps, cuts) in lives(), repeat in any::<bool>()) {
        // A chain model: what observe would log.
        let mut state: Vec<(i64, Option<Sighting>)> = vec![(0, None); amounts.len()];
        let mut log = Vec::new();
        for (which, step) in steps {
            let index = which % amounts.len();
            let (epoch, last) = &mut state[index];
            let next = match (step, *last) {
                (0, None | Some(Retracted)) => { *epoch += 1; Included }
                (1, Some(Included)) => Confirmed,
                (2, Some(Included | Confirmed)) => Retracted,
                _ => continue,
            };
            *last = Some(next);
            log.push((next, index, *epoch));
        }
        let mut world = World::new(Matching::Address, 10, &amounts);
        let (mut rest, mut cuts) = (log.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            world.batch(batch);
            if repeat {
                // A batch applied to facts that hold its results already (a replay after a crash) is nothing new.
                let before = world.journals.len();
                let last: Vec<_> = batch.iter().rev().take(1).copied().collect();
                world.batch(&last);
                prop_assert_eq!(world.journals.len(), before);
            }
            rest = behind;
        }
        let mut credited = 0u128;
        for (index, amount) in amounts.iter().enumerate() {
            let of = |kind| world.journals.iter().filter(|(k, id, ..)| *k == kind && *id == index.to_string().as_str()).count();
            let active = of(JournalKind::Credit) - of(JournalKind::Reversal);
            let expected = usize::from(state[index].1 == Some(Confirmed));
            prop_assert_eq!(active, expected, "transfer {}", index);
            credited += amount * u128::try_from(active).unwrap();
        }
        let invoice = &world.known.invoices[&"inv".into()];
        prop_assert_eq!(invoice.credited, Amount(credited));
        let sequences: Vec<i64> = world.events.iter().map(|(_, sequence)| *sequence).filter(|s| *s > 0).collect();
        prop_assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1));
        let mut unique: Vec<_> = world.journals.iter().map(|(k, id, epoch, _)| (k.as_str(), id, epoch)).collect();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), world.journals.len());
    }
}
