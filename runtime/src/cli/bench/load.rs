//! Load through HTTP on kept connections: closed (each connection sends after the answer) and open (requests are sent
//! at their time, whatever the answers do).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::stats::Samples;

/// Number of connections: enough to keep a machine of this class busy.
pub(super) const CONNECTIONS: usize = 64;

/// A kept connection.
pub(super) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The sender on it gets the error of its end.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

/// Result of a load in which every request was answered with success.
pub(super) struct Load {
    pub(super) samples: Samples,
    pub(super) elapsed: Duration,
}

/// Sends requests number `from` and on, on each of [`CONNECTIONS`] as soon as the previous one is answered.
pub(super) async fn closed<F>(
    address: SocketAddr,
    from: u64,
    time: Duration,
    request: F,
) -> anyhow::Result<Load>
where
    F: Fn(u64) -> anyhow::Result<Request<Full<Bytes>>> + Clone + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(from));
    all(address, move |mut connection, start| {
        let until = start + time;
        let (next, request) = (next.clone(), request.clone());
        async move {
            let mut samples = Samples::default();
            while Instant::now() < until {
                let request = request(next.fetch_add(1, Ordering::Relaxed))?;
                let started = Instant::now();
                succeed(connection.send(request).await?)?;
                samples.push(started.elapsed());
            }
            Ok(samples)
        }
    })
    .await
}

/// Sends `per_s` requests a second. A request's time counts from its due time: one that waits for a connection behind a
/// slow answer has waited too.
pub(super) async fn open<F>(
    address: SocketAddr,
    from: u64,
    per_s: u64,
    time: Duration,
    request: F,
) -> anyhow::Result<Load>
where
    F: Fn(u64) -> anyhow::Result<Request<Full<Bytes>>> + Clone + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    all(address, move |mut connection, start| {
        let (next, request) = (next.clone(), request.clone());
        async move {
            let mut samples = Samples::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let after = Duration::from_nanos(number.saturating_mul(1_000_000_000 / per_s));
                if after >= time {
                    return Ok(samples);
                }
                sleep_until(start + after).await;
                succeed(connection.send(request(from + number)?).await?)?;
                samples.push((start + after).elapsed());
            }
        }
    })
    .await
}

/// Opens [`CONNECTIONS`] and starts a worker on each at the same moment.
async fn all<W, F>(address: SocketAddr, worker: W) -> anyhow::Result<Load>
where
    W: Fn(Connection, Instant) -> F,
    F: Future<Output = anyhow::Result<Samples>> + Send + 'static,
{
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await?);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(worker(connection, started));
    }
    let mut samples = Samples::default();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done.context("the load generator broke")??);
    }
    Ok(Load { samples, elapsed: started.elapsed() })
}

fn succeed((status, body): (StatusCode, Bytes)) -> anyhow::Result<()> {
    anyhow::ensure!(status.is_success(), "answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}
