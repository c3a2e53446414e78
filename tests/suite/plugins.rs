//! Plugins are exchanged while money moves, and what is no plugin stays outside.

use kassa_tests::{Answer, Api, Database, Kind, Suite, World, WorldOptions, eventually, list, text};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("plugins::swapped_and_rolled_back_while_transfers_flow", swap);
    suite.both("plugins::an_unloaded_plugin_stands_still_and_catches_up", unload);
    suite.both("plugins::a_version_outlives_a_restart", restart);
    suite.both("plugins::a_version_in_the_shadow_reads_the_same_blocks_and_hurts_nobody", shadow);
    suite.both("plugins::what_is_no_plugin_is_refused_and_changes_nothing", refused);
    suite.both("plugins::what_asks_for_more_than_it_is_granted_is_not_activated", grants);
}

/// The bytes of the EVM plugin that comes with the binary, as the database holds them.
async fn evm(world: &World) -> Vec<u8> {
    let column = match world.database.kind() {
        Kind::Sqlite => "hex(a.wasm)",
        Kind::Postgres => "encode(a.wasm, 'hex')",
    };
    let sql = format!(
        "SELECT {column} FROM artefact a JOIN plugin_version v ON v.sha256 = a.sha256
         JOIN plugin p ON p.active_id = v.id WHERE p.name = 'evm'"
    );
    let hex = world.database.value(&sql).await.expect("the plugin is stored");
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The same component with this text of its manifest replaced by another of the same length.
fn edited(wasm: &[u8], from: &str, to: &str) -> Vec<u8> {
    let padded = format!("{to:<width$}", width = from.len());
    assert_eq!(padded.len(), from.len(), "{to} is too long");
    let offsets = wasm.windows(from.len()).enumerate().filter(|(_, window)| *window == from.as_bytes());
    let offsets: Vec<usize> = offsets.map(|(offset, _)| offset).collect();
    assert!(!offsets.is_empty(), "the manifest has no text {from}");
    let mut wasm = wasm.to_vec();
    for offset in offsets {
        wasm[offset..offset + from.len()].copy_from_slice(padded.as_bytes());
    }
    wasm
}

fn version_2(wasm: &[u8]) -> Vec<u8> {
    edited(wasm, "version = \"0.1.0\"", "version = \"0.2.0\"")
}

async fn upload(api: &Api, wasm: Vec<u8>) -> Answer {
    api.send(Method::POST, "/v1/operator/plugins", &[("content-type", "application/wasm")], Some(wasm)).await
}

async fn active(api: &Api) -> String {
    let plugins = list(&api.get("/v1/operator/plugins").await.ok());
    let evm = plugins.iter().find(|plugin| plugin["name"] == "evm").expect("the EVM plugin");
    assert_eq!(evm["loaded"], true, "{evm}");
    text(&evm["active"]["id"])
}

async fn swap(database: Database) {
    let world = World::with(database, WorldOptions { credit: json!(1), ..WorldOptions::default() }).await;
    let operator = world.kassa.operator();
    let one = active(&operator).await;
    let made = upload(&operator, version_2(&evm(&world).await)).await.ok();
    assert_eq!(made["version"], "0.2.0");
    let two = text(&made["id"]);
    assert_eq!(active(&operator).await, one, "uploaded is not yet active");

    let flow = async {
        let mut invoices = Vec::new();
        for number in 1..=40 {
            let invoice = world.invoice(if number % 2 == 0 { "USDT" } else { "ETH" }, "7").await;
            world.pay(&invoice).await;
            world.anvil.mine(1).await;
            invoices.push(invoice);
        }
        invoices
    };
    let swaps = async {
        for _ in 0..10 {
            let activate = json!({"version_id": two});
            operator.post("/v1/operator/plugins/evm/activate", &activate).await.ok();
            assert_eq!(active(&operator).await, two);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            operator.post("/v1/operator/plugins/evm/roll_back", &json!({"from": two})).await.ok();
            assert_eq!(active(&operator).await, one);
        }
    };
    let (invoices, ()) = tokio::join!(flow, swaps);
    for invoice in &invoices {
        world.until(invoice, "paid").await;
    }
    world.settled().await;
    assert_eq!(world.unmatched().await.len(), 0);
    assert_eq!(world.receiver.got_kind("invoice.paid").len(), 40);
    assert!(!world.kassa.log().contains("the plugin failed"), "no call failed for a swap");
}

async fn shadow(database: Database) {
    let world = World::start(database).await;
    let operator = world.kassa.operator();
    let one = active(&operator).await;
    // One that differs in nothing but its number, and one that waits for another event than Transfer.
    let wasm = evm(&world).await;
    let alike = text(&upload(&operator, version_2(&wasm)).await.ok()["id"]);
    let blind = edited(&version_2(&wasm), "0xddf252ad1be2c89b", "0xddf252ad1be2c89c");
    let blind = text(&upload(&operator, blind).await.ok()["id"]);
    let path = "/v1/operator/plugins/evm/shadow";
    let paid = async || {
        let invoice = world.invoice("USDT", "7").await;
        world.pay(&invoice).await;
        world.anvil.mine(5).await;
        world.until(&invoice, "paid").await;
    };
    let tally = async |enough: &dyn Fn(&Value) -> bool| {
        eventually("scans beside each other", || async {
            let seen = operator.get(path).await.ok();
            if enough(&seen) { Ok(seen) } else { Err(seen.to_string()) }
        })
        .await
    };
    operator.put(path, &json!({"version_id": alike})).await.ok();
    paid().await;
    let seen = tally(&|seen| seen["scans"].as_u64() > Some(0)).await;
    assert_eq!((&seen["different"], &seen["version_id"]), (&json!(0), &json!(alike)), "{seen}");

    operator.put(path, &json!({"version_id": blind})).await.ok();
    paid().await;
    let seen = tally(&|seen| seen["different"].as_u64() > Some(0)).await;
    assert!(text(&seen["newest"][0]["what"]).contains("does not report transfer"), "{seen}");
    assert_eq!(active(&operator).await, one);
    // Promoted, it is in the shadow no longer.
    operator.put(path, &json!({"version_id": alike})).await.ok();
    operator.post("/v1/operator/plugins/evm/activate", &json!({"version_id": alike})).await.ok();
    assert!(operator.get(path).await.ok()["version_id"].is_null());
    operator.put(path, &json!({"version_id": one})).await.ok();
    operator.put(path, &json!({"version_id": null})).await.ok();
    assert!(operator.get(path).await.ok()["version_id"].is_null());
    let unknown = json!({"version_id": "plv_01ARZ3NDEKTSV4RRFFQ69G5FAV"});
    assert!(operator.put(path, &unknown).await.problem(404).ends_with("/not_found"));
    paid().await;
    world.settled().await;
}

async fn unload(database: Database) {
    let world = World::start(database).await;
    let operator = world.kassa.operator();
    let one = active(&operator).await;
    let invoice = world.invoice("USDT", "7").await;
    operator.post("/v1/operator/plugins/evm/unload", &json!({})).await.ok();
    world.pay(&invoice).await;
    world.anvil.mine(5).await;
    let refused = world.api().post("/v1/receive_addresses", &json!({"network": kassa_tests::NETWORK, "address": "0x00000000000000000000000000000000000beef1", "unique_id": "a"})).await;
    assert!(refused.problem(503).ends_with("/plugin_missing"));
    assert_eq!(world.get_invoice(&invoice).await["status"], "new");
    operator.post("/v1/operator/plugins/evm/activate", &json!({"version_id": one})).await.ok();
    world.until(&invoice, "paid").await;
    world.settled().await;
}

async fn restart(database: Database) {
    let mut world = World::start(database).await;
    let made = upload(&world.kassa.operator(), version_2(&evm(&world).await)).await.ok();
    let activate = json!({"version_id": made["id"]});
    world.kassa.operator().post("/v1/operator/plugins/evm/activate", &activate).await.ok();
    world.kassa.restart().await;
    assert_eq!(
        active(&world.kassa.operator()).await,
        text(&made["id"]),
        "the embedded one does not come back"
    );
    let invoice = world.invoice("USDT", "7").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
    // A compiled cache that was tampered with is not believed, and no reason to fail.
    world.kassa.kill();
    let mut spoiled = 0;
    for file in world.kassa.own_compiled() {
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        spoiled += 1;
    }
    assert!(spoiled > 0);
    world.kassa.restart().await;
    let invoice = world.invoice("USDT", "8").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
}

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

async fn refused(database: Database) {
    let mut options = WorldOptions::default();
    options.kassa = options.kassa.with("KASSA_PLUGINS__ARTEFACT_BYTES_MAX", "3000000");
    let world = World::with(database, options).await;
    let operator = world.kassa.operator();
    let good = evm(&world).await;
    let before = operator.get("/v1/operator/plugins").await.ok();
    let bad: [(&str, Vec<u8>); 9] = [
        ("truncated", Vec::new()),
        ("not-wasm", b"#!/bin/sh\necho".to_vec()),
        ("not-wasm", vec![0; 4096]),
        ("core-module", b"\0asm\x01\0\0\0".to_vec()),
        ("no-role", COMPONENT.to_vec()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("forbidden-import", edited(&good, "kassa:plugin/watch@0.1.0", "wasi:sockets/tcpip@0.2.0")),
        ("forbidden-import", edited(&good, "kassa:plugin/watch@0.1.0", "kassa:plugin/vault@0.1.0")),
        ("bad-manifest", edited(&good, "version = \"0.1.0\"", "version = \"0.1\"")),
    ];
    for (reason, wasm) in bad {
        let size = wasm.len();
        let answer = upload(&operator, wasm).await;
        assert!(answer.problem(422).ends_with("/component_refused"), "{size}: {answer:?}");
        assert_eq!(answer.body["reason"], reason, "{size} bytes: {}", answer.body);
    }
    let huge = upload(&operator, vec![0; 3_000_001]).await;
    assert!(huge.problem(413).ends_with("/body_too_large"));
    let typed = operator.post_raw("/v1/operator/plugins", good.clone()).await;
    assert!(typed.problem(415).ends_with("/content_type_unsupported"));
    let merchants = upload(&world.api(), good).await;
    assert!(merchants.problem(403).ends_with("/operator_only"));
    // What was not read ends the connection, and the answer says so; what was read does not.
    let closes = |answer: &Answer| answer.headers.get("connection").is_some_and(|value| value == "close");
    assert!([&huge, &typed, &merchants].into_iter().all(closes), "{huge:?} {typed:?} {merchants:?}");
    assert!(!closes(&upload(&operator, vec![0; 100_000]).await));
    assert!(!closes(&operator.post_raw("/v1/operator/plugins", vec![0; 100]).await));
    assert_eq!(operator.get("/v1/operator/plugins").await.ok(), before);
    let versions = list(&operator.get("/v1/operator/plugins/evm").await.ok());
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert!(operator.get("/v1/operator/plugins/nosuch").await.problem(404).ends_with("/not_found"));

    let invoice = world.invoice("USDT", "7").await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
}

async fn grants(database: Database) {
    let world = World::start(database).await;
    let operator = world.kassa.operator();
    let one = active(&operator).await;
    let greedy = edited(&version_2(&evm(&world).await), "memory_mib = 64", "memory_mib = 65");
    let made = upload(&operator, greedy).await.ok();
    let version = text(&made["id"]);
    let activate = json!({"version_id": version});
    let refused = operator.post("/v1/operator/plugins/evm/activate", &activate).await;
    assert!(refused.problem(422).ends_with("/grant_refused"));
    assert!(text(&refused.body["detail"]).contains("memory_mib 65"), "{}", refused.body);
    assert_eq!(active(&operator).await, one);

    let mut grants: Value = made["grants"].clone();
    grants["memory_mib"] = json!(65);
    operator
        .put("/v1/operator/plugins/evm/grants", &json!({"version_id": version, "grants": grants}))
        .await
        .ok();
    operator.post("/v1/operator/plugins/evm/activate", &activate).await.ok();
    eventually("the granted version", || async {
        let now = active(&operator).await;
        if now == version { Ok(()) } else { Err(now) }
    })
    .await;
}
