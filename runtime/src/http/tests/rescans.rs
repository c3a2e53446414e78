//! Blocks that are read again, and transactions that are looked for.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::kit::{Answer, Api};
use crate::{flow::supervise, host::tests::chain_component};

const RESCANS: &str = "/v1/operator/networks/sandbox/rescans";

/// An API with its workers, and the sandbox read for the first time.
struct Running {
    api: Api,
    stop: CancellationToken,
    workers: JoinHandle<()>,
}

impl Running {
    async fn on(api: Api) -> Self {
        let stop = CancellationToken::new();
        let workers = tokio::spawn(supervise::run(api.app.app.clone(), stop.clone()));
        let running = Self { api, stop, workers };
        running.until(|network| network["state"].is_object()).await;
        running
    }

    async fn end(self) {
        self.stop.cancel();
        self.workers.await.unwrap();
    }

    /// Waits until the sandbox is in this state.
    async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let network = self.api.get(&self.api.operator, "/v1/operator/networks/sandbox").await.ok();
            if is_so(&network) {
                return network;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the sandbox does not get there")
    }

    /// A merchant's test key.
    async fn shop(&self, name: &str) -> String {
        let merchant = self.api.merchant(name).await;
        self.api.key(&merchant, "test").await.1
    }

    async fn sandbox(&self, key: &str, action: Value) -> Value {
        self.api.post(key, "/v1/sandbox/sandbox", action).await.ok()
    }

    /// Makes the provider fail, as an operator.
    async fn outage(&self, action: Value) -> Value {
        self.sandbox(&self.api.operator, action).await
    }

    /// Mines blocks, and waits until they are read.
    async fn mine(&self, key: &str, blocks: u32) -> i64 {
        let height =
            self.sandbox(key, json!({"do": "mine", "blocks": blocks})).await["height"].as_i64().unwrap();
        self.until(|network| network["state"]["height"].as_i64() >= Some(height)).await;
        height
    }

    async fn address(&self, index: u32) -> String {
        let network = self.api.app.networks.get("sandbox").unwrap();
        self.api.app.host.derive_address(&network, "sbxpub", index).await.unwrap().unwrap().text
    }

    async fn register(&self, key: &str, address: &str) {
        let wanted = json!({"network": "sandbox", "address": address, "unique_id": address});
        self.api.post(key, "/v1/receive_addresses", wanted).await.ok();
    }

    async fn start(&self, body: Value) -> Answer {
        self.api.post(&self.api.operator, RESCANS, body).await
    }

