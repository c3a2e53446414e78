//! A provider of a chain in this process. Repeated requests are answered from memory, so that its own work is little
//! more than sending bytes.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{Method, StatusCode, Uri, header};
use tokio::{net::TcpListener, task::JoinSet};

/// A request as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ReceivedRequest {
    pub(super) method: Method,
    /// Path with the query.
    pub(super) path: String,
    pub(super) body: Bytes,
}

/// A chain's answer to a request; `None` if it does not know the question.
pub(super) type Answers = Box<dyn Fn(&ReceivedRequest) -> Option<String> + Send + Sync>;

/// A provider that listens until it is dropped.
pub(super) struct Provider {
    address: SocketAddr,
    desk: Arc<Desk>,
    _listener: JoinSet<()>,
}

struct Desk {
    answers: Answers,
    made: Mutex<HashMap<ReceivedRequest, Bytes>>,
    asked: Mutex<Vec<ReceivedRequest>>,
}

impl Provider {
    pub(super) async fn start(answers: Answers) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk { answers, made: Mutex::default(), asked: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(desk.clone());
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, desk, _listener: listening })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests since the last call of this.
    pub(super) fn take_asked(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut *lock(&self.desk.asked))
    }
}

/// Locks a mutex. Each holds a plain value, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(desk): State<Arc<Desk>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let asked = ReceivedRequest { method, path: uri.to_string(), body };
    lock(&desk.asked).push(asked.clone());
    let made = lock(&desk.made).get(&asked).cloned();
    let made = made.or_else(|| {
        let made = Bytes::from((desk.answers)(&asked)?);
        lock(&desk.made).insert(asked, made.clone());
        Some(made)
    });
    match made {
        Some(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
