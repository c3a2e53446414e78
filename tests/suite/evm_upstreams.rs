//! Upstreams that lag, lie, refuse and fall silent: no transfer is lost, none is counted twice.

use kassa_tests::{
    Change, Database, Fault, Kind, NETWORK, Provider, Proxy, Rule, Suite, World, WorldOptions, eventually,
    list, text,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("evm_upstreams::whatever_breaks_for_a_while_is_made_up_for", passing_faults);
    suite.both("evm_upstreams::what_a_provider_refuses_for_good_is_done_another_way", standing_refusals);
    suite.both("evm_upstreams::a_stale_backend_behind_one_url_loses_nothing", stale_backend);
    suite.both("evm_upstreams::a_lagging_second_upstream_retracts_nothing", lagging_second);
    suite.both("evm_upstreams::a_dead_upstream_is_left_for_the_next", failover);
    suite.both("evm_upstreams::another_chain_behind_the_url_is_refused", another_chain);
    suite.both("evm_upstreams::logs_of_a_failed_transaction_pay_nothing_and_stop_nobody", failed_with_logs);
    suite.both("evm_upstreams::500_blocks_of_downtime_are_caught_up", downtime);
    suite.on(Kind::Sqlite, "evm_upstreams::blocks_of_three_megabytes_are_caught_up", large_blocks);
    suite.both("evm_upstreams::secret_headers_go_out_and_are_shown_nowhere", secret_headers);
}

/// Pays a new invoice and mines it so deep that it is to be credited.
async fn paid_unseen(world: &World, amount: &str) -> Value {
    let invoice = world.invoice("USDT", amount).await;
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    invoice
}

