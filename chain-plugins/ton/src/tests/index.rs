//! An index that answers from a chain that a test writes, and misbehaves on demand.
//! Block 5,000 is the cursor. Logical time runs on by a million a block.

use super::cells::{Cell, comment, internal_transfer};
use super::ledger::transaction;
use crate::address::{Account, hex};
use crate::base64;
use crate::boc::Boc;
use crate::slice::Slice;
use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Asset, Memo, Network, Position, Transfer};
use kassa_sdk::upstream::Fault;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cell::{Cell as Slot, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};

pub(super) const CURSOR: u64 = 5_000;

pub(super) const fn account(byte: u8) -> Account {
    Account { workchain: 0, hash: [byte; 32] }
}

pub(super) const SHOP: Account = account(0xaa);
pub(super) const OTHER: Account = account(0xbb);
pub(super) const PAYER: Account = account(0xcc);
pub(super) const USDT: Account = account(0x11);
pub(super) const FAKE: Account = account(0x66);

/// The wallet of an owner, according to a master.
pub(super) fn wallet(master: &Account, owner: &Account) -> Account {
    let hash = Sha256::digest([master.key(), owner.key()].concat()).into();
    Account { workchain: 0, hash }
}

pub(super) fn hash_of(what: &str) -> [u8; 32] {
    Sha256::digest(what.as_bytes()).into()
}

#[derive(Clone)]
pub(super) struct Tx {
    pub(super) account: Account,
    pub(super) height: u64,
    pub(super) lt: u64,
    /// The transaction as the index answers it; links are filled in.
    pub(super) json: Value,
}

/// A message of the native coin.
pub(super) fn paid(to: Account, nano: u64, body: &Cell) -> Value {
    message(to, PAYER, nano, body)
}

/// A credit of a jetton wallet.
pub(super) fn credited(master: Account, owner: Account, units: u128, text: &str) -> Value {
    let body = internal_transfer(units, Some(&PAYER), &comment(text), units.is_multiple_of(2));
    message(wallet(&master, &owner), wallet(&master, &PAYER), 30_000_000, &body)
}

pub(super) fn message(to: Account, from: Account, nano: u64, body: &Cell) -> Value {
    json!({
        "account": to.raw(), "now": 1_785_330_571, "orig_status": "active", "end_status": "active",
        "total_fees": "396473", "emulated": false, "finality": "finalized", "trace_id": null,
        "description": {
            "type": "ord", "aborted": false, "destroyed": false, "credit_first": true,
            "credit_ph": {"credit": nano.to_string()},
            "compute_ph": {"skipped": false, "success": true, "exit_code": 0},
        },
        "in_msg": {
            "hash": base64::encode(&[1; 32]), "source": from.raw(), "destination": to.raw(),
            "value": nano.to_string(), "bounce": false, "bounced": false, "opcode": null,
            "message_content": {
                "hash": base64::encode(&body.hash()), "body": body.base64(), "decoded": {"@type": "lie"},
            },
        },
        "out_msgs": [],
    })
}

type Twist = Box<dyn Fn(&str, &mut Value)>;
/// Fault of a request for cells, by its number since the test began.
type Refusal = Box<dyn Fn(usize) -> Option<Fault>>;

pub(super) const PROOFS: &str = r#"{"proofs":"v2"}"#;

