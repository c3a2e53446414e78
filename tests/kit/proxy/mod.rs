//! A proxy before the node that misbehaves as real providers do: with JSON-RPC call by call, with any other API request
//! by request.
//!
//! A case adds [`Rule`]s; the first rule that fits a request spoils it, the others let it pass. Everything is counted:
//! calls and answered bytes for each method, requests in all.

mod allowance;
mod calls;
mod fault;
mod lagging;
mod replies;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{Request, Response};
use serde_json::{Value, json};

use self::allowance::Allowance;
use self::calls::{calls, method, range};
pub use self::fault::{Change, Fault, Provider, Refused, Rule};
use self::lagging::LaggingHead;
use self::replies::{answered, cut, plain, refusal, truncated};
use crate::{
    anvil::{hex, number},
    wire::{Body, Server},
};

/// Counts of what passed the proxy.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub requests: u64,
    /// Number of requests that a rule spoiled. One that changes answers counts only if it found something to change.
    pub spoiled: u64,
    /// Time of each request.
    pub times: Vec<Instant>,
    /// Number of calls and of answered bytes of each method.
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
    /// The node's answers by request, while its chain stands still.
    remembered: Option<HashMap<String, (u16, Bytes)>>,
    allowance: Allowance,
}

impl State {
    /// True if `calls` more calls are served now. Counts a refusal as spoiled.
    fn serves(&mut self, calls: u32, limit: &Fault) -> bool {
        let is_served = self.allowance.serves(calls, limit);
        self.counts.spoiled += u64::from(!is_served);
        is_served
    }
}

struct Shared {
    node: String,
    client: reqwest::Client,
    state: Mutex<State>,
}

/// A running proxy, stopped when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    server: Server,
}

impl Proxy {
    /// Starts a proxy before the node at this URL.
    pub async fn start(node: &str) -> Self {
        // Node.js closes what was idle for five seconds, just when it may be used again.
        let client = crate::client().pool_idle_timeout(Duration::from_secs(2));
        let client = client.build().expect("a client");
        let shared = Arc::new(Shared { node: node.to_owned(), client, state: Mutex::default() });
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

    /// Removes all rules: from now on everything passes.
    pub fn clear(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.rules.clear();
        state.allowance = Allowance::default();
    }

    /// Remembers answers from now on, since the chain stands still: the node is asked for each thing once.
    pub fn remember(&self) {
        self.shared.state.lock().unwrap().remembered = Some(HashMap::new());
    }

    /// Counts since the start or the last [`Proxy::reset_counts`].
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
        let calls = calls(request.body());
        let path = request.uri().path().to_owned();
        let methods: Vec<&str> = match &calls {
            Some(calls) => calls.iter().map(method).collect(),
            None => vec![&path],
        };
        let rule = self.note(&request, &methods);
        let fault = rule.as_ref().map(|rule| &rule.fault);
        match fault {
            Some(Fault::Status { code, retry_after_s }) => return Some(refusal(*code, *retry_after_s)),
            Some(Fault::Stall) => return std::future::pending().await,
            Some(Fault::HangUp) => return None,
            Some(Fault::Page(code)) => {
                return Some(plain(*code, "text/html", "<!doctype html><title>Sorry</title>"));
            }
            Some(Fault::BatchTooLarge) if methods.len() > 1 => {
                self.state.lock().unwrap().counts.spoiled += 1;
                return Some(refusal(413, None));
            }
            Some(Fault::PerSecond(_, words) | Fault::Quota(_, words) | Fault::Alternately { words, .. })
                if *words != Refused::Entries =>
            {
                let calls = u32::try_from(methods.len()).unwrap();
                if !self.state.lock().unwrap().serves(calls, fault.expect("one")) {
                    let (status, body) = words.answer();
                    return Some(plain(status, "application/json", body));
                }
            }
            _ => {}
        }
        let (status, mut body) = match (&calls, fault) {
            (Some(calls), fault) if !matches!(fault, Some(Fault::Stale)) => {
                let batch = request.body().trim_ascii_start().starts_with(b"[");
                (200, self.answer_calls(calls, batch, rule.as_ref()).await)
            }
            _ => self.relay(&request, matches!(fault, Some(Fault::Stale))).await,
        };
        if calls.is_none() {
            self.count(&path, body.len());
        }
        match fault {
            Some(Fault::Truncated) => return Some(truncated(&body, body.len() / 2)),
            Some(Fault::Parts) => {
                let spoiled = self.state.lock().unwrap().counts.spoiled;
                // Each length below 200, then in larger steps.
                let length = if spoiled < 20 { spoiled * 10 } else { spoiled * 97 };
                return Some(truncated(&body, usize::try_from(length).unwrap() % body.len().max(1)));
            }
            Some(Fault::Cut) => return Some(cut(&body)),
            Some(Fault::Changed(change)) => {
                if let Some(changed) = change.apply(&methods.join("+"), &body) {
                    self.state.lock().unwrap().counts.spoiled += 1;
                    body = changed;
                }
            }
            _ => {}
        }
        Some(answered(status, body))
    }

