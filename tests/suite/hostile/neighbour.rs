//! What others notice of an attack.
//!
//! Measured is what a merchant gets from its hook: the time from asking for a run to its end, with the queue, the
//! claim, the call and its reads of storage, the commit, and the requests of the API around them. The neighbour asks
//! for one run after the other; the attacker has hundreds that are due, and ends every pause of its failing hook.
//!
//! The 99th percentile may be twice the quiet one. That is printed and not asserted: on a machine that does other
//! things meanwhile such a percentile says more about these. What is asserted has nothing to do with time: every run
//! of the neighbour's is done by one call while the attack goes on, before what was due earlier of the attacker's;
//! and the attack is stopped by the limit that it is meant for. A payment of the neighbour's is credited meanwhile, which is
//! timed from its order on.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::{Either, join_all, select};
use kassa_tests::{
    Answer, Database, KassaOptions, Receiver, Reply, Suite, asking, carrying, eventually, hostile, now_ms,
    quiet, text,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Stage, connections, runs::STOPPED, uploads};

/// Runs of the neighbour in an attacked stretch, and in the quiet one before it.
const ATTACKED: usize = 100;
const QUIET: usize = 50;
/// Quiet runs that an attacked stretch is compared with: the last ones.
const COMPARED: usize = 200;
/// Runs that the neighbour has done, and asks for again in turn.
const SOLD: usize = 100;
/// Payments that each failing hook of the attacker's has runs for.
const PAYMENTS: i64 = 400;
/// The neighbour looks so often whether its run is done.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A run that takes longer has been forgotten.
const RUN_MAX: Duration = Duration::from_secs(60);
/// How often the attacker starts anew what came to an end: its requests alone are no flood.
const PRESS_EVERY: Duration = Duration::from_millis(40);
/// Runs that it asks for again each time.
const AGAIN: usize = 2;
const UPLOADS_AT_ONCE: usize = 8;
/// So long it keeps connections on which it reads nothing, before it opens others.
const UNREAD_FOR: Duration = Duration::from_secs(1);

