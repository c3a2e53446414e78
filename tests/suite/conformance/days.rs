//! What a day at the head costs while nobody pays: each main network, as it is shipped, with blocks at its own pace.
//!
//! Where only the number of polls matters everything is quicker by the same factor. Where it matters that blocks come
//! evenly they come at the chain's pace, since dates of blocks are in seconds. Ethereum takes four minutes so, and is
//! measured when all are: `KASSA_TESTS_DAYS=all tests/run days_` prints what README.md says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kassa_tests::{Kind, Suite};
use serde_json::json;
use tokio::time::{Instant, interval_at};

use super::{
    chain::Pay,
    stage::{Stage, manifests},
};

const DAY_MS: u64 = 86_400_000;
/// Blocks after which it is known that they come evenly.
const KNOWN_AFTER: u64 = 10;
/// What is final is asked for once in so many polls.
const POLLS: u64 = 30;

/// A main network.
struct Network {
    folder: &'static str,
    name: &'static str,
    /// Between two of its blocks.
    block_ms: u64,
    /// How much quicker than that it is here.
    pace: u64,
    /// Calls a day at the most. Machines that do much else at the same time find blocks uneven, which costs some.
    calls_max: u64,
}

const NETWORKS: [Network; 5] = [
    Network { folder: "evm", name: "base", block_ms: 2_000, pace: 1, calls_max: 150_000 },
    Network { folder: "evm", name: "bsc", block_ms: 450, pace: 4, calls_max: 420_000 },
    Network { folder: "ton", name: "ton", block_ms: 400, pace: 4, calls_max: 50_000 },
    Network { folder: "tron", name: "tron", block_ms: 3_000, pace: 4, calls_max: 80_000 },
    Network { folder: "evm", name: "ethereum", block_ms: 12_000, pace: 1, calls_max: 40_000 },
];

pub(super) fn cases(suite: &mut Suite) {
    let all = std::env::var_os("KASSA_TESTS_DAYS").is_some();
    for network in NETWORKS.into_iter().filter(|network| all || network.name != "ethereum") {
        let name = format!("conformance::days_{}_at_the_head", network.name);
        suite.on(Kind::Sqlite, &name, move |database| async move {
            let local = format!("{}-local", network.name);
            let mut manifest = manifests(network.folder)
                .into_iter()
                .find(|manifest| manifest["name"] == local)
                .unwrap_or_else(|| panic!("{} is not shipped", network.name));
            let poll_ms = shipped_poll_ms(&network);
            manifest["poll_ms"] = json!(poll_ms / network.pace);
            at_the_head(Stage::on(database, network.folder, manifest).await, &network, poll_ms).await;
        });
    }
}

fn shipped_poll_ms(network: &Network) -> u64 {
    let path = super::plugins().join(network.folder).join(format!("{}.toml", network.name));
    let text = std::fs::read_to_string(path).expect("a manifest");
    let manifest: serde_json::Value = toml::from_str(&text).expect("TOML");
    manifest["poll_ms"].as_u64().expect("a time")
}

async fn at_the_head(stage: Stage, network: &Network, poll_ms: u64) {
    // Blocks are dated in whole seconds: they come in the first half of one, so that their dates are as even as they are.
    let into_second = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_millis();
    let begin = Instant::now() + Duration::from_millis(u64::from(1_200 - into_second));
    let mut tick = interval_at(begin, Duration::from_millis(network.block_ms / network.pace));
    let stranger = stage.addresses[3].clone();
    let token = stage.token();
    let mut blocks = async |count: u64| {
        for _ in 0..count {
            tick.tick().await;
            if network.folder == "ton" {
                stage.mine(1).await;
            } else {
                // Somebody pays somebody else, in every block.
                let pay =
                    Pay { to: &stranger, asset: token.contract.as_deref(), units: 1, memo: None, times: 1 };
                stage.chain.pay(&stage.api(), pay).await;
            }
        }
    };
    blocks(KNOWN_AFTER).await;
    stage.proxy().reset_counts();
    let count = (POLLS * poll_ms).div_ceil(network.block_ms).max(10);
    blocks(count).await;
    let counts = stage.proxy().counts();
    let calls = counts.calls() * DAY_MS / (count * network.block_ms);
    println!("  a day at the head of {}: {calls} calls, {:?}", network.name, counts.methods);
    assert!(calls <= network.calls_max, "{calls} calls a day: {counts:?}");
    assert!(counts.spoiled == 0 && calls > 0);
    // And it does watch.
    let invoice = stage.invoice(&token.symbol, "3").await;
    stage.pay(&invoice).await;
    let is_final = network.folder == "ton";
    stage.until(&invoice, if is_final { "paid" } else { "detected" }).await;
}
