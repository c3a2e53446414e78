//! Where a hook's requests go, and with what.

use crate::domain::tenant::Tenant;
use std::time::Duration;

use super::{super::Secret, *};
use crate::outbound::Lookup;

fn of() -> OfMerchant {
    let bound = |host: &str| Secret::new("12:s/e?c#r t", Purpose::Host(host.to_owned()));
    OfMerchant {
        hook_id: "hook_1".into(),
        tenant: Tenant::test("mer_1"),
        run_id: Some("run_1".into()),
        hosts: vec!["api.example".to_owned(), "other.example".to_owned()],
        secrets: [
            ("token".to_owned(), bound("api.example")),
            ("key".to_owned(), Secret::new("k", Purpose::Sign)),
        ]
        .into(),
    }
}

fn prepare(url: &str, headers: &[(String, String)]) -> Result<Request, HttpError> {
    hosts(&["*"]).prepare(&of(), Method::POST, url, headers, Vec::new(), &mut Repeats::default())
}

fn hosts(allowed: &[&str]) -> Hosts {
    let allowed = allowed.iter().map(|host| (*host).to_owned()).collect();
    Hosts { outbound: Outbound::isolated().unwrap(), reach: Reach::Public, allowed }
}

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

fn denied(result: Result<Request, HttpError>) -> String {
    match result {
        Err(HttpError::Denied(why)) => why,
        other => panic!("{:?}", other.map(|request| request.url)),
    }
}

#[test]
fn only_granted_hosts_over_https() {
    assert!(prepare("https://api.example/v1?x=1", &[]).is_ok());
    assert!(prepare("https://API.example:443/", &[]).is_ok());
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
        assert!(prepare(url, &[]).is_err(), "{url}");
    }
}

#[test]
fn a_secret_goes_to_its_host_and_nowhere_else() {
    for (template, sent) in [
        ("{secret:token}", "12:s/e?c#r t"),
        ("Bearer {secret:token}", "Bearer 12:s/e?c#r t"),
        ("{secret:token}{secret:token}; {x}", "12:s/e?c#r t12:s/e?c#r t; {x}"),
    ] {
        let request = prepare("https://api.example/", &header("authorization", template)).unwrap();
        assert_eq!(request.headers["authorization"], sent);
        assert!(request.headers["authorization"].is_sensitive(), "{template}");
    }
    let token = || header("authorization", "Bearer {secret:token}");
    assert!(denied(prepare("https://other.example/", &token())).contains("bound"));
    assert!(denied(prepare("https://api.example/", &header("x", "{secret:key}"))).contains("signs"));
    assert!(denied(prepare("https://api.example/", &header("x", "{secret:no}"))).contains("no secret"));
    assert!(denied(prepare("https://other.example/{secret:token}", &[])).contains("bound"));
}

#[test]
fn what_is_no_place_for_a_secret_is_sent_as_it_is() {
    let literal =
        prepare("https://other.example/?q={secret:}token}", &header("x", "{secret:}token}")).unwrap();
    assert_eq!(literal.url.as_str(), "https://other.example/?q={secret:token}");
    assert_eq!(literal.headers["x"], "{secret:token}");
    assert!(!literal.headers["x"].is_sensitive());
    for value in ["{secret:token", "{secret:Token}", "{secret:a b}"] {
        let refused = prepare("https://api.example/", &header("x", value));
        assert!(matches!(refused, Err(HttpError::Malformed(_))), "{value}");
    }
}

