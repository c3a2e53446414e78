//! Calls: fulfillers in each language, and a matcher that chooses among the maximum number of invoices.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{
    Installed, NOW_MS, PAID,
    components::{Components, Language},
    install, paid, told, unmatched,
};
use crate::{
    app::App,
    cli::bench::{
        Bench, Busy, PAIRS,
        report::{Figure, Report},
        stats::{Runs, Samples},
    },
    db::plugin_storage::{self, Revision, StorageWrites},
    domain::{event::Kind, money::Amount},
    host::{
        Memo, PluginTransfer, Tape,
        bench::{BareHook, BareHooks},
        fulfiller, matcher, scope_of_hook,
    },
};

/// Time of one side before it is the other's turn, so that noise hits both.
pub(super) const SLICE: Duration = Duration::from_millis(50);
/// Number of candidates: the maximum that a matcher is offered.
const CANDIDATES: u32 = 100;
const KEY: (&str, &[u8]) = ("key/1", b"AAAA-BBBB-CCCC-DDDD");
/// Index of the candidate whose amount the transfer comes near.
const MEANT: u32 = 60;

/// A hook in Kassa, and the same in bare wasmtime.
struct Callee {
    app: App,
    hook: Installed,
    bare: BareHook,
}

pub(super) async fn run(
    bench: &Bench,
    app: &App,
    components: &Components,
    busy: &Busy,
) -> anyhow::Result<()> {
    let bare = BareHooks::new()?;
    for (language, component) in &components.fulfillers {
        match component {
            Ok(wasm) => fulfillers(bench, callee(app, wasm, &bare).await?, *language, busy).await?,
            Err(why) => bench.report.missing("hook", language.word(), why),
        }
    }
    match &components.matcher {
        Ok(wasm) => matchers(bench, callee(app, wasm, &bare).await?, busy).await,
        Err(why) => {
            bench.report.missing("hook", "matcher", why);
            Ok(())
        }
    }
}

async fn callee(app: &App, wasm: &Arc<[u8]>, bare: &BareHooks) -> anyhow::Result<Arc<Callee>> {
    let hook = install(app, wasm.to_vec()).await?;
    let writes = StorageWrites {
        scope: scope_of_hook(&hook.of.hook_id),
        base: Revision::default(),
        bytes: u64::try_from(KEY.0.len() + KEY.1.len())?,
        entries: [(KEY.0.to_owned(), Some(KEY.1.to_vec()))].into(),
    };
    app.db.write(move |conn| Box::pin(async move { plugin_storage::apply(conn, &writes).await })).await?;
    let (bare, wasm) = (bare.clone(), wasm.clone());
    let stored = [(KEY.0.to_owned(), KEY.1.to_vec())].into();
    let bare = tokio::task::spawn_blocking(move || bare.compile(&wasm, stored)).await??;
    Ok(Arc::new(Callee { app: app.clone(), hook, bare }))
}

/// An event for a fulfiller, and whether it sells a key or refuses.
struct Task {
    told: (fulfiller::Event, fulfiller::Context),
    sells: bool,
}

impl Task {
    fn new(kind: Kind, payload: String, sells: bool) -> Arc<Self> {
        Arc::new(Self { told: told(kind, payload), sells })
    }

    fn check(&self, outcome: &fulfiller::Outcome) -> anyhow::Result<()> {
        let right = match outcome {
            fulfiller::Outcome::Done(note) => self.sells && note.contains("DDDD"),
            fulfiller::Outcome::Reject(_) => !self.sells,
            fulfiller::Outcome::Retry(_) => false,
        };
        ensure!(right, "the hook said {outcome:?}");
        Ok(())
    }
}

async fn fulfill(callee: Arc<Callee>, task: Arc<Task>) -> anyhow::Result<Duration> {
    let Installed { version, of } = &callee.hook;
    let (of, (event, context)) = (of.clone(), &task.told);
    let started = Instant::now();
    let called = callee.app.host.hooks().fulfill(version, of, event, context, Tape::record()).await?;
    let took = started.elapsed();
    ensure!(called.webhooks.len() == usize::from(task.sells), "it queued {:?}", called.webhooks);
    task.check(&called.value)?;
    Ok(took)
}

async fn fulfill_bare(callee: Arc<Callee>, task: Arc<Task>) -> anyhow::Result<Duration> {
    let (event, context) = &task.told;
    let started = Instant::now();
    let outcome = callee.bare.fulfill(event, context).await?;
    let took = started.elapsed();
    task.check(&outcome)?;
    Ok(took)
}

async fn fulfillers(
    bench: &Bench,
    callee: Arc<Callee>,
    language: Language,
    busy: &Busy,
) -> anyhow::Result<()> {
    let tasks = [
        ("decide", Task::new(Kind::TransferUnmatched, unmatched(), false)),
        ("sale", Task::new(PAID, paid(), true)),
    ];
    for (name, task) in tasks {
        let aim_us = (!task.sells).then_some(match language {
            Language::Rust => 20.0,
            Language::Js => 200.0,
            Language::Python => 1_500.0,
        });
        // Fuel and ticks are woven into an interpreter's own loop: there is no aim for their share of the time.
        let aim_ratio = (language == Language::Rust && !task.sells).then_some(0.7);
        let (ours, bare) = ((callee.clone(), task.clone()), (callee.clone(), task));
        let runs = in_turn(
            bench,
            busy,
            move || fulfill(ours.0.clone(), ours.1.clone()),
            move || fulfill_bare(bare.0.clone(), bare.1.clone()),
        );
        runs.await?.report(&bench.report, &format!("{}_{name}", language.word()), aim_us, aim_ratio);
    }
    Ok(())
}

