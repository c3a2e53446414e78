//! A JSON-RPC proxy that stands before the node and misbehaves as real providers do.
//!
//! A case adds [`Rule`]s; the first rule that fits a request spoils it, the others let it pass. Everything is
//! counted: calls and answered bytes for each method, requests in all.

mod fault;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Request, Response, body::Frame};
use serde_json::{Value, json};

pub use self::fault::{Fault, Provider, Rule};
use crate::{
    anvil::{Anvil, hex, number},
    wire::{Body, Server, full},
};

/// What passed the proxy.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub requests: u64,
    /// Requests that a rule spoiled.
    pub spoiled: u64,
    /// Calls and answered bytes of each method.
    pub methods: BTreeMap<String, (u64, u64)>,
}

impl Counts {
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.methods.values().map(|(calls, _)| calls).sum()
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.methods.values().map(|(_, bytes)| bytes).sum()
    }
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    counts: Counts,
    headers: Vec<(String, String)>,
}

struct Shared {
    node: String,
    client: reqwest::Client,
    state: Mutex<State>,
}

/// A running proxy, gone with this value.
pub struct Proxy {
    shared: Arc<Shared>,
    server: Server,
}

impl Proxy {
    pub async fn start(anvil: &Anvil) -> Self {
        let client = reqwest::Client::builder().build().expect("a client");
        let shared = Arc::new(Shared { node: anvil.url().to_owned(), client, state: Mutex::default() });
        let handler = {
            let shared = shared.clone();
            move |request| {
                let shared = shared.clone();
                async move { shared.answer(request).await }
            }
        };
        Self { shared, server: Server::start(handler).await }
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn add(&self, rule: Rule) {
        self.shared.state.lock().unwrap().rules.push(rule);
    }

    /// From now on everything passes.
    pub fn clear(&self) {
        self.shared.state.lock().unwrap().rules.clear();
    }

    /// What passed since the start or the last [`Proxy::reset_counts`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().unwrap().counts.clone()
    }

    pub fn reset_counts(&self) {
        self.shared.state.lock().unwrap().counts = Counts::default();
    }

    /// The headers of the last request.
    #[must_use]
    pub fn last_headers(&self) -> Vec<(String, String)> {
        self.shared.state.lock().unwrap().headers.clone()
    }
}

impl Shared {
    async fn answer(&self, request: Request<Bytes>) -> Option<Response<Body>> {
        let Ok(asked) = serde_json::from_slice::<Value>(request.body()) else {
            return Some(plain(400, "text/plain", "not JSON"));
        };
        let batch = asked.is_array();
        let calls = asked.as_array().cloned().unwrap_or_else(|| vec![asked.clone()]);
        let rule = self.note(&request, &calls);
        if let Some(rule) = &rule {
            match &rule.fault {
                Fault::Status { code, retry_after_s } => return Some(refusal(*code, *retry_after_s)),
                Fault::Html => return Some(plain(200, "text/html", "<!doctype html><title>Welcome</title>")),
                Fault::Stall => return std::future::pending().await,
                Fault::HangUp => return None,
                Fault::BatchRefused if batch => {
                    let error = json!({"code": -32600, "message": "batch requests are not supported"});
                    return Some(answered(&json!({"jsonrpc": "2.0", "id": null, "error": error})));
                }
                _ => {}
            }
        }
        let lag = match &rule {
            Some(Rule { fault: Fault::Lagging(blocks), .. }) => Some(self.lagging_head(*blocks).await),
            _ => None,
        };
        let mut answers = Vec::with_capacity(calls.len());
        for call in &calls {
            let spoiled = rule.as_ref().filter(|rule| rule.fits(call));
            let answer = match &lag {
                Some(head) if call["method"] == "eth_blockNumber" => {
                    json!({"jsonrpc": "2.0", "id": call["id"], "result": hex(head.latest)})
                }
                Some(head) => head.limit(self.forward(&head.ask(call)).await),
                None => self.one(call, spoiled.map(|rule| &rule.fault)).await,
            };
            self.count(call, &answer);
            answers.push(answer);
        }
        let whole = if batch { Value::Array(answers) } else { answers.remove(0) };
        Some(match rule.map(|rule| rule.fault) {
            Some(Fault::Truncated) => truncated(&whole),
            Some(Fault::Cut) => cut(&whole),
            _ => answered(&whole),
        })
    }

    /// Counts the request and finds the rule that spoils it.
    fn note(&self, request: &Request<Bytes>, calls: &[Value]) -> Option<Rule> {
        let mut state = self.state.lock().unwrap();
        state.counts.requests += 1;
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        state.headers = request.headers().iter().map(header).collect();
        let rule = state.rules.iter_mut().find_map(|rule| rule.strikes(calls).then(|| rule.clone()));
        state.counts.spoiled += u64::from(rule.is_some());
        rule
    }

