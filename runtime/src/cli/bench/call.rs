//! `call`: a plugin call as every request makes it (a fresh instance, all limits on) beside the same component in
//! bare wasmtime (a fresh instance of a pooling engine, and nothing else).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::{
    Bench, Busy, PAIRS,
    report::Figure,
    stats::{Runs, Samples, rate},
    world,
};
use crate::{app::App, db::plugins, domain::network::Manifest, host::bench::Bare};

/// Network of the plugin that is called.
pub(super) const NETWORK: &str = "base";
pub(super) const ADDRESS: &str = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913";
pub(super) const NORMAL: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";

/// The called plugin, in Kassa and in bare wasmtime.
struct Callee {
    app: App,
    network: Manifest,
    bare: Bare,
}

async fn ours_of(callee: Arc<Callee>) -> anyhow::Result<()> {
    let address = callee.app.host.normalize_address(&callee.network, ADDRESS).await?;
    ensure!(address.as_ref().is_ok_and(|address| address.text == NORMAL), "answered {address:?}");
    Ok(())
}

async fn bare_of(callee: Arc<Callee>) -> anyhow::Result<()> {
    let address = callee.bare.normalize_address(ADDRESS).await?;
    ensure!(address.as_ref().is_ok_and(|address| address.text == NORMAL), "answered {address:?}");
    Ok(())
}

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let busy = Busy::new("call");
    busy.says("compiling plugins");
    let app = world::open(&bench.folder("call")?).await?;
    let network = world::network(NETWORK)?;
    let wasm = component(&app, &network.plugin).await?;
    let bare = tokio::task::spawn_blocking({
        let network = network.clone();
        move || Bare::new(&wasm, &network)
    });
    let callee = Arc::new(Callee { app, network, bare: bare.await?? });

    let (mut ours, mut bare) = (Runs::default(), Runs::default());
    let (mut rate_ours, mut rate_bare) = (Vec::new(), Vec::new());
    // Half of a run makes one call at a time, half as many as there are processors.
    let half = bench.run / 2;
    let of_ours = {
        let callee = callee.clone();
        move || ours_of(callee.clone())
    };
    let of_bare = {
        let callee = callee.clone();
        move || bare_of(callee.clone())
    };
    for pair in 0..PAIRS {
        busy.pair(pair);
        ours.add(one_by_one(half, of_ours.clone()).await?);
        bare.add(one_by_one(half, of_bare.clone()).await?);
        rate_ours.push(at_once(half, of_ours.clone()).await?);
        rate_bare.push(at_once(half, of_bare.clone()).await?);
    }
    drop(busy);
    let report = &bench.report;
    report
        .figure(&Figure::less("call", "p50", "us").ours(ours.p50.clone()).limit(bare.p50.clone()).aim(20.0));
    report.figure(&Figure::less("call", "p50_of_bare", "us").ours(ours.p50).limit(bare.p50).aim_ratio(0.7));
    report.figure(&Figure::less("call", "p99", "us").ours(ours.p99).limit(bare.p99));
    report.figure(&Figure::more("call", "calls", "1/s").ours(rate_ours).limit(rate_bare));
    callee.app.db.close().await;
    Ok(())
}

/// The active component of a plugin.
pub(super) async fn component(app: &App, plugin: &str) -> anyhow::Result<Vec<u8>> {
    let versions = app.host.registry().versions(plugin).await?;
    let active = versions.into_iter().find(|version| version.active).context("the plugin is not active")?;
    let wasm = plugins::artefact(&mut app.db.read().await?, &active.sha256).await?;
    wasm.context("the plugin's artefact is missing")
}

/// Durations of calls one after the other, in a task, as every request is one.
async fn one_by_one<C, F>(time: Duration, call: C) -> anyhow::Result<Samples>
where
    C: Fn() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let task = tokio::spawn(async move {
        let mut samples = Samples::default();
        let until = Instant::now() + time;
        loop {
            let started = Instant::now();
            if started >= until {
                return anyhow::Ok(samples);
            }
            call().await?;
            samples.push(started.elapsed());
        }
    });
    task.await.context("a caller broke")?
}

/// Calls a second, on all processors.
async fn at_once<C, F>(time: Duration, call: C) -> anyhow::Result<f64>
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..std::thread::available_parallelism()?.get() {
        let call = call.clone();
        tasks.spawn(async move {
            let mut count = 0;
            while started.elapsed() < time {
                call().await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.context("a caller broke")??;
    }
    Ok(rate(count, started.elapsed()))
}
