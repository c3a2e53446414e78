//! kill -9 at every commit, before and after it, and at random moments: nothing is lost, nothing is double.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kassa_tests::{
    Answer, Database, Hook, Kassa, KassaOptions, PATIENCE, Suite, World, WorldOptions, invariants, list, text,
};
use reqwest::Method;
use serde_json::{Value, json};

/// More commits than a scenario has; reaching it means that the sweep does not end.
const COMMITS_MAX: u32 = 150;
/// Workers do not commit in the same order each time: so many runs in a row must outlive their crash point
/// before it is taken to lie behind the end.
const SURVIVALS: u32 = 3;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("crash::the_first_start_killed_after_each_commit", first_start);
    suite.both("crash::a_payment_killed_before_each_commit", |database| sweep(database, "before", pay));
    suite.both("crash::a_payment_killed_after_each_commit", |database| sweep(database, "after", pay));
    suite.both("crash::a_reorg_killed_after_each_commit", |database| sweep(database, "after", reorganize));
    suite.both("crash::killed_at_random_while_payments_flow", random_kills);
}

/// Waits until `there` says so, and starts the server again whenever it has died meanwhile.
async fn through_crashes<F>(world: &mut World, what: &str, mut there: F)
where
    F: AsyncFnMut(&World) -> bool,
{
    let end = Instant::now() + PATIENCE;
    loop {
        revive(world).await;
        if there(world).await {
            return;
        }
        assert!(Instant::now() < end, "waited in vain for {what}; hooks: {:?}", kinds(world));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Checks what a death has left, and starts again without a crash point.
async fn revive(world: &mut World) {
    if world.kassa.has_ended() {
        invariants::check(&world.database).await;
        world.kassa.restart().await;
    }
}

fn kinds(world: &World) -> Vec<String> {
    world.receiver.got().iter().map(Hook::kind).collect()
}

/// Makes an invoice; a request that a death cuts off is sent again with the same key.
async fn make_invoice(world: &mut World, order: &str) -> Value {
    let mut body = world.order("USDT", "10");
    body["order_id"] = json!(order);
    let body = body.to_string().into_bytes();
    let mut made = None;
    through_crashes(world, "an invoice", async |world| {
        let headers = [("idempotency-key", order)];
        let asked = world.api().try_send(Method::POST, "/v1/invoices", &headers, Some(body.clone())).await;
        // 503 says that it is going down; anything else is the answer.
        made = asked.ok().filter(|answer| answer.status != 503).map(Answer::ok);
        made.is_some()
    })
    .await;
    made.expect("through_crashes waits for it")
}

/// Waits for the invoice's status.
async fn until(world: &mut World, invoice: &Value, status: &str) {
    let path = format!("/v1/invoices/{}", text(&invoice["id"]));
    through_crashes(world, &format!("{path} to be {status}"), async |world| {
        let seen = world.api().try_send(Method::GET, &path, &[], None).await;
        seen.is_ok_and(|answer| answer.status == 200 && answer.body["status"] == status)
    })
    .await;
}

/// Waits until so many events of this kind came for the invoice: each under one id, however often it came.
async fn told(world: &mut World, invoice: &Value, kind: &str, times: usize) {
    let ids = |world: &World| {
        let all = world.receiver.got_kind(kind).into_iter();
        let of_invoice = all.filter(|hook| hook.invoice()["id"] == invoice["id"]);
        of_invoice.map(|hook| text(&json!(hook.header("webhook-id")))).collect::<BTreeSet<String>>().len()
    };
    through_crashes(world, &format!("{times} hooks {kind}"), async |world| ids(world) >= times).await;
    assert_eq!(ids(world), times, "{kind} of {}", invoice["id"]);
}

/// An invoice that is made, paid and told of.
async fn pay(world: &mut World, order: &str) {
    let invoice = make_invoice(world, order).await;
    world.pay(&invoice).await;
    world.anvil.mine(2).await;
    until(world, &invoice, "paid").await;
    told(world, &invoice, "invoice.paid", 1).await;
}

/// One whose payment is reorged out and comes again.
async fn reorganize(world: &mut World, order: &str) {
    let invoice = make_invoice(world, order).await;
    let tx = world.pay(&invoice).await;
    world.anvil.mine(2).await;
    until(world, &invoice, "paid").await;
    let raw = world.anvil.raw(&tx).await;
    world.anvil.reorg(2).await;
    until(world, &invoice, "new").await;
    world.anvil.send_raw(&raw).await;
    world.anvil.mine(2).await;
    until(world, &invoice, "paid").await;
    told(world, &invoice, "invoice.reverted", 1).await;
    told(world, &invoice, "invoice.paid", 2).await;
}

/// Dies at commit 1, 2, 3 … of a start and a scenario, until the crash point lies behind its end.
async fn sweep<S>(database: Database, side: &'static str, scenario: S)
where
    S: AsyncFn(&mut World, &str),
{
    let mut world = World::with(database, WorldOptions { credit: json!(2), ..WorldOptions::default() }).await;
    let mut survived = 0;
    for commit in 1..=COMMITS_MAX {
        let deaths = world.kassa.deaths();
        world.kassa.kill();
        world.kassa.spawn(&[("KASSA_CRASH_AT", &format!("{side}:{commit}"))]);
        // A start that dies is revived by the scenario's first step.
        let _ = world.kassa.try_ready().await;
        scenario(&mut world, &format!("order-{commit}")).await;
        survived = if world.kassa.deaths() == deaths { survived + 1 } else { 0 };
        if survived < SURVIVALS {
            continue;
        }
        println!("  crash: {} commits, killed {side} each", commit - SURVIVALS);
        assert!(commit > 8 + SURVIVALS, "the scenario commits more often than that: was nobody killed?");
        world.settled().await;
        assert_eq!(
            world.database.number("SELECT CAST(COUNT(*) AS TEXT) FROM invoice").await,
            i64::from(commit)
        );
        assert_eq!(world.unmatched().await.len(), 0);
        return;
    }
    panic!("no start outlived the scenario in {COMMITS_MAX} commits");
}

/// Each start gets one commit further than the one before.
async fn first_start(database: Database) {
    let mut kassa = Kassa::new(&database, KassaOptions::default());
    for start in 1..=COMMITS_MAX {
        kassa.spawn(&[("KASSA_CRASH_AT", "after:1")]);
        if kassa.try_ready().await.is_ok() {
            println!("  crash: the first start has {} commits", start - 1);
            break;
        }
        assert!(kassa.has_ended(), "a start that dies");
    }
    kassa.restart().await;
    let networks = list(&kassa.operator().get("/v1/operator/networks").await.ok());
    assert!(networks.iter().any(|network| network["manifest"]["name"] == "sandbox"), "{networks:?}");
    kassa.operator().post("/v1/operator/merchants", &json!({"name": "first"})).await.ok();
    invariants::check(&database).await;
}

async fn random_kills(database: Database) {
    let mut world = World::with(database, WorldOptions { credit: json!(2), ..WorldOptions::default() }).await;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    println!("  crash: random kills from seed {seed}");
    let mut random = seed;
    let mut invoices = Vec::new();
    for round in 0..12 {
        for number in 0..3 {
            let invoice = make_invoice(&mut world, &format!("order-{round}-{number}")).await;
            world.pay(&invoice).await;
            invoices.push(invoice);
        }
        world.anvil.mine(1).await;
        // A linear congruence is random enough to land anywhere in the work of one round.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        tokio::time::sleep(Duration::from_millis(u64::from(random >> 24))).await;
        world.kassa.kill();
        invariants::check(&world.database).await;
        world.kassa.restart().await;
    }
    world.anvil.mine(2).await;
    for invoice in &invoices {
        until(&mut world, invoice, "paid").await;
        told(&mut world, invoice, "invoice.paid", 1).await;
    }
    world.settled().await;
    assert_eq!(world.unmatched().await.len(), 0);
}
