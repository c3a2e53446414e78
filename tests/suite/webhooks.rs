//! Webhooks: signed, repeated until they are taken, and never anybody else's burden.

use std::time::Duration;

use kassa_tests::{
    Database, Receiver, Reply, Suite, Webhook, World, WorldOptions, eventually, list, text, verify, within,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("webhooks::a_strangers_verifier_takes_what_is_signed_and_nothing_else", signatures);
    suite.both("webhooks::a_failed_delivery_comes_again_under_the_same_id", retried);
    suite.both("webhooks::a_rotated_secret_signs_beside_the_old_one", rotated);
    suite.both("webhooks::receivers_that_misbehave_delay_nobody_else", misbehaving);
    suite.both("webhooks::retry_after_is_kept", retry_after);
    suite.both("webhooks::410_ends_it_and_a_redirect_is_not_followed", refusals);
    suite.both("webhooks::a_private_address_is_never_asked", private);
    suite.both("webhooks::an_endpoint_hears_what_it_asked_for", filtered);
    suite.both("webhooks::a_delivery_can_be_sent_again_by_hand", resent);
    suite.both("webhooks::a_delivery_under_way_outlives_a_kill", killed);
}

fn one_confirmation() -> WorldOptions {
    WorldOptions { credit: json!(1), ..WorldOptions::default() }
}

/// A paid invoice.
async fn paid(world: &World) -> Value {
    let invoice = world.invoice("USDT", "5").await;
    world.pay(&invoice).await;
    world.anvil.mine(1).await;
    world.until(&invoice, "paid").await
}

