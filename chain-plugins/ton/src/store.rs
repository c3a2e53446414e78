//! State that is kept between scans.
//!
//! | key | value |
//! |---|---|
//! | `at` | height and logical time of the cursor's block: where the next list of blocks begins |
//! | `accounts/00` … `accounts/ff` | by the first byte of the account: what was read of it |
//! | `proven/00` … `proven/ff` | by their first byte: marks of what was proven and is not yet reported |
//! | `wallets/00` … `wallets/ff` | by the first byte of the owner: its jetton wallets |
//!
//! Many accounts share a key so that a scan reads and writes few of them; only keys that changed are written. Losing
//! any of it costs requests, never a payment: an account of which nothing is known is watched from the cursor on.

use crate::address::{Account, Hash, KEY_LEN};
use crate::host::Host;
use crate::proof::Proven;
use kassa_sdk::upstream::Fault;
use std::collections::{BTreeMap, HashMap};

const AT: &str = "at";
const ACCOUNTS: &str = "accounts/";
const WALLETS: &str = "wallets/";
const PROVEN: &str = "proven/";

/// The cursor's block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At {
    pub(crate) height: u64,
    pub(crate) start_lt: u64,
}

/// The last transaction that was read on an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Last {
    pub(crate) lt: u64,
    pub(crate) hash: Hash,
    /// True if it ended the account. If the account is created again, its next transaction names none before it.
    pub(crate) is_end: bool,
}

/// State of the reading of an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Height of the cursor when the account was first watched: what is final there or below is of no interest.
    pub(crate) since: u64,
    /// `None` if it had no transaction, as far as the index told.
    pub(crate) last: Option<Last>,
}

const SEEN_LEN: usize = KEY_LEN + 8 + 8 + 32 + 1;
const WALLET_LEN: usize = 3 * KEY_LEN;

/// Jetton wallets by owner and master.
pub(crate) type Wallets = HashMap<(Account, Account), Account>;

pub(crate) struct Store {
    loaded: BTreeMap<String, Vec<u8>>,
    pub(crate) at: Option<At>,
    pub(crate) seen: HashMap<Account, Seen>,
    pub(crate) wallets: Wallets,
    pub(crate) proven: Proven,
}

impl Store {
    pub(crate) fn load<H: Host>(host: &H) -> Result<Self, Fault> {
        let mut loaded = BTreeMap::new();
        let mut keys = host.keys(ACCOUNTS)?;
        keys.extend(host.keys(WALLETS)?);
        keys.extend(host.keys(PROVEN)?);
        keys.push(AT.into());
        for key in keys {
            if let Some(value) = host.load(&key)? {
                loaded.insert(key, value);
            }
        }
        let records = |prefix: &'static str, len: usize| {
            let values = loaded.iter().filter(move |(key, _)| key.starts_with(prefix));
            values.flat_map(move |(_, value)| value.chunks_exact(len))
        };
        Ok(Self {
            at: loaded.get(AT).and_then(|value| read_at(value)),
            seen: records(ACCOUNTS, SEEN_LEN).filter_map(read_seen).collect(),
            wallets: records(WALLETS, WALLET_LEN).filter_map(read_wallet).collect(),
            proven: records(PROVEN, 32).filter_map(|mark| mark.try_into().ok()).collect(),
            loaded,
        })
    }

    /// Writes what has changed since it was loaded.
    pub(crate) fn save<H: Host>(&self, host: &H) -> Result<(), Fault> {
        let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        if let Some(At { height, start_lt }) = self.at {
            values.insert(AT.into(), [height.to_be_bytes(), start_lt.to_be_bytes()].concat());
        }
        let mut add = |prefix: &str, hash: &Hash, record: Vec<u8>| {
            let [first, ..] = *hash;
            values.entry(format!("{prefix}{first:02x}")).or_default().extend(record);
        };
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort_unstable_by_key(|(account, _)| **account);
        for (account, seen) in seen {
            add(ACCOUNTS, &account.hash, write_seen(account, seen));
        }
        let mut wallets: Vec<_> = self.wallets.iter().collect();
        wallets.sort_unstable();
        for ((owner, master), wallet) in wallets {
            add(WALLETS, &owner.hash, [owner.key(), master.key(), wallet.key()].concat());
        }
        self.proven.iter().for_each(|mark| add(PROVEN, mark, mark.to_vec()));
        for (key, value) in &values {
            if self.loaded.get(key) != Some(value) {
                host.keep(key, value)?;
            }
        }
        for key in self.loaded.keys().filter(|key| !values.contains_key(*key)) {
            host.forget(key)?;
        }
        Ok(())
    }
}

fn read_at(value: &[u8]) -> Option<At> {
    let (height, start_lt) = value.split_first_chunk::<8>()?;
    let start_lt = u64::from_be_bytes(start_lt.try_into().ok()?);
    Some(At { height: u64::from_be_bytes(*height), start_lt })
}

fn write_seen(account: &Account, seen: &Seen) -> Vec<u8> {
    let (lt, hash, flag) = match seen.last {
        None => (0, [0; 32], 0),
        Some(Last { lt, hash, is_end }) => (lt, hash, if is_end { 2 } else { 1 }),
    };
    let mut record = Vec::with_capacity(SEEN_LEN);
    record.extend(account.key());
    record.extend(seen.since.to_be_bytes());
    record.extend(lt.to_be_bytes());
    record.extend(hash);
    record.push(flag);
    record
}

fn read_seen(record: &[u8]) -> Option<(Account, Seen)> {
    let (key, rest) = record.split_first_chunk::<KEY_LEN>()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let (lt, rest) = rest.split_first_chunk::<8>()?;
    let (hash, flag) = rest.split_first_chunk::<32>()?;
    let last = Last { lt: u64::from_be_bytes(*lt), hash: *hash, is_end: *flag == [2] };
    let last = Some(last).filter(|_| *flag != [0]);
    Some((Account::of_key(key)?, Seen { since: u64::from_be_bytes(*since), last }))
}

fn read_wallet(record: &[u8]) -> Option<((Account, Account), Account)> {
    let mut keys = record.chunks_exact(KEY_LEN).map(Account::of_key);
    let mut next = || keys.next().flatten();
    Some(((next()?, next()?), next()?))
}