    /// Answers calls of JSON-RPC. Each answer is spoiled if the rule fits its call.
    async fn answer_calls(&self, calls: &[Value], batch: bool, rule: Option<&Rule>) -> Vec<u8> {
        if batch && matches!(rule, Some(Rule { fault: Fault::BatchRefused, .. })) {
            let error = json!({"code": -32600, "message": "batch requests are not supported"});
            return json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string().into_bytes();
        }
        if let Some(Rule { fault: Fault::BatchLimit(most), .. }) = rule
            && calls.len() > *most
        {
            self.state.lock().unwrap().counts.spoiled += 1;
            let error = json!({"code": -32600, "message": "batch too large"});
            return json!([{"jsonrpc": "2.0", "id": calls[0]["id"], "error": error}])
                .to_string()
                .into_bytes();
        }
        let mut bytes = 0;
        let lag = match rule {
            Some(Rule { fault: Fault::Lagging(blocks), .. }) => Some(self.lagging_head(*blocks).await),
            _ => None,
        };
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let spoiled = rule.filter(|rule| rule.fits(method(call)));
            let answer = match &lag {
                Some(head) if call["method"] == "eth_blockNumber" => {
                    json!({"jsonrpc": "2.0", "id": call["id"], "result": hex(head.latest)})
                }
                Some(head) => head.limit(self.forward(&head.ask(call)).await),
                None => self.one(call, spoiled.map(|rule| &rule.fault)).await,
            };
            bytes += answer.to_string().len();
            let answer = match rule {
                Some(Rule { fault: Fault::BatchBytes(most), .. }) if batch && bytes > *most => {
                    self.state.lock().unwrap().counts.spoiled += 1;
                    json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32003, "message": "response too large"}})
                }
                _ => answer,
            };
            self.count(method(call), answer.to_string().len());
            answers.push(answer);
        }
        let whole = if batch { Value::Array(answers) } else { answers.remove(0) };
        whole.to_string().into_bytes()
    }

    /// Relays the request as it came, to the node or to its backend that is behind.
    async fn relay(&self, request: &Request<Bytes>, stale: bool) -> (u16, Vec<u8>) {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{}{path}", self.node, if stale { "/lagging" } else { "" });
        let asked = format!("{} {url} {}", request.method(), String::from_utf8_lossy(request.body()));
        if let Some((status, body)) = self.remembered(&asked) {
            return (status, body.to_vec());
        }
        let mut relayed = self.client.request(request.method().clone(), url).body(request.body().clone());
        if let Some(kind) = request.headers().get("content-type") {
            relayed = relayed.header("content-type", kind);
        }
        match relayed.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body = answer.bytes().await.unwrap_or_default();
                self.keep(asked, status, &body);
                (status, body.to_vec())
            }
            Err(why) => (502, why.to_string().into_bytes()),
        }
    }

    /// Counts the request and finds the rule that spoils it.
    fn note(&self, request: &Request<Bytes>, methods: &[&str]) -> Option<Rule> {
        let mut state = self.state.lock().unwrap();
        state.counts.requests += 1;
        state.counts.times.push(Instant::now());
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        state.headers = request.headers().iter().map(header).collect();
        let rule = state.rules.iter_mut().find_map(|rule| rule.strikes(methods).then(|| rule.clone()));
        // Rules that find nothing to spoil in some requests count what they spoil themselves.
        let spoils = rule.as_ref().is_some_and(|rule| {
            !matches!(
                rule.fault,
                Fault::Changed(_)
                    | Fault::PerSecond(..)
                    | Fault::Quota(..)
                    | Fault::Alternately { .. }
                    | Fault::BatchLimit(_)
                    | Fault::BatchTooLarge
                    | Fault::BatchBytes(_)
            )
        });
        state.counts.spoiled += u64::from(spoils);
        rule
    }

    fn count(&self, method: &str, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        let entry = state.counts.methods.entry(method.to_owned()).or_default();
        entry.0 += 1;
        entry.1 += u64::try_from(bytes).unwrap();
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
            Some(
                limit @ (Fault::PerSecond(_, Refused::Entries)
                | Fault::Quota(_, Refused::Entries)
                | Fault::Alternately { words: Refused::Entries, .. }),
            ) => {
                if self.state.lock().unwrap().serves(1, limit) {
                    self.forward(call).await
                } else {
                    error(-32007, "15/second request limit reached - reduce calls per second".to_owned())
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
        let asked = format!("{} {}", method(call), call["params"]);
        if let Some((_, body)) = self.remembered(&asked) {
            let mut answer: Value = serde_json::from_slice(&body).expect("the node answered JSON");
            answer["id"] = call["id"].clone();
            return answer;
        }
        let answer = self.client.post(&self.node).json(call).send().await;
        match answer {
            Ok(answer) => {
                let body = answer.bytes().await.expect("the node's answer");
                self.keep(asked, 200, &body);
                serde_json::from_slice(&body).expect("the node answers JSON")
            }
            Err(why) => {
                json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": why.to_string()}})
            }
        }
    }

    fn remembered(&self, asked: &str) -> Option<(u16, Bytes)> {
        self.state.lock().unwrap().remembered.as_ref()?.get(asked).cloned()
    }

    fn keep(&self, asked: String, status: u16, body: &Bytes) {
        if let Some(remembered) = &mut self.state.lock().unwrap().remembered {
            remembered.insert(asked, (status, body.clone()));
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
