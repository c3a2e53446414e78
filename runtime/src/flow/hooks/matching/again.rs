//! Past questions, put to another version without effects.

use std::time::Instant;

use crate::{
    app::App,
    db::{
        DbError,
        hooks::{Callee, matches::Match},
    },
    domain::{
        hook::MatchOutcome,
        id::{HookVersionId, TransferId},
        settlement::Share,
    },
    flow::hooks::{
        call::{ready, used},
        matching::{broke, outcome, parts, put, question::Question},
        shadow::{Compared, Did, InShadow, keep},
    },
    host::{Recording, Tape, differences},
};

/// Result of a matcher: `said` is what the transfer pays.
pub(crate) type DidMatch = Did<MatchOutcome, Vec<Share>>;

/// A past question and its replay.
#[derive(Debug)]
pub(crate) struct Rematched {
    pub(crate) transfer_id: TransferId,
    pub(crate) compared: Compared<MatchOutcome, Vec<Share>>,
}

/// Puts a past question to this version, with its present settings and the past recording.
pub(crate) async fn again(app: &App, callee: &Callee, then: Match) -> Result<Rematched, DbError> {
    let unreadable =
        |column| move |error: serde_json::Error| DbError::Unreadable { column, why: error.to_string() };
    let question: Question = serde_json::from_str(then.question.text()).map_err(unreadable("question"))?;
    let recording: Recording = serde_json::from_str(&then.tape).map_err(unreadable("tape"))?;
    let ready = ready(&app.db, &app.vault, callee, None).await?;
    let question = question.with_settings(ready.told.clone());
    let started = Instant::now();
    let said = match put(app, ready, &question, Tape::play(recording.clone())).await {
        Ok(said) => said,
        Err(failed) => broke(failed),
    };
    let differences = differences(&recording, &said.trace.tape);
    let cut = recording.is_cut() || said.trace.tape.is_cut();
    let now = Did {
        version_id: callee.version_id.clone(),
        outcome: outcome(&said.answer),
        said: parts(&said.answer),
        note: said.answer.err().map_or(said.note, |why| why.to_string()),
        used: used(&said.trace, started),
    };
    let then_did = Did {
        version_id: then.version_id,
        outcome: then.outcome,
        note: then.note,
        said: then.parts,
        used: then.used,
    };
    let compared = Compared::new(Some(then_did), now, differences, cut, Vec::eq);
    Ok(Rematched { transfer_id: then.transfer_id, compared })
}

/// Puts a question that has just been answered to the version in the shadow.
pub(super) async fn shadow(app: &App, callee: &Callee, version_id: &HookVersionId, then: Match) {
    let call = (then.id.to_string(), 1);
    let compared = async {
        let Some(InShadow { tenant, hook, version }) = InShadow::read(app, callee, version_id).await? else {
            return Ok(None);
        };
        again(app, &version.called(&tenant, &hook), then).await.map(|one| Some(one.compared))
    };
    keep(app, callee, version_id, call, "parts", compared.await).await;
}
