//! Clients that mean harm by how they connect.

use std::{net::SocketAddr, time::Instant};

use futures_util::future::join_all;
use kassa_tests::{Database, KassaOptions, Kind, Suite};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{Stage, said};

pub(super) fn cases(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "hostile::connections_of_one_address_are_limited", one_address);
    suite.on(Kind::Sqlite, "hostile::client_that_reads_nothing_is_hung_up_on", reads_nothing);
}

fn address(stage: &Stage) -> SocketAddr {
    stage.sandbox.shop.kassa.url().replace("http://", "").parse().expect("an address")
}

/// Connects from another address of this machine, which is no proxy's.
async fn from_elsewhere(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("another address of this machine");
    socket.connect(to).await.expect("a connection")
}

/// What is answered to a request for `/health`, as far as anything is.
async fn asked(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 1024];
    let sent = stream.write_all(b"GET /health HTTP/1.1\r\nhost: kassa\r\n\r\n").await;
    let read = if sent.is_ok() { stream.read(&mut answer).await.unwrap_or(0) } else { 0 };
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

async fn one_address(database: Database) {
    let options = KassaOptions::default().with("KASSA_HTTP__CONNECTIONS_PER_ADDRESS", "8");
    let stage = Stage::with(database, options).await;
    let (to, began) = (address(&stage), Instant::now());
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = from_elsewhere(to).await;
        assert!(asked(&mut stream).await.starts_with("HTTP/1.1 200"));
        streams.push(stream);
    }
    for _ in 0..100 {
        assert_eq!(asked(&mut from_elsewhere(to).await).await, "", "one more is closed");
    }
    said("connections", "8 of one address, 100 more were closed", began.elapsed());
    // Whoever comes through a proxy does not notice, and one that goes lets another in.
    stage.is_well().await;
    streams.pop();
    kassa_tests::eventually("a permit that is free again", || async {
        let answer = asked(&mut from_elsewhere(to).await).await;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    })
    .await;
}

/// So many connections, on each of which more is asked for than the system's buffers hold, and nothing is read.
pub(super) async fn read_nothing(stage: &Stage, connections: usize) -> Vec<TcpStream> {
    let to = address(stage);
    let attack = || async {
        let mut stream = TcpStream::connect(to).await.expect("a connection");
        let asks = "GET /openapi.json HTTP/1.1\r\nhost: kassa\r\n\r\n".repeat(200);
        // The server stops reading at some time, too.
        let written = stream.write_all(asks.as_bytes());
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), written).await;
        stream
    };
    join_all((0..connections).map(|_| attack())).await
}

async fn reads_nothing(database: Database) {
    let stage = Stage::start(database).await;
    let began = Instant::now();
    let streams = read_nothing(&stage, 200).await;
    let hung_up = |mut stream: TcpStream| async move {
        // Nothing is read until the server has hung up, which shows in what can be written.
        kassa_tests::eventually("the end of the connection", || async {
            let mut peeked = [0; 1];
            match stream.try_write(b"G") {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Ok(()),
                _ => Err(format!("it stands; {:?}", stream.peek(&mut peeked).await)),
            }
        })
        .await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest.len()
    };
    let read = join_all(streams.into_iter().map(hung_up)).await;
    let most = read.into_iter().max().unwrap_or(0);
    said(
        "reads-nothing",
        &format!("200 connections were cut; {} KiB were taken at the most", most / 1024),
        began.elapsed(),
    );
    stage.is_well().await;
}
