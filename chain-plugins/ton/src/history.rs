//! The transactions of accounts, proven to be all of them.
//!
//! Each transaction names the one before it on its account by logical time and hash. So from the last one
//! that was read to the one that the account's state names, nothing can be left out unnoticed. The states
//! are asked for after the blocks and before the transactions: an account whose state has not moved needs no
//! further request, and one that has moved must show every link up to it, or up to a transaction that lies
//! beyond what this scan reads.

use crate::accounts::Role;
use crate::address::{Account, Hash};
use crate::api;
use crate::blocks::{Block, Chain};
use crate::claim::Claim;
use crate::host::{Host, Request};
use crate::payment;
use crate::scan::Scan;
use crate::settings::Proofs;
use crate::store::{Last, Seen};
use crate::wire::{StatesJson, TransactionsJson, TxJson};
use kassa_sdk::types::Transfer;
use kassa_sdk::upstream::Fault;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Number of rows after which one scan is content with fewer blocks.
const ROWS_MAX: usize = 5_000;

/// Logical time before the cursor from which on transactions are asked for. It runs on by a million a block, or a
/// little more; what enters the masterchain after the cursor is not older than this, which is a thousand blocks.
const LT_MARGIN: u64 = 1_000_000_000;

/// The same for accounts whose last transaction is known: what comes in more than thirty blocks late breaks a link, and
/// is asked for then.
const LT_MARGIN_LINKED: u64 = 30_000_000;

/// State of an account during one scan.
pub(crate) struct Track {
    pub(crate) account: Account,
    pub(crate) role: Role,
    pub(crate) seen: Seen,
    /// The last transaction according to the account's state.
    tip: Option<Last>,
    pub(crate) rows: Vec<Row>,
    /// Logical time above which rows were not read.
    cut: Option<u64>,
}

/// A final transaction.
pub(crate) struct Row {
    pub(crate) last: Last,
    before_lt: u64,
    before_hash: Hash,
    pub(crate) height: u64,
    pub(crate) transfer: Option<Transfer>,
    /// The index's claim that the transfer rests on, if payments are proven.
    pub(crate) claim: Option<Claim>,
}

impl Row {
    /// The transaction that this one names as the one before it.
    pub(crate) fn before(&self) -> Option<Last> {
        let Self { before_lt, before_hash, .. } = *self;
        (before_lt != 0).then_some(Last { lt: before_lt, hash: before_hash, is_end: false })
    }

    fn follows(&self, last: &Last) -> bool {
        let names_it = self.before_lt == last.lt && self.before_hash == last.hash;
        let is_anew = last.is_end && self.before_lt == 0 && self.before_hash == [0; 32];
        self.last.lt > last.lt && (names_it || is_anew)
    }
}

impl Track {
    pub(crate) fn new(account: Account, role: Role, seen: Seen) -> Self {
        Self { account, role, seen, tip: None, rows: Vec::new(), cut: None }
    }

    fn last_lt(&self) -> u64 {
        self.seen.last.map_or(0, |last| last.lt)
    }

    /// The logical time from which on new transactions are asked for.
    fn start_lt(&self, cursor: &Block) -> u64 {
        match self.seen.last {
            Some(last) => cursor.start_lt.saturating_sub(LT_MARGIN_LINKED).max(last.lt.saturating_add(1)),
            None => cursor.start_lt.saturating_sub(LT_MARGIN),
        }
    }

    /// True if the account has transactions that were not read. Errors if its state is older than what was read, or
    /// missing: then the index lags.
    fn has_moved(&mut self, floor: u64) -> Result<bool, Fault> {
        match (self.tip, self.seen.last) {
            (None, None) => Ok(false),
            (None, Some(last)) if last.is_end => Ok(false),
            (None, Some(_)) => Err(Fault::lags("an account has no state")),
            (Some(tip), Some(last)) if tip.lt == last.lt && tip.hash == last.hash => Ok(false),
            (Some(tip), Some(last)) if tip.lt <= last.lt => {
                Err(Fault::lags("an account's state is older than what was read"))
            }
            (Some(tip), None) if tip.lt < floor => {
                self.seen.last = Some(tip);
                Ok(false)
            }
            (Some(_), _) => Ok(true),
        }
    }

