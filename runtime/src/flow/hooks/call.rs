//! A call of a hook, whatever its role: what it needs, that it is made again when others have changed the hook's storage
//! under it, and its effects, which are committed with its result or not at all.

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
        verbatim::Verbatim,
    },
    host::{CallFailed, Called, HookVersion, Manifest, OfMerchant, QueuedWebhook, Secret, Trace},
    vault::Vault,
};

/// How often a call is made while others change the hook's storage under it.
const TRIES_MAX: u32 = 10;
/// What is kept of a hook's own words.
pub(in crate::flow) const NOTE_CHARS_MAX: usize = 500;

/// A call of a role, with the commit of what came of it.
pub(super) trait Attempt: Sync {
    type Committed;

    /// Makes the call and commits it. A [conflict](DbError::is_conflict) means that others have changed what it was based
    /// on; at the `last` attempt a stale read is a failure of the call like any other.
    fn attempt(&self, last: bool) -> impl Future<Output = Result<Self::Committed, DbError>> + Send;
}

/// Makes a call again while others change what it was based on. Answers what was committed, and whether the first attempt
/// was enough; a conflict means that none of them was.
pub(super) async fn until_fresh<A: Attempt>(call: &A) -> Result<(A::Committed, bool), DbError> {
    let mut tries = 1;
    loop {
        match call.attempt(tries == TRIES_MAX).await {
            Err(error) if error.is_conflict() && tries < TRIES_MAX => tries += 1,
            ended => return ended.map(|committed| (committed, tries == 1)),
        }
    }
}

/// Why a call gave no answer.
pub(in crate::flow) enum Failed {
    Db(DbError),
    Call(CallFailed),
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// What a call does beside its answer.
#[derive(Debug)]
pub(super) struct Effects {
    writes: StorageWrites,
    webhooks: Vec<QueuedWebhook>,
}

impl Effects {
    /// Takes an answer apart: itself, what it leaves to be committed, and what it took.
    pub(super) fn of<T>(called: Called<T>) -> (T, Self, Trace) {
        let Called { value, writes, webhooks, trace, .. } = called;
        (value, Self { writes, webhooks }, trace)
    }

    /// Commits them with the call's answer. `cause` is the id of the run or the question that they come from, if there
    /// is one.
    pub(super) async fn commit(
        self,
        conn: &mut Conn,
        callee: &Callee,
        cause: Option<&str>,
        limit: DiskLimit,
        now: Millis,
    ) -> Result<(), DbError> {
        disk::store(conn, &callee.merchant_id, &self.writes, limit).await?;
        for webhook in self.webhooks {
            let event_id = send(conn, callee, webhook, now).await?;
            if let Some(cause) = cause {
                events::caused_by(conn, &event_id, cause).await?;
            }
        }
        Ok(())
    }
}

/// All that a call needs of its hook.
pub(in crate::flow) struct Ready {
    pub(in crate::flow) version: HookVersion,
    pub(in crate::flow) of: OfMerchant,
    /// Its settings, with what the manifest fills in.
    pub(in crate::flow) told: Verbatim,
}

/// Reads what a call needs; `run_id` is what its requests carry.
pub(in crate::flow) async fn ready(
    db: &Db,
    vault: &Vault,
    callee: &Callee,
    run_id: Option<String>,
) -> Result<Ready, DbError> {
    let unreadable =
        |column| move |error: serde_json::Error| DbError::Unreadable { column, why: error.to_string() };
    let manifest: Manifest = serde_json::from_str(&callee.manifest).map_err(unreadable("manifest"))?;
    let settings = Verbatim::of_text(callee.settings.clone()).map_err(unreadable("settings"))?;
    let told = manifest.settings_told(settings);
    let settings = told.value();
    let of = OfMerchant {
        hook_id: callee.hook_id.clone(),
        merchant_id: callee.merchant_id.clone(),
        test: callee.test,
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

/// The hook's secrets, opened, that were set for what this version wants them for. One that does not open is left out:
/// the hook hears that there is none.
async fn secrets(
    db: &Db,
    vault: &Vault,
    hook_id: &str,
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

/// Commits a webhook that a hook queued. Answers the event's id.
async fn send(
    conn: &mut Conn,
    callee: &Callee,
    webhook: QueuedWebhook,
    now: Millis,
) -> Result<String, DbError> {
    let event_id = webhook.event_id;
    let data = Data::OfHook(webhook.kind, webhook.data);
    let event = NewEvent::new(event_id.clone(), &callee.merchant_id, callee.test, &data, now);
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
