//! Endpoints that are deleted: what waits is given up, what is being sent ends.

use std::sync::Arc;

use axum::{http::StatusCode, response::IntoResponse as _};
use tokio::sync::Notify;

use super::fixture::{Desk, Receiver, each_database, ok};
use crate::{
    db::{
        DbError,
        deliveries::{self, DeliveryState, Of, Resend, leaving, queue},
        endpoints::{self, Change},
    },
    domain::{
        event::Kind,
        id::{DeliveryId, EndpointId, Id},
        tenant::Tenant,
    },
};

const WHY: &str = "the endpoint was deleted";

/// Deletes an endpoint as the API does, but gives up at most `rows` deliveries at once.
async fn delete(desk: &Desk, endpoint_id: &EndpointId, rows: i64) {
    let (id, now) = (endpoint_id.clone(), desk.clock.now());
    let deleted = desk.db.write::<_, DbError, _>(move |conn| {
        Box::pin(async move {
            let deleted = endpoints::delete(conn, &Tenant::live("mer_a"), &id, now).await?;
            leaving::give_up(conn, &id, rows, now).await?;
            Ok(deleted)
        })
    });
    assert!(deleted.await.unwrap());
}

/// State and reason of each of the merchant's deliveries.
async fn states(desk: &Desk) -> Vec<(DeliveryState, Option<String>)> {
    let deliveries = desk.deliveries("mer_a", Of::All).await;
    deliveries.into_iter().map(|delivery| (delivery.state, delivery.why)).collect()
}

async fn queued(desk: &Desk) -> i64 {
    let mut conn = desk.db.read().await.unwrap();
    let row = conn.row("SELECT COUNT(*) AS n FROM delivery_queue", vec![]).await.unwrap().unwrap();
    row.int("n").unwrap()
}

