//! The accounts that are read: each watched owner, and its wallet of each listed jetton.
//!
//! A jetton wallet is known by asking the listed master where the owner's wallet is, never by what a wallet says of
//! itself: anyone can deploy the same code with the same words. Masters answer for owners of the basechain; an owner on
//! the masterchain has no jetton wallets here.

use crate::address::{Account, why};
use crate::api;
use crate::base64;
use crate::boc::{self, Boc};
use crate::host::{Answer, Host, Request};
use crate::scan::Scan;
use crate::slice::Slice;
use crate::store::Wallets;
use crate::wire::GetMethodJson;
use kassa_sdk::upstream::Fault;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Number of owners that one request to the host returns.
const PAGE: u32 = 1_000;

/// Maximum number of jetton wallets that one scan asks for. The rest follows with the next scans.
const DERIVED_MAX: usize = 64;

/// Role of an account in a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Owner,
    JettonWallet { asset: u32, owner: Account },
}

/// Finds the accounts to read. `None` if some jetton wallets are not known yet: then all that was learned is in
/// `wallets`.
pub(crate) fn all<H: Host>(
    scan: &Scan<'_, H>,
    wallets: &mut Wallets,
) -> Result<Option<BTreeMap<Account, Role>>, Fault> {
    let owners = owners(scan)?;
    let pairs = pairs(scan, &owners);
    let known: HashMap<_, _> = pairs
        .iter()
        .filter_map(|(owner, master, _)| Some(((*owner, *master), *wallets.get(&(*owner, *master))?)))
        .collect();
    let mut unknown = pairs.iter().filter(|(owner, master, _)| !known.contains_key(&(*owner, *master)));
    let asked: Vec<_> =
        unknown.by_ref().take(DERIVED_MAX).map(|(owner, master, _)| (*owner, *master)).collect();
    let rest = unknown.count();
    // Wallets of owners and masters that are no longer watched or listed are dropped.
    *wallets = known;
    if !asked.is_empty() {
        let before = wallets.len();
        match derive(scan, &asked, wallets) {
            Ok(()) if rest == 0 => {}
            // Kept, so that an upstream that takes few requests gets through in several scans.
            Ok(()) => return Ok(None),
            Err(_) if wallets.len() > before => return Ok(None),
            Err(fault) => return Err(fault),
        }
    }
    named(scan, &owners, pairs, wallets).map(Some)
}

/// The accounts to read. `None` if some jetton wallets are not known.
pub(crate) fn known<H: Host>(
    scan: &Scan<'_, H>,
    wallets: &Wallets,
) -> Result<Option<BTreeMap<Account, Role>>, Fault> {
    let owners = owners(scan)?;
    let pairs = pairs(scan, &owners);
    match pairs.iter().all(|(owner, master, _)| wallets.contains_key(&(*owner, *master))) {
        true => named(scan, &owners, pairs, wallets).map(Some),
        false => Ok(None),
    }
}

/// Owner, master and the master's index in the list of assets.
type Pair = (Account, Account, u32);

fn pairs<H>(scan: &Scan<'_, H>, owners: &BTreeSet<Account>) -> Vec<Pair> {
    let owners = owners.iter().filter(|owner| owner.workchain == 0);
    owners.flat_map(|owner| scan.jettons.iter().map(|(master, asset)| (*owner, *master, *asset))).collect()
}

fn named<H>(
    scan: &Scan<'_, H>,
    owners: &BTreeSet<Account>,
    pairs: Vec<Pair>,
    wallets: &Wallets,
) -> Result<BTreeMap<Account, Role>, Fault> {
    let mut accounts = BTreeMap::new();
    if scan.native.is_some() {
        accounts.extend(owners.iter().map(|owner| (*owner, Role::Owner)));
    }
    let mut derived: HashMap<Account, (Account, Account)> = HashMap::new();
    for (owner, master, asset) in pairs {
        let Some(wallet) = wallets.get(&(owner, master)) else { continue };
        if derived.insert(*wallet, (owner, master)).is_some() {
            return Err(Fault::malformed("two owners or masters with the same jetton wallet"));
        }
        // Someone may watch another owner's jetton wallet as if it were an owner: that takes nothing away.
        accounts.insert(*wallet, Role::JettonWallet { asset, owner });
    }
    Ok(accounts)
}

fn owners<H: Host>(scan: &Scan<'_, H>) -> Result<BTreeSet<Account>, Fault> {
    let mut owners = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = scan.host.watched(after.as_deref(), PAGE)?;
        for text in &page {
            let owner = Account::parse(text, scan.is_testnet);
            owners
                .insert(owner.map_err(|error| Fault::upstream(format!("watched address: {}", why(&error))))?);
        }
        match page.into_iter().next_back() {
            Some(last) if after.as_ref() < Some(&last) => after = Some(last),
            _ => return Ok(owners),
        }
    }
}

fn derive<H: Host>(
    scan: &Scan<'_, H>,
    asked: &[(Account, Account)],
    wallets: &mut Wallets,
) -> Result<(), Fault> {
    let requests: Vec<_> = asked.iter().map(|(owner, master)| request(owner, master)).collect();
    api::each(scan, &requests, |index, answer| {
        if let Some(pair) = asked.get(index) {
            let wallet = wallet(answer)?;
            if wallet == pair.0 || wallet == pair.1 {
                return Err(Fault::malformed("get_wallet_address names the owner or the master"));
            }
            wallets.insert(*pair, wallet);
        }
        Ok(())
    })
}

fn request(owner: &Account, master: &Account) -> Request {
    let (master, owner) = (master.raw(), base64::encode(&address_cell(owner)));
    let stack = format!(r#"[{{"type":"slice","value":"{owner}"}}]"#);
    let body = format!(r#"{{"address":"{master}","method":"get_wallet_address","stack":{stack}}}"#);
    Request { path: "/runGetMethod".into(), body: Some(body) }
}

/// Writes `addr_std$10` without anycast: two bits and one, then the workchain and the hash, 267 bits in all.
fn address_cell(account: &Account) -> Vec<u8> {
    let mut data = vec![0b1000_0000];
    for byte in account.key() {
        if let Some(last) = data.last_mut() {
            *last |= byte >> 3;
        }
        data.push(byte << 5);
    }
    boc::single(&data, 267)
}

fn wallet(answer: &Answer) -> Result<Account, Fault> {
    let what = "get_wallet_address";
    let json = api::parse::<GetMethodJson<'_>>(answer, what)?;
    if !matches!(json.exit_code, 0 | 1) {
        return Err(Fault::upstream(format!("{what} ended with exit code {}", json.exit_code)));
    }
    let malformed = || Fault::malformed(format!("{what} does not answer an address"));
    let [entry] = json.stack.as_slice() else { return Err(malformed()) };
    if !matches!(&*entry.kind.0, "slice" | "cell") {
        return Err(malformed());
    }
    let bytes = base64::decode(&entry.value.0).ok_or_else(malformed)?;
    let boc = Boc::parse(&bytes).map_err(|_| malformed())?;
    let mut slice = Slice::root(&boc).ok_or_else(malformed)?;
    let account = slice.address().flatten().filter(|account| slice.is_empty() && account.workchain == 0);
    account.ok_or_else(malformed)
}
