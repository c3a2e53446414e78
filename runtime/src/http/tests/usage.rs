//! Disk use of a merchant's hooks, its limit, and the ways to make room.

use http::Method;
use serde_json::{Value, json};

use super::kit::{Answer, Api};
use crate::{
    config::Config,
    db::{Conn, plugins},
    host::tests::hook_guest::HookGuest,
    testing,
};

const FULL: i64 = 1 << 20;
/// Size of a value larger than one request can store.
const VALUE: i64 = 60_000;

/// An API on each kind of database, whose hooks may take one MiB.
async fn small() -> Vec<Api> {
    let mut all = Vec::new();
    for db in testing::databases().await {
        let mut config: Config = testing::config();
        config.hooks.disk_mib_per_merchant = 1;
        all.push(Api::with(db, config).await);
    }
    all
}

async fn usage(api: &Api, key: &str) -> Value {
    api.get(key, "/v1/usage").await.ok()["hooks"].clone()
}

async fn put(api: &Api, key: &str, hook: &str, name: &str, bytes: usize) -> Answer {
    let path = format!("/v1/hooks/{hook}/storage/{name}");
    api.call(key, Method::PUT, &path, json!({"text": "x".repeat(bytes)})).await
}

async fn delete(api: &Api, key: &str, path: &str) -> Answer {
    api.call(key, Method::DELETE, path, json!({})).await
}

/// Compares the counted sizes with the stored ones.
async fn counted_right(conn: &mut Conn) {
    let sql = "SELECT d.merchant_id FROM hook_disk d WHERE d.components <> COALESCE((SELECT SUM(v.bytes)
            FROM hook_version v JOIN hook h ON h.id = v.hook_id WHERE h.merchant_id = d.merchant_id), 0)
          OR d.compiled <> COALESCE((SELECT SUM(v.compiled_bytes)
            FROM hook_version v JOIN hook h ON h.id = v.hook_id WHERE h.merchant_id = d.merchant_id), 0)
          OR d.storage <> COALESCE((SELECT SUM(OCTET_LENGTH(s.key) + OCTET_LENGTH(s.value)) FROM plugin_storage s
            JOIN hook h ON s.scope = 'hook:' || h.id WHERE h.merchant_id = d.merchant_id AND s.key <> ''), 0)";
    assert!(conn.rows(sql, Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_hooks_take_is_shown_and_freed_with_them() {
    for api in Api::all().await {
        let (_, key) = api.merchant_with_key("Shop").await;
        let none = json!({"components": 0, "compiled_code": 0, "storage": 0, "runs": 0, "total": 0, "limit": 1 << 30});
        assert_eq!(usage(&api, &key).await, none);
        let (one, two) = (HookGuest::new(), HookGuest::new().named("hook", "0.2.0"));
        let made = api.upload_hook(&key, &one).await.ok();
        let hook = made["hook"]["id"].as_str().unwrap();
        let first = usage(&api, &key).await;
        let manifest = made["version"]["manifest"].clone();
        assert!(first["components"].as_u64().unwrap() > one.component().len() as u64, "{manifest}");
        assert!(first["compiled_code"].as_i64().unwrap() > 1000);
        // The same component again is the version that it already is.
        api.upload_hook(&key, &one).await.ok();
        assert_eq!(usage(&api, &key).await, first);
        let second = api.upload(&key, "/v1/hooks", "application/wasm", two.component()).await.ok();
        put(&api, &key, hook, "a", 1000).await.ok();
        put(&api, &key, hook, "a", 10).await.ok();
        put(&api, &key, hook, "b", 100).await.ok();
        let now = usage(&api, &key).await;
        assert_eq!(now["storage"], 112);
        assert!(now["components"].as_i64() > first["components"].as_i64());
        counted_right(&mut api.app.db.read().await.unwrap()).await;
        let path = format!("/v1/hooks/{hook}/versions/{}", second["version"]["id"].as_str().unwrap());
        delete(&api, &key, &path).await.ok();
        delete(&api, &key, &format!("/v1/hooks/{hook}/storage/a")).await.ok();
        let now = usage(&api, &key).await;
        assert_eq!(
            (&now["components"], &now["compiled_code"]),
            (&first["components"], &first["compiled_code"])
        );
        assert_eq!(now["storage"], 101);
        delete(&api, &key, &format!("/v1/hooks/{hook}")).await.ok();
        assert_eq!(usage(&api, &key).await, none);
        // A merchant's own alone.
        let (_, other) = api.merchant_with_key("Other").await;
        api.upload_hook(&other, &one).await.ok();
        assert_eq!(usage(&api, &key).await, none);
        assert_eq!(usage(&api, &other).await, first);
    }
}

#[tokio::test]
async fn beyond_the_limit_nothing_is_stored_until_there_is_room() {
    for api in small().await {
        let (_, key) = api.merchant_with_key("Shop").await;
        let guest = HookGuest::new().grants(4000);
        let made = api.upload_hook(&key, &guest).await.ok();
        let hook = made["hook"]["id"].as_str().unwrap().to_owned();
        let total = async || usage(&api, &key).await["total"].as_i64().unwrap();
        let mut filled = 0;
        while FULL - total().await > VALUE {
            put(&api, &key, &hook, &format!("fill-{filled:04}"), 50_000).await.ok();
            filled += 1;
        }
        let before = total().await;
        let left = usize::try_from(FULL - before).unwrap();
        let refused = put(&api, &key, &hook, "a", left).await;
        assert_eq!(refused.problem(), "disk_limit");
        assert_eq!(refused.body["limit"], FULL);
        assert_eq!(refused.body["would_take"]["storage"], filled * 50_009 + left + 1);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("DELETE /v1/hooks/") && detail.contains("storage"), "{detail}");
        // What was refused has left nothing.
        assert_eq!(total().await, before);
        put(&api, &key, &hook, "a", left - 1).await.ok();
        assert_eq!(total().await, FULL);
        let two = HookGuest::new().named("hook", "0.2.0").component();
        let upload = async || api.upload(&key, "/v1/hooks", "application/wasm", two.clone()).await;
        assert_eq!(upload().await.problem(), "disk_limit");
        // Less is always let through: it is the way out.
        put(&api, &key, &hook, "a", 10).await.ok();
        upload().await.ok();
        counted_right(&mut api.app.db.read().await.unwrap()).await;
        // Its other mode shares the room, another merchant does not.
        let (_, other) = api.merchant_with_key("Other").await;
        api.upload_hook(&other, &guest).await.ok();
    }
}

#[tokio::test]
async fn a_component_that_another_merchant_has_too_survives() {
    for api in Api::all().await {
        let (_, one) = api.merchant_with_key("One").await;
        let (_, two) = api.merchant_with_key("Two").await;
        let guest = HookGuest::new();
        let ours = api.upload(&one, "/v1/hooks", "application/wasm", guest.component()).await.ok();
        api.upload_hook(&two, &guest).await.ok();
        let sha256 = ours["version"]["sha256"].as_str().unwrap();
        let [hook, version] = [&ours["hook"]["id"], &ours["version"]["id"]].map(|id| id.as_str().unwrap());
        delete(&api, &one, &format!("/v1/hooks/{hook}/versions/{version}")).await.ok();
        let mut conn = api.app.db.read().await.unwrap();
        assert_eq!(plugins::artefact_bytes(&mut conn, sha256).await.unwrap(), guest.component().len());
        assert_eq!(usage(&api, &one).await["total"], 0);
        assert!(usage(&api, &two).await["total"].as_i64().unwrap() > 0);
        counted_right(&mut conn).await;
    }
}
