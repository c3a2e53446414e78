//! `scan`: a chain plugin reads a block, as the watcher of a network makes it do.
//!
//! A provider in this process serves a made-up chain in the shapes of real ones, with all the fields that real ones
//! send. The real component reads its newest block again and again, in the real host with all limits on, and must find
//! exactly the payments in it. Nothing is committed, so each scan begins where the last one began.
//!
//! Two times are reported for each block. `block` is the wall-clock time of the whole scan: requests, parsing, watched
//! addresses, proofs. `inside` is the processor time that the host charges to the call, the same that `plugins.cpu_ms`
//! limits: the component's own work and that of the host functions that it calls, with the copies of all answers into
//! its memory; but neither the wait for the provider nor its work nor that of the connection. A plugin can only improve
//! this part, so the aims are about it.
//!
//! The limit does the least that any program must do: it asks for the same bytes from the same provider, all at
//! once, by a plain client, and parses them natively, keeping nothing (`block`); `inside` is its time of the
//! processor for the parsing alone.
//!
//! Calls and bytes are those of a scan at the head, as providers count them: the entries of a batch one by one. `day`
//! has one scan for each of the chain's blocks or polls, all of such a block; one a minute also asks for finality.

mod cells;
mod evm;
mod noise;
mod provider;
mod ton;
mod ton_tx;
mod tron;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use cpu_time::ThreadTime;
use futures_util::future::try_join_all;
use http::header;
use serde::de::IgnoredAny;

use self::provider::{Answers, Provider, ReceivedRequest};
use super::{
    Bench, Busy, PAIRS,
    report::Figure,
    stats::{Samples, ms},
    world::{self, shop},
};
use crate::{
    app::App,
    db::{DbError, plugin_storage},
    domain::{
        id::{Id, UpstreamId},
        money::Amount,
        network::Manifest,
    },
    host::{Called, Finality, Memo, Position, ScanLimits, ScanResult},
    upstreams::{Learned, Terms, UpstreamSpec},
};

/// Maximum number of scans before the block below the measured one is read: a plugin may learn only so much at once.
const LEARNING_SCANS_MAX: usize = 20;
const DAY_MS: u64 = 86_400_000;
const MINUTES_A_DAY: u64 = 1_440;
const SCENES: [fn() -> Scene; 3] = [tron::scene, ton::scene, evm::scene];

/// A chain, and the payments in its newest block.
struct Scene {
    /// Name in the figures.
    chain: &'static str,
    network: &'static str,
    watched: Vec<String>,
    /// A position below the cursor: a plugin that stores facts about its addresses learns them from here.
    before: Option<Position>,
    /// The block below the newest.
    cursor: Position,
    payments: Vec<Payment>,
    answers: Answers,
    /// Time between blocks, or between polls, milliseconds.
    every_ms: u32,
    aim_ms: Option<f64>,
}

/// A transfer to a watched address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Payment {
    tx: String,
    ordinal: u32,
    asset: u32,
    /// Index of the recipient among the watched addresses.
    shop: usize,
    amount: u128,
    memo: Option<String>,
    height: u64,
}

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let busy = Busy::new("scan");
    busy.says("compiling plugins");
    let app = world::open(&bench.folder("scan")?).await?;
    for scene in SCENES {
        busy.says("making a chain");
        let reader = Arc::new(Reader::open(&app, scene()).await?);
        reader.measure(bench, &busy).await.with_context(|| reader.chain)?;
    }
    drop(busy);
    app.db.close().await;
    Ok(())
}

/// Reads a chain's newest block.
struct Reader {
    app: App,
    chain: &'static str,
    network: Manifest,
    provider: Provider,
    client: reqwest::Client,
    cursor: Position,
    /// Sorted.
    payments: Vec<Payment>,
    /// The watched addresses in their normal form.
    shops: Vec<String>,
    every_ms: u32,
    aim_ms: Option<f64>,
}

