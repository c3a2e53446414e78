//! Kassa's simulator: see README.md.
//!
//! A seed makes a [`schedule`]; a [`world`] carries it out on the real workers and the real database code, on a
//! [`chain`] that does what the schedule says; a [`judge`] says what was wrong. A schedule that fails is shrunk to the
//! operations that matter ([`shrink`]).
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod chain;
mod judge;
mod random;
mod schedule;
mod shrink;
mod stage;
mod world;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser;
use kassa::simulation::Scene;

use crate::{schedule::Schedule, stage::Stage};

/// Number of schedules between two lines of progress.
const TOLD_EACH: u64 = 5_000;

/// Run seeded schedules of outages, restarts, reorgs and wrong clocks, and judge whose payment was whose.
///
/// A failure prints its seed and the least schedule that still fails; the status is 1.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  simulator --schedules 2000              seeds 1 to 2000
  simulator --first 7 --schedules 1 -v    one seed, told step by step")]
struct Args {
    /// Number of schedules to run
    #[arg(long, default_value_t = 1_000)]
    schedules: u64,
    /// The seed of the first
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Run at once [default: as many as there are processors]
    #[arg(long)]
    threads: Option<usize>,
    /// Say what happens, step by step
    #[arg(short, long)]
    verbose: bool,
    /// Go on after a failure, and only count
    #[arg(long)]
    keep_going: bool,
    /// Do not look for the least schedule that fails
    #[arg(long)]
    no_shrink: bool,
}

/// Keeps a thread, and those that it starts, on one processor: it and its database take turns, and a wake-up across
/// processors takes longer than most of what they do.
#[cfg(target_os = "linux")]
fn stay_on(thread: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Ok(allowed) = sched_getaffinity(None) else { return };
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if let Some(cpu) = allowed.get(thread % allowed.len().max(1)) {
        let mut one = CpuSet::new();
        one.set(*cpu);
        // If that is not allowed, it is only slower.
        let _ = sched_setaffinity(None, &one);
    }
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_: usize) {}

fn main() -> anyhow::Result<std::convert::Infallible> {
    let args = Args::parse();
    // In memory, if the machine has such a file system.
    let shm = Some(Path::new("/dev/shm")).filter(|shm| shm.is_dir());
    let folder =
        shm.map_or_else(tempfile::tempdir, tempfile::tempdir_in).context("no folder for databases")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let scene = Arc::new(runtime.block_on(Scene::new(folder.path()))?);
    let threads = args.threads.map_or_else(std::thread::available_parallelism, |threads| {
        Ok(std::num::NonZeroUsize::new(threads).unwrap_or(std::num::NonZeroUsize::MIN))
    })?;
    let (next, done, failed) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let workers: Vec<_> = (0..threads.get())
        .map(|thread| {
            let (scene, next, done, failed) =
                (Arc::clone(&scene), Arc::clone(&next), Arc::clone(&done), Arc::clone(&failed));
            let path = folder.path().to_owned();
            let (count, first, verbose) = (args.schedules, args.first, args.verbose);
            let (keep_going, no_shrink) = (args.keep_going, args.no_shrink);
            std::thread::spawn(move || -> anyhow::Result<()> {
                stay_on(thread);
                let mut stage = Stage::new(scene, path)?;
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || (!keep_going && failed.load(Ordering::Relaxed) > 0) {
                        return Ok(());
                    }
                    let schedule = Schedule::of(first + at);
                    let wrong =
                        stage.run(&schedule, verbose).with_context(|| format!("seed {}", first + at))?;
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done % TOLD_EACH == 0 {
                        let (failed, s) = (failed.load(Ordering::Relaxed), started.elapsed().as_secs());
                        eprintln!("{done} of {count} in {s} s: {failed} failed");
                    }
                    if let Some(wrong) = wrong {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("seed {}: {wrong}", first + at);
                        if !keep_going && !no_shrink {
                            let least = shrink::least(&mut stage, &schedule, wrong.kind)?;
                            println!("the least schedule that fails:\n{least}");
                            stage.run(&least, true)?;
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a simulation panicked"))??;
    }
    let (done, failed, elapsed) =
        (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed), started.elapsed());
    let each_ms = elapsed.as_millis() * threads.get() as u128 / u128::from(done.max(1));
    println!(
        "{done} schedules from seed {} in {} s ({each_ms} ms of a thread each): {failed} failed",
        args.first,
        elapsed.as_secs()
    );
    // Failures were reported already.
    std::process::exit(i32::from(failed > 0))
}
