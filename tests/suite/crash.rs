//! kill -9 at every commit, before and after it, and at random moments: nothing is lost, nothing is double.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kassa_tests::{
    Answer, Database, Hooks, Kassa, KassaOptions, PATIENCE, Source, Suite, Webhook, World, WorldOptions,
    invariants, list, text, within,
};
use reqwest::Method;
use serde_json::{Value, json};

/// More commits than a scenario has; reaching it means that the sweep does not end.
const COMMITS_MAX: u32 = 150;
/// Workers do not commit in the same order each time: so many runs in a row must outlive their crash point
/// before it is taken to lie behind the end.
const SURVIVALS: u32 = 3;

/// What was being delivered when a server died is sent again when its claim ends.
const CLAIMS_END: Duration = Duration::from_secs(90);

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("crash::the_first_start_killed_after_each_commit", first_start);
    suite.both("crash::a_payment_killed_before_each_commit", |database| sweep(database, "before", pay));
    suite.both("crash::a_payment_killed_after_each_commit", |database| sweep(database, "after", pay));
    suite.both("crash::a_reorg_killed_after_each_commit", |database| sweep(database, "after", reorganize));
    suite.both("crash::a_matched_payment_killed_after_each_commit", |database| {
        sweep_with(database, "after", ask_first, pay)
    });
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
    world.receiver.got().iter().map(Webhook::kind).collect()
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

/// An invoice and how often the merchant has to be told that it was paid, and that it no longer is.
struct Owed {
    invoice: Value,
    paid: usize,
    reverted: usize,
}

/// Under how many ids events of this kind came for the invoice, however often each.
fn ids(world: &World, invoice: &Value, kind: &str) -> usize {
    let all = world.receiver.got_kind(kind).into_iter();
    let of_invoice = all.filter(|hook| hook.invoice()["id"] == invoice["id"]);
    of_invoice.map(|hook| text(&json!(hook.header("webhook-id")))).collect::<BTreeSet<String>>().len()
}

/// Waits until the merchant was told, unless the server dies first: what was on its way then comes when its
/// claim has run out, and [`all_told`] waits for that once for all.
async fn told_or_dead(world: &mut World, owed: &Owed) {
    let deaths = world.kassa.deaths();
    through_crashes(world, "the webhooks", async |world| {
        let told = ids(world, &owed.invoice, "invoice.paid") >= owed.paid
            && ids(world, &owed.invoice, "invoice.reverted") >= owed.reverted;
        told || world.kassa.deaths() > deaths
    })
    .await;
}

async fn all_told(world: &World, all: &[Owed]) {
    for Owed { invoice, paid, reverted } in all {
        within(CLAIMS_END, "all webhooks", || async {
            let seen = (ids(world, invoice, "invoice.paid"), ids(world, invoice, "invoice.reverted"));
            if seen.0 >= *paid && seen.1 >= *reverted {
                Ok(())
            } else {
                Err(format!("{seen:?} of {invoice}"))
            }
        })
        .await;
        assert_eq!(ids(world, invoice, "invoice.paid"), *paid, "repeated only under the same id: {invoice}");
        assert_eq!(ids(world, invoice, "invoice.reverted"), *reverted, "{invoice}");
    }
}

/// An invoice that is made, paid and told of.
async fn pay(world: &mut World, order: &str) -> Owed {
    let invoice = make_invoice(world, order).await;
    world.pay(&invoice).await;
    world.anvil.mine(2).await;
    until(world, &invoice, "paid").await;
    Owed { invoice, paid: 1, reverted: 0 }
}

/// One whose payment is reorged out and comes again.
async fn reorganize(world: &mut World, order: &str) -> Owed {
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
    Owed { invoice, paid: 2, reverted: 1 }
}

/// A hook of the merchant's says what each transfer pays.
async fn ask_first(world: &World) {
    let hooks = Hooks(world.api());
    let (hook, _) = hooks.upload(Source::Rust("split"), true).await;
    hooks.put(&hook, "binding", &json!({"match_first": true})).await;
}

async fn sweep<S>(database: Database, side: &'static str, scenario: S)
where
    S: AsyncFn(&mut World, &str) -> Owed,
{
    sweep_with(database, side, async |_: &World| {}, scenario).await;
}

/// Dies at commit 1, 2, 3 … of a start and a scenario, until the crash point lies behind its end.
async fn sweep_with<P, S>(database: Database, side: &'static str, prepare: P, scenario: S)
where
    P: AsyncFn(&World),
    S: AsyncFn(&mut World, &str) -> Owed,
{
    let mut world = World::with(database, WorldOptions { credit: json!(2), ..WorldOptions::default() }).await;
    prepare(&world).await;
    let (mut survived, mut all) = (0, Vec::new());
    for commit in 1..=COMMITS_MAX {
        let deaths = world.kassa.deaths();
        world.kassa.kill();
        world.kassa.spawn(&[("KASSA_CRASH_AT", &format!("{side}:{commit}"))]);
        // A start that dies is revived by the scenario's first step.
        let _ = world.kassa.try_ready().await;
        let owed = scenario(&mut world, &format!("order-{commit}")).await;
        told_or_dead(&mut world, &owed).await;
        all.push(owed);
        survived = if world.kassa.deaths() == deaths { survived + 1 } else { 0 };
        if survived < SURVIVALS {
            continue;
        }
        println!("  crash: {} commits, killed {side} each", commit - SURVIVALS);
        assert!(commit > 8 + SURVIVALS, "the scenario commits more often than that: was nobody killed?");
        // The crash point of the last start still lies ahead, in what is done while nothing happens.
        world.kassa.restart().await;
        all_told(&world, &all).await;
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
    let mut all = Vec::new();
    for round in 0..12 {
        for number in 0..3 {
            let invoice = make_invoice(&mut world, &format!("order-{round}-{number}")).await;
            world.pay(&invoice).await;
            all.push(Owed { invoice, paid: 1, reverted: 0 });
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
    for owed in &all {
        until(&mut world, &owed.invoice, "paid").await;
    }
    all_told(&world, &all).await;
    world.settled().await;
    assert_eq!(world.unmatched().await.len(), 0);
}
