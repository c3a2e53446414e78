//! Endpoints that are told in a form of the merchant's own, and forms that break.

use kassa_tests::{
    Api, Database, Hooks, KassaOptions, Kind, Receiver, Reply, Sandbox, Source, Suite, Webhook, eventually,
    hostile_as, invariants, list, patched, text, verify, verify_ipn,
};
use serde_json::{Value, json};

const KEY: &str = "IPN-secret-key";

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("forms::a_handler_of_another_product_takes_what_is_delivered_rust", |database| {
        delivered(database, Source::Rust("nowpayments-form"))
    });
    suite.both("forms::a_handler_of_another_product_takes_what_is_delivered_javascript", |database| {
        delivered(database, Source::JavaScript("nowpayments-form"))
    });
    // An interpreter takes long to compile, and what is stored is the same in all languages.
    suite.on(
        Kind::Sqlite,
        "forms::a_handler_of_another_product_takes_what_is_delivered_python",
        |database| delivered(database, Source::Python("nowpayments-form")),
    );
    suite.both("forms::only_a_hook_that_renders_becomes_a_form", chosen);
    suite.both("forms::one_that_breaks_loses_nothing_and_delays_nobody", broken);
    suite.both("forms::one_merchants_slow_forms_delay_no_other", slow);
    suite.both("forms::a_form_says_what_counts_as_taken", taken);
    suite.both("forms::another_version_renders_the_next_attempt", rotated);
}

/// A merchant's endpoint in a form, and who listens there.
struct Told {
    api: Api,
    receiver: Receiver,
    endpoint: Value,
}

impl Told {
    async fn open(sandbox: &Sandbox, form: &str) -> Self {
        let (api, receiver) = (sandbox.shop.api(), Receiver::start().await);
        let endpoint = api.post("/v1/endpoints", &json!({"url": receiver.url(), "form": form})).await.ok();
        Self { api, receiver, endpoint }
    }

    fn path(&self) -> String {
        format!("/v1/endpoints/{}", text(&self.endpoint["id"]))
    }

    async fn seen(&self) -> Value {
        self.api.get(&self.path()).await.ok()
    }

    /// Sends a test event; answers its delivery once that was tried so often.
    async fn test(&self, attempts: i64) -> Value {
        let queued = self.api.post(&format!("{}/test", self.path()), &json!({})).await.ok();
        self.tried(&queued["delivery_id"], attempts).await
    }

