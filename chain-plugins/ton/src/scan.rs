//! One step: the masterchain's blocks after the cursor, and the payments that they made final.

use crate::accounts;
use crate::address::{Account, why};
use crate::blocks::{self, Chain};
use crate::claim::Claim;
use crate::history::{self, Track};
use crate::host::Host;
use crate::proof::{self, Proven};
use crate::settings::{Proofs, Settings};
use crate::store::{At, Seen, Store};
use kassa_sdk::chain::{ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Network, Position, Transfer};
use kassa_sdk::upstream::{Fault, clean};
use std::collections::{HashMap, HashSet};

const MAINNET: &str = "-239";

/// True if addresses carry the testnet flag.
pub(crate) fn is_testnet(network: &Network) -> bool {
    network.chain_id != MAINNET
}

/// A scan and its network.
pub(crate) struct Scan<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) settings: Settings,
    /// The network's id in blocks.
    pub(crate) global_id: i64,
    pub(crate) is_testnet: bool,
    /// Masters of the listed jettons, each with its index in the list of assets.
    pub(crate) jettons: Vec<(Account, u32)>,
    /// Index of the native coin in the list of assets, if it is listed.
    pub(crate) native: Option<u32>,
}

pub(crate) fn scan<H: Host>(
    host: &H,
    network: &Network,
    cursor: Option<&Position>,
    limits: &ScanLimits,
) -> Result<ScanResult, ScanError> {
    let scan = Scan::new(host, network).map_err(|why| ScanError::Settings(clean(&why)))?;
    match cursor {
        None => scan.begin(),
        Some(cursor) => scan.read_on(cursor, limits),
    }
    .map_err(Fault::into_scan_error)
}

impl<'a, H: Host> Scan<'a, H> {
    pub(crate) fn new(host: &'a H, network: &Network) -> Result<Self, String> {
        let settings = Settings::parse(&network.settings)?;
        let global_id = network.chain_id.parse().map_err(|_| "the chain's id is not a number".to_owned())?;
        let is_testnet = is_testnet(network);
        let (mut jettons, mut native) = (Vec::new(), None);
        for (index, asset) in (0u32..).zip(&network.assets) {
            match &asset.contract {
                None => native = native.or(Some(index)),
                Some(contract) => {
                    let master = Account::parse(contract, is_testnet)
                        .map_err(|error| format!("{contract} is not a jetton master: {}", why(&error)))?;
                    jettons.push((master, index));
                }
            }
        }
        Ok(Self { host, settings, global_id, is_testnet, jettons, native })
    }

    /// Starts a new network at the head.
    fn begin(&self) -> Result<ScanResult, Fault> {
        let (parent, head) = blocks::newest(self)?;
        Ok(ScanResult {
            blocks: vec![head.child_of(&parent)],
            transfers: Vec::new(),
            head: head.position(),
            safe: None,
            final_: head.height,
            more: Vec::new(),
        })
    }

    fn read_on(&self, cursor: &Position, limits: &ScanLimits) -> Result<ScanResult, Fault> {
        let mut store = Store::load(self.host)?;
        if limits.known.is_some_and(|known| known.final_ <= cursor.height) && self.is_still(&store, cursor)? {
            return Ok(ScanResult {
                blocks: Vec::new(),
                transfers: Vec::new(),
                head: cursor.clone(),
                safe: None,
                final_: cursor.height,
                more: Vec::new(),
            });
        }
        let max = limits.blocks.clamp(1, self.settings.blocks);
        let chain = blocks::after(self, cursor.height, store.at, max)?;
        // Masterchain blocks are final as soon as they are there.
        let mut result = ScanResult {
            blocks: Vec::new(),
            transfers: Vec::new(),
            head: chain.head.position(),
            safe: None,
            final_: chain.head.height,
            more: Vec::new(),
        };
        let known = !cursor.hash.is_empty();
        if known && chain.cursor.position().hash != cursor.hash {
            // Another block is at the height that the host has read. The host sees that by the parent of the next
            // block, and takes nothing of what follows.
            result.blocks.extend(chain.blocks.first().map(|block| block.child_of(&chain.cursor)));
            return Ok(result);
        }
        if chain.blocks.is_empty() {
            return Ok(result);
        }
        if !known || store.at.is_none_or(|at| at.height > cursor.height) {
            // The host went back, or goes on where another branch may be now: what was read counts as not read.
            store.seen.clear();
        }
        let Some(accounts) = accounts::all(self, &mut store.wallets)? else {
            store.save(self.host)?;
            return Ok(result);
        };
        let fresh = Seen { since: cursor.height, last: None };
        let mut tracks: Vec<Track> = accounts
            .into_iter()
            .map(|(account, role)| {
                Track::new(account, role, store.seen.get(&account).copied().unwrap_or(fresh))
            })
            .collect();
        let to = history::read(self, &mut tracks, &chain)?;
        let (transfers, claims) = transfers(&mut tracks)?;
        let to = fitting(&chain, &transfers, to, limits.transfers);
        let Some(to) = self.proven(&chain, &transfers, &claims, to, &mut store.proven)? else {
            store.save(self.host)?;
            return Ok(result);
        };
        let Some(last) = chain.blocks.get(to) else { return Ok(result) };
        let mut parent = &chain.cursor;
        for block in chain.blocks.iter().take(to.saturating_add(1)) {
            result.blocks.push(block.child_of(parent));
            parent = block;
        }
        result.transfers = transfers.into_iter().filter(|transfer| transfer.height <= last.height).collect();
        store.at = Some(At { height: last.height, start_lt: last.start_lt });
        store.seen = tracks.iter().map(|track| (track.account, seen_at(track, last.height))).collect();
        store.save(self.host)?;
        Ok(result)
    }

