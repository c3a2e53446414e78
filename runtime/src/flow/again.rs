//! Reading again: blocks that the watcher has read, by the ordinary scan, beside it.
//!
//! For a range that the operator names ([`super::rescan`]) and for a single transaction ([`super::find`]). What is found
//! goes the way of everything: into `transfer` and its log, under the lock of the cursor's row, so that settle reads the
//! log in the order of its numbers. The cursor, the kept blocks and the plugin's storage stay the watcher's: what the
//! plugin wants to store is dropped. What is decided is in `domain::rescan`, which is pure.

use std::{collections::BTreeMap, sync::Arc};

use super::{observe::commit, report};
use crate::{
    app::App,
    db::{
        Conn, DbError, chain,
        rescans::{self, Progress, Rescan},
    },
    domain::{
        Millis,
        id::{Ids, UpstreamId},
        network::Manifest,
        observation::{self, Contradiction, Course, Position, Scan},
        rescan::{self, Ground},
    },
    host::{CallError, CallFailed, Called, ScanError, ScanLimits},
    upstreams::Verdict,
};

/// Time to wait for a condition that passes by itself, milliseconds.
const MOMENT_MS: u64 = 200;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AgainError {
    #[error(transparent)]
    Db(#[from] DbError),
    /// The call has to wait `ms` milliseconds; nothing is wrong.
    #[error("{why}")]
    Wait { why: String, ms: u64 },
    /// No answer, or none that can be believed. Another upstream may have one.
    #[error("{why}")]
    Unanswered { why: String, upstream: Option<UpstreamId> },
    /// The network was never read.
    #[error("the network was not read yet")]
    NotStarted,
    #[error("the network is frozen")]
    Frozen,
    /// The rescan was cancelled, or another replica has moved it. Everything was undone.
    #[error("it was moved meanwhile")]
    Stale,
}

/// Blocks as a provider reports them now.
pub(crate) struct ProviderReport {
    pub(crate) scan: Scan,
    pub(crate) upstream: Option<UpstreamId>,
}

impl ProviderReport {
    /// Position of the last of its blocks.
    pub(crate) fn last(&self) -> Position {
        let last = self.scan.blocks.last();
        last.map_or(Position { height: 0, hash: String::new() }, |block| Position {
            height: block.height,
            hash: block.hash.clone(),
        })
    }
}

/// Result of [`take_in`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake {
    /// Number of transfers that were not known.
    pub(crate) found: i64,
    /// Number of the last entry of the network's log.
    pub(crate) seq: i64,
}

/// Asks for the blocks after `from`, up to `to`; at least one comes. Upstreams in `passed_over` are not asked.
pub(crate) async fn read(
    app: &App,
    network: &Manifest,
    from: &Position,
    to: i64,
    passed_over: &[UpstreamId],
) -> Result<ProviderReport, AgainError> {
    let watch = &app.config.watch;
    let blocks = u32::try_from(to - from.height).unwrap_or(u32::MAX).clamp(1, watch.blocks_per_scan.max(1));
    let limits = ScanLimits {
        blocks,
        transfers: watch.transfers_per_scan,
        known: None,
        next_is_head: false,
        more: Vec::new(),
    };
    let called = app.host.scan_aside(network, report::position(from), &limits, passed_over).await;
    let Called { value, upstream, .. } = called.map_err(|failed| call_failed(app, network, failed))?;
    let result = value.map_err(|error| scan_failed(app, network, upstream.clone(), error))?;
    let told = report::checked(result, Some(from), network, &limits).and_then(|scan| follows(scan, from, to));
    match told {
        Ok(scan) => {
            if let Some(id) = &upstream {
                let head = u64::try_from(scan.head.height).unwrap_or(0);
                app.upstreams.report(&network.name, id, Verdict::Good { head });
            }
            Ok(ProviderReport { scan, upstream })
        }
        Err(why) => Err(unanswered(app, network, upstream, why.to_string())),
    }
}

/// Cuts a report off after `to`. Errors if none of its blocks follows on `from`.
fn follows(mut scan: Scan, from: &Position, to: i64) -> Result<Scan, Contradiction> {
    let next = from.height + 1;
    match observation::course(&scan, from) {
        Course::Forward => {}
        Course::Behind => return Err(Contradiction::Behind { head: scan.head.height, next }),
        Course::Still => return Err(Contradiction::NoBlock(next)),
        Course::Reorg => return Err(Contradiction::OtherBranch(next)),
    }
    scan.blocks.retain(|block| block.height <= to);
    scan.transfers.retain(|seen| seen.height <= to);
    Ok(scan)
}

