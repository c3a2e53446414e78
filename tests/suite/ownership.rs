//! Whose an address or an extended key is: proven by what real wallets sign, and told to whom it belongs.

use kassa_tests::{
    Answer, Api, Database, Kassa, KassaOptions, MASTER_KEY, NETWORK, Shop, Suite, World, WorldOptions, list,
    sign, text,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("ownership::evm_wallets_prove", evm);
    suite.both("ownership::tron_wallets_prove", tron);
    suite.both("ownership::ton_wallets_prove", ton);
    suite.both("ownership::statements_are_of_one_thing", statements);
    suite.both("ownership::an_operator_can_demand_it", demanded);
    suite.both("ownership::who_has_it_is_told", told);
}

/// `m/44'/60'/0'/0` of the phrase that the wallets here have; its child 0 is the first of them.
const EXTENDED_KEY: &str = "xpub6DyUKdwoLWmUJ4Tn9Bbsdtx7B5Ws18mEN19e5HT52ikE53FiUheSQXrZUNPovqfyKmw4579A1Mm3GXXKM39N64uooBfJ4tNAzFsEbodRTx4";

/// A merchant on a live network of this plugin, which nobody reads.
async fn shop(database: Database, plugin: &str, caip2: &str, settings: Value) -> Shop {
    let kassa = Kassa::start(&database, KassaOptions::default()).await;
    let shop = Shop::open(kassa, database, "proving", "live").await;
    let unique = json!({"decimals": 6, "slots": 9999});
    let asset = json!({"symbol": "COIN", "name": "Coin", "decimals": 9, "unique": unique});
    let manifest = json!({
        "name": "proving", "title": "Proving", "caip2": caip2, "plugin": plugin, "test": false, "credit": "final",
        "poll_ms": 1000, "settings": settings, "asset": [asset],
    });
    shop.put_network(&manifest).await;
    shop
}

async fn statement(api: &Api, network: &str, what: &str, value: &str) -> String {
    let asked = json!({"network": network, what: value});
    let made = api.post("/v1/ownership_statements", &asked).await.ok();
    assert!(text(&made["expires_at"]) > text(&json!("2026")), "{made}");
    text(&made["statement"])
}

async fn address(api: &Api, network: &str, address: &str, statement: &str, proof: &str) -> Answer {
    let ownership = json!({"statement": statement, "proof": proof});
    let body = json!({"network": network, "address": address, "ownership": ownership});
    api.post("/v1/receive_addresses", &body).await
}

/// Refused for this reason, and nothing is there that was not before.
async fn refused(api: &Api, answer: &Answer, reason: &str) {
    assert_eq!(answer.problem(422), "/problems/ownership_refused", "{answer:?}");
    assert_eq!(answer.body["reason"], reason, "{answer:?}");
    let kept = list(&api.get("/v1/receive_addresses").await.ok());
    assert!(kept.iter().all(|one| one["ownership_proven_at"].is_null()), "{kept:?}");
}

/// Every digit but the last two (which key it is) with a bit flipped, now and then.
fn flipped(proof: &str) -> Vec<String> {
    let flip = |index: usize| {
        let digit = u32::from_str_radix(&proof[index..=index], 16).expect("a digit") ^ 1;
        format!("{}{digit:x}{}", &proof[..index], &proof[index + 1..])
    };
    (2..130).step_by(25).map(flip).collect()
}

