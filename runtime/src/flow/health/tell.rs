//! The worker of health: writes down what was heard, and tells the log, the figures and the operator's merchants.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    db::{DbError, Trouble, alarms, installation, networks, readings},
    domain::{Millis, alarm::DatabaseUnwritable, event::Data},
};

/// Time between looks.
const LOOK: Duration = Duration::from_secs(2);
/// Time between writes of news, milliseconds. They also show whether the database accepts writes.
const WRITE_EVERY_MS: Millis = 5_000;

/// Looks until told to stop.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let (mut told, mut wrote) = (ReportedTrouble::default(), None);
    loop {
        let now = app.clock.passed();
        let is_due = wrote.is_none_or(|wrote| now - wrote >= WRITE_EVERY_MS);
        if is_due {
            wrote = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = once(&app, is_due) => {}
        }
        tell_of_writes(&app, &mut told);
        if told.trouble.is_none() {
            tell_of_networks(&app);
            tokio::select! {
                () = stop.cancelled() => return,
                alarmed = alarm(&app, &mut told) => if let Err(error) = alarmed {
                    tracing::debug!(%error, "the operator cannot be told; it is tried again");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Trouble with the database that was reported.
#[derive(Default)]
struct ReportedTrouble {
    /// Current obstacle to writes.
    trouble: Option<Trouble>,
    /// Start of the trouble, by [`crate::clock::Clock::passed`].
    since: Millis,
    /// Trouble that is over and not yet committed as an event for the operator.
    over: Option<Data>,
}

/// Commits the events for the operator.
async fn alarm(app: &App, told: &mut ReportedTrouble) -> Result<(), DbError> {
    let now = app.clock.now();
    if let Some(alarm) = told.over.clone() {
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { alarms::tell(conn, &alarm, now).await })
            })
            .await?;
        told.over = None;
        app.wake.dispatch.notify_one();
    }
    for network in app.networks.all() {
        let Some((heard_at, why)) = app.health.to_alarm(&network) else { continue };
        let name = network.name.clone();
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { alarms::stalled(conn, &name, heard_at, why, now).await })
            })
            .await?;
        app.health.alarmed(&network);
        app.wake.dispatch.notify_one();
    }
    Ok(())
}

/// Writes, then reads: news found after a write comes from another replica.
async fn once(app: &App, write: bool) {
    if write && let Err(error) = write_down(app).await {
        tracing::debug!(%error, "nothing could be written down");
    }
    if let Err(error) = look(app).await {
        tracing::debug!(%error, "what is written down of the networks cannot be read");
    }
}

/// Writes down the news of this process. Without any, and if nobody else writes, records that a process is alive.
async fn write_down(app: &App) -> Result<(), DbError> {
    let (news, now) = (app.health.news(), app.clock.now());
    let learned = app.upstreams.news();
    if news.is_empty() && learned.is_empty() && app.db.writes().age() < LOOK {
        return Ok(());
    }
    let (writing, keeping) = (news.clone(), learned.clone());
    let written = app.db.write::<_, DbError, _>(move |conn| {
        Box::pin(async move {
            if writing.is_empty() {
                installation::alive(conn, now).await?;
            }
            for (upstream, learned) in &keeping {
                networks::learned(conn, &upstream.id, learned).await?;
            }
            readings::heard(conn, &writing).await
        })
    });
    app.health.wrote(&news, written.await?);
    for (upstream, learned) in learned {
        upstream.kept(learned);
    }
    Ok(())
}

async fn look(app: &App) -> Result<(), DbError> {
    let mut conn = app.db.read().await?;
    let (written, now) = (readings::all(&mut conn).await?, conn.now().await?);
    let networks = app.networks.all();
    let enabled: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
    app.health.found(&written, &enabled, now);
    Ok(())
}

fn tell_of_networks(app: &App) {
    for network in app.networks.all() {
        let name = &network.name;
        if let Some(age) = app.health.age(&network) {
            metrics::gauge!("kassa_network_heard_age_seconds", "network" => name.clone())
                .set(Duration::from_millis(age.ms.unsigned_abs()).as_secs_f64());
            let stalled = if age.stalled { 1.0 } else { 0.0 };
            metrics::gauge!("kassa_network_stalled", "network" => name.clone()).set(stalled);
        }
        match app.health.to_tell(&network) {
            Some((age, why)) if age.stalled => {
                let why = why.unwrap_or_else(|| "nobody has said why".to_owned());
                tracing::error!(
                    network = name,
                    for_s = age.ms / 1000,
                    why,
                    "STALLED: no provider gives a good answer; see `kassa network upstream list {name}`"
                );
            }
            Some(_) => tracing::info!(network = name, "moves again: a provider gives good answers"),
            None => {}
        }
    }
}

fn tell_of_writes(app: &App, told: &mut ReportedTrouble) {
    let (age, trouble) = (app.db.writes().age(), app.db.writes().trouble());
    metrics::gauge!("kassa_database_written_age_seconds").set(age.as_secs_f64());
    metrics::gauge!("kassa_database_writable").set(if trouble.is_none() { 1.0 } else { 0.0 });
    if told.trouble == trouble {
        return;
    }
    let passed = app.clock.passed();
    if told.trouble.is_none() {
        told.since = passed - Millis::try_from(age.as_millis()).unwrap_or(0);
    }
    match trouble {
        Some(trouble) => {
            tracing::error!(
                for_s = age.as_secs(),
                "CANNOT WRITE: the database takes no writes: {trouble}; nothing is read or promised until it does"
            );
        }
        None => {
            let for_s = u64::try_from((passed - told.since) / 1000).unwrap_or(0);
            tracing::info!(for_s, "the database takes writes again");
            let why = told.trouble.map(|trouble| trouble.to_string()).unwrap_or_default();
            told.over = Some(Data::DatabaseUnwritable(DatabaseUnwritable { why, for_s }.into()));
        }
    }
    told.trouble = trouble;
}