#[tokio::test]
async fn what_waits_is_given_up_whenever_it_is_due() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        let other = desk.endpoint("mer_b", &receiver.url).await;
        desk.events("mer_a", 12).await;
        desk.event("mer_b", "{}").await;
        desk.deliver().await;
        let sent = receiver.requests().len();
        delete(&desk, &endpoint.id, 5).await;
        let given_up =
            states(&desk).await.iter().filter(|(state, _)| *state == DeliveryState::Exhausted).count();
        assert_eq!(given_up, 5);
        desk.worker().step().await;
        assert_eq!(states(&desk).await, vec![(DeliveryState::Exhausted, Some(WHY.to_owned())); 12]);
        assert_eq!(queued(&desk).await, 1, "the neighbour's stays");
        // It hears nothing more, and no event is queued for it.
        desk.event("mer_a", "{}").await;
        desk.clock.shift(24 * 3600 * 1000);
        desk.deliver().await;
        assert_eq!(receiver.requests().len(), sent + 1);
        assert_eq!(desk.deliveries("mer_a", Of::All).await.len(), 12);
        let one = desk.deliveries("mer_a", Of::Endpoint(endpoint.id.clone())).await.remove(0);
        assert_eq!(desk.resend("mer_a", &one.id).await, Resend::NoEndpoint);
        desk.find("mer_b", &other.id).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_being_sent_ends_as_it_ends() {
    each_database(async |desk| {
        let (come, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (at, on) = (come.clone(), go.clone());
        let receiver = Receiver::start_async(move |number| {
            let (at, on) = (at.clone(), on.clone());
            async move {
                at.notify_one();
                on.notified().await;
                if number == 0 { ok("") } else { StatusCode::BAD_GATEWAY.into_response() }
            }
        })
        .await;
        for taken in [true, false] {
            let endpoint = desk.endpoint("mer_a", &receiver.url).await;
            let event = desk.event("mer_a", "{}").await;
            desk.dispatch().await;
            let mut worker = desk.worker();
            let sending = tokio::spawn(async move { worker.step().await });
            come.notified().await;
            delete(&desk, &endpoint.id, 100).await;
            assert_eq!(desk.delivery("mer_a", &event.as_str().into()).await.state, DeliveryState::Pending);
            go.notify_one();
            sending.await.unwrap();
            // One that failed would be tried again: that is given up.
            desk.clock.shift(60_000);
            desk.worker().step().await;
            let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
            let why = (!taken).then(|| WHY.to_owned());
            let state = if taken { DeliveryState::Delivered } else { DeliveryState::Exhausted };
            assert_eq!((delivery.state, delivery.why, delivery.attempts), (state, why, 1));
            assert_eq!(queued(&desk).await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_worker_had_claimed_is_given_up_when_its_lease_ends() {
    each_database(async |desk| {
        let endpoint = desk.endpoint("mer_a", "http://127.0.0.1:9/").await;
        let event = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        let now = desk.clock.now();
        let claimed = desk.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { queue::claim(conn, now, now + 30_000, 10, |_, _| 10).await })
        });
        assert_eq!(claimed.await.unwrap().claims.len(), 1);
        delete(&desk, &endpoint.id, 100).await;
        desk.worker().step().await;
        assert_eq!(desk.delivery("mer_a", &event.as_str().into()).await.state, DeliveryState::Pending);
        desk.clock.shift(30_001);
        desk.worker().step().await;
        assert_eq!(desk.delivery("mer_a", &event.as_str().into()).await.why.as_deref(), Some(WHY));
        assert_eq!(queued(&desk).await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_waits_goes_to_the_new_url_and_another_choice_counts_from_now_on() {
    each_database(async |desk| {
        let old = Receiver::start(|_| StatusCode::BAD_GATEWAY.into_response()).await;
        let new = Receiver::start(|_| ok("")).await;
        let endpoint = desk.endpoint("mer_a", &old.url).await;
        for _ in 0..6 {
            desk.event("mer_a", "{}").await;
            desk.deliver().await;
        }
        assert!(desk.find("mer_a", &endpoint.id).await.paused_until.is_some());
        let change = |change: Change| {
            let id = endpoint.id.clone();
            desk.db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move { endpoints::change(conn, &Tenant::live("mer_a"), &id, change).await })
            })
        };
        let kinds = Some(vec![Kind::InvoiceExpired.into()]);
        assert!(change(Change { events: Some(kinds), ..Change::default() }).await.unwrap());
        let seen = desk.find("mer_a", &endpoint.id).await;
        assert_eq!(seen.events, Some(vec!["invoice.expired".to_owned()]));
        assert!(seen.paused_until.is_some(), "the receiver is the same");
        assert!(change(Change { url: Some(new.url.clone()), ..Change::default() }).await.unwrap());
        let seen = desk.find("mer_a", &endpoint.id).await;
        assert_eq!((seen.failures, seen.paused_until), (0, None));
        assert_eq!(seen.events, Some(vec!["invoice.expired".to_owned()]));
        desk.event("mer_a", "{}").await;
        desk.clock.shift(3600 * 1000);
        let before = old.requests().len();
        while desk.deliver().await > 0 {}
        assert_eq!((old.requests().len(), new.ids().len()), (before, 6), "the last is of another type");
        assert!(change(Change { events: Some(None), ..Change::default() }).await.unwrap());
        assert_eq!(desk.find("mer_a", &endpoint.id).await.events, None);
    })
    .await;
}

#[tokio::test]
async fn lists_show_everything_once_whatever_was_deleted_and_however_the_clock_went() {
    each_database(async |desk| {
        let receiver = Receiver::start(|n| match n % 3 {
            0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            _ => ok(""),
        });
        let receiver = receiver.await;
        let mut endpoints = vec![desk.endpoint("mer_a", &receiver.url).await.id];
        desk.events("mer_a", 6).await;
        desk.deliver().await;
        desk.clock.shift(-60_000);
        for _ in 0..2 {
            endpoints.push(desk.endpoint("mer_a", &receiver.url).await.id);
            desk.events("mer_a", 5).await;
            desk.dispatch().await;
            desk.clock.shift(1_000);
        }
        // More wait for it than are given up at once.
        delete(&desk, &endpoints[1], 4).await;
        let mut conn = desk.db.read().await.unwrap();
        let sql = "SELECT id, endpoint_id, state, created_at FROM delivery";
        let mut all: Vec<(i64, DeliveryId, EndpointId, DeliveryState)> = Vec::new();
        for row in conn.rows(sql, vec![]).await.unwrap() {
            let state = row.parsed("state").unwrap();
            all.push((
                row.int("created_at").unwrap(),
                row.id("id").unwrap(),
                row.id("endpoint_id").unwrap(),
                state,
            ));
        }
        all.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        let states = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Exhausted];
        for state in states {
            assert!(all.iter().filter(|delivery| delivery.3 == state).count() >= 3, "{state:?}");
        }
        let ofs = endpoints.into_iter().map(Of::Endpoint).chain([Of::All]);
        for (of, state) in ofs
            .flat_map(|of| states.map(Some).into_iter().chain([None]).map(move |state| (of.clone(), state)))
        {
            let is_of = |endpoint: &EndpointId| match &of {
                Of::Endpoint(id) => id == endpoint,
                _ => true,
            };
            let shown = all.iter().filter(|(.., endpoint, s)| {
                is_of(&endpoint.as_str().into()) && state.is_none_or(|state| *s == state)
            });
            let shown: Vec<DeliveryId> = shown.map(|(_, id, ..)| id.clone()).collect();
            let (mut before, mut found) = (DeliveryId::greatest(), Vec::new());
            loop {
                let page = deliveries::list(&mut conn, &Tenant::live("mer_a"), of.clone(), state, before, 2)
                    .await
                    .unwrap();
                let Some(last) = page.last() else { break };
                before = last.id.clone();
                found.extend(page.into_iter().map(|delivery| delivery.id));
            }
            assert_eq!(found, shown, "{of:?} {state:?}");
        }
    })
    .await;
}