/// What no wallet of the two chains gives whose proofs are 65 bytes.
async fn hostile_signatures(api: &Api, owner: &str, signed: &str, proof: &str, stranger: &str) {
    for wrong in flipped(proof).iter().map(String::as_str).chain([stranger]) {
        refused(api, &address(api, "proving", owner, signed, wrong).await, "signature").await;
    }
    for byte in ["00", "ff"] {
        let nobody = format!("0x{}", byte.repeat(65));
        refused(api, &address(api, "proving", owner, signed, &nobody).await, "signature").await;
    }
    for form in ["", "0x", "0x00", &proof[..131], &format!("{proof}00"), "{}", &"0".repeat(16_000)] {
        refused(api, &address(api, "proving", owner, signed, form).await, "malformed_proof").await;
    }
    let long = address(api, "proving", owner, signed, &"0".repeat(17_000)).await;
    assert_eq!(long.problem(400), "/problems/field_malformed");
    let huge = address(api, "proving", owner, signed, &"0".repeat(1 << 20)).await;
    assert_eq!(huge.problem(413), "/problems/body_too_large");
}

async fn proves(api: &Api, owner: &str, signed: &str, proof: &str) {
    let made = address(api, "proving", owner, signed, proof).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.body["ownership_proven_at"].is_string(), "{made:?}");
    let again = address(api, "proving", owner, signed, proof).await.ok();
    assert_eq!(again["id"], made.body["id"]);
    let read = api.get(&format!("/v1/receive_addresses/{}", text(&made.body["id"]))).await.ok();
    assert_eq!(read["ownership_proven_at"], again["ownership_proven_at"]);
}

async fn evm(database: Database) {
    let shop = shop(database, "evm", "eip155:8453", json!({})).await;
    signs(&shop, "evm").await;
    // An extended key, by its first address.
    let api = shop.api();
    let signed = statement(&api, "proving", "extended_public_key", EXTENDED_KEY).await;
    let key = async |statement: &str, proof: &Value| {
        let ownership = json!({"statement": statement, "proof": proof});
        let body = json!({"network": "proving", "public_key": EXTENDED_KEY, "ownership": ownership});
        api.put("/v1/extended_keys", &body).await
    };
    for (child, of) in [(1, signed.clone()), (0, format!("{signed}0"))] {
        let wrong = sign(&json!({"chain": "evm", "child": child, "statement": of}))["proof"].clone();
        let answer = key(&signed, &wrong).await;
        assert_eq!(answer.problem(422), "/problems/ownership_refused");
        assert_eq!(answer.body["reason"], "signature");
    }
    let first = sign(&json!({"chain": "evm", "child": 0}));
    let of_address = statement(&api, "proving", "address", &text(&first["address"])).await;
    let wrong = sign(&json!({"chain": "evm", "child": 0, "statement": of_address}))["proof"].clone();
    assert_eq!(
        key(&of_address, &wrong).await.body["reason"],
        "another_address",
        "it is of the address alone"
    );
    assert_eq!(list(&api.get("/v1/extended_keys").await.ok()), Vec::<Value>::new());

    let right = sign(&json!({"chain": "evm", "child": 0, "statement": signed}));
    let made = key(&signed, &right["proof"]).await.ok();
    assert!(made["ownership_proven_at"].is_string(), "{made}");
    let body = json!({"network": "proving", "public_key": EXTENDED_KEY});
    let again = api.put("/v1/extended_keys", &body).await.ok();
    assert_eq!(again["ownership_proven_at"], made["ownership_proven_at"], "it stays proven");
}

async fn tron(database: Database) {
    let shop = shop(database, "tron", "tron:0x2b6653dc", json!({})).await;
    signs(&shop, "tron").await;
}

async fn signs(shop: &Shop, chain: &str) {
    let api = shop.api();
    let owner = text(&sign(&json!({"chain": chain, "child": 5}))["address"]);
    let signed = statement(&api, "proving", "address", &owner).await;
    let by = |child: u32, statement: &str| {
        text(&sign(&json!({"chain": chain, "child": child, "statement": statement}))["proof"])
    };
    let proof = by(5, &signed);
    hostile_signatures(&api, &owner, &signed, &proof, &by(6, &signed)).await;
    refused(&api, &address(&api, "proving", &owner, &signed, &by(5, "another text")).await, "signature")
        .await;
    proves(&api, &owner, &signed, &proof).await;
}

