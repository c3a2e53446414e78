use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::header;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// Starts a server that handles each connection with `serve`. Returns its port and its count of connections.
async fn server<F, Fut>(serve: F) -> (u16, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 4096];
            let serving = stream.read(&mut buffer).await.map(|_| serve(stream));
            if let Ok(serving) = serving {
                tokio::spawn(serving);
            }
        }
    });
    (port, count)
}

fn get(url: &str, reach: Reach, over: Over) -> Request {
    Request {
        method: Method::GET,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        reach,
        deadline: LONG,
        body_bytes_max: 1000,
        over,
        gzip: false,
    }
}

async fn endless(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        stream.write_all(b"a\r\n0123456789\r\n").await?;
    }
}

async fn stalled(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal").await?;
    std::future::pending().await
}

#[tokio::test]
async fn an_endless_body_is_cut_or_refused() {
    let (port, _) = server(endless).await;
    let outbound = Outbound::new().unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    let answer = outbound.send(get(&url, Reach::Any, Over::Cut)).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 1000));
    let error = outbound.send(get(&url, Reach::Any, Over::Refuse)).await.unwrap_err();
    assert_eq!(error, OutboundError::TooLarge(1000));
}

#[tokio::test]
async fn the_deadline_covers_the_body() {
    let (port, _) = server(stalled).await;
    let outbound = Outbound::new().unwrap();
    let request = |over| Request {
        deadline: Duration::from_millis(200),
        ..get(&format!("http://127.0.0.1:{port}/"), Reach::Any, over)
    };
    assert_eq!(outbound.send(request(Over::Refuse)).await.unwrap_err(), OutboundError::Timeout);
    let answer = outbound.send(request(Over::Cut)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (200, &b"hal"[..]));
}

