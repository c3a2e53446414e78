//! Over real HTTP receivers, on SQLite, and on PostgreSQL where there is one.

mod faults;
mod fixture;
mod leaving;
mod order;
mod replicas;

use axum::{http::StatusCode, response::IntoResponse as _};

use self::fixture::{Desk, Receiver, each_database, ok};
use super::*;
use crate::{
    db::deliveries::{self, DeliveryState, Of, Range, Resend},
    domain::{
        id::{DeliveryId, Id},
        signature::{Secret, SignatureError, verify},
        tenant::Tenant,
    },
};

#[tokio::test]
async fn a_delivery_is_signed_sent_once_and_logged() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("thanks")).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", r#"{"type":"invoice.paid","data":{"ü":1}}"#).await;
        desk.dispatch().await;
        assert_eq!(desk.worker().step().await, 1);
        assert_eq!(desk.worker().step().await, 0);

        let [request] = &receiver.requests()[..] else { panic!("one request") };
        assert_eq!(request.body.as_ref(), r#"{"type":"invoice.paid","data":{"ü":1}}"#.as_bytes());
        let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("webhook-id"), event.as_str());
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("user-agent"), concat!("Kassa/", env!("CARGO_PKG_VERSION")));
        let (at, signature) = (header("webhook-timestamp"), header("webhook-signature"));
        let now_s = desk.clock.now() / 1000;
        verify(&endpoint.secret, event.as_str(), &at, &signature, &request.body, now_s).unwrap();

        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
        assert_eq!((delivery.due_at, delivery.done_at.is_some()), (None, true));
        let attempts = desk.attempts("mer_a", &delivery.id).await;
        assert_eq!((attempts[0].number, attempts[0].status, &attempts[0].error), (1, Some(200), &None));
        assert_eq!(attempts[0].response.as_deref(), Some("thanks"));
    })
    .await;
}

#[tokio::test]
async fn both_secrets_sign_for_a_day_after_a_rotation() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        let new = desk.rotate("mer_a", &endpoint.id).await;
        let check = |secret: &Secret, place: usize| {
            let request = &receiver.requests()[place];
            let header = |name: &str| request.headers[name].to_str().unwrap();
            let at: i64 = header("webhook-timestamp").parse().unwrap();
            let signature = header("webhook-signature");
            verify(secret, header("webhook-id"), &at.to_string(), signature, &request.body, at)
        };
        desk.event("mer_a", "{}").await;
        desk.deliver().await;
        assert_eq!((check(&endpoint.secret, 0), check(&new, 0)), (Ok(()), Ok(())));
        desk.clock.shift(24 * 3600 * 1000 + 1);
        desk.event("mer_a", "{}").await;
        desk.deliver().await;
        assert_eq!((check(&endpoint.secret, 1), check(&new, 1)), (Err(SignatureError::Signature), Ok(())));
    })
    .await;
}

