mod week;

use std::time::Duration;

use axum::{Router, extract::Request, http::StatusCode, response::IntoResponse as _};
use bytes::Bytes;
use http::Method;
use tokio::net::TcpListener;

use super::*;

fn spec(id: &str, url: &str, priority: i64) -> UpstreamSpec {
    let terms = Terms { calls_per_s: 1000, calls_per_day: None };
    let learned = Learned::default();
    UpstreamSpec { id: id.into(), url: url.to_owned(), headers: vec![], terms, priority, learned }
}

fn upstreams(ids: &[(&str, i64)]) -> (Upstreams, Clock) {
    let clock = Clock::default();
    let upstreams = Upstreams::new(Outbound::new().unwrap(), clock.clone());
    let specs = ids.iter().map(|(id, priority)| spec(id, "https://rpc.example/v2/KEY?k=KEY", *priority));
    upstreams.set("base", specs.collect());
    (upstreams, clock)
}

fn bad() -> Verdict {
    Verdict::Bad("down".to_owned())
}

fn picked(upstreams: &Upstreams) -> UpstreamId {
    upstreams.pick("base", &[]).unwrap().id.clone()
}

#[test]
fn the_lowest_priority_number_that_is_ready_is_picked_and_comes_back() {
    let (upstreams, clock) = upstreams(&[("b", 2), ("a", 1)]);
    assert_eq!(picked(&upstreams), "a");
    upstreams.report("base", &"a".into(), bad());
    assert_eq!(picked(&upstreams), "b");
    clock.shift(1001);
    // One probe of the first, while other callers stay with the second.
    assert_eq!(picked(&upstreams), "a");
    assert_eq!(picked(&upstreams), "b");
    upstreams.report("base", &"a".into(), bad());
    assert_eq!(picked(&upstreams), "b");
    clock.shift(2001);
    assert_eq!(picked(&upstreams), "a");
    upstreams.report("base", &"a".into(), Verdict::Good { head: 7 });
    assert_eq!(picked(&upstreams), "a");
    assert_eq!(picked(&upstreams), "a");
}

#[test]
fn who_was_asked_in_vain_is_passed_over_by_that_one_alone() {
    let (upstreams, _) = upstreams(&[("a", 1), ("b", 2)]);
    let beside = |ids: &[&str]| {
        let ids: Vec<UpstreamId> = ids.iter().map(|id| (*id).into()).collect();
        upstreams.pick("base", &ids).map(|upstream| upstream.id.clone())
    };
    upstreams.report("base", &"a".into(), Verdict::PastUnanswered("no such block".to_owned()));
    assert_eq!(picked(&upstreams), "a");
    assert_eq!(beside(&["a"]).unwrap(), "b");
    assert_eq!(beside(&["b", "gone"]).unwrap(), "a");
    assert_eq!(beside(&["a", "b"]).unwrap_err().retry_ms, None);
}

#[test]
fn when_all_rest_it_says_until_when() {
    let (upstreams, clock) = upstreams(&[("a", 1), ("b", 2)]);
    assert_eq!(upstreams.pick("other", &[]).unwrap_err().retry_ms, None);
    upstreams.report("base", &"a".into(), Verdict::WrongNetwork);
    upstreams.report("base", &"b".into(), Verdict::RateLimited { ms: 5000 });
    let retry_ms = upstreams.pick("base", &[]).unwrap_err().retry_ms.unwrap();
    assert!((4000..=5000).contains(&retry_ms), "{retry_ms}");
    clock.shift(5001);
    assert_eq!(picked(&upstreams), "b");
    let states: Vec<_> = upstreams.status("base").iter().map(|status| status.state).collect();
    assert_eq!(states, [UpstreamState::WrongNetwork, UpstreamState::RateLimited]);
}

#[test]
fn one_that_is_behind_is_passed_over_while_another_is_fresher() {
    let (upstreams, clock) = upstreams(&[("a", 1), ("b", 2)]);
    upstreams.report("base", &"b".into(), Verdict::Good { head: 1000 });
    upstreams.report("base", &"a".into(), Verdict::Good { head: 900 });
    assert_eq!(picked(&upstreams), "b");
    upstreams.report("base", &"b".into(), bad());
    assert_eq!(picked(&upstreams), "a", "better behind than none");
    clock.shift(30_001);
    upstreams.report("base", &"b".into(), Verdict::Good { head: 1015 });
    assert_eq!(picked(&upstreams), "a");
    upstreams.report("base", &"a".into(), Verdict::Good { head: 1010 });
    assert_eq!(picked(&upstreams), "a");
    upstreams.report("base", &"a".into(), Verdict::Behind);
    assert_eq!(picked(&upstreams), "b");
}

#[test]
fn the_head_of_a_wrong_network_makes_nobody_look_behind() {
    let (upstreams, _) = upstreams(&[("a", 1), ("b", 2)]);
    upstreams.report("base", &"b".into(), Verdict::Good { head: 90_000_000 });
    upstreams.report("base", &"b".into(), Verdict::WrongNetwork);
    upstreams.report("base", &"a".into(), Verdict::Good { head: 1000 });
    assert_eq!(upstreams.status("base")[0].state, UpstreamState::Ready);
}