#[tokio::test]
async fn a_server_that_says_nothing_runs_into_the_deadline() {
    let (port, _) = server(|stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let request = Request {
        deadline: Duration::from_millis(200),
        ..get(&format!("http://127.0.0.1:{port}/"), Reach::Any, Over::Cut)
    };
    assert_eq!(Outbound::new().unwrap().send(request).await.unwrap_err(), OutboundError::Timeout);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (target, reached) = server(stalled).await;
    let (port, _) = server(move |mut stream| async move {
        let text = format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{target}/\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).await
    })
    .await;
    let request = get(&format!("http://127.0.0.1:{port}/"), Reach::Any, Over::Cut);
    let answer = Outbound::new().unwrap().send(request).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_not_http_or_breaks_off_is_an_error() {
    let outbound = Outbound::new().unwrap();
    for text in
        ["", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal", "HTTP/1.1 200 OK\r\nx: "]
    {
        let (port, _) =
            server(move |mut stream| async move { stream.write_all(text.as_bytes()).await }).await;
        let request = get(&format!("http://127.0.0.1:{port}/secret?key=1"), Reach::Any, Over::Refuse);
        let error = outbound.send(request).await.unwrap_err();
        assert!(matches!(error, OutboundError::Body(_)), "{text:?}: {error:?}");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains("key"), "{error}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let request = get(&format!("http://127.0.0.1:{port}/"), Reach::Any, Over::Refuse);
    assert!(matches!(outbound.send(request).await, Err(OutboundError::Connect(_))));
    let (port, _) = server(|mut stream| async move { stream.write_all(b"no TLS here").await }).await;
    let request = get(&format!("https://127.0.0.1:{port}/"), Reach::Any, Over::Refuse);
    let error = outbound.send(request).await.unwrap_err();
    assert!(matches!(error, OutboundError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn headers_are_bounded() {
    let outbound = Outbound::new().unwrap();
    for (count, len) in [(101, 1), (50, 2000)] {
        let (port, _) = server(move |mut stream| async move {
            let mut text = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_owned();
            for i in 0..count {
                text += &format!("x-{i}: {}\r\n", "v".repeat(len));
            }
            stream.write_all((text + "\r\n").as_bytes()).await
        })
        .await;
        let request = get(&format!("http://127.0.0.1:{port}/"), Reach::Any, Over::Cut);
        assert!(outbound.send(request).await.is_err(), "{count} of {len}");
    }
}

#[tokio::test]
async fn nothing_is_decompressed_and_no_cookie_is_kept() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        log.lock().unwrap().push(request.headers().clone());
        ([(header::CONTENT_ENCODING, "gzip"), (header::SET_COOKIE, "a=b")], "not gzip")
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let outbound = Outbound::new().unwrap();
    for _ in 0..2 {
        let answer = outbound.send(get(&url, Reach::Any, Over::Refuse)).await.unwrap();
        assert_eq!(answer.body.as_ref(), b"not gzip");
    }
    for headers in seen.lock().unwrap().iter() {
        assert!(!headers.contains_key(header::COOKIE) && !headers.contains_key(header::ACCEPT_ENCODING));
        assert_eq!(headers[header::USER_AGENT], concat!("Kassa/", env!("CARGO_PKG_VERSION")));
    }
}

/// A resolver that gives one answer after the other, and repeats the last.
fn answers(list: Vec<&'static str>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let index = count.fetch_add(1, Ordering::SeqCst).min(list.len() - 1);
        let answer: Vec<IpAddr> = vec![list[index].parse().unwrap()];
        Box::pin(async move { Ok(answer) })
    });
    (lookup, asked)
}

#[tokio::test]
async fn a_name_that_turns_to_a_private_address_is_not_connected_to() {
    let (port, reached) = server(stalled).await;
    // Public at the first lookup, private when the connection is made.
    let (lookup, asked) = answers(vec!["8.8.8.8", "127.0.0.1"]);
    lookup("rebind.example".to_owned()).await.unwrap();
    let outbound = Outbound::with_lookup(&lookup).unwrap();
    let url = format!("https://rebind.example:{port}/");
    let error = outbound.send(get(&url, Reach::Public, Over::Cut)).await.unwrap_err();
    assert!(matches!(error, OutboundError::Denied(_)), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    // An operator's own name may be private.
    let url = format!("http://rebind.example:{port}/");
    let request = Request { body_bytes_max: 3, ..get(&url, Reach::Any, Over::Cut) };
    let _ = outbound.send(Request { deadline: Duration::from_millis(300), ..request }).await.unwrap();
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_private_literal_is_not_connected_to() {
    let (port, reached) = server(stalled).await;
    let outbound = Outbound::new().unwrap();
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "localhost", "0"] {
        let request = get(&format!("https://{host}:{port}/"), Reach::Public, Over::Cut);
        let error = outbound.send(request).await.unwrap_err();
        assert!(matches!(error, OutboundError::Denied(_)), "{host}: {error:?}");
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

fn zipped(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    let zipped = encoder.finish().unwrap();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", zipped.len());
    [head.into_bytes(), zipped].concat()
}

#[tokio::test]
async fn what_comes_compressed_is_decompressed_for_upstreams_alone_and_counted_as_it_is() {
    let small = zipped(br#"{"jsonrpc":"2.0","result":"0x1"}"#);
    let (port, _) = server(move |mut stream| {
        let answer = small.clone();
        async move { stream.write_all(&answer).await }
    })
    .await;
    let url = format!("http://127.0.0.1:{port}/");
    let outbound = Outbound::new().unwrap();
    let answer = outbound.send(Request { gzip: true, ..get(&url, Reach::Any, Over::Refuse) }).await.unwrap();
    assert_eq!(&*answer.body, br#"{"jsonrpc":"2.0","result":"0x1"}"#);
    let answer = outbound.send(get(&url, Reach::Any, Over::Refuse)).await.unwrap();
    assert_eq!(&answer.body[..2], [0x1f, 0x8b], "as it came");
    assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
    // A hundred megabytes of nothing, in a hundred kilobytes.
    let bomb = zipped(&vec![0; 100 << 20]);
    assert!(bomb.len() < 200_000);
    let (port, _) = server(move |mut stream| {
        let answer = bomb.clone();
        async move { stream.write_all(&answer).await }
    })
    .await;
    let url = format!("http://127.0.0.1:{port}/");
    let request = Request { gzip: true, body_bytes_max: 1 << 20, ..get(&url, Reach::Any, Over::Refuse) };
    assert_eq!(outbound.send(request).await.unwrap_err(), OutboundError::TooLarge(1 << 20));
    // A truncated stream, and one that is not gzip.
    for answer in [
        &zipped(&[7; 100])[..90],
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let answer = answer.to_vec();
        let (port, _) = server(move |mut stream| {
            let answer = answer.clone();
            async move { stream.write_all(&answer).await }
        })
        .await;
        let url = format!("http://127.0.0.1:{port}/");
        let request = Request { gzip: true, ..get(&url, Reach::Any, Over::Refuse) };
        assert!(matches!(outbound.send(request).await, Err(OutboundError::Body(_))));
    }
}
