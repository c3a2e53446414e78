//! `idle`: the time of a start, the memory of the idle process, and the time to be back after kill -9 in the middle of
//! work, with very many open invoices. The process is this very binary.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinSet;

use super::{
    Bench, Busy, PAIRS,
    load::{CONNECTIONS, Connection},
    prefill,
    process::{self, Process},
    report::Figure,
    stats::ms,
    world::Customer,
};

/// Idle time before the memory is measured.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// Time of making orders before the kill.
const ORDERS: Duration = Duration::from_secs(1);
/// Time for which a process that has just closed the filled folder still has files open.
const LEFT_ALONE: Duration = Duration::from_secs(1);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let filled = prefill::filled(bench).await?;
    let busy = Busy::new("idle");
    let (mut first, mut again, mut bare, mut resident) = (Vec::new(), Vec::new(), Vec::new(), None);
    for pair in 0..PAIRS {
        busy.pair(pair);
        let folder = bench.folder(&format!("idle-{pair}"))?;
        let (mut server, took) = Process::start(&folder).await?;
        first.push(ms(took));
        server.kill().await?;
        let (mut server, took) = Process::start(&folder).await?;
        again.push(ms(took));
        if pair == 0 {
            tokio::time::sleep(IDLE).await;
            resident = server.resident_mb();
        }
        server.kill().await?;
        let started = Instant::now();
        let version = process::command()?.arg("--version").stdout(Stdio::null()).status().await?;
        ensure!(version.success(), "kassa --version failed");
        bare.push(ms(started.elapsed()));
    }

    busy.says(format!("kill -9 with {} open invoices", filled.open));
    tokio::time::sleep(LEFT_ALONE).await;
    let mut back = Vec::new();
    let orders = Arc::new(AtomicU64::new(0));
    for _ in 0..PAIRS {
        let (mut server, _) = Process::start(&filled.folder).await?;
        let answered = orders_until_killed(&mut server, &filled.customer, &orders).await?;
        let (mut server, took) = Process::start(&filled.folder).await?;
        back.push(ms(took));
        look_for(server.address, &filled.customer, &answered).await?;
        server.kill().await?;
    }
    drop(busy);
    let report = &bench.report;
    report.figure(&Figure::less("idle", "first_start", "ms").ours(first).limit(bare.clone()));
    report.figure(&Figure::less("idle", "start", "ms").ours(again).limit(bare).aim(500.0));
    if let Some(resident) = resident {
        report.figure(&Figure::less("idle", "resident", "MB").ours(vec![resident]).aim(60.0));
    }
    report.figure(&Figure::less("idle", "back_after_kill", "ms").ours(back).aim(2_000.0));
    Ok(())
}

/// Orders on all connections and kills the server in the middle of it. Returns the ids of invoices that were answered.
async fn orders_until_killed(
    server: &mut Process,
    customer: &Customer,
    orders: &Arc<AtomicU64>,
) -> anyhow::Result<Vec<String>> {
    let answered: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(server.address).await?;
        let (customer, orders, answered) = (customer.clone(), orders.clone(), answered.clone());
        tasks.spawn(async move {
            loop {
                let order = customer.order(orders.fetch_add(1, Ordering::Relaxed))?;
                // Until the server is gone.
                let Ok((status, body)) = connection.send(order).await else { return anyhow::Ok(()) };
                ensure!(
                    status == StatusCode::CREATED,
                    "answered {status}: {}",
                    String::from_utf8_lossy(&body)
                );
                answered.lock().unwrap_or_else(PoisonError::into_inner).push(body);
            }
        });
    }
    tokio::time::sleep(ORDERS).await;
    server.kill().await?;
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let answered = std::mem::take(&mut *answered.lock().unwrap_or_else(PoisonError::into_inner));
    ensure!(!answered.is_empty(), "no order was answered within {} s", ORDERS.as_secs());
    answered
        .iter()
        .map(|body| {
            let invoice: serde_json::Value = serde_json::from_slice(body)?;
            Ok(invoice["id"].as_str().context("an invoice without an id")?.to_owned())
        })
        .collect()
}

/// Checks that nothing that was answered is lost.
async fn look_for(address: SocketAddr, customer: &Customer, invoice_ids: &[String]) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    for id in invoice_ids {
        let (status, _) = connection.send(customer.look(id)?).await?;
        ensure!(status == StatusCode::OK, "invoice {id} was answered before the kill, and is now {status}");
    }
    Ok(())
}
