//! What Kassa says of itself when it cannot do its work: networks that nobody answers for, a database that takes no
//! writes.

use std::time::Duration;

use kassa_tests::{
    Answer, Api, Barrier, Database, Fault, Kassa, KassaOptions, Kind, NETWORK, Rule, Sandbox, Suite, World,
    WorldOptions, eventually, text,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("health::a_network_that_nobody_answers_for_stalls_and_moves_again", stalled);
    suite.on(Kind::Sqlite, "health::a_provider_that_stands_still_is_no_stall", still);
    suite.on(Kind::Postgres, "health::replicas_know_it_of_each_other_and_no_clock_does", replicas);
    suite.both("health::a_database_that_takes_no_writes_is_said_to_all", no_writes);
}

/// Everything that is looked at is quick here.
fn quick() -> KassaOptions {
    KassaOptions::default().with("KASSA_WATCH__STALLED_MS", "4000")
}

async fn world(database: Database) -> World {
    World::with(database, WorldOptions { kassa: quick(), ..WorldOptions::default() }).await
}

async fn network(api: &Api) -> Value {
    api.get(&format!("/v1/operator/networks/{NETWORK}")).await.ok()
}

/// Waits until the network stalls, or until it does not; answers it.
async fn until_stalled(api: &Api, stalled: bool) -> Value {
    eventually("another state of the network", || async {
        let seen = network(api).await;
        if seen["stalled_since"].is_null() == stalled { Err(seen.to_string()) } else { Ok(seen) }
    })
    .await
}

fn lines(kassa: &Kassa, what: &str) -> usize {
    kassa.log().lines().filter(|line| line.contains(what)).count()
}

/// Lines that somebody has to read.
fn loud(kassa: &Kassa) -> usize {
    lines(kassa, "\"level\":\"ERROR\"") + lines(kassa, "\"level\":\"WARN\"")
}

