//! The ready hooks, from the upload to the effect, and what goes wrong on the way.

use std::collections::BTreeSet;

use kassa_tests::{
    Database, KassaOptions, Kind, Receiver, Reply, Sandbox, Source, Suite, eventually, list, patched, text,
    verify,
};
use serde_json::json;

use crate::corrections;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("hooks::license_keys_sell_one_key_for_each_paid_invoice_rust", |database| {
        license_keys(database, Source::Rust("license-keys"))
    });
    suite.both("hooks::license_keys_sell_one_key_for_each_paid_invoice_javascript", |database| {
        license_keys(database, Source::JavaScript("license-keys"))
    });
    // An interpreter takes long to compile, and what is stored is the same in all languages.
    suite.on(Kind::Sqlite, "hooks::license_keys_sell_one_key_for_each_paid_invoice_python", |database| {
        license_keys(database, Source::Python("license-keys"))
    });
    suite.both("hooks::telegram_tells_of_payments_rust", |database| {
        telegram(database, Source::Rust("telegram"))
    });
    suite.both("hooks::telegram_tells_of_payments_javascript", |database| {
        telegram(database, Source::JavaScript("telegram"))
    });
    suite.on(Kind::Postgres, "hooks::telegram_tells_of_payments_python", |database| {
        telegram(database, Source::Python("telegram"))
    });
    suite.on(Kind::Sqlite, "hooks::a_form_is_ready_once_its_key_is_set_rust", |database| {
        form(database, Source::Rust("nowpayments-form"))
    });
    suite.on(Kind::Sqlite, "hooks::a_form_is_ready_once_its_key_is_set_javascript", |database| {
        form(database, Source::JavaScript("nowpayments-form"))
    });
    suite.on(Kind::Sqlite, "hooks::a_form_is_ready_once_its_key_is_set_python", |database| {
        form(database, Source::Python("nowpayments-form"))
    });
    suite.both("hooks::game_credits_are_signed_and_given_once", game_credits);
    suite.both("hooks::email_goes_to_the_payer", email);
    suite.both("hooks::a_payment_is_taken_back_after_a_hook_has_used_it", taken_back);
    suite.both("hooks::a_defect_is_seen_by_replay_and_one_in_use_is_rolled_back", defects);
    suite.both("hooks::a_run_under_way_at_a_kill_is_made_again_under_its_id", killed);
}