async fn signatures(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    let invoice = paid(&world).await;
    let hook = world.receiver.wait_for("invoice.paid", 1).await.remove(0);
    verify(&hook, &world.secret).expect("a good signature");
    assert_eq!(hook.invoice()["id"], invoice["id"]);
    let content = hook.header("content-type").unwrap_or_default();
    assert!(content.starts_with("application/json"), "{content}");
    // Anything changed is refused by the same judge.
    let other_body = Webhook { body: hook.body.replace("paid", "pain"), ..hook.clone() };
    assert!(verify(&other_body, &world.secret).is_err());
    let mut other_id = hook.clone();
    other_id.headers.iter_mut().find(|(name, _)| name == "webhook-id").unwrap().1.push('x');
    assert!(verify(&other_id, &world.secret).is_err());
    assert!(verify(&hook, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").is_err());
    // No secret ever goes out.
    let sent = format!("{:?}{}", hook.headers, hook.body);
    assert!(!sent.contains(&world.secret) && !sent.contains(&world.merchant.key));
}

async fn retried(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    world.receiver.script([Reply::Status(500)]);
    paid(&world).await;
    // The first event of the invoice fails once; the other waits for it.
    let first = eventually("the first POST", || async {
        world.receiver.got().into_iter().next().ok_or("none".to_owned())
    })
    .await;
    let id = first.header("webhook-id").unwrap().to_owned();
    let again = eventually("the same event again", || async {
        let same: Vec<Webhook> =
            world.receiver.got().into_iter().filter(|hook| hook.header("webhook-id") == Some(&id)).collect();
        if same.len() == 2 { Ok(same) } else { Err(format!("{} times", same.len())) }
    })
    .await;
    assert_eq!(again[0].body, again[1].body);
    assert_ne!(
        again[0].header("webhook-timestamp"),
        again[1].header("webhook-timestamp"),
        "a stamp for each attempt"
    );
    world.verify_all(&again);
    world.settled().await;
    let deliveries = list(&world.api().get("/v1/deliveries").await.ok());
    let twice = deliveries.iter().find(|delivery| delivery["attempts"] == 2).expect("two attempts");
    assert_eq!(twice["state"], "delivered");
}

async fn rotated(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    let endpoint = list(&world.api().get("/v1/endpoints").await.ok()).remove(0);
    assert!(!endpoint.to_string().contains(&world.secret), "a list shows no secret: {endpoint}");
    let path = format!("/v1/endpoints/{}/rotate_secret", text(&endpoint["id"]));
    let new = text(&world.api().post(&path, &json!({})).await.ok()["secret"]);
    assert_ne!(new, world.secret);
    paid(&world).await;
    let hook = world.receiver.wait_for("invoice.paid", 1).await.remove(0);
    verify(&hook, &new).expect("the new secret");
    verify(&hook, &world.secret).expect("the old secret, for a while");
}

async fn misbehaving(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    let mut bad = Vec::new();
    for reply in [
        Reply::Stall,
        Reply::Endless,
        Reply::HangUp,
        Reply::Slow(Duration::from_secs(2), 200),
        Reply::Status(503),
    ] {
        let receiver = Receiver::start().await;
        receiver.then(reply);
        world.add_endpoint(&receiver).await;
        bad.push(receiver);
    }
    for number in 1..=10 {
        paid(&world).await;
        // The healthy endpoint has each event before the slow ones are even through with their first.
        let hooks = within(Duration::from_secs(20), "the healthy endpoint's hook", || async {
            let hooks = world.receiver.got_kind("invoice.paid");
            if hooks.len() == number { Ok(hooks) } else { Err(format!("{} of {number}", hooks.len())) }
        })
        .await;
        world.verify_all(&hooks[number - 1..]);
    }
    for receiver in &bad {
        eventually("a POST to the ill ones too", || async {
            if receiver.got().is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .await;
    }
    // An attempt that does not end is ended, and counts as failed with a reason.
    let errors = "SELECT error FROM attempt WHERE error IS NOT NULL";
    eventually("attempts that failed by time", || async {
        let errors = world.database.rows(errors).await;
        if errors.len() >= 3 { Ok(()) } else { Err(format!("{errors:?}")) }
    })
    .await;
    kassa_tests::invariants::check(&world.database).await;
}

async fn retry_after(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    world.receiver.then(Reply::RetryAfter(429, 600));
    paid(&world).await;
    eventually("attempts", || async {
        if world.receiver.got().is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    // Not by the clock of this case: what the database says of when it is due again.
    let due = "SELECT CAST(MIN(q.due_at - a.at) AS TEXT) FROM delivery_queue q JOIN attempt a ON a.delivery_id = q.delivery_id";
    let wait = eventually("a delivery that waits", || async {
        let wait = world.database.value(due).await.ok_or("no attempt yet")?;
        wait.parse::<i64>().map_err(|why| why.to_string())
    })
    .await;
    assert!((600_000..=700_000).contains(&wait), "the receiver asked for 600 s, it waits {wait} ms");
}

async fn refusals(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    let (gone, moved, trap) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    gone.then(Reply::Status(410));
    moved.then(Reply::Redirect(trap.url()));
    let gone_id = text(&world.add_endpoint(&gone).await["id"]);
    let moved_id = text(&world.add_endpoint(&moved).await["id"]);
    paid(&world).await;
    world.receiver.wait_for("invoice.paid", 1).await;
    let path = format!("/v1/endpoints/{gone_id}");
    eventually("an endpoint that said 410 to be disabled", || async {
        let seen = world.api().get(&path).await.ok();
        if seen["state"] == "disabled" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    let attempts = format!(
        "SELECT CAST(a.status AS TEXT) FROM attempt a JOIN delivery d ON d.id = a.delivery_id
         WHERE d.endpoint_id = '{moved_id}'"
    );
    eventually("an attempt that was redirected", || async {
        let rows = world.database.rows(&attempts).await;
        if rows.contains(&vec![Some("302".to_owned())]) { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert_eq!(trap.got().len(), 0, "a redirect is not followed");
    kassa_tests::invariants::check(&world.database).await;
}

async fn private(database: Database) {
    let mut options = one_confirmation();
    options.kassa = options.kassa.with("KASSA_WEBHOOKS__ALLOW_PRIVATE", "true");
    let mut world = World::with(database, options).await;
    // From now on as it is by default. What was registered before is still not asked.
    world.kassa.kill();
    world.kassa.spawn(&[("KASSA_WEBHOOKS__ALLOW_PRIVATE", "false")]);
    world.kassa.ready().await;
    let port = world.receiver.url();
    let port = port.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    for url in [
        "http://127.0.0.1:{port}/hooks",
        "https://127.0.0.1:{port}/hooks",
        "https://[::1]:{port}/hooks",
        "https://[::ffff:127.0.0.1]:{port}/hooks",
        "https://0x7f.1:{port}/hooks",
        "https://2130706433:{port}/hooks",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://[fd00::1]/",
        "https://0.0.0.0/",
        "ftp://example.com/",
        "https://user:password@example.com/",
        "not a url",
        "",
    ] {
        let url = url.replace("{port}", &port);
        let answer = world.api().post("/v1/endpoints", &json!({"url": url})).await;
        assert!(answer.problem(422).ends_with("/url_refused"), "{url}");
    }
    // A name can be registered: what it resolves to counts when it is asked.
    let named =
        world.api().post("/v1/endpoints", &json!({"url": format!("https://localhost:{port}/hooks")})).await;
    paid(&world).await;
    let wanted = if named.status == 201 { 2 } else { 1 };
    let errors =
        "SELECT DISTINCT d.endpoint_id, a.error FROM attempt a JOIN delivery d ON d.id = a.delivery_id
                  WHERE a.error IS NOT NULL AND a.status IS NULL";
    eventually("refused attempts", || async {
        let rows = world.database.rows(errors).await;
        if rows.len() >= wanted { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert_eq!(world.receiver.got().len(), 0, "nothing reached a private address");
}

async fn filtered(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    let choosy = Receiver::start().await;
    let body = json!({"url": choosy.url(), "events": ["invoice.paid"]});
    world.api().post("/v1/endpoints", &body).await.ok();
    let wrong = json!({"url": choosy.url(), "events": ["invoice.exploded"]});
    assert!(world.api().post("/v1/endpoints", &wrong).await.problem(400).contains("field_"));
    paid(&world).await;
    let cancelled = world.invoice("USDT", "6").await;
    world.api().post(&format!("/v1/invoices/{}/cancel", text(&cancelled["id"])), &json!({})).await.ok();
    world.receiver.wait_for("invoice.cancelled", 1).await;
    world.settled().await;
    let kinds: Vec<String> = choosy.got().iter().map(Webhook::kind).collect();
    assert_eq!(kinds, ["invoice.paid"]);
    // Another merchant's events stay theirs.
    let other = world.new_merchant("second", "live").await;
    let events = list(&world.api().with_key(&other.key).get("/v1/events").await.ok());
    assert_eq!(events, Vec::<Value>::new());
}

async fn resent(database: Database) {
    let world = World::with(database, one_confirmation()).await;
    paid(&world).await;
    let first = world.receiver.wait_for("invoice.paid", 1).await.remove(0);
    world.settled().await;
    let events = list(&world.api().get("/v1/events").await.ok());
    let event = events.iter().find(|event| event["type"] == "invoice.paid").expect("the event");
    let deliveries =
        list(&world.api().get(&format!("/v1/deliveries?event_id={}", text(&event["id"]))).await.ok());
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    let path = format!("/v1/deliveries/{}/resend", text(&deliveries[0]["id"]));
    world.api().post(&path, &json!({})).await.ok();
    let hooks = world.receiver.wait_for("invoice.paid", 2).await;
    assert_eq!(hooks[1].header("webhook-id"), first.header("webhook-id"));
    assert_eq!(hooks[1].body, first.body);
    world.verify_all(&hooks);
    world.settled().await;
    let other = world.new_merchant("second", "live").await;
    assert!(
        world.api().with_key(&other.key).post(&path, &json!({})).await.problem(404).ends_with("/not_found")
    );
}

async fn killed(database: Database) {
    let mut world = World::with(database, one_confirmation()).await;
    world.receiver.then(Reply::Stall);
    let invoice = paid(&world).await;
    eventually("a POST under way", || async {
        if world.receiver.got().is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    world.kassa.kill();
    kassa_tests::invariants::check(&world.database).await;
    world.receiver.then(Reply::Status(204));
    world.kassa.restart().await;
    // What was under way is claimed for a minute: nobody can know that it was not taken.
    within(Duration::from_secs(120), "the delivery again", || async {
        let got = world.receiver.got().len();
        if got >= 3 { Ok(()) } else { Err(format!("{got} POSTs")) }
    })
    .await;
    world.settled().await;
    let told = world.receiver.got_kind("invoice.paid");
    assert!(told.iter().all(|hook| hook.invoice()["id"] == invoice["id"]));
    assert_eq!(
        world.receiver.got().last().map(Webhook::kind).as_deref(),
        Some("invoice.paid"),
        "in their order"
    );
    world.verify_all(&told[told.len() - 1..]);
}
