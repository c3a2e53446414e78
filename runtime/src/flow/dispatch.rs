//! Dispatch: each event becomes one delivery for each endpoint of its merchant and mode that wants it, and one run
//! for each hook that is bound to it.
//!
//! Claim, fan out and unqueue are one transaction: what dies half way never happened. Replicas take different
//! events (`SKIP LOCKED`), those of one invoice in their order.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    clock::Clock,
    db::{
        Db, DbError,
        deliveries::queue::{self, Owed},
        endpoints::{self, Subscriber},
        events::{self, Undispatched},
        hooks::{self, Bound, run_queue},
    },
    domain::{
        Millis,
        hook::About,
        id::{DeliveryId, EventId, HookRunId, MerchantId},
        tenant::Tenant,
    },
};

/// Maximum number of events of one transaction.
const BATCH: i64 = 256;
/// Time between polls: another replica may have committed events without waking this one.
const POLL: Duration = Duration::from_millis(250);
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Dispatches events until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match step(&app.db, &app.clock).await {
            Ok(0) => POLL,
            Ok(_) => {
                app.wake.deliver.notify_one();
                app.wake.fulfill.notify_one();
                continue;
            }
            Err(error) => {
                if error.trouble().is_none() {
                    tracing::error!(%error, "dispatch failed; it tries again");
                }
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.wake.dispatch.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Fans out the oldest events. Returns their number.
pub(crate) async fn step(db: &Db, clock: &Clock) -> Result<usize, DbError> {
    let now = clock.now();
    let events = db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let events = events::undispatched(conn, BATCH).await?;
                let merchants: BTreeSet<MerchantId> =
                    events.iter().map(|event| event.tenant.merchant.clone()).collect();
                let bound = hooks::bound(conn, merchants.iter().cloned()).await?;
                let subscribers = endpoints::subscribers(conn, merchants.into_iter()).await?;
                queue::insert(conn, fan_out(&events, &subscribers, now), now).await?;
                let mut runs = bind(&events, &bound, now);
                let inside = runs.iter().filter(|(_, hook)| hook.binding.looks_inside());
                let inside: BTreeSet<&EventId> = inside.map(|(owed, _)| &owed.event_id).collect();
                let about: HashMap<EventId, About> =
                    events::payloads(conn, inside.into_iter().map(Into::into).collect())
                        .await?
                        .into_iter()
                        .map(|(id, payload)| (id, About::of_payload(&payload)))
                        .collect();
                runs.retain(|(owed, hook)| {
                    about.get(&owed.event_id).is_none_or(|about| hook.binding.wants(about))
                });
                let runs = runs.into_iter().map(|(owed, _)| owed).collect();
                run_queue::insert(conn, runs, now).await?;
                events::dispatched(conn, &events).await?;
                Ok(events.len())
            })
        })
        .await?;
    metrics::counter!("kassa_events_dispatched_total").increment(u64::try_from(events).unwrap_or(0));
    Ok(events)
}

fn fan_out(events: &[Undispatched], subscribers: &[Subscriber], now: Millis) -> Vec<Owed> {
    let mut by_tenant: HashMap<&Tenant, Vec<&Subscriber>> = HashMap::new();
    for subscriber in subscribers {
        by_tenant.entry(&subscriber.tenant).or_default().push(subscriber);
    }
    let mut owed = Vec::with_capacity(events.len());
    for event in events {
        for subscriber in by_tenant.get(&event.tenant).into_iter().flatten() {
            if subscriber
                .events
                .as_ref()
                .is_none_or(|kinds| kinds.iter().any(|kind| kind == event.kind.as_str()))
            {
                owed.push(Owed {
                    delivery_id: DeliveryId::new(now),
                    event_id: event.id.clone(),
                    endpoint_id: subscriber.id.clone(),
                    tenant: event.tenant.clone(),
                    place: event.place.clone(),
                });
            }
        }
    }
    owed
}

/// Pairs events with the hooks that subscribe to their types.
fn bind<'h>(events: &[Undispatched], bound: &'h [Bound], now: Millis) -> Vec<(run_queue::Owed, &'h Bound)> {
    let mut by_tenant: HashMap<&Tenant, Vec<&Bound>> = HashMap::new();
    for hook in bound {
        by_tenant.entry(&hook.tenant).or_default().push(hook);
    }
    let mut runs = Vec::new();
    for event in events {
        for hook in by_tenant.get(&event.tenant).into_iter().flatten() {
            if hook.binding.wants_type(&event.kind) {
                let owed = run_queue::Owed {
                    run_id: HookRunId::new(now),
                    event_id: event.id.clone(),
                    hook_id: hook.id.clone(),
                    tenant: event.tenant.clone(),
                    place: event.place.clone(),
                };
                runs.push((owed, *hook));
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::Mode;

    #[test]
    fn an_event_goes_to_its_merchants_endpoints_of_its_mode_that_want_it() {
        let subscriber = |id: &str, merchant: &MerchantId, mode, events: Option<&[&str]>| Subscriber {
            id: id.into(),
            tenant: Tenant { merchant: merchant.to_owned(), mode },
            events: events.map(|kinds| kinds.iter().map(|kind| (*kind).to_owned()).collect()),
        };
        let event = |merchant: &MerchantId, mode, kind: &str| Undispatched {
            n: 1,
            id: "evt_1".into(),
            tenant: Tenant { merchant: merchant.to_owned(), mode },
            kind: kind.parse().unwrap(),
            place: None,
        };
        let subscribers = [
            subscriber("all", &"a".into(), Mode::Live, None),
            subscriber("paid", &"a".into(), Mode::Live, Some(&["invoice.paid"])),
            subscriber("none", &"a".into(), Mode::Live, Some(&[])),
            subscriber("test", &"a".into(), Mode::Test, None),
            subscriber("other", &"b".into(), Mode::Live, None),
        ];
        let told = |event| {
            let owed = fan_out(&[event], &subscribers, 1_800_000_000_000);
            owed.into_iter().map(|owed| owed.endpoint_id).collect::<Vec<_>>()
        };
        assert_eq!(told(event(&"a".into(), Mode::Live, "invoice.paid")), ["all", "paid"]);
        assert_eq!(told(event(&"a".into(), Mode::Live, "invoice.expired")), ["all"]);
        assert_eq!(told(event(&"a".into(), Mode::Test, "invoice.paid")), ["test"]);
        assert_eq!(told(event(&"b".into(), Mode::Live, "invoice.paid")), ["other"]);
        assert!(told(event(&"c".into(), Mode::Live, "invoice.paid")).is_empty());
    }
}