async fn license_keys(database: Database, source: Source) {
    let sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, _) = hooks.upload(source, true).await;
    for number in 1..=4 {
        hooks.put(&hook, &format!("storage/key%2F{number}"), &json!({"text": format!("KEY-{number}")})).await;
    }
    let mut invoices = Vec::new();
    for number in 0..4 {
        invoices.push(sandbox.invoice("5", &json!({"order_id": format!("order-{number}")})).await);
    }
    sandbox.pay(&invoices).await;
    hooks.wait_for(&hook, "done", 4).await;
    let issued = sandbox.shop.receiver.wait_for("hook.license.issued", 4).await;
    sandbox.shop.verify_all(&issued);
    let data: Vec<_> = issued.iter().map(|webhook| webhook.json()["data"].clone()).collect();
    let keys: BTreeSet<String> = data.iter().map(|data| text(&data["key"])).collect();
    assert_eq!(keys.len(), 4, "each key once: {data:?}");
    let sold_to: BTreeSet<String> = data.iter().map(|data| text(&data["invoice_id"])).collect();
    assert_eq!(sold_to, invoices.iter().map(|invoice| text(&invoice["id"])).collect());
    let stored = sandbox.shop.api().get(&format!("/v1/hooks/{hook}/storage")).await.ok();
    assert!(stored["data"].as_array().unwrap().iter().all(|key| text(key).starts_with("sold/")), "{stored}");

    // The same event again sells nothing.
    let run = text(&hooks.runs(&hook).await[0]["id"]);
    sandbox.shop.api().post(&format!("/v1/hook_runs/{run}/run_again"), &json!({})).await.ok();
    eventually("the second call", || async {
        let run = hooks.run(&json!(run)).await;
        if run["state"] == "done" && run["attempts"] == 2 { Ok(()) } else { Err(run.to_string()) }
    })
    .await;
    // Without keys the next one waits, and says why.
    sandbox.paid("5", &json!({})).await;
    let waiting = eventually("a run that waits for keys", || async {
        let runs = hooks.runs(&hook).await;
        let found = runs.iter().find(|run| run["state"] == "pending" && run["attempts"] == 1).cloned();
        found.ok_or(format!("{runs:?}"))
    })
    .await;
    assert!(text(&waiting["note"]).contains("no keys left"), "{waiting}");
    let shown = hooks.run(&waiting["id"]).await;
    assert_eq!(shown["input"]["type"], "invoice.paid");
    assert_eq!(shown["calls"][0]["outcome"], "retry");
    assert!(shown["calls"][0]["fuel"].as_u64().unwrap() > 1000, "{shown}");
    sandbox.shop.delivered().await;
    assert_eq!(sandbox.shop.receiver.got_kind("hook.license.issued").len(), 4);
    // Filled up and told to go on, it does not wait for its next try.
    hooks.put(&hook, "storage/key%2F9", &json!({"text": "KEY-9"})).await;
    let again = format!("/v1/hook_runs/{}/run_again", text(&waiting["id"]));
    sandbox.shop.api().post(&again, &json!({})).await.ok();
    hooks.wait_for(&hook, "done", 5).await;
}

