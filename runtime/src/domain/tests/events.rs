//! What events look like on the wire, kind by kind. `KASSA_UPDATE=1 cargo test` writes the golden files anew: a
//! change of one is a change of what merchants' handlers read.

use std::path::Path;

use super::{invoice, transfer};
use crate::domain::{
    Millis,
    alarm::{
        DatabaseUnwritable, NetworkFrozen, NetworkResumed, NetworkStalled, Of, ProviderAnswer,
        SecondProviderMissing, Subject, TransferDisputed, WorkSetAside,
    },
    correction::{Correction, Kind as CorrectionKind},
    event::{
        Data, NewEvent,
        data::{
            ClaimedEvent, EventNamed, HookMatchEvent, HookNamed, HookRunEvent, Kind, MatchNamed,
            PAYMENTS_MAX, RunNamed, TestEvent, shapes,
        },
    },
    id::Ids,
    invoice::{Invoice, Matching, Status},
    money::Amount,
    near::{Likeness, NearMiss},
    payment::{self, Payment},
    policy::{Late, Policy},
    settlement::{AssetNames, Book, SettlementFacts},
    tenant::{Mode, Tenant},
    transfer::{Destination, Sighting, Transfer},
    verbatim::Verbatim,
    view::time,
};

const NOW: Millis = 1_772_366_400_000;
const INVOICE: &str = "inv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC";
const TRANSFER: &str = "trf_01KAN2Q5T4W2J6G0Z8Y3V7X9BC";
const ADDRESS: &str = "adr_01KAN2Q5T4W2J6G0Z8Y3V7X9BC";
const USDC: &str = "base:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const HEIGHT: i64 = 41_000_000;

