//! One key, one effect, one answer, whatever is retried and however often at once.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use kassa_tests::{Database, Suite, World, text};
use serde_json::json;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("idempotency::a_thousand_at_once_make_one_invoice", thousand);
    suite.both("idempotency::the_same_key_with_another_request_is_refused", reused);
    suite.both("idempotency::keys_of_different_merchants_do_not_meet", foreign);
    suite.both("idempotency::a_refusal_is_repeated_too", refusals);
    suite.both("idempotency::an_answer_outlives_a_kill", restart);
}

async fn count(world: &World) -> i64 {
    world.database.number("SELECT CAST(COUNT(*) AS TEXT) FROM invoice").await
}

async fn thousand(database: Database) {
    let world = World::start(database).await;
    let (api, order) = (world.api(), world.order("USDT", "10"));
    let answers: Vec<_> = stream::iter(0..1000)
        .map(|_| {
            let (api, order) = (api.clone(), order.clone());
            async move { api.post_once("/v1/invoices", "order-1", &order).await }
        })
        .buffer_unordered(200)
        .collect()
        .await;
    // 409 with Retry-After is a way to say that the first one is still under way; anything else is the answer.
    let mut bodies = BTreeSet::new();
    for answer in &answers {
        match answer.status {
            201 => {
                bodies.insert(answer.body.to_string());
            }
            409 => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(bodies.len(), 1, "one answer: {bodies:?}");
    assert_eq!(count(&world).await, 1);
    let last = api.post_once("/v1/invoices", "order-1", &order).await;
    assert_eq!(last.header("idempotent-replayed"), Some("true"));
    assert!(bodies.contains(&last.ok().to_string()));
}

async fn reused(database: Database) {
    let world = World::start(database).await;
    let api = world.api();
    api.post_once("/v1/invoices", "k", &world.order("USDT", "10")).await.ok();
    let other = api.post_once("/v1/invoices", "k", &world.order("USDT", "11")).await;
    assert!(other.problem(422).ends_with("/idempotency_key_reused"));
    let other = api.post_once("/v1/endpoints", "k", &json!({"url": world.receiver.url()})).await;
    assert!(other.problem(422).ends_with("/idempotency_key_reused"), "another path is another request");
    assert_eq!(count(&world).await, 1);
    for bad in ["", "\"", &"x".repeat(256)] {
        let answer = api.post_once("/v1/invoices", bad, &world.order("USDT", "10")).await;
        assert!(answer.problem(400).ends_with("/idempotency_key_malformed"), "{bad:?}");
    }
    assert_eq!(count(&world).await, 1);
}

async fn foreign(database: Database) {
    let world = World::start(database).await;
    let mine = world.api().post_once("/v1/invoices", "k", &world.order("USDT", "10")).await.ok();
    let other = world.new_merchant("second", "live").await;
    let theirs = world.api().with_key(&other.key);
    let address =
        json!({"network": kassa_tests::NETWORK, "address": "0x00000000000000000000000000000000000beef2"});
    theirs.post("/v1/receive_addresses", &address).await.ok();
    let theirs = theirs.post_once("/v1/invoices", "k", &world.order("USDT", "10")).await.ok();
    assert_ne!(mine["id"], theirs["id"]);
}

async fn refusals(database: Database) {
    let world = World::start(database).await;
    let api = world.api();
    let mut order = world.order("USDT", "10");
    order["order_id"] = json!("1042");
    api.post("/v1/invoices", &order).await.ok();
    let first = api.post_once("/v1/invoices", "again", &order).await;
    assert!(first.problem(409).ends_with("/order_id_taken"));
    let second = api.post_once("/v1/invoices", "again", &order).await;
    assert_eq!(first.body, second.body);
    assert_eq!(count(&world).await, 1);
}

async fn restart(database: Database) {
    let mut world = World::start(database).await;
    let order = world.order("USDT", "10");
    let before = world.api().post_once("/v1/invoices", "k", &order).await.ok();
    world.kassa.restart().await;
    let after = world.api().post_once("/v1/invoices", "k", &order).await.ok();
    assert_eq!(before, after);
    assert_eq!(count(&world).await, 1);
    assert_eq!(text(&world.get_invoice(&before).await["status"]), "new");
}
