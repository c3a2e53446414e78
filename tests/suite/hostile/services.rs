//! A hook that takes from the host's services what it can get (tests/hostile/services).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kassa_tests::{Database, KassaOptions, Kind, Receiver, Reply, Source, Suite, text};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Stage, said_of};

pub(super) fn cases(suite: &mut Suite) {
    suite.both("hostile::storage_flood", storage);
    suite.on(Kind::Sqlite, "hostile::webhook_flood", webhooks);
    suite.both("hostile::http_to_private_addresses", private);
    suite.on(Kind::Sqlite, "hostile::http_redirect_to_a_private_address", redirect);
    suite.on(Kind::Sqlite, "hostile::http_answer_without_end", endless);
    suite.on(Kind::Sqlite, "hostile::http_answer_that_never_comes", stalled);
    suite.on(Kind::Sqlite, "hostile::http_flood", requests);
    suite.on(Kind::Sqlite, "hostile::secret_sent_to_another_host", secret);
}

impl Stage {
    /// The hook with these settings; answers its id.
    pub(super) async fn services(&self, settings: &Value) -> String {
        let hooks = self.evil_hooks();
        let (hook, version) = hooks.upload(Source::Hostile("services"), false).await;
        hooks.put(&hook, "settings", settings).await;
        if settings["url"].is_string() {
            hooks.put(&hook, "secrets/token", &json!({"value": "TOP-SECRET"})).await;
        }
        hooks.post(&hook, "activate", &json!({"version_id": version})).await;
        hook
    }

    /// Lets it attack; answers its note, and what each of its tries was answered.
    async fn services_attack(&mut self, name: &str, settings: &Value) -> (String, Vec<String>) {
        let hook = self.services(settings).await;
        let (_, call) = self.attack(&hook).await;
        said_of(name, &call);
        assert_eq!(call["outcome"], "done", "{call}");
        let lines: Vec<String> =
            call["log"].as_array().unwrap().iter().map(|line| text(&line["text"])).collect();
        for same in lines.chunk_by(|one, next| one == next) {
            println!("hostile: {name}: {} times: {}", same.len(), same[0]);
        }
        self.is_well().await;
        (text(&call["note"]), lines)
    }
}

async fn storage(database: Database) {
    let mut stage = Stage::start(database).await;
    let (_, lines) = stage.services_attack("storage-flood", &json!({"attack": "storage"})).await;
    let quotas =
        ["bytes for this plugin", "bytes for this plugin", "", "bytes written", "storage operations"];
    for (line, quota) in lines.iter().zip(quotas) {
        assert!(line.contains(quota), "{line}");
    }
    let sql =
        "SELECT CAST(SUM(LENGTH(key) + LENGTH(value)) AS TEXT) FROM plugin_storage WHERE scope LIKE 'hook:%'";
    let kept = stage.sandbox.shop.database.number(sql).await;
    println!("hostile: storage-flood: {kept} bytes kept");
    assert!(kept <= 64 << 10, "what the manifest asked for: {kept}");
}

async fn webhooks(database: Database) {
    let mut stage = Stage::start(database).await;
    let (note, lines) = stage.services_attack("webhook-flood", &json!({"attack": "webhooks"})).await;
    assert_eq!(note, "10 queued");
    assert!(lines[0].contains("webhooks of this call"), "{lines:?}");
    assert_eq!(stage.receiver.got_kind("hook.flood").len(), 10);
}

/// By literals in all their spellings, and by name. What is listened on there is never connected to.
async fn private(database: Database) {
    let options = KassaOptions::default().with("KASSA_HOOKS__ALLOW_PRIVATE", "false");
    let mut stage = Stage::with(database, options).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let counting = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // All of these are granted, since a grant is what the merchant's own manifest asks for.
    let granted = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1."];
    let mut to: Vec<String> = granted.iter().map(|host| format!("https://{host}:{port}/")).collect();
    to.push(format!("https://localhost:{port}/"));
    let elsewhere =
        ["localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254/latest/meta-data"];
    to.extend(elsewhere.iter().map(|host| format!("https://{host}/")));
    to.push(format!("http://127.0.0.1:{port}/"));
    let settings = json!({
        "attack": "send", "to": to,
        "url": format!("https://127.0.0.1:{port}"), "other": format!("https://localhost:{port}"),
    });
    let (note, lines) = stage.services_attack("private-addresses", &settings).await;
    assert_eq!((note.as_str(), lines.len()), ("0 answered", to.len()));
    for (line, url) in lines.iter().zip(&to) {
        assert!(line.contains("Denied") && !line.contains("not granted"), "{url}: {line}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    counting.abort();
}

/// The redirect is the answer, and nobody goes where it leads.
async fn redirect(database: Database) {
    let mut stage = Stage::start(database).await;
    let (outside, inside) = (Receiver::start().await, Receiver::start().await);
    outside.then(Reply::Redirect(inside.url()));
    let settings = json!({
        "attack": "send", "to": [outside.url()], "url": outside.url(), "other": inside.url(), "secret": "token",
    });
    let (_, lines) = stage.services_attack("redirect", &settings).await;
    assert!(lines[0].starts_with("302"), "{lines:?}");
    assert_eq!(outside.got()[0].header("authorization"), Some("TOP-SECRET"));
    assert!(inside.got().is_empty());
}

async fn endless(database: Database) {
    let mut stage = Stage::start(database).await;
    let outside = Receiver::start().await;
    outside.then(Reply::Endless);
    let settings = json!({"attack": "send", "to": [outside.url()], "url": outside.url()});
    let (_, lines) = stage.services_attack("endless-answer", &settings).await;
    assert!(lines[0].contains("Budget"), "{lines:?}");
}

async fn stalled(database: Database) {
    let options = KassaOptions::default().with("KASSA_HOOKS__WALL_MS", "2000");
    let mut stage = Stage::with(database, options).await;
    let outside = Receiver::start().await;
    outside.then(Reply::Stall);
    let settings = json!({"attack": "send-all", "to": vec![outside.url(); 8], "url": outside.url()});
    let (_, lines) = stage.services_attack("stalled-answer", &settings).await;
    assert!(lines.iter().all(|line| line.contains("Timeout")), "{lines:?}");
}

async fn requests(database: Database) {
    let mut stage = Stage::start(database).await;
    let outside = Receiver::start().await;
    let settings = json!({"attack": "send-all", "to": vec![outside.url(); 40], "url": outside.url()});
    let (note, lines) = stage.services_attack("http-flood", &settings).await;
    assert_eq!((note.as_str(), outside.got().len()), ("20 answered", 20));
    assert!(lines[20].contains("requests of this call"), "{lines:?}");
}

/// In a header, and in a URL: it goes to the host that it is bound to, and nowhere else.
async fn secret(database: Database) {
    let mut stage = Stage::start(database).await;
    let (bound, other) = (Receiver::start().await, Receiver::start().await);
    let to = [bound.url(), other.url(), format!("{}/{{secret:token}}", other.origin())];
    let settings =
        json!({"attack": "send", "to": to, "url": bound.url(), "other": other.url(), "secret": "token"});
    let (note, lines) = stage.services_attack("secret", &settings).await;
    assert_eq!(note, "1 answered");
    assert!(lines[1..].iter().all(|line| line.contains("bound to another host")), "{lines:?}");
    assert_eq!(bound.got()[0].header("authorization"), Some("TOP-SECRET"));
    assert!(other.got().is_empty());
    assert!(!stage.sandbox.shop.kassa.log().contains("TOP-SECRET"));
}