/// Waits until so many requests were spoiled since the counts were reset.
async fn spoiled(proxy: &Proxy, times: u64) {
    eventually("spoiled requests", || async {
        let counts = proxy.counts();
        if counts.spoiled >= times { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

async fn no_retraction(world: &World) {
    let rows = world.database.rows("SELECT transfer_id, kind FROM sighting WHERE kind = 'retracted'").await;
    assert!(rows.is_empty(), "what merely cannot be read was taken for gone: {rows:?}");
}

async fn passing_faults(database: Database) {
    let world = World::start(database).await;
    let status = |code: u16| Fault::Status { code, retry_after_s: None };
    let faults = [
        ("429", Rule::new(status(429))),
        ("429 with Retry-After", Rule::new(Fault::Status { code: 429, retry_after_s: Some(1) })),
        ("500", Rule::new(status(500))),
        ("502", Rule::new(status(502))),
        ("503", Rule::new(status(503))),
        ("403", Rule::new(status(403))),
        ("a web page", Rule::new(Fault::Page(200))),
        ("half an answer", Rule::new(Fault::Truncated)),
        ("a cut answer", Rule::new(Fault::Cut)),
        ("no answer", Rule::new(Fault::HangUp)),
        ("another id", Rule::new(Fault::WrongId)),
        ("no logs of a block with logs", Rule::new(Fault::Result(json!([]))).on("eth_getLogs")),
        ("no block", Rule::new(Fault::Result(Value::Null)).on("eth_getBlockByNumber")),
        ("no receipt", Rule::new(Fault::Result(Value::Null)).on("eth_getTransactionReceipt")),
        ("another shape", Rule::new(Fault::Result(json!({"a": [1, "x"]})))),
        ("an error", Rule::new(Fault::Error { code: -32000, message: "header not found" })),
        ("a head that goes back", Rule::new(Fault::Lagging(5))),
    ];
    for (index, (name, rule)) in faults.into_iter().enumerate() {
        world.caught_up().await;
        world.proxy.reset_counts();
        // Some faults are met only where there is a transfer: that is there from the start.
        let invoice = world.invoice("USDT", &format!("{}", index + 1)).await;
        world.pay(&invoice).await;
        world.proxy.add(rule);
        world.anvil.mine(3).await;
        spoiled(&world.proxy, 2).await;
        world.proxy.clear();
        world.until(&invoice, "paid").await;
        println!("  evm_upstreams: made up for {name}");
    }
    // One that says nothing at all is left after the request's own time limit.
    world.caught_up().await;
    world.proxy.reset_counts();
    world.proxy.add(Rule::new(Fault::Stall).times(1));
    let invoice = paid_unseen(&world, "99").await;
    spoiled(&world.proxy, 1).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
    no_retraction(&world).await;
    assert_eq!(world.unmatched().await.len(), 0);
}

async fn standing_refusals(database: Database) {
    let mut world = World::start(database).await;
    let rules = [
        ("batches", Rule::new(Fault::BatchRefused)),
        ("ranges over 10 blocks (Alchemy)", Rule::new(Fault::RangeLimit(Provider::Alchemy, 10))),
        ("ranges over 5 blocks (QuickNode)", Rule::new(Fault::RangeLimit(Provider::QuickNode, 5))),
        ("ranges over 7 blocks (Infura)", Rule::new(Fault::RangeLimit(Provider::Infura, 7))),
        ("ranges over 3 blocks (BSC)", Rule::new(Fault::RangeLimit(Provider::Bsc, 3))),
        ("ranges over 1 block", Rule::new(Fault::RangeLimit(Provider::Bsc, 1))),
        ("answers over 1 log", Rule::new(Fault::ResultLimit(1))),
        (
            "logs, as of BSC's public nodes",
            Rule::new(Fault::Error { code: -32005, message: "limit exceeded" }).on("eth_getLogs"),
        ),
        (
            "such a method as eth_getLogs",
            Rule::new(Fault::Error { code: -32601, message: "the method does not exist" }).on("eth_getLogs"),
        ),
        (
            "receipts by block",
            Rule::new(Fault::Error { code: -32601, message: "the method does not exist" })
                .on("eth_getBlockReceipts"),
        ),
    ];
    for (name, rule) in rules {
        world.caught_up().await;
        world.kassa.kill();
        world.proxy.clear();
        world.proxy.add(rule);
        let mut world_api = Vec::new();
        world.kassa.spawn(&[]);
        world.kassa.ready().await;
        for amount in ["20", "21", "22"] {
            world_api.push(world.invoice("USDT", amount).await);
        }
        world.kassa.kill();
        for invoice in &world_api {
            world.pay(invoice).await;
            world.anvil.mine(13).await;
        }
        world.kassa.restart().await;
        for invoice in &world_api {
            world.until(invoice, "paid").await;
        }
        println!("  evm_upstreams: done without {name}");
    }
    world.proxy.clear();
    world.settled().await;
    no_retraction(&world).await;
}

async fn stale_backend(database: Database) {
    let world = World::start(database).await;
    world.proxy.add(Rule::new(Fault::Lagging(2)).one_in(3));
    let mut invoices = Vec::new();
    for number in 1..=8 {
        let asset = if number % 2 == 0 { "USDT" } else { "ETH" };
        let invoice = world.invoice(asset, &number.to_string()).await;
        world.pay(&invoice).await;
        world.anvil.mine(1).await;
        world.until(&invoice, "detected").await;
        invoices.push(invoice);
    }
    world.anvil.mine(3).await;
    for invoice in &invoices {
        world.until(invoice, "paid").await;
    }
    world.proxy.clear();
    world.settled().await;
    no_retraction(&world).await;
    assert_eq!(world.receiver.got_kind("invoice.reverted").len(), 0);
}

async fn lagging_second(database: Database) {
    let world = World::start(database).await;
    let second = Proxy::start(world.anvil.url()).await;
    second.add(Rule::new(Fault::Lagging(3)));
    let body = json!({"url": second.url(), "calls_per_s": 1000, "priority": 5});
    let path = format!("/v1/operator/networks/{NETWORK}/upstreams");
    world.kassa.operator().post(&path, &body).await.ok();
    let mut invoices = Vec::new();
    for number in 1..=4 {
        // The first one goes away just when something was seen that the second one does not have.
        let invoice = world.invoice("USDT", &number.to_string()).await;
        world.pay(&invoice).await;
        world.anvil.mine(1).await;
        world.until(&invoice, "detected").await;
        second.reset_counts();
        world.proxy.add(Rule::new(Fault::HangUp));
        eventually("the second upstream to be asked", || async {
            let counts = second.counts();
            if counts.spoiled >= 2 { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        assert_eq!(world.get_invoice(&invoice).await["status"], "detected");
        world.proxy.clear();
        invoices.push(invoice);
    }
    world.anvil.mine(3).await;
    for invoice in &invoices {
        world.until(invoice, "paid").await;
    }
    world.settled().await;
    no_retraction(&world).await;
}

async fn failed_with_logs(database: Database) {
    let world = World::start(database).await;
    let failed = async |only: &'static str| {
        let (invoice, other) = (world.invoice("USDT", "5").await, world.invoice("USDT", "6").await);
        let tx = world.pay(&invoice).await;
        world.pay(&other).await;
        world.proxy.clear();
        world.proxy.add(Rule::new(Fault::Changed(Change::new(move |asked, mut answer| {
            (asked.starts_with(only) && fail(&mut answer, &tx)).then(|| answer.to_string().into_bytes())
        }))));
        world.anvil.mine(3).await;
        (invoice, other)
    };
    // A chain whose failed transactions carry logs: the receipt says so, and so do those of the block.
    let (invoice, other) = failed("").await;
    world.until(&other, "paid").await;
    world.caught_up().await;
    assert_eq!(world.get_invoice(&invoice).await["sequence"], invoice["sequence"]);
    assert_eq!(world.transfers().await.len(), 1, "what failed is not even listed");
    // A receipt that the block's receipts contradict is an upstream's lie: it is waited for.
    let (invoice, other) = failed("eth_getTransactionReceipt").await;
    spoiled(&world.proxy, world.proxy.counts().spoiled + 2).await;
    for waits in [&invoice, &other] {
        assert_eq!(world.get_invoice(waits).await["sequence"], waits["sequence"]);
    }
    world.proxy.clear();
    for paid in [&invoice, &other] {
        world.until(paid, "paid").await;
    }
    world.settled().await;
    no_retraction(&world).await;
}

/// Says that a transaction has failed; whether it was spoken of.
fn fail(answer: &mut Value, tx: &str) -> bool {
    match answer {
        Value::Array(list) => list.iter_mut().fold(false, |any, inner| fail(inner, tx) | any),
        Value::Object(fields) if fields.contains_key("status") => {
            fields["transactionHash"] == tx && fields.insert("status".to_owned(), json!("0x0")).is_some()
        }
        Value::Object(fields) => fields.values_mut().fold(false, |any, inner| fail(inner, tx) | any),
        _ => false,
    }
}

async fn failover(database: Database) {
    let world = World::start(database).await;
    let second = Proxy::start(world.anvil.url()).await;
    let body = json!({"url": second.url(), "calls_per_s": 1000, "priority": 5});
    let path = format!("/v1/operator/networks/{NETWORK}/upstreams");
    world.kassa.operator().post(&path, &body).await.ok();
    for fault in
        [Fault::HangUp, Fault::Stall, Fault::Page(200), Fault::Status { code: 503, retry_after_s: None }]
    {
        world.proxy.clear();
        world.proxy.add(Rule::new(fault.clone()));
        let invoice = paid_unseen(&world, "5").await;
        world.until(&invoice, "paid").await;
        println!("  evm_upstreams: failed over from {fault:?}");
    }
    let upstreams = world.kassa.operator().get(&path).await.ok();
    let first = &upstreams["data"][0];
    assert!(first["health"]["errors"].as_u64().unwrap_or_default() > 0, "{upstreams}");
    world.settled().await;
}

async fn another_chain(database: Database) {
    let mut world = World::start(database).await;
    let invoice = world.invoice("USDT", "5").await;
    world.kassa.kill();
    world.proxy.add(Rule::new(Fault::Result(json!("0x38"))).on("eth_chainId"));
    world.proxy.add(Rule::new(Fault::Result(json!("56"))).on("net_version"));
    world.pay(&invoice).await;
    world.anvil.mine(3).await;
    world.proxy.reset_counts();
    world.kassa.restart().await;
    spoiled(&world.proxy, 1).await;
    let path = format!("/v1/operator/networks/{NETWORK}/upstreams");
    let operator = world.kassa.operator();
    let wrong = eventually("an upstream that is known to be of another chain", || async {
        let seen = list(&operator.get(&path).await.ok()).remove(0);
        if seen["health"]["state"] == "wrong_network" { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!(world.get_invoice(&invoice).await["status"], "new", "nothing is believed of another chain");
    // It is not asked again for minutes; the operator who mends it need not wait.
    world.proxy.clear();
    operator.delete(&format!("/v1/operator/upstreams/{}", text(&wrong["id"]))).await.ok();
    world.add_upstream(NETWORK, &world.proxy.url()).await;
    world.until(&invoice, "paid").await;
    world.settled().await;
}

async fn downtime(database: Database) {
    let mut world = World::with(database, WorldOptions::default()).await;
    let mut invoices = Vec::new();
    for number in 0..10 {
        invoices.push(world.invoice(if number % 3 == 0 { "ETH" } else { "USDT" }, "3").await);
    }
    world.caught_up().await;
    world.kassa.kill();
    for invoice in &invoices {
        world.anvil.mine(25).await;
        world.pay(invoice).await;
        world.anvil.mine(25).await;
    }
    world.proxy.reset_counts();
    world.kassa.restart().await;
    for invoice in &invoices {
        world.until(invoice, "paid").await;
    }
    world.caught_up().await;
    let counts = world.proxy.counts();
    println!(
        "  evm_upstreams: 500 blocks took {} requests, {} calls: {:?}",
        counts.requests,
        counts.calls(),
        counts.methods
    );
    assert!(counts.requests <= 500, "at most one request a block: {counts:?}");
    world.settled().await;
    assert_eq!(world.unmatched().await.len(), 0);
    assert_eq!(world.receiver.got_kind("invoice.paid").len(), 10);
}

/// As many transactions as a block of Base had in August 2026, strangers' all of them.
fn fill(block: &mut Value) {
    if block["transactions"] != json!([]) {
        return;
    }
    let input = format!("0x3593564c{}", "5a".repeat(350));
    let stranger = |index: u32| {
        json!({
            "blockHash": block["hash"], "blockNumber": block["number"], "transactionIndex": format!("{index:#x}"),
            "hash": format!("0x{index:064x}"), "from": format!("0x{index:040x}"), "to": format!("0x{:040x}", index + 1),
            "value": "0x1", "input": input, "nonce": "0x1", "gas": "0x3d090", "gasPrice": "0x4f5881", "type": "0x2",
        })
    };
    block["transactions"] = (0..2_700).map(stranger).collect();
}

async fn large_blocks(database: Database) {
    let mut world = World::start(database).await;
    let (first, last) = (world.invoice("ETH", "3").await, world.invoice("USDT", "3").await);
    world.caught_up().await;
    world.kassa.kill();
    world.pay(&first).await;
    world.anvil.mine(60).await;
    world.pay(&last).await;
    world.anvil.mine(3).await;
    world.proxy.reset_counts();
    world.proxy.add(Rule::new(Fault::Changed(Change::new(|asked, mut answer| {
        if !asked.contains("eth_getBlockByNumber") {
            return None;
        }
        let entries = answer.as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
        entries.iter_mut().for_each(|entry| fill(&mut entry["result"]));
        Some(answer.to_string().into_bytes())
    }))));
    world.kassa.restart().await;
    for invoice in [&first, &last] {
        world.until(invoice, "paid").await;
    }
    world.caught_up().await;
    let metrics = text(&world.kassa.operator().get("/metrics").await.body);
    let failures =
        metrics.lines().find(|line| line.starts_with("kassa_scan_failures_total")).unwrap_or("no failure");
    println!("  evm_upstreams: 63 blocks of 3 MB took {} calls, {failures}", world.proxy.counts().calls());
    let failed: u32 = failures.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(failed <= 3, "a step that is too large is made smaller, and not tried again: {failures}");
    world.settled().await;
    assert_eq!(world.unmatched().await.len(), 0);
}

async fn secret_headers(database: Database) {
    let world = World::start(database).await;
    let second = Proxy::start(world.anvil.url()).await;
    let secret = "hunter2-hunter2";
    let body = json!({"url": format!("{}/v2/{secret}", second.url()), "headers": {"X-API-Key": secret}, "calls_per_s": 1000});
    let path = format!("/v1/operator/networks/{NETWORK}/upstreams");
    let operator = world.kassa.operator();
    let made = operator.post(&path, &body).await.ok();
    world.proxy.add(Rule::new(Fault::HangUp));
    let invoice = paid_unseen(&world, "5").await;
    world.until(&invoice, "paid").await;
    assert!(second.last_headers().contains(&("x-api-key".to_owned(), secret.to_owned())));
    for shown in [made, operator.get(&path).await.ok(), operator.get("/metrics").await.body] {
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
    assert!(!world.kassa.log().contains(secret));
}
