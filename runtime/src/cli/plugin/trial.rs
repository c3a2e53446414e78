//! `kassa plugin try`: lets a plugin read a chain as the server would, in the sandbox and with all its limits, and
//! shows the result. For authors of plugins and manifests; it touches no installation.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    app::App,
    cli::{network, print, scratch},
    db::{
        DbError, networks,
        plugin_storage::{self, StorageWrites},
    },
    domain::{
        id::{Id, UpstreamId},
        network::Manifest,
        observation::{self, Course, Position, Scan, Seen},
    },
    flow::report,
    host::{CallFailed, Called, ScanError, ScanLimits},
    upstreams::{Learned, Terms, UpstreamSpec},
};

const EXAMPLES: &str = "\
Examples:
  kassa plugin try base.toml --watch 0x… --from 36000000
  kassa plugin try mychain.toml --component mychain.wasm --upstream http://127.0.0.1:8545 --follow

It reads from the highest final block (or from --from) to the head, in a folder that is thrown away. The status is 0
only if every step was answered and obeys the contract in wit/chain.wit.";

/// Maximum number of steps in a row that report no block though there are some: a plugin may have to learn something
/// first.
const STEPS_WITHOUT_A_BLOCK: u32 = 1000;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TryArgs {
    /// Manifest of the network, a TOML file
    network: PathBuf,
    /// A component to read it with, instead of the plugin of that name that comes along
    #[arg(long, value_name = "WASM")]
    component: Option<PathBuf>,
    /// RPC provider to ask, instead of those in the manifest
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Report transfers to this address; can be given several times
    #[arg(long, value_name = "ADDRESS")]
    watch: Vec<String>,
    /// Read on from this block, HEIGHT or HEIGHT:HASH
    #[arg(long, value_name = "BLOCK")]
    from: Option<String>,
    /// Go on when the head is reached, until Ctrl-C
    #[arg(long, conflicts_with = "repeat")]
    follow: bool,
    /// Do the first step this many times, and keep nothing of it, however it ends
    #[arg(long, value_name = "TIMES")]
    repeat: Option<u32>,
}

pub(super) async fn run(args: TryArgs, json: bool) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("kassa-try-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let tried = in_folder(&folder, args, json).await;
    let _ = std::fs::remove_dir_all(&folder);
    tried
}

