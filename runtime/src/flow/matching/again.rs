//! A past question, put to another version: what it would have said. Nothing of it has an effect.

use std::time::Instant;

use serde_json::{Value, json};

use super::{failed, outcome, parts, put, question::Question};
use crate::{
    app::App,
    db::{
        DbError,
        disk::DiskLimit,
        hook_matches::Match,
        hook_runs::Used,
        hook_shadows::{self, Shadowed},
        hooks::{self, Callee, Owner},
        matchers::Claimed,
    },
    domain::{hook::MatchOutcome, settlement::Share},
    flow::fulfill::call::{ready, used},
    host::{Recording, Tape, differences},
};

/// What a version said, or would have said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) version_id: String,
    pub(crate) outcome: MatchOutcome,
    pub(crate) note: String,
    pub(crate) parts: Vec<Share>,
    pub(crate) used: Used,
}

/// One question, then and now.
#[derive(Debug)]
pub(crate) struct Rematched {
    pub(crate) transfer_id: String,
    pub(crate) then: Said,
    pub(crate) now: Said,
    /// What was stored and queued then and would not be now.
    pub(crate) missing: Vec<Value>,
    /// What would be stored and queued now and was not then.
    pub(crate) added: Vec<Value>,
}

impl Rematched {
    pub(crate) fn is_same(&self) -> bool {
        let (then, now) = (&self.then, &self.now);
        (then.outcome, &then.note, &then.parts) == (now.outcome, &now.note, &now.parts)
            && self.missing.is_empty()
            && self.added.is_empty()
    }

    fn difference(&self) -> Value {
        let said = |said: &Said| json!({ "outcome": said.outcome, "note": said.note, "parts": said.parts });
        json!({
            "then": said(&self.then), "now": said(&self.now), "missing": self.missing, "added": self.added,
        })
    }
}

/// Puts a question of then to this version, with its present settings and the recording of then.
pub(crate) async fn again(app: &App, callee: &Callee, then: Match) -> Result<Rematched, DbError> {
    let unreadable =
        |column| move |error: serde_json::Error| DbError::Unreadable { column, why: error.to_string() };
    let question: Question = serde_json::from_str(then.question.text()).map_err(unreadable("question"))?;
    let recording: Recording = serde_json::from_str(&then.tape).map_err(unreadable("tape"))?;
    let ready = ready(app, callee, None).await?;
    let question = question.with_settings(ready.told.clone());
    let started = Instant::now();
    let put = put(app, ready, &question, Tape::play(recording.clone())).await;
    let (answer, note, left) = put.unwrap_or_else(failed);
    let (missing, added) = differences(&recording, &left.trace.tape);
    let now = Said {
        version_id: callee.version_id.clone(),
        outcome: outcome(&answer),
        parts: parts(&answer),
        note: answer.err().unwrap_or(note),
        used: used(&left.trace, started),
    };
    let then_said = Said {
        version_id: then.version_id,
        outcome: then.outcome,
        note: then.note,
        parts: then.parts,
        used: then.used,
    };
    Ok(Rematched { transfer_id: then.transfer_id, then: then_said, now, missing, added })
}

/// A question that has just been answered, put to the version in the shadow.
pub(super) async fn shadow(app: &App, claimed: &Claimed, version_id: &str, then: Match) {
    let played = async {
        let mut conn = app.db.read().await?;
        let owner = Owner { merchant_id: claimed.merchant_id.clone(), test: claimed.test };
        let hook = hooks::get(&mut conn, &owner, &claimed.hook_id).await?;
        let version = hooks::version_by_id(&mut conn, version_id).await?;
        drop(conn);
        let (Some(hook), Some(version)) = (hook, version) else { return Ok(()) };
        let run_id = then.id.clone();
        let rematched = again(app, &version.called(&owner, &hook), then).await?;
        let shadowed = Shadowed {
            run_id,
            number: 1,
            same: rematched.is_same(),
            difference: rematched.difference(),
            at: app.clock.now(),
        };
        let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
        app.db
            .write(move |conn| {
                Box::pin(async move {
                    let (merchant_id, hook_id) = (&owner.merchant_id, &hook.id);
                    hook_shadows::insert(conn, merchant_id, hook_id, &version.id, shadowed, limit).await
                })
            })
            .await
    };
    if let Err::<(), DbError>(error) = played.await {
        tracing::warn!(hook = claimed.hook_id, %error, "a question was not put to the version in the shadow");
    }
}
