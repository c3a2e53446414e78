//! `swap`: two versions of a plugin take turns while calls never pause.
//!
//! Two processes' worth of it: one host makes each activation durable and switches to it; a second one on the same
//! database follows, as a replica does, which is the exchange by itself: look, load, switch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use super::{
    Bench, Busy, call,
    report::Figure,
    stats::{Samples, Sorted, ms},
    world,
};
use crate::{db::bench::Bare, domain::network::Manifest, host::Host};

const SWAPS: usize = 200;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let busy = Busy::new("swap");
    busy.says("compiling plugins");
    let folder = bench.folder("swap")?;
    let app = world::open(&folder).await?;
    let network = Arc::new(world::network(call::NETWORK)?);
    let registry = app.host.registry();
    let wasm = call::component(&app, &network.plugin).await?;
    let versions = registry.versions(&network.plugin).await?;
    let first = versions.into_iter().find(|version| version.active).context("the plugin is not active")?;
    let second = registry.install(world::another(&wasm, 1)).await?;
    ensure!(second.sha256 != first.sha256, "the second version is the first one");
    let replica = Host::start(
        app.db.clone(),
        app.clock.clone(),
        &app.config,
        &folder.join("compiled"),
        app.vault.key_for("compiled code"),
        app.upstreams.clone(),
    )
    .await?;
    let mut bare = Bare::open(&folder.join("bare.db")).await?;

    busy.says("calls without a swap");
    let callers = Callers::start([app.host.clone(), replica.clone()], &network);
    tokio::time::sleep(bench.run).await;
    let undisturbed = callers.stop().await?;

    busy.says(format!("{SWAPS} swaps while calls go on"));
    let callers = Callers::start([app.host.clone(), replica.clone()], &network);
    let (mut activate, mut follow, mut commit) = (Samples::default(), Samples::default(), Samples::default());
    for swap in 0..SWAPS {
        let version = if swap % 2 == 0 { &second } else { &first };
        timed(&mut activate, registry.activate(&network.plugin, &version.id)).await?;
        timed(&mut follow, replica.registry().refresh()).await?;
        timed(&mut commit, bare.commit_one()).await?;
    }
    let disturbed = callers.stop().await?;
    for host in [&app.host, &replica] {
        let active = host.registry().list().await?.into_iter().find(|plugin| plugin.name == network.plugin);
        ensure!(active.is_some_and(|plugin| plugin.loaded), "the last activation is not in use");
    }
    drop(busy);

    let (activate, follow, commit) = (activate.sorted(), follow.sorted(), commit.sorted());
    let report = &bench.report;
    let failed = |calls: &Calls| f64::from(calls.failed);
    report.figure(
        &Figure::less("swap", "failed_calls", "calls")
            .ours(vec![failed(&disturbed)])
            .limit(vec![failed(&undisturbed)])
            .aim(0.0),
    );
    report.figure(&Figure::less("swap", "exchange_p50", "ms").ours(vec![ms(follow.p50())]).aim(1.0));
    report.figure(&Figure::less("swap", "exchange_p99", "ms").ours(vec![ms(follow.p99())]));
    report.figure(
        &Figure::less("swap", "activation_p50", "ms")
            .ours(vec![ms(activate.p50())])
            .limit(vec![ms(commit.p50())]),
    );
    report.figure(
        &Figure::less("swap", "activation_p99", "ms")
            .ours(vec![ms(activate.p99())])
            .limit(vec![ms(commit.p99())]),
    );
    report.figure(
        &Figure::less("swap", "call_p99", "ms")
            .ours(vec![ms(disturbed.took.p99())])
            .limit(vec![ms(undisturbed.took.p99())]),
    );
    report.figure(
        &Figure::less("swap", "call_max", "ms")
            .ours(vec![ms(disturbed.took.max())])
            .limit(vec![ms(undisturbed.took.max())]),
    );
    app.db.close().await;
    ensure!(disturbed.failed == 0, "{} calls failed", disturbed.failed);
    Ok(())
}

async fn timed<T, E>(samples: &mut Samples, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let started = Instant::now();
    let done = work.await?;
    samples.push(started.elapsed());
    Ok(done)
}

/// Two tasks that call without pause, one on each host. Not more: with all processors taken, the measurement would be
/// of a swap's wait for one.
struct Callers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(Samples, u32)>,
}

struct Calls {
    failed: u32,
    took: Sorted,
}

impl Callers {
    fn start(hosts: [Host; 2], network: &Arc<Manifest>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for host in hosts {
            let (stop, network) = (stop.clone(), network.clone());
            tasks.spawn(async move {
                let (mut samples, mut failed) = (Samples::default(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let called = host.normalize_address(&network, call::ADDRESS).await;
                    samples.push(started.elapsed());
                    if !called.is_ok_and(|answer| answer.is_ok_and(|address| address.text == call::NORMAL)) {
                        failed += 1;
                    }
                    // Each request is a task of its own: others get their turn in between.
                    tokio::task::yield_now().await;
                }
                (samples, failed)
            });
        }
        Self { stop, tasks }
    }

    async fn stop(mut self) -> anyhow::Result<Calls> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut samples, mut failed) = (Samples::default(), 0);
        while let Some(done) = self.tasks.join_next().await {
            let (of_task, failed_of_task) = done.context("a caller broke")?;
            samples.extend(of_task);
            failed += failed_of_task;
        }
        ensure!(samples.len() > 0, "nothing was called");
        Ok(Calls { failed, took: samples.sorted() })
    }
}
