//! Merchants that mean harm: every component of tests/hostile, on a real server beside a merchant that only sells.
//! Each case says which limit stopped it, and after how long.

mod connections;
mod disk;
mod neighbour;
mod poison;
mod proposals;
mod runs;
mod sandbox;
mod services;
mod shares;
mod uploads;

use std::time::{Duration, Instant};

use kassa_tests::{
    Api, Database, Hooks, KassaOptions, Merchant, Receiver, Sandbox, Source, Suite, eventually, text,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    runs::cases(suite);
    sandbox::cases(suite);
    shares::cases(suite);
    services::cases(suite);
    uploads::cases(suite);
    connections::cases(suite);
    disk::cases(suite);
    neighbour::cases(suite);
    poison::cases(suite);
    proposals::cases(suite);
}

/// A server with two merchants: the sandbox's own sells license keys, the other one attacks.
struct Stage {
    sandbox: Sandbox,
    evil: Merchant,
    /// Where the attacker hears of its hooks.
    receiver: Receiver,
    /// The neighbour's hook.
    shop_hook: String,
    keys: u32,
}

impl Stage {
    async fn start(database: Database) -> Self {
        Self::with(database, KassaOptions::default()).await
    }

    async fn with(database: Database, options: KassaOptions) -> Self {
        let sandbox = Sandbox::with(database, options).await;
        let (shop_hook, _) = sandbox.hooks().upload(Source::Rust("license-keys"), true).await;
        let evil = sandbox.shop.new_merchant("evil", "test").await;
        let stage = Self { sandbox, evil, receiver: Receiver::start().await, shop_hook, keys: 0 };
        let address = stage.sandbox.address("evil").await;
        let api = stage.evil();
        api.post("/v1/receive_addresses", &json!({"network": "sandbox", "address": address})).await.ok();
        api.post("/v1/endpoints", &json!({"url": stage.receiver.url()})).await.ok();
        stage
    }

    fn evil(&self) -> Api {
        Api::new(self.sandbox.shop.kassa.url(), &self.evil.key)
    }

    fn evil_hooks(&self) -> Hooks {
        Hooks(self.evil())
    }

    /// An attacker's invoice that is paid as soon as [`Sandbox::pay`] is told so.
    async fn evil_invoice(&self) -> Value {
        self.evil().post("/v1/invoices", &self.sandbox.shop.order("USDT", "5")).await.ok()
    }

    /// Uploads a hook of the attacker's and makes it the one in use; answers its id.
    async fn upload(&self, wasm: &[u8]) -> String {
        text(&self.evil_hooks().try_upload(wasm, true).await.ok()["hook"]["id"])
    }

    /// What the attacker's upload is refused with: the reason's slug and its words. Says how long that took.
    async fn refused(&self, name: &str, wasm: &[u8]) -> (String, String) {
        let began = Instant::now();
        let answer = self.evil_hooks().try_upload(wasm, true).await;
        assert_eq!(answer.problem(422), "/problems/component_refused", "{name}");
        let (slug, detail) = (text(&answer.body["reason"]), text(&answer.body["detail"]));
        said(name, &format!("refused ({slug}): {detail}"), began.elapsed());
        (slug, detail)
    }

    /// Pays an invoice of each merchant in one block. Answers the run of the attacker's hook once it was called, and
    /// its first call; by then the neighbour has sold a key.
    async fn attack(&mut self, hook: &str) -> (Value, Value) {
        self.keys += 1;
        let keys = self.keys;
        let path = format!("storage/key%2F{keys}");
        let hooks = self.sandbox.hooks();
        hooks.put(&self.shop_hook, &path, &json!({"text": format!("KEY-{keys}")})).await;
        let invoices = [self.evil_invoice().await, self.sandbox.invoice("5", &json!({})).await];
        self.sandbox.pay(&invoices).await;
        let (evil, run) = (self.evil_hooks(), self.called(hook, 1).await.remove(0));
        hooks.wait_for(&self.shop_hook, "done", keys as usize).await;
        let run = evil.run(&run["id"]).await;
        let call = run["calls"][0].clone();
        (run, call)
    }

    /// Waits until so many runs of the attacker's hook were called at least once.
    async fn called(&self, hook: &str, count: usize) -> Vec<Value> {
        let evil = self.evil_hooks();
        eventually(&format!("calls of {count} runs"), || async {
            let runs = evil.runs(hook).await;
            let called: Vec<Value> = runs.iter().filter(|run| run["attempts"] != 0).cloned().collect();
            if called.len() >= count { Ok(called) } else { Err(format!("{runs:?}")) }
        })
        .await
    }

    /// Nothing of what was done has broken the server, or what it owes.
    async fn is_well(&self) {
        self.sandbox.shop.api().get("/v1/invoices").await.ok();
        self.sandbox.shop.delivered().await;
        let log = self.sandbox.shop.kassa.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// One line for the one who runs the suite.
fn said(name: &str, how: &str, took: Duration) {
    println!("hostile: {name:<20} {:>6} ms  {how}", took.as_millis());
}

/// The same for a call, with what it used.
fn said_of(name: &str, call: &Value) {
    let number = |field: &str| call[field].as_u64().expect("a number");
    let how = format!(
        "{}: {} ({} ms of a processor, {} KiB, {} host calls)",
        text(&call["outcome"]),
        text(&call["note"]),
        number("cpu_us") / 1000,
        number("memory_bytes") / 1024,
        number("host_calls"),
    );
    said(name, &how, Duration::from_micros(number("duration_us")));
}
