//! What ends the process is not done for ever.

use kassa_tests::{
    Database, Kassa, KassaOptions, Kind, NETWORK, Receiver, Sandbox, Suite, World, eventually, quiet, text,
};
use serde_json::{Value, json};

use super::Stage;

pub(super) fn cases(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "hostile::hook_that_ends_the_process_is_set_aside", set_aside);
    suite.both("hostile::chain_plugin_that_ends_the_process_is_set_aside", scans);
    suite.on(Kind::Sqlite, "hostile::rescan_that_ends_the_process_is_set_aside", rescans);
    suite.on(Kind::Sqlite, "hostile::delivery_that_ends_the_process_is_put_off", deliveries);
}

/// As no component is known that ends the process, the process ends itself in the calls of one.
async fn set_aside(database: Database) {
    // What was claimed is claimed again half a minute after a call may have ended.
    let mut stage = Stage::with(database, KassaOptions::default().with("KASSA_HOOKS__WALL_MS", "5000")).await;
    let hook = stage.upload(&quiet("poison")).await;
    let alarms = stage.sandbox.shop.operators_receiver().await;
    let (run, _) = stage.attack(&hook).await;
    let hooks = stage.sandbox.hooks();
    hooks.put(&stage.shop_hook, "storage/key%2F2", &json!({"text": "KEY-2"})).await;
    stage.sandbox.shop.kassa.kill();

    let poisoned = [("KASSA_CRASH_IN_HOOK", "poison")];
    stage.sandbox.shop.kassa.spawn(&poisoned);
    stage.sandbox.shop.kassa.ready().await;
    let again = format!("/v1/hook_runs/{}/run_again", text(&run["id"]));
    stage.evil().post(&again, &json!({})).await.ok();
    let mut deaths = 0;
    let run = loop {
        let kassa = std::cell::RefCell::new(&mut stage.sandbox.shop.kassa);
        eventually("the end of the process", || async {
            if kassa.borrow_mut().has_ended() { Ok(()) } else { Err("it runs".to_owned()) }
        })
        .await;
        deaths += 1;
        assert!(deaths <= 3, "it ends the process for ever");
        stage.sandbox.shop.kassa.kill();
        stage.sandbox.shop.kassa.spawn(&poisoned);
        stage.sandbox.shop.kassa.ready().await;
        if deaths == 3 {
            let evil = stage.evil_hooks();
            break eventually("the run to be set aside", || async {
                let run = evil.runs(&hook).await.remove(0);
                if run["state"] == "exhausted" { Ok(run) } else { Err(run.to_string()) }
            })
            .await;
        }
    };
    println!("hostile: poison: set aside after {deaths} ends of the process: {}", run["note"]);
    assert!(text(&run["note"]).contains("not made again"), "{run}");
    assert_eq!(stage.evil().get(&format!("/v1/hooks/{hook}")).await.ok()["state"], "disabled");
    let log = stage.sandbox.shop.kassa.log();
    assert!(log.contains("it is set aside, and its hook is disabled") && log.contains(&hook), "{log}");
    stage.receiver.wait_for("hook_run.exhausted", 1).await;
    let told = only(&alarms).await;
    assert_eq!(
        (&told["queue"], &told["work"], &told["hook_id"]),
        (&json!("hook runs"), &run["id"], &json!(hook))
    );
    // The neighbour goes on.
    let invoice = stage.sandbox.invoice("5", &json!({})).await;
    stage.sandbox.pay(&[invoice]).await;
    stage.sandbox.hooks().wait_for(&stage.shop_hook, "done", 2).await;
    stage.is_well().await;
}

/// Starts it again and again, with calls of this worker ending the process, until it stays. Answers how often it has ended.
async fn until_it_stays(kassa: &mut Kassa, worker: &str, told: &str) -> u32 {
    for deaths in 0..10 {
        kassa.kill();
        kassa.spawn(&[("KASSA_CRASH_IN_CALL", worker)]);
        let _ = kassa.try_ready().await;
        let watched = std::cell::RefCell::new(&mut *kassa);
        let ended = eventually("the end of the process, or that something is set aside", || async {
            let mut kassa = watched.borrow_mut();
            if kassa.has_ended() {
                Ok(true)
            } else if kassa.log().contains(told) {
                Ok(false)
            } else {
                Err(kassa.log())
            }
        })
        .await;
        if !ended {
            return deaths;
        }
    }
    panic!("it ends for ever");
}

