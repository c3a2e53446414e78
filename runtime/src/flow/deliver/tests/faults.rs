//! Receivers that misbehave, and a worker that dies.

use std::net::IpAddr;

use axum::{
    http::{StatusCode, header},
    response::IntoResponse as _,
};

use super::{
    fixture::{Receiver, each_database, endless, ok, until},
    *,
};
use crate::{db::endpoints::EndpointState, outbound::Lookup};

#[tokio::test]
async fn an_endless_answer_with_a_good_status_counts() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| endless()).await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        assert_eq!(desk.deliver().await, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!(delivery.state, DeliveryState::Delivered);
        let kept = desk.attempts("mer_a", &delivery.id).await.remove(0).response.unwrap();
        assert!(kept.starts_with("more more") && kept.len() == 1024);
    })
    .await;
}

#[tokio::test]
async fn a_stalled_receiver_runs_into_the_timeout() {
    each_database(async |mut desk| {
        desk.config.timeout_s = 1;
        let receiver = Receiver::start_async(|_| std::future::pending()).await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        assert_eq!(desk.deliver().await, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
        let attempt = desk.attempts("mer_a", &delivery.id).await.remove(0);
        assert_eq!((attempt.status, attempt.error.as_deref()), (None, Some("no complete answer in time")));
    })
    .await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    each_database(async |desk| {
        let metadata = "http://169.254.169.254/latest/meta-data";
        let receiver =
            Receiver::start(move |_| (StatusCode::FOUND, [(header::LOCATION, metadata)]).into_response())
                .await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        assert_eq!(desk.deliver().await, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!(delivery.state, DeliveryState::Pending);
        let attempt = desk.attempts("mer_a", &delivery.id).await.remove(0);
        assert_eq!(attempt.status, Some(302));
        assert!(attempt.error.unwrap().contains("not followed"));
    })
    .await;
}

#[tokio::test]
async fn a_private_address_is_never_reached() {
    each_database(async |mut desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        let port = receiver.url.rsplit_once(':').unwrap().1;
        desk.config.allow_private = false;
        // A name that is public when it is looked at first, and private when it is sent to.
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let lookup: Lookup = Arc::new(move |_| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let address: IpAddr = if first { "8.8.8.8" } else { "127.0.0.1" }.parse().unwrap();
            Box::pin(async move { Ok(vec![address]) })
        });
        lookup("rebind.example".to_owned()).await.unwrap();
        desk.outbound = Outbound::with_lookup(&lookup).unwrap();
        let hosts = ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "2130706433", "rebind.example"];
        for host in hosts {
            desk.endpoint("mer_a", &format!("https://{host}:{port}")).await;
        }
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        assert_eq!(desk.deliver().await, hosts.len() + 1);
        for delivery in desk.deliveries("mer_a", Of::Event(event.as_str().into())).await {
            assert_eq!(delivery.state, DeliveryState::Pending);
            let attempt = desk.attempts("mer_a", &delivery.id).await.remove(0);
            let error = attempt.error.unwrap();
            assert!(error.contains("public") || error.contains("https"), "{error}");
        }
        assert!(receiver.requests().is_empty());
    })
    .await;
}

#[tokio::test]
async fn gone_disables_the_endpoint_and_what_waits_is_kept() {
    each_database(async |desk| {
        let receiver = Receiver::start(|number| match number {
            0 => StatusCode::GONE.into_response(),
            _ => ok(""),
        })
        .await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        let gone = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        let mut worker = desk.worker();
        assert_eq!(worker.step().await, 1);
        assert_eq!(desk.delivery("mer_a", &gone.as_str().into()).await.state, DeliveryState::Exhausted);
        let found = desk.find("mer_a", &endpoint.id).await;
        assert_eq!(found.state, EndpointState::Disabled);
        assert!(found.disabled_why.is_some());

        desk.events("mer_a", 3).await;
        assert_eq!(desk.deliver().await, 0);
        assert_eq!(desk.deliveries("mer_a", Of::All).await.len(), 1, "a disabled endpoint gets none");
        assert_eq!(
            desk.resend("mer_a", &desk.delivery("mer_a", &gone.as_str().into()).await.id).await,
            Resend::Queued
        );
        assert_eq!(worker.step().await, 0, "kept while it is disabled");
        desk.enable("mer_a", &endpoint.id).await;
        assert_eq!(worker.step().await, 1);
        assert_eq!(desk.delivery("mer_a", &gone.as_str().into()).await.state, DeliveryState::Delivered);
    })
    .await;
}

