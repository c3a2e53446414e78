//! A TON index in the shapes of toncenter v3, with a block of the masterchain that makes many payments final.

use std::{collections::HashSet, ops::Range, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Payment, Scene,
    cells::Cell,
    noise::Noise,
    provider::ReceivedRequest,
    ton_tx::{self, Account, Tx},
};
use crate::host::Position;

const TRANSACTIONS: usize = 1_000;
/// Number of owners. Each has two accounts: its own, and its wallet of the listed jetton.
const OWNERS: usize = 120;
const HEAD: u64 = 48_345_678;
const TIME_S: u64 = 1_785_330_570;
const SHARD: &str = "8000000000000000";
/// Id of the main network.
const GLOBAL_ID: i64 = -239;
/// Logical time of the head, and of the length of a block.
const HEAD_LT: u64 = 58_765_432_000_000;
const BLOCK_LT: u64 = 1_100_000;
/// Logical time between the head and each account's last transaction before it.
const QUIET_LT: u64 = 5_000_000_000;
const TX_LT: u64 = 10;

pub(super) fn scene() -> Scene {
    let index = Arc::new(Index::new());
    let answers = {
        let index = index.clone();
        move |asked: &ReceivedRequest| index.answer(asked).map(|answer| answer.to_string())
    };
    let position = |height| Position { height, hash: hex::encode(root_hash(height)) };
    Scene {
        chain: "ton",
        network: "ton",
        watched: index.owners.iter().map(ton_tx::raw).collect(),
        before: Some(position(HEAD - 2)),
        cursor: position(HEAD - 1),
        payments: index.payments.clone(),
        answers: Box::new(answers),
        every_ms: 2_000,
        aim_ms: Some(50.0),
    }
}

fn root_hash(height: u64) -> [u8; 32] {
    Noise::new(height).bytes()
}

fn start_lt(height: u64) -> u64 {
    HEAD_LT - (HEAD - height) * BLOCK_LT
}

/// One of the index's blocks.
fn block(height: u64) -> Value {
    let mut noise = Noise::new(height + 1);
    json!({
        "workchain": -1, "shard": SHARD, "seqno": height, "root_hash": STANDARD.encode(root_hash(height)),
        "file_hash": noise.base64(), "global_id": GLOBAL_ID, "version": 0, "after_merge": false,
        "before_split": false, "after_split": false, "want_merge": true, "want_split": false, "key_block": false,
        "vert_seqno_incr": false, "flags": 1, "gen_utime": (TIME_S - (HEAD - height)).to_string(),
        "start_lt": start_lt(height).to_string(), "end_lt": (start_lt(height) + 10).to_string(),
        "validator_list_hash_short": 1_234_567_890, "gen_catchain_seqno": 634_567, "min_ref_mc_seqno": height - 5,
        "prev_key_block_seqno": height - 3_000, "vert_seqno": 1, "master_ref_seqno": 0,
        "rand_seed": noise.base64(), "created_by": noise.base64(), "tx_count": 3,
        "masterchain_block_ref": { "workchain": -1, "shard": SHARD, "seqno": height },
        "prev_blocks": [{ "workchain": -1, "shard": SHARD, "seqno": height - 1 }],
    })
}

struct Index {
    owners: Vec<[u8; 32]>,
    wallets: Vec<[u8; 32]>,
    /// States of the accounts, in the order of [`Index::accounts`].
    states: Vec<Value>,
    /// Transactions in the order of logical time.
    txs: Vec<Tx>,
    payments: Vec<Payment>,
}

impl Index {
    fn new() -> Self {
        let mut noise = Noise::new(HEAD);
        let keys = |noise: &mut Noise| (0..OWNERS).map(|_| noise.bytes::<32>()).collect::<Vec<_>>();
        let (owners, wallets) = (keys(&mut noise), keys(&mut noise));
        let mut index = Self { owners, wallets, states: Vec::new(), txs: Vec::new(), payments: Vec::new() };
        let mut accounts: Vec<Account> = index.accounts(&mut noise);
        let mut lt = HEAD_LT - BLOCK_LT + 1_000;
        for nth in 0..TRANSACTIONS {
            lt += TX_LT;
            let number = usize::try_from(noise.number()).unwrap_or(nth) % accounts.len();
            let Some(account) = accounts.get_mut(number) else { continue };
            let (tx, payment) = Tx::new(account, nth, lt, HEAD, &mut noise);
            index.txs.push(tx);
            index.payments.extend(payment);
        }
        index.states = accounts.iter().map(|account| account.state(&mut noise)).collect();
        index
    }

