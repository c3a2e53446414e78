//! `invoices`: durable creation through HTTP, beside SQLite's own group commit of the same number of rows.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{
    Bench, Busy, PAIRS,
    load::{self, Load},
    report::Figure,
    stats::{ms, rate},
    world::{self, Customer, Server},
};
use crate::db::bench::{self, Bare};

/// Number of invoices in a bare commit: the maximum of Kassa's own.
const GROUP: i64 = 200;
/// Rate at which the time of a single request is measured.
const CALM_PER_S: u64 = 500;
const WARM_UP: Duration = Duration::from_millis(500);

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let busy = Busy::new("invoices");
    busy.says("compiling plugins");
    let folder = bench.folder("invoices")?;
    let app = world::open(&folder).await?;
    let customer = Customer::new(&app, "order").await?;
    let mut bare = Bare::open(&folder.join("bare.db")).await?;
    let server = Server::start(app.clone()).await?;
    let address = server.address;
    let order = move |number| customer.order(number);

    let mut made = 0;
    let mut count = |load: &Load| -> anyhow::Result<()> {
        made += u64::try_from(load.samples.len())?;
        Ok(())
    };
    // Order numbers never repeat between loads: each begins a billion above the last.
    let mut from = (0..).map(|load: u64| load * 1_000_000_000);
    let mut next = || from.next().unwrap_or(u64::MAX);

    busy.says("warming up");
    count(&load::closed(address, next(), WARM_UP, order.clone()).await?)?;
    // Before the disk has to work off the backlog of the full load.
    busy.says(format!("{CALM_PER_S} a second"));
    let load = load::open(address, next(), CALM_PER_S, bench.run, order.clone()).await?;
    count(&load)?;
    let calm = load.samples.sorted();
    let (mut rates, mut limits, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        busy.pair(pair);
        let load = load::closed(address, next(), bench.run, order.clone()).await?;
        count(&load)?;
        rates.push(rate(load.samples.len(), load.elapsed));
        let sorted = load.samples.sorted();
        p50.push(ms(sorted.p50()));
        p99.push(ms(sorted.p99()));
        limits.push(group_commit(&mut bare, bench.run).await?);
    }
    let counts = bench::counts(&mut app.db.read().await?).await?;
    server.stop().await?;
    drop(busy);
    let report = &bench.report;
    report.figure(&Figure::more("invoices", "created", "1/s").ours(rates).limit(limits).aim(5_000.0));
    report.figure(&Figure::less("invoices", "p50", "ms").ours(p50));
    report.figure(&Figure::less("invoices", "p99", "ms").ours(p99));
    report.figure(&Figure::less("invoices", "p50_at_500_per_s", "ms").ours(vec![ms(calm.p50())]));
    report.figure(&Figure::less("invoices", "p99_at_500_per_s", "ms").ours(vec![ms(calm.p99())]).aim(15.0));
    let made = i64::try_from(made)?;
    ensure!(counts.invoices == made, "{made} were answered, {} are there", counts.invoices);
    ensure!(counts.holds == made, "{made} invoices hold {} amounts", counts.holds);
    Ok(())
}

/// Invoices a second.
async fn group_commit(bare: &mut Bare, time: Duration) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut rows = 0;
    while started.elapsed() < time {
        bare.commit_invoices(GROUP).await?;
        rows += usize::try_from(GROUP)?;
    }
    Ok(rate(rows, started.elapsed()))
}
