//! Whose a database is, by the master key that it is sealed with; and whose an extended key is.

use kassa_tests::{Api, Database, Kassa, KassaOptions, Kind, NETWORK, Suite, World};
use serde_json::json;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("identity::an_extended_key_is_one_however_it_is_written", extended_keys);
    suite.both("identity::nobody_starts_without_the_master_key", master_key);
}

const ANOTHER: &str = "2222222222222222222222222222222222222222222222222222222222222222";

async fn master_key(database: Database) {
    let mut kassa = Kassa::start(&database, KassaOptions::default()).await;
    kassa.operator().get("/v1/operator/api_keys").await.ok();
    if database.kind() == Kind::Postgres {
        let mut replica = Kassa::replica(&database, KassaOptions::default(), 2);
        refused(&mut replica, ANOTHER, "sealed with the master key").await;
        // The one that was there does not notice.
        kassa.operator().get("/v1/operator/api_keys").await.ok();
    }
    kassa.kill();
    refused(&mut kassa, ANOTHER, "sealed with the master key").await;
    refused(&mut kassa, "", "64 hex digits").await;

    // A backup that was restored without it.
    let none = Kassa::command("serve")
        .arg("--data")
        .arg(kassa.folder())
        .env("KASSA_LISTEN", "127.0.0.1:0")
        .env("KASSA_DATABASE", database.url())
        .output()
        .expect("kassa");
    let says = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success() && says.contains("master.key is not there"), "{says}");
    assert!(!kassa.folder().join("master.key").exists(), "none is made in silence");

    kassa.restart().await;
    kassa.operator().get("/v1/operator/api_keys").await.ok();
}

async fn refused(kassa: &mut Kassa, master_key: &str, why: &str) {
    kassa.spawn(&[("KASSA_MASTER_KEY", master_key)]);
    let says = kassa.try_ready().await.expect_err("a start with that key");
    assert!(says.contains(why), "{says}");
    assert!(!says.contains(ANOTHER), "it is a secret: {says}");
    kassa.kill();
}

/// One key, written in four ways, of which each says another network, depth or parent.
const SPELLINGS: [&str; 4] = [
    "xpub6BosfCnifzxcFwrSzQiqu2DBVTshkCXacvNsWGYJVVhhawA7d4R5WSWGFNbi8Aw6ZRc1brxMyWMzG3DSSSSoekkudhUd9yLb6qx39T9nMdj",
    "tpubDCBWBScQPGv4Xk3JSbhw6wYYpayMjb2eAYyArpbSqQTbLDpphHGAetB6VQgVeftLML8vDSUEWcC2xDi3qJJ3YCDChJDvqVzpgoYSuT52MhJ",
    "xpub6KBjuEWj41xLbRFZ46jn955N6eG9gG6dNmE67vjouLgNFp55vyZh2muGd2nzJ2GjvDmDsNucd9yNLQbtY4QSdKhvkgqWAeh3LadbgU4vNqs",
    " xpub6BosfCnifzxcFwrSzQiqu2DBVTshkCXacvNsWGYJVVhhawA7d4R5WSWGFNbi8Aw6ZRc1brxMyWMzG3DSSSSoekkudhUd9yLb6qx39T9nMdj ",
];

/// However a merchant writes another's key: it is refused, or another key.
async fn extended_keys(database: Database) {
    let world = World::start(database).await;
    let owner = world.api();
    let stranger = Api::new(world.kassa.url(), &world.new_merchant("stranger", "live").await.key);
    let body = |key: &str, first: u32| json!({"network": NETWORK, "public_key": key, "first_index": first});
    let [written, others @ ..] = SPELLINGS;
    owner.put("/v1/extended_keys", &body(written, 7)).await.ok();
    for spelling in SPELLINGS {
        let answer = stranger.put("/v1/extended_keys", &body(spelling, 7)).await;
        assert!((400..500).contains(&answer.status), "{spelling}: {answer:?}");
    }
    assert_eq!(stranger.get("/v1/extended_keys").await.ok()["data"], json!([]));
    // To its owner it is the key that it was.
    for spelling in others {
        let answer = owner.put("/v1/extended_keys", &body(spelling, 7)).await;
        assert!(answer.status >= 400 || answer.ok()["next_index"] == 7, "{spelling}");
    }
    let address =
        owner.post("/v1/receive_addresses", &json!({"network": NETWORK, "unique_id": "a"})).await.ok();
    assert_eq!(address["derived_index"], 7, "{address}");
}