enum Attack {
    /// Ends every pause of this hook, whose calls fail: what they do not do waits, and is more than they can do.
    Failing(String),
    /// Runs this hook again and again, with these settings. It goes on; what it is refused stands in its log.
    Answered(String, Value),
    /// Lets this component be checked and compiled over and over, by so many requests at once.
    Uploads(Vec<u8>, usize),
    /// Asks at this address over and over, by so many requests at once, and is answered by one of these statuses.
    Asks(Method, String, Value, usize, &'static [u16]),
    /// Asks for the largest document on so many connections, reads no answer, and begins anew.
    ReadsNothing(usize),
}

pub(super) fn cases(suite: &mut Suite) {
    suite.alone("hostile::neighbours_are_served_during_every_attack", neighbours);
}

async fn neighbours(database: Database) {
    // What an upload is refused for cheaply is a case of its own; here each is compiled.
    let options = KassaOptions::default().with("KASSA_HOOKS__UPLOADS_PER_HOUR", "1000000");
    // The neighbour asks as often as it can.
    let mut stage = Stage::with(database, options.with("KASSA_HTTP__RATE_PER_10S", "1000000")).await;
    let outside = Receiver::start().await;
    outside.then(Reply::Endless);
    let attacks = stage.prepare(&outside).await;
    let mut runs = stage.sells().await.into_iter().cycle();
    let mut quiet = stage.sample(&mut runs, COMPARED, None).await;
    let mut within = 0;
    println!("hostile: neighbour of    p50 ms   quiet  p99 ms   quiet   times  the attack meanwhile");
    for (name, attack, limit) in &attacks {
        quiet.extend(stage.sample(&mut runs, QUIET, None).await);
        quiet.drain(..quiet.len() - COMPARED);
        let (attacked, did) = stage.attacked(attack, limit, &mut runs).await;
        let (usual, p99) = (percentile(&quiet, 99), percentile(&attacked, 99));
        let over = p99 > usual * 2;
        within += usize::from(!over);
        println!(
            "hostile: {name:<15} {:>7} {:>7} {:>7} {:>7} {:>7}{} {did}; {limit}",
            ms(percentile(&attacked, 50)),
            ms(percentile(&quiet, 50)),
            ms(p99),
            ms(usual),
            tenths(p99.as_micros() * 10 / usual.as_micros()),
            if over { "!" } else { " " },
        );
    }
    println!(
        "hostile: neighbours: p99 within twice its quiet value during {within} of {} attacks",
        attacks.len()
    );
    stage.is_well().await;
}

impl Stage {
    /// The attacks, and the words of the limit that stops each.
    async fn prepare(&mut self, outside: &Receiver) -> Vec<(&'static str, Attack, &'static str)> {
        let mut attacks = Vec::new();
        for (name, limit) in STOPPED {
            attacks.push((name, Attack::Failing(self.upload(&hostile(name)).await), limit));
        }
        let mut invoices = Vec::new();
        for _ in 0..PAYMENTS {
            invoices.push(self.evil_invoice().await);
        }
        self.sandbox.pay(&invoices).await;
        // The runs are there, and wait until it is their hook's turn.
        for (name, attack, _) in &attacks {
            let Attack::Failing(hook) = attack else { continue };
            eventually(&format!("the runs of {name}"), || async {
                let runs = self.number(&format!("COUNT(*) FROM hook_run WHERE hook_id = '{hook}'")).await;
                if runs >= PAYMENTS { Ok(()) } else { Err(runs.to_string()) }
            })
            .await;
            self.evil_hooks().post(hook, "disable", &json!({})).await;
        }
        let log = self.upload(&hostile("log")).await;
        let storage = json!({"attack": "storage"});
        let endless = json!({"attack": "send", "to": [outside.url()], "url": outside.url()});
        let services = self.services(&storage).await;
        // For when it turns to that server.
        let token = json!({"value": "TOP-SECRET", "host": outside.origin().trim_start_matches("http://")});
        self.evil_hooks().put(&services, "secrets/token", &token).await;
        let last: Vec<Value> = join_all((0..8).map(|_| self.evil_invoice())).await;
        self.sandbox.pay(&last).await;
        for hook in [&log, &services] {
            self.evil_hooks().wait_for(hook, "done", last.len()).await;
        }
        let used = self.evil().get(&format!("/v1/hooks/{log}")).await.ok();
        let replays =
            (format!("/v1/hooks/{log}/replay"), json!({"version_id": used["active"]["id"], "limit": 100}));
        let reads = "/v1/hook_runs?state=rejected&limit=100".to_owned();
        let costly =
            self.evil_hooks().try_upload(&asking("costly", &uploads::alternatives()), false).await.ok();
        let settings = format!("/v1/hooks/{}/settings", text(&costly["hook"]["id"]));
        let mines = json!({"do": "mine", "blocks": 100});
        let functions = carrying("bomb", &uploads::functions(5_000));
        let checks = carrying("bomb", &uploads::wide_calls(500_000));
        attacks.extend([
            ("log", Attack::Answered(log, json!({})), "budget of log lines"),
            ("storage-flood", Attack::Answered(services.clone(), storage), "bytes written in this call"),
            ("endless-answer", Attack::Answered(services, endless), "larger than what is left"),
            ("start-loop", Attack::Uploads(hostile("start-loop"), 1), "first-call-failed"),
            ("uploads", Attack::Uploads(quiet("flood"), 1), "taken"),
            ("uploads-at-once", Attack::Uploads(functions, UPLOADS_AT_ONCE), "uploads_limited"),
            ("wide-calls", Attack::Uploads(checks, 1), "does-not-compile"),
            (
                "replays",
                Attack::Asks(Method::POST, replays.0, replays.1, 64, &[200, 503]),
                "one of a merchant at a time",
            ),
            (
                "reads",
                Attack::Asks(Method::GET, reads, Value::Null, 16, &[200, 503]),
                "two of a merchant at a time",
            ),
            (
                "costly-settings",
                Attack::Asks(Method::PUT, settings, uploads::many_numbers(), 8, &[422, 503]),
                "a million steps",
            ),
            (
                "sandbox",
                Attack::Asks(Method::POST, "/v1/sandbox/sandbox".to_owned(), mines, 8, &[200, 429, 503]),
                "20 actions a second",
            ),
            ("reads-nothing", Attack::ReadsNothing(64), "hung up on after 10 s"),
        ]);
        attacks
    }

    async fn number(&self, what: &str) -> i64 {
        let (number, rest) = what.split_once(" FROM").expect("a column and a table");
        self.sandbox.shop.database.number(&format!("SELECT CAST({number} AS TEXT) FROM{rest}")).await
    }