    /// Errors unless the rows are all transactions up to the block `to`.
    fn check(&self, to: &Block) -> Result<(), Fault> {
        let mut before = self.seen.last;
        for row in &self.rows {
            if before.is_some_and(|before| !row.follows(&before)) {
                return Err(Fault::lags("a transaction is missing"));
            }
            before = Some(row.last);
        }
        let is_beyond = self.rows.last().is_some_and(|row| row.height > to.height);
        let reaches = match (self.tip, before) {
            (Some(tip), Some(last)) if tip.lt == last.lt => tip.hash == last.hash,
            (Some(tip), Some(last)) => tip.lt < last.lt || self.cut.is_some_and(|cut| tip.lt > cut),
            (Some(tip), None) => self.cut.is_some_and(|cut| tip.lt > cut),
            (None, _) => true,
        };
        if is_beyond || reaches { Ok(()) } else { Err(Fault::lags("the newest transaction is missing")) }
    }
}

/// Reads what is new on all accounts. Returns the index of the last block that was read completely.
pub(crate) fn read<H: Host>(scan: &Scan<'_, H>, tracks: &mut [Track], chain: &Chain) -> Result<usize, Fault> {
    let floor = chain.cursor.start_lt.saturating_sub(LT_MARGIN);
    states(scan, tracks)?;
    let mut moved = Vec::new();
    for (index, track) in tracks.iter_mut().enumerate() {
        if track.has_moved(floor)? {
            moved.push((track.start_lt(&chain.cursor), index));
        }
    }
    // Sorted, so that accounts with a similar start share a request and none makes the others' past come again.
    moved.sort_unstable();
    let mut reading = Reading { chain, to: chain.blocks.len().saturating_sub(1), rows: 0 };
    for group in moved.chunks(scan.settings.accounts) {
        let start_lt = group.first().map_or(floor, |(start_lt, _)| *start_lt);
        let indexes: Vec<_> = group.iter().map(|(_, index)| *index).collect();
        reading.group(scan, tracks, &indexes, start_lt)?;
    }
    for (start_lt, index) in moved {
        let Some(track) = tracks.get_mut(index) else { continue };
        let Err(fault) = track.check(reading.to()) else { continue };
        // Something became visible that is older than what is usually asked for: ask from the last transaction on.
        let left_lt = track.last_lt().saturating_add(1);
        if track.seen.last.is_none() || left_lt >= start_lt {
            return Err(fault);
        }
        track.rows.clear();
        track.cut = None;
        reading.group(scan, tracks, &[index], left_lt)?;
    }
    // Reading may have stopped at fewer blocks meanwhile; what held for more of them holds for fewer.
    tracks.iter().try_for_each(|track| track.check(reading.to()))?;
    Ok(reading.to)
}

/// True if the state of every account names the transaction that was read last.
pub(crate) fn is_still<H: Host>(scan: &Scan<'_, H>, tracks: &mut [Track]) -> Result<bool, Fault> {
    states(scan, tracks)?;
    Ok(tracks.iter().all(|track| match (track.tip, track.seen.last) {
        (Some(tip), Some(last)) => tip.lt == last.lt && tip.hash == last.hash,
        (None, last) => last.is_none_or(|last| last.is_end),
        (Some(_), None) => false,
    }))
}

/// Reads the state of every account.
fn states<H: Host>(scan: &Scan<'_, H>, tracks: &mut [Track]) -> Result<(), Fault> {
    let request = |group: &[Track]| {
        let mut path = format!("/accountStates?include_boc=false&limit={}", group.len());
        group.iter().for_each(|track| add(&mut path, "address", &track.account));
        Request { path, body: None }
    };
    let requests: Vec<_> = tracks.chunks(scan.settings.accounts).map(request).collect();
    let by_account: HashMap<Account, usize> = tracks.iter().map(|track| track.account).zip(0..).collect();
    api::each(scan, &requests, |_, answer| {
        for state in api::parse::<StatesJson<'_>>(answer, "accountStates")?.accounts {
            let account = state.address.account("address")?;
            let track = by_account.get(&account).and_then(|index| tracks.get_mut(*index));
            let track =
                track.ok_or_else(|| Fault::malformed("the state of an account that nobody asked for"))?;
            let (Some(lt), Some(hash)) = (state.last_transaction_lt, &state.last_transaction_hash) else {
                continue;
            };
            let lt = lt.u64("last_transaction_lt")?;
            let is_end = state.status.0 == "nonexist";
            let tip = Last { lt, hash: hash.hash("last_transaction_hash")?, is_end };
            if lt != 0 && track.tip.replace(tip).is_some_and(|other| other != tip) {
                return Err(Fault::malformed("two states of one account"));
            }
        }
        Ok(())
    })
}

