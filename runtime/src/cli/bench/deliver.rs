//! `deliver`: committed events become signed webhooks that sinks in this process take, each attempt logged; beside
//! signed POSTs to the same sinks with nothing kept.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{
    Bench, Busy, PAIRS,
    load::{CONNECTIONS, Connection},
    report::Figure,
    stats::{Samples, ms, rate},
    world::{self, shop},
};
use crate::{
    app::App,
    db::{
        DbError, bench,
        endpoints::{self, NewEndpoint},
        events,
    },
    domain::{
        event::{self, NewEvent},
        id::{EndpointId, EventId, InvoiceId, MerchantId},
        signature::{self, Secret},
        tenant::Tenant,
    },
    flow::{deliver, dispatch},
};

const NETWORK: &str = "base";
/// Number of endpoints. Each is another merchant's, on a port of its own.
const ENDPOINTS: usize = 32;
/// Number of events in a run, per second of it.
const EVENTS_PER_S: usize = 6_000;
const EVENTS_PER_WRITE: usize = 200;
/// Number of events a second while the latency of a single one is measured, and the time between batches of them.
const CALM_PER_S: usize = 1_000;
const CALM_EVERY: Duration = Duration::from_millis(10);
/// Maximum time from the commit of the last event until all have arrived and are logged.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let busy = Busy::new("deliver");
    busy.says("compiling plugins");
    let app = world::open(&bench.folder("deliver")?).await?;
    let sinks = Sinks::open().await?;
    let mut town = Town::open(&app, &sinks).await?;
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    let count = EVENTS_PER_S * usize::try_from(bench.run.as_secs())?;
    for pair in 0..PAIRS {
        busy.says("committing events");
        town.commit(count).await?;
        busy.pair(pair);
        let started = Instant::now();
        let workers = Workers::start(&app);
        town.all_taken().await?;
        ours.push(rate(count, started.elapsed()));
        workers.stop().await?;
        limits.push(bare(&sinks, bench.run).await?);
    }
    busy.says(format!("{CALM_PER_S} a second"));
    let workers = Workers::start(&app);
    let on_the_way = town.calm(bench.run).await?.sorted();
    workers.stop().await?;
    drop(busy);
    let report = &bench.report;
    report.figure(&Figure::more("deliver", "delivered", "1/s").ours(ours).limit(limits).aim(6_000.0));
    report.figure(&Figure::less("deliver", "p50_at_1000_per_s", "ms").ours(vec![ms(on_the_way.p50())]));
    report.figure(
        &Figure::less("deliver", "p99_at_1000_per_s", "ms").ours(vec![ms(on_the_way.p99())]).aim(50.0),
    );
    app.db.close().await;
    Ok(())
}

/// Tasks of dispatch and deliver, as `serve` runs them.
struct Workers {
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Workers {
    fn start(app: &App) -> Self {
        let stop = CancellationToken::new();
        let tasks = [
            tokio::spawn(dispatch::run(app.clone(), stop.clone())),
            tokio::spawn(deliver::run(app.clone(), stop.clone())),
        ];
        Self { stop, tasks }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.context("a worker broke")?;
        }
        Ok(())
    }
}

/// Merchants with one endpoint each, and their events.
struct Town<'b> {
    app: &'b App,
    sinks: &'b Sinks,
    merchants: Vec<MerchantId>,
    committed: usize,
}

impl<'b> Town<'b> {
    async fn open(app: &'b App, sinks: &'b Sinks) -> anyhow::Result<Self> {
        let network = world::network(NETWORK)?;
        let mut merchants = Vec::new();
        for (number, address) in (1..).zip(&sinks.addresses) {
            let number: u64 = number;
            let shop = shop(app, &network, &format!("0x{number:040x}")).await?;
            let now = app.clock.now();
            let id = EndpointId::new(now);
            let endpoint = NewEndpoint {
                tenant: Tenant::live(shop.merchant_id.clone()),
                url: format!("http://{address}/webhooks"),
                form_hook_id: None,
                events: None,
                secret: app.vault.seal(id.as_str(), Secret::generate()?.to_text().as_bytes())?,
                created_at: now,
                id,
            };
            app.db
                .write::<_, DbError, _>(move |conn| {
                    Box::pin(async move { endpoints::insert(conn, endpoint).await })
                })
                .await?;
            merchants.push(shop.merchant_id);
        }
        Ok(Self { app, sinks, merchants, committed: 0 })
    }

    /// Commits `count` events, from all merchants in turn. Returns their ids.
    async fn write(&mut self, count: usize) -> anyhow::Result<Vec<EventId>> {
        let now = self.app.clock.now();
        let merchants = self.merchants.iter().cycle().skip(self.committed % ENDPOINTS);
        let made: Vec<NewEvent> = merchants
            .take(count)
            .map(|merchant_id| NewEvent {
                id: EventId::new(now),
                tenant: Tenant::live(merchant_id.clone()),
                kind: event::Kind::InvoicePaid.into(),
                // Each has an invoice of its own, as most events do.
                invoice_id: Some(InvoiceId::new(now)),
                transfer_id: None,
                sequence: 1,
                payload: body(),
                created_at: now,
            })
            .collect();
        let ids = made.iter().map(|event| event.id.clone()).collect();
        self.app
            .db
            .write::<_, DbError, _>(move |conn| Box::pin(async move { events::insert(conn, made).await }))
            .await?;
        self.committed += count;
        Ok(ids)
    }

