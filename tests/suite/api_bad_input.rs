//! What clients send that they should not: each gets a problem with a stable type, and nothing is half done.

use kassa_tests::{Answer, Database, NETWORK, SHARED_ADDRESS, Suite, World, list, text};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("api_bad_input::bodies", bodies);
    suite.both("api_bad_input::invoices", invoices);
    suite.both("api_bad_input::addresses", addresses);
    suite.both("api_bad_input::keys", keys);
    suite.both("api_bad_input::ids_of_others", foreign_ids);
    suite.both("api_bad_input::networks_and_upstreams", networks);
}

/// The last part of a problem's type.
fn slug(answer: &Answer, status: u16) -> String {
    let kind = answer.problem(status);
    kind.rsplit('/').next().unwrap_or_default().to_owned()
}

/// How much there is of everything: what a refused request must not change.
pub(crate) async fn counts(world: &World) -> Vec<Option<String>> {
    let tables = [
        "merchant",
        "api_key",
        "network",
        "upstream",
        "receive_address",
        "invoice",
        "hold",
        "endpoint",
        "event",
        "plugin_version",
    ];
    let columns = tables.map(|table| format!("CAST((SELECT COUNT(*) FROM {table}) AS TEXT)"));
    world.database.rows(&format!("SELECT {}", columns.join(", "))).await.remove(0)
}

async fn bodies(database: Database) {
    let world = World::start(database).await;
    let before = counts(&world).await;
    let good = world.order("USDT", "10").to_string();
    let deep = format!("{{\"title\":\"a\",\"meta\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("json_malformed", b"".to_vec()),
        ("json_malformed", b"{".to_vec()),
        ("json_malformed", good.as_bytes()[..good.len() - 1].to_vec()),
        ("json_malformed", format!("{good}x").into_bytes()),
        ("json_malformed", format!("\u{feff}{good}").into_bytes()),
        ("json_malformed", b"\xff\xfe{}".to_vec()),
        ("json_malformed", good.replace("Order", "\\ud800").into_bytes()),
        ("json_malformed", good.replace("\"10\"", "NaN").into_bytes()),
        ("json_malformed", good.replace("\"10\"", "Infinity").into_bytes()),
        ("json_malformed", good.replace("\"10\"", "1e400").into_bytes()),
        ("json_duplicate_key", good.replace('{', "{\"amount\":\"1\",").into_bytes()),
        ("json_duplicate_key", good.replace('{', "{\"meta\":{\"a\":1,\"a\":2},").into_bytes()),
        ("json_too_deep", deep.into_bytes()),
        ("json_text_refused", good.replace("Order", "a\\u0000b").into_bytes()),
        ("field_malformed", b"[]".to_vec()),
        ("field_malformed", b"\"invoice\"".to_vec()),
        ("field_malformed", b"null".to_vec()),
        ("field_missing", b"{}".to_vec()),
        ("field_unknown", good.replace('{', "{\"amuont\":\"1\",").into_bytes()),
    ];
    for (kind, body) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = world.api().post_raw("/v1/invoices", body).await;
        assert_eq!(slug(&answer, 400), kind, "{shown}");
    }
    let huge = good.replace("Order", &"a".repeat(1_000_000));
    assert_eq!(slug(&world.api().post_raw("/v1/invoices", huge).await, 413), "body_too_large");
    for (name, value, status, kind) in [
        ("content-type", "text/plain", 415, "content_type_unsupported"),
        ("content-type", "application/json; charset=utf-16", 415, "content_type_unsupported"),
        ("content-encoding", "gzip", 415, "content_encoding_unsupported"),
    ] {
        let headers = [(name, value)];
        let answer =
            world.api().send(Method::POST, "/v1/invoices", &headers, Some(good.clone().into_bytes())).await;
        assert_eq!(slug(&answer, status), kind, "{name}: {value}");
    }
    assert_eq!(slug(&world.api().get("/v1/nosuch").await, 404), "not_found");
    assert_eq!(slug(&world.api().delete("/v1/invoices").await, 405), "method_not_allowed");
    for query in ["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "nosuch=1", "cursor=zzz", "cursor="] {
        let answer = world.api().get(&format!("/v1/invoices?{query}")).await;
        let kind = slug(&answer, 400);
        assert!(["query_malformed", "cursor_malformed"].contains(&kind.as_str()), "{query}: {kind}");
    }
    assert_eq!(counts(&world).await, before);
}

