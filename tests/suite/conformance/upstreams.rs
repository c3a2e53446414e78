//! Upstreams that fail, lag, repeat, leave out and refuse; and no server for a while.

use std::{collections::BTreeSet, time::Duration};

use kassa_tests::{Change, Facade, Fault, Proxy, Refused, Rule, eventually, text, within};
use serde_json::{Value, json};

use super::{
    SANDBOX,
    stage::{Stage, manifests},
};

/// A rest after a fault may be followed by another one.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn downtime_is_caught_up(mut stage: Stage) {
    let mut invoices = Vec::new();
    for number in 0..6 {
        let asset = if number % 2 == 0 { stage.token() } else { stage.coin() };
        invoices.push(stage.invoice(&asset.symbol, "3").await);
    }
    stage.caught_up().await;
    if stage.proxy.is_some() {
        stage.shop.kassa.kill();
    }
    for invoice in &invoices {
        stage.mine(20).await;
        stage.pay(invoice).await;
        stage.mine(20).await;
    }
    if let Some(proxy) = &stage.proxy {
        proxy.reset_counts();
    }
    stage.shop.kassa.restart().await;
    for invoice in &invoices {
        stage.until(invoice, "paid").await;
    }
    stage.settled().await;
    if let Some(proxy) = &stage.proxy {
        let counts = proxy.counts();
        println!("  conformance: 246 blocks took {} requests: {:?}", counts.requests, counts.methods);
    }
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
    // One that was on its way when the server was killed comes twice, under the same id.
    let told = stage.receiver.got_kind("invoice.paid");
    let ids: BTreeSet<_> = told.iter().map(|hook| hook.header("webhook-id")).collect();
    assert_eq!(ids.len(), 6);
    stage.no_retraction().await;
}

