//! Alarms: what an operator is told, as events of the merchants that get the operator's.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    id::{EndpointId, HookId, TransferId},
    transfer::Transfer,
};

/// No provider gives a good answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkStalled {
    pub network: String,
    /// Time at which one did for the last time; none: never.
    pub heard_at: Option<String>,
    pub why: Option<String>,
}

/// A provider gives good answers again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkResumed {
    pub network: String,
    #[schema(format = DateTime, example = "2026-03-01T12:00:00.000Z")]
    pub stalled_since: String,
}

/// The chain no longer holds what was final: nothing is read until the operator decides.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkFrozen {
    pub network: String,
    pub why: String,
}

/// Providers contradict each other about a transfer that two of them have to have seen. It is not credited until two
/// agree.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransferDisputed {
    pub network: String,
    #[serde(flatten)]
    pub transfer: Subject,
    pub answers: Vec<ProviderAnswer>,
}

/// A transfer that two providers have to have seen is not credited, since the network has no second one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SecondProviderMissing {
    pub network: String,
    #[serde(flatten)]
    pub transfer: Subject,
}

/// Calls that ended the process are made no more.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkSetAside {
    /// As `kassa_set_aside_total` names it.
    pub queue: &'static str,
    /// The work that is not done: a worker's name, or the id of the hook or plugin that was called.
    pub work: String,
    #[serde(flatten)]
    pub of: Of,
    pub why: String,
}

/// The database took no writes. This is told when it takes some again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DatabaseUnwritable {
    pub why: String,
    /// Its duration, in seconds.
    pub for_s: u64,
}

/// The transfer that it is about.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = AlarmTransfer)]
pub struct Subject {
    pub transfer_id: TransferId,
    pub tx: String,
    pub height: i64,
    pub block_hash: String,
}

impl From<&Transfer> for Subject {
    fn from(transfer: &Transfer) -> Self {
        Self {
            transfer_id: transfer.id.clone(),
            tx: transfer.tx.clone(),
            height: transfer.height,
            block_hash: transfer.block_hash.clone(),
        }
    }
}

/// One provider's answer about a transfer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProviderAnswer {
    /// The domain of its upstream, or its address.
    pub provider: String,
    pub answer: String,
}

/// Owner of the work.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = WorkOf)]
pub enum Of {
    Network { network: String },
    Hook { hook_id: HookId },
    Endpoint { endpoint_id: EndpointId },
}