#[tokio::test]
async fn retry_after_is_kept_to() {
    each_database(async |desk| {
        let receiver = Receiver::start(|number| match number {
            0 => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "3600")]).into_response(),
            _ => ok(""),
        })
        .await;
        desk.endpoint("mer_a", &receiver.url).await;
        desk.event("mer_a", "{}").await;
        assert_eq!(desk.deliver().await, 1);
        desk.clock.shift(3_590_000);
        assert_eq!(desk.worker().step().await, 0);
        desk.clock.shift(10_000 + 360_000);
        assert_eq!(desk.worker().step().await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_breaker_pauses_keeps_and_lets_go() {
    each_database(async |desk| {
        let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let state = healthy.clone();
        let receiver = Receiver::start(move |_| match state.load(std::sync::atomic::Ordering::SeqCst) {
            true => ok(""),
            false => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        })
        .await;
        let endpoint = desk.endpoint("mer_a", &receiver.url).await;
        desk.events("mer_a", 50).await;
        desk.dispatch().await;
        let mut worker = desk.worker();
        let before_pause = worker.step().await;
        assert!((5..20).contains(&before_pause), "{before_pause}");
        assert!(desk.find("mer_a", &endpoint.id).await.paused_until.is_some());
        assert_eq!(worker.step().await, 0, "paused");

        desk.clock.shift(31_000);
        assert_eq!(worker.step().await, 1, "one is let through, and the pause is twice as long");
        desk.clock.shift(31_000);
        assert_eq!(worker.step().await, 0);

        healthy.store(true, std::sync::atomic::Ordering::SeqCst);
        desk.clock.shift(600_000);
        assert_eq!(worker.step().await, 50, "none was dropped");
        assert_eq!(receiver.ids().len(), 50);
        let found = desk.find("mer_a", &endpoint.id).await;
        assert_eq!((found.failures, found.paused_until), (0, None));
    })
    .await;
}

#[tokio::test]
async fn a_dead_endpoint_with_ten_thousand_due_delays_nobody() {
    each_database(async |mut desk| {
        desk.config.timeout_s = 600;
        let dead = Receiver::start_async(|_| std::future::pending()).await;
        let alive = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &dead.url).await;
        desk.endpoint("mer_b", &alive.url).await;
        desk.events("mer_a", 10_000).await;
        desk.dispatch().await;
        desk.events("mer_b", 200).await;
        desk.dispatch().await;
        let mut worker = desk.worker();
        let working = tokio::spawn(async move { worker.step().await });
        until("all of the other endpoint are delivered", || alive.requests().len() == 200).await;
        assert!(dead.requests().len() <= 2, "it holds {} places", dead.requests().len());
        working.abort();
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_and_not_written_down_is_sent_again_with_the_same_id() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        {
            let mut worker = desk.worker();
            let mut look = true;
            while worker.reports.is_empty() {
                worker.start(&mut look);
                let done = worker.work.join_next().await.unwrap();
                worker.done(done);
            }
            // It dies here.
        }
        assert_eq!(receiver.requests().len(), 1);
        assert_eq!(desk.worker().step().await, 0, "leased");
        desk.clock.shift(3_600_000);
        assert_eq!(desk.worker().step().await, 1);
        assert_eq!((receiver.requests().len(), receiver.ids().len()), (2, 1));
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
    })
    .await;
}

#[tokio::test]
async fn a_stale_worker_changes_nothing() {
    each_database(async |desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        let mut stale = desk.worker();
        let mut look = true;
        while stale.reports.is_empty() {
            stale.start(&mut look);
            let done = stale.work.join_next().await.unwrap();
            stale.done(done);
        }
        let mut reports = stale.reports.take();
        for report in &mut reports {
            report.next = Next::DisableEndpoint;
        }
        desk.clock.shift(3_600_000);
        assert_eq!(desk.worker().step().await, 1);
        // Even when the delivery is queued again meanwhile, with a claim of its own.
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!(desk.resend("mer_a", &delivery.id).await, Resend::Queued);
        let now = desk.clock.now();
        let finished = desk
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { report::finish(conn, &reports, now).await })
            })
            .await
            .unwrap();
        assert_eq!(finished.stale, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
        assert_eq!(desk.worker().step().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_does_not_open_fails_visibly() {
    each_database(async |mut desk| {
        let receiver = Receiver::start(|_| ok("")).await;
        desk.endpoint("mer_a", &receiver.url).await;
        let event = desk.event("mer_a", "{}").await;
        desk.dispatch().await;
        desk.vault = Arc::new(Vault::from_hex(&"22".repeat(32)).unwrap());
        assert_eq!(desk.worker().step().await, 1);
        let delivery = desk.delivery("mer_a", &event.as_str().into()).await;
        assert_eq!(delivery.state, DeliveryState::Pending);
        assert!(desk.attempts("mer_a", &delivery.id).await.remove(0).error.unwrap().contains("master key"));
        assert!(receiver.requests().is_empty());
    })
    .await;
}
