//! The kit itself: what misbehaves on purpose must do so as told, and what judges must know bad from good.

use std::time::Duration;

use kassa_tests::{
    Anvil, AnvilOptions, Api, Database, Fault, Provider, Proxy, Receiver, Reply, Rule, Suite, Webhook,
    contract, units, verify, word,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.once("kit::anvil_mines_reorganizes_and_takes_a_transaction_back", anvil_reorganizes);
    suite.once("kit::contracts_do_what_they_are_for", contracts_work);
    suite.once("kit::the_proxy_spoils_answers_as_told", proxy_faults);
    suite.once("kit::the_proxy_lags_like_a_stale_backend", proxy_lags);
    suite.once("kit::the_proxy_limits_ranges_in_each_providers_words", proxy_limits);
    suite.once("kit::the_receiver_answers_as_told", receiver_replies);
    suite.once("kit::a_strangers_verifier_knows_good_from_bad", verifier);
    suite.both("kit::a_database_is_fresh_and_its_own", databases);
    suite.once("kit::units", || async {
        assert_eq!(units("12.5", 6), 12_500_000);
        assert_eq!(units("7", 0), 7);
    });
}

async fn anvil_reorganizes() {
    let anvil = Anvil::start(AnvilOptions { chain_id: 8453, slots_in_an_epoch: 1 }).await;
    assert_eq!(anvil.rpc("eth_chainId", json!([])).await, "0x2105");
    anvil.mine(5).await;
    let tx = anvil.send_native(&anvil.accounts[1], &anvil.accounts[2], 7).await;
    let head = anvil.mine(1).await;
    let receipt = anvil.receipt(&tx).await;
    assert!(receipt.succeeded);
    assert_eq!(receipt.height, head);
    let finalized = anvil.rpc("eth_getBlockByNumber", json!(["finalized", false])).await;
    assert_eq!(finalized["number"], format!("{:#x}", head - 2));
    let (old, raw) = (anvil.block_hash(head).await, anvil.raw(&tx).await);
    anvil.reorg(1).await;
    assert_eq!(anvil.head().await, head);
    assert_ne!(anvil.block_hash(head).await, old);
    assert!(anvil.rpc("eth_getTransactionReceipt", json!([tx])).await.is_null());
    assert_eq!(anvil.send_raw(&raw).await, tx);
    anvil.mine(1).await;
    assert_eq!(anvil.receipt(&tx).await.height, head + 1);
}

async fn contracts_work() {
    let anvil = Anvil::start(AnvilOptions::default()).await;
    let (payer, to) = (anvil.accounts[1].clone(), "0x00000000000000000000000000000000005ca1ab");
    let token = anvil.deploy_token(6).await;
    let sender = anvil.deploy(&contract("Sender"), &[]).await;
    anvil.mint("Token", &token, std::slice::from_ref(&sender)).await;

    let words = |times: u32| [word(&token), word(to), word("5"), word(&times.to_string())];
    let data = contract("Sender").call("many(address,address,uint256,uint256)", &words(3));
    let many = anvil.send_call(&payer, &sender, &data).await;
    let data = contract("Sender").call("undone(address,address,uint256)", &words(0)[..3]);
    let undone = anvil.send_call(&payer, &sender, &data).await;
    let data =
        contract("Token").call("transferFrom(address,address,uint256)", &[word(&payer), word(to), word("0")]);
    let zero = anvil.send_call(&anvil.accounts[9], &token, &data).await;
    anvil.mine(1).await;
    assert_eq!(anvil.receipt(&many).await.logs.len(), 3);
    let undone = anvil.receipt(&undone).await;
    assert!(!undone.succeeded && undone.logs.is_empty());
    let zero = anvil.receipt(&zero).await;
    assert!(zero.succeeded && zero.logs.len() == 1, "a stranger's transfer of nothing leaves a real log");

    let fee = anvil.deploy(&contract("FeeToken"), &[]).await;
    anvil.mint("FeeToken", &fee, std::slice::from_ref(&payer)).await;
    let tx = anvil.send_token(&fee, &payer, to, 1000).await;
    anvil.mine(1).await;
    let logs = anvil.receipt(&tx).await.logs;
    let net = logs.iter().find(|log| log["topics"][2] == format!("0x{}", word(to))).unwrap();
    assert_eq!(net["data"], format!("0x{}", word("990")));

    let look_alike = anvil.deploy(&contract("LookAlike"), &[]).await;
    let words = [word(&payer), word(to), word("1000000")];
    let data = contract("LookAlike").call("claim(address,address,uint256)", &words);
    let tx = anvil.send_call(&payer, &look_alike, &data).await;
    anvil.mine(1).await;
    let log = anvil.receipt(&tx).await.logs.remove(0);
    assert_eq!(log["topics"][0], logs[0]["topics"][0], "the same event as the real token's");
}

