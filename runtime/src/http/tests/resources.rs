//! The resources: receive addresses, networks, upstreams, plugins, webhooks, status.

use http::{Method, header};
use serde_json::{Value, json};

use super::kit::{Api, request, with};

async fn test_key(api: &Api) -> String {
    let merchant = api.merchant("Shop").await;
    api.key(&merchant, "test").await.1
}

async fn sandbox_address(api: &Api, index: u32) -> String {
    let network = api.app.networks.get("sandbox").unwrap();
    api.app.host.derive_address(&network, "sbxpub", index).await.unwrap().unwrap().text
}

#[tokio::test]
async fn a_shared_address() {
    for api in Api::all().await {
        let key = test_key(&api).await;
        let address = sandbox_address(&api, 1).await;
        let wanted = json!({"network": "sandbox", "address": address});
        let made = api.post(&key, "/v1/receive_addresses", wanted.clone()).await;
        assert_eq!((made.status.as_u16(), made.body["kind"].as_str()), (201, Some("shared")));
        let again = api.post(&key, "/v1/receive_addresses", wanted.clone()).await;
        assert_eq!((again.status.as_u16(), &again.body["id"]), (200, &made.body["id"]));
        let another = json!({"network": "sandbox", "address": sandbox_address(&api, 2).await});
        assert_eq!(api.post(&key, "/v1/receive_addresses", another).await.problem(), "address_taken");
        let stranger = test_key(&api).await;
        assert_eq!(api.post(&stranger, "/v1/receive_addresses", wanted).await.problem(), "address_taken");
    }
}

#[tokio::test]
async fn addresses_that_are_refused() {
    let api = Api::new().await;
    let key = test_key(&api).await;
    for (body, slug) in [
        (json!({"network": "sandbox", "address": "hello"}), "address_malformed"),
        (json!({"network": "sandbox", "address": ""}), "field_malformed"),
        (json!({"network": "sandbox", "address": "a".repeat(300)}), "field_malformed"),
        (json!({"network": "sandbox"}), "field_missing"),
        (json!({"network": "nowhere", "address": "x"}), "network_unknown"),
        (json!({"network": "sandbox", "unique_id": "u"}), "address_missing"),
        (json!({"network": "sandbox", "unique_id": "u\u{202e}"}), "field_malformed"),
        (json!({"network": "sandbox", "unique_id": "u", "meta": "x".repeat(5000)}), "field_malformed"),
    ] {
        assert_eq!(api.post(&key, "/v1/receive_addresses", body.clone()).await.problem(), slug, "{body}");
    }
    let live = api.key(&api.merchant("Live").await, "live").await.1;
    let body = json!({"network": "sandbox", "address": sandbox_address(&api, 1).await});
    assert_eq!(api.post(&live, "/v1/receive_addresses", body).await.problem(), "network_mode_mismatch");
}

#[tokio::test]
async fn a_customer_always_gets_the_same_address() {
    for api in Api::all().await {
        let key = test_key(&api).await;
        let bad = json!({"network": "sandbox", "public_key": "xpub"});
        assert_eq!(
            api.call(&key, Method::PUT, "/v1/extended_keys", bad).await.problem(),
            "extended_key_malformed"
        );
        let good = json!({"network": "sandbox", "public_key": "sbxpub"});
        api.call(&key, Method::PUT, "/v1/extended_keys", good.clone()).await.ok();
        let stranger = test_key(&api).await;
        assert_eq!(
            api.call(&stranger, Method::PUT, "/v1/extended_keys", good).await.problem(),
            "address_taken"
        );

        let customer = |name: &str| json!({"network": "sandbox", "unique_id": name, "meta": {"n": name}});
        let wishes = (0..20).map(|number| {
            let body = customer(&format!("customer-{}", number % 4));
            api.post(&key, "/v1/receive_addresses", body)
        });
        let answers = futures_util::future::join_all(wishes).await;
        let mut addresses = std::collections::BTreeMap::new();
        for answer in answers {
            let body = answer.ok();
            let name = body["unique_id"].as_str().unwrap().to_owned();
            let known = addresses.entry(name).or_insert_with(|| body["address"].clone());
            assert_eq!(*known, body["address"]);
        }
        assert_eq!(addresses.len(), 4);
        let list = api.get(&key, "/v1/receive_addresses").await.ok();
        assert_eq!(list["data"].as_array().unwrap().len(), 4);
        assert_eq!(list["data"][0]["meta"]["n"], list["data"][0]["unique_id"]);
        // The next one skips what is in use, even for a key that starts over.
        let again = json!({"network": "sandbox", "public_key": "sbxpub2"});
        api.call(&key, Method::PUT, "/v1/extended_keys", again).await;
        let back = json!({"network": "sandbox", "public_key": "sbxpub"});
        api.call(&key, Method::PUT, "/v1/extended_keys", back).await.ok();
        let fifth = api.post(&key, "/v1/receive_addresses", customer("customer-5")).await.ok();
        assert!(addresses.values().all(|address| *address != fifth["address"]));
    }
}