/// Commits blocks together with the progress of the rescan that they were read for. Blocks that contradict what the
/// watcher has read are not taken.
pub(crate) async fn take_in(
    app: &App,
    network: &Arc<Manifest>,
    told: ProviderReport,
    moves: Option<Rescan>,
) -> Result<Intake, AgainError> {
    let (inside, ids, now) = (Arc::clone(network), app.ids.clone(), app.clock.now());
    let ProviderReport { scan, upstream } = told;
    let blocks = u64::try_from(scan.blocks.len()).unwrap_or(0);
    let taken = app
        .db
        .write::<_, AgainError, _>(move |conn| {
            Box::pin(async move { commit(conn, &inside, &scan, moves, &ids, now).await })
        })
        .await;
    match taken {
        Err(AgainError::Unanswered { why, .. }) => Err(unanswered(app, network, upstream, why)),
        Err(error) => Err(error),
        Ok(taken) => {
            metrics::counter!("kassa_blocks_read_again_total", "network" => network.name.clone())
                .increment(blocks);
            if taken.found > 0 {
                app.wake.settle.notify_waiters();
            }
            Ok(taken)
        }
    }
}

async fn commit(
    conn: &mut Conn,
    network: &Manifest,
    scan: &Scan,
    moves: Option<Rescan>,
    ids: &Ids,
    now: Millis,
) -> Result<Intake, AgainError> {
    // First of all: this takes the row's lock, so that the log is numbered in order of commit.
    let (cursor, seq) = chain::lock(conn, &network.name).await?.ok_or(AgainError::NotStarted)?;
    if cursor.frozen.is_some() {
        return Err(AgainError::Frozen);
    }
    let kept = chain::blocks_from(conn, &network.name, cursor.r#final).await?;
    let kept: BTreeMap<i64, String> = kept.into_iter().map(|block| (block.height, block.hash)).collect();
    let ground = Ground { height: cursor.height, r#final: cursor.r#final, kept };
    rescan::check(scan, &ground)
        .map_err(|why| AgainError::Unanswered { why: why.to_string(), upstream: None })?;
    let plan = rescan::plan(scan, commit::known(conn, network, scan, seq, ids, now).await?);
    let found = i64::try_from(plan.insert.len()).unwrap_or(i64::MAX);
    let logged = commit::put(conn, network, plan, cursor.depth(), seq, now).await?;
    if logged != seq {
        chain::logged(conn, &network.name, logged).await?;
    }
    if let (Some(rescan), Some(last)) = (moves, scan.blocks.last()) {
        let to = Progress { next: last.height + 1, parent: last.hash.clone(), found };
        if !rescans::advance(conn, &rescan, &to, now).await? {
            return Err(AgainError::Stale);
        }
    }
    Ok(Intake { found, seq: logged })
}

pub(super) fn call_failed(app: &App, network: &Manifest, failed: CallFailed) -> AgainError {
    let why = failed.error.to_string();
    match failed.error {
        // The watcher's own call has stored something meanwhile, or all permits are taken.
        CallError::Stale | CallError::Busy => AgainError::Wait { why, ms: MOMENT_MS },
        _ => unanswered(app, network, failed.upstream, format!("the plugin failed: {why}")),
    }
}

pub(super) fn scan_failed(
    app: &App,
    network: &Manifest,
    upstream: Option<UpstreamId>,
    error: ScanError,
) -> AgainError {
    let tell = |verdict| {
        if let Some(id) = &upstream {
            app.upstreams.report(&network.name, id, verdict);
        }
    };
    match error {
        ScanError::RateLimited(ms) => {
            tell(Verdict::RateLimited { ms });
            AgainError::Wait { why: format!("it wants to be left alone for {ms} ms"), ms: u64::from(ms) }
        }
        ScanError::WrongNetwork(id) => {
            tell(Verdict::WrongNetwork);
            AgainError::Unanswered {
                why: format!("it serves chain {id}, not {}", network.chain_id()),
                upstream,
            }
        }
        ScanError::Behind(head) => {
            tell(Verdict::Behind);
            AgainError::Unanswered { why: format!("its head {head} is behind what was read"), upstream }
        }
        ScanError::Settings(why) => {
            AgainError::Unanswered { why: format!("settings of the network: {why}"), upstream }
        }
        ScanError::Malformed(why) => {
            unanswered(app, network, upstream, format!("contradictory answer: {why}"))
        }
        ScanError::Upstream(why) | ScanError::Other(why) => unanswered(app, network, upstream, why),
    }
}

/// Records that an upstream gave no answer about the past; those who read new blocks go on using it.
fn unanswered(app: &App, network: &Manifest, upstream: Option<UpstreamId>, why: String) -> AgainError {
    if let Some(id) = &upstream {
        app.upstreams.report(&network.name, id, Verdict::PastUnanswered(why.clone()));
    }
    AgainError::Unanswered { why, upstream }
}
