//! A call of a hook, whatever its role: its inputs, its repetition when others have changed the hook's storage under
//! it, and its effects, which are committed with its result or not at all.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde_json::Value;

use crate::{
    db::{
        Conn, Db, DbError, deliveries,
        disk::{self, DiskLimit},
        events,
        hooks::{Callee, runs::Used, secrets},
        plugin_storage::StorageWrites,
    },
    domain::{
        Millis,
        event::{Data, NewEvent, data::HookNamed},
        id::{EventId, HookId, HookRunId},
        verbatim::Verbatim,
    },
    host::{CallFailed, Called, HookVersion, Manifest, OfMerchant, QueuedWebhook, Secret, Trace},
    vault::Vault,
};

/// Maximum number of attempts of a call while others change the hook's storage under it.
const TRIES_MAX: u32 = 10;
/// Maximum number of characters kept of a hook's note.
pub(in crate::flow) const NOTE_CHARS_MAX: usize = 500;

/// A call of a role, with the commit of its result.
pub(super) trait Attempt: Sync {
    type Committed;

    /// Makes the call and commits it. A [conflict](DbError::is_conflict) means that others have changed the data it was
    /// based on; in the `last` attempt a stale read fails the call like any other error.
    fn attempt(&self, last: bool) -> impl Future<Output = Result<Self::Committed, DbError>> + Send;
}

/// Repeats a call while others change the data it was based on. Returns what was committed, and true if the first
/// attempt was enough. Errors with a conflict if no attempt was.
pub(super) async fn until_fresh<A: Attempt>(call: &A) -> Result<(A::Committed, bool), DbError> {
    let mut tries = 1;
    loop {
        match call.attempt(tries == TRIES_MAX).await {
            Err(error) if error.is_conflict() && tries < TRIES_MAX => tries += 1,
            ended => return ended.map(|committed| (committed, tries == 1)),
        }
    }
}

/// Reason that a call gave no answer.
pub(in crate::flow) enum Failed {
    Db(DbError),
    Call(CallFailed),
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// Effects of a call besides its answer.
#[derive(Debug)]
pub(super) struct Effects {
    writes: StorageWrites,
    webhooks: Vec<QueuedWebhook>,
}

impl Effects {
    /// Splits a call's result into its answer, its effects and its trace.
    pub(super) fn of<T>(called: Called<T>) -> (T, Self, Trace) {
        let Called { value, writes, webhooks, trace, .. } = called;
        (value, Self { writes, webhooks }, trace)
    }