/// A transfer, the open invoices that it may pay, and the matcher's context.
type Question = (PluginTransfer, Vec<matcher::Candidate>, matcher::Context);

fn question() -> Question {
    let units = |cents: u32| u128::from(cents) * 10_000;
    let cents = |index: u32| 1_000 + 100 * index;
    let transfer = PluginTransfer {
        tx: "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b".to_owned(),
        ordinal: 7,
        asset: 0,
        sender: Some("0x4200000000000000000000000000000000000006".to_owned()),
        recipient: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".to_owned(),
        // An exchange has kept a cent.
        amount: Some(Amount(units(cents(MEANT) - 1)).into()),
        memo: Memo::None,
        height: 26_412_345,
        more: Vec::new(),
    };
    let candidates = (0..CANDIDATES).map(|index| matcher::Candidate {
        due: Amount(units(cents(index))).into(),
        received: Amount::ZERO.into(),
        created_ms: NOW_MS - 1_000 * u64::from(CANDIDATES - index),
        expires_ms: NOW_MS + 3_600_000,
        tag: "shop".to_owned(),
        order_id: format!("A-{}", 1_000 + index),
        more: None,
    });
    let context = matcher::Context {
        network: "base".to_owned(),
        asset: "USDC".to_owned(),
        decimals: 6,
        now_ms: NOW_MS,
        settings: json!({ "absolute": "0.05" }).to_string(),
        more: Vec::new(),
    };
    (transfer, candidates.collect(), context)
}

async fn matching(callee: Arc<Callee>, question: Arc<Question>) -> anyhow::Result<Duration> {
    let Installed { version, of } = &callee.hook;
    let (of, (transfer, candidates, context)) = (of.clone(), question.as_ref());
    let started = Instant::now();
    let asked = (transfer, candidates.as_slice(), context);
    let called = callee.app.host.hooks().match_transfer(version, of, asked, Tape::record()).await?;
    let took = started.elapsed();
    ensure!(called.value == matcher::Decision::Pay(MEANT), "the matcher said {:?}", called.value);
    Ok(took)
}

async fn matching_bare(callee: Arc<Callee>, question: Arc<Question>) -> anyhow::Result<Duration> {
    let (transfer, candidates, context) = question.as_ref();
    let started = Instant::now();
    let decision = callee.bare.match_transfer(transfer, candidates, context).await?;
    let took = started.elapsed();
    ensure!(decision == matcher::Decision::Pay(MEANT), "the matcher said {decision:?}");
    Ok(took)
}

async fn matchers(bench: &Bench, callee: Arc<Callee>, busy: &Busy) -> anyhow::Result<()> {
    let question = Arc::new(question());
    let (ours, bare) = ((callee.clone(), question.clone()), (callee, question));
    let runs = in_turn(
        bench,
        busy,
        move || matching(ours.0.clone(), ours.1.clone()),
        move || matching_bare(bare.0.clone(), bare.1.clone()),
    );
    runs.await?.report(&bench.report, "matcher_100", Some(45.0), Some(0.7));
    Ok(())
}

struct Beside {
    ours: Runs,
    bare: Runs,
}

impl Beside {
    fn report(self, report: &Report, name: &str, aim_us: Option<f64>, aim_ratio: Option<f64>) {
        let Self { ours, bare } = self;
        let p50 =
            |name: String| Figure::less("hook", name, "us").ours(ours.p50.clone()).limit(bare.p50.clone());
        let figure = p50(format!("{name}_p50"));
        report.figure(&match aim_us {
            Some(aim) => figure.aim(aim),
            None => figure,
        });
        if let Some(share) = aim_ratio {
            report.figure(&p50(format!("{name}_of_bare")).aim_ratio(share));
        }
        report.figure(&Figure::less("hook", format!("{name}_p99"), "us").ours(ours.p99).limit(bare.p99));
    }
}

/// Measures both sides in turn, each call by its own report. One call at a time, in a task, as every call is in one.
async fn in_turn<O, B, FO, FB>(bench: &Bench, busy: &Busy, ours: O, bare: B) -> anyhow::Result<Beside>
where
    O: Fn() -> FO + Send + Sync + 'static,
    B: Fn() -> FB + Send + Sync + 'static,
    FO: Future<Output = anyhow::Result<Duration>> + Send,
    FB: Future<Output = anyhow::Result<Duration>> + Send,
{
    let (mut runs, calls) = (Beside { ours: Runs::default(), bare: Runs::default() }, Arc::new((ours, bare)));
    for pair in 0..PAIRS {
        busy.pair(pair);
        let (calls, time) = (calls.clone(), bench.run);
        let task = tokio::spawn(async move {
            let (mut of_ours, mut of_bare) = (Samples::default(), Samples::default());
            let until = Instant::now() + time;
            while Instant::now() < until {
                slice(&calls.0, &mut of_ours).await?;
                slice(&calls.1, &mut of_bare).await?;
            }
            anyhow::Ok((of_ours, of_bare))
        });
        let (of_ours, of_bare) = task.await.context("a caller broke")??;
        runs.ours.add(of_ours);
        runs.bare.add(of_bare);
    }
    Ok(runs)
}

async fn slice<C, F>(call: &C, samples: &mut Samples) -> anyhow::Result<()>
where
    C: Fn() -> F,
    F: Future<Output = anyhow::Result<Duration>>,
{
    let until = Instant::now() + SLICE;
    while Instant::now() < until {
        samples.push(call().await?);
    }
    Ok(())
}