async fn invoices(database: Database) {
    let world = World::start(database).await;
    let before = counts(&world).await;
    let with = |field: &str, value: Value| {
        let mut order = world.order("USDT", "10");
        order[field] = value;
        order
    };
    let amounts = [
        ("field_malformed", json!(10)),
        ("field_malformed", json!(12.5)),
        ("field_malformed", json!(["10"])),
        ("amount_malformed", json!("")),
        ("amount_malformed", json!("-1")),
        ("amount_malformed", json!("-0")),
        ("amount_malformed", json!("+1")),
        ("amount_malformed", json!("NaN")),
        ("amount_malformed", json!("Infinity")),
        ("amount_malformed", json!("1e3")),
        ("amount_malformed", json!("1,5")),
        ("amount_malformed", json!("0x10")),
        ("amount_malformed", json!("1_000")),
        ("amount_malformed", json!(" 1")),
        ("amount_malformed", json!("1.")),
        ("amount_malformed", json!(".5")),
        ("amount_malformed", json!("1.2.3")),
        ("amount_malformed", json!("١٢")),
        ("amount_too_small", json!("0")),
        ("amount_too_small", json!("0.000000")),
        ("amount_too_many_decimals", json!("1.1234567")),
        ("amount_too_large", json!("9".repeat(39))),
        ("amount_too_large", json!("9".repeat(1000))),
    ];
    for (kind, amount) in amounts {
        let answer = world.api().post("/v1/invoices", &with("amount", amount.clone())).await;
        assert_eq!(slug(&answer, 400), kind, "{amount}");
        assert_eq!(answer.body["field"], "amount", "{}", answer.body);
    }
    // 30 digits are too many for 6 decimals' worth of money anyone has; 18 decimals overflow 128 bits sooner.
    let answer = world.api().post("/v1/invoices", &world.order("DAI", &"9".repeat(30))).await;
    assert_eq!(slug(&answer, 400), "amount_too_large");
    let fields = [
        (422, "network_unknown", "payable_network", json!("nosuch")),
        (422, "network_unknown", "payable_network", json!("")),
        (422, "network_mode_mismatch", "payable_network", json!("sandbox")),
        (422, "asset_unknown", "payable_asset", json!("BTC")),
        (422, "asset_unknown", "payable_asset", json!("0x0")),
        (400, "field_malformed", "title", json!("")),
        (400, "field_malformed", "title", json!("x".repeat(5000))),
        (400, "field_malformed", "title", json!("a\u{202e}b")),
        (400, "field_malformed", "title", json!("a\u{200b}\n")),
        (400, "field_malformed", "order_id", json!("x".repeat(101))),
        (400, "field_malformed", "meta", json!({"a": "x".repeat(5000)})),
        (400, "deadline_refused", "expires_in_s", json!(0)),
        (400, "deadline_refused", "expires_in_s", json!(-1)),
        (400, "deadline_refused", "expires_in_s", json!(i64::MAX)),
        (400, "field_malformed", "expires_in_s", json!("60")),
        (400, "field_malformed", "expires_in_s", json!(60.5)),
        (400, "field_malformed", "matching", json!("guess")),
    ];
    for (status, kind, field, value) in fields {
        let answer = world.api().post("/v1/invoices", &with(field, value.clone())).await;
        assert_eq!(slug(&answer, status), kind, "{field}: {value}");
    }
    let both = world.api().post("/v1/invoices", &with("base_amount_usd", json!("10"))).await;
    assert_eq!(slug(&both, 400), "field_malformed");
    assert_eq!(counts(&world).await, before, "nothing is half done");

    let mut first = with("order_id", json!("1042"));
    world.api().post("/v1/invoices", &first).await.ok();
    first["amount"] = json!("11");
    assert_eq!(slug(&world.api().post("/v1/invoices", &first).await, 409), "order_id_taken");
    let held = "SELECT CAST(COUNT(*) AS TEXT) FROM hold";
    assert_eq!(world.database.number(held).await, 1, "the refused one holds no amount");
}