#[tokio::test]
async fn every_event_reaches_every_endpoint_once() {
    each_database(async |desk| {
        let receivers = [Receiver::start(|_| ok("")).await, Receiver::start(|_| ok("")).await];
        for receiver in &receivers {
            desk.endpoint("mer_a", &receiver.url).await;
        }
        let other = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_b", &other.url).await;
        desk.events("mer_a", 300).await;
        desk.dispatch().await;
        assert_eq!(desk.worker().step().await, 600);
        for receiver in &receivers {
            assert_eq!((receiver.requests().len(), receiver.ids().len()), (300, 300));
        }
        assert!(other.requests().is_empty());
        assert_eq!(desk.worker().step().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_tried_again_when_it_is_due() {
    each_database(async |desk| {
        let receiver = Receiver::start(|number| match number {
            0 => (StatusCode::INTERNAL_SERVER_ERROR, "broken\0").into_response(),
            _ => ok(""),
        })
        .await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        desk.deliver().await;
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
        let attempt = &desk.attempts("mer_a", &delivery.id).await[0];
        assert_eq!((attempt.status, attempt.error.as_deref()), (Some(500), Some("status 500")));
        assert_eq!(desk.worker().step().await, 0, "not due yet");
        desk.clock.shift(6000);
        assert_eq!(desk.worker().step().await, 1);
        let [first, second] = &receiver.requests()[..] else { panic!("two requests") };
        assert_eq!(first.headers["webhook-id"], second.headers["webhook-id"]);
        assert_ne!(first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]);
        assert_ne!(first.headers["webhook-signature"], second.headers["webhook-signature"]);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2));
    })
    .await;
}

#[tokio::test]
async fn what_fails_to_the_end_is_exhausted_and_can_be_sent_again() {
    each_database(async |desk| {
        let receiver = Receiver::start(|number| match number {
            0..24 => StatusCode::BAD_GATEWAY.into_response(),
            _ => ok(""),
        })
        .await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        for attempt in 1..=24 {
            assert_eq!(desk.worker().step().await, 1, "attempt {attempt}");
            desk.clock.shift(14 * 3600 * 1000);
        }
        assert_eq!(desk.worker().step().await, 0);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Exhausted, 24));

        assert_eq!(desk.resend("mer_b", &delivery.id).await, Resend::NotFound);
        assert_eq!(desk.resend("mer_a", &delivery.id).await, Resend::Queued);
        assert_eq!(desk.resend("mer_a", &delivery.id).await, Resend::Pending);
        assert_eq!(desk.worker().step().await, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 25));
        assert_eq!(desk.attempts("mer_a", &delivery.id).await[0].number, 25);
        assert_eq!(receiver.ids().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_resend_begins_a_new_round() {
    each_database(async |desk| {
        let receiver = Receiver::start(|number| match number {
            0 => ok(""),
            _ => StatusCode::BAD_GATEWAY.into_response(),
        })
        .await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        desk.deliver().await;
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!(desk.resend("mer_a", &delivery.id).await, Resend::Queued);
        assert_eq!(desk.worker().step().await, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 2));
        let wait = delivery.due_at.unwrap() - desk.clock.now();
        assert!((1..=5500).contains(&wait), "{wait}");
    })
    .await;
}

#[tokio::test]
async fn a_range_of_time_is_sent_again_in_bounds() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        desk.events("mer_a", 5).await;
        desk.deliver().await;
        desk.clock.shift(60_000);
        let from = desk.clock.now();
        desk.clock.shift(60_000);
        desk.events("mer_a", 30).await;
        desk.deliver().await;
        desk.clock.shift(60_000);
        let range = |delivered_too, after| Range {
            endpoint_id: endpoint.id.clone(),
            from,
            to: desk.clock.now(),
            delivered_too,
            after,
        };
        assert!(desk.resend_range("mer_a", range(false, None), 100).await.is_empty());
        assert!(desk.resend_range("mer_b", range(true, None), 100).await.is_empty());
        let first = desk.resend_range("mer_a", range(true, None), 20).await;
        assert_eq!(first.len(), 20);
        let second = desk.resend_range("mer_a", range(true, first.last().cloned()), 20).await;
        assert_eq!(second.len(), 10);
        assert!(first.is_sorted() && first.last() < second.first());
        assert_eq!(desk.worker().step().await, 30);
        assert_eq!((receiver.requests().len(), receiver.ids().len()), (65, 35));
    })
    .await;
}

#[tokio::test]
async fn lists_are_of_one_merchant_and_mode_the_newest_first() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        desk.endpoint("mer_b", &receiver.url).await;
        desk.events("mer_a", 5).await;
        desk.deliver().await;
        let event = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        let mut conn = desk.db.read().await.unwrap();
        let top = &DeliveryId::greatest();
        let mut list = async |tenant: Tenant, of, state, before: &DeliveryId, rows| {
            let before = before.clone();
            let found = deliveries::list(&mut conn, &tenant, of, state, before, rows).await.unwrap();
            found.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
        };
        let all = list(Tenant::live("mer_a"), Of::All, None, top, 100).await;
        assert_eq!(all.len(), 6);
        assert!(all.iter().rev().is_sorted());
        assert_eq!(list(Tenant::live("mer_a"), Of::All, None, &all[1], 2).await, all[2..4]);
        let of_endpoint = Of::Endpoint(endpoint.id.clone());
        assert_eq!(list(Tenant::live("mer_a"), of_endpoint.clone(), None, top, 100).await, all);
        let pending = Some(DeliveryState::Pending);
        assert_eq!(list(Tenant::live("mer_a"), of_endpoint.clone(), pending, top, 100).await, all[..1]);
        assert_eq!(list(Tenant::live("mer_a"), Of::Event(event), None, top, 100).await, all[..1]);
        assert!(list(Tenant::test("mer_a"), Of::All, None, top, 100).await.is_empty());
        assert!(list(Tenant::live("mer_b"), of_endpoint, None, top, 100).await.is_empty());
    })
    .await;
}
