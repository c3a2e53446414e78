//! `kassa bench`: the speed of Kassa here, beside the speed of this machine.
//!
//! A figure alone says little: disks and processors differ by a factor of twenty. So each scenario measures two
//! things in turn, several times over: Kassa, and the least that any program would have to do on this machine for
//! the same effect (the *limit*), with the same durability. Their ratio is what is comparable.
//!
//! Load is made in this process, on the same processors: nothing is subtracted for it. Each scenario also checks
//! that what it counted was right; a wrong result is a failure, however fast.

#![expect(clippy::float_arithmetic, reason = "figures about speed; no amount of money passes here")]

mod call;
mod deliver;
mod disk;
mod filter;
mod hook;
mod idle;
mod invoices;
mod load;
mod prefill;
mod process;
mod report;
mod scan;
mod settle;
mod stats;
mod swap;
mod world;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    prefill::Filled,
    report::{Figure, Report},
};
use super::{Global, logging, print, stop};

/// Number of runs of Kassa and of the limit, in turn.
const PAIRS: usize = 3;

const EXAMPLES: &str = "\
Examples:
  kassa bench                              everything; some minutes, and 4 GB of disk while it runs
  kassa bench call deliver --seconds 1     a quick look at two scenarios
  kassa bench settle --open 100000
  kassa bench hook                         merchants' hooks; in a checkout, whose ready hooks it builds
  kassa bench --json --dir /var/lib > figures.json

Scenarios: call (one plugin call), swap (of a plugin under load), scan (a full block of TRON, TON and Base read
by its plugin: block is the whole scan on the clock, inside its time of the processor; and what it and a day of such
blocks cost at the head in calls and bytes), invoices (durable creation through HTTP), settle (transfers credited,
with many open invoices; addresses filtered), deliver (webhooks), hook (calls of merchants' hooks in Rust, JavaScript
and Python, uploads, ten thousand hooks), idle (start, memory, recovery after kill -9).

hook builds the ready hooks of sdk: Rust's need cargo and the target wasm32-unknown-unknown, JavaScript's Node.js and
`npm --prefix sdk/js ci`, Python's an sdk/python/.venv with the SDK in it. What is missing is not measured.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    /// Scenarios to measure; everything if none is named
    #[arg(value_enum, value_name = "SCENARIO", hide_possible_values = true)]
    scenarios: Vec<Scenario>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Folder on the disk to be measured; all that is written there is removed at the end
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Length of each run
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Open invoices that settle and idle work beside
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    open: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Call,
    Swap,
    Scan,
    Invoices,
    Settle,
    Deliver,
    Hook,
    Idle,
}

/// State that the scenarios share.
struct Bench {
    folder: PathBuf,
    run: Duration,
    open: u64,
    report: Report,
    /// The data folder with many open invoices, once a scenario has needed it.
    filled: Option<Filled>,
}

pub(super) async fn run(_global: &Global, args: BenchArgs) -> anyhow::Result<()> {
    let stop = stop::on_signal()?;
    let folder = TemporaryFolder::make(&args.dir)?;
    // As `serve` does: a log line is part of the work.
    logging::to_file(&folder.0.join("kassa.log"))?;
    tokio::select! {
        done = measure(args, folder.0.clone()) => done,
        () = stop.cancelled() => anyhow::bail!("stopped; what was written is removed"),
    }
}

async fn measure(args: BenchArgs, folder: PathBuf) -> anyhow::Result<()> {
    let mut chosen = Scenario::value_variants().to_vec();
    if !args.scenarios.is_empty() {
        chosen.retain(|scenario| args.scenarios.contains(scenario));
    }
    let mut bench = Bench {
        folder,
        run: Duration::from_secs(args.seconds),
        open: args.open,
        report: Report::new(args.json),
        filled: None,
    };
    bench.report.head();
    bench.probe("fsync_before").await?;
    for scenario in chosen {
        let done = match scenario {
            Scenario::Call => call::run(&bench).await,
            Scenario::Swap => swap::run(&bench).await,
            Scenario::Scan => scan::run(&bench).await,
            Scenario::Invoices => invoices::run(&bench).await,
            Scenario::Settle => settle::run(&mut bench).await,
            Scenario::Deliver => deliver::run(&bench).await,
            Scenario::Hook => hook::run(&bench).await,
            Scenario::Idle => idle::run(&mut bench).await,
        };
        done.with_context(|| format!("{scenario:?} broke off"))?;
    }
    bench.probe("fsync_after").await
}

impl Bench {
    /// Measures the disk now: if it differs between before and after, so may everything between.
    async fn probe(&self, metric: &'static str) -> anyhow::Result<()> {
        let file = self.folder.join("probe");
        let rate = tokio::task::spawn_blocking(move || disk::syncs_per_s(&file)).await??;
        if rate > disk::IN_MEMORY_FROM {
            print::note(format!(
                "{} is in memory: what needs a disk is faster here than it will ever be",
                self.folder.display()
            ));
        }
        self.report.figure(&Figure::more("disk", metric, "1/s").ours(vec![rate]));
        Ok(())
    }

    /// A new empty folder.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

/// A spinner on a terminal, hidden elsewhere; gone when it is dropped.
struct Busy(ProgressBar);

impl Busy {
    fn new(scenario: &'static str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_prefix(scenario);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// A bar for something that consists of `parts` parts.
    fn counted(doing: &'static str, parts: u64) -> Self {
        let bar = ProgressBar::new(parts);
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} {wide_bar} {human_pos} of {human_len}, {eta} left")
        {
            bar.set_style(style);
        }
        bar.set_prefix(doing);
        Self(bar)
    }

    fn says(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    fn pair(&self, index: usize) {
        self.says(format!("run {} of {PAIRS}, each beside the machine's limit,", index + 1));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A folder that is deleted with its contents when dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn make(beside: &Path) -> anyhow::Result<Self> {
        let path = beside.join(format!("kassa-bench-{}", std::process::id()));
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot make a folder in {}", beside.display()))?;
        Ok(Self(path.canonicalize()?))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            print::note(format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