async fn in_folder(folder: &Path, args: TryArgs, json: bool) -> anyhow::Result<()> {
    let manifest = network::read(&args.network)?;
    let from = args.from.as_deref().map(read_position).transpose()?;
    let app = scratch::open(folder).await?;
    if let Some(component) = &args.component {
        let wasm =
            std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
        let version = app.host.registry().install(wasm).await?;
        app.host.registry().activate(&version.manifest.name, &version.id).await?;
    }
    let (put, now) = (manifest.clone(), app.clock.now());
    app.db
        .write::<_, networks::PutError, _>(move |conn| {
            Box::pin(async move { networks::put(conn, &put, now).await })
        })
        .await?;
    let urls = match args.upstream {
        Some(url) => vec![url],
        None => manifest.upstreams.iter().map(|upstream| upstream.url.clone()).collect(),
    };
    app.upstreams.set(&manifest.name, urls.into_iter().enumerate().map(spec).collect());
    for address in &args.watch {
        scratch::shop(&app, &manifest, address).await?;
    }
    let trial = Trial { app, manifest, json };
    let tried = tokio::select! {
        tried = async {
            match args.repeat {
                Some(times) => trial.repeat(from.as_ref(), times).await,
                None => trial.read_on(from, args.follow).await,
            }
        } => tried,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    trial.app.db.close().await;
    tried
}

fn read_position(text: &str) -> anyhow::Result<Position> {
    let (height, hash) = text.split_once(':').unwrap_or((text, ""));
    let height = height.parse().context("--from takes HEIGHT or HEIGHT:HASH")?;
    Ok(Position { height, hash: hash.to_owned() })
}

fn spec((number, url): (usize, String)) -> UpstreamSpec {
    let priority = i64::try_from(number).unwrap_or(i64::MAX);
    let terms = Terms { calls_per_s: 1000, calls_per_day: None };
    let learned = Learned::default();
    UpstreamSpec {
        id: UpstreamId::of_body(&number.to_string()),
        url,
        headers: Vec::new(),
        terms,
        priority,
        learned,
    }
}

/// Outcome of a step.
enum Outcome {
    Read(Scan),
    /// The plugin's typed error: its kind and its text.
    Refused(&'static str, String),
    /// An answer that breaks the contract.
    Contrary(String),
    /// A trap or an exceeded limit.
    Broke(String),
}

struct Trial {
    app: App,
    manifest: Manifest,
    json: bool,
}

impl Trial {
    async fn repeat(&self, from: Option<&Position>, times: u32) -> anyhow::Result<()> {
        let mut bad = 0;
        for _ in 0..times {
            let (outcome, _) = self.step(from).await;
            bad += u32::from(!matches!(outcome, Outcome::Read(_)));
            self.show(&outcome);
        }
        if bad > 0 {
            bail!("{bad} of {times} steps gave nothing");
        }
        Ok(())
    }

    async fn read_on(&self, from: Option<Position>, follow: bool) -> anyhow::Result<()> {
        let (mut from, mut without) = (from, 0);
        loop {
            let (outcome, writes) = self.step(from.as_ref()).await;
            self.show(&outcome);
            let (Outcome::Read(scan), Some(writes)) = (outcome, writes) else {
                bail!("the chain was not read to its head");
            };
            let learned = !writes.entries.is_empty();
            self.app
                .db
                .write::<_, DbError, _>(move |conn| {
                    Box::pin(async move { plugin_storage::apply(conn, &writes).await })
                })
                .await?;
            without = if scan.blocks.is_empty() { without + 1 } else { 0 };
            if let Some(last) = scan.blocks.last() {
                from = Some(Position { height: last.height, hash: last.hash.clone() });
            }
            let behind = from.as_ref().is_none_or(|from| from.height < scan.head.height);
            if behind && without < STEPS_WITHOUT_A_BLOCK && (!scan.blocks.is_empty() || learned) {
                continue;
            }
            if !follow {
                ensure!(!behind, "it reports no block, though there are some");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(self.manifest.poll_ms)).await;
        }
    }

    /// One scan, checked as the server checks it, and the writes that it wants stored.
    async fn step(&self, from: Option<&Position>) -> (Outcome, Option<StorageWrites>) {
        let watch = &self.app.config.watch;
        let limits = ScanLimits {
            blocks: watch.blocks_per_scan,
            transfers: watch.transfers_per_scan,
            known: None,
            next_is_head: false,
            more: Vec::new(),
        };
        let called = self.app.host.scan(&self.manifest, from.map(report::position), &limits).await;
        let Called { value, writes, .. } = match called {
            Ok(called) => called,
            Err(CallFailed { error, .. }) => return (Outcome::Broke(error.to_string()), None),
        };
        let outcome = match value {
            Err(error) => refused(error),
            Ok(result) => match report::checked(result, from, &self.manifest, &limits) {
                Err(why) => Outcome::Contrary(why.to_string()),
                Ok(scan) => match from.map_or(Course::Forward, |from| observation::course(&scan, from)) {
                    Course::Forward | Course::Still => Outcome::Read(scan),
                    Course::Reorg => {
                        Outcome::Contrary("the chain left the block that was read last".to_owned())
                    }
                    Course::Behind => Outcome::Contrary("the head is behind what was read".to_owned()),
                },
            },
        };
        (outcome, Some(writes))
    }

    fn show(&self, outcome: &Outcome) {
        if self.json {
            // A line for each step, for programs.
            return print::line(as_json(outcome, &self.manifest));
        }
        match outcome {
            Outcome::Read(scan) => {
                for block in &scan.blocks {
                    print::line(format!("block {} {}", block.height, block.hash));
                    for seen in scan.transfers.iter().filter(|seen| seen.height == block.height) {
                        print::line(format!("  {}", in_words(seen, &self.manifest)));
                    }
                }
                if scan.blocks.is_empty() {
                    print::note(format!("nothing new; the head is {}", scan.head.height));
                }
            }
            Outcome::Refused(kind, why) => print::note(format!("{kind}: {why}")),
            Outcome::Contrary(why) => print::note(format!("against the contract: {why}")),
            Outcome::Broke(why) => print::note(format!("broke: {why}")),
        }
    }
}

fn refused(error: ScanError) -> Outcome {
    let (kind, why) = match error {
        ScanError::Upstream(why) => ("upstream", why),
        ScanError::RateLimited(ms) => ("rate-limited", format!("for {ms} ms")),
        ScanError::Malformed(why) => ("malformed", why),
        ScanError::WrongNetwork(id) => ("wrong-network", id),
        ScanError::Behind(head) => ("behind", head.to_string()),
        ScanError::Settings(why) => ("settings", why),
        ScanError::Other(why) => ("other", why),
    };
    Outcome::Refused(kind, why)
}

fn as_json(outcome: &Outcome, manifest: &Manifest) -> Value {
    match outcome {
        Outcome::Read(scan) => json!({
            "blocks": scan.blocks.iter().map(|block| json!({
                "height": block.height, "hash": block.hash, "parent": block.parent, "time_ms": block.time,
            })).collect::<Vec<_>>(),
            "transfers": scan.transfers.iter().map(|seen| transfer(seen, manifest)).collect::<Vec<_>>(),
            "head": { "height": scan.head.height, "hash": scan.head.hash },
            "safe": scan.safe, "final": scan.r#final,
        }),
        Outcome::Refused(kind, why) => json!({ "error": kind, "why": why }),
        Outcome::Contrary(why) => json!({ "contrary": why }),
        Outcome::Broke(why) => json!({ "broke": why }),
    }
}

fn transfer(seen: &Seen, manifest: &Manifest) -> Value {
    json!({
        "tx": seen.tx, "ordinal": seen.ordinal, "height": seen.height,
        "asset": manifest.assets.get(seen.asset).map(|asset| &asset.symbol),
        "sender": seen.sender, "recipient": seen.recipient,
        "amount_units": seen.amount.map(|amount| amount.to_string()),
        "memo": seen.memo, "memo_unreadable": seen.memo_problem,
    })
}

fn in_words(seen: &Seen, manifest: &Manifest) -> String {
    let asset = manifest.assets.get(seen.asset);
    let amount = match (seen.amount, asset) {
        (Some(amount), Some(asset)) => format!("{} {}", amount.to_decimal(asset.decimals), asset.symbol),
        _ => "an amount beyond 128 bits".to_owned(),
    };
    let memo = match (&seen.memo, &seen.memo_problem) {
        (Some(memo), _) => format!(", memo {memo:?}"),
        (None, Some(why)) => format!(", a memo that cannot be read ({why})"),
        (None, None) => String::new(),
    };
    let sender = seen.sender.as_deref().unwrap_or("somebody");
    format!("{amount} from {sender} to {}{memo}, tx {} number {}", seen.recipient, seen.tx, seen.ordinal)
}