async fn addresses(database: Database) {
    let world = World::start(database).await;
    let before = counts(&world).await;
    let post = async |network: &str, address: &str, unique_id: &str| {
        let body = json!({"network": network, "address": address, "unique_id": unique_id});
        world.api().post("/v1/receive_addresses", &body).await
    };
    // The example of EIP-55, and the same with one letter's case turned.
    let good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    for (status, kind, address) in [
        (422, "address_checksum", good.replacen("aA", "AA", 1)),
        (422, "address_malformed", good[..41].to_owned()),
        (422, "address_malformed", format!("{good}0")),
        (422, "address_malformed", good[2..].to_owned() + "zz"),
        (422, "address_malformed", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t".to_owned()),
        (422, "address_malformed", "vitalik.eth".to_owned()),
        (400, "field_malformed", String::new()),
        (422, "address_malformed", "0x".repeat(99)),
    ] {
        let answer = post(NETWORK, &address, "a").await;
        assert_eq!(slug(&answer, status), kind, "{address}");
    }
    assert_eq!(slug(&post("nosuch", good, "a").await, 422), "network_unknown");
    assert_eq!(slug(&post("sandbox", good, "a").await, 422), "network_mode_mismatch");
    assert_eq!(counts(&world).await, before);

    post(NETWORK, good, "customer-1").await.ok();
    let other = post(NETWORK, &good.to_lowercase(), "customer-2").await;
    assert_eq!(slug(&other, 409), "address_taken", "the same address in another spelling");
    let second = world.new_merchant("second", "live").await;
    let body = json!({"network": NETWORK, "address": SHARED_ADDRESS});
    let stolen = world.api().with_key(&second.key).post("/v1/receive_addresses", &body).await;
    assert_eq!(slug(&stolen, 409), "address_taken");
}

async fn keys(database: Database) {
    let world = World::start(database).await;
    let operator = world.kassa.operator();
    let path = "/v1/invoices";
    let with = async |headers: &[(&str, &str)]| {
        world.api().with_key("").send(Method::GET, path, headers, None).await
    };
    assert_eq!(slug(&with(&[]).await, 401), "key_missing");
    assert_eq!(slug(&with(&[("authorization", "Bearer x")]).await, 401), "key_malformed");
    assert_eq!(slug(&with(&[("authorization", "Basic dTpw")]).await, 401), "key_malformed");
    let unknown = format!("live_{}", "a".repeat(32));
    assert_eq!(slug(&with(&[("x-api-key", &unknown)]).await, 401), "key_unknown");
    let mine = world.merchant.key.clone();
    assert_eq!(with(&[("x-api-key", &mine)]).await.status, 200);
    assert_eq!(with(&[("authorization", &format!("Bearer {mine}"))]).await.status, 200);
    let two =
        [("x-api-key", mine.as_str()), ("authorization", "Bearer live_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")];
    assert_eq!(slug(&with(&two).await, 400), "key_ambiguous");

    let soon = json!({"merchant_id": world.merchant.id, "mode": "live", "name": "old", "expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(slug(&operator.post("/v1/operator/api_keys", &soon).await, 400), "field_malformed");
    let made = world.kassa.operator();
    let made = made
        .post(
            "/v1/operator/api_keys",
            &json!({"merchant_id": world.merchant.id, "mode": "live", "name": "gone"}),
        )
        .await
        .ok();
    let gone = world.api().with_key(&text(&made["key"]));
    gone.get(path).await.ok();
    operator.post(&format!("/v1/operator/api_keys/{}/revoke", text(&made["id"])), &json!({})).await.ok();
    assert_eq!(slug(&gone.get(path).await, 401), "key_revoked");

    assert_eq!(slug(&world.api().get("/v1/operator/merchants").await, 403), "operator_only");
    assert_eq!(slug(&operator.get(path).await, 403), "merchant_only");
    let test = world.new_merchant("second", "test").await;
    let test = world.api().with_key(&test.key);
    let live_network = test.post(path, &world.order("USDT", "1")).await;
    assert_eq!(slug(&live_network, 422), "network_mode_mismatch");
    // Keys are stored as keyed hashes only.
    for table in ["api_key", "idempotency"] {
        let column = if table == "api_key" { "prefix" } else { "key" };
        let rows = world.database.rows(&format!("SELECT {column} FROM {table}")).await;
        assert!(!format!("{rows:?}").contains(&mine), "{table}");
    }
    assert!(!world.kassa.log().contains(&mine));
}

async fn foreign_ids(database: Database) {
    let world = World::start(database).await;
    let invoice = world.invoice("USDT", "10").await;
    world.pay_units(&invoice, world.due(&invoice) + 1).await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
    let second = world.new_merchant("second", "live").await;
    let stranger = world.api().with_key(&second.key);
    let mine = world.api();
    let first = async |path: &str| text(&list(&mine.get(path).await.ok())[0]["id"]);
    let reads = [
        format!("/v1/invoices/{}", text(&invoice["id"])),
        format!("/v1/transfers/{}", first("/v1/transfers").await),
        format!("/v1/payments/{}", first("/v1/payments").await),
        format!("/v1/receive_addresses/{}", first("/v1/receive_addresses").await),
        format!("/v1/endpoints/{}", first("/v1/endpoints").await),
        format!("/v1/events/{}", first("/v1/events").await),
        format!("/v1/deliveries/{}", first("/v1/deliveries").await),
    ];
    for path in &reads {
        mine.get(path).await.ok();
        assert_eq!(slug(&stranger.get(path).await, 404), "not_found", "{path}");
        // What is another's looks as what never was.
        let mut never = path.clone();
        never.replace_range(path.len() - 6.., "000000");
        assert_eq!(
            stranger.get(&never).await.body["detail"],
            stranger.get(path).await.body["detail"],
            "{path}"
        );
    }
    let unmatched = world.unmatched().await;
    let writes = [
        (format!("{}/cancel", reads[0]), json!({})),
        (format!("/v1/transfers/{}/assign", text(&unmatched[0]["id"])), json!({"invoice_id": invoice["id"]})),
        (format!("/v1/transfers/{}/dismiss", text(&unmatched[0]["id"])), json!({})),
        (format!("{}/rotate_secret", reads[4]), json!({})),
        (format!("{}/disable", reads[4]), json!({})),
        (format!("{}/resend", reads[6]), json!({})),
    ];
    // An invoice of the other mode is another's too.
    let test = json!({"merchant_id": world.merchant.id, "mode": "test", "name": "t"});
    let test = world.kassa.operator().post("/v1/operator/api_keys", &test).await.ok();
    let before = counts(&world).await;
    for (path, body) in &writes {
        assert_eq!(slug(&stranger.post(path, body).await, 404), "not_found", "{path}");
    }
    for path in [
        "/v1/invoices",
        "/v1/transfers",
        "/v1/payments",
        "/v1/receive_addresses",
        "/v1/endpoints",
        "/v1/events",
        "/v1/deliveries",
    ] {
        assert_eq!(list(&stranger.get(path).await.ok()), Vec::<Value>::new(), "{path}");
    }
    assert_eq!(slug(&mine.with_key(&text(&test["key"])).get(&reads[0]).await, 404), "not_found");
    for odd in [
        "inv_",
        "inv_'; DROP TABLE invoice;--",
        "..%2f..%2fetc",
        "%00",
        "inv_%F0%9F%92%A9",
        &"x".repeat(5000),
    ] {
        let answer = mine.get(&format!("/v1/invoices/{}", odd.replace(' ', "%20"))).await;
        assert!([400, 404].contains(&answer.status), "{odd}: {answer:?}");
    }
    assert_eq!(counts(&world).await, before);
    assert_eq!(world.get_invoice(&invoice).await["status"], "paid");
}

async fn networks(database: Database) {
    let world = World::start(database).await;
    let operator = world.kassa.operator();
    let before = counts(&world).await;
    let manifest = |name: &str| world.manifest(name, &json!(3), &json!({}), 31337);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut manifest = manifest("another");
        change(&mut manifest);
        manifest
    };
    let cases: Vec<(u16, &str, Value)> = vec![
        (422, "manifest_refused", changed(&|m| m["credit"] = json!(0))),
        (422, "manifest_refused", changed(&|m| m["poll_ms"] = json!(1))),
        (422, "manifest_refused", changed(&|m| m["caip2"] = json!("8453"))),
        (422, "manifest_refused", changed(&|m| m["asset"] = json!([]))),
        (422, "manifest_refused", changed(&|m| m["asset"][1]["decimals"] = json!(31))),
        (422, "manifest_refused", changed(&|m| m["asset"][1]["symbol"] = json!("ETH"))),
        (400, "field_unknown", changed(&|m| m["confirmations"] = json!(3))),
        (400, "field_malformed", changed(&|m| m["credit"] = json!("soon"))),
        (400, "field_malformed", changed(&|m| m["credit"] = json!(-1))),
        (400, "field_malformed", changed(&|m| m["asset"][1]["decimals"] = json!(256))),
        (400, "field_malformed", changed(&|m| m["name"] = json!("other"))),
    ];
    for (status, kind, manifest) in cases {
        let answer = operator.put("/v1/operator/networks/another", &manifest).await;
        assert_eq!(slug(&answer, status), kind, "{manifest}");
    }
    // What is in use cannot become something else.
    assert_eq!(counts(&world).await, before);
    world.invoice("USDT", "1").await;
    let before = counts(&world).await;
    for (pointer, value) in
        [("/caip2", json!("eip155:1")), ("/test", json!(true)), ("/asset/1/decimals", json!(8))]
    {
        let mut manifest = manifest(NETWORK);
        *manifest.pointer_mut(pointer).expect("a field") = value;
        let answer = operator.put(&format!("/v1/operator/networks/{NETWORK}"), &manifest).await;
        assert_eq!(slug(&answer, 409), "conflict", "{manifest}");
    }
    let path = format!("/v1/operator/networks/{NETWORK}/upstreams");
    for url in ["", "ftp://example.com", "not a url", "http://", "file:///etc/passwd"] {
        assert_eq!(slug(&operator.post(&path, &json!({"url": url})).await, 422), "url_refused", "{url}");
    }
    let header = json!({"url": "https://example.com", "headers": {"bad name": "x"}});
    assert_eq!(slug(&operator.post(&path, &header).await, 422), "url_refused");
    let rate = json!({"url": "https://example.com", "calls_per_s": 0});
    assert_eq!(slug(&operator.post(&path, &rate).await, 400), "field_malformed");
    let missing = "/v1/operator/networks/nosuch/upstreams";
    assert_eq!(slug(&operator.post(missing, &json!({"url": "https://example.com"})).await, 404), "not_found");
    assert_eq!(counts(&world).await, before);
}
