//! Clients below the API: what comes over the wire that is no HTTP, or never ends.

use kassa_tests::{Database, Suite, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::api_bad_input::counts;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("api_wire::the_wire_itself", wire);
}

/// Writes raw bytes to the server and reads what comes back until it closes or falls silent.
async fn raw(url: &str, bytes: &[u8]) -> String {
    let mut stream =
        tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.expect("a connection");
    // The server may answer and close before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read(&mut answer)).await;
    let length = read.expect("an answer or an end").unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

async fn wire(database: Database) {
    let world = World::start(database).await;
    let (api, url) = (world.api(), world.kassa.url().to_owned());
    let before = counts(&world).await;
    let head = format!(
        "POST /v1/invoices HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        api.key()
    );
    // A body that does not end: cut off at the limit, long before it fills anything.
    let endless = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{}",
        format!("1000\r\n{}\r\n", "a".repeat(4096)).repeat(100)
    );
    let answer = raw(&url, endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let announced = format!("{head}content-length: 99999999999\r\n\r\n{{");
    let answer = raw(&url, announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let smuggled = format!("{head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let answer = raw(&url, smuggled.as_bytes()).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    for junk in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let answer = raw(&url, junk).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let long = format!("GET /v1/invoices?cursor={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let answer = raw(&url, long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    // After all that it serves as before.
    assert_eq!(counts(&world).await, before);
    world.invoice("USDT", "10").await;
}