    /// Runs of the neighbour's that are done.
    async fn sells(&self) -> Vec<String> {
        let (hooks, mut invoices) = (self.sandbox.hooks(), Vec::new());
        for number in 0..SOLD {
            let path = format!("storage/key%2F{number}");
            hooks.put(&self.shop_hook, &path, &json!({"text": format!("KEY-{number}")})).await;
            invoices.push(self.sandbox.invoice("5", &json!({})).await);
        }
        self.sandbox.pay(&invoices).await;
        let runs = hooks.wait_for(&self.shop_hook, "done", SOLD).await;
        runs.iter().map(|run| text(&run["id"])).collect()
    }

    /// How long the neighbour's runs take, as its merchant sees it. Each is done, by one call, before the next one is
    /// asked for, and before all that was due earlier of the attacker's hook.
    async fn sample(
        &self,
        runs: &mut impl Iterator<Item = String>,
        count: usize,
        attacker: Option<&str>,
    ) -> Vec<Duration> {
        let (api, hooks, mut took) = (self.sandbox.shop.api(), self.sandbox.hooks(), Vec::new());
        for run in runs.take(count) {
            let (began, asked_at) = (Instant::now(), now_ms());
            let asked = api.post(&format!("/v1/hook_runs/{run}/run_again"), &json!({})).await.ok();
            let done = async {
                loop {
                    let now = hooks.run(&json!(run)).await;
                    if now["state"] != "pending" {
                        return now;
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            let done = tokio::time::timeout(RUN_MAX, done).await.expect("the neighbour's run is made");
            took.push(began.elapsed());
            assert_eq!(done["state"], "done", "{done}");
            let attempts = |run: &Value| run["attempts"].as_i64().expect("a number");
            assert_eq!(attempts(&done), attempts(&asked) + 1, "one call is enough: {done}");
            if let Some(hook) = attacker {
                let due =
                    format!("COUNT(*) FROM hook_run_queue WHERE hook_id = '{hook}' AND due_at < {asked_at}");
                assert!(self.number(&due).await > 0, "the neighbour waited for all that the attacker had");
            }
        }
        took
    }

    /// The neighbour's times during an attack, and what the attack did meanwhile.
    async fn attacked(
        &self,
        attack: &Attack,
        limit: &str,
        runs: &mut impl Iterator<Item = String>,
    ) -> (Vec<Duration>, String) {
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let credit = Cell::new(Duration::ZERO);
        let measure = Box::pin(async {
            let before = self.under_way(attack, &begun).await;
            let (piled, hook) = match attack {
                Attack::Failing(hook) => (Some(hook.as_str()), hook.as_str()),
                Attack::Answered(hook, _) => (None, hook.as_str()),
                Attack::Uploads(..) | Attack::Asks(..) | Attack::ReadsNothing(_) => (None, ""),
            };
            let times = self.sample(runs, ATTACKED, piled).await;
            let calls = self.calls(hook).await - before;
            // From the order to the payment's credit, with the blocks between them.
            let began = Instant::now();
            self.sandbox.paid("5", &json!({})).await;
            credit.set(began.elapsed());
            (times, calls)
        });
        let press = Box::pin(self.press(attack, limit, &begun, &ended));
        // An attack does not end by itself.
        let Either::Left(((times, calls), _)) = select(measure, press).await;
        let credit = format!("credit in {} ms", ms(credit.get()));
        match attack {
            Attack::Failing(hook) => {
                self.evil_hooks().post(hook, "disable", &json!({})).await;
                let otherwise = format!(
                    "COUNT(*) FROM hook_attempt JOIN hook_run ON id = run_id
                     WHERE hook_id = '{hook}' AND (outcome <> 'failed' OR hook_attempt.note NOT LIKE '%{limit}%')"
                );
                assert_eq!(self.number(&otherwise).await, 0, "calls that ended otherwise than by: {limit}");
            }
            Attack::Answered(hook, _) => {
                // Those under way end too.
                eventually(&format!("a log that says: {limit}"), || async {
                    let mut logs = Vec::new();
                    for run in self.evil_hooks().runs(hook).await {
                        let calls = self.evil_hooks().run(&run["id"]).await["calls"].take();
                        logs.extend(
                            calls
                                .as_array()
                                .and_then(|calls| calls.last())
                                .map(|call| call["log"].to_string()),
                        );
                    }
                    if logs.iter().any(|log| log.contains(limit)) { Ok(()) } else { Err(format!("{logs:?}")) }
                })
                .await;
            }
            // Each answer was looked at.
            Attack::Uploads(..) | Attack::Asks(..) | Attack::ReadsNothing(_) => {
                let (ended, begun) = (ended.into_inner(), begun.into_inner());
                return (times, format!("{credit}; {ended} of {begun} ended"));
            }
        }
        (times, format!("{credit}; {calls} calls"))
    }

    /// Waits until the attack has begun; answers how many calls its hook has made.
    async fn under_way(&self, attack: &Attack, begun: &AtomicUsize) -> i64 {
        let (Attack::Failing(hook) | Attack::Answered(hook, _)) = attack else {
            eventually("a request to be under way", || async {
                if begun.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("none".to_owned()) }
            })
            .await;
            return 0;
        };
        let before = self.calls(hook).await;
        eventually("the attack's first call", || async {
            let calls = self.calls(hook).await;
            if calls > before { Ok(calls) } else { Err(calls.to_string()) }
        })
        .await
    }

    async fn calls(&self, hook: &str) -> i64 {
        self.number(&format!("COALESCE(SUM(attempts), 0) FROM hook_usage WHERE hook_id = '{hook}'")).await
    }

    async fn press(&self, attack: &Attack, limit: &str, begun: &AtomicUsize, ended: &AtomicUsize) -> ! {
        let api = self.evil();
        match attack {
            Attack::Failing(hook) => loop {
                api.post(&format!("/v1/hooks/{hook}/enable"), &json!({})).await.ok();
                tokio::time::sleep(PRESS_EVERY).await;
            },
            Attack::Answered(hook, settings) => {
                self.evil_hooks().put(hook, "settings", settings).await;
                let runs = self.evil_hooks().runs(hook).await;
                for number in 0.. {
                    let run = text(&runs[number % runs.len()]["id"]);
                    // Refused while it is under way.
                    api.post(&format!("/v1/hook_runs/{run}/run_again"), &json!({})).await;
                    if number % AGAIN == 0 {
                        tokio::time::sleep(PRESS_EVERY).await;
                    }
                }
                unreachable!("there is always another number")
            }
            Attack::Uploads(wasm, at_once) => {
                let attacker = || async {
                    loop {
                        begun.fetch_add(1, Ordering::Relaxed);
                        let answer = self.evil_hooks().validate(wasm).await;
                        ended.fetch_add(1, Ordering::Relaxed);
                        let (how, busy) = (how(&answer), *at_once > 1);
                        assert!(how == limit || (busy && how == "taken"), "{answer:?}");
                        if how == "uploads_limited" {
                            tokio::time::sleep(PRESS_EVERY).await;
                        }
                    }
                };
                join_all((0..*at_once).map(|_| attacker())).await;
                unreachable!("no attacker ends")
            }
            Attack::Asks(method, path, body, at_once, told) => {
                let body = (!body.is_null()).then(|| body.to_string().into_bytes());
                let attacker = || async {
                    loop {
                        begun.fetch_add(1, Ordering::Relaxed);
                        let answer = api.send(method.clone(), path, &[], body.clone()).await;
                        ended.fetch_add(1, Ordering::Relaxed);
                        assert!(told.contains(&answer.status), "{answer:?}");
                    }
                };
                join_all((0..*at_once).map(|_| attacker())).await;
                unreachable!("no attacker ends")
            }
            Attack::ReadsNothing(at_once) => loop {
                begun.fetch_add(*at_once, Ordering::Relaxed);
                let unread = connections::read_nothing(self, *at_once).await;
                tokio::time::sleep(UNREAD_FOR).await;
                drop(unread);
                ended.fetch_add(*at_once, Ordering::Relaxed);
            },
        }
    }
}

/// How an upload ended, in a word.
fn how(answer: &Answer) -> String {
    match answer.status {
        200 => "taken".to_owned(),
        422 => text(&answer.body["reason"]),
        _ => text(&answer.body["type"]).replace("/problems/", ""),
    }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100) - 1]
}

fn ms(time: Duration) -> String {
    tenths(time.as_micros() / 100)
}

fn tenths(number: u128) -> String {
    format!("{}.{}", number / 10, number % 10)
}