    async fn commit(&mut self, count: usize) -> anyhow::Result<()> {
        let mut left = count;
        while left > 0 {
            let some = left.min(EVENTS_PER_WRITE);
            self.write(some).await?;
            left -= some;
        }
        Ok(())
    }

    /// Waits until the sinks have taken every event once and each attempt is logged.
    async fn all_taken(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.sinks.taken() < self.committed || self.waiting().await? > 0 {
            ensure!(
                started.elapsed() < PATIENCE,
                "{} of {} events had arrived after {} s",
                self.sinks.taken(),
                self.committed,
                PATIENCE.as_secs()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let (posts, events) = self.sinks.counts();
        ensure!(events == self.committed, "{} events were committed, {events} arrived", self.committed);
        ensure!(posts == events, "{events} events came in {posts} requests");
        let logged = bench::delivered(&mut self.app.db.read().await?).await?;
        ensure!(usize::try_from(logged)? == events, "{events} events arrived, {logged} are written down");
        Ok(())
    }

    async fn waiting(&self) -> anyhow::Result<i64> {
        Ok(bench::undelivered(&mut self.app.db.read().await?).await?)
    }

    /// Commits events at a fixed rate, whatever becomes of them. Returns the time of each from its commit to the sink.
    async fn calm(&mut self, time: Duration) -> anyhow::Result<Samples> {
        let per_tick = CALM_PER_S * usize::try_from(CALM_EVERY.as_millis())? / 1000;
        let mut ticks = tokio::time::interval(CALM_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let started = Instant::now();
        let mut committed_at = Vec::new();
        while started.elapsed() < time {
            ticks.tick().await;
            let ids = self.write(per_tick).await?;
            let at = Instant::now();
            self.app.wake.dispatch.notify_one();
            committed_at.extend(ids.into_iter().map(|id| (id, at)));
        }
        self.all_taken().await?;
        let mut samples = Samples::default();
        for (id, committed_at) in committed_at {
            let arrived_at =
                self.sinks.arrived_at(id.as_str()).with_context(|| format!("{id} never arrived"))?;
            samples.push(arrived_at.saturating_duration_since(committed_at));
        }
        Ok(samples)
    }
}

/// A payload of a real event's length.
fn body() -> String {
    let data = serde_json::json!({ "invoice": { "id": "inv_00000000000000000000000000", "title": "t".repeat(900) } });
    event::payload(&event::Kind::InvoicePaid.into(), 0, &data)
}

/// Receivers that take everything and record the time.
struct Sinks {
    addresses: Vec<SocketAddr>,
    taken: Arc<Mutex<Receipts>>,
    _listeners: JoinSet<()>,
}

#[derive(Default)]
struct Receipts {
    posts: usize,
    first_at: HashMap<String, Instant>,
}

impl Sinks {
    async fn open() -> anyhow::Result<Self> {
        let (mut addresses, taken, mut listeners) = (Vec::new(), Arc::default(), JoinSet::new());
        for _ in 0..ENDPOINTS {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            listeners.spawn(listen(listener, Arc::clone(&taken)));
        }
        Ok(Self { addresses, taken, _listeners: listeners })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Receipts> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> usize {
        self.lock().first_at.len()
    }

    /// Numbers of requests, and of different events in them.
    fn counts(&self) -> (usize, usize) {
        let taken = self.lock();
        (taken.posts, taken.first_at.len())
    }

    fn arrived_at(&self, event_id: &str) -> Option<Instant> {
        self.lock().first_at.get(event_id).copied()
    }
}

async fn listen(listener: TcpListener, taken: Arc<Mutex<Receipts>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let taken = taken.clone();
        let service = service_fn(move |request| take(request, taken.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(
    request: Request<Incoming>,
    taken: Arc<Mutex<Receipts>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let at = Instant::now();
    // The bare POSTs have no id: their sender counts them.
    if let Some(id) = text(&head.headers, "webhook-id") {
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.posts += 1;
        taken.first_at.entry(id.to_owned()).or_insert(at);
    }
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Signed POSTs a second, on enough connections to keep the machine busy.
async fn bare(sinks: &Sinks, time: Duration) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for address in sinks.addresses.iter().cycle().take(CONNECTIONS) {
        let mut connection = Connection::open(*address).await?;
        let secrets = [Secret::generate()?];
        tasks.spawn(async move {
            let mut count = 0;
            while started.elapsed() < time {
                let body = body();
                let signature =
                    signature::sign(&secrets, "evt_00000000000000000000000000", 0, body.as_bytes());
                let request = Request::post("/webhooks")
                    .header(header::HOST, "sink")
                    .header(header::CONTENT_TYPE, "application/json")
                    .header("webhook-timestamp", 0)
                    .header("webhook-signature", signature)
                    .body(Full::from(body))?;
                let (status, _) = connection.send(request).await?;
                ensure!(status == StatusCode::NO_CONTENT, "a sink answered {status}");
                count += 1;
            }
            Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.context("a sender broke")??;
    }
    Ok(rate(count, started.elapsed()))
}
