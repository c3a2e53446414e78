//! Connections: their number, their time limits, their end.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{app::App, config};

/// Maximum number of connections; more wait in the system's queue. It is half of the usual limit of 8192 open files, so
/// that deliveries and the database keep theirs.
const CONNECTIONS_MAX: usize = 4096;
/// Maximum time from the first byte of a request to the end of its headers, and between two requests of a connection.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a request's line and headers.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// Maximum time for which a client may read nothing of its answer, which lies in memory meanwhile.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which requests under way may end after a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves until `stop`, then lets requests under way end.
pub(crate) async fn serve(app: App, listener: TcpListener, stop: CancellationToken) {
    let addresses = Addresses::new(&app.config.http);
    let router = super::router(app);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = permits.clone().acquire_owned() => permit,
        };
        let (stream, from) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let Some(turn) = addresses.enter(from) else {
            metrics::counter!("kassa_connections_refused_total").increment(1);
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            connection(router, stream, stop).await;
            drop((turn, permit));
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(STOP_TIMEOUT, open.wait()).await.is_err() {
        tracing::warn!(open = open.len(), "connections were cut, since they did not end in time");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from.ip().to_canonical()),
            // The other side was faster to leave.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; trying again in a second");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn connection(router: axum::Router, stream: TcpStream, stop: CancellationToken) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT).max_buf_size(HEADERS_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Number of connections of each address. Those of proxies are not counted: behind a proxy all clients have one
/// address.
#[derive(Clone)]
struct Addresses {
    most: usize,
    proxies: Arc<[IpAddr]>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address, until it is dropped.
struct Turn {
    of: IpAddr,
    addresses: Addresses,
}

impl Addresses {
    fn new(config: &config::Http) -> Self {
        let proxies = config.proxies.iter().map(IpAddr::to_canonical).collect();
        Self { most: config.connections_per_address, proxies, open: Arc::default() }
    }

    /// Counts a connection. `None` if this address has as many as it may have.
    fn enter(&self, from: IpAddr) -> Option<Option<Turn>> {
        if self.proxies.contains(&from) {
            return Some(None);
        }
        let of = subscriber(from);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(of).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Some(Turn { of, addresses: self.clone() }))
    }
}

/// The address under which a client is counted: of IPv6 its network of 64 bits, all of whose addresses it has.
fn subscriber(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_a_proxy_any() {
        let addresses =
            Addresses { most: 2, proxies: vec![[127, 0, 0, 1].into()].into(), open: Arc::default() };
        let of = |text: &str| addresses.enter(text.parse().unwrap());
        let (first, second) = (of("192.0.2.1"), of("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(of("192.0.2.1").is_none());
        assert!(of("192.0.2.2").is_some());
        drop(first);
        let third = of("192.0.2.1");
        assert!(third.is_some() && of("192.0.2.1").is_none());
        let many: Vec<_> = (0..9).map(|_| of("127.0.0.1")).collect();
        assert!(many.iter().all(Option::is_some));
        // Of one network of IPv6.
        let (one, other) = (of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::9"));
        assert!(one.is_some() && other.is_some() && of("2001:db8:0:1::2").is_none());
        assert!(of("2001:db8:0:2::1").is_some());
        drop((second, third, one, other));
        assert!(addresses.open.lock().unwrap().is_empty());
    }
}