    /// True if no account has moved since the cursor's block, according to their states alone: then the blocks after it
    /// are of no interest. False if not all accounts are known.
    fn is_still(&self, store: &Store, cursor: &Position) -> Result<bool, Fault> {
        if cursor.hash.is_empty() || store.at.is_none_or(|at| at.height != cursor.height) {
            return Ok(false);
        }
        let Some(accounts) = accounts::known(self, &store.wallets)? else { return Ok(false) };
        let track = |(account, role)| Some(Track::new(account, role, *store.seen.get(&account)?));
        let tracks: Option<Vec<Track>> = accounts.into_iter().map(track).collect();
        match tracks {
            Some(mut tracks) if !tracks.is_empty() => history::is_still(self, &mut tracks),
            _ => Ok(false),
        }
    }

    /// The index of the last block up to which all payments are proven. `None` if that is not even the first one: then
    /// the proofs made so far have to be kept.
    fn proven(
        &self,
        chain: &Chain,
        transfers: &[Transfer],
        claims: &[Claim],
        to: usize,
        proven: &mut Proven,
    ) -> Result<Option<usize>, Fault> {
        if self.settings.proofs == Proofs::None {
            proven.clear();
            return Ok(Some(to));
        }
        let up_to = |index: usize| {
            let height = chain.blocks.get(index).map_or(0, |block| block.height);
            transfers.iter().take_while(|transfer| transfer.height <= height).count()
        };
        // Only marks of what is still to be reported are kept.
        let keep = |proven: &mut Proven, reported: usize| {
            let open: Proven = claims.iter().skip(reported).map(Claim::mark).collect();
            proven.retain(|mark| open.contains(mark));
        };
        keep(proven, 0);
        let reached = proof::prove(self, claims.get(..up_to(to)).unwrap_or_default(), proven)?;
        let index = match (reached.fault, transfers.get(reached.claims)) {
            (Some(fault), Some(open)) => {
                let complete = chain.blocks.iter().take_while(|block| block.height < open.height).count();
                match complete.checked_sub(1) {
                    Some(index) => index.min(to),
                    None if reached.is_further => return Ok(None),
                    None => return Err(fault),
                }
            }
            _ => to,
        };
        keep(proven, up_to(index));
        Ok(Some(index))
    }
}

/// The transfers of all accounts in the order of the blocks, and, if payments are proven, the claim that each rests on.
fn transfers(tracks: &mut [Track]) -> Result<(Vec<Transfer>, Vec<Claim>), Fault> {
    let mut rows: Vec<_> = tracks
        .iter_mut()
        .flat_map(|track| &mut track.rows)
        .filter_map(|row| Some(((row.height, row.last.lt), row.transfer.take()?, row.claim.take())))
        .collect();
    rows.sort_by_key(|(order, ..)| *order);
    let mut ids = HashSet::new();
    if !rows.iter().all(|(_, transfer, _)| ids.insert(transfer.tx.as_str())) {
        return Err(Fault::malformed("two transactions with one hash"));
    }
    let (transfers, claims): (Vec<_>, Vec<_>) =
        rows.into_iter().map(|(_, transfer, claim)| (transfer, claim)).unzip();
    Ok((transfers, claims.into_iter().flatten().collect()))
}

/// The index of the last block whose transfers still fit; the first block is always reported.
fn fitting(chain: &Chain, transfers: &[Transfer], to: usize, max: u32) -> usize {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for transfer in transfers {
        let count = counts.entry(transfer.height).or_default();
        *count = count.saturating_add(1);
    }
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut total = 0usize;
    let mut fits = |height: u64| {
        total = total.saturating_add(counts.get(&height).copied().unwrap_or(0));
        total <= max
    };
    let blocks = chain.blocks.iter().take(to.saturating_add(1));
    blocks.take_while(|block| fits(block.height)).count().saturating_sub(1)
}

/// State of the reading of an account once the blocks up to this height were reported.
fn seen_at(track: &Track, height: u64) -> Seen {
    let read = track.rows.iter().take_while(|row| row.height <= height).last().map(|row| row.last);
    // The first transaction of a new account after the cursor names the last one before.
    let before = track.rows.first().and_then(history::Row::before);
    Seen { last: read.or(track.seen.last).or(before), ..track.seen }
}