fn add(path: &mut String, name: &str, account: &Account) {
    let _ = write!(path, "&{name}={}", account.raw());
}

struct Reading<'a> {
    chain: &'a Chain,
    /// Index of the last block that is read completely.
    to: usize,
    rows: usize,
}

impl Reading<'_> {
    fn to(&self) -> &Block {
        self.chain.blocks.get(self.to).unwrap_or(&self.chain.cursor)
    }

    /// Reads the transactions of some accounts from a logical time on, page by page.
    fn group<H: Host>(
        &mut self,
        scan: &Scan<'_, H>,
        tracks: &mut [Track],
        group: &[usize],
        start_lt: u64,
    ) -> Result<(), Fault> {
        let mut accounts = String::new();
        let mut by_account = HashMap::new();
        for index in group {
            if let Some(track) = tracks.get(*index) {
                add(&mut accounts, "account", &track.account);
                by_account.insert(track.account, *index);
            }
        }
        let (mut from, mut limit) = (start_lt, scan.settings.transactions);
        loop {
            let path = format!("/transactions?start_lt={from}&sort=asc&limit={limit}{accounts}");
            let answer = match api::get(scan, path) {
                // The answer is too large for the host's budget: less may fit.
                Err(Fault::Budget(_)) if limit > group.len().max(1) => {
                    limit = (limit / 2).max(group.len().max(1));
                    continue;
                }
                answer => answer?,
            };
            let page = api::parse::<TransactionsJson<'_>>(&answer, "transactions")?.transactions;
            let mut newest = 0;
            for tx in &page {
                let account = tx.account.account("account")?;
                let track = by_account.get(&account).and_then(|index| tracks.get_mut(*index));
                let track = track
                    .ok_or_else(|| Fault::malformed("a transaction of an account that nobody asked for"))?;
                newest = newest.max(self.row(scan, track, tx)?);
            }
            if page.len() < limit {
                return Ok(());
            }
            self.rows = self.rows.saturating_add(page.len());
            if self.is_enough(newest) {
                group.iter().for_each(|index| {
                    if let Some(track) = tracks.get_mut(*index) {
                        track.cut = Some(newest);
                    }
                });
                return Ok(());
            }
            if newest <= from {
                return Err(Fault::malformed("a page of transactions does not lead on"));
            }
            // The last logical time comes again: other accounts may have transactions at it.
            from = newest;
        }
    }

    /// Adds a transaction to its account's rows. Returns its logical time.
    fn row<H: Host>(&self, scan: &Scan<'_, H>, track: &mut Track, tx: &TxJson<'_>) -> Result<u64, Fault> {
        let lt = tx.lt.u64("lt")?;
        let Some(height) = tx.height()? else { return Ok(lt) };
        let hash = tx.hash.hash("transaction's hash")?;
        if lt <= track.last_lt() {
            return Ok(lt);
        }
        if let Some(below) = track.rows.last() {
            if below.last.lt == lt && below.last.hash == hash {
                return Ok(lt);
            }
            if below.last.lt >= lt || below.height > height {
                return Err(Fault::malformed("transactions out of order"));
            }
        }
        // What is final at the cursor or below and was not seen then is reported with the next block.
        let next = self.chain.cursor.height.saturating_add(1);
        let is_of_interest = height > track.seen.since && height <= self.to().height;
        let transfer = match is_of_interest {
            true => payment::transfer(scan, &track.account, &track.role, tx, height.max(next))?,
            false => None,
        };
        let is_to_prove = transfer.is_some() && scan.settings.proofs != Proofs::None;
        let claim = is_to_prove.then(|| Claim::of(&track.account, tx)).transpose()?;
        let is_end = tx.end_status.0 == "nonexist";
        track.rows.push(Row {
            last: Last { lt, hash, is_end },
            before_lt: tx.prev_trans_lt.u64("prev_trans_lt")?,
            before_hash: tx.prev_trans_hash.hash("prev_trans_hash")?,
            height,
            transfer,
            claim,
        });
        Ok(lt)
    }

    /// True if everything up to `to` is read, given that everything up to this logical time is. After many rows `to` is
    /// lowered to a block for which that holds, if there is one.
    fn is_enough(&mut self, newest: u64) -> bool {
        if self.rows >= ROWS_MAX {
            let complete = self.chain.blocks.iter().take_while(|block| block.end_lt <= newest).count();
            if let Some(last) = complete.checked_sub(1) {
                self.to = self.to.min(last);
            }
        }
        self.to().end_lt <= newest
    }
}