impl Reader {
    async fn open(app: &App, scene: Scene) -> anyhow::Result<Self> {
        let Scene { chain, network, watched, before, cursor, mut payments, answers, every_ms, aim_ms } =
            scene;
        let network = world::network(network)?;
        let provider = Provider::start(answers).await?;
        let upstream = UpstreamSpec {
            id: UpstreamId::of_body("bench"),
            url: provider.url(),
            headers: Vec::new(),
            terms: Terms { calls_per_s: u32::MAX, calls_per_day: None },
            priority: 0,
            learned: Learned::default(),
        };
        app.upstreams.set(&network.name, vec![upstream]);
        let mut shops = Vec::new();
        for address in watched {
            shops.push(shop(app, &network, &address).await?.address);
        }
        let client = reqwest::Client::builder().no_proxy().http1_only().build()?;
        payments.sort();
        let app = app.clone();
        let reader =
            Self { app, chain, network, provider, client, cursor, payments, shops, every_ms, aim_ms };
        if let Some(before) = before {
            reader.learn(before).await?;
        }
        Ok(reader)
    }

    /// Scans up to the cursor, and stores what the plugin learns on the way.
    async fn learn(&self, before: Position) -> anyhow::Result<()> {
        for _ in 0..LEARNING_SCANS_MAX {
            let Called { value, writes, .. } = self.scan(before.clone(), 1, None).await?;
            self.app
                .db
                .write::<_, DbError, _>(move |conn| {
                    Box::pin(async move { plugin_storage::apply(conn, &writes).await })
                })
                .await?;
            if value.blocks.last().is_some_and(|block| block.height == self.cursor.height) {
                return Ok(());
            }
        }
        anyhow::bail!("the plugin of {} does not reach block {}", self.chain, self.cursor.height)
    }

    /// Scans from `cursor`. `known` is the finality, given if the next block is expected to be the head.
    async fn scan(
        &self,
        cursor: Position,
        blocks: u32,
        known: Option<Finality>,
    ) -> anyhow::Result<Called<ScanResult>> {
        let limits = ScanLimits {
            blocks,
            transfers: self.app.config.watch.transfers_per_scan,
            known,
            next_is_head: known.is_some(),
            more: Vec::new(),
        };
        let called = self.app.host.scan(&self.network, Some(cursor), &limits).await?;
        let Called { value, writes, webhooks, upstream, version_id, trace } = called;
        let value = value.map_err(|error| anyhow::anyhow!("the scan failed: {error:?}"))?;
        Ok(Called { value, writes, webhooks, upstream, version_id, trace })
    }

    /// Reads the newest block and checks the result. Returns the wall-clock and the processor time.
    async fn read(&self) -> anyhow::Result<(Duration, Duration)> {
        let blocks = self.app.config.watch.blocks_per_scan;
        let started = Instant::now();
        let called = self.scan(self.cursor.clone(), blocks, None).await?;
        let took = started.elapsed();
        self.check(called.value)?;
        Ok((took, called.trace.cpu))
    }

    fn check(&self, result: ScanResult) -> anyhow::Result<()> {
        let heights: Vec<u64> = result.blocks.iter().map(|block| block.height).collect();
        ensure!(heights == [self.cursor.height + 1], "blocks {heights:?} were read");
        let mut found = Vec::with_capacity(result.transfers.len());
        for transfer in result.transfers {
            let shop = self.shops.iter().position(|address| *address == transfer.recipient);
            found.push(Payment {
                shop: shop.with_context(|| format!("{} is not watched", transfer.recipient))?,
                tx: transfer.tx,
                ordinal: transfer.ordinal,
                asset: transfer.asset,
                amount: transfer.amount.map(|amount| Amount::from(amount).0).context("no amount")?,
                memo: match transfer.memo {
                    Memo::None => None,
                    Memo::Text(text) => Some(text),
                    Memo::Unreadable(why) => anyhow::bail!("a memo is unreadable: {why}"),
                },
                height: transfer.height,
            });
        }
        found.sort();
        ensure!(
            found == self.payments,
            "{} transfers were found, and not the {} that were made",
            found.len(),
            self.payments.len()
        );
        Ok(())
    }

