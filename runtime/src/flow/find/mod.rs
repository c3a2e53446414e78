//! Find: one transaction that somebody hands in. The plugin says which block holds it, that block is read again beside the
//! watcher, and what it moved goes the way of everything.
//!
//! It costs requests to the network's providers, which all merchants share: so each merchant has a few finds, an answer is
//! good for some seconds whoever asks, and a limited number run at once ([`limits`]).

pub(crate) mod limits;
mod outcome;

use std::{sync::Arc, time::Duration};

use super::{
    again::{self, AgainError},
    settle,
};
use crate::{
    app::App,
    db::{DbError, chain, payments, transfers},
    domain::{
        id::{MerchantId, UpstreamId},
        network::Manifest,
        observation::{Contradiction, Position},
        tenant::Tenant,
    },
    host::{CallError, Called, FindError, Location, ScanError},
    upstreams::Verdict,
};

pub(crate) use outcome::{Denied, Seen, Whereabouts};

/// Maximum duration of a find.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Maximum number of locations of a transaction that are looked at.
const LOCATIONS_MAX: usize = 64;
/// Maximum distance in blocks between locations that are read together.
const GAP_MAX: i64 = 16;
/// Maximum number of block ranges read for one transaction, and of blocks in each.
const STRETCHES_MAX: usize = 4;
const BLOCKS_MAX: i64 = 64;
/// Maximum number of tries, each by another provider if there is one.
const TRIES: usize = 3;
const TRY_AFTER_MAX: Duration = Duration::from_secs(1);
/// Number of looks, and the time between them, while waiting for settle to process what was found.
const SETTLE_LOOKS: u32 = 20;
const SETTLE_LOOK: Duration = Duration::from_millis(100);
/// Maximum length of a transaction id on any chain.
const TX_LEN_MAX: usize = 256;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FindFailed {
    #[error("{0}")]
    NotAnId(String),
    /// The network's plugin does not say where transactions are.
    #[error("the plugin finds no transactions")]
    Unsupported,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Again(#[from] AgainError),
}

impl From<DbError> for FindFailed {
    fn from(error: DbError) -> Self {
        Self::Again(error.into())
    }
}

/// Finds a transaction, and what it moved to the merchant's addresses.
pub(crate) async fn for_merchant(
    app: &App,
    network: &Arc<Manifest>,
    tenant: &Tenant,
    tx: &str,
) -> Result<Seen, FindFailed> {
    let (height, txs, unread) = match find(app, network, &tenant.merchant, tx).await? {
        Whereabouts::Nowhere => return Ok(Seen::Nowhere),
        Whereabouts::Unread { height } => (height, Vec::new(), Some(height)),
        Whereabouts::Read { height, txs, unread } => (height, txs, unread),
    };
    let mut conn = app.db.read().await?;
    let transfers = transfers::of_merchant(&mut conn, &tenant.merchant, &network.name, &txs).await?;
    if !transfers.is_empty() {
        return Ok(Seen::Moved { height, transfers });
    }
    let Some(height) = unread else { return Ok(Seen::Nothing { height }) };
    let read_to = chain::cursor(&mut conn, &network.name).await?.map_or(0, |cursor| cursor.height);
    Ok(Seen::Unread { height, read_to })
}

/// Finds a transaction. Its block is read again if possible.
pub(crate) async fn find(
    app: &App,
    network: &Arc<Manifest>,
    merchant_id: &MerchantId,
    tx: &str,
) -> Result<Whereabouts, FindFailed> {
    let tx = tx.trim();
    let now = app.clock.passed();
    if let Some(known) = app.finds.known(&network.name, tx, now) {
        return Ok(known);
    }
    let _permit = app.finds.begin(merchant_id, now)?;
    let found = match tokio::time::timeout(TIME_MAX, patiently(app, network, tx)).await {
        Ok(found) => found?,
        Err(_) => {
            let why = "the network's providers are slow".to_owned();
            return Err(AgainError::Wait { why, ms: 5_000 }.into());
        }
    };
    app.finds.learn(&network.name, tx, found.clone(), app.clock.passed());
    Ok(found)
}

/// Tries again if a failure may pass by itself or another provider may know more.
async fn patiently(app: &App, network: &Arc<Manifest>, tx: &str) -> Result<Whereabouts, FindFailed> {
    let mut passed_over = Vec::new();
    for left in (0..TRIES).rev() {
        match look(app, network, tx, &passed_over).await {
            Err(FindFailed::Again(AgainError::Wait { ms, .. }))
                if left > 0 && Duration::from_millis(ms) <= TRY_AFTER_MAX =>
            {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            Err(FindFailed::Again(AgainError::Unanswered { upstream: Some(id), .. }))
                if left > 0 && passed_over.len() + 1 < app.upstreams.status(&network.name).len() =>
            {
                passed_over.push(id);
            }
            other => return other,
        }
    }
    Err(Denied::Busy.into())
}

async fn look(
    app: &App,
    network: &Arc<Manifest>,
    tx: &str,
    passed_over: &[UpstreamId],
) -> Result<Whereabouts, FindFailed> {
    let locations = ask(app, network, tx, passed_over).await?;
    let Some((first, _)) = locations.first() else { return Ok(Whereabouts::Nowhere) };
    let first = *first;
    let mut conn = app.db.read().await.map_err(AgainError::Db)?;
    let cursor = chain::cursor(&mut conn, &network.name).await.map_err(AgainError::Db)?;
    drop(conn);
    let cursor = cursor.ok_or(AgainError::NotStarted)?;
    if first > cursor.height {
        return Ok(Whereabouts::Unread { height: first });
    }
    let heights = locations.iter().map(|(height, _)| *height);
    let unread = heights.clone().filter(|height| *height > cursor.height).min();
    let mut seq = None;
    for (low, high) in stretches(heights.filter(|height| *height <= cursor.height).collect()) {
        seq = Some(read(app, network, low, high, passed_over).await?);
    }
    if let Some(seq) = seq {
        settled(app, network, seq).await?;
    }
    let txs = locations.into_iter().map(|(_, tx)| tx).collect();
    Ok(Whereabouts::Read { height: first, txs, unread })
}

/// Asks the plugin for the locations of a transaction; that of the requested transaction comes first.
async fn ask(
    app: &App,
    network: &Manifest,
    tx: &str,
    passed_over: &[UpstreamId],
) -> Result<Vec<(i64, String)>, FindFailed> {
    let Called { value, upstream, .. } = match app.host.find(network, tx, passed_over).await {
        Ok(called) => called,
        Err(failed) if matches!(failed.error, CallError::NoRole { .. }) => {
            return Err(FindFailed::Unsupported);
        }
        Err(failed) => return Err(again::call_failed(app, network, failed).into()),
    };
    let error = match value {
        Ok(locations) => {
            match locations.into_iter().take(LOCATIONS_MAX).map(checked).collect::<Result<_, _>>() {
                Ok(locations) => {
                    if let Some(id) = upstream {
                        app.upstreams.report(&network.name, &id, Verdict::Past);
                    }
                    return Ok(locations);
                }
                Err(why) => ScanError::Malformed(why.to_string()),
            }
        }
        Err(FindError::NotAnId(why)) => return Err(FindFailed::NotAnId(why)),
        Err(FindError::Upstream(why)) => ScanError::Upstream(why),
        Err(FindError::RateLimited(ms)) => ScanError::RateLimited(ms),
        Err(FindError::Malformed(why)) => ScanError::Malformed(why),
        Err(FindError::WrongNetwork(id)) => ScanError::WrongNetwork(id),
        Err(FindError::Settings(why)) => ScanError::Settings(why),
        Err(FindError::Other(why)) => ScanError::Other(why),
    };
    Err(again::scan_failed(app, network, upstream, error).into())
}

/// Checks a location's height and transaction id.
fn checked(location: Location) -> Result<(i64, String), Contradiction> {
    let height = i64::try_from(location.height).map_err(|_| Contradiction::Height(location.height))?;
    if !(1..=TX_LEN_MAX).contains(&location.tx.len()) || location.tx.contains(char::is_control) {
        return Err(Contradiction::TransactionName);
    }
    Ok((height, location.tx))
}

/// Groups heights into ranges, each to be read at once.
fn stretches(mut heights: Vec<i64>) -> Vec<(i64, i64)> {
    heights.retain(|height| *height > 0);
    heights.sort_unstable();
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    for height in heights {
        match stretches.last_mut() {
            Some((low, high)) if height - *high <= GAP_MAX && height - *low < BLOCKS_MAX => *high = height,
            _ => stretches.push((height, height)),
        }
    }
    stretches.truncate(STRETCHES_MAX);
    stretches
}

/// Reads blocks again. Returns the number of the last entry of the network's log.
async fn read(
    app: &App,
    network: &Arc<Manifest>,
    low: i64,
    high: i64,
    passed_over: &[UpstreamId],
) -> Result<i64, AgainError> {
    let mut from = Position { height: low - 1, hash: String::new() };
    loop {
        let told = again::read(app, network, &from, high, passed_over).await?;
        from = told.last();
        let taken = again::take_in(app, network, told, None).await?;
        if from.height >= high {
            return Ok(taken.seq);
        }
    }
}

/// Settles the log up to this number, so that the answer tells what was paid. Waits a little if another replica settles
/// it.
async fn settled(app: &App, network: &Manifest, seq: i64) -> Result<(), AgainError> {
    for _ in 0..SETTLE_LOOKS {
        if payments::peek(&mut app.db.read().await?, &network.name).await? >= seq {
            return Ok(());
        }
        if settle::step(app, &network.name, network.mode()).await? == 0 {
            tokio::time::sleep(SETTLE_LOOK).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_locations_are_read_in_one_go() {
        assert_eq!(stretches(vec![7]), [(7, 7)]);
        assert_eq!(stretches(vec![9, 7, 7, 25, 42, 0]), [(7, 25), (42, 42)]);
        let far = (0..100).map(|n| 100 + n * 1_000).collect();
        assert_eq!(stretches(far), [(100, 100), (1_100, 1_100), (2_100, 2_100), (3_100, 3_100)]);
        let long: Vec<i64> = (1..=200).collect();
        assert!(stretches(long).iter().all(|(low, high)| high - low < BLOCKS_MAX));
    }

    #[test]
    fn locations_that_do_not_fit_are_a_contradiction() {
        let named = |tx: &str, height| checked(Location { height, tx: tx.to_owned(), more: Vec::new() });
        assert_eq!(named("0xab", 7), Ok((7, "0xab".to_owned())));
        assert!(named("0xab", u64::MAX).is_err());
        assert!(named("", 7).is_err() && named("a\nb", 7).is_err() && named(&"a".repeat(257), 7).is_err());
    }
}