async fn telegram(database: Database, source: Source) {
    let sandbox = Sandbox::start(database).await;
    let telegram = Receiver::start().await;
    let ok = json!({"ok": true, "result": {"message_id": 77}});
    telegram.script([
        Reply::Json(429, json!({"ok": false, "error_code": 429, "description": "slow down", "parameters": {"retry_after": 1}})),
        Reply::Json(200, ok.clone()),
    ]);
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(source, false).await;
    let api_url = telegram.origin();
    hooks
        .put(
            &hook,
            "settings",
            &json!({"api_url": api_url, "chat_id": "42", "text": "{title}: {amount} {asset}"}),
        )
        .await;
    hooks.put(&hook, "secrets/bot_token", &json!({"value": "123:SECRET"})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    let paid = sandbox.paid("7.5", &json!({"title": "A kite"})).await;
    let run = hooks.wait_for(&hook, "done", 1).await.remove(0);
    assert_eq!(run["note"], "message 77");
    let calls = telegram.got();
    assert_eq!(calls.len(), 2, "one was put off");
    for call in &calls {
        assert_eq!(call.path, "/bot123:SECRET/sendMessage");
        assert_eq!(
            call.header("idempotency-key"),
            calls[0].header("idempotency-key"),
            "the same at every try"
        );
        assert!(call.header("idempotency-key").is_some_and(|key| key.starts_with(&text(&run["id"]))));
        let told = text(&call.json()["text"]);
        assert!(told.starts_with("A kite: ") && told.contains("USDT"), "{told} for {paid}");
        assert_eq!(call.json()["chat_id"], "42");
    }
    let shown = hooks.run(&run["id"]).await;
    assert_eq!(shown["calls"][0]["outcome"], "retry");
    assert_eq!(shown["calls"][1]["http_requests"], 1);
    assert!(!shown.to_string().contains("SECRET"));
    assert!(!sandbox.shop.kassa.log().contains("SECRET"));

    // What Telegram refuses for good is rejected, and the merchant hears of it.
    telegram.script([Reply::Json(400, json!({"ok": false, "description": "chat not found"}))]);
    sandbox.paid("7.5", &json!({})).await;
    let told = sandbox.shop.receiver.wait_for("hook_run.rejected", 1).await.remove(0).json();
    assert!(text(&told["data"]["run"]["note"]).contains("chat not found"), "{told}");
    assert_eq!(told["data"]["hook"]["name"], "telegram");
}

async fn game_credits(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let game = Receiver::start().await;
    game.script([Reply::HangUp, Reply::Status(503)]);
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(Source::Rust("game-credits"), false).await;
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    hooks.put(&hook, "settings", &json!({"api_url": game.url(), "credits_per_unit": 10})).await;
    hooks.put(&hook, "secrets/signing_key", &json!({"value": secret})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    let invoice = sandbox.paid("3", &json!({"meta": {"player": "ada"}})).await;
    eventually("the first call", || async {
        let got = game.got().len();
        if got >= 1 { Ok(()) } else { Err(format!("{:?}", hooks.runs(&hook).await)) }
    })
    .await;
    let call = game.got().remove(0);
    verify(&call, secret).unwrap_or_else(|why| panic!("{why}: {call:?}"));
    assert_eq!(call.json()["player"], "ada");
    assert_eq!(call.json()["invoice_id"], invoice["id"]);
    let run = hooks.runs(&hook).await.remove(0);
    assert_eq!(call.header("webhook-id"), Some(text(&run["id"]).as_str()));
    assert_eq!(run["state"], "pending", "it hung up: tried again later");
}

async fn form(database: Database, source: Source) {
    let sandbox = Sandbox::start(database).await;
    let (hooks, api) = (sandbox.hooks(), sandbox.shop.api());
    let (hook, version) = hooks.upload(source, false).await;
    let activate = json!({"version_id": version});
    let refused = api.post(&format!("/v1/hooks/{hook}/activate"), &activate).await;
    assert!(refused.problem(422).ends_with("/hook_not_ready"));
    assert!(text(&refused.body["detail"]).contains("ipn_key (to sign with)"), "{}", refused.body);
    hooks.put(&hook, "secrets/ipn_key", &json!({"value": "Jefe"})).await;
    hooks.post(&hook, "activate", &activate).await;
    let versions = api.get(&format!("/v1/hooks/{hook}/versions")).await.ok();
    assert_eq!(versions["data"][0]["manifest"]["roles"], json!(["form"]), "{versions}");
}

async fn email(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let mail = Receiver::start().await;
    mail.then(Reply::Json(200, json!({"id": "m-1"})));
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(Source::Rust("email"), false).await;
    let settings = json!({
        "api_url": mail.url(), "from": "Shop <shop@kassa.example>", "subject": "Paid: {title}", "text": "Thank you, {order_id}",
    });
    hooks.put(&hook, "settings", &settings).await;
    hooks.put(&hook, "secrets/api_key", &json!({"value": "re_123"})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    sandbox
        .paid("3", &json!({"title": "Tea", "order_id": "o-7", "meta": {"email": "ada@kassa.example"}}))
        .await;
    let run = hooks.wait_for(&hook, "done", 1).await.remove(0);
    let sent = mail.got().remove(0);
    assert_eq!(sent.header("authorization"), Some("Bearer re_123"));
    let shown = hooks.run(&run["id"]).await.to_string();
    assert!(!shown.contains("re_123") && !sandbox.shop.kassa.log().contains("re_123"), "{shown}");
    let body = sent.json();
    assert_eq!(body["to"], json!(["ada@kassa.example"]));
    assert_eq!(body["subject"], "Paid: Tea");
    assert_eq!(body["text"], "Thank you, o-7");
    // Another hook's binding does not want it.
    hooks.put(&hook, "binding", &json!({"events": ["invoice.paid"], "tags": ["mail"]})).await;
    sandbox.paid("3", &json!({"meta": {"email": "no@kassa.example"}})).await;
    sandbox.paid("3", &json!({"tag": "mail", "meta": {"email": "yes@kassa.example"}})).await;
    hooks.wait_for(&hook, "done", 2).await;
    assert_eq!(hooks.runs(&hook).await.len(), 2);
    assert_eq!(mail.got()[1].json()["to"], json!(["yes@kassa.example"]));
}

async fn taken_back(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, _) = hooks.upload(Source::JavaScript("license-keys"), true).await;
    let events = json!(["invoice.paid", "invoice.overpaid", "invoice.reverted"]);
    hooks.put(&hook, "binding", &json!({"events": events})).await;
    for number in 1..=3 {
        hooks.put(&hook, &format!("storage/key%2F{number}"), &json!({"text": format!("KEY-{number}")})).await;
    }
    let (wrong, right) = (sandbox.invoice("5", &json!({})).await, sandbox.invoice("5", &json!({})).await);
    sandbox.send(6_000_000).await;
    let transfer = corrections::unmatched(&sandbox).await;
    let act = async |action: &str, body| {
        let path = format!("/v1/transfers/{}/{action}", text(&transfer["id"]));
        sandbox.shop.api().post(&path, &body).await.ok()
    };

    // It was used when it is taken back: the hook hears of that, and what it gave is not given again.
    act("assign", json!({"invoice_id": wrong["id"]})).await;
    hooks.wait_for(&hook, "done", 1).await;
    act("unassign", json!({"why": "not theirs"})).await;
    let heard = hooks.wait_for(&hook, "done", 2).await.remove(0);
    let heard = hooks.run(&heard["id"]).await;
    assert_eq!(heard["input"]["type"], "invoice.reverted", "{heard}");
    assert_eq!(sandbox.shop.get_invoice(&wrong).await["status"], "new");
    act("assign", json!({"invoice_id": right["id"]})).await;
    hooks.wait_for(&hook, "done", 3).await;
    // Back and forth, and both have what was sold to them.
    act("unassign", json!({})).await;
    act("assign", json!({"invoice_id": wrong["id"]})).await;
    hooks.wait_for(&hook, "done", 5).await;
    sandbox.shop.delivered().await;
    let issued = sandbox.shop.receiver.got_kind("hook.license.issued");
    assert_eq!(issued.len(), 2, "one key for each invoice");
    let sold: BTreeSet<_> =
        issued.iter().map(|webhook| text(&webhook.json()["data"]["invoice_id"])).collect();
    assert_eq!(sold, BTreeSet::from([text(&wrong["id"]), text(&right["id"])]));
    let now = [sandbox.shop.get_invoice(&wrong).await, sandbox.shop.get_invoice(&right).await];
    assert_eq!((&now[0]["status"], &now[1]["status"]), (&json!("overpaid"), &json!("new")), "{now:?}");
}

async fn defects(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hooks = sandbox.hooks();
    let (hook, good) = hooks.upload(Source::JavaScript("license-keys"), true).await;
    for number in 1..=6 {
        hooks.put(&hook, &format!("storage/key%2F{number}"), &json!({"text": format!("KEY-{number}")})).await;
    }
    for _ in 0..2 {
        sandbox.paid("5", &json!({})).await;
    }
    hooks.wait_for(&hook, "done", 2).await;

    // A version that forgets to take the key away would sell it twice. Replay shows it before anyone is hurt.
    let forgetful = patched("license-keys", &[("0.1.0", "0.2.0"), ("storage.delete(", "String(")]);
    let made = hooks.try_upload(&forgetful, false).await.ok();
    let replay = json!({"version_id": made["version"]["id"]});
    let seen = hooks.post(&hook, "replay", &replay).await;
    assert_eq!(seen["different"], 2, "{seen}");
    for event in list(&seen) {
        assert_eq!(event["now"]["outcome"], "done");
        assert!(text(&event["missing"][0]["delete"]).starts_with("key/"), "{event}");
        assert_eq!(event["added"], json!([]));
    }
    let same = hooks.post(&hook, "replay", &json!({"version_id": good})).await;
    assert_eq!(same["different"], 0, "a version does what it did: {same}");
    // A replay has no effects.
    let stored = sandbox.shop.api().get(&format!("/v1/hooks/{hook}/storage?prefix=key/")).await.ok();
    assert_eq!(list(&stored).len(), 4);
    sandbox.shop.delivered().await;
    assert_eq!(sandbox.shop.receiver.got_kind("hook.license.issued").len(), 2);

    // In the shadow it is played what really happens, and hurts nobody either.
    let shadow = hooks.put(&hook, "shadow", &replay).await;
    assert_eq!(shadow["calls"], 0);
    sandbox.paid("5", &json!({})).await;
    let seen = eventually("a run that was played to the shadow", || async {
        let seen = sandbox.shop.api().get(&format!("/v1/hooks/{hook}/shadow")).await.ok();
        if seen["calls"] == 1 { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!(seen["different"], 1);
    assert!(text(&seen["newest"][0]["difference"]["missing"][0]["delete"]).starts_with("key/"), "{seen}");
    hooks.put(&hook, "shadow", &json!({"version_id": null})).await;

    // A version that breaks at work: its runs fail and wait, the merchant hears of it, and none is lost.
    let broken = patched("license-keys", &[("0.1.0", "0.3.0"), ("storage.delete(", "undefined.delete(")]);
    let made = hooks.try_upload(&broken, true).await.ok();
    assert_eq!(made["version"]["active"], true);
    for _ in 0..3 {
        sandbox.paid("5", &json!({})).await;
    }
    let failing = sandbox.shop.receiver.wait_for("hook_run.failing", 1).await.remove(0).json();
    assert_eq!(failing["data"]["hook"]["name"], "license-keys");
    let run = hooks.runs(&hook).await.remove(0);
    let call = hooks.run(&run["id"]).await["calls"][0].clone();
    assert_eq!(call["outcome"], "failed", "{run}");
    assert!(call["log"].to_string().contains("TypeError"), "its last words: {call}");
    let paused = sandbox.shop.api().get(&format!("/v1/hooks/{hook}")).await.ok();
    assert!(!paused["paused_until"].is_null(), "{paused}");
    let back = hooks.post(&hook, "roll_back", &json!({})).await;
    assert_eq!(back["active"]["id"], json!(good));
    hooks.wait_for(&hook, "done", 6).await;
    let issued = sandbox.shop.receiver.wait_for("hook.license.issued", 6).await;
    let keys: BTreeSet<String> = issued.iter().map(|webhook| text(&webhook.json()["data"]["key"])).collect();
    assert_eq!(keys.len(), 6, "each key once");
    sandbox.shop.delivered().await;
}

async fn killed(database: Database) {
    // So that the claim of the one that was killed ends soon.
    let options = KassaOptions::default().with("KASSA_HOOKS__WALL_MS", "1000");
    let mut sandbox = Sandbox::with(database, options).await;
    let slow = Receiver::start().await;
    slow.script([Reply::Stall]);
    slow.then(Reply::Json(200, json!({"id": "m-1"})));
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(Source::Rust("email"), false).await;
    let settings = json!({"api_url": slow.url(), "from": "a@kassa.example", "to": "b@kassa.example", "subject": "s", "text": "t"});
    hooks.put(&hook, "settings", &settings).await;
    hooks.put(&hook, "secrets/api_key", &json!({"value": "x"})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    sandbox.paid("3", &json!({})).await;
    eventually("the call under way", || async {
        if slow.got().is_empty() { Err("no call".to_owned()) } else { Ok(()) }
    })
    .await;
    sandbox.shop.kassa.kill();
    sandbox.shop.kassa.restart().await;
    let hooks = sandbox.hooks();
    let run = hooks.wait_for(&hook, "done", 1).await.remove(0);
    assert_eq!(run["attempts"], 1, "the one that was cut off was never written down");
    let ids: BTreeSet<_> =
        slow.got().iter().map(|call| call.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(ids.iter().flatten().all(|id| id.starts_with(&text(&run["id"]))), "{ids:?}");
    assert_eq!(slow.got().len(), 2);
}