#[tokio::test]
async fn networks_are_made_offered_and_taken_away() {
    for api in Api::all().await {
        let key = test_key(&api).await;
        let names = |list: &Value| -> Vec<String> {
            list["data"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&api.get(&key, "/v1/networks").await.ok()), ["sandbox"]);
        let manifest = json!({
            "name": "second", "title": "Second", "caip2": "kassa:second", "plugin": "sandbox", "test": true,
            "credit": 2, "poll_ms": 1000, "asset": [{"symbol": "SBX", "name": "Coin", "decimals": 9}],
            "upstream": [{"url": "https://rpc.invalid/secret-key"}],
        });
        let path = "/v1/operator/networks/second";
        let put = async |body: Value| api.call(&api.operator, Method::PUT, path, body).await;
        assert_eq!(put(manifest.clone()).await.ok()["enabled"], true);
        assert_eq!(names(&api.get(&key, "/v1/networks").await.ok()), ["sandbox", "second"]);

        let upstreams = api.get(&api.operator, "/v1/operator/networks/second/upstreams").await.ok();
        assert_eq!(upstreams["data"][0]["url"], "https://rpc.invalid/…");
        put(manifest.clone()).await.ok();
        let again = api.get(&api.operator, "/v1/operator/networks/second/upstreams").await.ok();
        assert_eq!(again["data"].as_array().unwrap().len(), 1);

        for (field, value, slug) in [
            ("name", json!("third"), "field_malformed"),
            ("caip2", json!("nonsense"), "manifest_refused"),
            ("poll_ms", json!(1), "manifest_refused"),
            ("poll_ms", json!(-1), "field_malformed"),
            ("asset", json!([]), "manifest_refused"),
            ("upstream", json!([{"url": "ftp://x"}]), "url_refused"),
            ("colour", json!("red"), "field_unknown"),
        ] {
            let mut bad = manifest.clone();
            bad[field] = value;
            assert_eq!(put(bad).await.problem(), slug, "{field}");
        }
        api.post(&api.operator, &format!("{path}/disable"), json!({})).await.ok();
        assert_eq!(names(&api.get(&key, "/v1/networks").await.ok()), ["sandbox"]);
        api.post(&api.operator, &format!("{path}/enable"), json!({})).await.ok();
        assert_eq!(names(&api.get(&key, "/v1/networks").await.ok()), ["sandbox", "second"]);
        let unfreeze = api.post(&api.operator, &format!("{path}/unfreeze"), json!({"frozen": "x"})).await;
        assert_eq!(unfreeze.problem(), "conflict");
        let nowhere = api.post(&api.operator, "/v1/operator/networks/nowhere/enable", json!({})).await;
        assert_eq!(nowhere.problem(), "not_found");
    }
}