    /// Commits the effects with the call's answer. `cause` is the id of the run or question that they come from, if
    /// there is one.
    pub(super) async fn commit(
        self,
        conn: &mut Conn,
        callee: &Callee,
        cause: Option<&str>,
        limit: DiskLimit,
        now: Millis,
    ) -> Result<(), DbError> {
        disk::store(conn, &callee.tenant.merchant, &self.writes, limit).await?;
        for webhook in self.webhooks {
            let event_id = send(conn, callee, webhook, now).await?;
            if let Some(cause) = cause {
                events::caused_by(conn, &event_id, cause).await?;
            }
        }
        Ok(())
    }
}

/// The parts of a hook that a call needs.
pub(in crate::flow) struct Ready {
    pub(in crate::flow) version: HookVersion,
    pub(in crate::flow) of: OfMerchant,
    /// Its settings, with what the manifest fills in.
    pub(in crate::flow) told: Verbatim,
}

/// Reads the parts of a hook that a call needs; `run_id` is what its requests carry.
pub(in crate::flow) async fn ready(
    db: &Db,
    vault: &Vault,
    callee: &Callee,
    run_id: Option<HookRunId>,
) -> Result<Ready, DbError> {
    let unreadable =
        |column| move |error: serde_json::Error| DbError::Unreadable { column, why: error.to_string() };
    let manifest: Manifest = serde_json::from_str(&callee.manifest).map_err(unreadable("manifest"))?;
    let settings = Verbatim::of_text(callee.settings.clone()).map_err(unreadable("settings"))?;
    let told = manifest.settings_told(settings);
    let settings = told.value();
    let of = OfMerchant {
        hook_id: callee.hook_id.clone(),
        tenant: callee.tenant.clone(),
        run_id,
        hosts: manifest.hosts(&settings),
        secrets: secrets(db, vault, &callee.hook_id, &manifest, &settings).await?,
    };
    let version = HookVersion {
        name: callee.hook_name.clone(),
        version: callee.version.clone(),
        version_id: callee.version_id.clone(),
        sha256: callee.sha256.clone(),
        manifest: Arc::new(manifest),
    };
    Ok(Ready { version, of, told })
}

/// Decrypts the secrets whose purpose is the one that this version states. A secret that cannot be decrypted is left
/// out, as if it were not set.
async fn secrets(
    db: &Db,
    vault: &Vault,
    hook_id: &HookId,
    manifest: &Manifest,
    settings: &Value,
) -> Result<BTreeMap<String, Secret>, DbError> {
    let mut secrets = BTreeMap::new();
    if manifest.secrets.is_empty() {
        return Ok(secrets);
    }
    for row in secrets::list(&mut db.read().await?, hook_id).await? {
        if manifest.purpose_of(&row.name, settings).as_ref() != Some(&row.purpose) {
            continue;
        }
        let opened = vault.open(&row.sealed_for(), &row.value).ok();
        if let Some(text) = opened.as_ref().and_then(|opened| std::str::from_utf8(opened).ok()) {
            secrets.insert(row.name, Secret::new(text, row.purpose));
        }
    }
    Ok(secrets)
}

pub(in crate::flow) fn used(trace: &Trace, started: Instant) -> Used {
    let count = |count: u128| i64::try_from(count).unwrap_or(i64::MAX);
    Used {
        duration_us: count(started.elapsed().as_micros()),
        cpu_us: count(trace.cpu.as_micros()),
        fuel: count(u128::from(trace.fuel)),
        memory_bytes: i64::try_from(trace.memory_bytes).unwrap_or(i64::MAX),
        host_calls: i64::from(trace.host_calls),
        http_requests: i64::from(trace.http_requests),
    }
}

/// Commits a webhook that a hook queued. Returns the event's id.
async fn send(
    conn: &mut Conn,
    callee: &Callee,
    webhook: QueuedWebhook,
    now: Millis,
) -> Result<EventId, DbError> {
    let event_id = webhook.event_id;
    let data = Data::OfHook(webhook.kind, webhook.data);
    let event = NewEvent::new(event_id.clone(), &callee.tenant, &data, now);
    match webhook.endpoint_id {
        None => events::insert(conn, vec![event]).await?,
        Some(endpoint_id) => drop(deliveries::send_to(conn, event, endpoint_id, now).await?),
    }
    Ok(event_id)
}

/// A hook, as events name it.
pub(super) fn named(callee: &Callee) -> HookNamed {
    HookNamed { id: callee.hook_id.clone(), name: callee.hook_name.clone(), version: callee.version.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Fails with these errors, one an attempt, and then commits. Notes which attempts were said to be the last.
    struct Failing(Mutex<Vec<DbError>>, Mutex<Vec<bool>>);

    impl Attempt for Failing {
        type Committed = ();

        async fn attempt(&self, last: bool) -> Result<(), DbError> {
            self.1.lock().unwrap().push(last);
            self.0.lock().unwrap().pop().map_or(Ok(()), Err)
        }
    }

    async fn made(errors: Vec<DbError>) -> (Result<((), bool), DbError>, Vec<bool>) {
        let call = Failing(Mutex::new(errors), Mutex::default());
        let ended = until_fresh(&call).await;
        (ended, call.1.into_inner().unwrap())
    }

    fn conflicts(count: u32) -> Vec<DbError> {
        (0..count).map(|_| DbError::Stale("a hook's storage")).collect()
    }

    #[tokio::test]
    async fn a_call_is_made_again_for_a_conflict_alone_and_not_for_ever() {
        let (ended, attempts) = made(Vec::new()).await;
        assert!(matches!(ended, Ok(((), true))) && attempts == [false]);
        let (ended, attempts) = made(conflicts(2)).await;
        assert!(matches!(ended, Ok(((), false))) && attempts.len() == 3);
        let (ended, attempts) = made(conflicts(TRIES_MAX + 5)).await;
        assert!(matches!(ended, Err(DbError::Stale(_))));
        let mut expected = vec![false; TRIES_MAX as usize - 1];
        expected.push(true);
        assert_eq!(attempts, expected, "the last attempt knows that it is");
        // It may have sent requests: what else goes wrong is no reason to send them at once again.
        let (ended, attempts) = made(vec![DbError::Closed]).await;
        assert!(matches!(ended, Err(DbError::Closed)) && attempts == [false]);
    }
}
