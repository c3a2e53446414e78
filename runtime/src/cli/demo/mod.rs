//! `kassa demo`: one payment from the order to the verified webhook, against a real server in this process.
//!
//! The demo speaks to the server by HTTP, as everybody does, and shows only what it saw there or in a webhook. Only the
//! chain is not the real one: the sandbox simulates it, or a local chain stands in for it.

mod ground;
mod local;
mod receiver;
mod screen;
mod story;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Global,
    client::{Client, local},
    folder::Folder,
    key, logging, print, serve, stop,
};
use crate::config::Config;
use ground::{Ground, SANDBOX};
use screen::Screen;

const EXAMPLES: &str = "\
Examples:
  kassa demo                    then try it yourself, with the commands that it prints
  kassa demo --exit             ends there; status 0 only if every step was seen
  kassa demo --network ton      on a local chain that stands in for TON; also tron, base, bsc, …
  kassa demo --data demo-data   keeps what was made, for a look with `kassa serve`

The demo reads no kassa.toml and no KASSA_ variables: it cannot touch a real installation by accident.
Without --data it works in a temporary folder and removes that at the end.
Local chains are programs of the source tree: they need a checkout and Node.js 20.11 or later, and nothing of the
real networks is asked.";

/// Port of a real server, used if it is free.
const PORT: u16 = 7070;
/// Life of the operator's key that the demo makes for itself, milliseconds.
const KEY_LIFE_MS: i64 = 24 * 3600 * 1000;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DemoArgs {
    /// End when the payment is through, with status 0 only if every step was seen
    #[arg(long)]
    exit: bool,
    /// The network to pay on
    #[arg(long, value_name = "NAME", default_value = SANDBOX)]
    network: String,
}

pub(super) async fn run(global: &Global, args: DemoArgs) -> anyhow::Result<()> {
    let ground = Ground::of(&args.network)?;
    let mut demo = DemoFolder::new(global.data.as_deref());
    let folder = Folder::lock(&demo.path)?;
    let log = demo.path.join("demo.log");
    logging::to_file(&log)?;
    let stop = stop::on_signal()?;
    let told = tell(&folder, ground, &stop, args.exit).await;
    if told.is_err() && !stop.is_cancelled() {
        demo.temporary = false;
        print::note(format!("The server's log is in {}.", log.display()));
    }
    if told.is_ok() && !args.exit {
        let (path, kept) = (demo.path.display(), if demo.temporary { "removed" } else { "kept" });
        print::line(format!("\n  The demo has ended; its folder {path} is {kept}."));
    }
    told
}

async fn tell(
    folder: &Folder,
    mut ground: Ground,
    stop: &CancellationToken,
    exit: bool,
) -> anyhow::Result<()> {
    let screen = Screen::default();
    screen.title(&ground);
    let started = Instant::now();
    let server = Server::start(folder).await?;
    let operator = Client::at(&server.url, Some(server.operator_key.clone()))?;
    let told = tokio::select! {
        told = story::tell(&screen, &mut ground, &server.url, &operator, started) => told,
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped before the end")),
    };
    let ended = match told {
        Err(error) => Err(error),
        Ok(_) if exit => {
            screen.all_seen(started.elapsed());
            Ok(())
        }
        Ok(mut shop) => {
            screen.your_turn(&server.url, &ground, &shop);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    hook = shop.receiver.next() => screen.hook(&hook),
                }
            }
            Ok(())
        }
    };
    server.end().await?;
    ended
}

/// The server, in this process.
struct Server {
    url: String,
    operator_key: String,
    stop: CancellationToken,
    ended: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    async fn start(folder: &Folder) -> anyhow::Result<Self> {
        let app = serve::open(folder, config()?).await?;
        let expires_at = app.clock.now() + KEY_LIFE_MS;
        let (_, operator_key) = key::issue_operator(&app, "demo".to_owned(), Some(expires_at)).await?;
        let (ready, bound) = oneshot::channel();
        let stop = CancellationToken::new();
        let ended = tokio::spawn(app.serve(stop.clone(), |address| {
            let _ = ready.send(address);
        }));
        match bound.await {
            Ok(address) => {
                folder.announce(address)?;
                Ok(Self { url: local(address), operator_key, stop, ended })
            }
            // It ended before it was ready, so it has a reason.
            Err(_) => {
                ended.await.context("the server broke")??;
                anyhow::bail!("the server ended before it was ready")
            }
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.ended.await.context("the server broke")?
    }
}

/// The default configuration, with deliveries to this machine and a free port.
fn config() -> anyhow::Result<Config> {
    let mut config = Config::load(Path::new(""), false, std::iter::empty())?;
    config.webhooks.allow_private = true;
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    // 0 lets the system choose.
    let port = if TcpListener::bind(usual).is_ok() { PORT } else { 0 };
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(config)
}

/// Folder of the demo.
struct DemoFolder {
    path: PathBuf,
    /// Removed when the demo has ended well.
    temporary: bool,
}

impl DemoFolder {
    fn new(named: Option<&Path>) -> Self {
        match named {
            Some(path) => Self { path: path.to_owned(), temporary: false },
            None => {
                let name = format!("kassa-demo-{}", std::process::id());
                Self { path: std::env::temp_dir().join(name), temporary: true }
            }
        }
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Maximum time of anything in the demo before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);