async fn stalled(database: Database) {
    let world = world(database).await;
    let (operator, anyone) = (world.kassa.operator(), Api::new(world.kassa.url(), ""));
    let alarms = world.operators_receiver().await;
    let seen = network(&operator).await;
    assert!(seen["heard_at"].is_string() && seen["stalled_since"].is_null(), "{seen}");

    world.proxy.add(Rule::new(Fault::HangUp));
    let seen = until_stalled(&operator, true).await;
    assert_eq!(seen["stalled_since"], seen["heard_at"], "{seen}");
    assert!(seen["state"]["height"].is_number(), "what was read stays: {seen}");
    // It serves all the same, and says so to whom it concerns.
    let ready = anyone.get("/ready").await.ok();
    assert_eq!((&ready["status"], &ready["reading"]), (&json!("ready"), &Value::Null));
    assert_eq!(anyone.get("/ready?verbose").await.problem(401), "/problems/key_missing");
    let theirs = world.api().get("/ready?verbose").await;
    assert_eq!(theirs.problem(403), "/problems/operator_only");
    let ready = operator.get("/ready?verbose").await.ok();
    let reading = ready["reading"].as_array().expect("networks");
    let of = |name: &str| reading.iter().find(|one| one["network"] == name).expect("the network").clone();
    assert!(of(NETWORK)["stalled_since"].is_string(), "{ready}");
    assert!(of("sandbox")["stalled_since"].is_null() && of("sandbox")["heard_at"].is_string(), "{ready}");
    assert!(ready["written_ms_ago"].as_u64() < Some(60_000), "{ready}");
    let gauge = format!("kassa_network_stalled{{network=\"{NETWORK}\"}} ");
    eventually("the figure", || async {
        let figures = text(&operator.get("/metrics").await.ok());
        if figures.contains(&format!("{gauge}1")) { Ok(()) } else { Err(figures) }
    })
    .await;
    let mut command = tokio::process::Command::from(Kassa::command("network"));
    command.arg("list").env("KASSA_URL", world.kassa.url()).env("KASSA_KEY", operator.key());
    let said = command.kill_on_drop(true).output().await.expect("kassa network list");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with(NETWORK)).expect("the network");
    assert!(line.contains("STALLED since 2"), "{said}");

    // Once, however often it is tried.
    eventually("the word in the log", || async {
        let log = world.kassa.log();
        if log.contains("STALLED") { Ok(()) } else { Err(log) }
    })
    .await;
    let before = loud(&world.kassa);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(lines(&world.kassa, "STALLED"), 1);
    // The provider's own failures are told of when it is asked again after longer and longer rests.
    assert!(loud(&world.kassa) <= before + 2, "{}", world.kassa.log());
    world.proxy.clear();
    until_stalled(&operator, false).await;
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
    eventually("the end in the log", || async {
        let log = world.kassa.log();
        if log.contains("moves again") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!((lines(&world.kassa, "STALLED"), lines(&world.kassa, "moves again")), (1, 1));
    // The operator's own merchant is told by webhook, and nobody else is.
    let stalled = alarms.wait_for("network.stalled", 1).await.remove(0).json();
    let resumed = alarms.wait_for("network.resumed", 1).await.remove(0).json();
    assert_eq!(
        (&stalled["data"]["network"], &resumed["data"]["network"]),
        (&json!(NETWORK), &json!(NETWORK))
    );
    assert!(stalled["data"]["why"].is_string(), "{stalled}");
    assert_eq!(resumed["data"]["stalled_since"], stalled["data"]["heard_at"], "{resumed}");
    let theirs = world.api().get("/v1/events?limit=100").await.ok().to_string();
    assert!(theirs.contains("invoice.paid") && !theirs.contains("network."), "{theirs}");
    // The next stall is another one.
    world.proxy.add(Rule::new(Fault::Status { code: 500, retry_after_s: None }));
    alarms.wait_for("network.stalled", 2).await;
    world.proxy.clear();
    alarms.wait_for("network.resumed", 2).await;
    assert_eq!(alarms.got_kind("network.stalled").len(), 2);
}

async fn still(database: Database) {
    let world = world(database).await;
    let operator = world.kassa.operator();
    // What was mined at the set-up is read first.
    let before = eventually("the end of the chain", || async {
        let before = network(&operator).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = network(&operator).await;
        if before["state"] == after["state"] { Ok(after) } else { Err(after.to_string()) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = network(&operator).await;
    assert!(after["stalled_since"].is_null(), "{after}");
    assert_ne!(before["heard_at"], after["heard_at"]);
    assert_eq!(before["state"]["moved_at"], after["state"]["moved_at"], "it is seen that nothing is newer");
    assert_eq!(lines(&world.kassa, "STALLED"), 0);
}

async fn replicas(database: Database) {
    let world = world(database).await;
    // The other's clock is an hour ahead, and the network is read by the first.
    let mut other = Kassa::replica(&world.database, quick(), 1);
    other.spawn(&[("KASSA_CLOCK_AHEAD_MS", "3600000")]);
    other.ready().await;
    let (api, alarms) = (other.operator(), world.operators_receiver().await);
    eventually("what the other replica knows", || async {
        let seen = network(&api).await;
        if seen["heard_at"].is_string() { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(network(&api).await["stalled_since"].is_null());
    world.proxy.add(Rule::new(Fault::HangUp));
    until_stalled(&api, true).await;
    until_stalled(&world.kassa.operator(), true).await;
    world.proxy.clear();
    until_stalled(&api, false).await;
    until_stalled(&world.kassa.operator(), false).await;
    // Both notice it, and it is told once.
    alarms.wait_for("network.resumed", 1).await;
    let told = |kind| alarms.got_kind(kind).len();
    assert_eq!((told("network.stalled"), told("network.resumed")), (1, 1));
    drop(other);
}

async fn no_writes(database: Database) {
    let mut barrier = Barrier::new(&database);
    let sandbox = Sandbox::with(database, quick().with("KASSA_DATABASE", barrier.url())).await;
    let (kassa, anyone) = (&sandbox.shop.kassa, Api::new(sandbox.shop.kassa.url(), ""));
    anyone.get("/ready").await.ok();
    let alarms = sandbox.shop.operators_receiver().await;
    barrier.close().await;
    let refused = async || -> Answer {
        let api = sandbox.shop.api();
        api.post("/v1/invoices", &sandbox.shop.order("USDT", "5")).await
    };
    let answer = refused().await;
    assert_eq!(answer.problem(503), "/problems/cannot_write");
    assert!(text(&answer.body["detail"]).contains("operator"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    let ready = eventually("what /ready says", || async {
        let answer = anyone.get("/ready").await;
        if answer.status == 503 { Ok(answer) } else { Err(answer.text) }
    })
    .await;
    assert_eq!(ready.problem(503), "/problems/not_ready");
    let (detail, locked) = (text(&ready.body["detail"]), "another process holds its lock");
    let sqlite = sandbox.shop.database.kind() == Kind::Sqlite;
    assert!(if sqlite { detail.contains(locked) } else { detail.contains("does not answer") }, "{detail}");
    eventually("the word in the log", || async {
        if lines(kassa, "CANNOT WRITE") == 1 { Ok(()) } else { Err(kassa.log()) }
    })
    .await;
    let before = loud(kassa);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(loud(kassa) <= before + 4, "{} lines in 8 s", loud(kassa) - before);
    assert_eq!(refused().await.problem(503), "/problems/cannot_write");

    barrier.open().await;
    eventually("a server that is ready again", || async {
        let answer = anyone.get("/ready").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    sandbox.paid("5", &json!({})).await;
    eventually("the end in the log", || async {
        if lines(kassa, "takes writes again") == 1 { Ok(()) } else { Err(kassa.log()) }
    })
    .await;
    assert_eq!(lines(kassa, "CANNOT WRITE"), 1);
    // It could not be told before.
    let told = alarms.wait_for("database.unwritable", 1).await.remove(0).json();
    assert!(told["data"]["for_s"].as_u64() >= Some(8), "{told}");
    let why = text(&told["data"]["why"]);
    assert!(detail.contains(why.trim_start_matches("it ")), "{told}: {detail}");
    sandbox.shop.delivered().await;
}