async fn ton(database: Database) {
    let shop = shop(database, "ton", "tvm:-239", json!({"ownership_domain": "shop.example"})).await;
    let wallet = |version: &str, seed: &str, statement: &str, hashed: bool| {
        let asked = json!({"chain": "ton", "version": version, "seed": seed, "statement": statement, "hashed": hashed});
        sign(&asked)
    };
    let wallets = [("V3R2", false), ("V4", false), ("V5R1", true)];
    for (version, hashed) in wallets {
        let api = Api::new(shop.kassa.url(), &shop.new_merchant(version, "live").await.key);
        let owner = text(&wallet(version, "owner", "", false)["address"]);
        let signed = statement(&api, "proving", "address", &owner).await;
        let made = text(&wallet(version, "owner", &signed, hashed)["proof"]);
        let proof: Value = serde_json::from_str(&made).expect("a proof");
        let with = |path: &str, value: Value| {
            let mut changed = proof.clone();
            *changed.pointer_mut(path).expect("a field") = value;
            changed.to_string()
        };
        let stranger: Value =
            serde_json::from_str(&text(&wallet(version, "stranger", &signed, hashed)["proof"]))
                .expect("a proof");
        let elsewhere = json!({
            "chain": "ton", "version": version, "seed": "owner", "statement": signed, "domain": "evil.example",
        });
        for (wrong, reason) in [
            (with("/payload", json!("another text")), "signature"),
            (with("/timestamp", json!(1)), "signature"),
            (with("/signature", stranger["signature"].clone()), "signature"),
            (with("/state_init", stranger["state_init"].clone()), "malformed_proof"),
            (with("/signature", json!("AAAA")), "malformed_proof"),
            (with("/state_init", json!("A".repeat(10_000))), "malformed_proof"),
            (with("/domain/lengthBytes", json!(4_000_000_000_u32)), "malformed_proof"),
            (stranger.to_string(), "malformed_proof"),
            (text(&sign(&elsewhere)["proof"]), "malformed_proof"),
            ("[".repeat(16_000), "malformed_proof"),
        ] {
            refused(&api, &address(&api, "proving", &owner, &signed, &wrong).await, reason).await;
        }
        proves(&api, &owner, &signed, &made).await;
    }
    // A wallet that says in no known place which key it has.
    let api = shop.api();
    let owner = text(&wallet("V2R2", "owner", "", false)["address"]);
    let signed = statement(&api, "proving", "address", &owner).await;
    let proof = text(&wallet("V2R2", "owner", &signed, false)["proof"]);
    assert_eq!(address(&api, "proving", &owner, &signed, &proof).await.body["reason"], "unknown_wallet");
}

