//! A new master key in place of an old one, while everything runs.

use std::fs;

use kassa_tests::{
    Api, Database, Kassa, KassaOptions, Kind, MASTER_KEY, Sandbox, Source, Suite, eventually, text, verify,
};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("rotation::a_new_key_takes_the_place_of_the_old_one_in_the_file", in_the_file);
    suite.both("rotation::a_new_key_takes_the_place_of_the_old_one_in_the_variable", in_the_variable);
}

const NEW: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const TOKEN: &str = "TOKEN-OF-THE-PROVIDER";

/// Every column in which something is sealed.
const SEALED: [(&str, &str); 5] = [
    ("endpoint", "secret"),
    ("endpoint", "old_secret"),
    ("hook_secret", "value"),
    ("upstream", "sealed"),
    ("idempotency", "body"),
];

/// A shop that has something in each of them.
struct Secrets {
    sandbox: Sandbox,
    /// The endpoint's present secret.
    signs: String,
    /// The answer to a request that made a key, which a repetition gets again.
    made: Value,
}

impl Secrets {
    async fn start(database: Database, options: KassaOptions) -> Self {
        let sandbox = Sandbox::with(database, options).await;
        let (api, operator) = (sandbox.shop.api(), sandbox.shop.kassa.operator());
        let endpoint = text(&api.get("/v1/endpoints").await.ok()["data"][0]["id"]);
        let signs = api.post(&format!("/v1/endpoints/{endpoint}/rotate_secret"), &json!({})).await.ok();
        let (hook, _) = sandbox.hooks().upload(Source::Rust("email"), false).await;
        let token = json!({"value": "x", "host": "mail.example"});
        sandbox.hooks().put(&hook, "secrets/authorization", &token).await;
        let upstream = json!({
            "url": format!("https://rpc.example/v2/{TOKEN}?key={TOKEN}"), "headers": {"authorization": TOKEN},
        });
        operator.post("/v1/operator/networks/base/upstreams", &upstream).await.ok();
        let mut secrets = Self { sandbox, signs: text(&signs["secret"]), made: Value::Null };
        secrets.made = secrets.make_key().await;
        for file in ["data/kassa.db", "data/kassa.db-wal"] {
            // Of PostgreSQL there are no such files here; there the columns are looked at.
            let bytes = fs::read(secrets.sandbox.shop.database.folder().join(file)).unwrap_or_default();
            assert!(
                !bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()),
                "{file} holds the token"
            );
        }
        secrets
    }

    fn operator(&self) -> Api {
        self.sandbox.shop.kassa.operator()
    }

    async fn make_key(&self) -> Value {
        let key = json!({"merchant_id": self.sandbox.shop.merchant.id, "mode": "test", "name": "once"});
        self.operator().post_once("/v1/operator/api_keys", "once", &key).await.ok()
    }

    /// What is stored in each column, in hex.
    async fn stored(&self) -> Vec<Vec<String>> {
        let database = &self.sandbox.shop.database;
        let mut columns = Vec::new();
        for (table, column) in SEALED {
            let hex = match database.kind() {
                Kind::Sqlite => format!("lower(hex({column}))"),
                Kind::Postgres => format!("encode({column}, 'hex')"),
            };
            let sql = format!("SELECT {hex} FROM {table} WHERE {hex} LIKE '02%' ORDER BY 1");
            let rows = database.rows(&sql).await;
            assert!(!rows.is_empty(), "nothing is sealed in {table}.{column}");
            columns.push(rows.into_iter().map(|row| row[0].clone().expect("a value")).collect());
        }
        columns
    }

    /// Everything that was secret before is what it was.
    async fn all_opens(&self) {
        assert_eq!(self.make_key().await, self.made);
        let api = self.sandbox.shop.api().with_key(&text(&self.made["key"]));
        let before = self.sandbox.shop.receiver.got_kind("invoice.paid").len();
        self.sandbox.paid("5", &json!({})).await;
        let webhooks = self.sandbox.shop.receiver.wait_for("invoice.paid", before + 1).await;
        for secret in [&self.signs, &self.sandbox.shop.secret] {
            verify(webhooks.last().expect("a webhook"), secret).expect("both secrets sign");
        }
        api.get("/v1/me").await.ok();
        let listed = self.operator().get("/v1/operator/networks/base/upstreams").await.ok();
        assert!(
            listed.to_string().contains("https://rpc.example/…") && !listed.to_string().contains(TOKEN),
            "{listed}"
        );
        let log = self.sandbox.shop.kassa.log();
        assert!(!log.contains("is left out") && !log.contains(TOKEN), "{log}");
    }

    async fn sealed_anew(&self) -> Value {
        eventually("everything to be sealed anew", || async {
            let key = self.operator().get("/v1/operator/master_key").await.ok();
            if key["sealed_with_older_keys"] == 0 { Ok(key) } else { Err(key.to_string()) }
        })
        .await
    }
}