    /// All accounts, each with an old last transaction.
    fn accounts(&self, noise: &mut Noise) -> Vec<Account> {
        let owners = self.owners.iter().enumerate().map(|(shop, owner)| (*owner, shop, None));
        let wallets = self.wallets.iter().zip(&self.owners).enumerate();
        let wallets = wallets.map(|(shop, (wallet, owner))| (*wallet, shop, Some(*owner)));
        let all = owners.chain(wallets);
        all.map(|(key, shop, owner)| Account {
            key,
            shop,
            owner,
            last_lt: HEAD_LT - QUIET_LT - noise.below(QUIET_LT),
            last_hash: noise.base64(),
        })
        .collect()
    }

    fn answer(&self, asked: &ReceivedRequest) -> Option<Value> {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let query: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        match path {
            "/blocks" => Some(Self::blocks(&query)),
            "/accountStates" => Some(self.account_states(&query)),
            "/transactions" => self.transactions(&query),
            "/runGetMethod" => self.wallet_address(&asked.body),
            _ => None,
        }
    }

    fn blocks(query: &[(&str, &str)]) -> Value {
        let known: Range<u64> = HEAD - 2..HEAD + 1;
        let is_wanted = |height: &u64| {
            number(query, "seqno").is_none_or(|seqno| seqno == *height)
                && number(query, "start_lt").is_none_or(|lt| start_lt(*height) >= lt)
        };
        json!({ "blocks": known.filter(is_wanted).map(block).collect::<Vec<_>>() })
    }

    fn account_states(&self, query: &[(&str, &str)]) -> Value {
        let wanted = named(query, "address");
        let is_wanted =
            |state: &&Value| state["address"].as_str().is_some_and(|address| wanted.contains(address));
        let states: Vec<&Value> = self.states.iter().filter(is_wanted).collect();
        json!({ "accounts": states, "address_book": book(&wanted), "metadata": {} })
    }

    fn transactions(&self, query: &[(&str, &str)]) -> Option<Value> {
        let (from, limit) = (number(query, "start_lt")?, number(query, "limit")?);
        let wanted = named(query, "account");
        let is_wanted = |tx: &&Tx| tx.lt >= from && wanted.contains(tx.account.as_str());
        let rows = self.txs.iter().filter(is_wanted).take(usize::try_from(limit).ok()?);
        let rows: Vec<&Value> = rows.map(|tx| &tx.json).collect();
        Some(json!({ "transactions": rows, "address_book": book(&wanted) }))
    }

    /// The address of an owner's wallet, as the jetton's master answers it.
    fn wallet_address(&self, body: &[u8]) -> Option<Value> {
        let question: Value = serde_json::from_slice(body).ok()?;
        let asked = STANDARD.decode(question["stack"][0]["value"].as_str()?).ok()?;
        let is_asked = |owner: &&[u8; 32]| {
            let cell = Cell::default().address(owner).padded();
            asked.windows(cell.len()).any(|part| part == cell)
        };
        let mut pairs = self.owners.iter().zip(&self.wallets);
        let (_, wallet) = pairs.find(|(owner, _)| is_asked(owner))?;
        let wallet = Cell::default().address(wallet).base64();
        Some(json!({ "gas_used": 3_042, "exit_code": 0, "stack": [{ "type": "cell", "value": wallet }] }))
    }
}

fn number(query: &[(&str, &str)], name: &str) -> Option<u64> {
    query.iter().find(|(found, _)| *found == name)?.1.parse().ok()
}

fn named<'a>(query: &[(&str, &'a str)], name: &str) -> HashSet<&'a str> {
    query.iter().filter(|(found, _)| *found == name).map(|(_, value)| *value).collect()
}

/// The index's additions about accounts. Nobody reads them; the addresses only have the length of real ones.
fn book(accounts: &HashSet<&str>) -> Value {
    let row = |account: &&str| {
        let friendly = account.get(..48).unwrap_or_default();
        ((*account).to_owned(), json!({ "user_friendly": friendly, "domain": null, "interfaces": [] }))
    };
    Value::Object(accounts.iter().map(row).collect())
}