#[tokio::test]
async fn an_upstreams_secrets_are_never_shown() {
    let api = Api::new().await;
    let path = "/v1/operator/networks/sandbox/upstreams";
    let secret = json!({"url": "https://rpc.invalid/v2/KEY?k=KEY", "headers": {"Authorization": "KEY"}, "priority": 3});
    let made = api.post(&api.operator, path, secret).await.ok();
    assert_eq!((made["has_headers"].as_bool(), made["calls_per_s"].as_u64()), (Some(true), Some(10)));
    let list = api.get(&api.operator, path).await.ok();
    assert!(!list.to_string().contains("KEY"), "{list}");
    assert!(list["data"][0]["health"].is_object(), "it is in use at once: {list}");
    for (body, slug) in [
        (json!({"url": "rpc.invalid"}), "url_refused"),
        (json!({"url": "https://a.invalid", "headers": {"a b": "c"}}), "url_refused"),
        (json!({"url": "https://a.invalid", "calls_per_s": 0}), "field_malformed"),
        (json!({"url": "https://a.invalid", "calls_per_day": 0}), "field_malformed"),
        (json!({"url": "https://a.invalid", "priority": -1}), "field_malformed"),
    ] {
        assert_eq!(api.post(&api.operator, path, body.clone()).await.problem(), slug, "{body}");
    }
    let one = format!("/v1/operator/upstreams/{}", made["id"].as_str().unwrap());
    api.call(&api.operator, Method::DELETE, &one, json!({})).await.ok();
    assert_eq!(api.call(&api.operator, Method::DELETE, &one, json!({})).await.problem(), "not_found");
    assert_eq!(api.get(&api.operator, path).await.ok()["data"], json!([]));
}

#[tokio::test]
async fn plugins_come_and_go() {
    let api = Api::new().await;
    let list = api.get(&api.operator, "/v1/operator/plugins").await.ok();
    let evm = list["data"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "evm").unwrap();
    assert_eq!(evm["loaded"], true);
    let id = evm["active"]["id"].as_str().unwrap();
    let post = async |path: &str, body: Value| api.post(&api.operator, path, body).await;
    post("/v1/operator/plugins/evm/unload", json!({})).await.ok();
    assert_eq!(post("/v1/operator/plugins/evm/roll_back", json!({"from": id})).await.problem(), "conflict");
    let activated = post("/v1/operator/plugins/evm/activate", json!({"version_id": id})).await.ok();
    assert_eq!(activated["active"], true);
    assert_eq!(
        post("/v1/operator/plugins/evm/activate", json!({"version_id": "x"})).await.problem(),
        "not_found"
    );
    assert_eq!(post("/v1/operator/plugins/nope/unload", json!({})).await.problem(), "not_found");
    for (kind, bytes, slug) in [
        ("application/wasm", vec![], "component_refused"),
        ("application/wasm", b"hello".to_vec(), "component_refused"),
        ("application/wasm", b"\0asm\x01\0\0\0".to_vec(), "component_refused"),
        ("application/wasm", vec![0; 30 << 20], "body_too_large"),
        ("application/json", b"{}".to_vec(), "content_type_unsupported"),
    ] {
        let mut request =
            with(request(Method::POST, "/v1/operator/plugins", bytes), "x-api-key", &api.operator);
        request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
        assert_eq!(api.send(request).await.problem(), slug);
    }
}

#[tokio::test]
async fn a_repeated_change_of_a_plugin_happens_once() {
    let api = Api::new().await;
    let path = "/v1/operator/plugins/evm/unload";
    let send = async || {
        let request = with(request(Method::POST, path, "{}"), "x-api-key", &api.operator);
        api.send(with(request, "idempotency-key", "k")).await
    };
    let first = send().await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = send().await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(first.ok(), again.ok());
}

#[tokio::test]
async fn a_merchant_has_so_many_active_endpoints() {
    for api in Api::all().await {
        let key = test_key(&api).await;
        let wanted = json!({"url": "https://kassa.invalid/"});
        let mut paths = Vec::new();
        for _ in 0..crate::db::endpoints::PER_MERCHANT_MAX {
            let made = api.post(&key, "/v1/endpoints", wanted.clone()).await.ok();
            paths.push(format!("/v1/endpoints/{}", made["id"].as_str().unwrap()));
        }
        assert_eq!(api.post(&key, "/v1/endpoints", wanted.clone()).await.problem(), "endpoint_limit");
        // Enabling one that is active already is no more of them.
        api.post(&key, &format!("{}/enable", paths[0]), json!({})).await.ok();
        api.post(&key, &format!("{}/disable", paths[0]), json!({})).await.ok();
        api.post(&key, "/v1/endpoints", wanted).await.ok();
        let again = api.post(&key, &format!("{}/enable", paths[0]), json!({})).await;
        assert_eq!(again.problem(), "endpoint_limit");
        api.post(&key, &format!("{}/disable", paths[1]), json!({})).await.ok();
        api.post(&key, &format!("{}/enable", paths[0]), json!({})).await.ok();
    }
}

