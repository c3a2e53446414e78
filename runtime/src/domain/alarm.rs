//! Alarms: what an operator is told, as events of the merchants that get the operator's.

use serde::Serialize;

use super::{Millis, event::Kind, transfer::Transfer, view};

/// Something that only the operator can put right, or its end. What it serialises to is the event's `data`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Alarm {
    /// No provider gives a good answer.
    NetworkStalled {
        network: String,
        /// When one did for the last time (RFC 3339); none: never.
        heard_at: Option<String>,
        why: Option<String>,
    },
    /// A provider gives good answers again.
    NetworkResumed { network: String, stalled_since: String },
    /// The chain no longer holds what was final: nothing is read until the operator decides.
    NetworkFrozen { network: String, why: String },
    /// Providers contradict each other about a transfer that two of them have to have seen. It is not credited until two agree.
    TransferDisputed {
        network: String,
        #[serde(flatten)]
        transfer: Box<Subject>,
        answers: Vec<Answer>,
    },
    /// A transfer that two providers have to have seen is not credited, since the network has no second one.
    SecondProviderMissing {
        network: String,
        #[serde(flatten)]
        transfer: Box<Subject>,
    },
    /// Calls that ended the process are made no more.
    WorkSetAside {
        /// As `kassa_set_aside_total` names it.
        queue: &'static str,
        /// What is not done: a worker's name, or the id of what was being called.
        work: String,
        #[serde(flatten)]
        of: Of,
        why: String,
    },
    /// The database took no writes. This is told when it takes some again; how long that was, in seconds.
    DatabaseUnwritable { why: String, for_s: u64 },
}

/// Which transfer it is about.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    pub transfer_id: String,
    pub tx: String,
    pub height: i64,
    pub block_hash: String,
}

impl From<&Transfer> for Box<Subject> {
    fn from(transfer: &Transfer) -> Self {
        Self::new(Subject {
            transfer_id: transfer.id.clone(),
            tx: transfer.tx.clone(),
            height: transfer.height,
            block_hash: transfer.block_hash.clone(),
        })
    }
}

/// What one provider says of a transfer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The domain of its upstream, or its address.
    pub provider: String,
    pub answer: String,
}

/// Whose work it is.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Of {
    Network { network: String },
    Hook { hook_id: String },
    Endpoint { endpoint_id: String },
}

impl Alarm {
    #[must_use]
    pub fn stalled(network: &str, heard_at: Option<Millis>, why: Option<String>) -> Self {
        Self::NetworkStalled { network: network.to_owned(), heard_at: heard_at.map(view::time), why }
    }

    #[must_use]
    pub fn resumed(network: &str, since: Millis) -> Self {
        Self::NetworkResumed { network: network.to_owned(), stalled_since: view::time(since) }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NetworkStalled { .. } => Kind::NetworkStalled,
            Self::NetworkResumed { .. } => Kind::NetworkResumed,
            Self::NetworkFrozen { .. } => Kind::NetworkFrozen,
            Self::TransferDisputed { .. } => Kind::TransferDisputed,
            Self::SecondProviderMissing { .. } => Kind::SecondProviderMissing,
            Self::WorkSetAside { .. } => Kind::WorkSetAside,
            Self::DatabaseUnwritable { .. } => Kind::DatabaseUnwritable,
        }
    }
}