async fn statements(database: Database) {
    let shop = shop(database, "evm", "eip155:8453", json!({})).await;
    let api = shop.api();
    let mut other = json!({"name": "elsewhere", "title": "Elsewhere", "caip2": "eip155:1", "plugin": "evm"});
    for (field, value) in [
        ("test", json!(false)),
        ("credit", json!("final")),
        ("poll_ms", json!(1000)),
        ("asset", json!([{"symbol": "ETH", "name": "Ether", "decimals": 18}])),
    ] {
        other[field] = value;
    }
    shop.put_network(&other).await;
    let by = |child: u32, statement: &str| {
        text(&sign(&json!({"chain": "evm", "child": child, "statement": statement}))["proof"])
    };
    let owner = text(&sign(&json!({"chain": "evm", "child": 0}))["address"]);
    let signed = statement(&api, "proving", "address", &owner).await;
    let proof = by(0, &signed);

    // Each is signed by the right key, and is of something else.
    let stranger = Api::new(shop.kassa.url(), &shop.new_merchant("stranger", "live").await.key);
    refused(&stranger, &address(&stranger, "proving", &owner, &signed, &proof).await, "another_merchant")
        .await;
    refused(&api, &address(&api, "elsewhere", &owner, &signed, &proof).await, "another_network").await;
    let second = text(&sign(&json!({"chain": "evm", "child": 1}))["address"]);
    refused(&api, &address(&api, "proving", &second, &signed, &proof).await, "another_address").await;
    let altered = signed.replace("first", "last");
    assert_ne!(altered, signed, "{signed}");
    refused(&api, &address(&api, "proving", &owner, &altered, &by(0, &altered)).await, "not_a_statement")
        .await;
    for (minutes, reason) in [(61, "expired"), (60 * 24 * 365, "expired")] {
        let aged = json!({"chain": "aged", "master": MASTER_KEY, "statement": signed, "minutes": minutes});
        let old = text(&sign(&aged)["statement"]);
        refused(&api, &address(&api, "proving", &owner, &old, &by(0, &old)).await, reason).await;
    }
    let aged =
        json!({"chain": "aged", "master": MASTER_KEY.replace('5', "6"), "statement": signed, "minutes": 0});
    let forged = text(&sign(&aged)["statement"]);
    refused(&api, &address(&api, "proving", &owner, &forged, &by(0, &forged)).await, "not_a_statement").await;
    for (field, body) in [
        ("address", json!({"network": "proving"})),
        ("address", json!({"network": "proving", "address": owner, "extended_public_key": EXTENDED_KEY})),
    ] {
        let answer = api.post("/v1/ownership_statements", &body).await;
        assert_eq!(
            (answer.problem(400).as_str(), &answer.body["field"]),
            ("/problems/field_missing", &json!(field))
        );
    }
    let nothing =
        json!({"network": "proving", "unique_id": "a", "ownership": {"statement": signed, "proof": proof}});
    assert!(api.post("/v1/receive_addresses", &nothing).await.status >= 400);

    // What was there before is proven later; it is answered once, however old the statement is by then.
    let body = json!({"network": "proving", "address": owner});
    let made = api.post("/v1/receive_addresses", &body).await.ok();
    assert_eq!(made["ownership_proven_at"], Value::Null, "{made}");
    let fifty = json!({"chain": "aged", "master": MASTER_KEY, "statement": signed, "minutes": 50});
    let old = text(&sign(&fifty)["statement"]);
    let body = json!({"network": "proving", "address": owner, "ownership": {"statement": old, "proof": by(0, &old)}});
    let proven = api.post_once("/v1/receive_addresses", "once", &body).await.ok();
    assert_eq!(proven["id"], made["id"]);
    assert!(proven["ownership_proven_at"].is_string(), "{proven}");
    assert_eq!(api.post_once("/v1/receive_addresses", "once", &body).await.ok(), proven);
}