#[tokio::test]
async fn endpoints_and_their_secrets() {
    for api in Api::all().await {
        let key = test_key(&api).await;
        for (body, slug) in [
            (json!({"url": "http://example.com/"}), "url_refused"),
            (json!({"url": "https://127.0.0.1/"}), "url_refused"),
            (json!({"url": "https://[::ffff:10.0.0.1]/"}), "url_refused"),
            (json!({"url": "https://u:p@example.com/"}), "url_refused"),
            (json!({"url": "https://example.com/", "events": []}), "field_malformed"),
            (json!({"url": "https://example.com/", "events": ["invoice.nope"]}), "field_malformed"),
        ] {
            assert_eq!(api.post(&key, "/v1/endpoints", body.clone()).await.problem(), slug, "{body}");
        }
        let wanted = json!({"url": "https://kassa.invalid/", "events": ["invoice.paid"]});
        let made = api.post(&key, "/v1/endpoints", wanted).await.ok();
        let secret = made["secret"].as_str().unwrap();
        assert!(secret.starts_with("whsec_"));
        let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
        let shown = api.get(&key, &path).await.ok();
        assert_eq!((&shown["events"], shown.get("secret")), (&json!(["invoice.paid"]), None));
        let rotated = api.post(&key, &format!("{path}/rotate_secret"), json!({})).await.ok();
        assert!(rotated["secret"] != *secret && rotated["old_secret_until"].is_string());

        // A test event goes to this endpoint alone, whatever it subscribed to.
        let tried = api.post(&key, &format!("{path}/test"), json!({})).await.ok();
        let delivery =
            api.get(&key, &format!("/v1/deliveries/{}", tried["delivery_id"].as_str().unwrap())).await.ok();
        assert_eq!(
            (delivery["event_type"].as_str(), delivery["state"].as_str()),
            (Some("endpoint.test"), Some("pending"))
        );
        assert_eq!(delivery["attempt_log"], json!([]));
        let event = api.get(&key, &format!("/v1/events/{}", tried["event_id"].as_str().unwrap())).await.ok();
        assert_eq!(event["payload"]["type"], "endpoint.test");
        let resend = format!("/v1/deliveries/{}/resend", tried["delivery_id"].as_str().unwrap());
        assert_eq!(api.post(&key, &resend, json!({})).await.problem(), "delivery_pending");
        let range =
            json!({"from": "2020-01-01T00:00:00Z", "to": "2090-01-01T00:00:00Z", "delivered_too": true});
        assert_eq!(api.post(&key, &format!("{path}/resend"), range).await.ok()["queued"], 0);
        let wrong = json!({"from": "2030-01-01T00:00:00Z", "to": "2020-01-01T00:00:00Z"});
        assert_eq!(api.post(&key, &format!("{path}/resend"), wrong).await.problem(), "field_malformed");

        assert_eq!(api.post(&key, &format!("{path}/disable"), json!({})).await.ok()["state"], "disabled");
        assert_eq!(api.post(&key, &format!("{path}/test"), json!({})).await.problem(), "endpoint_disabled");
        assert_eq!(api.post(&key, &format!("{path}/enable"), json!({})).await.ok()["state"], "active");
        let list = api.get(&key, "/v1/deliveries?state=pending").await.ok();
        assert_eq!(list["data"].as_array().unwrap().len(), 1);
        assert_eq!(
            api.get(&key, "/v1/deliveries?endpoint_id=a&event_id=b").await.problem(),
            "query_malformed"
        );
    }
}

