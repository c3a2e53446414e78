//! Payments proven by the transactions' own cells, from toncenter's API v2.
//!
//! The hash of a transaction is the hash of its cells: cells that have it are the transaction, whoever sends
//! them. What the index says of each payment is compared with them before it is reported.
//!
//! Each proof is a request. A scan makes [`PROOFS_MAX`] of them at the most, and one that cannot make all
//! that it needs, for whatever reason, reports fewer blocks. What was proven and not yet reported is kept, so
//! that a block with more payments than one scan can prove gets through in several.

use crate::address::{Hash, hex};
use crate::api;
use crate::base64;
use crate::boc::Boc;
use crate::claim::Claim;
use crate::hashes::Hashes;
use crate::host::{Answer, Host, Request};
use crate::scan::Scan;
use crate::transaction::Transaction;
use crate::wire::{CellsJson, RawTxJson};
use kassa_sdk::chain::ScanError;
use kassa_sdk::upstream::{Asked, Fault};
use std::collections::BTreeSet;

/// Maximum number of requests for proofs in one scan: at one a second they take half of the minute that the host gives
/// a call.
const PROOFS_MAX: usize = 32;

/// Marks of the claims that were proven.
pub(crate) type Proven = BTreeSet<Hash>;

/// Progress of proving.
pub(crate) struct Reached {
    /// Number of claims, from the first one on, that are proven.
    pub(crate) claims: usize,
    /// True if this scan has proven any.
    pub(crate) is_further: bool,
    /// Reason that it ended before the last claim.
    pub(crate) fault: Option<Fault>,
}

/// Proves claims in their order and adds their marks to `proven`. Errors if a claim contradicts its cells.
pub(crate) fn prove<H: Host>(
    scan: &Scan<'_, H>,
    claims: &[Claim],
    proven: &mut Proven,
) -> Result<Reached, Fault> {
    let before = proven.len();
    let mut open: Vec<_> = claims.iter().filter(|claim| !proven.contains(&claim.mark())).collect();
    let mut fault = (open.len() > PROOFS_MAX).then(|| Fault::Budget("proofs of one scan".into()));
    open.truncate(PROOFS_MAX);
    let (mut rest, mut at_once) = (open.as_slice(), api::WAVE);
    while !rest.is_empty() {
        let (wave, after) = rest.split_at(rest.len().min(at_once));
        let failed = ask(scan, wave, proven)?;
        match failed {
            None => rest = after,
            // The answer was too large beside others: by itself it may fit.
            Some(Fault::Budget(_)) if at_once > 1 => at_once = 1,
            Some(failed) => {
                fault = Some(failed);
                break;
            }
        }
        while rest.first().is_some_and(|claim| proven.contains(&claim.mark())) {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    let count = claims.iter().take_while(|claim| proven.contains(&claim.mark())).count();
    Ok(Reached { claims: count, is_further: proven.len() > before, fault })
}

/// Asks for some transactions at once. The inner fault is the first reason that one of them is not proven.
fn ask<H: Host>(scan: &Scan<'_, H>, wave: &[&Claim], proven: &mut Proven) -> Result<Option<Fault>, Fault> {
    let requests: Vec<_> = wave.iter().map(|claim| request(claim)).collect();
    let Asked { answers, error } = api::ask(scan, &requests);
    let mut failed = error;
    for (claim, answer) in wave.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        match check(claim, &answer) {
            Ok(()) => drop(proven.insert(claim.mark())),
            Err(fault @ Fault::Scan(ScanError::Upstream(_))) => {
                failed = failed.or(Some(fault));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(failed)
}

fn request(claim: &Claim) -> Request {
    let Claim { account, hash, lt, .. } = claim;
    let (account, hash) = (account.raw(), hex(hash));
    let path = format!("/v2/getTransactions?address={account}&lt={lt}&hash={hash}&limit=1&archival=true");
    Request { path, body: None }
}

fn check(claim: &Claim, answer: &Answer) -> Result<(), Fault> {
    let json = api::parse::<CellsJson<'_>>(answer, "getTransactions")?;
    if !json.ok {
        return Err(Fault::upstream("getTransactions: not ok"));
    }
    let row = match json.result.as_slice() {
        [] => return Err(Fault::upstream("getTransactions does not have a transaction yet")),
        [row] => row,
        _ => return Err(Fault::malformed("getTransactions: more than was asked for")),
    };
    contradiction(claim, row)?.map_or(Ok(()), |part| {
        Err(Fault::malformed(format!("{part} of a payment is not what its cells (v2) say")))
    })
}

/// The field of the claim that the cells contradict, if there is one. Errors if the cells are not those of the claim's
/// transaction.
fn contradiction(claim: &Claim, row: &RawTxJson<'_>) -> Result<Option<&'static str>, Fault> {
    let id = &row.transaction_id;
    if id.lt.u64("transaction_id.lt")? != claim.lt || id.hash.hash("transaction_id.hash")? != claim.hash {
        return Err(Fault::malformed("getTransactions: another transaction than was asked for"));
    }
    let malformed = |why: &str| Fault::malformed(format!("a transaction's cells: {why}"));
    let bytes = base64::decode(&row.data.0).ok_or_else(|| malformed("not base64"))?;
    let boc = Boc::parse_transaction(&bytes).map_err(|error| malformed(error.0))?;
    let hashes = Hashes::of(&boc).ok_or_else(|| malformed("an exotic cell of no known kind"))?;
    if hashes.get(boc.root()) != Some(claim.hash) {
        return Err(malformed("they have not its hash"));
    }
    let tx = Transaction::read(&boc, &hashes).map_err(|error| malformed(error.0))?;
    Ok(claim.contradiction(&tx))
}
