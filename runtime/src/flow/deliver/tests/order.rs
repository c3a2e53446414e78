//! Events of one invoice go to an endpoint one after the other, in the order of their sequence.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{http::StatusCode, response::IntoResponse as _};
use tokio::sync::Notify;

use super::fixture::{Desk, Receiver, each_database, ok, until};
use crate::{
    db::{
        DbError,
        deliveries::{DeliveryState, Of, Range, queue},
        events,
    },
    flow::dispatch,
};

/// Bodies received, in order: `invoice/number`.
fn got(receiver: &Receiver) -> Vec<String> {
    let body = |request: &Arc<super::fixture::Received>| String::from_utf8(request.body.to_vec()).unwrap();
    receiver.requests().iter().map(body).collect()
}

async fn deliver_all(desk: &Desk) {
    desk.dispatch().await;
    while desk.worker().step().await > 0 {}
}

#[tokio::test]
async fn a_later_event_waits_until_the_earlier_one_is_taken() {
    each_database(async |desk| {
        let well = Arc::new(AtomicBool::new(false));
        let up = well.clone();
        let receiver = Receiver::start(move |_| match up.load(Ordering::SeqCst) {
            true => ok(""),
            false => StatusCode::BAD_GATEWAY.into_response(),
        })
        .await;
        let other = Receiver::start(|_| ok("")).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        desk.endpoint("mer_a", &other.url).await;
        let ids = desk.invoice(&"inv".into(), 1..=3).await;
        deliver_all(&desk).await;
        assert_eq!(got(&receiver), ["inv/1"], "the others wait");
        assert_eq!(got(&other), ["inv/1", "inv/2", "inv/3"], "nobody else does");
        // One that comes later waits as well, whoever dispatched what.
        desk.invoice(&"inv".into(), 4..=4).await;
        desk.invoice(&"other".into(), 1..=1).await;
        deliver_all(&desk).await;
        assert_eq!(got(&receiver), ["inv/1", "other/1"]);
        let waiting = desk.deliveries("mer_a", Of::Endpoint(endpoint.id.clone())).await;
        let waiting: Vec<_> = waiting.iter().filter(|delivery| delivery.waits).collect();
        assert_eq!(waiting.len(), 3);
        assert!(waiting.iter().all(|one| one.due_at.is_none() && one.state == DeliveryState::Pending));
        well.store(true, Ordering::SeqCst);
        desk.clock.shift(6_000);
        deliver_all(&desk).await;
        let of_invoice: Vec<_> = got(&receiver).into_iter().filter(|one| one.starts_with("inv/")).collect();
        assert_eq!(of_invoice, ["inv/1", "inv/1", "inv/2", "inv/3", "inv/4"]);
        for id in ids {
            for delivery in desk.deliveries("mer_a", Of::Event(id.as_str().into())).await {
                assert_eq!(delivery.state, DeliveryState::Delivered);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_is_given_up_or_refused_for_long_lets_the_others_go() {
    each_database(async |desk| {
        // The first is given up by its receiver, the third is never taken.
        let receiver = Receiver::start(|number| match number {
            0 => (StatusCode::BAD_REQUEST, [("webhook-delivery", "abort-message")]).into_response(),
            1 | 7.. => ok(""),
            _ => StatusCode::BAD_REQUEST.into_response(),
        })
        .await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        desk.invoice(&"inv".into(), 1..=5).await;
        deliver_all(&desk).await;
        assert_eq!(got(&receiver), ["inv/1", "inv/2", "inv/3"]);
        for tried in 2..=5 {
            assert_eq!(got(&receiver).iter().filter(|one| *one == "inv/3").count(), tried - 1);
            desk.clock.shift(12 * 60 * 1000);
            deliver_all(&desk).await;
        }
        // The endpoint is paused after so many failures; then the others are no longer held up.
        desk.enable("mer_a", &endpoint.id).await;
        deliver_all(&desk).await;
        let after: Vec<_> = got(&receiver).into_iter().skip(7).collect();
        assert_eq!(after, ["inv/4", "inv/5"]);
        desk.clock.shift(3600 * 1000);
        deliver_all(&desk).await;
        assert_eq!(got(&receiver).last().unwrap(), "inv/3");
        assert_eq!(desk.worker().step().await, 0);
    })
    .await;
}

#[tokio::test]
async fn behind_a_worker_that_died_the_order_is_kept() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &receiver.url).await;
        desk.invoice(&"inv".into(), 1..=2).await;
        desk.dispatch().await;
        let now = desk.clock.now();
        let claims = desk.db.write::<_, DbError, _>(move |conn| {
            Box::pin(async move { queue::claim(conn, now, now + 30_000, 10, |_, _| 10).await })
        });
        let claims = claims.await.unwrap();
        assert_eq!(claims.claims[0].deliveries.len(), 1, "one of a line is claimed");
        desk.invoice(&"inv".into(), 3..=3).await;
        deliver_all(&desk).await;
        assert!(got(&receiver).is_empty());
        desk.clock.shift(30_001);
        deliver_all(&desk).await;
        assert_eq!(got(&receiver), ["inv/1", "inv/2", "inv/3"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_again_goes_in_order_too() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        desk.invoice(&"inv".into(), 1..=4).await;
        deliver_all(&desk).await;
        let range = Range {
            endpoint_id: endpoint.id.clone(),
            from: 0,
            to: i64::MAX,
            delivered_too: true,
            after: None,
        };
        assert_eq!(desk.resend_range("mer_a", range, 100).await.len(), 4);
        desk.invoice(&"inv".into(), 5..=5).await;
        deliver_all(&desk).await;
        assert_eq!(got(&receiver)[4..], ["inv/1", "inv/2", "inv/3", "inv/4", "inv/5"]);
    })
    .await;
}

/// Events that another replica is dispatching are not overtaken.
#[tokio::test]
async fn replicas_dispatch_the_events_of_an_invoice_in_order() {
    each_database(async |desk| {
        // On SQLite one writes after the other anyway.
        if desk.db.kind() != "postgres" {
            return;
        }
        let receiver = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &receiver.url).await;
        desk.invoice(&"inv".into(), 1..=1).await;
        let (held, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (at, on, db) = (held.clone(), go.clone(), (*desk.db).clone());
        let first = tokio::spawn(async move {
            db.write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    let events = events::undispatched(conn, 10).await?;
                    at.notify_one();
                    on.notified().await;
                    Ok(events.len())
                })
            })
            .await
        });
        held.notified().await;
        desk.invoice(&"inv".into(), 2..=2).await;
        desk.invoice(&"other".into(), 1..=2).await;
        assert_eq!(dispatch::step(&desk.db, &desk.clock).await.unwrap(), 2, "those of the other");
        assert_eq!(dispatch::step(&desk.db, &desk.clock).await.unwrap(), 0);
        go.notify_one();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        deliver_all(&desk).await;
        let mut got = got(&receiver);
        got.sort();
        assert_eq!(got, ["inv/1", "inv/2", "other/1", "other/2"]);
        let order: Vec<_> =
            super::order::got(&receiver).into_iter().filter(|one| one.starts_with("inv")).collect();
        assert_eq!(order, ["inv/1", "inv/2"]);
    })
    .await;
}

