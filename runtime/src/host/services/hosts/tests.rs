//! Where a hook's requests go, and with what.

use std::time::Duration;

use super::{super::Secret, *};
use crate::outbound::Lookup;

fn of() -> OfMerchant {
    let bound = |host: &str| Secret::new("12:s/e?c#r t", Purpose::Host(host.to_owned()));
    OfMerchant {
        hook_id: "hook_1".to_owned(),
        merchant_id: "mer_1".to_owned(),
        test: true,
        run_id: Some("run_1".to_owned()),
        hosts: vec!["api.example".to_owned(), "other.example".to_owned()],
        secrets: [
            ("token".to_owned(), bound("api.example")),
            ("key".to_owned(), Secret::new("k", Purpose::Sign)),
        ]
        .into(),
    }
}

fn prepare(url: &str, headers: Vec<Header>) -> Result<Request, HttpError> {
    hosts(&["*"]).prepare(&of(), Method::POST, url, headers, Vec::new(), &mut Repeats::default())
}

fn hosts(allowed: &[&str]) -> Hosts {
    let allowed = allowed.iter().map(|host| (*host).to_owned()).collect();
    Hosts { outbound: Outbound::isolated().unwrap(), reach: Reach::Public, allowed }
}

fn header(name: &str, value: HeaderValue) -> Vec<Header> {
    vec![Header { name: name.to_owned(), value }]
}

fn denied(result: Result<Request, HttpError>) -> String {
    match result {
        Err(HttpError::Denied(why)) => why,
        other => panic!("{:?}", other.map(|request| request.url)),
    }
}

#[test]
fn only_granted_hosts_over_https() {
    assert!(prepare("https://api.example/v1?x=1", Vec::new()).is_ok());
    assert!(prepare("https://API.example:443/", Vec::new()).is_ok());
    for url in [
        "https://api.example:8443/",
        "https://evil.example/",
        "https://api.example.evil.example/",
        "https://api.example@evil.example/",
        "http://api.example/",
        "https://127.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://api.example./",
        "file:///etc/passwd",
    ] {
        assert!(prepare(url, Vec::new()).is_err(), "{url}");
    }
}

#[test]
fn a_secret_goes_to_its_host_and_nowhere_else() {
    let token = || HeaderValue::Secret("token".to_owned());
    let request = prepare("https://api.example/", header("authorization", token())).unwrap();
    assert_eq!(request.headers["authorization"], "12:s/e?c#r t");
    assert!(request.headers["authorization"].is_sensitive());
    assert!(denied(prepare("https://other.example/", header("authorization", token()))).contains("bound"));
    assert!(
        denied(prepare("https://api.example/", header("x", HeaderValue::Secret("key".to_owned()))))
            .contains("signs")
    );
    assert!(
        denied(prepare("https://api.example/", header("x", HeaderValue::Secret("no".to_owned()))))
            .contains("no secret")
    );
    assert!(denied(prepare("https://other.example/{secret:token}", Vec::new())).contains("bound"));
}

#[test]
fn a_secret_in_a_url_is_one_segment_of_it() {
    let request = prepare("https://api.example/bot{secret:token}/send?t={secret:token}", Vec::new()).unwrap();
    let secret = "12:s%2Fe%3Fc%23r%20t";
    assert_eq!(request.url.as_str(), format!("https://api.example/bot{secret}/send?t={secret}"));
    for url in
        ["https://{secret:token}/", "https://api.example{secret:token}/", "https://api.example/{secret:token"]
    {
        assert!(prepare(url, Vec::new()).is_err(), "{url}");
    }
}