/// What a secret does to a header or a URL is checked with the secret in it, and said without it.
#[test]
fn what_is_checked_is_what_is_sent() {
    let with = |text: &str| {
        let secret = Secret::new(text, Purpose::Host("api.example".to_owned()));
        OfMerchant { secrets: [("token".to_owned(), secret)].into(), ..of() }
    };
    let send = |of: &OfMerchant, url: &str, headers: Vec<(String, String)>| {
        hosts(&["*"]).prepare(of, Method::POST, url, &headers, Vec::new(), &mut Repeats::default())
    };
    for odd in ["a\r\nhost: evil.example", "a\nb", "a\0", &"x".repeat(9_000)] {
        let of = with(odd);
        let Err(HttpError::Malformed(why)) = send(&of, "https://api.example/", header("x", "{secret:token}"))
        else {
            panic!("{odd:?}")
        };
        assert_eq!(why, "the header x, with its secrets filled in");
    }
    // Whatever it is, in a URL it is a part of a segment or of a value.
    for odd in ["../..", "a/../b", "?x=1", "#f", "@evil.example", "a\r\nb", "%2e%2e", "\\", "{secret:key}"] {
        let request = send(&with(odd), "https://api.example/a{secret:token}?q={secret:token}", Vec::new());
        let url = request.unwrap().url;
        let bytes: Vec<u8> = odd.bytes().collect();
        let encoded = |text: &str| {
            percent_encoding_of(text.strip_prefix("/a").or(text.strip_prefix("q=")).unwrap_or_default())
        };
        assert_eq!(encoded(url.path()), bytes, "{url}");
        assert_eq!(encoded(url.query().unwrap()), bytes, "{url}");
        assert_eq!((url.host_str(), url.fragment()), (Some("api.example"), None), "{url}");
    }
    // Dots alone would be another path.
    assert!(send(&with(".."), "https://api.example/{secret:token}/b", Vec::new()).is_err());
    let of = with("evil.example");
    for url in [
        "https://{secret:token}/",
        "https://{secret:token}@api.example/",
        "https://api.example:{secret:token}/",
        "https://api.example.{secret:token}/",
        "{secret:token}://api.example/",
    ] {
        assert!(send(&of, url, Vec::new()).is_err(), "{url}");
    }
}

/// The bytes that a percent-encoded text stands for.
fn percent_encoding_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                bytes.extend(hex::decode([*high, *low]).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[test]
fn a_secret_in_a_url_is_one_segment_of_it() {
    let request = prepare("https://api.example/bot{secret:token}/send?t={secret:token}", &[]).unwrap();
    let secret = "12:s%2Fe%3Fc%23r%20t";
    assert_eq!(request.url.as_str(), format!("https://api.example/bot{secret}/send?t={secret}"));
    for url in
        ["https://{secret:token}/", "https://api.example{secret:token}/", "https://api.example/{secret:token"]
    {
        assert!(prepare(url, &[]).is_err(), "{url}");
    }
}

/// What a receiver reads of a request to this path, from its first byte to the end of its headers.
async fn received(path: &str, headers: &[(String, String)]) -> Result<String, HttpError> {
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
        let read = received(asked, &[]).await.unwrap();
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
        assert!(received(refused, &[]).await.is_err(), "{refused}");
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
        assert!(prepare(url, &[]).is_err(), "{url}");
    }
    // The host is the same one, however it is written.
    for url in ["https://API.example/", "HTTPS://api.example:443/", "https://%61pi.example/"] {
        assert_eq!(prepare(url, &[]).unwrap().url.as_str(), "https://api.example/");
    }
}

#[tokio::test]
async fn headers_arrive_as_they_were_written() {
    let value = "a \t\"{}|^`\\~,;=\u{e9}";
    let read = received("/", &header("X-Odd", value)).await.unwrap();
    assert!(read.contains(&format!("\r\nx-odd: {value}\r\n")), "{read}");
    for (name, value) in
        [("x", "a\nb"), ("x", "a\0"), ("x", "\u{7f}"), ("é", "a"), ("x:", "a"), ("", "a"), ("host", "a")]
    {
        let refused = prepare("https://api.example/", &header(name, value));
        assert!(matches!(refused, Err(HttpError::Malformed(_))), "{name} {value}");
    }
}

#[test]
fn what_the_operator_does_not_allow_is_not_asked() {
    let get = |hosts: Hosts, url: &str| {
        hosts.prepare(&of(), Method::GET, url, &[], Vec::new(), &mut Repeats::default())
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
            let headers = header("x-to", name);
            let body = body.as_bytes().to_vec();
            let request =
                hosts(&["*"]).prepare(&of(), Method::POST, &url, &headers, body, &mut repeats).unwrap();
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
    let own = header("Idempotency-Key", "mine");
    let request = prepare("https://api.example/", &own).unwrap();
    assert_eq!(request.headers.get_all(IDEMPOTENCY_KEY).iter().collect::<Vec<_>>(), ["mine"]);
    assert!(prepare("https://api.example/", &header("host", "x")).is_err());
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
        let request = hosts.prepare(&of, Method::GET, &url, &[], Vec::new(), &mut Repeats::default());
        let request = Request { deadline: Duration::from_secs(20), ..request.unwrap() };
        let refused = hosts.send(request).await;
        assert!(matches!(refused, Err(HttpError::Denied(_))), "{refused:?}");
    }
    let connected = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(connected.is_err(), "nobody came");
}