async fn demanded(database: Database) {
    let mut world = World::with(database, WorldOptions::default()).await;
    let (before, old_key) = (
        list(&world.api().get("/v1/receive_addresses").await.ok()),
        json!({
            "network": NETWORK, "public_key": EXTENDED_KEY, "first_index": 0,
        }),
    );
    world.api().put("/v1/extended_keys", &old_key).await.ok();
    world.kassa.kill();
    world.kassa.spawn(&[("KASSA_ADDRESSES__OWNERSHIP", "required")]);
    world.kassa.ready().await;
    assert!(world.kassa.log().contains("they go on without a proof"), "{}", world.kassa.log());
    let api = world.api();

    // What was there goes on.
    let invoice = world.invoice("USDT", "7").await;
    assert_eq!(invoice["destination_address"], before[0]["address"], "{invoice}");
    api.put("/v1/extended_keys", &old_key).await.ok();
    let derived =
        api.post("/v1/receive_addresses", &json!({"network": NETWORK, "unique_id": "a"})).await.ok();
    assert_eq!(derived["derived_index"], 0);

    // What is new needs a proof.
    let unproven =
        |answer: &Answer| assert_eq!(answer.problem(422), "/problems/ownership_unproven", "{answer:?}");
    let stranger = Api::new(world.kassa.url(), &world.new_merchant("stranger", "live").await.key);
    let owner = text(&sign(&json!({"chain": "evm", "key": format!("0x{}", "31".repeat(32))}))["address"]);
    let customer = json!({"network": NETWORK, "address": owner, "unique_id": "b"});
    unproven(&api.post("/v1/receive_addresses", &customer).await);
    unproven(&stranger.post("/v1/receive_addresses", &json!({"network": NETWORK, "address": owner})).await);
    let key = json!({"network": NETWORK, "public_key": "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"});
    unproven(&stranger.put("/v1/extended_keys", &key).await);
    // Where no plugin can tell, nothing new is taken, and it is said why.
    let silent = json!({
        "name": "silent", "title": "Silent", "caip2": "kassa:silent", "plugin": "sandbox", "test": false, "credit": 1,
        "poll_ms": 1000, "asset": [{"symbol": "ETH", "name": "Ether", "decimals": 18}],
    });
    world.put_network(&silent).await;
    let asked = json!({"network": "silent", "extended_public_key": "sbxpub"});
    let key = json!({"network": "silent", "public_key": "sbxpub"});
    for answer in
        [api.post("/v1/ownership_statements", &asked).await, api.put("/v1/extended_keys", &key).await]
    {
        assert_eq!(answer.problem(422), "/problems/ownership_unsupported", "{answer:?}");
    }
    let signed = statement(&api, NETWORK, "address", &owner).await;
    let asked = json!({"chain": "evm", "key": format!("0x{}", "31".repeat(32)), "statement": signed});
    let mut body = customer.clone();
    body["ownership"] = json!({"statement": signed, "proof": sign(&asked)["proof"]});
    let made = api.post("/v1/receive_addresses", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(api.post("/v1/receive_addresses", &customer).await.ok()["id"], made.body["id"], "it is there");
    world.settled().await;
}

async fn told(database: Database) {
    let world = World::start(database).await;
    let owner = world.api();
    let key = json!({"network": NETWORK, "public_key": EXTENDED_KEY});
    let set = owner.put("/v1/extended_keys", &key).await.ok();
    let shared = list(&owner.get("/v1/receive_addresses").await.ok()).remove(0);
    let stranger = world.new_merchant("stranger", "live").await;
    let api = Api::new(world.kassa.url(), &stranger.key);
    for _ in 0..3 {
        let body = json!({"network": NETWORK, "address": shared["address"]});
        assert_eq!(api.post("/v1/receive_addresses", &body).await.problem(409), "/problems/address_taken");
        assert_eq!(api.put("/v1/extended_keys", &key).await.problem(409), "/problems/address_taken");
    }
    // What it has itself is nobody's claim.
    let own = json!({"network": NETWORK, "address": shared["address"], "unique_id": "a"});
    assert_eq!(owner.post("/v1/receive_addresses", &own).await.problem(409), "/problems/address_taken");
    let kind = "receive_address.claimed_by_another";
    let hooks = world.receiver.wait_for(kind, 2).await;
    world.verify_all(&hooks);
    let of = |field: &str, id: &Value| {
        hooks.iter().find(|hook| hook.json()["data"][field] == *id).map(|hook| hook.json())
    };
    let address = of("receive_address_id", &shared["id"]).expect("one of the address");
    assert_eq!(address["data"]["address"], shared["address"], "{address}");
    assert_eq!(address["data"]["network"], NETWORK);
    assert!(of("extended_key_id", &set["id"]).is_some(), "{hooks:?}");
    assert!(!address.to_string().contains(&stranger.id), "it does not say who: {address}");
    world.delivered().await;
    assert_eq!(world.receiver.got_kind(kind).len(), 2, "once a day of each");
    assert_eq!(list(&api.get("/v1/events").await.ok()), Vec::<Value>::new());
}