fn order() -> Invoice {
    Invoice {
        order_id: Some("1042".to_owned()),
        title: "Order 1042".to_owned(),
        meta: Some(Verbatim::of_text(r#"{"cart":[7,9], "price":1.10}"#.to_owned()).unwrap()),
        network: "base".to_owned(),
        asset_id: USDC.to_owned(),
        address_id: ADDRESS.into(),
        address: "0x52908400098527886E0F7030069857D2E4169EE7".to_owned(),
        matching: Matching::Amount,
        currency: Some("USD".to_owned()),
        price: Some("100.00".to_owned()),
        amount: Amount(100_000_000),
        due: Amount(100_000_123),
        created_at: NOW - 600_000,
        expires_at: NOW + 3_000_000,
        held_until: NOW + 90_000_000,
        ..invoice(INVOICE, 0)
    }
}

fn payment_of(units: u128) -> Transfer {
    Transfer {
        network: "base".to_owned(),
        tx: "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b".to_owned(),
        ordinal: 17,
        asset_id: USDC.to_owned(),
        address_id: ADDRESS.into(),
        sender: Some("0xde709f2102306220921060314715629080e2fb77".to_owned()),
        height: HEIGHT,
        block_hash: "0x5c4c1f3a3c1f0fb0e1b1a8a6f2f4f5e2f7c6b5a4938271605f4e3d2c1b0a9988".to_owned(),
        block_time: NOW - 60_000,
        seen_at: NOW - 58_000,
        ..transfer(TRANSFER, units)
    }
}

/// Facts with this transfer on its way to that invoice.
fn known(invoice: Invoice, transfer: Transfer) -> SettlementFacts {
    let mut known = SettlementFacts { height: HEIGHT + 11, ..SettlementFacts::of(Mode::Live) };
    let destination =
        Destination { address: invoice.address.clone(), customer: false, unique_id: None, meta: None };
    known.destinations.insert(ADDRESS.into(), destination);
    known.assets.insert(USDC.to_owned(), AssetNames { symbol: "USDC".to_owned(), decimals: 6 });
    known.named.insert(transfer.id.clone(), vec![invoice.id.clone()]);
    known.transfers.insert(transfer.id.clone(), transfer);
    known.invoices.insert(invoice.id.clone(), invoice);
    known
}

/// The last event of a book after `work`.
fn told(known: SettlementFacts, work: impl FnOnce(&mut Book)) -> NewEvent {
    let mut book = Book::open(known, &Ids::seeded(1), NOW);
    work(&mut book);
    book.close().events.pop().expect("an event")
}

fn seen(units: u128, sightings: &[Sighting]) -> NewEvent {
    told(known(order(), payment_of(units)), |book| {
        sightings.iter().for_each(|one| book.apply(*one, &TRANSFER.into(), 1));
    })
}

fn corrected(kind: CorrectionKind) -> Correction {
    Correction {
        id: "cor_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into(),
        tenant: Tenant::live("mer"),
        kind,
        transfer_id: None,
        payment_id: None,
        invoice_id: Some(INVOICE.into()),
        address_id: None,
        of_id: None,
        amount: None,
        why: Some("the customer asked".to_owned()),
        evidence: None,
        was: None,
        key_id: "key_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into(),
        at: NOW,
    }
}

/// Events that settlement makes of invoices.
fn of_invoices() -> Vec<NewEvent> {
    use Sighting::{Confirmed, Included, Retracted};
    let none = || known(order(), payment_of(0));
    let review = Invoice {
        policy: Policy { late: Late::Review, ..Policy::default() },
        status: Status::Expired,
        expires_at: NOW - 900_000,
        expired_at: Some(NOW - 300_000),
        ..order()
    };
    let expired = || Invoice { status: Status::Expired, expired_at: Some(NOW - 1), ..order() };
    vec![
        seen(100_000_123, &[Included]),
        seen(100_000_123, &[Confirmed]),
        seen(60_000_000, &[Confirmed]),
        seen(150_000_000, &[Confirmed]),
        told(none(), |book| book.expire(&INVOICE.into())),
        told(none(), |book| book.cancel(&INVOICE.into())),
        told(known(review, payment_of(100_000_123)), |book| book.apply(Included, &TRANSFER.into(), 1)),
        seen(100_000_123, &[Confirmed, Retracted]),
        told(none(), |book| {
            book.corrected_by(&corrected(CorrectionKind::Extend));
            book.extend(&INVOICE.into(), NOW + 7_200_000, NOW + 99_000_000);
        }),
        told(known(expired(), payment_of(0)), |book| {
            book.corrected_by(&corrected(CorrectionKind::Reopen));
            book.reopen(&INVOICE.into(), NOW + 7_200_000, NOW + 99_000_000);
        }),
    ]
}

/// Events that settlement makes of other transfers.
fn of_transfers() -> Vec<NewEvent> {
    use Sighting::{Confirmed, Retracted};
    let deposit = || {
        let mut known = known(order(), payment_of(25_000_000));
        known.named.clear();
        let destination = known.destinations.get_mut(&ADDRESS.into()).unwrap();
        destination.customer = true;
        destination.unique_id = Some("customer-17".to_owned());
        destination.meta = Some(Verbatim::of_text(r#"{"plan": 1.0}"#.to_owned()).unwrap());
        known
    };
    let mut unmatched = known(order(), payment_of(99_000_123));
    unmatched.named.clear();
    unmatched.near.insert(TRANSFER.into(), vec![NearMiss::new(&order(), Likeness::Fee)]);
    vec![
        told(deposit(), |book| book.apply(Confirmed, &TRANSFER.into(), 1)),
        told(deposit(), |book| {
            book.apply(Confirmed, &TRANSFER.into(), 1);
            book.apply(Retracted, &TRANSFER.into(), 1);
        }),
        told(unmatched, |book| book.apply(Sighting::Included, &TRANSFER.into(), 1)),
    ]
}

/// Data of all other events.
fn others() -> Vec<Data> {
    let hook = || HookNamed {
        id: "hook_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into(),
        name: "license-keys".to_owned(),
        version: "1.2.0".to_owned(),
    };
    let run = |attempts, note: &str| HookRunEvent {
        hook: hook(),
        run: RunNamed { id: "run_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into(), attempts, note: note.to_owned() },
        event: EventNamed {
            id: "evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into(),
            r#type: Kind::InvoicePaid.as_str().to_owned(),
        },
    };
    let subject = || Subject::from(&payment_of(5_000_000_000));
    let network = || "base".to_owned();
    vec![
        Data::ReceiveAddressClaimedByAnother(Box::new(ClaimedEvent {
            network: network(),
            address: order().address,
            receive_address_id: Some(ADDRESS.into()),
            extended_key_id: None,
        })),
        Data::EndpointTest(Box::new(TestEvent { endpoint_id: "ep_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into() })),
        Data::HookRunRejected(Box::new(run(1, "this order has no customer"))),
        Data::HookRunExhausted(Box::new(run(12, "the game's server answered 500"))),
        Data::HookRunFailing(Box::new(run(3, "the game's server answered 500"))),
        Data::HookMatchFailed(Box::new(HookMatchEvent {
            hook: hook(),
            r#match: MatchNamed {
                id: "mat_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into(),
                note: "it took too long".to_owned(),
                paused: false,
            },
            transfer_id: TRANSFER.into(),
        })),
        Data::NetworkStalled(Box::new(NetworkStalled {
            network: network(),
            heard_at: Some(time(NOW - 300_000)),
            why: Some("every provider refuses".to_owned()),
        })),
        Data::NetworkResumed(Box::new(NetworkResumed {
            network: network(),
            stalled_since: time(NOW - 300_000),
        })),
        Data::NetworkFrozen(Box::new(NetworkFrozen {
            network: network(),
            why: "block 40999000 has another hash".to_owned(),
        })),
        Data::TransferDisputed(Box::new(TransferDisputed {
            network: network(),
            transfer: subject(),
            answers: vec![
                ProviderAnswer { provider: "one.example".to_owned(), answer: "as it was read".to_owned() },
                ProviderAnswer { provider: "two.example".to_owned(), answer: "no such transfer".to_owned() },
            ],
        })),
        Data::SecondProviderMissing(Box::new(SecondProviderMissing {
            network: network(),
            transfer: subject(),
        })),
        Data::WorkSetAside(Box::new(WorkSetAside {
            queue: "deliveries",
            work: "dlv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".to_owned(),
            of: Of::Endpoint { endpoint_id: "ep_01KAN2Q5T4W2J6G0Z8Y3V7X9BC".into() },
            why: "the process ended 3 times while this was sent".to_owned(),
        })),
        Data::DatabaseUnwritable(Box::new(DatabaseUnwritable {
            why: "the disk is full".to_owned(),
            for_s: 42,
        })),
    ]
}

#[test]
fn golden_files_are_what_the_code_writes() {
    let others = others().into_iter().map(|data| NewEvent::now(&Tenant::live("mer"), &data, NOW));
    let events: Vec<NewEvent> = of_invoices().into_iter().chain(of_transfers()).chain(others).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/event/golden");
    for event in &events {
        let file = folder.join(format!("{}.json", event.kind.as_str()));
        let made = format!("{}\n", pretty(&event.payload));
        if std::env::var_os("KASSA_UPDATE").is_some() {
            std::fs::write(&file, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(made, kept, "{} is not what the code writes", file.display());
    }
    let told: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let known: Vec<&str> = shapes().iter().map(|shape| shape.kind).collect();
    assert_eq!(told, known, "each kind of event has its golden file");
}

/// The same JSON over several lines.
fn pretty(payload: &str) -> String {
    let (mut lines, mut depth, mut quoted, mut before) = (String::new(), 0, false, ' ');
    let mut all = payload.chars().peekable();
    while let Some(c) = all.next() {
        if c == '"' && before != '\\' {
            quoted = !quoted;
        }
        before = c;
        let end = |c: &char| matches!(c, '}' | ']');
        if !quoted && end(&c) && !lines.ends_with(['{', '[']) {
            depth -= 1;
            lines += &format!("\n{}", "  ".repeat(depth));
        }
        lines.push(c);
        let opens = matches!(c, '{' | '[') && !all.peek().is_some_and(end);
        if !quoted && (opens || c == ',') {
            depth += usize::from(opens);
            lines += &format!("\n{}", "  ".repeat(depth));
        }
    }
    lines
}

#[test]
fn an_invoice_names_its_newest_payments_only() {
    let mut known = known(order(), payment_of(1));
    known.named.clear();
    for part in 0..i64::try_from(PAYMENTS_MAX + 5).unwrap() {
        let payment = Payment {
            id: Ids::seeded(9).next(NOW + part),
            transfer_id: TRANSFER.into(),
            part,
            merchant_id: "mer".into(),
            invoice_id: Some(INVOICE.into()),
            address_id: ADDRESS.into(),
            asset_id: USDC.to_owned(),
            amount: Amount(1),
            status: payment::Status::Credited,
            exception: payment::Exception::None,
            epoch: 1,
            created_at: NOW + part,
            credited_at: Some(NOW + part),
        };
        known.payments.insert(payment.part_of(), payment);
    }
    let event = told(known, |book| book.expire(&INVOICE.into()));
    let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
    let parts: Vec<i64> = payload["data"]["payments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|payment| payment["part"].as_i64().unwrap())
        .collect();
    assert_eq!(parts, (5..25).collect::<Vec<_>>());
}

#[test]
fn confirmations_are_counted_from_what_was_read() {
    let transfer = payment_of(1);
    assert_eq!(transfer.confirmations(HEIGHT), 1);
    assert_eq!(transfer.confirmations(HEIGHT + 11), 12);
    assert_eq!(transfer.confirmations(HEIGHT - 1), 0);
    let retracted = Transfer { status: crate::domain::transfer::Status::Retracted, ..transfer };
    assert_eq!(retracted.confirmations(HEIGHT + 11), 0);
}
