//! Ten thousand hooks, most of which sleep: the cost of their number at a start, the time of a hook's first call, and
//! the memory of those in use. The process that is started and measured is this very binary.
//!
//! [`IN_USE`] of them have an artefact of their own, the same component with another number in a custom section; the
//! others share the first one, since they are never called. Compiling is not what is measured here, and the code of
//! all artefacts is the same: it is made once and kept under each of their names, so that each has its own file in
//! the cache and becomes a component of its own in memory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use super::{PAID, of_merchant, paid, told};
use crate::{
    app::App,
    cli::bench::{
        Bench, Busy, PAIRS,
        idle::IDLE,
        process::{self, Process},
        report::Figure,
        stats::{Samples, ms},
        world,
    },
    db::{bench as rows, events},
    domain::{event::NewEvent, id::EventId, tenant::Tenant},
    host::{HookVersion, Manifest, Tape, fulfiller},
};

const HOOKS: usize = 10_000;
const IN_USE: usize = 500;
/// Maximum time until every hook in use was called once.
const CALLED_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than a hook that is not called stays in memory, milliseconds.
const LONG_MS: i64 = 3_600_000;

/// A folder with many hooks.
struct Many {
    artefacts: Vec<Artefact>,
    manifest: Arc<Manifest>,
}

struct Artefact {
    sha256: String,
    wasm: Vec<u8>,
}

pub(super) async fn run(bench: &Bench, wasm: &[u8], busy: &Busy) -> anyhow::Result<()> {
    let (empty, full) = (bench.folder("hook-none")?, bench.folder("hook-many")?);
    busy.says(format!("storing {HOOKS} hooks"));
    let app = world::open(&full).await?;
    let many = Many::store(&app, wasm).await?;
    app.db.close().await;
    drop(app);

    // The first start in a folder compiles the chain plugins.
    for folder in [&empty, &full] {
        Process::start(folder).await?.0.kill().await?;
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        busy.pair(pair);
        for (folder, starts) in [(&full, &mut with), (&empty, &mut without)] {
            let (mut server, took) = Process::start(folder).await?;
            starts.push(ms(took));
            server.kill().await?;
        }
    }
    let report = &bench.report;
    report.figure(&Figure::less("hook", "start_10000_hooks", "ms").ours(with).limit(without));

    busy.says("first calls");
    let app = world::open(&full).await?;
    let before = process::resident_mb("self");
    let (first, again) = many.call_each(&app).await?;
    let loaded = process::resident_mb("self");
    app.clock.shift(LONG_MS);
    app.host.hooks().let_go();
    let let_go = process::resident_mb("self");
    app.clock.shift(-LONG_MS);
    let (first, again) = (first.sorted(), again.sorted());
    for (metric, first, again, aim) in [
        ("first_call_p50", first.p50(), again.p50(), Some(2.0)),
        ("first_call_p99", first.p99(), again.p99(), None),
    ] {
        let figure = Figure::less("hook", metric, "ms").ours(vec![ms(first)]).limit(vec![ms(again)]);
        report.figure(&match aim {
            Some(aim) => figure.aim(aim),
            None => figure,
        });
    }
    if let (Some(before), Some(loaded), Some(let_go)) = (before, loaded, let_go) {
        report.figure(&Figure::less("hook", "500_loaded", "MB").ours(vec![loaded - before]));
        report.figure(&Figure::less("hook", "500_let_go", "MB").ours(vec![let_go - before]));
    }

    busy.says(format!("{IN_USE} hooks at work"));
    many.happen(&app).await?;
    let (mut server, _) = Process::start(&full).await?;
    wait_for_calls(&app).await?;
    tokio::time::sleep(IDLE).await;
    let resident = server.resident_mb();
    server.kill().await?;
    app.db.close().await;
    if let Some(resident) = resident {
        report.figure(&Figure::less("hook", "resident_500_in_use", "MB").ours(vec![resident]).aim(150.0));
    }
    Ok(())
}

/// Waits until each of the hooks in use was called.
async fn wait_for_calls(app: &App) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let called = rows::hook_attempts(&mut app.db.read().await?).await?;
        if called >= i64::try_from(IN_USE)? {
            return Ok(());
        }
        ensure!(started.elapsed() < CALLED_MAX, "{called} of {IN_USE} hooks were called");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Calls the hook with this number; it finds no keys.
async fn call(app: &App, version: &HookVersion, number: usize) -> anyhow::Result<Duration> {
    let (event, context) = told(PAID, paid());
    let of = of_merchant(rows::hook_id(number));
    let started = Instant::now();
    let called = app.host.hooks().fulfill(version, of, &event, &context, Tape::record()).await?;
    let took = started.elapsed();
    ensure!(matches!(called.value, fulfiller::Outcome::Retry(_)), "it said {:?}", called.value);
    Ok(took)
}

impl Many {
    async fn store(app: &App, wasm: &[u8]) -> anyhow::Result<Self> {
        let artefacts: Vec<Artefact> = (0..IN_USE)
            .map(|number| {
                let wasm = world::another(wasm, u64::try_from(number).unwrap_or(0));
                Artefact { sha256: hex::encode(Sha256::digest(&wasm)), wasm }
            })
            .collect();
        let first = artefacts.first().context("no artefacts")?;
        let admitted = app.host.hooks().admit(first.wasm.clone().into()).await?;
        let code = admitted.code.context("it was compiled before")?;
        for artefact in &artefacts {
            app.host.hooks().keep(&artefact.sha256, code.clone()).await;
        }
        let manifest = serde_json::to_string(&admitted.manifest)?;
        let version = admitted.manifest.version.to_string();
        let stored = artefacts.iter().map(|artefact| (artefact.sha256.clone(), artefact.wasm.clone()));
        let stored: Vec<_> = stored.collect();
        app.db
            .write(move |conn| {
                Box::pin(async move { rows::hooks(conn, stored, &version, &manifest, HOOKS).await })
            })
            .await?;
        Ok(Self { artefacts, manifest: admitted.manifest.into() })
    }

    /// Calls each of the hooks in use for the first time, and once more.
    async fn call_each(&self, app: &App) -> anyhow::Result<(Samples, Samples)> {
        let (mut first, mut again) = (Samples::default(), Samples::default());
        for (number, artefact) in self.artefacts.iter().enumerate() {
            let version = HookVersion {
                name: self.manifest.name.clone(),
                version: self.manifest.version.to_string(),
                version_id: rows::hook_version_id(number),
                sha256: artefact.sha256.clone(),
                manifest: self.manifest.clone(),
            };
            first.push(call(app, &version, number).await?);
            again.push(call(app, &version, number).await?);
        }
        Ok((first, again))
    }

    /// Commits a paid invoice for each merchant whose hook is in use.
    async fn happen(&self, app: &App) -> anyhow::Result<()> {
        let now = app.clock.now();
        let events = (0..self.artefacts.len()).map(|number| NewEvent {
            id: EventId::new(now),
            tenant: Tenant::live(rows::hook_merchant_id(number)),
            kind: PAID.into(),
            invoice_id: None,
            transfer_id: None,
            sequence: 0,
            payload: paid(),
            created_at: now,
        });
        let events = events.collect();
        Ok(app.db.write(move |conn| Box::pin(events::insert(conn, events))).await?)
    }
}