/// Asks through the proxy; what is no JSON-RPC answer comes as text.
async fn ask(proxy: &Proxy, body: Value) -> (u16, Value) {
    let answer = Api::new(&proxy.url(), "").post("/", &body).await;
    (answer.status, answer.body)
}

/// A JSON-RPC call.
fn call(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

async fn proxy_faults() {
    let anvil = Anvil::start(AnvilOptions::default()).await;
    let proxy = Proxy::start(anvil.url()).await;
    let number = || call("eth_blockNumber", &json!([]));
    let plain = json!({"jsonrpc": "2.0", "id": 7, "result": "0x0"});
    assert_eq!(ask(&proxy, number()).await, (200, plain.clone()));
    assert_eq!(ask(&proxy, json!([number(), number()])).await, (200, json!([plain, plain])));
    assert_eq!(proxy.counts().methods["eth_blockNumber"].0, 3);
    assert_eq!(proxy.counts().requests, 2);

    proxy.add(Rule::new(Fault::Status { code: 429, retry_after_s: Some(3) }).times(1));
    let refused = Api::new(&proxy.url(), "").post("/", &number()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3")));
    assert_eq!(ask(&proxy, number()).await.0, 200, "once only");

    for (fault, seen) in [
        (Fault::Page(200), json!("<!doctype html><title>Sorry</title>")),
        (Fault::Truncated, json!(plain.to_string()[..plain.to_string().len() / 2])),
        (Fault::WrongId, json!({"jsonrpc": "2.0", "id": 987_654_321, "result": "0x0"})),
        (Fault::Result(json!([])), json!({"jsonrpc": "2.0", "id": 7, "result": []})),
    ] {
        proxy.clear();
        proxy.add(Rule::new(fault.clone()).on("eth_blockNumber"));
        assert_eq!(ask(&proxy, number()).await.1, seen, "{fault:?}");
        let other = ask(&proxy, call("eth_chainId", &json!([]))).await.1;
        assert_eq!(other["result"], "0x7a69", "{fault:?} is not on this method");
    }

    proxy.clear();
    proxy.reset_counts();
    proxy.add(Rule::new(Fault::Page(200)).one_in(3));
    for _ in 0..90 {
        ask(&proxy, number()).await;
    }
    assert!((15..50).contains(&proxy.counts().spoiled), "{:?}", proxy.counts());

    proxy.clear();
    proxy.add(Rule::new(Fault::BatchRefused));
    assert_eq!(ask(&proxy, number()).await.1, plain);
    assert_eq!(ask(&proxy, json!([number()])).await.1["error"]["code"], -32600);

    for fault in [Fault::Cut, Fault::HangUp, Fault::Stall] {
        proxy.clear();
        proxy.add(Rule::new(fault.clone()));
        let api = Api::new(&proxy.url(), "");
        let broken = api.try_send(reqwest::Method::POST, "/", &[], Some(number().to_string().into_bytes()));
        let broken = tokio::time::timeout(Duration::from_millis(500), broken).await;
        match fault {
            Fault::Stall => assert!(broken.is_err(), "no answer"),
            _ => assert!(broken.unwrap().is_err(), "{fault:?} breaks the connection"),
        }
    }
}

async fn proxy_lags() {
    let anvil = Anvil::start(AnvilOptions { slots_in_an_epoch: 1, ..AnvilOptions::default() }).await;
    let token = anvil.deploy_token(6).await;
    anvil.mine(5).await;
    anvil.send_token(&token, &anvil.accounts[1], &anvil.accounts[2], 5).await;
    let head = anvil.mine(1).await;
    let hash = anvil.block_hash(head).await;
    let proxy = Proxy::start(anvil.url()).await;
    let result =
        async |method: &str, params: Value| ask(&proxy, call(method, &params)).await.1["result"].clone();
    let logs = || json!([{"blockHash": hash, "address": token}]);
    assert_eq!(result("eth_getLogs", logs()).await.as_array().unwrap().len(), 1);

    proxy.add(Rule::new(Fault::Lagging(2)));
    assert_eq!(result("eth_blockNumber", json!([])).await, format!("{:#x}", head - 2));
    assert_eq!(
        result("eth_getBlockByNumber", json!(["latest", false])).await["number"],
        format!("{:#x}", head - 2)
    );
    assert_eq!(
        result("eth_getBlockByNumber", json!(["finalized", false])).await["number"],
        format!("{:#x}", head - 4)
    );
    assert!(result("eth_getBlockByNumber", json!([format!("{head:#x}"), false])).await.is_null());
    assert!(result("eth_getBlockByHash", json!([hash, false])).await.is_null());
    assert_eq!(result("eth_getLogs", logs()).await, json!([]), "as a stale backend answers");
}

async fn proxy_limits() {
    let anvil = Anvil::start(AnvilOptions::default()).await;
    let token = anvil.deploy_token(6).await;
    anvil.mine(20).await;
    let proxy = Proxy::start(anvil.url()).await;
    let logs = |from: u64, to: u64| {
        let filter =
            json!({"fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}"), "address": token});
        call("eth_getLogs", &json!([filter]))
    };
    for (provider, code) in [
        (Provider::Alchemy, -32600),
        (Provider::QuickNode, -32614),
        (Provider::Infura, -32602),
        (Provider::Bsc, -32000),
    ] {
        proxy.clear();
        proxy.add(Rule::new(Fault::RangeLimit(provider, 10)));
        assert_eq!(ask(&proxy, logs(1, 11)).await.1["error"]["code"], code, "{provider:?}");
        assert!(ask(&proxy, logs(1, 10)).await.1["result"].is_array(), "{provider:?}");
    }
    proxy.clear();
    proxy.add(Rule::new(Fault::ResultLimit(3)));
    let refused = ask(&proxy, logs(0, 20)).await.1["error"]["message"].to_string();
    assert!(refused.contains("retry with the range 0-10"), "{refused}");
}

async fn receiver_replies() {
    let receiver = Receiver::start().await;
    receiver.script([
        Reply::Status(500),
        Reply::RetryAfter(429, 9),
        Reply::Redirect("http://127.0.0.1/".into()),
    ]);
    let base = receiver.url();
    let api = Api::new(&base, "");
    let post = || api.try_send(reqwest::Method::POST, "/x", &[], Some(b"{\"type\":\"a\"}".to_vec()));
    assert_eq!(post().await.unwrap().status, 500);
    let later = post().await.unwrap();
    assert_eq!((later.status, later.header("retry-after")), (429, Some("9")));
    assert!(post().await.is_err(), "the redirect leads nowhere");
    assert_eq!(post().await.unwrap().status, 204);
    receiver.then(Reply::Endless);
    let endless = tokio::time::timeout(Duration::from_millis(300), post()).await;
    assert!(endless.is_err(), "a body without an end");
    receiver.then(Reply::HangUp);
    assert!(post().await.is_err());
    assert_eq!(receiver.wait_for("a", 6).await[0].path, "/hooks/x");
}

/// The example of the Standard Webhooks specification, but for its age: the package refuses old timestamps,
/// so that a good signature of today has to come from the server itself (see webhooks.rs).
async fn verifier() {
    let headers = |id: &str, at: u64, signature: &str| {
        [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signature.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    };
    let hook = |at: u64, signature: &str| Webhook {
        method: "POST".into(),
        path: "/".into(),
        headers: headers("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", at, signature),
        body: r#"{"email":"test@example.com","username":"test_user"}"#.into(),
    };
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let good = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    let said = verify(&hook(1_649_367_553, good), secret).unwrap_err();
    assert!(said.contains("too old"), "{said}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let said = verify(&hook(now, good), secret).unwrap_err();
    assert!(said.contains("No matching signature"), "{said}");
}

async fn databases(database: Database) {
    // The server makes a SQLite file itself; PostgreSQL hands out an empty database.
    if database.kind() == kassa_tests::Kind::Postgres {
        let tables =
            "SELECT CAST(count(*) AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'";
        assert_eq!(database.number(tables).await, 0);
    }
    assert!(database.folder().join("data").is_dir());
}
