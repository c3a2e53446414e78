//! Connections: how many, how slow they may be, how they end.

use std::{io, pin::pin, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::idempotent;
use crate::app::App;

/// Connections at once; more wait in the system's queue. Half of the usual limit of 8192 open files, so that
/// deliveries and the database keep theirs.
const CONNECTIONS_MAX: usize = 4096;
/// From the first byte of a request to the end of its headers, and between two requests of a connection.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Line and headers of one request.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// What is under way when a stop comes may take so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves until `stop`, then ends what is under way.
pub(crate) async fn serve(app: App, listener: TcpListener, stop: CancellationToken) {
    let router = super::router(app.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = TaskTracker::new();
    open.spawn(idempotent::sweep(app, stop.clone()));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            connection(router, stream, stop).await;
            drop(place);
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(STOP_TIMEOUT, open.wait()).await.is_err() {
        tracing::warn!(open = open.len(), "connections were cut, since they did not end in time");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
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
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT).max_buf_size(HEADERS_BYTES_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
