//! What another version would have done, beside what was done: the comparison, and what is kept of it where a version runs
//! in the shadow of the active one.

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
    domain::tenant::Tenant,
};

/// How a version did in a call, or would have done: `O` is an outcome of its role, `S` what else it said.
#[derive(Debug)]
pub(crate) struct Did<O, S> {
    pub(crate) version_id: String,
    pub(crate) outcome: O,
    /// In its own words.
    pub(crate) note: String,
    pub(crate) said: S,
    pub(crate) used: Used,
}

/// One call, then and now.
#[derive(Debug)]
pub(crate) struct Compared<O, S> {
    /// None: it was not made.
    pub(crate) then: Option<Did<O, S>>,
    pub(crate) now: Did<O, S>,
    /// What was done then and would not be done now.
    pub(crate) missing: Vec<Value>,
    /// What would be done now and was not done then.
    pub(crate) added: Vec<Value>,
    /// The recording of then is not complete: it says little.
    pub(crate) cut: bool,
    /// The same outcome, words and effects. What was never done is different from anything.
    pub(crate) same: bool,
}

impl<O: PartialEq + Serialize, S: Serialize> Compared<O, S> {
    /// Compares, by `alike` in what is said.
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

    /// For people: how the two did, and where they part. What is said stands under the word that its role has for it.
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
    /// None: it is gone.
    pub(super) async fn read(app: &App, callee: &Callee, version_id: &str) -> Result<Option<Self>, DbError> {
        let mut conn = app.db.read().await?;
        let tenant = callee.tenant.clone();
        let hook = hooks::get(&mut conn, &tenant, &callee.hook_id).await?;
        let version = hooks::version_by_id(&mut conn, version_id).await?;
        Ok(hook.zip(version).map(|(hook, version)| Self { tenant, hook, version }))
    }
}

/// Keeps how the version in the shadow would have done in a call that was just made, if it could be asked. `call` is the
/// run's or the question's id, and which of its calls it was; what is said stands under `word`.
pub(super) async fn keep<O: PartialEq + Serialize, S: Serialize>(
    app: &App,
    callee: &Callee,
    version_id: &str,
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
            let (callee, version_id) = (callee.clone(), version_id.to_owned());
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
        tracing::warn!(hook = callee.hook_id, %error, "a call was not made by the version in the shadow");
    }
}
