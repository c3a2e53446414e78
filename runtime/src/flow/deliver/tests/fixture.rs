//! A merchant's desk for tests: merchants, endpoints, events, and receivers that note what they get.

use std::{
    collections::HashSet,
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use tokio::net::TcpListener;

use crate::{
    clock::Clock,
    config::Webhooks,
    db::{
        DbError,
        deliveries::{self, Attempt, Delivery, Of, Range, Resend},
        endpoints::{self, NewEndpoint},
        events,
        merchants::{self, Merchant},
    },
    domain::{
        event::{Kind, NewEvent},
        id::{DeliveryId, EndpointId, EventId, Id, InvoiceId},
        policy::Policy,
        signature::Secret,
        tenant::Tenant,
    },
    flow::{
        deliver::{Worker, form::Forms},
        dispatch,
    },
    host::tests::empty_host,
    outbound::Outbound,
    testing::{self, TestDb, databases},
    vault::Vault,
};
use std::sync::Arc;

pub(super) struct Received {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An HTTP server that notes each request and answers by its number.
pub(super) struct Receiver {
    pub(super) url: String,
    received: Arc<Mutex<Vec<Arc<Received>>>>,
}

pub(super) fn ok(text: &'static str) -> Response {
    text.into_response()
}

/// An answer whose body never ends.
pub(super) fn endless() -> Response {
    let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"more ")));
    Response::new(Body::from_stream(chunks))
}

impl Receiver {
    pub(super) async fn start(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        Self::start_async(move |number| std::future::ready(answer(number))).await
    }

