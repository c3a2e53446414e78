//! Why something that a merchant wants of its hooks is refused.

use tokio::task::JoinError;

use crate::{
    db::{DbError, disk::Full, hooks::StoreError},
    domain::{
        hook::Purpose,
        id::{EndpointId, HookId},
    },
    host::AdmitError,
    vault::VaultError,
};

/// A refusal, or a failure. Texts are for the merchant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A task broke (a defect).
    #[error(transparent)]
    Task(#[from] JoinError),
    /// Nothing of this kind has the id or name.
    #[error("There is no such {0}")]
    Missing(&'static str),
    #[error("There is no such version of this hook")]
    NoVersion,

    #[error("The operator has not opened hooks to merchants (hooks.per_merchant)")]
    NotOpened,
    #[error("Another upload of yours is under way; wait for its end")]
    UploadUnderWay,
    #[error("{max} in an hour are allowed (hooks.uploads_per_hour)")]
    Uploads { max: u32, wait_s: u64 },

    #[error("The hook was changed meanwhile; look at it, then send this again")]
    Changed,
    #[error("{problem}")]
    SettingsUnset { hook_id: HookId, problem: String },
    #[error("Secrets are missing: {}", list(missing))]
    SecretsMissing { hook_id: HookId, missing: Vec<MissingSecret> },
    #[error("The host {host}: the operator allows {allowed} (hooks.hosts)")]
    HostRefused { host: String, allowed: String },
    #[error("from: another version is in use now")]
    NotActive,
    #[error("The hook had no other version before this one")]
    NothingBefore,
    #[error("The version is in use; activate another one first")]
    VersionInUse,
    #[error("The version is in use; take another one")]
    ShadowInUse,
    #[error("Endpoints are told in this form: choose another one for them, or delete them")]
    IsForm { endpoints: Vec<EndpointId> },

    #[error("{problem} (version {version})")]
    SettingsRefused { problem: String, version: String },
    #[error("A hook has at most {0} secrets; delete one that is not needed")]
    TooManySecrets(usize),
    #[error("value: {0}")]
    SecretUnfit(String),
    #[error("No version says what {0} is for: name the host that it is sent to, or use: \"sign\"")]
    NoPurpose(String),

    #[error("Its manifest asks for {granted_kib} KiB (grants.storage_kib)")]
    StorageFull { granted_kib: u64 },
    #[error("It was made {0} times, and is made no more")]
    RunSpent(i64),
    #[error("It is being made; wait for its end")]
    RunUnderWay,
}

/// A secret that a version requires and that is not set for the purpose that it states.
#[derive(Debug)]
pub(crate) struct MissingSecret {
    pub(crate) name: String,
    pub(crate) wanted: Purpose,
    /// True if it is set for another purpose.
    pub(crate) set_otherwise: bool,
}

fn list(missing: &[MissingSecret]) -> String {
    let shown = missing.iter().map(|MissingSecret { name, wanted, set_otherwise }| {
        let wanted = match wanted {
            Purpose::Host(host) => format!("for the host {host}"),
            Purpose::Sign => "to sign with".to_owned(),
        };
        let other = if *set_otherwise { ", set for something else" } else { "" };
        format!("{name} ({wanted}{other})")
    });
    shown.collect::<Vec<_>>().join(", ")
}