/// A payment that nobody could read at first is read when the fault is over.
pub(super) async fn faults_cost_time_alone(stage: Stage) {
    let mut number = 1;
    if stage.manifest["plugin"] == SANDBOX {
        for kind in ["upstream", "rate-limited", "malformed", "behind"] {
            let outage = json!({"do": "outage", "ms": 600, "kind": kind});
            stage.chain.simulate(&stage.kassa.operator(), &outage).await;
            through(&stage, &format!("an outage, {kind}"), number).await;
            number += 1;
        }
    } else {
        for fault in [
            Fault::Page(200),
            Fault::Truncated,
            Fault::Cut,
            Fault::HangUp,
            Fault::Status { code: 503, retry_after_s: None },
            Fault::Changed(Change::new(|_, _| Some(b"[]".to_vec()))),
            Fault::Changed(Change::new(|_, _| Some(b"null".to_vec()))),
            Fault::Changed(Change::new(|_, _| Some(br#"{"error":"oops"}"#.to_vec()))),
        ] {
            stage.proxy().reset_counts();
            stage.proxy().add(Rule::new(fault.clone()).times(1));
            through(&stage, &format!("{fault:?}"), number).await;
            assert_eq!(stage.proxy().counts().spoiled, 1, "{fault:?} struck");
            stage.proxy().clear();
            number += 1;
        }
    }
    stage.settled().await;
    stage.no_retraction().await;
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// Providers of a free tier: as long as anything is served, the chain is read.
pub(super) async fn who_asks_for_less_is_obeyed(mut stage: Stage) {
    let mut faults = vec![Fault::PerSecond(3, Refused::Status429)];
    faults.extend(match stage.manifest["plugin"].as_str().expect("a plugin") {
        "evm" => vec![
            Fault::PerSecond(12, Refused::Entries),
            Fault::PerSecond(3, Refused::Entries),
            Fault::BatchLimit(3),
            Fault::BatchLimit(1),
            Fault::BatchBytes(6_000),
        ],
        "tron" => vec![Fault::PerSecond(1, Refused::Daily)],
        _ => vec![Fault::PerSecond(1, Refused::Toncenter), Fault::PerSecond(1, Refused::Status429)],
    });
    for (number, fault) in (1..).zip(faults) {
        anew(&stage).await;
        stage.proxy().add(Rule::new(fault.clone()));
        // Enough to be refused.
        stage.bury().await;
        stage.add_upstream(&stage.network, &stage.proxy().url()).await;
        through(&stage, &format!("{fault:?}"), number).await;
        let counts = stage.proxy().counts();
        assert!(counts.spoiled > 0, "{fault:?} struck: {counts:?}");
        // A call that was under way may have ended on the one before.
        let learned = eventually("what was learned", || async {
            let health = stage.upstreams().await.remove(0)["health"].take();
            let is_learned = match fault {
                Fault::PerSecond(..) => health["pace_per_s"].is_string(),
                _ => health["learned"].as_str().is_some_and(|notes| notes.contains("batch=")),
            };
            if is_learned { Ok(health) } else { Err(health.to_string()) }
        })
        .await;
        println!(
            "  conformance: {} of {} requests refused by {fault:?}; pace {}, learned {}",
            counts.spoiled, counts.requests, learned["pace_per_s"], learned["learned"]
        );
        stage.proxy().clear();
    }
    // A restart forgets nothing of it.
    let sql = format!("SELECT learned FROM upstream WHERE network = '{}'", stage.network);
    eventually("what was learned, in the database", || async {
        let kept = stage.database.value(&sql).await.unwrap_or_default();
        if kept.contains("milli") || kept.contains("batch=") { Ok(()) } else { Err(kept) }
    })
    .await;
    stage.shop.kassa.restart().await;
    let health = stage.upstreams().await.remove(0)["health"].take();
    assert!(health["pace_per_s"].is_string() || health["learned"].is_string(), "{health}");
    stage.settled().await;
    stage.no_retraction().await;
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// Providers that serve a part of what is asked, and refuse the rest in all the ways that are known.
pub(super) async fn a_part_is_enough(stage: Stage) {
    let status = |code, retry_after_s| Fault::Status { code, retry_after_s };
    let whole = |code, message| Fault::Error { code, message };
    // Every other request.
    let mut faults =
        vec![status(402, None), status(500, None), Fault::Page(200), Fault::Page(403), Fault::Parts];
    let is_evm = stage.manifest["plugin"] == "evm";
    if is_evm {
        faults.extend([
            whole(-32003, "response too large"),
            whole(-32005, "limit exceeded"),
            whole(-32600, "batch too large"),
            whole(-32603, "internal error"),
            Fault::BatchRefused,
        ]);
    }
    let mut rules: Vec<Rule> = faults.into_iter().map(|fault| Rule::new(fault).one_in(2)).collect();
    // It says that it was asked too often, a few times.
    let busy = [status(429, Some(1)), Fault::Page(429)];
    rules.extend(busy.map(|fault| Rule::new(fault).one_in(2).times(4)));
    // At times, and as a quota ends.
    let words = match stage.manifest["plugin"].as_str().expect("a plugin") {
        "evm" => {
            rules.push(Rule::new(Fault::BatchTooLarge));
            vec![
                Refused::Status429,
                Refused::Entries,
                Refused::Capacity,
                Refused::Whole,
                Refused::WholeInList,
                Refused::Words,
            ]
        }
        "tron" => vec![Refused::Status429, Refused::Daily, Refused::Words],
        _ => vec![Refused::Status429, Refused::Toncenter, Refused::Words],
    };
    let period = Duration::from_secs(2);
    for (number, words) in words.into_iter().enumerate() {
        rules.push(Rule::new(if number % 2 == 0 {
            Fault::Quota(2, words)
        } else {
            Fault::Alternately { period, odd: true, words }
        }));
    }
    for (number, rule) in (1..).zip(rules) {
        anew(&stage).await;
        stage.proxy().add(rule.clone());
        stage.add_upstream(&stage.network, &stage.proxy().url()).await;
        through(&stage, &format!("{rule:?}"), number).await;
        let counts = stage.proxy().counts();
        assert!(counts.spoiled > 0, "{rule:?} struck: {counts:?}");
        stage.proxy().clear();
    }
    // Two that are limited by turns: one of them serves at all times.
    anew(&stage).await;
    let second = Proxy::start(stage.chain.facade().url()).await;
    let limit = |odd| Rule::new(Fault::Alternately { period, odd, words: Refused::Status429 });
    stage.proxy().add(limit(false));
    second.add(limit(true));
    stage.add_upstream(&stage.network, &stage.proxy().url()).await;
    stage.add_upstream(&stage.network, &second.url()).await;
    for number in [3, 4] {
        through(&stage, "two that are limited by turns", number).await;
    }
    stage.settled().await;
    stage.no_retraction().await;
    assert_eq!(stage.unmatched().await, Vec::<Value>::new());
}

/// Takes all upstreams away: of the next one nothing was learned yet.
async fn anew(stage: &Stage) {
    for upstream in stage.upstreams().await {
        let path = format!("/v1/operator/upstreams/{}", text(&upstream["id"]));
        stage.kassa.operator().delete(&path).await.ok();
    }
    stage.proxy().reset_counts();
}

/// Pays an invoice while something is wrong, and waits for it.
async fn through(stage: &Stage, what: &str, number: i32) {
    let asset = if number % 2 == 0 { stage.token() } else { stage.coin() };
    let invoice = stage.invoice(&asset.symbol, &number.to_string()).await;
    stage.pay(&invoice).await;
    stage.bury().await;
    paid(stage, &invoice, what).await;
    println!("  conformance: {} paid through {what}", asset.symbol);
}

/// Waits for a payment that comes through this.
pub(super) async fn paid(stage: &Stage, invoice: &Value, what: &str) {
    within(PATIENCE, &format!("a payment through {what}"), || async {
        let seen = stage.get_invoice(invoice).await;
        if seen["status"] == "paid" { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}

/// One of three answers comes from a backend that is behind, and then a second upstream that is behind takes over.
pub(super) async fn a_stale_backend_loses_nothing(stage: Stage) {
    stage.chain.facade().control("lag", json!({"blocks": 3})).await;
    stage.proxy().add(Rule::new(Fault::Stale).one_in(3));
    let mut invoices = Vec::new();
    for number in 1..=6 {
        let asset = if number % 2 == 0 { stage.token() } else { stage.coin() };
        let invoice = stage.invoice(&asset.symbol, &number.to_string()).await;
        stage.pay(&invoice).await;
        stage.mine(1).await;
        invoices.push(invoice);
    }
    eventually("answers of the stale backend", || async {
        let counts = stage.proxy().counts();
        if counts.spoiled >= 2 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    let second = Proxy::start(stage.chain.facade().url()).await;
    second.add(Rule::new(Fault::Stale));
    let body = json!({"url": second.url(), "calls_per_s": 1000, "priority": 5});
    let path = format!("/v1/operator/networks/{}/upstreams", stage.network);
    stage.kassa.operator().post(&path, &body).await.ok();
    eventually("the second upstream to be asked", || async {
        stage.proxy().clear();
        stage.proxy().add(Rule::new(Fault::HangUp));
        let counts = second.counts();
        if counts.spoiled >= 2 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    stage.proxy().clear();
    stage.bury().await;
    for invoice in &invoices {
        paid(&stage, invoice, "a stale backend").await;
    }
    stage.settled().await;
    stage.no_retraction().await;
    assert_eq!(stage.receiver.got_kind("invoice.reverted").len(), 0);
}

/// Lists in answers that lack their last element, or have all of them twice: never a lost or a doubled payment.
pub(super) async fn torn_and_doubled_pages_lose_nothing(stage: Stage) {
    let doubled = |_: &str, mut answer: Value| {
        change_lists(&mut answer, &|list| list.extend(list.clone())).then(|| answer.to_string().into_bytes())
    };
    let torn = |_: &str, mut answer: Value| {
        change_lists(&mut answer, &|list| drop(list.pop())).then(|| answer.to_string().into_bytes())
    };
    for (number, change) in [(1, Change::new(doubled)), (2, Change::new(torn))] {
        stage.proxy().reset_counts();
        let mut invoices = Vec::new();
        stage.proxy().add(Rule::new(Fault::Changed(change)).one_in(2));
        for asset in [stage.token(), stage.token(), stage.coin()] {
            let invoice = stage.invoice(&asset.symbol, &number.to_string()).await;
            stage.pay(&invoice).await;
            invoices.push(invoice);
        }
        eventually("spoiled answers", || async {
            let counts = stage.proxy().counts();
            if counts.spoiled >= 4 { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        stage.proxy().clear();
        stage.bury().await;
        for invoice in &invoices {
            paid(&stage, invoice, "torn pages").await;
        }
    }
    stage.settled().await;
    assert_eq!(stage.transfers().await.len(), 6, "each payment once");
    stage.no_retraction().await;
}

/// Changes every list of records in an answer; whether there was one with anything in it.
fn change_lists(value: &mut Value, change: &dyn Fn(&mut Vec<Value>)) -> bool {
    match value {
        Value::Array(list) => {
            let mut any = false;
            for inner in list.iter_mut() {
                any |= change_lists(inner, change);
            }
            if list.first().is_some_and(Value::is_object) {
                change(list);
                any = true;
            }
            any
        }
        Value::Object(fields) => {
            let changed: Vec<bool> = fields.values_mut().map(|inner| change_lists(inner, change)).collect();
            changed.contains(&true)
        }
        _ => false,
    }
}

/// Asked too often: left alone for as long as it says, then read on.
pub(super) async fn limits_are_kept_to(stage: Stage) {
    for (number, retry_after_s) in [(1, None), (2, Some(3))] {
        let invoice = stage.invoice(&stage.token().symbol, &number.to_string()).await;
        stage.proxy().reset_counts();
        stage.proxy().add(Rule::new(Fault::Status { code: 429, retry_after_s }));
        stage.pay(&invoice).await;
        eventually("a refusal", || async {
            let state = stage.upstreams().await.remove(0);
            if state["health"]["state"] == "rate_limited" { Ok(()) } else { Err(state.to_string()) }
        })
        .await;
        // The scan that was refused has ended: what comes next is the next one.
        let asked = stage.proxy().counts().times.len();
        let times = eventually("another try", || async {
            let times = stage.proxy().counts().times;
            if times.len() > asked { Ok(times) } else { Err(format!("{times:?}")) }
        })
        .await;
        let left_alone = times[asked] - times[asked - 1];
        let wait = Duration::from_secs(retry_after_s.unwrap_or(1).into());
        assert!(left_alone >= wait, "left alone for {left_alone:?} and not {wait:?}");
        stage.proxy().clear();
        stage.bury().await;
        paid(&stage, &invoice, "a limit").await;
    }
    stage.settled().await;
}

pub(super) async fn another_chain_is_not_believed(mut stage: Stage) {
    let invoice = stage.invoice(&stage.token().symbol, "5").await;
    let before = stage.database.rows("SELECT network, CAST(height AS TEXT), hash FROM cursor").await;
    stage.shop.kassa.kill();
    let folder = text(&stage.manifest["plugin"]);
    let known = manifests(&folder).into_iter().map(|manifest| text(&manifest["caip2"]));
    let caip2 = known.into_iter().find(|caip2| stage.manifest["caip2"] != *caip2);
    let other = Facade::start(&folder, &caip2.expect("a manifest of another network")).await;
    other.control("mine", json!({"blocks": 200})).await;
    stage.shop.kassa.restart().await;
    let operator = stage.kassa.operator();
    for upstream in stage.upstreams().await {
        operator.delete(&format!("/v1/operator/upstreams/{}", text(&upstream["id"]))).await.ok();
    }
    stage.add_upstream(&stage.network, other.url()).await;
    let wrong = eventually("an upstream that is known to be of another chain", || async {
        let seen = stage.upstreams().await.remove(0);
        if seen["health"]["state"] == "wrong_network" { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    let now = stage.database.rows("SELECT network, CAST(height AS TEXT), hash FROM cursor").await;
    assert_eq!(now, before, "nothing is read of another chain");
    operator.delete(&format!("/v1/operator/upstreams/{}", text(&wrong["id"]))).await.ok();
    stage.add_upstream(&stage.network, &stage.proxy().url()).await;
    stage.pay(&invoice).await;
    stage.bury().await;
    stage.until(&invoice, "paid").await;
    stage.settled().await;
    stage.no_retraction().await;
}
