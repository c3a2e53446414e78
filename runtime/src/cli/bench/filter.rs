//! `settle`, the part before it: finding out which of the addresses that a block pays are watched.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{
    Bench, Busy, PAIRS, call,
    report::Figure,
    stats::rate,
    world::{self, shop},
};
use crate::{
    app::App,
    db::{DbError, bench, watch},
};

const WATCHED: i64 = 1_000_000;
const WATCHED_PER_WRITE: i64 = 50_000;
/// Number of addresses in one question: those of a busy block.
const ASKED: usize = 20_000;
/// Number of those that are watched.
const KNOWN: usize = 20;
const KEY_BYTES: usize = 20;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let app = world::open(&bench.folder("filter")?).await?;
    watch_many(&app).await?;
    let (keys, indexes) = question(&app).await?;
    let busy = Busy::new("settle");
    busy.says("reading what is watched");
    // The first question reads all watched addresses.
    ensure!(
        app.host.watched(call::NETWORK, &keys, KEY_BYTES).await? == indexes,
        "others are watched than were added"
    );

    let numbers: HashSet<u64> = random(WATCHED.unsigned_abs())?.collect();
    let asked: Vec<u64> = random(u64::try_from(ASKED)?)?.collect();
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        busy.pair(pair);
        let (mut count, started) = (0, Instant::now());
        while started.elapsed() < bench.run / 2 {
            let found = app.host.watched(call::NETWORK, &keys, KEY_BYTES).await?;
            ensure!(found == indexes, "{} were found of {}", found.len(), indexes.len());
            count += ASKED;
        }
        ours.push(rate(count, started.elapsed()));
        limits.push(bare(&numbers, &asked, bench.run / 2));
    }
    drop(busy);
    bench.report.figure(&Figure::more("settle", "filtered", "1/s").ours(ours).limit(limits).aim(1e6));
    app.db.close().await;
    Ok(())
}

async fn watch_many(app: &App) -> anyhow::Result<()> {
    let network = world::network(call::NETWORK)?;
    let shop = shop(app, &network, call::ADDRESS).await?;
    let bar = Busy::counted("watching addresses", WATCHED.unsigned_abs());
    // The shop's own address was the first.
    let mut first = 2;
    while first <= WATCHED {
        let last = WATCHED.min(first + WATCHED_PER_WRITE - 1);
        let merchant_id = shop.merchant_id.clone();
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(
                    async move { bench::watch_random(conn, call::NETWORK, &merchant_id, first, last).await },
                )
            })
            .await?;
        bar.0.set_position(last.unsigned_abs());
        first = last + 1;
    }
    Ok(())
}

/// Keys, most of them strangers', and the indexes of those that are watched.
async fn question(app: &App) -> anyhow::Result<(Vec<u8>, Vec<u32>)> {
    let mut keys = vec![0; ASKED * KEY_BYTES];
    getrandom::fill(&mut keys).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
    let mut conn = app.db.read().await?;
    let known = watch::keys_after(&mut conn, call::NETWORK, WATCHED / 2, i64::try_from(KNOWN)?).await?;
    let mut indexes = Vec::new();
    for (index, (_, key)) in known.into_iter().enumerate() {
        let position = index * (ASKED / KNOWN);
        ensure!(key.len() == KEY_BYTES, "a key of {} bytes", key.len());
        if let Some(slot) = keys.get_mut(position * KEY_BYTES..(position + 1) * KEY_BYTES) {
            slot.copy_from_slice(&key);
            indexes.push(u32::try_from(position)?);
        }
    }
    Ok((keys, indexes))
}

/// Numbers a second that a set of the standard library looks up.
fn bare(numbers: &HashSet<u64>, asked: &[u64], time: Duration) -> f64 {
    let (mut count, mut found, started) = (0, 0_usize, Instant::now());
    while started.elapsed() < time {
        found += asked.iter().filter(|number| numbers.contains(number)).count();
        count += asked.len();
    }
    std::hint::black_box(found);
    rate(count, started.elapsed())
}

/// `count` numbers from the whole range.
fn random(count: u64) -> anyhow::Result<impl Iterator<Item = u64>> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
    let seed = u64::from_le_bytes(seed) | 1;
    // An odd multiplier makes them all different; the golden ratio spreads them.
    Ok((0..count).map(move |index| seed.wrapping_add(index).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}