#[test]
fn a_new_configuration_keeps_the_health_of_what_stays() {
    let (upstreams, _) = upstreams(&[("a", 1), ("b", 2)]);
    upstreams.report("base", &"a".into(), bad());
    upstreams.report("base", &"b".into(), bad());
    upstreams.set(
        "base",
        vec![
            spec("a", "https://rpc.example/v2/KEY?k=KEY", 3),
            spec("b", "https://other.example/", 2),
            spec("c", "ftp://no.example/", 1),
        ],
    );
    let status = upstreams.status("base");
    assert_eq!(status.iter().map(|status| status.id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(status[0].state, UpstreamState::Ready);
    assert_eq!(status[1].state, UpstreamState::Paused);
}

#[test]
fn nothing_secret_is_shown() {
    let (upstreams, _) = upstreams(&[]);
    let mut spec = spec("a", "https://rpc.example:8443/v2/KEY?k=KEY", 1);
    spec.headers = vec![("x-api-key".to_owned(), Zeroizing::new("KEY".to_owned()))];
    upstreams.set("base", vec![spec]);
    let upstream = upstreams.pick("base", &[]).unwrap();
    let shown = format!("{upstream:?} {:?} {:?}", upstream.headers, upstreams.status("base"));
    assert!(!shown.contains("KEY"), "{shown}");
    assert!(shown.contains("https://rpc.example:8443"), "{shown}");
}

async fn serve<F, Fut>(answer: F) -> String
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = axum::response::Response> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v2/KEY", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    url
}

fn request(path: &str) -> UpstreamRequest {
    UpstreamRequest {
        calls: 1,
        method: Method::POST,
        path: path.to_owned(),
        headers: vec![("X-Api-Key".to_owned(), "mine".to_owned()), ("accept".to_owned(), "a/b".to_owned())],
        body: Bytes::from_static(b"ping"),
        deadline: Duration::from_secs(20),
        response_bytes_max: 1000,
    }
}

#[tokio::test]
async fn a_request_carries_the_operators_headers_and_the_answer_comes_back() {
    let url = serve(|request: Request| async move {
        let text = format!(
            "{} {} {:?} {:?}",
            request.method(),
            request.uri(),
            request.headers()["x-api-key"],
            request.headers()["accept"]
        );
        (StatusCode::IM_A_TEAPOT, [("X-Out", "1")], text).into_response()
    })
    .await;
    let (upstreams, _) = upstreams(&[]);
    let mut spec = spec("a", &url, 1);
    spec.headers = vec![("x-api-key".to_owned(), Zeroizing::new("ours".to_owned()))];
    upstreams.set("base", vec![spec]);
    let response = upstreams.pick("base", &[]).unwrap().send(request("/x?y=1")).await.unwrap();
    assert_eq!(response.status, 418);
    assert!(response.headers.contains(&("x-out".to_owned(), "1".to_owned())));
    assert_eq!(response.body.as_ref(), br#"POST /v2/KEY/x?y=1 "ours" "a/b""#);
    assert_eq!(upstreams.status("base")[0].requests, 1);
    assert_eq!(upstreams.status("base")[0].errors, 1);
    let refused = UpstreamRequest { headers: vec![("host".to_owned(), "evil".to_owned())], ..request("") };
    let error = upstreams.pick("base", &[]).unwrap().send(refused).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Malformed(_)));
}

#[tokio::test]
async fn too_many_requests_hold_the_budget() {
    let url =
        serve(|_| async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "30")]).into_response() }).await;
    let (upstreams, clock) = upstreams(&[]);
    upstreams.set("base", vec![spec("a", &url, 1)]);
    let upstream = upstreams.pick("base", &[]).unwrap();
    assert_eq!(
        upstream.send(request("")).await.unwrap_err(),
        UpstreamError::RateLimited { retry_ms: 30_000 }
    );
    // Nobody else is sent there in vain.
    let error = upstream.send(request("")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::RateLimited { retry_ms: 29_000..=30_001 }), "{error:?}");
    clock.shift(30_001);
    assert_eq!(
        upstream.send(request("")).await.unwrap_err(),
        UpstreamError::RateLimited { retry_ms: 30_000 }
    );
}

#[tokio::test]
async fn a_large_answer_is_refused() {
    let url = serve(|_| async { "x".repeat(1001).into_response() }).await;
    let (upstreams, _) = upstreams(&[]);
    upstreams.set("base", vec![spec("a", &url, 1)]);
    let error = upstreams.pick("base", &[]).unwrap().send(request("")).await.unwrap_err();
    assert_eq!(error, UpstreamError::TooLarge);
    assert!(!upstreams.status("base")[0].last_error.as_ref().unwrap().contains("KEY"));
}

#[test]
fn what_is_learned_of_one_is_its_own_news_once_and_is_there_after_a_restart() {
    let (of_two, clock) = upstreams(&[("a", 1), ("b", 2)]);
    let (a, b) = (of_two.pick("base", &[]).unwrap(), of_two.pick("base", &["a".into()]).unwrap());
    a.note("batch=3".to_owned());
    a.refused(0, 1_000);
    assert_eq!((a.terms().1.as_str(), b.terms().1.as_str()), ("batch=3", ""));
    let news = of_two.news();
    assert_eq!(news.len(), 1);
    // Until it is stored.
    assert_eq!(of_two.news().len(), 1);
    let kept = news[0].1.clone();
    news[0].0.kept(kept.clone());
    assert!(of_two.news().is_empty());
    // The same configuration with another rate: learned facts stay.
    of_two.set("base", vec![spec("a", "https://rpc.example/v2/KEY?k=KEY", 1)]);
    assert_eq!(of_two.pick("base", &[]).unwrap().terms().1, "batch=3");
    // Another process, and another URL under the same id.
    let later = Upstreams::new(Outbound::new().unwrap(), clock);
    let learned = Learned::parse(&kept.text());
    later.set("base", vec![UpstreamSpec { learned, ..spec("a", "https://rpc.example/v2/KEY", 1) }]);
    assert_eq!(later.pick("base", &[]).unwrap().terms().1, "batch=3");
    later.set("base", vec![spec("a", "https://other.example", 1)]);
    assert_eq!(later.pick("base", &[]).unwrap().terms().1, "");
}
