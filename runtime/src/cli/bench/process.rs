//! Kassa as a process of its own: this very binary, as an operator runs it.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::process::{Child, Command};

use super::load::Connection;

const START_MAX: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(2);

/// A command of this binary, without the environment's Kassa configuration.
pub(super) fn command() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KASSA_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// `kassa serve` as a process of its own.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Process {
    /// Starts it in this folder. Returns once `/ready` answers, with the time that took.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<(Self, Duration)> {
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

    /// Kills it with SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(super) fn resident_mb(&self) -> Option<f64> {
        resident_mb(&self.child.id()?.to_string())
    }
}

/// Megabytes of resident memory of a process, or of `self`; `None` if /proc is not Linux's.
pub(super) fn resident_mb(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut connection = Connection::open(address).await?;
        let request = Request::get("/ready").header(header::HOST, "kassa").body(Full::default())?;
        anyhow::Ok(connection.send(request).await?.0)
    };
    ask.await.is_ok_and(|status| status == StatusCode::OK)
}
