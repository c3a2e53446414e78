//! Connections as they really come: over a socket, in pieces, malformed, and while the server stops.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::kit::Api;
use crate::http::serve;

struct Served {
    api: Api,
    port: u16,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let api = Api::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(api.app.app.clone(), listener, stop.clone()));
        Self { api, port, stop, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    async fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may answer and close before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Reads up to the end of an answer that contains `last`.
async fn read_to(stream: &mut TcpStream, last: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 1024];
    while !text.contains(last) {
        let count =
            tokio::time::timeout(Duration::from_secs(10), stream.read(&mut piece)).await.unwrap().unwrap();
        assert_ne!(count, 0, "the connection ended after: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    text
}

#[tokio::test]
async fn requests_in_pieces_and_one_after_the_other() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    for piece in ["GET /hea", "lth HTTP/1.1\r\nHo", "st: a\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(read_to(&mut stream, "\"ok\"").await.starts_with("HTTP/1.1 200"));
    stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_to(&mut stream, "not_found").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn what_is_no_request() {
    let served = Served::start().await;
    let long = format!("GET /health HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let smuggled = "POST /v1/me HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde";
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello TLS\r\n\r\n".as_slice(), "HTTP/1.1 400"),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", "HTTP/1.1 400"),
        (long.as_bytes(), "HTTP/1.1 431"),
        (smuggled.as_bytes(), "HTTP/1.1 400"),
    ] {
        let answer = served.ask(bytes).await;
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn a_stop_ends_what_is_under_way_and_does_not_wait_for_the_idle() {
    let served = Served::start().await;
    let mut idle = served.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_to(&mut idle, "\"ok\"").await;

    let mut busy = served.connect().await;
    let body = "{\"name\":\"Shop\"}";
    let head = format!(
        "POST /v1/operator/merchants HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        served.api.operator,
        body.len()
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    busy.write_all(body.as_bytes()).await.unwrap();
    assert!(read_to(&mut busy, "mer_").await.starts_with("HTTP/1.1 201"));
    tokio::time::timeout(Duration::from_secs(5), served.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", served.port)).await.is_err());
}
