//! Components that were built against released versions of the contract run, each in each of its roles (tests/frozen).

use std::{collections::BTreeSet, io::Read as _, path::PathBuf};

use flate2::read::GzDecoder;
use kassa_tests::{
    Database, Hooks, Kind, Receiver, Sandbox, Suite, eventually, list, tests_folder, text, verify_hmac,
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const KEY: &str = "a key that signs";

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("frozen::every_component_is_the_one_that_was_frozen", unchanged);
    for component in components() {
        let name = format!("frozen::{}", component.file.replace(['/', '.', '-'], "_"));
        match component.language.as_deref() {
            None => suite.on(Kind::Sqlite, &name, move |database| chain(database, component)),
            Some(_) => suite.on(Kind::Sqlite, &name, move |database| hook(database, component)),
        }
    }
}

#[derive(Deserialize)]
struct Frozen {
    component: Vec<Component>,
}

/// A line of frozen.toml.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    file: String,
    sha256: String,
    /// Of the contract.
    version: String,
    roles: Vec<String>,
    /// What a hook is written in; none: it is a chain plugin.
    language: Option<String>,
}

fn folder() -> PathBuf {
    tests_folder().join("frozen")
}

fn components() -> Vec<Component> {
    let text = std::fs::read_to_string(folder().join("frozen.toml")).expect("frozen.toml");
    toml::from_str::<Frozen>(&text).expect("frozen.toml").component
}

impl Component {
    fn bytes(&self) -> Vec<u8> {
        let bytes =
            std::fs::read(folder().join(&self.file)).unwrap_or_else(|why| panic!("{}: {why}", self.file));
        if !self.file.ends_with(".gz") {
            return bytes;
        }
        let mut component = Vec::new();
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut component).expect("a compressed component");
        component
    }
}

async fn unchanged() {
    let components = components();
    for component in &components {
        let sha256 = Sha256::digest(component.bytes());
        let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, component.sha256, "{}: it was changed", component.file);
        assert!(folder().join("wit").join(&component.version).is_dir(), "{}", component.version);
    }
    // None is forgotten, and each role of each language is there.
    let listed: BTreeSet<String> = components.iter().map(|component| component.file.clone()).collect();
    let versions: BTreeSet<&String> = components.iter().map(|component| &component.version).collect();
    for version in versions {
        for entry in std::fs::read_dir(folder().join(version)).unwrap() {
            let file = format!("{version}/{}", entry.unwrap().file_name().to_string_lossy());
            assert!(listed.contains(&file), "{file} is not listed");
        }
        for language in ["rust", "javascript", "python"] {
            let of = components.iter().filter(|one| one.version == *version);
            let of = of.filter(|one| one.language.as_deref() == Some(language));
            let roles: BTreeSet<&str> = of.flat_map(|one| one.roles.iter().map(String::as_str)).collect();
            assert_eq!(roles, ["form", "fulfiller", "matcher", "rates"].into(), "{version}: {language}");
        }
    }
}

/// A hook of every role, in each of them.
async fn hook(database: Database, component: Component) {
    let sandbox = Sandbox::start(database).await;
    let (api, hooks) = (sandbox.shop.api(), sandbox.hooks());
    let service = Receiver::start().await;
    let uploaded = hooks.try_upload(&component.bytes(), false).await.ok();
    let (hook, version) = (text(&uploaded["hook"]["id"]), text(&uploaded["version"]["id"]));
    assert_eq!(uploaded["version"]["sha256"], component.sha256.as_str());
    hooks.put(&hook, "settings", &json!({"url": service.origin()})).await;
    hooks.put(&hook, "secrets/key", &json!({"value": KEY})).await;
    hooks.put(&hook, "secrets/token", &json!({"value": "t0ken"})).await;
    hooks.put(&hook, "binding", &json!({"events": ["invoice.paid"], "match_first": true})).await;
    hooks.post(&hook, "activate", &json!({"version_id": version})).await;
    let receiver = Receiver::start().await;
    let endpoint = api.post("/v1/endpoints", &json!({"url": receiver.url(), "form": hook})).await.ok();
    assert_eq!(endpoint["form"], hook.as_str());

    // It says what an asset costs, and what a transfer pays.
    let order = json!({
        "title": "Tea", "payable_network": "sandbox", "payable_asset": "SBX", "base_amount_usd": "10",
    });
    let invoice = api.post("/v1/invoices", &order).await.ok();
    assert_eq!(invoice["amount"], "40.00");
    let paid = sandbox.paid("5", &json!({})).await;
    let asked = hooks.matches(&hook, 1).await;
    assert_eq!(asked[0]["outcome"], "pay", "{asked:?}");

    // It does what the payment is for.
    let run = hooks.wait_for(&hook, "done", 1).await.remove(0);
    assert_eq!(text(&run["note"]), format!("told of {}", text(&paid["id"])));
    let told = service.got().remove(0);
    assert_eq!((told.path.as_str(), told.header("authorization")), ("/told", Some("Bearer t0ken")));
    sandbox.shop.receiver.wait_for("hook.frozen.told", 1).await;
    logged(&hooks, &run).await;

    // It renders what is told.
    let sent =
        eventually("a delivery", || async { receiver.got().pop().ok_or_else(|| "none".to_owned()) }).await;
    assert_eq!((sent.method.as_str(), sent.json()), ("PUT", json!({"paid": paid["id"]})));
    verify_hmac(&sent, "x-signature", KEY).unwrap_or_else(|why| panic!("{why}: {sent:?}"));
    sandbox.shop.delivered().await;
    assert_eq!(receiver.got().len(), 1, "it has no word for other events");
}

async fn logged(hooks: &Hooks, run: &Value) {
    let shown = hooks.run(&run["id"]).await;
    assert!(shown["calls"][0]["log"].to_string().contains("attempt 1"), "{shown}");
}

/// A chain plugin in the place of the one that came along.
async fn chain(database: Database, component: Component) {
    let sandbox = Sandbox::start(database).await;
    let operator = sandbox.shop.kassa.operator();
    let kind = [("content-type", "application/wasm")];
    let path = "/v1/operator/plugins?activate=true";
    operator.send(Method::POST, path, &kind, Some(component.bytes())).await.ok();
    let plugins = list(&operator.get("/v1/operator/plugins").await.ok());
    let active =
        plugins.iter().find(|plugin| plugin["name"] == "sandbox").map(|plugin| &plugin["active"]["sha256"]);
    assert_eq!(active, Some(&json!(component.sha256)), "{plugins:?}");
    sandbox.paid("5", &json!({})).await;
    sandbox.shop.delivered().await;
}
