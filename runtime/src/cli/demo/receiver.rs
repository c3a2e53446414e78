//! The part that a merchant writes: an HTTP handler that verifies the signature before it believes anything.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};

use crate::domain::signature::{self, Secret, SignatureError};

/// A received webhook.
#[derive(Debug)]
pub(super) struct Hook {
    /// `invoice.paid`, …
    pub(super) kind: String,
    pub(super) invoice_id: String,
    pub(super) verified: Result<(), SignatureError>,
    /// Time of arrival.
    pub(super) at: Instant,
}

/// A receiver on this machine, until this is dropped.
pub(super) struct Receiver {
    pub(super) url: String,
    secret: Arc<OnceLock<Secret>>,
    hooks: mpsc::UnboundedReceiver<Hook>,
    /// Received webhooks that nobody has asked for yet.
    waiting: Vec<Hook>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    secret: Arc<OnceLock<Secret>>,
    hooks: mpsc::UnboundedSender<Hook>,
}

impl Receiver {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/hooks", listener.local_addr()?);
        let (sender, hooks) = mpsc::unbounded_channel();
        let secret = Arc::<OnceLock<Secret>>::default();
        let router = Router::new()
            .route("/hooks", post(take))
            .with_state(Desk { secret: Arc::clone(&secret), hooks: sender });
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, secret, hooks, waiting: Vec::new(), server })
    }

    /// Sets the secret that the endpoint got at its registration.
    pub(super) fn trust(&self, secret: &str) -> anyhow::Result<()> {
        let _ = self.secret.set(Secret::parse(secret)?);
        Ok(())
    }

    /// The next webhook that nobody has waited for by name.
    pub(super) async fn next(&mut self) -> Hook {
        if !self.waiting.is_empty() {
            return self.waiting.remove(0);
        }
        match self.hooks.recv().await {
            Some(hook) => hook,
            None => std::future::pending().await,
        }
    }

    /// The webhook of this kind about this invoice; others are kept. They may arrive in any order.
    pub(super) async fn wait_for(&mut self, kind: &str, invoice_id: &str) -> Hook {
        let wanted = |hook: &Hook| hook.kind == kind && hook.invoice_id == invoice_id;
        if let Some(index) = self.waiting.iter().position(wanted) {
            return self.waiting.remove(index);
        }
        loop {
            match self.hooks.recv().await {
                Some(hook) if wanted(&hook) => return hook,
                Some(other) => self.waiting.push(other),
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let verified = verify(&desk, &headers, &body);
    let payload: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text =
        |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let hook = Hook { kind: text("/type"), invoice_id: text("/data/invoice/id"), verified, at };
    let status = if verified.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST };
    let _ = desk.hooks.send(hook);
    status
}

fn verify(desk: &Desk, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let secret = desk.secret.get().ok_or(SignatureError::Secret)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now_s = i64::try_from(now).unwrap_or(i64::MAX);
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    signature::verify(secret, id, timestamp, header("webhook-signature"), body, now_s)
}