#[tokio::test]
async fn endpoints_are_changed_and_deleted() {
    for api in Api::all().await {
        let key = test_key(&api).await;
        let change = async |path: &str, body: Value| api.call(&key, Method::PATCH, path, body).await;
        let made = api.post(&key, "/v1/endpoints", json!({"url": "https://kassa.invalid/"})).await.ok();
        let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
        for (body, slug) in [
            (json!({"url": "http://example.com/"}), "url_refused"),
            (json!({"url": "https://127.0.0.1/", "events": null}), "url_refused"),
            (json!({"events": []}), "field_malformed"),
            (json!({"events": ["invoice.nope"]}), "field_malformed"),
            (json!({"events": "invoice.paid"}), "field_malformed"),
            (json!({"state": "deleted"}), "field_malformed"),
            (json!({"secret": "x"}), "field_unknown"),
        ] {
            assert_eq!(change(&path, body.clone()).await.problem(), slug, "{body}");
        }
        assert_eq!(api.get(&key, &path).await.ok()["url"], "https://kassa.invalid/");
        let both = json!({"url": "https://other.invalid/x", "events": ["invoice.paid"], "state": "disabled"});
        let changed = change(&path, both).await.ok();
        let shown = |one: &Value| (one["url"].clone(), one["events"].clone(), one["state"].clone());
        let expected = (json!("https://other.invalid/x"), json!(["invoice.paid"]), json!("disabled"));
        assert_eq!((shown(&changed), shown(&api.get(&key, &path).await.ok())), (expected.clone(), expected));
        let changed = change(&path, json!({"state": "active"})).await.ok();
        assert_eq!((&changed["events"], &changed["state"]), (&json!(["invoice.paid"]), &json!("active")));
        assert_eq!(change(&path, json!({"events": null})).await.ok()["events"], json!(null));

        let tried = api.post(&key, &format!("{path}/test"), json!({})).await.ok();
        assert_eq!(api.call(&key, Method::DELETE, &path, json!({})).await.ok()["id"], made["id"]);
        let delivery = format!("/v1/deliveries/{}", tried["delivery_id"].as_str().unwrap());
        let given_up = api.get(&key, &delivery).await.ok();
        assert_eq!(given_up["state"], "exhausted");
        assert_eq!(given_up["why"], "the endpoint was deleted");
        assert_eq!(
            api.post(&key, &format!("{delivery}/resend"), json!({})).await.problem(),
            "endpoint_deleted"
        );
        for call in ["", "/rotate_secret", "/disable", "/enable", "/test"] {
            let method = if call.is_empty() { Method::GET } else { Method::POST };
            let answer = api.call(&key, method, &format!("{path}{call}"), json!({})).await;
            assert_eq!(answer.problem(), "not_found", "{call}");
        }
        assert_eq!(change(&path, json!({"state": "active"})).await.problem(), "not_found");
        assert_eq!(api.call(&key, Method::DELETE, &path, json!({})).await.problem(), "not_found");
        assert_eq!(api.get(&key, "/v1/endpoints").await.ok()["data"], json!([]));
    }
}

#[tokio::test]
async fn status_for_machines() {
    for api in Api::all().await {
        assert_eq!(api.send(request(Method::GET, "/health", "")).await.ok()["status"], "ok");
        let ready = api.send(request(Method::GET, "/ready", "")).await.ok();
        assert_eq!(
            (ready["status"].as_str(), ready["database"].as_str()),
            (Some("ready"), Some(api.app.db.kind()))
        );

        assert_eq!(api.send(request(Method::GET, "/metrics", "")).await.problem(), "key_missing");
        let (_, merchant) = api.merchant_with_key("Shop").await;
        assert_eq!(api.get(&merchant, "/metrics").await.problem(), "operator_only");
        api.get(&api.operator, "/metrics").await.ok();

        api.app.db.close().await;
        let down = api.send(request(Method::GET, "/ready", "")).await;
        assert_eq!((down.problem(), down.status.as_u16()), ("not_ready", 503));
        assert_eq!(api.send(request(Method::GET, "/health", "")).await.ok()["status"], "ok");
        assert_eq!(api.get(&api.operator, "/v1/operator/api_keys").await.problem(), "busy");
    }
}
