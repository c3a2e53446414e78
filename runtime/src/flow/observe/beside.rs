//! Version 2 beside version 1: a version in the shadow reads the same blocks, and where the two differ is kept.
//!
//! Both begin at the same block and with the same storage, the shadow right after the active version: so it finds all
//! that was there to read. It may talk to another provider, which may be behind; then nothing is said about it. Blocks
//! that only the shadow has read are compared with the next scan.

use std::{sync::Arc, time::Duration};

use crate::{
    app::App,
    domain::{
        network::Manifest,
        observation::{Block, Position, Scan, Seen},
    },
    flow::report,
    host::{Beside, CallFailed, Called, Difference, ScanError, ScanLimits, ScanResult, Shadow},
    upstreams::Verdict,
};

/// Maximum time that the active version waits for the one in the shadow.
const LONGER_MAX: Duration = Duration::from_secs(2);
/// Maximum number of characters kept of one difference.
const WHAT_CHARS_MAX: usize = 300;

type ScanOutcome = Result<Called<Result<ScanResult, ScanError>>, CallFailed>;

/// Scans with the active version and, if there is one, the version in the shadow. Returns the active version's answer.
pub(super) async fn scan(
    app: &App,
    network: &Arc<Manifest>,
    from: Option<&Position>,
    limits: &ScanLimits,
) -> ScanOutcome {
    let active = app.host.scan(network, from.map(report::position), limits).await;
    let (Some(shadow), Some(from)) = (app.host.registry().shadows().of(&network.plugin), from) else {
        return active;
    };
    // Where the active version has read nothing there is nothing to compare with, and no provider to be bothered.
    let Ok(Called { value: Ok(read), .. }) = &active else { return active };
    let Ok(read) = report::checked(read.clone(), Some(from), network, limits) else { return active };
    let other = app.host.scan_in_shadow(&shadow, network, report::position(from), limits);
    let other = tokio::time::timeout(LONGER_MAX, other).await.ok();
    shadow.count(compare(app, network, from, limits, &read, other, &shadow));
    active
}

fn compare(
    app: &App,
    network: &Manifest,
    from: &Position,
    limits: &ScanLimits,
    read: &Scan,
    other: Option<ScanOutcome>,
    shadow: &Shadow,
) -> Beside {
    let different = |what: String| {
        let what = crate::host::one_line(&what, WHAT_CHARS_MAX);
        tracing::warn!(
            network = network.name,
            version_id = shadow.version_id().as_str(),
            what,
            "the shadow differs"
        );
        let difference =
            Difference { network: network.name.clone(), from: from.height, what, at: app.clock.now() };
        Beside::Different(difference)
    };
    let Called { value, upstream, .. } = match other {
        None => return different(format!("it takes over {} s longer", LONGER_MAX.as_secs())),
        Some(Err(failed)) => return different(format!("it gives no answer: {failed}")),
        Some(Ok(called)) => called,
    };
    let other = match value {
        Ok(other) => other,
        Err(
            ScanError::Upstream(_) | ScanError::RateLimited(_) | ScanError::Behind(_) | ScanError::Other(_),
        ) => {
            return Beside::Skipped;
        }
        Err(error) => return different(format!("it refuses what the active version reads: {error:?}")),
    };
    match report::checked(other, Some(from), network, limits) {
        Err(why) => different(format!("its report cannot be believed: {why}")),
        Ok(other) => {
            // The shadow may have been lent a provider to probe it; nothing bad that it says is held against one.
            if let (Some(upstream), Ok(head)) = (upstream, u64::try_from(other.head.height)) {
                app.upstreams.report(&network.name, &upstream, Verdict::Good { head });
            }
            if last(&other) < last(read) {
                return Beside::Behind;
            }
            parting(read, &other).map_or(Beside::Same, different)
        }
    }
}

fn last(scan: &Scan) -> Option<i64> {
    scan.blocks.last().map(|block| block.height)
}

/// First difference between two reports, as far as the active version has read. `None` if they agree.
fn parting(active: &Scan, shadow: &Scan) -> Option<String> {
    let to = last(active)?;
    let hashes = |scan: &Scan| -> Vec<Block> {
        scan.blocks.iter().filter(|block| block.height <= to).cloned().collect()
    };
    if let Some((one, other)) = hashes(active).into_iter().zip(hashes(shadow)).find(|(a, b)| a != b) {
        return Some(format!(
            "block {}: it reports {}, the active version {}",
            one.height, other.hash, one.hash
        ));
    }
    let moves = |scan: &Scan| -> Vec<Seen> {
        let mut seen: Vec<Seen> = scan.transfers.iter().filter(|seen| seen.height <= to).cloned().collect();
        seen.sort_by(|a, b| (&a.tx, a.ordinal).cmp(&(&b.tx, b.ordinal)));
        seen
    };
    let (one, other) = (moves(active), moves(shadow));
    let missing = one.iter().find(|seen| !other.contains(seen));
    let added = other.iter().find(|seen| !one.contains(seen));
    let name = |seen: &Seen| format!("{} number {} in block {}", seen.tx, seen.ordinal, seen.height);
    match (missing, added) {
        (None, None) => None,
        (Some(one), Some(other)) if (&one.tx, one.ordinal) == (&other.tx, other.ordinal) => {
            Some(format!("transfer {}: it reports {other:?}, the active version {one:?}", name(one)))
        }
        (Some(one), _) => Some(format!("it does not report transfer {}", name(one))),
        (None, Some(other)) => Some(format!("it alone reports transfer {}", name(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Amount;

    fn scan(blocks: &[(i64, &str)], transfers: &[(&str, i64, u128)]) -> Scan {
        let block = |&(height, hash): &(i64, &str)| Block {
            height,
            hash: hash.to_owned(),
            parent: String::new(),
            time: 0,
        };
        let seen = |&(tx, height, amount): &(&str, i64, u128)| Seen {
            tx: tx.to_owned(),
            ordinal: 0,
            asset: 0,
            sender: None,
            recipient: "me".to_owned(),
            amount: Some(Amount(amount)),
            memo: None,
            memo_problem: None,
            height,
        };
        Scan {
            blocks: blocks.iter().map(block).collect(),
            transfers: transfers.iter().map(seen).collect(),
            head: Position { height: 9, hash: "h".to_owned() },
            safe: None,
            r#final: 0,
        }
    }

    #[test]
    fn what_both_have_read_is_compared() {
        let active = scan(&[(1, "a"), (2, "b")], &[("x", 1, 5), ("y", 2, 6)]);
        assert_eq!(parting(&active, &active), None);
        // The shadow was further.
        assert_eq!(parting(&scan(&[(1, "a")], &[("x", 1, 5)]), &active), None);
        assert_eq!(parting(&scan(&[], &[]), &active), None);
        let said = |blocks: &[(i64, &str)], transfers: &[(&str, i64, u128)]| {
            parting(&active, &scan(blocks, transfers)).unwrap()
        };
        assert!(said(&[(1, "a"), (2, "c")], &[]).starts_with("block 2"));
        assert!(said(&[(1, "a"), (2, "b")], &[("x", 1, 5)]).contains("does not report transfer y"));
        assert!(
            said(&[(1, "a"), (2, "b")], &[("x", 1, 5), ("y", 2, 6), ("z", 2, 1)])
                .contains("alone reports transfer z")
        );
        assert!(said(&[(1, "a"), (2, "b")], &[("x", 1, 5), ("y", 2, 7)]).starts_with("transfer y"));
    }
}
