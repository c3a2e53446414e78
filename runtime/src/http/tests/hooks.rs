//! Merchants' hooks over HTTP: versions, settings, secrets, storage.

use http::Method;
use serde_json::json;

use super::kit::Api;
use crate::{db::plugins, host::tests::hook_guest::HookGuest};

pub(super) const WITH_SETTINGS: &str = r#"
hosts = ["settings:api_url"]
[settings]
type = "object"
required = ["api_url"]
additionalProperties = false
[settings.properties.api_url]
type = "string"
[secrets.token]
description = "The token"
host = "settings:api_url"
"#;

#[tokio::test]
async fn versions_come_go_and_come_back() {
    for api in Api::all().await {
        let (_, key) = api.merchant_with_key("Shop").await;
        let key = key.as_str();
        let one = api.upload_hook(key, &HookGuest::new()).await.ok();
        let id = one["hook"]["id"].as_str().unwrap();
        assert_eq!(one["size"], "small");
        assert_eq!(one["hook"]["active"]["version"], "0.1.0");
        let again = api.upload_hook(key, &HookGuest::new()).await.ok();
        assert_eq!(again["version"]["id"], one["version"]["id"], "the same component is the same version");

        let two = HookGuest::new().named("hook", "0.2.0");
        let two = api.upload(key, "/v1/hooks", "application/wasm", two.component()).await.ok();
        assert_eq!(two["hook"]["id"], id);
        assert_eq!(two["version"]["active"], false);
        let sha256 = two["version"]["sha256"].as_str().unwrap().to_owned();
        let activate = json!({"version_id": two["version"]["id"]});
        let active = api.post(key, &format!("/v1/hooks/{id}/activate"), activate).await.ok();
        assert_eq!(active["active"]["version"], "0.2.0");
        let leave = json!({"from": one["version"]["id"]});
        assert_eq!(api.post(key, &format!("/v1/hooks/{id}/roll_back"), leave).await.problem(), "conflict");
        let back = api.post(key, &format!("/v1/hooks/{id}/roll_back"), json!({})).await.ok();
        assert_eq!(back["active"]["version"], "0.1.0");

        let versions = api.get(key, &format!("/v1/hooks/{id}/versions")).await.ok();
        assert_eq!(versions["data"].as_array().unwrap().len(), 2);
        let delete = async |version: &serde_json::Value| {
            let path = format!("/v1/hooks/{id}/versions/{}", version.as_str().unwrap());
            api.call(key, Method::DELETE, &path, json!({})).await
        };
        assert_eq!(delete(&one["version"]["id"]).await.problem(), "conflict");
        let left = delete(&two["version"]["id"]).await.ok();
        assert_eq!(left["data"].as_array().unwrap().len(), 1);
        api.call(key, Method::DELETE, &format!("/v1/hooks/{id}"), json!({})).await.ok();
        assert_eq!(api.get(key, &format!("/v1/hooks/{id}")).await.problem(), "not_found");
        // Its name is free again.
        assert_ne!(api.upload_hook(key, &HookGuest::new()).await.ok()["hook"]["id"], id);
        // Of 0.2.0 nothing is left.
        let mut conn = api.app.db.read().await.unwrap();
        assert_eq!(plugins::artefact_bytes(&mut conn, &sha256).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_hook_is_active_only_with_all_that_it_needs() {
    let api = Api::new().await;
    let (_, key) = api.merchant_with_key("Shop").await;
    let guest = HookGuest::new().asking(WITH_SETTINGS);
    assert_eq!(api.upload_hook(&key, &guest).await.problem(), "hook_not_ready");
    // What was refused was not stored.
    assert_eq!(api.get(&key, "/v1/hooks").await.ok()["data"], json!([]));
    let made = api.upload(&key, "/v1/hooks", "application/wasm", guest.component()).await.ok();
    let id = made["hook"]["id"].as_str().unwrap().to_owned();
    let put =
        async |path: &str, body| api.call(&key, Method::PUT, &format!("/v1/hooks/{id}/{path}"), body).await;
    for odd in [json!({}), json!({"api_url": 1}), json!({"api_url": "x", "more": 1})] {
        assert_eq!(put("settings", odd).await.problem(), "settings_refused");
    }
    put("settings", json!({"api_url": "https://api.example/"})).await.ok();
    let activate = json!({"version_id": made["version"]["id"]});
    let path = format!("/v1/hooks/{id}/activate");
    let refused = api.post(&key, &path, activate.clone()).await;
    assert_eq!(refused.problem(), "hook_not_ready");
    assert!(refused.body["detail"].as_str().unwrap().contains("token"), "{}", refused.body);
    assert_eq!(put("secrets/token", json!({"value": "a\nb"})).await.problem(), "field_malformed");
    assert_eq!(put("secrets/To-ken", json!({"value": "a"})).await.problem(), "field_malformed");
    let set = put("secrets/token", json!({"value": "s3cr3t"})).await.ok();
    assert!(!set.to_string().contains("s3cr3t"));
    assert_eq!(api.post(&key, &path, activate).await.ok()["active"]["version"], "0.1.0");
    for path in ["", "/secrets", "/versions", "/storage", "/usage"] {
        let text = api.get(&key, &format!("/v1/hooks/{id}{path}")).await.ok().to_string();
        assert!(!text.contains("s3cr3t"), "{path}");
    }
}

#[tokio::test]
async fn bindings_are_checked() {
    let api = Api::new().await;
    let (_, key) = api.merchant_with_key("Shop").await;
    let guest = HookGuest::new();
    let made = api.upload_hook(&key, &guest).await.ok();
    let path = format!("/v1/hooks/{}/binding", made["hook"]["id"].as_str().unwrap());
    let bind = async |body| api.call(&key, Method::PUT, &path, body).await;
    let bound = bind(json!({"events": ["invoice.paid"], "networks": ["sandbox"]})).await.ok();
    assert_eq!(bound["binding"], json!({"events": ["invoice.paid"], "networks": ["sandbox"]}));
    assert_eq!(bind(json!({"events": ["hook.a"]})).await.problem(), "binding_refused");
    assert_eq!(bind(json!({"tags": []})).await.problem(), "binding_refused");
    assert_eq!(bind(json!({"events": ["invoice.bought"]})).await.problem(), "field_malformed");
    assert_eq!(bind(json!({"event": ["invoice.paid"]})).await.problem(), "field_unknown");
}

#[tokio::test]
async fn storage_is_filled_and_read_by_its_merchant() {
    for api in Api::all().await {
        let (_, key) = api.merchant_with_key("Shop").await;
        let made = api.upload_hook(&key, &HookGuest::new()).await.ok();
        let at = format!("/v1/hooks/{}/storage", made["hook"]["id"].as_str().unwrap());
        let put = async |name: &str, body| api.call(&key, Method::PUT, &format!("{at}/{name}"), body).await;
        put("key%2F1", json!({"text": "AAAA"})).await.ok();
        put("key%2F2", json!({"base64": "/w=="})).await.ok();
        put("other", json!({"text": ""})).await.ok();
        assert_eq!(api.get(&key, &format!("{at}/key%2F1")).await.ok(), json!({"text": "AAAA"}));
        assert_eq!(api.get(&key, &format!("{at}/key%2F2")).await.ok(), json!({"base64": "/w=="}));
        let keys = api.get(&key, &format!("{at}?prefix=key/")).await.ok();
        assert_eq!(keys, json!({"data": ["key/1", "key/2"], "next_after": null}));
        let first = api.get(&key, &format!("{at}?limit=1")).await.ok();
        assert_eq!(first, json!({"data": ["key/1"], "next_after": "key/1"}));
        let rest = api.get(&key, &format!("{at}?after=key/1")).await.ok();
        assert_eq!(rest["data"], json!(["key/2", "other"]));
        let large = put("large", json!({"text": "x".repeat(5000)})).await;
        assert_eq!(large.problem(), "storage_full");
        for odd in [json!({}), json!({"text": "a", "base64": "YQ=="}), json!({"base64": "?"})] {
            assert_eq!(put("odd", odd).await.problem(), "field_malformed");
        }
        api.call(&key, Method::DELETE, &format!("{at}/other"), json!({})).await.ok();
        let gone = api.call(&key, Method::DELETE, &format!("{at}/other"), json!({})).await;
        assert_eq!(gone.problem(), "not_found");
    }
}

#[tokio::test]
async fn what_is_no_hook_is_refused() {
    let api = Api::new().await;
    let (_, key) = api.merchant_with_key("Shop").await;
    let upload = async |kind: &str, bytes: Vec<u8>| api.upload(&key, "/v1/hooks", kind, bytes).await;
    let reason = |answer: super::kit::Answer| {
        assert_eq!(answer.problem(), "component_refused");
        answer.body["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(upload("application/wasm", b"hello".to_vec()).await), "not-wasm");
    let cut = HookGuest::new().component();
    assert_eq!(reason(upload("application/wasm", cut[..cut.len() / 2].to_vec()).await), "truncated");
    let greedy = HookGuest::new().asking("hosts = [\"api.example\"]\n[limits]\nmemory_mib = 4000");
    assert_eq!(reason(upload("application/wasm", greedy.component()).await), "not-grantable");
    let traps = HookGuest::new().starting("unreachable");
    assert_eq!(reason(upload("application/wasm", traps.component()).await), "first-call-failed");
    let odd = HookGuest::new().asking("[settings]\ntype = \"nonsense\"");
    assert_eq!(reason(upload("application/wasm", odd.component()).await), "bad-manifest");
    let chain = crate::host::tests::chain_component();
    assert_eq!(reason(upload("application/wasm", chain).await), "wrong-place");
    assert_eq!(upload("application/json", b"{}".to_vec()).await.problem(), "content_type_unsupported");
    assert_eq!(upload("application/wasm", vec![0; 40 << 20]).await.problem(), "body_too_large");
    assert_eq!(
        upload("multipart/form-data; boundary=x", b"--x--".to_vec()).await.problem(),
        "body_unreadable"
    );
    let operator =
        api.upload(&api.operator, "/v1/operator/plugins", "application/wasm", HookGuest::new().component());
    assert_eq!(operator.await.body["reason"], "wrong-place");

    let mut form =
        b"--x\r\nContent-Disposition: form-data; name=\"component\"; filename=\"h.wasm\"\r\n\r\n".to_vec();
    form.extend(HookGuest::new().component());
    form.extend(b"\r\n--x--\r\n");
    let made = upload("multipart/form-data; boundary=x", form).await.ok();
    assert_eq!(made["hook"]["name"], "hook");
    let valid = api.upload(
        &key,
        "/v1/hooks/validate",
        "application/wasm",
        HookGuest::new().named("v", "1.0.0").component(),
    );
    assert_eq!(valid.await.ok()["manifest"]["name"], "v");
    assert_eq!(api.get(&key, "/v1/hooks").await.ok()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_merchant_has_so_many_hooks_versions_and_uploads() {
    let api = Api::new().await;
    let (_, key) = api.merchant_with_key("Shop").await;
    let config = &api.app.config.hooks;
    let (hooks, versions) = (config.per_merchant, config.versions_max);
    for number in 0..hooks {
        api.upload_hook(&key, &HookGuest::new().named(&format!("hook-{number}"), "0.1.0")).await.ok();
    }
    let over = api.upload_hook(&key, &HookGuest::new().named("one-more", "0.1.0")).await;
    assert_eq!(over.problem(), "hook_limit");
    for number in 1..versions {
        api.upload_hook(&key, &HookGuest::new().named("hook-0", &format!("0.1.{number}"))).await.ok();
    }
    let over = api.upload_hook(&key, &HookGuest::new().named("hook-0", "9.9.9")).await;
    assert_eq!(over.problem(), "hook_limit");
    let made = hooks + 1 + versions - 1 + 1;
    for _ in made..config.uploads_per_hour {
        api.upload(&key, "/v1/hooks/validate", "application/wasm", b"no".to_vec()).await;
    }
    let over = api.upload_hook(&key, &HookGuest::new()).await;
    assert_eq!(over.problem(), "uploads_limited");
    assert!(!over.header("retry-after").is_empty());
    // Another merchant's are its own.
    let (_, other) = api.merchant_with_key("Other").await;
    api.upload_hook(&other, &HookGuest::new()).await.ok();
}
