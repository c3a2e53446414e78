//! Comparison of a call with its replay by another version, and the record of it when a version runs in the shadow of
//! the active one.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    app::App,
    db::{
        DbError,
        disk::DiskLimit,
        hooks::{
            self, Callee, Hook, VersionRow,
            runs::Used,
            shadows::{self, Shadowed},
        },
    },
    domain::{id::HookVersionId, tenant::Tenant},
};

/// Result of a version in a call, real or replayed: `O` is an outcome of its role, `S` the rest of its answer.
#[derive(Debug)]
pub(crate) struct Did<O, S> {
    pub(crate) version_id: HookVersionId,
    pub(crate) outcome: O,
    /// The hook's own words.
    pub(crate) note: String,
    pub(crate) said: S,
    pub(crate) used: Used,
}

/// A past call and its replay.
#[derive(Debug)]
pub(crate) struct Compared<O, S> {
    /// `None` if the call was not made.
    pub(crate) then: Option<Did<O, S>>,
    pub(crate) now: Did<O, S>,
    /// What was done then and would not be done now.
    pub(crate) missing: Vec<Value>,
    /// What would be done now and was not done then.
    pub(crate) added: Vec<Value>,
    /// True if the recording of the past call is incomplete, so that a difference means little.
    pub(crate) cut: bool,
    /// True if outcome, note and effects are the same. Without a past call it is false.
    pub(crate) same: bool,
}

impl<O: PartialEq + Serialize, S: Serialize> Compared<O, S> {
    /// Compares the two; `alike` compares what they said.
    pub(super) fn new(
        then: Option<Did<O, S>>,
        now: Did<O, S>,
        (missing, added): (Vec<Value>, Vec<Value>),
        cut: bool,
        alike: impl Fn(&S, &S) -> bool,
    ) -> Self {
        let as_then = |then: &Did<O, S>| {
            then.outcome == now.outcome && then.note == now.note && alike(&then.said, &now.said)
        };
        let same = then.as_ref().is_some_and(as_then) && missing.is_empty() && added.is_empty();
        Self { then, now, missing, added, cut, same }
    }

    /// Both results and their differences, for people to read. What was said stands under `word`, the role's name for
    /// it.
    fn difference(&self, word: &'static str) -> Value {
        let did = |did: &Did<O, S>| json!({ "outcome": did.outcome, "note": did.note, word: did.said });
        json!({
            "then": self.then.as_ref().map(did),
            "now": did(&self.now),
            "missing": self.missing,
            "added": self.added,
        })
    }
}

/// The version in the shadow of a hook's active one.
pub(super) struct InShadow {
    pub(super) tenant: Tenant,
    pub(super) hook: Hook,
    pub(super) version: VersionRow,
}

impl InShadow {
    /// Reads the version; `None` if it or its hook is gone.
    pub(super) async fn read(
        app: &App,
        callee: &Callee,
        version_id: &HookVersionId,
    ) -> Result<Option<Self>, DbError> {
        let mut conn = app.db.read().await?;
        let tenant = callee.tenant.clone();
        let hook = hooks::get(&mut conn, &tenant, &callee.hook_id).await?;
        let version = hooks::version_by_id(&mut conn, version_id).await?;
        Ok(hook.zip(version).map(|(hook, version)| Self { tenant, hook, version }))
    }
}

/// Records the result of the version in the shadow for a call that was just made, if it could be called. `call` is the
/// id of the run or question, and the number of the call; what was said stands under `word`.
pub(super) async fn keep<O: PartialEq + Serialize, S: Serialize>(
    app: &App,
    callee: &Callee,
    version_id: &HookVersionId,
    (run_id, number): (String, i64),
    word: &'static str,
    compared: Result<Option<Compared<O, S>>, DbError>,
) {
    let kept = match compared {
        Ok(None) => Ok(()),
        Ok(Some(compared)) => {
            let (same, difference) = (compared.same, compared.difference(word));
            let shadowed = Shadowed { run_id, number, same, difference, at: app.clock.now() };
            let limit = DiskLimit::of_mib(app.config.hooks.disk_mib_per_merchant);
            let (callee, version_id) = (callee.clone(), version_id.clone());
            let write = app.db.write(move |conn| {
                Box::pin(async move {
                    let (merchant_id, hook_id) = (&callee.tenant.merchant, &callee.hook_id);
                    shadows::insert(conn, merchant_id, hook_id, &version_id, shadowed, limit).await
                })
            });
            write.await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::warn!(hook = callee.hook_id.as_str(), %error, "a call was not made by the version in the shadow");
    }
}