    /// Waits for the end of a rescan.
    async fn ended(&self, made: &Value) -> Value {
        for _ in 0..600 {
            let list = self.api.get(&self.api.operator, RESCANS).await.ok();
            let found = list["data"].as_array().unwrap().iter().find(|one| one["id"] == made["id"]).unwrap();
            if found["state"] != "running" {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{made} does not end")
    }

    async fn find(&self, key: &str, tx: &str) -> Answer {
        self.api.post(key, "/v1/transfers/find", json!({"network": "sandbox", "tx": tx})).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_address_is_served_by_a_rescan_and_by_a_find() {
    for api in Api::all().await {
        let running = Running::on(api).await;
        let (ann, bob) = (running.shop("Ann").await, running.shop("Bob").await);
        let [first, second] = [running.address(1).await, running.address(2).await];
        let pay = |to: String| json!({"do": "transfer", "to": to, "asset": "usdt", "amount": "5000000"});
        let tx = running.sandbox(&ann, pay(first.clone())).await["tx"].as_str().unwrap().to_owned();
        running.sandbox(&ann, pay(second.clone())).await;
        running.mine(&ann, 20).await;
        running.register(&ann, &first).await;
        running.register(&ann, &second).await;

        // By its hash: for its owner, and for nobody else.
        let found = running.find(&ann, &tx.to_uppercase()).await.ok();
        assert_eq!((&found["status"], &found["height"]), (&json!("found"), &json!(1)));
        let transfer = &found["transfers"][0];
        assert_eq!((&transfer["tx_hash"], &transfer["amount"]), (&json!(tx), &json!("5.00")));
        assert_eq!(transfer["status"], "final");
        assert_eq!(transfer["payments"].as_array().unwrap().len(), 1, "{found}");
        let theirs = running.find(&bob, &tx).await.ok();
        assert_eq!(theirs["status"], "nothing_for_you");
        assert_eq!(theirs["transfers"], json!([]));
        assert!(!theirs.to_string().contains(&first));

        // The other one by reading all again.
        let made = running.start(json!({"from": 1})).await.ok();
        assert_eq!(
            (&made["state"], &made["from"], &made["network"]),
            (&json!("running"), &json!(1), &json!("sandbox"))
        );
        let done = running.ended(&made).await;
        assert_eq!(
            (&done["state"], &done["found"], &done["error"]),
            (&json!("done"), &json!(1), &json!(null))
        );
        assert_eq!(done["read"], done["blocks"]);
        let done =
            running.ended(&running.start(json!({"since": "1970-01-01T00:00:00Z", "to": 5})).await.ok()).await;
        assert_eq!((&done["state"], &done["from"], &done["found"]), (&json!("done"), &json!(1), &json!(0)));
        for _ in 0..200 {
            if running.api.get(&ann, "/v1/payments").await.ok()["data"].as_array().unwrap().len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(running.api.get(&ann, "/v1/payments").await.ok()["data"].as_array().unwrap().len(), 2);
        assert_eq!(running.api.get(&ann, "/v1/transfers").await.ok()["data"].as_array().unwrap().len(), 2);
        let cancelled = format!("/v1/operator/rescans/{}", done["id"].as_str().unwrap());
        let operator = &running.api.operator;
        assert_eq!(
            running.api.call(operator, http::Method::DELETE, &cancelled, json!({})).await.problem(),
            "conflict"
        );
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_again() {
    let running = Running::on(Api::new().await).await;
    let key = running.shop("Ann").await;
    let height = running.mine(&key, 30).await;
    for (body, problem, field) in [
        (json!({}), "field_missing", "from"),
        (json!({"from": 1, "since": "2026-03-01T12:00:00Z"}), "field_malformed", "since"),
        (json!({"from": 0}), "rescan_refused", "from"),
        (json!({"from": -1}), "rescan_refused", "from"),
        (json!({"from": height + 1}), "rescan_refused", "from"),
        (json!({"from": i64::MAX}), "rescan_refused", "from"),
        (json!({"from": 1, "to": height + 1}), "rescan_refused", "to"),
        (json!({"from": 5, "to": 4}), "rescan_refused", "to"),
        (json!({"since": "2099-01-01T00:00:00Z"}), "rescan_refused", "since"),
        (json!({"since": "yesterday"}), "field_malformed", "since"),
        (json!({"from": "1"}), "field_malformed", "from"),
        (json!({"from": 1.5}), "field_malformed", "from"),
        (json!({"from": 1, "all": true}), "field_unknown", "all"),
    ] {
        let answer = running.start(body.clone()).await;
        assert_eq!(
            (answer.problem(), &answer.body["field"]),
            (problem, &json!(field)),
            "{body} {}",
            answer.body
        );
    }
    // One at a time, and it says which. An outage keeps the first from ending.
    running.outage(json!({"do": "outage", "ms": 60_000})).await;
    let first = running.start(json!({"from": 1})).await.ok();
    let answer = running.start(json!({"from": 2})).await;
    assert_eq!((answer.problem(), &answer.body["rescan_id"]), ("rescan_running", &first["id"]));
    let path = format!("/v1/operator/rescans/{}", first["id"].as_str().unwrap());
    let operator = &running.api.operator;
    for _ in 0..2 {
        let ended = running.api.call(operator, http::Method::DELETE, &path, json!({})).await.ok();
        assert_eq!(ended["state"], "cancelled");
    }
    let nothing = "/v1/operator/rescans/rsc_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let answer = running.api.call(operator, http::Method::DELETE, nothing, json!({})).await;
    assert_eq!(answer.problem(), "not_found");

    let other = |name: &str| format!("/v1/operator/networks/{name}/rescans");
    let ask = async |name: &str| running.api.post(operator, &other(name), json!({"from": 1})).await;
    assert_eq!(ask("nowhere").await.problem(), "not_found");
    assert_eq!(ask("base").await.problem(), "network_disabled");
    running.api.post(operator, "/v1/operator/networks/base/enable", json!({})).await.ok();
    assert_eq!(ask("base").await.problem(), "network_not_started");
    assert_eq!(running.api.get(operator, &other("nowhere")).await.problem(), "not_found");
    assert_eq!(running.api.get(operator, &other("base")).await.ok()["data"], json!([]));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found() {
    let running = Running::on(Api::new().await).await;
    let key = running.shop("Ann").await;
    let to = running.address(1).await;
    running.register(&key, &to).await;
    let failed =
        running.sandbox(&key, json!({"do": "transfer", "to": to, "amount": "1", "fail": true})).await;
    let waits = running.sandbox(&key, json!({"do": "transfer", "to": to, "amount": "1", "mine": 0})).await;
    running.until(|network| network["state"]["height"] == 1).await;
    let said = async |tx: &str| running.find(&key, tx).await.ok();
    let answer = said(failed["tx"].as_str().unwrap()).await;
    assert_eq!((&answer["status"], &answer["height"]), (&json!("nothing_for_you"), &json!(1)));
    let answer = said(waits["tx"].as_str().unwrap()).await;
    assert_eq!((&answer["status"], &answer["height"]), (&json!("not_found"), &json!(null)));
    assert!(answer["ask_again_s"].as_u64() >= Some(1) && answer["detail"].as_str().unwrap().contains("wait"));
    assert_eq!(said(&"ab".repeat(32)).await["status"], "not_found");

    let answer = running.find(&key, "EQ-a-hash-of-another-chain").await;
    assert_eq!((answer.problem(), &answer.body["field"]), ("transaction_malformed", &json!("tx")));
    for (body, problem) in [
        (json!({"network": "sandbox", "tx": ""}), "field_malformed"),
        (json!({"network": "sandbox", "tx": "a".repeat(129)}), "field_malformed"),
        (json!({"network": "sandbox", "tx": "a\nb"}), "field_malformed"),
        (json!({"network": "sandbox", "tx": 7}), "field_malformed"),
        (json!({"network": "sandbox"}), "field_missing"),
        (json!({"network": "nowhere", "tx": "ab"}), "network_unknown"),
        (json!({"network": "base", "tx": "ab"}), "network_unknown"),
        (json!({"network": "sandbox", "tx": "ab", "all": true}), "field_unknown"),
    ] {
        let answer = running.api.post(&key, "/v1/transfers/find", body.clone()).await;
        assert_eq!(answer.problem(), problem, "{body} {}", answer.body);
    }
    // A live key sees nothing of a test network, nor the other way round.
    let operator = &running.api.operator;
    running.api.post(operator, "/v1/operator/networks/base/enable", json!({})).await.ok();
    let wanted = json!({"network": "base", "tx": format!("0x{}", "ab".repeat(32))});
    assert_eq!(running.api.post(&key, "/v1/transfers/find", wanted).await.problem(), "network_mode_mismatch");

    // A provider that is away, and one that wants to be left alone.
    for kind in ["upstream", "rate-limited", "malformed"] {
        running.outage(json!({"do": "outage", "ms": 60_000, "kind": kind})).await;
        let answer = running.find(&key, &"cd".repeat(32)).await;
        assert_eq!(answer.problem(), "provider_failed", "{kind}");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        running.outage(json!({"do": "outage", "ms": 0})).await;
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_questions() {
    let api = Api::new().await;
    let running = Running::on(api).await;
    let key = running.shop("Ann").await;
    let limited = |answer: &Answer| answer.status == 429;
    let mut kinds = std::collections::BTreeMap::new();
    for number in 0..1_000 {
        let answer = running.find(&key, &format!("{number:064x}")).await;
        let kind =
            if limited(&answer) { answer.problem().to_owned() } else { answer.body["status"].to_string() };
        if limited(&answer) {
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
        *kinds.entry(kind).or_insert(0) += 1;
    }
    // Ten at once, and one more now and then.
    let served = kinds.get("\"not_found\"").copied().unwrap_or(0);
    let refused = kinds.get("finds_limited").copied().unwrap_or(0);
    assert!((10..100).contains(&served) && served + refused == 1_000, "{kinds:?}");
    // Another merchant is not slowed down by that.
    let other = running.shop("Bob").await;
    // One and the same costs no more than now and then.
    for _ in 0..1_000 {
        assert_eq!(running.find(&other, &"ab".repeat(32)).await.ok()["status"], "not_found");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_plugin_finds_nothing() {
    let api = Api::new().await;
    let operator = api.operator.clone();
    let uploaded =
        api.upload(&operator, "/v1/operator/plugins?activate=true", "application/wasm", chain_component());
    uploaded.await.ok();
    let manifest = json!({
        "name": "mute", "title": "Mute", "caip2": "kassa:mute", "plugin": "test", "test": true, "credit": 1,
        "poll_ms": 60_000, "asset": [{"symbol": "MUT", "name": "Mute", "decimals": 6}],
    });
    api.call(&operator, http::Method::PUT, "/v1/operator/networks/mute", manifest).await.ok();
    let merchant = api.merchant("Ann").await;
    let (_, key) = api.key(&merchant, "test").await;
    let answer = api.post(&key, "/v1/transfers/find", json!({"network": "mute", "tx": "ab"})).await;
    assert_eq!(answer.problem(), "find_unsupported");
    assert!(answer.body["detail"].as_str().unwrap().contains("operator"));
}
