//! `idle`: how long a start takes, what the process weighs when nothing happens, and how long it takes to be back
//! after kill -9 in the middle of work, with very many open invoices. The process is this very binary.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

use super::{
    Bench, Busy, PAIRS,
    load::{CONNECTIONS, Connection},
    prefill,
    report::Figure,
    stats::ms,
    world::Customer,
};

/// Idle for so long before it is weighed.
const IDLE: Duration = Duration::from_secs(5);
const START_MAX: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(2);
/// Orders are made for so long before the kill.
const ORDERS: Duration = Duration::from_secs(1);
/// Whoever closed the filled folder just now still has files open for so long.
const LEFT_ALONE: Duration = Duration::from_secs(1);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let filled = prefill::filled(bench).await?;
    let busy = Busy::new("idle");
    let (mut first, mut again, mut bare, mut resident) = (Vec::new(), Vec::new(), Vec::new(), None);
    for pair in 0..PAIRS {
        busy.pair(pair);
        let folder = bench.folder(&format!("idle-{pair}"))?;
        let (mut server, took) = Server::start(&folder).await?;
        first.push(ms(took));
        server.kill().await?;
        let (mut server, took) = Server::start(&folder).await?;
        again.push(ms(took));
        if pair == 0 {
            tokio::time::sleep(IDLE).await;
            resident = server.resident_mb();
        }
        server.kill().await?;
        let started = Instant::now();
        let version = command()?.arg("--version").stdout(Stdio::null()).status().await?;
        ensure!(version.success(), "kassa --version failed");
        bare.push(ms(started.elapsed()));
    }

    busy.says(format!("kill -9 with {} open invoices", filled.open));
    tokio::time::sleep(LEFT_ALONE).await;
    let mut back = Vec::new();
    let orders = Arc::new(AtomicU64::new(0));
    for _ in 0..PAIRS {
        let (mut server, _) = Server::start(&filled.folder).await?;
        let answered = orders_until_killed(&mut server, &filled.customer, &orders).await?;
        let (mut server, took) = Server::start(&filled.folder).await?;
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

/// This binary, without the configuration of whoever measures it.
fn command() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KASSA_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// `kassa serve` as a process of its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it in this folder; answers when `/ready` is, and how long that took.
    async fn start(folder: &Path) -> anyhow::Result<(Self, Duration)> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = folder.join("stderr");
        let mut command = command()?;
        command.args(["serve", "--color", "never", "--data"]).arg(folder);
        command
            .env("KASSA_LISTEN", address.to_string())
            .env("KASSA_HTTP__RATE_PER_10S", u32::MAX.to_string());
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let started = Instant::now();
        let mut child = command.spawn()?;
        loop {
            if is_ready(address).await {
                return Ok((Self { child, address }, started.elapsed()));
            }
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the server ended with {status}: {said}");
            }
            ensure!(started.elapsed() < START_MAX, "the server is not ready after {} s", START_MAX.as_secs());
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// kill -9.
    async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Megabytes of real memory; none where /proc is not Linux's.
    fn resident_mb(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut connection = Connection::open(address).await?;
        let request = Request::get("/ready").header(header::HOST, "kassa").body(Full::default())?;
        anyhow::Ok(connection.send(request).await?.0)
    };
    ask.await.is_ok_and(|status| status == StatusCode::OK)
}

/// Orders on all connections, and kills the server in the middle of it. Answers the invoices whose makers were told
/// that they are there.
async fn orders_until_killed(
    server: &mut Server,
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

/// Nothing that was answered is lost.
async fn look_for(address: SocketAddr, customer: &Customer, invoice_ids: &[String]) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    for id in invoice_ids {
        let (status, _) = connection.send(customer.look(id)?).await?;
        ensure!(status == StatusCode::OK, "invoice {id} was answered before the kill, and is now {status}");
    }
    Ok(())
}