/// What a receiver reads of a request to this path, from its first byte to the end of its headers.
async fn received(path: &str, headers: Vec<Header>) -> Result<String, HttpError> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let hosts = Hosts { reach: Reach::Any, ..hosts(&["*"]) };
    let of = OfMerchant { hosts: vec![host.clone()], ..of() };
    let url = format!("http://{host}{path}");
    let request = hosts.prepare(&of, Method::GET, &url, headers, Vec::new(), &mut Repeats::default())?;
    let request = Request { deadline: Duration::from_secs(20), body_bytes_max: 100, ..request };
    let answer = tokio::spawn(async move { hosts.send(request).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    answer.await.unwrap().unwrap();
    Ok(String::from_utf8(read).unwrap())
}

#[tokio::test]
async fn a_url_arrives_as_it_was_written() {
    for (asked, target) in [
        ("", "/"),
        ("/", "/"),
        ("?a=1", "/?a=1"),
        ("//a//b/", "//a//b/"),
        ("/a|b^c~d!$&'()*+,;=:@", "/a|b^c~d!$&'()*+,;=:@"),
        ("/%zz%2f%2F%7b%", "/%zz%2f%2F%7b%"),
        ("/a..b/...", "/a..b/..."),
        ("/?", "/?"),
        ("/?a=..&b=/../&c=\\&d={x}|^`", "/?a=..&b=/../&c=\\&d={x}|^`"),
        // What cannot stand in a request is percent-encoded, as by any client.
        ("/{id}/{a", "/%7Bid%7D/%7Ba"),
        ("/\u{e9}?q=\u{e9}'\"<>", "/%C3%A9?q=%C3%A9%27%22%3C%3E"),
        ("/`\"<>", "/%60%22%3C%3E"),
    ] {
        let read = received(asked, Vec::new()).await.unwrap();
        assert_eq!(read.lines().next().unwrap(), format!("GET {target} HTTP/1.1"), "{asked}");
    }
    for refused in [
        "/a\\b",
        "\\a",
        "/../a",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/%2e%2E/a",
        "/a/.%2e",
        "/a#b",
        "/a#",
        "/a b",
        "/a\tb",
        "/a\r\nhost: b",
        "/{secret:token",
        "/{secret:no}",
        "/a\u{a0}b",
    ] {
        assert!(received(refused, Vec::new()).await.is_err(), "{refused}");
    }
    for url in [
        "https:api.example/",
        "https:/api.example/",
        "https:///api.example/",
        "https:\\\\api.example/",
        "https://@api.example/",
        "https://:@api.example/",
        "https://a@api.example/",
        "https://a:b@api.example/",
        "https://\\api.example/",
        "https://api.example\\@evil.example/",
    ] {
        assert!(prepare(url, Vec::new()).is_err(), "{url}");
    }
    // The host is the same one, however it is written.
    for url in ["https://API.example/", "HTTPS://api.example:443/", "https://%61pi.example/"] {
        assert_eq!(prepare(url, Vec::new()).unwrap().url.as_str(), "https://api.example/");
    }
}

#[tokio::test]
async fn headers_arrive_as_they_were_written() {
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    let value = "a \t\"{}|^`\\~,;=\u{e9}";
    let read = received("/", header("X-Odd", text(value))).await.unwrap();
    assert!(read.contains(&format!("\r\nx-odd: {value}\r\n")), "{read}");
    for (name, value) in
        [("x", "a\nb"), ("x", "a\0"), ("x", "\u{7f}"), ("é", "a"), ("x:", "a"), ("", "a"), ("host", "a")]
    {
        let refused = prepare("https://api.example/", header(name, text(value)));
        assert!(matches!(refused, Err(HttpError::Malformed(_))), "{name} {value}");
    }
}

#[test]
fn what_the_operator_does_not_allow_is_not_asked() {
    let get = |hosts: Hosts, url: &str| {
        hosts.prepare(&of(), Method::GET, url, Vec::new(), Vec::new(), &mut Repeats::default())
    };
    assert!(get(hosts(&["api.example"]), "https://api.example/").is_ok());
    for allowed in [&[][..], &["example"], &["api.example:8443"], &["*.example"], &["API.example"]] {
        let why = denied(get(hosts(allowed), "https://api.example/"));
        assert!(why.contains("hooks.hosts"), "{allowed:?}: {why}");
    }
}

#[test]
fn each_request_of_a_run_has_a_key_and_the_same_one_when_it_is_made_again() {
    let all = |requests: &[(&str, &str, &str)]| {
        let mut repeats = Repeats::default();
        let key = |(url, name, body): &(&str, &str, &str)| {
            let url = format!("https://api.example/{url}");
            let headers = vec![Header { name: "x-to".into(), value: HeaderValue::Text((*name).into()) }];
            let body = body.as_bytes().to_vec();
            let request =
                hosts(&["*"]).prepare(&of(), Method::POST, &url, headers, body, &mut repeats).unwrap();
            request.headers[IDEMPOTENCY_KEY].to_str().unwrap().to_owned()
        };
        requests.iter().map(key).collect::<Vec<_>>()
    };
    let six =
        [("a", "", "1"), ("a", "", "2"), ("b", "", "1"), ("a", "x", "1"), ("ax", "", "1"), ("a", "", "1")];
    let keys = all(&six);
    assert!(keys.iter().all(|key| key.starts_with("run_1-") && key.len() <= 64), "{keys:?}");
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    assert_eq!(all(&six), keys);
    // Another try, which leaves out what has been done.
    assert_eq!(all(&six[2..5]), keys[2..5]);
    assert_eq!(all(&six[5..]), keys[..1]);
}

#[test]
fn a_key_of_the_hooks_own_is_left() {
    let own = header("Idempotency-Key", HeaderValue::Text("mine".to_owned()));
    let request = prepare("https://api.example/", own).unwrap();
    assert_eq!(request.headers.get_all(IDEMPOTENCY_KEY).iter().collect::<Vec<_>>(), ["mine"]);
    assert!(prepare("https://api.example/", header("host", HeaderValue::Text("x".to_owned()))).is_err());
}

/// The name is granted, and public as long as someone looks at it; it turns to this machine for the connection.
#[tokio::test]
async fn a_granted_name_that_turns_to_a_private_address_is_not_connected_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("rebind.example:{}", listener.local_addr().unwrap().port());
    let answers = std::sync::Mutex::new([[8, 8, 8, 8], [127, 0, 0, 1]].into_iter());
    let lookup: Lookup = std::sync::Arc::new(move |_| {
        let answer = answers.lock().unwrap().next().unwrap_or([127, 0, 0, 1]);
        Box::pin(async move { Ok(vec![answer.into()]) })
    });
    lookup("rebind.example".to_owned()).await.unwrap();
    let outbound = Outbound::with_lookup(&lookup).unwrap();
    let hosts = Hosts { outbound, ..hosts(&["*"]) };
    let of = OfMerchant { hosts: vec![host.clone()], ..of() };
    for _ in 0..2 {
        let url = format!("https://{host}/");
        let request = hosts.prepare(&of, Method::GET, &url, Vec::new(), Vec::new(), &mut Repeats::default());
        let request = Request { deadline: Duration::from_secs(20), ..request.unwrap() };
        let refused = hosts.send(request).await;
        assert!(matches!(refused, Err(HttpError::Denied(_))), "{refused:?}");
    }
    let connected = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(connected.is_err(), "nobody came");
}
