//! Purposes of a hook's secrets.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::{hooks::WITH_SETTINGS, kit::Api};
use crate::{db::hooks::secrets, domain::hook::Purpose, host::tests::hook_guest::HookGuest, http::router};

const BOUND: &str = r#"
[secrets.token]
description = "A token"
host = "api.example"
[secrets.key]
description = "A key"
use = "sign"
"#;

#[tokio::test]
async fn a_secret_serves_what_it_was_set_for_and_nothing_else() {
    for api in Api::all().await {
        let (_, key) = api.merchant_with_key("Shop").await;
        let made = api
            .upload(&key, "/v1/hooks", "application/wasm", HookGuest::new().asking(BOUND).component())
            .await
            .ok();
        let id = made["hook"]["id"].as_str().unwrap().to_owned();
        let set = async |name: &str, body| {
            api.call(&key, Method::PUT, &format!("/v1/hooks/{id}/secrets/{name}"), body).await
        };
        let activate = async |made: &Value| {
            let body = json!({"version_id": made["version"]["id"]});
            api.post(&key, &format!("/v1/hooks/{id}/activate"), body).await
        };
        let token = set("token", json!({"value": "a"})).await.ok();
        assert_eq!((&token["host"], &token["use"]), (&json!("api.example"), &json!(null)));
        assert_eq!(set("key", json!({"value": "b"})).await.ok()["use"], "sign");
        activate(&made).await.ok();

        // The next version means another host, or another port, sends what signs, or signs with what is sent.
        for (version, lines, wants) in [
            (
                "0.2.0",
                BOUND.replace("api.example", "evil.example"),
                "token (for the host evil.example, set for",
            ),
            (
                "0.3.0",
                BOUND.replace("api.example", "api.example:8443"),
                "token (for the host api.example:8443",
            ),
            (
                "0.4.0",
                BOUND.replace("use = \"sign\"", "host = \"api.example\""),
                "key (for the host api.example",
            ),
            ("0.5.0", BOUND.replace("host = \"api.example\"", "use = \"sign\""), "token (to sign with"),
        ] {
            let guest = HookGuest::new().named("hook", version).asking(&lines);
            let next = api.upload(&key, "/v1/hooks", "application/wasm", guest.component()).await.ok();
            let refused = activate(&next).await;
            assert_eq!(refused.problem(), "hook_not_ready", "{version}");
            assert!(refused.body["detail"].as_str().unwrap().contains(wants), "{}", refused.body);
        }
        // Without a word about it, it is for what the version in use says.
        assert_eq!(set("token", json!({"value": "c"})).await.ok()["host"], "api.example");
        assert_eq!(
            set("token", json!({"value": "d", "host": "evil.example"})).await.ok()["host"],
            "evil.example"
        );
        let versions = api.get(&key, &format!("/v1/hooks/{id}/versions")).await.ok();
        let of = |version: &str| {
            let all = versions["data"].as_array().unwrap();
            let one = all.iter().find(|one| one["version"] == version).unwrap();
            json!({"version": {"id": one["id"]}})
        };
        activate(&of("0.2.0")).await.ok();
        // What the version before needs is still there.
        api.post(&key, &format!("/v1/hooks/{id}/roll_back"), json!({})).await.ok();
        let listed = api.get(&key, &format!("/v1/hooks/{id}/secrets")).await.ok();
        let shown = |row: &Value| format!("{} {} {}", row["name"], row["host"], row["use"]);
        let rows: Vec<String> = listed["data"].as_array().unwrap().iter().map(shown).collect();
        assert_eq!(
            rows,
            [r#""key" null "sign""#, r#""token" "api.example" null"#, r#""token" "evil.example" null"#]
        );
        for (name, body) in [
            ("other", json!({"value": "x"})),
            ("token", json!({"value": "x", "host": "https://api.example/"})),
            ("token", json!({"value": "x", "host": ""})),
            ("token", json!({"value": "x", "host": "a.example", "use": "sign"})),
            ("token", json!({"value": "x", "use": "send"})),
        ] {
            assert_eq!(set(name, body.clone()).await.problem(), "field_malformed", "{body}");
        }
        // It opens for its purpose alone, whatever the row says.
        let mut conn = api.app.db.read().await.unwrap();
        for row in secrets::list(&mut conn, &id.as_str().into()).await.unwrap() {
            api.app.vault.open(&row.sealed_for(), &row.value).unwrap();
            let other = secrets::sealed_for(&row.id, &Purpose::Host("other.example".to_owned()));
            assert!(api.app.vault.open(&other, &row.value).is_err());
        }
    }
}

#[tokio::test]
async fn a_setting_sends_no_secret_to_another_host() {
    let mut api = Api::new().await;
    let mut config = (*api.app.config).clone();
    config.hooks.hosts = vec!["api.example".to_owned(), "other.example".to_owned()];
    api.app.app.config = Arc::new(config);
    api.router = router(api.app.app.clone());
    let (_, key) = api.merchant_with_key("Shop").await;
    let guest = HookGuest::new().asking(WITH_SETTINGS);
    let made = api.upload(&key, "/v1/hooks", "application/wasm", guest.component()).await.ok();
    let id = made["hook"]["id"].as_str().unwrap().to_owned();
    let put =
        async |path: &str, body| api.call(&key, Method::PUT, &format!("/v1/hooks/{id}/{path}"), body).await;
    let activate = json!({"version_id": made["version"]["id"]});
    put("settings", json!({"api_url": "https://api.example/"})).await.ok();
    assert_eq!(put("secrets/token", json!({"value": "a"})).await.ok()["host"], "api.example");
    put("settings", json!({"api_url": "https://other.example/"})).await.ok();
    let path = format!("/v1/hooks/{id}/activate");
    assert_eq!(api.post(&key, &path, activate.clone()).await.problem(), "hook_not_ready");
    put("settings", json!({"api_url": "https://api.example/v2"})).await.ok();
    api.post(&key, &path, activate).await.ok();
    // While it is in use.
    let refused = put("settings", json!({"api_url": "https://other.example/"})).await;
    assert_eq!(refused.problem(), "hook_not_ready");
    put("secrets/token", json!({"value": "b", "host": "other.example"})).await.ok();
    put("settings", json!({"api_url": "https://other.example/"})).await.ok();
    // What the operator does not allow, with a secret or without.
    put("secrets/token", json!({"value": "c", "host": "evil.example"})).await.ok();
    assert_eq!(put("settings", json!({"api_url": "https://evil.example/"})).await.problem(), "grant_refused");
}

/// A key that cannot sign is refused where it is set, if the manifest says by which algorithm.
#[tokio::test]
async fn a_secret_that_signs_is_a_key_of_its_algorithm() {
    const SIGNING: &str = r#"
[secrets.token]
description = "A token"
host = "api.example"
[secrets.key]
description = "A key"
use = "sign"
algorithm = "Ed25519"
[secrets.free]
description = "A key of any algorithm"
use = "sign"
"#;
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                       -----END PRIVATE KEY-----\n";
    for api in Api::all().await {
        let (_, key) = api.merchant_with_key("Shop").await;
        let guest = HookGuest::new().asking(SIGNING).component();
        let made = api.upload(&key, "/v1/hooks", "application/wasm", guest).await.ok();
        let id = made["hook"]["id"].as_str().unwrap().to_owned();
        let set = async |name: &str, body: Value| {
            api.call(&key, Method::PUT, &format!("/v1/hooks/{id}/secrets/{name}"), body).await
        };
        for value in ["Jefe", "9d61", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            let refused = set("key", json!({ "value": value })).await;
            assert_eq!(refused.problem(), "field_malformed", "{value}");
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.contains("Ed25519 wants a private key") && !detail.contains("9d61"), "{detail}");
        }
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        for value in [seed, PEM] {
            assert_eq!(set("key", json!({ "value": value })).await.ok()["use"], "sign");
        }
        set("free", json!({"value": "Jefe"})).await.ok();
        // Lines are for keys in PEM that sign, and stand in no header.
        for (name, body) in [
            ("token", json!({ "value": PEM })),
            ("free", json!({"value": "a\nb"})),
            ("free", json!({"value": format!("{PEM}\u{1b}")})),
        ] {
            assert_eq!(set(name, body.clone()).await.problem(), "field_malformed", "{body}");
        }
        let odd = HookGuest::new().named("odd", "0.1.0");
        for lines in [
            "[secrets.key]\ndescription = \"A key\"\nuse = \"sign\"\nalgorithm = \"ES999\"",
            "[secrets.key]\ndescription = \"A key\"\nhost = \"a.example\"\nalgorithm = \"ES256\"",
        ] {
            let guest = HookGuest::new().named("odd", "0.1.0").asking(lines).component();
            let refused = api.upload(&key, "/v1/hooks", "application/wasm", guest).await;
            assert!(refused.body["detail"].as_str().unwrap().contains("manifest"), "{}", refused.body);
        }
        api.upload(&key, "/v1/hooks", "application/wasm", odd.component()).await.ok();
    }
}
