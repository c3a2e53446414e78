//! A webhook receiver that answers as told and keeps what it received.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Request, Response, body::Frame};
use serde_json::{Value, json};

use crate::{
    eventually,
    wire::{Body, Server, full},
};

/// An answer of the receiver.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16),
    /// A status with this body.
    Json(u16, Value),
    /// A status with a Retry-After in seconds.
    RetryAfter(u16, u32),
    /// Status 302, to this URL.
    Redirect(String),
    /// A status after this time.
    Slow(Duration, u16),
    /// No answer, ever.
    Stall,
    /// Status 200, and a body that does not end.
    Endless,
    /// A connection that closes without an answer.
    HangUp,
}

/// One POST that was received.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub method: String,
    pub path: String,
    /// Headers with names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Webhook {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|why| panic!("a hook that is no JSON ({why}): {}", self.body))
    }

    /// The invoice of the event; null if it has none.
    #[must_use]
    pub fn invoice(&self) -> Value {
        self.json()["data"]["invoice"].take()
    }

    /// The event's kind.
    #[must_use]
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }
}

struct State {
    got: Vec<Webhook>,
    script: VecDeque<Reply>,
    then: Reply,
}

/// A running receiver, stopped when dropped.
pub struct Receiver {
    state: Arc<Mutex<State>>,
    server: Server,
}

impl Receiver {
    /// Starts a receiver that answers 204 until told otherwise.
    pub async fn start() -> Self {
        let state = State { got: Vec::new(), script: VecDeque::new(), then: Reply::Status(204) };
        let state = Arc::new(Mutex::new(state));
        let handler = {
            let state = state.clone();
            move |request: Request<Bytes>| {
                let state = state.clone();
                async move {
                    let reply = note(&state, request);
                    answer(reply).await
                }
            }
        };
        Self { state, server: Server::start(handler).await }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/hooks", self.server.url())
    }

    /// URL of the receiver, without a path.
    #[must_use]
    pub fn origin(&self) -> String {
        self.server.url()
    }

    /// Sets the first replies, one for each request.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.lock().unwrap().script.extend(replies);
    }

    /// Sets the reply after the end of the script.
    pub fn then(&self, reply: Reply) {
        self.state.lock().unwrap().then = reply;
    }

    /// All webhooks received so far, whatever was answered.
    #[must_use]
    pub fn got(&self) -> Vec<Webhook> {
        self.state.lock().unwrap().got.clone()
    }

    /// Webhooks of one kind.
    #[must_use]
    pub fn got_kind(&self, kind: &str) -> Vec<Webhook> {
        self.got().into_iter().filter(|hook| hook.kind() == kind).collect()
    }

    /// Waits until `count` of a kind were received. Returns them.
    pub async fn wait_for(&self, kind: &str, count: usize) -> Vec<Webhook> {
        eventually(&format!("{count} hooks {kind}"), || async {
            let found = self.got_kind(kind);
            if found.len() >= count {
                return Ok(found);
            }
            Err(format!("{:?}", self.got().iter().map(Webhook::kind).collect::<Vec<_>>()))
        })
        .await
    }
}

fn note(state: &Mutex<State>, request: Request<Bytes>) -> Reply {
    let (head, body) = request.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let hook = Webhook {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut state = state.lock().unwrap();
    state.got.push(hook);
    state.script.pop_front().unwrap_or_else(|| state.then.clone())
}

async fn answer(reply: Reply) -> Option<Response<Body>> {
    let builder = Response::builder();
    let response = match reply {
        Reply::Status(status) => builder.status(status).body(full("")),
        Reply::Json(status, value) => {
            builder.status(status).header("content-type", "application/json").body(full(value.to_string()))
        }
        Reply::RetryAfter(status, seconds) => {
            builder.status(status).header("retry-after", seconds).body(full("later"))
        }
        Reply::Redirect(location) => builder.status(302).header("location", location).body(full("")),
        Reply::Slow(pause, status) => {
            tokio::time::sleep(pause).await;
            builder.status(status).body(full(""))
        }
        Reply::Stall => std::future::pending().await,
        Reply::HangUp => return None,
        Reply::Endless => {
            let drops = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'.'; 16384]))), ()))
            });
            let body = StreamBody::new(drops).map_err(|never| match never {});
            builder.status(200).body(body.boxed_unsync())
        }
    };
    Some(response.expect("a response"))
}

/// Verifies a webhook with the `standardwebhooks` package from npm: no code of Kassa's is involved.
pub fn verify(hook: &Webhook, secret: &str) -> Result<(), String> {
    let headers: serde_json::Map<String, Value> =
        hook.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    judge("verify.mjs", &json!({"secret": secret, "headers": headers, "body": hook.body}))
}

/// Judges in Node.js whether this header is the HMAC-SHA512 of the body, in hexadecimal.
pub fn verify_hmac(hook: &Webhook, header: &str, key: &str) -> Result<(), String> {
    judge("hmac.mjs", &json!({"key": key, "signature": hook.header(header), "body": hook.body}))
}

/// Judges an instant payment notification as NOWPayments tells its merchants to, in Node.js.
pub fn verify_ipn(hook: &Webhook, key: &str) -> Result<(), String> {
    let signature = hook.header("x-nowpayments-sig");
    judge("ipn.mjs", &json!({"key": key, "signature": signature, "body": hook.body}))
}

/// What a program of `tests/node` says about this.
fn judge(program: &str, input: &Value) -> Result<(), String> {
    let mut child = Command::new("node")
        .arg(crate::tests_folder().join("node").join(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js");
    child.stdin.take().expect("its stdin").write_all(input.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && said == "ok" { Ok(()) } else { Err(said) }
}
