//! `settle`: transfers become credited payments beside very many open invoices; and, since most of a chain concerns
//! nobody here, the rate at which strangers' addresses are passed over ([`super::filter`]).
//!
//! The limit writes the very same rows through the same connection, in transactions of the same size, but reads
//! and decides nothing.

use std::{ops::Range, time::Instant};

use anyhow::{Context as _, ensure};

use super::{
    Bench, Busy, PAIRS, filter,
    prefill::{self, Filled},
    report::Figure,
    stats::rate,
    world,
};
use crate::{
    app::App,
    db::{DbError, bench, chain, events, transfers},
    domain::{
        event::{self, NewEvent},
        id::{EventId, Id, Ids, PaymentId},
        invoice::Status,
        ledger::JournalKind,
        payment::{self, Payment},
        settlement::{JournalEntry, JournalOf, Written},
        tenant::Tenant,
        transfer::{Sighting, Transfer},
    },
    flow::settle,
};

/// Number of transfers in a run, per second of it.
const TRANSFERS_PER_S: u64 = 10_000;
/// Number of transfers observed at once, as after a downtime: all of them are deep enough already.
const TRANSFERS_PER_SCAN: u64 = 2_000;
/// Number of changes that settle takes into one transaction.
const CHANGES_PER_COMMIT: usize = 500;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let filled = prefill::filled(bench).await?;
    let app = world::open(&filled.folder).await?;
    let busy = Busy::new("settle");
    let of_seconds = bench.run.as_secs() * TRANSFERS_PER_S;
    let count = of_seconds.min(filled.open / (2 * u64::try_from(PAIRS)?));
    let (mut ours, mut limits, mut paid) = (Vec::new(), Vec::new(), 0);
    for (pair, first) in (0..PAIRS).zip((0..).step_by(usize::try_from(2 * count)?)) {
        busy.says("observing transfers");
        let (settled, written) = (first..first + count, first + count..first + 2 * count);
        observe(&app, &filled, settled.clone(), true).await?;
        observe(&app, &filled, written.clone(), false).await?;
        busy.pair(pair);
        let started = Instant::now();
        while settle::step(&app, &filled.network.name, filled.network.mode()).await? > 0 {}
        ours.push(rate(usize::try_from(count)?, started.elapsed()));
        paid += count;
        check(&app, pair, paid).await?;

        let commits = rows(&app, &filled, written).await?;
        let started = Instant::now();
        for (rows, now) in commits {
            app.db
                .write::<_, DbError, _>(move |conn| {
                    Box::pin(async move { settle::write(conn, rows, &Ids::of_process(), now).await })
                })
                .await?;
        }
        limits.push(rate(usize::try_from(count)?, started.elapsed()));
        paid += count;
    }
    check(&app, PAIRS, paid).await?;
    app.db.close().await;
    drop(busy);
    bench.report.figure(&Figure::more("settle", "credited", "1/s").ours(ours).limit(limits).aim(10_000.0));
    filter::run(bench).await
}

/// Checks that exactly `paid` transfers are credited, each once, and that every journal balances.
async fn check(app: &App, pair: usize, paid: u64) -> anyhow::Result<()> {
    let counts = bench::counts(&mut app.db.read().await?).await?;
    ensure!(
        counts.credited.unsigned_abs() == paid && counts.credits.unsigned_abs() == paid,
        "after {pair} runs {paid} transfers had come, {} are credited by {} journals",
        counts.credited,
        counts.credits
    );
    ensure!(counts.unbalanced == 0, "{} journals do not balance", counts.unbalanced);
    ensure!(counts.unmatched == 0, "{} transfers are unmatched", counts.unmatched);
    Ok(())
}

/// Writes transfers as observe would, with or without waking settle.
async fn observe(app: &App, filled: &Filled, mut numbers: Range<u64>, tell: bool) -> anyhow::Result<()> {
    let network = filled.network.name.clone();
    while !numbers.is_empty() {
        let scan = numbers.start..numbers.end.min(numbers.start + TRANSFERS_PER_SCAN);
        numbers.start = scan.end;
        let seen: Vec<Transfer> = scan.filter_map(|nth| Some(filled.payment(nth)?.0)).collect();
        let (network, now) = (network.clone(), app.clock.now());
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    transfers::insert(conn, &seen).await?;
                    let told = seen.iter().filter(|_| tell);
                    let changes: Vec<_> = told.map(|transfer| (Sighting::Confirmed, transfer)).collect();
                    let last = chain::standing(conn, &network).await?.map_or(0, |standing| standing.seq);
                    let seq = transfers::log(conn, &network, last, &changes, now).await?;
                    chain::logged(conn, &network, seq).await
                })
            })
            .await?;
    }
    Ok(())
}

/// Rows that settle would write of these transfers, commit by commit.
async fn rows(app: &App, filled: &Filled, numbers: Range<u64>) -> anyhow::Result<Vec<(Written, i64)>> {
    let now = app.clock.now();
    let payload = some_payload(app, filled).await?;
    let numbers: Vec<u64> = numbers.collect();
    let mut commits = Vec::new();
    for numbers in numbers.chunks(CHANGES_PER_COMMIT) {
        let mut written = Written::default();
        for nth in numbers {
            let (transfer, mut invoice) = filled.payment(*nth).context("no such payment")?;
            let payment = Payment {
                part: 0,
                id: PaymentId::new(now),
                transfer_id: transfer.id.clone(),
                merchant_id: transfer.merchant_id.clone(),
                invoice_id: Some(invoice.id.clone()),
                address_id: transfer.address_id.clone(),
                asset_id: transfer.asset_id.clone(),
                amount: invoice.due,
                status: payment::Status::Credited,
                exception: payment::Exception::None,
                epoch: transfer.epoch,
                created_at: now,
                credited_at: Some(now),
            };
            let event = |kind, sequence| NewEvent {
                id: EventId::new(now),
                tenant: Tenant::live(transfer.merchant_id.clone()),
                kind,
                invoice_id: payment.invoice_id.clone(),
                transfer_id: Some(transfer.id.clone()),
                sequence,
                payload: payload.clone(),
                created_at: now,
            };
            written.events.push(event(event::Kind::InvoiceDetected.into(), 1));
            written.events.push(event(event::Kind::InvoicePaid.into(), 2));
            let of = JournalOf::Payment(payment.clone());
            written.journals.push(JournalEntry { kind: JournalKind::Credit, of });
            written.payments.push(payment);
            (invoice.status, invoice.sequence) = (Status::Paid, 2);
            (invoice.credited, invoice.paid_at) = (invoice.due, Some(now));
            written.invoices.push(invoice);
        }
        commits.push((written, now));
    }
    Ok(commits)
}

/// Payload of an event that settle has written.
async fn some_payload(app: &App, filled: &Filled) -> anyhow::Result<String> {
    let invoice = filled.invoice(0).context("no invoices")?;
    let mut conn = app.db.read().await?;
    let events = events::list(&mut conn, &invoice.tenant, None, EventId::greatest(), 1).await?;
    Ok(events.into_iter().next().context("settle has written no event")?.payload)
}