/// The command, as the operator gives it.
async fn rotate_master(kassa: &Kassa, more: &[&str]) -> (bool, String) {
    let mut command = tokio::process::Command::from(Kassa::command("key"));
    command
        .arg("rotate-master")
        .args(more)
        .env("KASSA_URL", kassa.url())
        .env("KASSA_KEY", kassa.operator().key());
    let output = command.kill_on_drop(true).output().await.expect("kassa key");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn lines(kassa: &Kassa) -> Vec<String> {
    let file = fs::read_to_string(kassa.folder().join("master.key")).expect("the file");
    file.lines().map(str::to_owned).collect()
}

async fn in_the_file(database: Database) {
    let options = KassaOptions { key_in_file: true, ..KassaOptions::default() };
    let mut secrets = Secrets::start(database, options.clone()).await;
    let mut replica = match secrets.sandbox.shop.database.kind() {
        Kind::Sqlite => None,
        Kind::Postgres => {
            let mut replica = Kassa::replica(&secrets.sandbox.shop.database, options, 2);
            replica.spawn(&[]);
            replica.ready().await;
            Some(replica)
        }
    };
    let (before, stored) =
        (secrets.operator().get("/v1/operator/master_key").await.ok(), secrets.stored().await);
    assert_eq!((&before["source"], &before["rotation_under_way"]), (&json!("file"), &json!(false)));
    let (done, said) = rotate_master(&secrets.sandbox.shop.kassa, &["--finish"]).await;
    assert!(!done && said.to_lowercase().contains("no rotation is under way"), "{said}");

    let (done, said) = rotate_master(&secrets.sandbox.shop.kassa, &[]).await;
    assert!(done && said.contains("--finish"), "{said}");
    let key = secrets.operator().get("/v1/operator/master_key").await.ok();
    assert_ne!(key["id"], before["id"]);
    assert!(!said.contains(&lines(&secrets.sandbox.shop.kassa)[0]), "it is a secret: {said}");
    for (old, new) in stored.iter().zip(secrets.stored().await) {
        assert!(!new.iter().any(|value| old.contains(value)), "a value is as it was");
        let begins = format!("02{}", text(&key["id"]));
        assert!(new.iter().all(|value| value.starts_with(&begins)), "{begins}");
    }
    secrets.all_opens().await;
    let (done, said) = rotate_master(&secrets.sandbox.shop.kassa, &[]).await;
    assert!(!done && said.contains("--finish"), "{said}");

    // Until it is finished, either key starts it. What was compiled is authenticated by the newest.
    let _ = secrets.sandbox.shop.kassa.own_compiled();
    secrets.sandbox.shop.kassa.restart().await;
    secrets.all_opens().await;
    let both = lines(&secrets.sandbox.shop.kassa);
    assert_eq!(both.len(), 2, "the new one and the old one");
    assert_eq!(both[1], MASTER_KEY);
    if let Some(replica) = &replica {
        assert_eq!(lines(replica), both, "a replica has written it too");
    }

    let (done, said) = rotate_master(&secrets.sandbox.shop.kassa, &["--finish"]).await;
    assert!(done, "{said}");
    assert_eq!(lines(&secrets.sandbox.shop.kassa), both[..1]);
    secrets.sandbox.shop.kassa.restart().await;
    secrets.all_opens().await;
    if let Some(replica) = &mut replica {
        replica.kill();
        fs::write(replica.folder().join("master.key"), MASTER_KEY).expect("the old key");
        replica.spawn(&[]);
        let says = replica.try_ready().await.expect_err("a start with the old key");
        assert!(says.contains("sealed with the master key"), "{says}");
        replica.kill();
    }
    // Who has not heard the answer asks again, and gets it: no second rotation is begun, and none is refused.
    let rotate = "/v1/operator/master_key/rotate";
    let begun = secrets.operator().post_once(rotate, "rotation", &json!({})).await.ok();
    assert_eq!(begun["rotation_under_way"], true);
    assert_eq!(secrets.operator().post_once(rotate, "rotation", &json!({})).await.ok(), begun);
    assert_eq!(secrets.operator().post(rotate, &json!({})).await.problem(409), "/problems/rotation_refused");
    secrets.sandbox.shop.kassa.kill();
    fs::write(secrets.sandbox.shop.kassa.folder().join("master.key"), MASTER_KEY).expect("the old key");
    secrets.sandbox.shop.kassa.spawn(&[]);
    let says = secrets.sandbox.shop.kassa.try_ready().await.expect_err("a start with the old key");
    assert!(says.contains("sealed with the master key"), "{says}");
}

async fn in_the_variable(database: Database) {
    let mut secrets = Secrets::start(database, KassaOptions::default()).await;
    let (done, said) = rotate_master(&secrets.sandbox.shop.kassa, &[]).await;
    assert!(!done && said.contains("KASSA_MASTER_KEY"), "{said}");
    let stored = secrets.stored().await;

    let _ = secrets.sandbox.shop.kassa.own_compiled();
    secrets.sandbox.shop.kassa.kill();
    secrets.sandbox.shop.kassa.spawn(&[("KASSA_MASTER_KEY", &format!("{NEW} {MASTER_KEY}"))]);
    secrets.sandbox.shop.kassa.ready().await;
    secrets.sealed_anew().await;
    for (old, new) in stored.iter().zip(secrets.stored().await) {
        assert!(!new.iter().any(|value| old.contains(value)), "a value is as it was");
    }
    secrets.all_opens().await;
    let (done, said) = rotate_master(&secrets.sandbox.shop.kassa, &["--finish"]).await;
    assert!(done, "{said}");

    // The old one alone, which the kit starts it with.
    secrets.sandbox.shop.kassa.kill();
    secrets.sandbox.shop.kassa.spawn(&[]);
    let says = secrets.sandbox.shop.kassa.try_ready().await.expect_err("a start with the old key");
    assert!(says.contains("sealed with the master key"), "{says}");
    secrets.sandbox.shop.kassa.kill();
    secrets.sandbox.shop.kassa.spawn(&[("KASSA_MASTER_KEY", NEW)]);
    secrets.sandbox.shop.kassa.ready().await;
    secrets.all_opens().await;
}
