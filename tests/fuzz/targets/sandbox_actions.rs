//! Actions of the sandbox, one on a line, and scans between them. `@name` in an action is the address of that
//! name and `#0` the id of the first transaction, since no fuzzer guesses a checksum.
#![no_main]

use kassa_chain_sandbox::{address, fuzzing};
use kassa_fuzz::contract::{self, Asked};
use kassa_sdk::chain::ScanLimits;
use kassa_sdk::types::{Asset, Network, Position};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;

/// More would only be more of the same.
const ACTIONS_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    let sandbox = fuzzing::Sandbox::default();
    let network = network();
    let mut txs: Vec<String> = Vec::new();
    let mut names: HashMap<String, String> = HashMap::new();
    let mut cursor: Option<Position> = None;
    let text = String::from_utf8_lossy(data);
    for line in text.split('\n').take(ACTIONS_MAX) {
        match line.split_at_checked(1) {
            Some(("s", limits)) => scan(&sandbox, &network, limits, &names, &mut cursor),
            Some(("w", ms)) => sandbox.wait(ms.trim().parse().unwrap_or(1_000)),
            _ => {
                let action = with_addresses(line, &txs, &mut names);
                let Ok(answer) = sandbox.simulate(&action) else { continue };
                let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
                assert!(answer.is_object());
                txs.extend(answer["tx"].as_str().map(str::to_owned));
            }
        }
    }
});

fn network() -> Network {
    let token = |contract: &str| Asset { contract: Some(contract.into()), decimals: 6, more: None };
    Network {
        name: "sandbox".into(),
        chain_id: "sandbox".into(),
        assets: vec![Asset { contract: None, decimals: 9, more: None }, token("usdt"), token("usdc")],
        settings: String::new(),
        more: Vec::new(),
    }
}

fn with_addresses(line: &str, txs: &[String], names: &mut HashMap<String, String>) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        let mut name = String::new();
        if matches!(char, '@' | '#') {
            while let Some(char) = chars.next_if(|char| char.is_ascii_alphanumeric()) {
                name.push(char);
            }
        }
        match char {
            '@' => {
                let text = address::encode(address::account_of(&name));
                out.push_str(&text);
                names.insert(name, text);
            }
            '#' => out.push_str(name.parse().ok().and_then(|tx: usize| txs.get(tx)).map_or("", |tx| tx)),
            char => out.push(char),
        }
    }
    out
}

/// `s`, then how many blocks and transfers, if few; `s!` starts anew.
fn scan(
    sandbox: &fuzzing::Sandbox,
    network: &Network,
    text: &str,
    names: &HashMap<String, String>,
    cursor: &mut Option<Position>,
) {
    if text.starts_with('!') {
        *cursor = None;
    }
    let mut numbers = text.trim_start_matches('!').split(' ').map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(2_000u32).min(2_000);
    let limits = ScanLimits { blocks: next(), transfers: next(), known: None, next_is_head: false, more: Vec::new() };
    let Ok(result) = sandbox.scan(network, cursor.as_ref(), &limits) else { return };
    let mut watched: Vec<String> = names.values().cloned().collect();
    // Every address is watched, also one that the fuzzer wrote out.
    watched.extend(result.transfers.iter().map(|transfer| transfer.recipient.clone()));
    let asked =
        Asked { network, cursor: cursor.as_ref(), limits: &limits, watched: &watched, normalize: fuzzing::normalize };
    contract::check(&asked, &result);
    if let Some(last) = result.blocks.last() {
        *cursor = Some(Position { height: last.height, hash: last.hash.clone() });
    }
}