    fn count(&self, call: &Value, answer: &Value) {
        let method = call["method"].as_str().unwrap_or("?").to_owned();
        let mut state = self.state.lock().unwrap();
        let entry = state.counts.methods.entry(method).or_default();
        entry.0 += 1;
        entry.1 += u64::try_from(answer.to_string().len()).unwrap();
    }

    async fn one(&self, call: &Value, fault: Option<&Fault>) -> Value {
        let error = |code: i64, message: String| json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}});
        match fault {
            Some(Fault::Result(result)) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}),
            Some(Fault::Error { code, message }) => error(*code, (*message).to_owned()),
            Some(Fault::RangeLimit(provider, most)) => match range(call) {
                Some((from, to)) if to - from + 1 > *most => {
                    let (code, message) = provider.complaint(from, to, *most);
                    error(code, message)
                }
                _ => self.forward(call).await,
            },
            Some(Fault::ResultLimit(most)) => {
                let answer = self.forward(call).await;
                let found = answer["result"].as_array().map_or(0, Vec::len);
                match range(call) {
                    Some((from, to)) if found > *most => {
                        // base-reth names the very range that was asked for when it cannot name a smaller one.
                        let to = from + (to - from) / 2;
                        error(
                            -32602,
                            format!("query exceeds max results {most}, retry with the range {from}-{to}"),
                        )
                    }
                    _ => answer,
                }
            }
            Some(Fault::WrongId) => {
                let mut answer = self.forward(call).await;
                answer["id"] = json!(987_654_321);
                answer
            }
            _ => self.forward(call).await,
        }
    }

    async fn forward(&self, call: &Value) -> Value {
        let answer = self.client.post(&self.node).json(call).send().await;
        match answer {
            Ok(answer) => answer.json().await.expect("the node answers JSON"),
            Err(why) => {
                json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": why.to_string()}})
            }
        }
    }

    async fn height(&self, tag: &str) -> u64 {
        let params = json!([tag, false]);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": params});
        number(&self.forward(&call).await["result"]["number"])
    }

    async fn lagging_head(&self, blocks: u64) -> LaggingHead {
        LaggingHead {
            latest: self.height("latest").await.saturating_sub(blocks),
            safe: self.height("safe").await.saturating_sub(blocks),
            finalized: self.height("finalized").await.saturating_sub(blocks),
        }
    }
}

/// What a backend believes that has not seen the last blocks.
struct LaggingHead {
    latest: u64,
    safe: u64,
    finalized: u64,
}

impl LaggingHead {
    /// The call with its own idea of the tags.
    fn ask(&self, call: &Value) -> Value {
        let mut call = call.clone();
        if let Some(params) = call["params"].as_array_mut() {
            for param in params {
                self.untag(param);
                for key in ["fromBlock", "toBlock"] {
                    if let Some(place) = param.get_mut(key) {
                        self.untag(place);
                    }
                }
            }
        }
        call
    }

    fn untag(&self, place: &mut Value) {
        let height = match place.as_str() {
            Some("latest" | "pending") => self.latest,
            Some("safe") => self.safe,
            Some("finalized") => self.finalized,
            _ => return,
        };
        *place = json!(hex(height));
    }

    /// The answer without what is above its head.
    fn limit(&self, mut answer: Value) -> Value {
        let above = |value: &Value| {
            let height = ["number", "blockNumber"].iter().find_map(|key| value.get(*key)?.as_str());
            height.is_some_and(|text| number(&json!(text)) > self.latest)
        };
        let result = &mut answer["result"];
        match result {
            // Logs: an honest node would say that it lacks the block; those behind a balancer answer `[]`.
            Value::Array(items) => items.retain(|item| !above(item)),
            Value::Object(_) if above(result) => *result = Value::Null,
            _ => {}
        }
        answer
    }
}

/// The blocks that a call asks the logs of.
fn range(call: &Value) -> Option<(u64, u64)> {
    let filter = call["params"].get(0)?;
    Some((number(filter.get("fromBlock")?), number(filter.get("toBlock")?)))
}

fn plain(code: u16, kind: &str, body: &'static str) -> Response<Body> {
    let builder = Response::builder().status(code).header("content-type", kind);
    builder.body(full(body)).expect("a response")
}

fn refusal(code: u16, retry_after_s: Option<u32>) -> Response<Body> {
    let mut response = plain(code, "text/plain", "go away");
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn json_response(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(body).expect("a response")
}

fn answered(answer: &Value) -> Response<Body> {
    json_response(full(answer.to_string()))
}

fn truncated(answer: &Value) -> Response<Body> {
    let text = answer.to_string();
    json_response(full(text[..text.len() / 2].to_owned()))
}

fn cut(answer: &Value) -> Response<Body> {
    let text = answer.to_string();
    let half = Bytes::from(text[..text.len() / 2].to_owned());
    let frames = stream::iter([Ok(Frame::data(half)), Err(io::Error::other("cut"))]);
    let mut response = json_response(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("content-length", text.len().into());
    response
}