    pub(super) async fn start_async<F, Fut>(answer: F) -> Self
    where
        F: Fn(usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response> + Send + 'static,
    {
        let received: Arc<Mutex<Vec<Arc<Received>>>> = Arc::default();
        let (notes, answer, count) = (received.clone(), Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let app = Router::new().fallback(move |request: Request| {
            let (notes, answer, count) = (notes.clone(), answer.clone(), count.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                notes.lock().unwrap().push(Arc::new(Received { headers: parts.headers, body }));
                answer(count.fetch_add(1, Ordering::SeqCst)).await
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, received }
    }

    pub(super) fn requests(&self) -> Vec<Arc<Received>> {
        self.received.lock().unwrap().clone()
    }

    /// The distinct `webhook-id`s.
    pub(super) fn ids(&self) -> HashSet<String> {
        let id = |request: &Arc<Received>| request.headers["webhook-id"].to_str().unwrap().to_owned();
        self.requests().iter().map(id).collect()
    }
}

pub(super) struct Desk {
    pub(super) db: TestDb,
    pub(super) clock: Clock,
    pub(super) vault: Arc<Vault>,
    pub(super) config: Webhooks,
    pub(super) outbound: Outbound,
    pub(super) forms: Forms,
}

pub(super) struct MadeEndpoint {
    pub(super) id: EndpointId,
    pub(super) secret: Secret,
}

/// Runs a test on a desk on each kind of database, with the merchants `mer_a` and `mer_b`.
pub(super) async fn each_database(test: impl AsyncFn(Desk)) {
    for db in databases().await {
        let clock = Clock::default();
        let now = clock.now();
        db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                for id in ["mer_a", "mer_b"] {
                    let merchant = Merchant {
                        id: id.into(),
                        name: id.to_owned(),
                        operator_events: false,
                        policy: Policy::default(),
                        created_at: now,
                        disabled_at: None,
                    };
                    merchants::insert(conn, &merchant).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
        let vault = Arc::new(Vault::from_hex(&"11".repeat(32)).unwrap());
        let config =
            Webhooks { allow_private: true, timeout_s: 20, concurrency: 64, concurrency_per_endpoint: 8 };
        let (host, _folder) = empty_host(&db, &clock);
        let hooks = testing::config().hooks;
        let forms = Forms::with((*db).clone(), vault.clone(), host, &hooks);
        test(Desk { db, clock, vault, config, outbound: Outbound::new().unwrap(), forms }).await;
    }
}

impl Desk {
    pub(super) fn worker(&self) -> Worker {
        let (clock, vault, outbound) = (self.clock.clone(), self.vault.clone(), self.outbound.clone());
        Worker::new((*self.db).clone(), clock, vault, outbound, self.forms.clone(), &self.config)
    }

    pub(super) async fn endpoint(&self, merchant_id: &str, url: &str) -> MadeEndpoint {
        let id = EndpointId::new(self.clock.now());
        let secret = Secret::generate().unwrap();
        let endpoint = NewEndpoint {
            id: id.clone(),
            tenant: Tenant::live(merchant_id),
            url: url.to_owned(),
            form_hook_id: None,
            events: None,
            secret: self.vault.seal(id.as_str(), secret.to_text().as_bytes()).unwrap(),
            created_at: self.clock.now(),
        };
        let insert = self.db.write::<_, DbError, _>(move |conn| Box::pin(endpoints::insert(conn, endpoint)));
        assert!(insert.await.unwrap());
        MadeEndpoint { id, secret }
    }

    pub(super) async fn find(&self, merchant_id: &str, id: &EndpointId) -> endpoints::Endpoint {
        let mut conn = self.db.read().await.unwrap();
        endpoints::get(&mut conn, &Tenant::live(merchant_id), id).await.unwrap().unwrap()
    }

    pub(super) async fn enable(&self, merchant_id: &'static str, id: &EndpointId) {
        let id = id.clone();
        self.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { endpoints::enable(conn, &Tenant::live(merchant_id), &id).await })
            })
            .await
            .unwrap();
    }

    pub(super) async fn rotate(&self, merchant_id: &'static str, id: &EndpointId) -> Secret {
        let secret = Secret::generate().unwrap();
        let sealed = self.vault.seal(id.as_str(), secret.to_text().as_bytes()).unwrap();
        let (id, now) = (id.clone(), self.clock.now());
        let rotated = self.db.write::<_, DbError, _>(move |conn| {
            Box::pin(
                async move { endpoints::rotate(conn, &Tenant::live(merchant_id), &id, sealed, now).await },
            )
        });
        assert!(rotated.await.unwrap());
        secret
    }

    pub(super) async fn event(&self, merchant_id: &str, payload: &str) -> EventId {
        self.insert(vec![self.new_event(merchant_id, payload)]).await.remove(0)
    }

    pub(super) async fn events(&self, merchant_id: &str, count: usize) -> Vec<EventId> {
        self.insert((0..count).map(|_| self.new_event(merchant_id, "{}")).collect()).await
    }

    fn new_event(&self, merchant_id: &str, payload: &str) -> NewEvent {
        NewEvent {
            id: EventId::new(self.clock.now()),
            tenant: Tenant::live(merchant_id),
            kind: Kind::InvoicePaid.into(),
            invoice_id: None,
            transfer_id: None,
            sequence: 0,
            payload: payload.to_owned(),
            created_at: self.clock.now(),
        }
    }

    /// Commits the events of an invoice of `mer_a` with these numbers. Their payload says which they are.
    pub(super) async fn invoice(
        &self,
        invoice_id: &InvoiceId,
        numbers: std::ops::RangeInclusive<i64>,
    ) -> Vec<EventId> {
        let event = |sequence| NewEvent {
            invoice_id: Some(invoice_id.clone()),
            sequence,
            ..self.new_event("mer_a", &format!("{invoice_id}/{sequence}"))
        };
        self.insert(numbers.map(event).collect()).await
    }

    async fn insert(&self, events: Vec<NewEvent>) -> Vec<EventId> {
        let ids = events.iter().map(|event| event.id.clone()).collect();
        self.db.write::<_, DbError, _>(move |conn| Box::pin(events::insert(conn, events))).await.unwrap();
        ids
    }

    pub(super) async fn dispatch(&self) {
        while dispatch::step(&self.db, &self.clock).await.unwrap() > 0 {}
    }

    /// Dispatches and sends all that is due.
    pub(super) async fn deliver(&self) -> usize {
        self.dispatch().await;
        self.worker().step().await
    }

    /// The only delivery of an event.
    pub(super) async fn delivery(&self, merchant_id: &str, event_id: &EventId) -> Delivery {
        let mut found = self.deliveries(merchant_id, Of::Event(event_id.clone())).await;
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    pub(super) async fn deliveries(&self, merchant_id: &str, of: Of) -> Vec<Delivery> {
        let mut conn = self.db.read().await.unwrap();
        let top = DeliveryId::greatest();
        deliveries::list(&mut conn, &Tenant::live(merchant_id), of, None, top, 100_000).await.unwrap()
    }

    pub(super) async fn attempts(&self, merchant_id: &str, delivery_id: &DeliveryId) -> Vec<Attempt> {
        let mut conn = self.db.read().await.unwrap();
        deliveries::attempts(&mut conn, &Tenant::live(merchant_id), delivery_id, 100).await.unwrap()
    }

    pub(super) async fn resend(&self, merchant_id: &'static str, delivery_id: &DeliveryId) -> Resend {
        let (id, now) = (delivery_id.clone(), self.clock.now());
        self.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { deliveries::resend(conn, &Tenant::live(merchant_id), &id, now).await })
            })
            .await
            .unwrap()
    }

    pub(super) async fn resend_range(
        &self,
        merchant_id: &'static str,
        range: Range,
        rows: i64,
    ) -> Vec<DeliveryId> {
        let now = self.clock.now();
        self.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    deliveries::resend_range(conn, &Tenant::live(merchant_id), range, rows, now).await
                })
            })
            .await
            .unwrap()
    }
}

/// Waits until something holds; fails after a minute.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