/// The one alarm that something was set aside.
async fn only(alarms: &Receiver) -> Value {
    let mut told = alarms.wait_for("work.set_aside", 1).await;
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0).json()["data"].take()
}

async fn scans(database: Database) {
    let mut world = World::start(database).await;
    let alarms = world.operators_receiver().await;
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    world.kassa.kill();
    world.anvil.mine(3).await;
    let deaths = until_it_stays(&mut world.kassa, &format!("observe/{NETWORK}"), "set aside: plugin").await;
    println!("hostile: poison: a chain plugin was set aside after {deaths} ends of the process");
    assert!((2..=4).contains(&deaths), "{deaths}");
    let operator = world.kassa.operator();
    let path = format!("/v1/operator/networks/{NETWORK}");
    assert!(
        text(&operator.get("/metrics").await.ok()).contains("kassa_set_aside_total{queue=\"chain calls\"} 1")
    );
    // The other network is read on.
    eventually("one to stall, and the other to be heard", || async {
        let ready = operator.get("/ready?verbose").await.ok();
        let stalls = |network: &str| {
            let of =
                ready["reading"].as_array().and_then(|all| all.iter().find(|one| one["network"] == network));
            of.map(|one| one["stalled_since"].is_string())
        };
        if (stalls(NETWORK), stalls("sandbox")) == (Some(true), Some(false)) {
            Ok(())
        } else {
            Err(ready.to_string())
        }
    })
    .await;
    // Nobody forgets it, and nobody is wrong about it for ever.
    world.kassa.restart().await;
    let operator = world.kassa.operator();
    eventually("it to be set aside again", || async {
        if world.kassa.log().matches("set aside: plugin").count() >= 2 {
            Ok(())
        } else {
            Err(world.kassa.log())
        }
    })
    .await;
    assert_eq!(world.get_invoice(&invoice).await["status"], "new");
    let told = only(&alarms).await;
    assert_eq!((&told["network"], &told["queue"]), (&json!(NETWORK), &json!("chain calls")), "{told}");
    operator.post(&format!("{path}/enable"), &json!({})).await.ok();
    world.until(&invoice, "paid").await;
}

async fn rescans(database: Database) {
    let mut world = World::start(database).await;
    world.anvil.mine(3).await;
    world.caught_up().await;
    let path = format!("/v1/operator/networks/{}/rescans", world.network);
    world.kassa.kill();
    let worker = format!("rescan/{NETWORK}");
    world.kassa.spawn(&[("KASSA_CRASH_IN_CALL", &worker)]);
    world.kassa.ready().await;
    let order = serde_json::to_vec(&json!({"from": 1})).expect("JSON");
    // It may end before it has answered.
    let _ = world.kassa.operator().try_send(reqwest::Method::POST, &path, &[], Some(order)).await;
    let deaths = until_it_stays(&mut world.kassa, &worker, "ended the process").await;
    println!("hostile: poison: a rescan was set aside after {deaths} ends of the process");
    assert!((1..=4).contains(&deaths), "{deaths}");
    let rescan = world.kassa.operator().get(&path).await.ok()["data"][0].take();
    assert!(rescan["state"] == "failed" && rescan.to_string().contains("ended the process"), "{rescan}");
    let invoice = world.invoice("USDT", "10").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
}

async fn deliveries(database: Database) {
    let mut sandbox = Sandbox::start(database).await;
    let alarms = sandbox.shop.operators_receiver().await;
    let invoice = sandbox.invoice("5", &json!({})).await;
    sandbox.shop.kassa.kill();
    sandbox.shop.kassa.spawn(&[("KASSA_CRASH_IN_CALL", "deliver")]);
    sandbox.shop.kassa.ready().await;
    sandbox.pay(&[invoice]).await;
    let deaths =
        until_it_stays(&mut sandbox.shop.kassa, "deliver", "it is put off to its next attempt").await;
    println!("hostile: poison: a delivery was put off after {deaths} ends of the process");
    assert!((2..=4).contains(&deaths), "{deaths}");
    sandbox.shop.kassa.restart().await;
    // The alarm itself may have been what ended the process next.
    let told = alarms.wait_for("work.set_aside", 1).await.remove(0).json();
    assert!(told["data"]["queue"] == "deliveries" && told["data"]["endpoint_id"].is_string(), "{told}");
    let webhook = sandbox.shop.receiver.wait_for("invoice.paid", 1).await.remove(0);
    kassa_tests::verify(&webhook, &sandbox.shop.secret).expect("it comes in the end");
}