pub(super) struct Index {
    pub(super) head: u64,
    pub(super) txs: Vec<Tx>,
    /// Cells that v2 returns, by the hash in hexadecimal.
    pub(super) cells: RefCell<HashMap<String, String>>,
    pub(super) refusal: RefCell<Option<Refusal>>,
    /// Transactions that `/transactions` leaves out.
    pub(super) hidden: RefCell<Vec<[u8; 32]>>,
    /// Block after which transactions are not in the states.
    pub(super) states_at: Slot<u64>,
    pub(super) owners: RefCell<Vec<Account>>,
    pub(super) native: bool,
    pub(super) settings: String,
    pub(super) global_id: i64,
    pub(super) twist: RefCell<Option<Twist>>,
    pub(super) raw: RefCell<Option<(u16, Option<&'static str>, String)>>,
    pub(super) budget: Slot<usize>,
    /// Maximum number of requests that are served of those that come at once.
    pub(super) served_max: Slot<usize>,
    /// Waits that the host was told of, milliseconds.
    pub(super) waits: RefCell<Vec<u32>>,
    pub(super) requests: RefCell<HashMap<String, usize>>,
    pub(super) stored: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Index {
    pub(super) fn new(head: u64) -> Self {
        Self {
            head,
            txs: Vec::new(),
            cells: RefCell::default(),
            refusal: RefCell::default(),
            hidden: RefCell::default(),
            states_at: Slot::new(u64::MAX),
            owners: RefCell::new(vec![SHOP]),
            native: true,
            settings: "{}".into(),
            global_id: -239,
            twist: RefCell::new(None),
            raw: RefCell::new(None),
            budget: Slot::new(usize::MAX),
            served_max: Slot::new(usize::MAX),
            waits: RefCell::default(),
            requests: RefCell::default(),
            stored: RefCell::default(),
        }
    }

    /// Adds a transaction to a block, after all that were added before.
    pub(super) fn add(&mut self, height: u64, mut json: Value) -> [u8; 32] {
        let account = Account::of_raw(json["account"].as_str().unwrap()).unwrap();
        let count = self.txs.iter().rev().take_while(|tx| tx.height == height).count() as u64;
        let lt = height * 1_000_000 + 1 + count;
        let hash = hash_of(&format!("tx {height} {count}"));
        let before = self.txs.iter().rfind(|tx| tx.account == account);
        assert!(before.is_none_or(|before| before.height <= height));
        let is_anew = before.is_some_and(|before| before.json["end_status"] == "nonexist");
        let (before_lt, before_hash) = match before.filter(|_| !is_anew) {
            Some(before) => (before.lt, before.json["hash"].clone()),
            None => (0, json!(base64::encode(&[0; 32]))),
        };
        json["prev_trans_lt"] = json!(before_lt.to_string());
        json["prev_trans_hash"] = before_hash;
        json["lt"] = json!(lt.to_string());
        let hash = match self.settings == PROOFS {
            false => hash,
            true => {
                let cell = transaction(&json);
                self.cells.borrow_mut().insert(hex(&cell.hash()), cell.base64());
                cell.hash()
            }
        };
        json["hash"] = json!(base64::encode(&hash));
        json["mc_block_seqno"] = json!(height);
        self.txs.push(Tx { account, height, lt, json });
        hash
    }

    /// Adds a transaction of the local chain to the block of its logical time.
    #[cfg(test)]
    pub(super) fn add_known(&mut self, mut json: Value, data: String) {
        let account = Account::of_raw(json["account"].as_str().unwrap()).unwrap();
        let lt: u64 = json["lt"].as_str().unwrap().parse().unwrap();
        let hash = base64::hash(json["hash"].as_str().unwrap()).unwrap();
        let height = lt / 1_000_000;
        json["mc_block_seqno"] = json!(height);
        self.cells.borrow_mut().insert(hex(&hash), data);
        self.txs.push(Tx { account, height, lt, json });
    }

    /// Changes answers. `twist` is called with the endpoint and the answer.
    pub(super) fn twisted(self, twist: impl Fn(&str, &mut Value) + 'static) -> Self {
        *self.twist.borrow_mut() = Some(Box::new(twist));
        self
    }

    pub(super) fn network(&self) -> Network {
        let token = |master: &Account| Asset { contract: Some(master.show(false)), decimals: 6, more: None };
        let mut assets = vec![token(&USDT)];
        if self.native {
            assets.insert(0, Asset { contract: None, decimals: 9, more: None });
        }
        Network {
            name: "test".into(),
            chain_id: "-239".into(),
            assets,
            settings: self.settings.clone(),
            more: Vec::new(),
        }
    }

    pub(super) fn scan_from(&self, cursor: u64, limits: &ScanLimits) -> Result<ScanResult, ScanError> {
        let position = Position { height: cursor, hash: hex(&hash_of(&format!("block {cursor}"))) };
        let before = self.stored.borrow().clone();
        let result = crate::scan::scan(self, &self.network(), Some(&position), limits);
        if result.is_err() {
            // The host keeps nothing of a call that fails.
            *self.stored.borrow_mut() = before;
        }
        result
    }

    pub(super) fn scan(&self) -> Result<ScanResult, ScanError> {
        self.scan_from(
            CURSOR,
            &ScanLimits { blocks: 200, transfers: 5_000, known: None, next_is_head: false, more: Vec::new() },
        )
    }

    pub(super) fn count(&self, endpoint: &str) -> usize {
        self.requests.borrow().get(endpoint).copied().unwrap_or(0)
    }

    pub(super) fn block(&self, height: u64) -> Value {
        json!({
            "workchain": -1, "shard": "8000000000000000", "seqno": height, "global_id": self.global_id,
            "root_hash": base64::encode(&hash_of(&format!("block {height}"))),
            // Two or three blocks a second.
            "gen_utime": (1_785_000_000 + height * 2 / 5).to_string(),
            "start_lt": (height * 1_000_000 + 999_000).to_string(),
            "end_lt": (height * 1_000_000 + 999_010).to_string(),
            "prev_blocks": [{"workchain": -1, "shard": "8000000000000000", "seqno": height - 1}],
            "tx_count": 3,
        })
    }

    pub(super) fn blocks(&self, query: &[(&str, &str)]) -> Value {
        let limit = number(query, "limit").unwrap() as usize;
        let mut heights: Vec<u64> = (CURSOR - 100..=self.head).collect();
        if let Some(seqno) = number(query, "seqno") {
            heights.retain(|height| *height == seqno);
        }
        if let Some(lt) = number(query, "start_lt") {
            heights.retain(|height| height * 1_000_000 + 999_000 >= lt);
        }
        // Sorted by the second, and within it in an order of the database's own.
        heights.sort_by_key(|height| (height * 2 / 5, std::cmp::Reverse(*height)));
        if query.contains(&("sort", "desc")) {
            heights.reverse();
        }
        let blocks: Vec<_> = heights.into_iter().take(limit).map(|height| self.block(height)).collect();
        json!({"blocks": blocks})
    }

    pub(super) fn states(&self, query: &[(&str, &str)]) -> Value {
        let limit = number(query, "limit").unwrap() as usize;
        let newest: HashMap<_, _> = self
            .txs
            .iter()
            .filter(|tx| tx.height <= self.states_at.get())
            .map(|tx| (tx.account, tx))
            .collect();
        let states = accounts(query, "address").filter_map(|account| {
            let tx = newest.get(&account)?;
            Some(json!({
                "address": account.raw(), "status": tx.json["end_status"], "balance": "1", "account_state_hash": "x",
                "last_transaction_lt": tx.lt.to_string(), "last_transaction_hash": tx.json["hash"],
            }))
        });
        let states: Vec<_> = states.take(limit).collect();
        json!({"accounts": states, "address_book": {}, "metadata": {}})
    }

    pub(super) fn transactions(&self, query: &[(&str, &str)]) -> Value {
        let (from, limit) = (number(query, "start_lt").unwrap(), number(query, "limit").unwrap() as usize);
        assert!(limit <= 1_000 && query.contains(&("sort", "asc")));
        let hidden = self.hidden.borrow();
        let wanted: HashSet<_> = accounts(query, "account").collect();
        let is_wanted = |tx: &&Tx| {
            let is_hidden = hidden.iter().any(|hash| tx.json["hash"] == base64::encode(hash));
            tx.lt >= from && !is_hidden && wanted.contains(&tx.account)
        };
        let mut txs: Vec<_> = self.txs.iter().filter(is_wanted).collect();
        txs.sort_by_key(|tx| (tx.lt, tx.account));
        let rows: Vec<_> = txs.into_iter().take(limit).map(|tx| tx.json.clone()).collect();
        json!({"transactions": rows, "address_book": {}})
    }

    /// Traces: consecutive transactions of one block are one trace here, with a message that is named after it.
    pub(super) fn traces(&self, query: &[(&str, &str)]) -> Value {
        assert!(query.contains(&("limit", "1")));
        let value = |name: &str| query.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let hash_of_tx = |tx: &Tx| hex(&base64::hash(tx.json["hash"].as_str().unwrap()).unwrap());
        let asked = |tx: &&Tx| {
            value("tx_hash").is_some_and(|hash| hash == hash_of_tx(tx))
                || value("msg_hash").is_some_and(|hash| hash == hex(&hash_of(&format!("msg {}", tx.height))))
        };
        let Some(found) = self.txs.iter().find(asked) else {
            return json!({"traces": [], "address_book": {}});
        };
        let txs = self.txs.iter().filter(|tx| tx.height == found.height);
        let txs: serde_json::Map<_, _> =
            txs.map(|tx| (tx.json["hash"].as_str().unwrap().to_owned(), tx.json.clone())).collect();
        json!({"traces": [{"trace_id": "x", "is_incomplete": false, "transactions": txs}], "address_book": {}})
    }

    pub(super) fn get_transactions(&self, query: &[(&str, &str)]) -> Value {
        let value = |name: &str| query.iter().find(|(found, _)| *found == name).unwrap().1;
        assert_eq!((value("limit"), value("archival")), ("1", "true"));
        let (Some(data), lt) = (self.cells.borrow().get(value("hash")).cloned(), value("lt")) else {
            return json!({"ok": false, "error": "LITE_SERVER_UNKNOWN: cannot locate it", "code": 500});
        };
        let hash: Vec<_> =
            (0..32).map(|at| u8::from_str_radix(&value("hash")[2 * at..][..2], 16).unwrap()).collect();
        let id = json!({"@type": "internal.transactionId", "lt": lt, "hash": base64::encode(&hash)});
        json!({"ok": true, "result": [{"@type": "raw.transaction", "utime": 1, "data": data, "transaction_id": id}]})
    }

    pub(super) fn get_method(&self, body: &str) -> Value {
        let request: Value = serde_json::from_str(body).unwrap();
        assert_eq!(request["method"], "get_wallet_address");
        let master = Account::of_raw(request["address"].as_str().unwrap()).unwrap();
        let slice = base64::decode(request["stack"][0]["value"].as_str().unwrap()).unwrap();
        let slice = Boc::parse(&slice).unwrap();
        let owner = Slice::root(&slice).unwrap().address().unwrap().unwrap();
        let wallet = Cell::default().address(Some(&wallet(&master, &owner))).base64();
        json!({"gas_used": 3_000, "exit_code": 0, "stack": [{"type": "cell", "value": wallet}]})
    }
}

fn accounts(query: &[(&str, &str)], name: &str) -> impl Iterator<Item = Account> {
    let named = query.iter().filter(move |(found, _)| *found == name);
    named.map(|(_, account)| Account::of_raw(account).unwrap())
}

fn number(query: &[(&str, &str)], name: &str) -> Option<u64> {
    query.iter().find(|(found, _)| *found == name).map(|(_, value)| value.parse().unwrap())
}

/// `(height, asset, amount, comment)` of each transfer; a memo that cannot be read is `!`.
pub(super) fn brief<'a>(result: &'a ScanResult) -> Vec<(u64, u32, Option<u128>, &'a str)> {
    let brief = |transfer: &'a Transfer| {
        let memo = match &transfer.memo {
            Memo::None => "",
            Memo::Unreadable(_) => "!",
            Memo::Text(text) => text,
        };
        (transfer.height, transfer.asset, transfer.amount.map(u128::from), memo)
    };
    result.transfers.iter().map(brief).collect()
}
