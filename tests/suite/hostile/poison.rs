//! What ends the process is not done for ever.

use kassa_tests::{Database, Kind, Suite, eventually, quiet, text};
use serde_json::json;

use super::Stage;

pub(super) fn cases(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "hostile::hook_that_ends_the_process_is_set_aside", set_aside);
}

/// As no component is known that ends the process, the process ends itself in the calls of one.
async fn set_aside(database: Database) {
    let mut stage = Stage::start(database).await;
    let hook = stage.upload(&quiet("poison")).await;
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
    // The neighbour goes on.
    let invoice = stage.sandbox.invoice("5", &json!({})).await;
    stage.sandbox.pay(&[invoice]).await;
    stage.sandbox.hooks().wait_for(&stage.shop_hook, "done", 2).await;
    stage.is_well().await;
}
