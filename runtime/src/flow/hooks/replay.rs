//! Replay: what another version of a hook would have done with what has happened already.
//!
//! Each event that the hook was run for is played to the version with the recording of that run: what it asks as
//! the old version asked is answered as it was. Events that the hook was bound to, but was not run for, are played
//! with the storage as it is now. A matcher is put the questions that were put before. Nothing is sent, stored or queued.
//!
//! A version in the shadow is played every run of the hook right after it has ended.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    app::App,
    db::{
        DbError,
        events::{self, Event},
        hooks::{
            Hook, VersionRow, matches,
            run_queue::DueRun,
            runs::{self, Attempt},
        },
    },
    domain::{
        event::Type,
        hook::{About, Outcome},
        id::{EventId, HookMatchId, HookRunId, HookVersionId, Id},
        tenant::Tenant,
    },
    flow::hooks::{
        call::{Failed, used},
        fulfil::{answered, broke, call},
        matching::{self, Rematched},
        shadow::{Compared, Did, InShadow, keep},
    },
    host::{Manifest, Recording, Role, Tape, differences},
};

/// Maximum duration of a replay, which then ends with what it has so far.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Number of the newest events searched for those that the hook was not run for.
const EVENTS_LOOKED_AT: i64 = 500;

/// Result of a fulfiller: `said` is its effects.
pub(crate) type DidFulfil = Did<Outcome, Vec<Value>>;

/// One event, then and now.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) event_id: EventId,
    pub(crate) event_kind: Type,
    /// `then` is `None` if the hook was not run for the event.
    pub(crate) compared: Compared<Outcome, Vec<Value>>,
}

/// Result of a replay.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) events: Vec<Replayed>,
    /// Questions to a matcher.
    pub(crate) matches: Vec<Rematched>,
    /// True if there was not enough time for all of them.
    pub(crate) stopped_early: bool,
}

/// Replays the newest events to a version that fulfils, and the newest questions to one that matches, at most `limit`
/// of each.
pub(crate) async fn replay(
    app: &App,
    tenant: &Tenant,
    hook: &Hook,
    version: &VersionRow,
    limit: i64,
) -> Result<Replay, DbError> {
    let manifest: Manifest = serde_json::from_str(&version.manifest)
        .map_err(|error| DbError::Unreadable { column: "manifest", why: error.to_string() })?;
    let started = Instant::now();
    let mut replay = Replay::default();
    if manifest.roles.contains(&Role::Matcher) {
        let all = HookMatchId::greatest();
        let asked = matches::list(&mut app.db.read().await?, tenant, &hook.id, all, limit).await?;
        for then in asked.into_iter().filter(|then| then.question.text() != "null") {
            if started.elapsed() > TIME_MAX {
                return Ok(Replay { stopped_early: true, ..replay });
            }
            replay.matches.push(matching::again(app, &version.called(tenant, hook), then).await?);
        }
    }
    if manifest.roles.contains(&Role::Fulfiller) {
        for (event, then) in past(app, tenant, hook, limit).await? {
            if started.elapsed() > TIME_MAX {
                return Ok(Replay { stopped_early: true, ..replay });
            }
            replay.events.push(play(app, tenant, hook, version, event, then).await?);
        }
    }
    Ok(replay)
}

/// The newest events, each with its last call if there was one.
async fn past(
    app: &App,
    tenant: &Tenant,
    hook: &Hook,
    limit: i64,
) -> Result<Vec<(Event, Option<(HookRunId, Attempt)>)>, DbError> {
    let mut conn = app.db.read().await?;
    let mut past = Vec::new();
    let mut seen = HashSet::new();
    for (run_id, event_id, attempt) in runs::last_calls(&mut conn, &hook.id, limit).await? {
        if let Some(event) = events::get(&mut conn, tenant, &event_id).await? {
            seen.insert(event_id);
            past.push((event, Some((run_id, attempt))));
        }
    }
    for event in events::list(&mut conn, tenant, None, EventId::greatest(), EVENTS_LOOKED_AT).await? {
        if past.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            break;
        }
        let wanted =
            hook.binding.wants_type(&event.kind) && hook.binding.wants(&About::of_payload(&event.payload));
        if wanted && !seen.contains(&event.id) {
            past.push((event, None));
        }
    }
    Ok(past)
}

/// Repeats a call of a run that has just ended with the version in the shadow.
pub(super) async fn shadow(app: &App, claimed: &DueRun, version_id: &HookVersionId, attempt: Attempt) {
    let call = (claimed.run_id.to_string(), attempt.number);
    let then = (claimed.run_id.clone(), attempt);
    let compared = async {
        let Some(InShadow { tenant, hook, version }) =
            InShadow::read(app, &claimed.callee, version_id).await?
        else {
            return Ok(None);
        };
        let mut conn = app.db.read().await?;
        let event = events::get(&mut conn, &tenant, &claimed.event_id).await?;
        drop(conn);
        let Some(event) = event else { return Ok(None) };
        play(app, &tenant, &hook, &version, event, Some(then)).await.map(|replayed| Some(replayed.compared))
    };
    keep(app, &claimed.callee, version_id, call, "effects", compared.await).await;
}

async fn play(
    app: &App,
    tenant: &Tenant,
    hook: &Hook,
    version: &VersionRow,
    event: Event,
    then: Option<(HookRunId, Attempt)>,
) -> Result<Replayed, DbError> {
    let at = then.as_ref().map_or(event.created_at, |(_, attempt)| attempt.at);
    let run_id = then.as_ref().map_or_else(|| HookRunId::new(at), |(run_id, _)| run_id.clone());
    let recording: Recording = match &then {
        Some((_, attempt)) => serde_json::from_str(&attempt.tape)
            .map_err(|error| DbError::Unreadable { column: "tape", why: error.to_string() })?,
        None => Recording::default(),
    };
    let claimed = DueRun {
        shadow_id: None,
        run_id,
        callee: version.called(tenant, hook),
        event_id: event.id.clone(),
        event_kind: event.kind.as_str().to_owned(),
        payload: event.payload,
        fence: 0,
        attempts: then.as_ref().map_or(0, |(_, attempt)| attempt.number - 1),
        attempts_before: 0,
        unheard: 0,
    };
    let started = Instant::now();
    let ending = match call(app, &claimed, at, Tape::play(recording.clone())).await {
        Ok(called) => answered(called),
        Err(Failed::Call(failed)) => broke(failed),
        Err(Failed::Db(error)) => return Err(error),
    };
    let differences = differences(&recording, &ending.trace.tape);
    let now = Did {
        version_id: version.id.clone(),
        outcome: ending.outcome,
        note: ending.note,
        said: ending.trace.tape.effects(),
        used: used(&ending.trace, started),
    };
    let cut = recording.is_cut() || ending.trace.tape.is_cut();
    let then = then.map(|(_, attempt)| Did {
        version_id: attempt.version_id,
        outcome: attempt.outcome,
        note: attempt.note,
        said: recording.effects(),
        used: attempt.used,
    });
    // Its effects are compared by what is missing and added.
    let compared = Compared::new(then, now, differences, cut, |_, _| true);
    Ok(Replayed { event_id: event.id, event_kind: event.kind, compared })
}
