//! Supervise: keeps a watcher and a settler running for every enabled network, and the workers that all networks
//! share. A worker that breaks is started again; a network that is changed, disabled or added takes effect
//! within seconds.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    domain::network::Manifest,
    flow::{
        agree, balances, deliver, dispatch, health,
        hooks::{fulfil, matching},
        observe, rescan, retention, settle,
    },
};

/// Time before a broken worker starts again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

struct Running {
    network: Arc<Manifest>,
    stop: CancellationToken,
}

/// Runs all workers until told to stop and all have stopped.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    keep(&mut tasks, "dispatch", &stop, {
        let (app, stop) = (app.clone(), stop.clone());
        move || dispatch::run(app.clone(), stop.clone())
    });
    keep(&mut tasks, "deliver", &stop, {
        let (app, stop) = (app.clone(), stop.clone());
        move || deliver::run(app.clone(), stop.clone())
    });
    keep(&mut tasks, "fulfill", &stop, {
        let (app, stop) = (app.clone(), stop.clone());
        move || fulfil::run(app.clone(), stop.clone())
    });
    keep(&mut tasks, "health", &stop, {
        let (app, stop) = (app.clone(), stop.clone());
        move || health::run(app.clone(), stop.clone())
    });
    keep(&mut tasks, "matching", &stop, {
        let (app, stop) = (app.clone(), stop.clone());
        move || matching::run(app.clone(), stop.clone())
    });
    keep(&mut tasks, "retention", &stop, {
        let (app, stop) = (app.clone(), stop.clone());
        move || retention::run(app.clone(), stop.clone())
    });
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    loop {
        let now = app.networks.all();
        running.retain(|name, one| {
            let same = now.iter().any(|network| Arc::ptr_eq(network, &one.network));
            if !same {
                tracing::info!(network = name, "stops");
                one.stop.cancel();
            }
            same
        });
        for network in now {
            if !running.contains_key(&network.name) {
                let one = watch(&app, &network, &stop, &mut tasks);
                running.insert(network.name.clone(), one);
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.networks.changed() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn watch(app: &App, network: &Arc<Manifest>, stop: &CancellationToken, tasks: &mut JoinSet<()>) -> Running {
    let stop = stop.child_token();
    tracing::info!(network = network.name, plugin = network.plugin, "starts");
    keep(tasks, "observe", &stop, {
        let (app, network, stop) = (app.clone(), Arc::clone(network), stop.clone());
        move || observe::run(app.clone(), Arc::clone(&network), stop.clone())
    });
    keep(tasks, "settle", &stop, {
        let (app, network, stop) = (app.clone(), Arc::clone(network), stop.clone());
        move || settle::run(app.clone(), Arc::clone(&network), stop.clone())
    });
    keep(tasks, "rescan", &stop, {
        let (app, network, stop) = (app.clone(), Arc::clone(network), stop.clone());
        move || rescan::run(app.clone(), Arc::clone(&network), stop.clone())
    });
    keep(tasks, "agree", &stop, {
        let (app, network, stop) = (app.clone(), Arc::clone(network), stop.clone());
        move || agree::run(app.clone(), Arc::clone(&network), stop.clone())
    });
    keep(tasks, "balances", &stop, {
        let (app, network, stop) = (app.clone(), Arc::clone(network), stop.clone());
        move || balances::run(app.clone(), Arc::clone(&network), stop.clone())
    });
    Running { network: Arc::clone(network), stop }
}

/// Runs a worker, and restarts it when it breaks.
fn keep<W, F>(tasks: &mut JoinSet<()>, name: &'static str, stop: &CancellationToken, worker: W)
where
    W: Fn() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tasks.spawn(async move {
        while let Err(error) = tokio::spawn(worker()).await {
            tracing::error!(worker = name, %error, "a worker broke; it starts again");
            metrics::counter!("kassa_worker_restarts_total", "worker" => name).increment(1);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESTART_AFTER) => {}
            }
        }
    });
}