    async fn tried(&self, delivery: &Value, attempts: i64) -> Value {
        eventually(&format!("{attempts} attempts"), || async {
            let seen = self.api.get(&format!("/v1/deliveries/{}", text(delivery))).await.ok();
            if seen["attempts"].as_i64() >= Some(attempts) { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
    }

    /// What came of a payment with this status.
    async fn ipn(&self, status: &str) -> Webhook {
        eventually(&format!("an IPN that says {status}"), || async {
            let got = self.receiver.got();
            let found = got.iter().find(|hook| hook.json()["payment_status"] == status).cloned();
            found.ok_or_else(|| format!("{got:?}"))
        })
        .await
    }
}

/// A hook in use that renders IPNs.
async fn ipn_form(sandbox: &Sandbox, source: Source) -> String {
    let hooks = sandbox.hooks();
    let (hook, version) = hooks.upload(source, false).await;
    hooks.put(&hook, "secrets/ipn_key", &json!({"value": KEY})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    hook
}

/// A hook in use that renders what it is told to.
async fn hostile_form(sandbox: &Sandbox, says: &str) -> String {
    let (hook, _) = sandbox.hooks().upload(Source::Hostile("form"), true).await;
    say(sandbox, &hook, says).await;
    hook
}

async fn say(sandbox: &Sandbox, hook: &str, says: &str) {
    sandbox.hooks().put(hook, "settings", &json!({"says": says})).await;
}

async fn delivered(database: Database, source: Source) {
    let sandbox = Sandbox::start(database).await;
    let hook = ipn_form(&sandbox, source).await;
    let told = Told::open(&sandbox, "nowpayments-form").await;
    assert_eq!(told.endpoint["form"], hook.as_str());
    let invoice = sandbox.paid("12.50", &json!({"order_id": "o-1", "title": "Tee „grün“ & \\"})).await;
    let ipn = told.ipn("finished").await;
    verify_ipn(&ipn, KEY).unwrap_or_else(|why| panic!("{why}: {ipn:?}"));
    assert!(verify_ipn(&ipn, "another key").is_err());
    assert_eq!((ipn.method.as_str(), ipn.header("content-type")), ("POST", Some("application/json")));
    let body = ipn.json();
    assert_eq!((&body["payment_id"], &body["order_id"]), (&invoice["id"], &json!("o-1")));
    assert_eq!((&body["order_description"], &body["price_amount"]), (&invoice["title"], &json!(12.5)));
    // Nothing of the standard's, and no key.
    assert!(ipn.header("webhook-id").is_none() && !format!("{ipn:?}").contains(KEY));
    assert!(!sandbox.shop.kassa.log().contains(KEY));

    // For a test event it has no word: that ends there, and is no failure of the receiver's.
    let skipped = told.test(1).await;
    assert_eq!(
        (&skipped["state"], &skipped["attempt_log"][0]["status"]),
        (&json!("exhausted"), &Value::Null)
    );
    assert!(text(&skipped["why"]).contains("endpoint.test is about no payment"), "{skipped}");
    assert_eq!(
        (&told.seen().await["failures"], &told.seen().await["paused_until"]),
        (&json!(0), &Value::Null)
    );
    // Without its key nothing is sent, and that is said.
    let secret = format!("/v1/hooks/{hook}/secrets/ipn_key");
    told.api.delete(&secret).await.ok();
    let unsigned = sandbox.paid("3", &json!({})).await;
    let waiting = eventually("a delivery that waits for its key", || async {
        let path = format!("/v1/deliveries?state=pending&endpoint_id={}", text(&told.endpoint["id"]));
        let pending = list(&told.api.get(&path).await.ok());
        pending.into_iter().find(|one| one["attempts"] == 1).ok_or_else(|| "none".to_owned())
    })
    .await;
    let waiting = told.tried(&waiting["id"], 1).await;
    let error = text(&waiting["attempt_log"][0]["error"]);
    assert!(error.contains("its secret: ") && error.contains("ipn_key"), "{waiting}");
    sandbox.hooks().put(&hook, "secrets/ipn_key", &json!({"value": "another key"})).await;
    sandbox.shop.delivered().await;
    let of_unsigned = |ipn: &&Webhook| ipn.json()["payment_id"] == unsigned["id"];
    let late: Vec<Webhook> = told.receiver.got().iter().filter(of_unsigned).cloned().collect();
    assert!(late.iter().any(|ipn| ipn.json()["payment_status"] == "finished"), "{late:?}");
    late.iter().for_each(|ipn| verify_ipn(ipn, "another key").unwrap());

    let used = told.api.get(&format!("/v1/hooks/{hook}/usage")).await.ok();
    let attempts =
        "SELECT CAST(SUM(d.attempts) AS TEXT) FROM delivery d JOIN endpoint n ON n.id = d.endpoint_id
                    WHERE n.form_hook_id IS NOT NULL";
    let attempts = sandbox.shop.database.value(attempts).await.unwrap();
    assert_eq!(used["data"][0]["calls"].to_string(), attempts, "{used}");
    assert_eq!(used["data"][0]["http_requests"], 0, "{used}");

    // Back to the standard.
    let path = told.path();
    assert_eq!(told.api.patch(&path, &json!({"form": "standard"})).await.ok()["form"], "standard");
    told.test(1).await;
    let test = told.receiver.got().pop().unwrap();
    verify(&test, &text(&told.endpoint["secret"])).expect("a good signature");
    told.api.delete(&format!("/v1/hooks/{hook}")).await.ok();
}

async fn chosen(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let (hooks, api) = (sandbox.hooks(), sandbox.shop.api());
    let receiver = Receiver::start().await;
    let refused = async |form: &str, why: &str| {
        let made = api.post("/v1/endpoints", &json!({"url": receiver.url(), "form": form})).await;
        assert_eq!(made.problem(422), "/problems/form_refused", "{form}");
        assert_eq!(made.body["field"], "form");
        assert!(text(&made.body["detail"]).contains(why), "{made:?}");
    };
    refused("nobody", "no hook of yours").await;
    refused("hook_00000000000000000000000000", "no hook of yours").await;
    refused("", "no hook of yours").await;
    let (hook, version) = hooks.upload(Source::Hostile("form"), false).await;
    refused("form", "no version in use").await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    hooks.post(&hook, "disable", &json!({})).await;
    refused(&hook, "is disabled").await;
    hooks.post(&hook, "enable", &json!({})).await;
    hooks.upload(Source::Rust("license-keys"), true).await;
    refused("license-keys", "no role `form`").await;
    // Another's hook is as one that is not there.
    let other = sandbox.shop.new_merchant("other", "test").await;
    let other = Api::new(sandbox.shop.kassa.url(), &other.key);
    for form in [hook.as_str(), "form"] {
        let made = other.post("/v1/endpoints", &json!({"url": receiver.url(), "form": form})).await;
        assert_eq!(made.problem(422), "/problems/form_refused");
    }

    let standard = api.post("/v1/endpoints", &json!({"url": receiver.url()})).await.ok();
    assert_eq!(standard["form"], "standard");
    let path = format!("/v1/endpoints/{}", text(&standard["id"]));
    assert_eq!(api.patch(&path, &json!({"form": "form"})).await.ok()["form"], hook.as_str());
    assert_eq!(api.patch(&path, &json!({"events": ["invoice.paid"]})).await.ok()["form"], hook.as_str());
    let listed = list(&api.get("/v1/endpoints").await.ok());
    assert_eq!(listed[0]["form"], hook.as_str(), "{listed:?}");
    // What is in use stays.
    let kept = api.delete(&format!("/v1/hooks/{hook}")).await;
    assert_eq!(kept.problem(409), "/problems/hook_in_use");
    assert_eq!(kept.body["endpoints"], json!([standard["id"]]));
    assert_eq!(api.patch(&path, &json!({"form": "nobody"})).await.problem(422), "/problems/form_refused");
    assert_eq!(api.get(&path).await.ok()["form"], hook.as_str());
    api.delete(&path).await.ok();
    api.delete(&format!("/v1/hooks/{hook}")).await.ok();
    invariants::check(&sandbox.shop.database).await;
}

async fn broken(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hook = hostile_form(&sandbox, "plain").await;
    let told = Told::open(&sandbox, &hook).await;
    let plain = told.test(1).await;
    assert_eq!((&plain["state"], &plain["attempt_log"][0]["status"]), (&json!("delivered"), &json!(204)));
    assert_eq!(told.receiver.got()[0].header("x-kind"), Some("endpoint.test"));

    for (says, why) in [
        ("panic", "broke"),
        ("loop", "processor time"),
        ("no", "the form form: it is told to"),
        ("many", "more than 32 headers"),
        ("host", "the header Host"),
        ("line", "the header x-line"),
        ("secret", "set no secret nobodys"),
        ("large", "the body has 262145 bytes"),
        ("huge", "handed over too much"),
        ("tunnel", "the method CONNECT"),
        ("never", "the status 600"),
    ] {
        say(&sandbox, &hook, says).await;
        told.api.post(&format!("{}/enable", told.path()), &json!({})).await.ok();
        let failed = told.test(1).await;
        assert_eq!(
            (&failed["state"], &failed["attempt_log"][0]["status"]),
            (&json!("pending"), &Value::Null)
        );
        assert!(text(&failed["attempt_log"][0]["error"]).contains(why), "{says}: {failed}");
    }
    assert_eq!(told.receiver.got().len(), 1, "nothing was sent of these");

    // One that is disabled, or that is a form no more, says so too.
    let hooks = sandbox.hooks();
    hooks.post(&hook, "disable", &json!({})).await;
    told.api.post(&format!("{}/enable", told.path()), &json!({})).await.ok();
    let failed = told.test(1).await;
    assert!(text(&failed["attempt_log"][0]["error"]).contains("the hook form is disabled"), "{failed}");
    hooks.post(&hook, "enable", &json!({})).await;
    let active = text(&told.api.get(&format!("/v1/hooks/{hook}")).await.ok()["active"]["id"]);
    // That one has no settings.
    hooks.put(&hook, "settings", &json!({})).await;
    hooks.try_upload(&hostile_as("form", "words"), true).await.ok();
    let failed = told.test(1).await;
    assert!(text(&failed["attempt_log"][0]["error"]).contains("no role `form`"), "{failed}");
    hooks.post(&hook, "activate", &json!({"version_id": active})).await;

    // While it loops, the other endpoint hears of everything.
    say(&sandbox, &hook, "loop").await;
    told.api.post(&format!("{}/enable", told.path()), &json!({})).await.ok();
    sandbox.paid("5", &json!({})).await;
    sandbox.shop.receiver.wait_for("invoice.paid", 1).await;
    eventually("an attempt that looped", || async {
        let path = format!("/v1/deliveries?state=pending&endpoint_id={}", text(&told.endpoint["id"]));
        let pending = list(&told.api.get(&path).await.ok());
        let tried = |one: &&Value| one["event_type"] == "invoice.detected" && one["attempts"] != 0;
        if pending.iter().any(|one| tried(&one)) { Ok(()) } else { Err(format!("{pending:?}")) }
    })
    .await;
    assert_eq!(told.receiver.got_kind("invoice.paid").len(), 0);
    // Nothing is lost.
    say(&sandbox, &hook, "plain").await;
    told.api.post(&format!("{}/enable", told.path()), &json!({})).await.ok();
    sandbox.shop.delivered().await;
    let paid = told.receiver.got_kind("invoice.paid");
    assert_eq!(paid.len(), 1);
    assert_ne!(told.receiver.got_kind("invoice.detected")[0].header("x-attempt"), Some("1"));
    assert_eq!(told.receiver.got_kind("endpoint.test").len(), 14);
    let used = told.api.get(&format!("/v1/hooks/{hook}/usage")).await.ok();
    assert!(used["data"][0]["failed"].as_i64().unwrap() >= 11, "{used}");
}

/// Another merchant's endpoints, each in a form that takes all the processor time that it may, before a form of the shop's
/// has anything to render.
async fn slow(database: Database) {
    const ENDPOINTS: i64 = 30;
    // Two forms at once, one of each merchant's.
    let options = KassaOptions::default()
        .with("KASSA_HOOKS__CALLS_MAX", "4")
        .with("KASSA_HOOKS__CONCURRENCY_PER_MERCHANT", "1");
    let sandbox = Sandbox::with(database, options).await;
    let told = Told::open(&sandbox, &hostile_form(&sandbox, "plain").await).await;
    let other = sandbox.shop.new_merchant("other", "test").await;
    let (other, receiver) = (Api::new(sandbox.shop.kassa.url(), &other.key), Receiver::start().await);
    let hooks = Hooks(other.clone());
    let (hook, _) = hooks.upload(Source::Hostile("form"), true).await;
    hooks.put(&hook, "settings", &json!({"says": "loop"})).await;
    let mut paths = Vec::new();
    for _ in 0..ENDPOINTS {
        let endpoint = json!({"url": receiver.url(), "form": hook});
        let endpoint = other.post("/v1/endpoints", &endpoint).await.ok();
        paths.push(format!("/v1/endpoints/{}/test", text(&endpoint["id"])));
    }
    for path in &paths {
        other.post(path, &json!({})).await.ok();
    }
    sandbox.paid("5", &json!({})).await;
    told.receiver.wait_for("invoice.paid", 1).await;
    let asked = || async {
        let asked = format!("SELECT CAST(SUM(attempts) AS TEXT) FROM hook_usage WHERE hook_id = '{hook}'");
        sandbox.shop.database.number(&asked).await
    };
    // It did not wait until each of them had its turn.
    let before = asked().await;
    assert!(before < ENDPOINTS, "{before}");
    eventually("the others to go on", || async {
        let now = asked().await;
        if now > before { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    assert!(receiver.got().is_empty());
    invariants::check(&sandbox.shop.database).await;
}

async fn taken(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hook = hostile_form(&sandbox, "found").await;
    let told = Told::open(&sandbox, "form").await;
    told.receiver.script([Reply::Status(200), Reply::Redirect("http://127.0.0.1:1/".to_owned())]);
    let delivery = told.test(2).await;
    let log = list(&json!({"data": delivery["attempt_log"]}));
    assert_eq!(
        (&delivery["state"], &log[0]["status"], &log[0]["error"]),
        (&json!("delivered"), &json!(302), &Value::Null)
    );
    assert_eq!((&log[1]["status"], &log[1]["error"]), (&json!(200), &json!("status 200")));
    assert!(told.receiver.got().iter().all(|hook| hook.method == "PUT"));

    say(&sandbox, &hook, "text").await;
    told.receiver.script([Reply::Json(200, json!("no")), Reply::Json(201, json!("well, *ok*"))]);
    let delivery = told.test(2).await;
    assert_eq!(
        (&delivery["state"], &delivery["attempt_log"][0]["status"]),
        (&json!("delivered"), &json!(201))
    );
    let error = text(&delivery["attempt_log"][1]["error"]);
    assert!(error.contains("without the text that the form wants"), "{error}");
    // Who wants no more is heard, unless the form takes that.
    told.receiver.script([Reply::Status(410)]);
    let delivery = told.test(1).await;
    assert_eq!((&delivery["state"], &told.seen().await["state"]), (&json!("exhausted"), &json!("disabled")));
    invariants::check(&sandbox.shop.database).await;
}

async fn rotated(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hook = ipn_form(&sandbox, Source::Rust("nowpayments-form")).await;
    let told = Told::open(&sandbox, &hook).await;
    told.receiver.then(Reply::Status(500));
    let invoice = sandbox.invoice("5", &json!({})).await;
    sandbox.pay(std::slice::from_ref(&invoice)).await;
    eventually("the first attempt", || async {
        if told.receiver.got().is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let next = [("0.1.0", "0.2.0"), ("\"content-type\":", "\"x-version\": \"2\", \"content-type\":")];
    sandbox.hooks().try_upload(&patched("nowpayments-form", &next), true).await.ok();
    sandbox.shop.until(&invoice, "paid").await;
    told.receiver.then(Reply::Status(204));
    told.api.post(&format!("{}/enable", told.path()), &json!({})).await.ok();
    sandbox.shop.delivered().await;
    let got = told.receiver.got();
    assert_eq!(got[0].header("x-version"), None);
    let next = got.iter().find(|ipn| ipn.header("x-version") == Some("2")).expect("the other version's");
    // Both say the same, and both are signed.
    assert_eq!(got[0].json(), next.json());
    got.iter().for_each(|ipn| verify_ipn(ipn, KEY).unwrap());
}