    async fn measure(self: &Arc<Self>, bench: &Bench, busy: &Busy) -> anyhow::Result<()> {
        self.provider.take_asked();
        self.read().await?;
        let asked = Arc::new(self.provider.take_asked());
        let cost = self.cost().await?;
        let (mut ours, mut limit) = (Runs::default(), Runs::default());
        for pair in 0..PAIRS {
            busy.pair(pair);
            let reader = self.clone();
            let read = move || {
                let reader = reader.clone();
                async move { reader.read().await }
            };
            ours.add(again(bench.run / 2, read).await?);
            let (reader, asked) = (self.clone(), asked.clone());
            let bare = move || {
                let (reader, asked) = (reader.clone(), asked.clone());
                async move { reader.bare(&asked).await }
            };
            limit.add(again(bench.run / 2, bare).await?);
            self.provider.take_asked();
        }
        let name = |what: &str| format!("{}_{what}", self.chain);
        let report = &bench.report;
        let of = |what: &str, unit| Figure::less("scan", name(what), unit);
        report.figure(&of("block", "ms").ours(ours.whole).limit(limit.whole));
        let inside = of("inside", "ms").ours(ours.inside).limit(limit.inside);
        report.figure(&match self.aim_ms {
            Some(aim) => inside.aim(aim),
            None => inside,
        });
        report.figure(&of("calls", "").ours(vec![cost.block.0 as f64]));
        report.figure(&of("bytes", "kB").ours(vec![cost.block.1 as f64 / 1e3]));
        report.figure(&of("calls_a_day", "").ours(vec![cost.day.0 as f64]));
        report.figure(&of("bytes_a_day", "GB").ours(vec![cost.day.1 as f64 / 1e9]));
        Ok(())
    }

    /// The cost of reading at the head.
    async fn cost(&self) -> anyhow::Result<Cost> {
        let blocks = self.app.config.watch.blocks_per_scan;
        let full = self.scan(self.cursor.clone(), blocks, None).await?.value;
        let with_finality = self.count().await?;
        let known = Finality { safe: full.safe, final_: full.final_ };
        self.check(self.scan(self.cursor.clone(), blocks, Some(known)).await?.value)?;
        let block = self.count().await?;
        let scans = DAY_MS / u64::from(self.every_ms);
        let day = |block: u64, full: u64| scans * block + MINUTES_A_DAY * full.saturating_sub(block);
        Ok(Cost { block, day: (day(block.0, with_finality.0), day(block.1, with_finality.1)) })
    }

    /// Calls and bytes of the requests since the last count.
    async fn count(&self) -> anyhow::Result<(u64, u64)> {
        let asked = self.provider.take_asked();
        let calls = asked.iter().map(|asked| match serde_json::from_slice(&asked.body) {
            Ok(serde_json::Value::Array(calls)) => calls.len(),
            _ => 1,
        });
        let calls = u64::try_from(calls.sum::<usize>())?;
        let bytes = self.fetch(&asked).await?.iter().map(Bytes::len).sum::<usize>();
        self.provider.take_asked();
        Ok((calls, u64::try_from(bytes)?))
    }

    async fn fetch(&self, asked: &[ReceivedRequest]) -> anyhow::Result<Vec<Bytes>> {
        try_join_all(asked.iter().map(|asked| async {
            let url = format!("{}{}", self.provider.url(), asked.path);
            let request = self.client.request(asked.method.clone(), url).body(asked.body.clone());
            let answer = request.header(header::CONTENT_TYPE, "application/json").send().await?;
            Ok(answer.error_for_status()?.bytes().await?)
        }))
        .await
    }

    /// Fetches and parses the same bytes. Returns the wall-clock time, and the processor time of the parsing.
    async fn bare(&self, asked: &[ReceivedRequest]) -> anyhow::Result<(Duration, Duration)> {
        let started = Instant::now();
        let bodies = self.fetch(asked).await?;
        let parsing = ThreadTime::now();
        for body in &bodies {
            serde_json::from_slice::<IgnoredAny>(body)?;
        }
        Ok((started.elapsed(), parsing.elapsed()))
    }
}

/// Calls and bytes of a block and of a day.
struct Cost {
    block: (u64, u64),
    day: (u64, u64),
}

#[derive(Default)]
struct Runs {
    whole: Vec<f64>,
    inside: Vec<f64>,
}

impl Runs {
    fn add(&mut self, (whole, inside): (Samples, Samples)) {
        self.whole.push(ms(whole.sorted().p50()));
        self.inside.push(ms(inside.sorted().p50()));
    }
}

/// Repeats `read` for `time`, in a task, as the watcher is one.
async fn again<C, F>(time: Duration, read: C) -> anyhow::Result<(Samples, Samples)>
where
    C: Fn() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<(Duration, Duration)>> + Send,
{
    let task = tokio::spawn(async move {
        let (mut whole, mut inside) = (Samples::default(), Samples::default());
        let started = Instant::now();
        while started.elapsed() < time || whole.len() == 0 {
            let (took, used) = read().await?;
            whole.push(took);
            inside.push(used);
        }
        anyhow::Ok((whole, inside))
    });
    task.await.context("a reader broke")?
}