#[tokio::test]
async fn two_replicas_and_a_moody_receiver_keep_the_order_of_every_invoice() {
    each_database(async |desk| {
        // None is refused so often that others pass it.
        let receiver = Receiver::start(|number| match number {
            0..30 if number % 2 == 1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => ok(""),
        })
        .await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        let done = Arc::new(AtomicBool::new(false));
        let work = async |desk: &Desk| {
            while !done.load(Ordering::SeqCst) {
                dispatch::step(&desk.db, &desk.clock).await.unwrap();
                desk.worker().step().await;
                tokio::task::yield_now().await;
            }
        };
        let write = async {
            for number in 1..=5 {
                for invoice in 0..20 {
                    desk.invoice(&format!("inv_{invoice}").as_str().into(), number..=number).await;
                }
            }
            loop {
                let all = desk.deliveries("mer_a", Of::All).await;
                let delivered = all.iter().filter(|one| one.state == DeliveryState::Delivered).count();
                if delivered == 100 {
                    return;
                }
                desk.clock.shift(10_000);
                desk.enable("mer_a", &endpoint.id).await;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::join!(work(&desk), work(&desk), async {
            write.await;
            done.store(true, Ordering::SeqCst);
        });
        until("every request was noted", || receiver.requests().len() >= 100).await;
        let mut taken: HashMap<String, usize> = HashMap::new();
        for one in got(&receiver) {
            let (invoice, number) = one.split_once('/').unwrap();
            let number: usize = number.parse().unwrap();
            let last = taken.entry(invoice.to_owned()).or_insert(0);
            assert!(number == *last || number == *last + 1, "{one} after {last}: {:?}", got(&receiver));
            *last = number;
        }
        assert!(taken.values().all(|last| *last == 5));
    })
    .await;
}
