//! Refusals of what a merchant does with its hooks, as problems.

use crate::{
    db::hooks::StoreError,
    domain::id::EndpointId,
    flow::hooks::manage::HookError,
    http::problem::{Kind, Problem, sentence},
};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Db(error) => error.into(),
            StoreError::Full(full) => full.into(),
            limit => Self::new(Kind::HookLimit, sentence(&limit)),
        }
    }
}

impl From<HookError> for Problem {
    fn from(error: HookError) -> Self {
        let text = sentence(&error);
        match error {
            HookError::Db(error) => error.into(),
            HookError::Admit(error) => error.into(),
            HookError::Store(error) => error.into(),
            HookError::Full(full) => full.into(),
            HookError::Vault(error) => Self::internal(error),
            HookError::Task(error) => Self::internal(error),
            HookError::Missing(what) => Self::not_found(what),
            HookError::NoVersion => Self::not_found("version of this hook").field("version_id"),
            HookError::NotOpened => Self::new(Kind::HookLimit, text),
            HookError::UploadUnderWay => Self::new(Kind::UploadsLimited, text).retry_after(5),
            HookError::Uploads { wait_s, .. } => Self::new(Kind::UploadsLimited, text).retry_after(wait_s),
            HookError::SettingsUnset { hook_id, .. } => {
                let detail = format!("{text} Set them first: PUT /v1/hooks/{hook_id}/settings.");
                Self::new(Kind::HookNotReady, detail)
            }
            HookError::SecretsMissing { hook_id, .. } => {
                let detail = format!(
                    "{text} Set them first: PUT /v1/hooks/{hook_id}/secrets/<name>, with the host (or use) that you mean."
                );
                Self::new(Kind::HookNotReady, detail)
            }
            HookError::HostRefused { .. } => Self::new(Kind::GrantRefused, text),
            HookError::NotActive => Self::new(Kind::Conflict, text).field("from"),
            HookError::Changed
            | HookError::NothingBefore
            | HookError::VersionInUse
            | HookError::ShadowInUse
            | HookError::TooManySecrets(_)
            | HookError::RunSpent(_) => Self::new(Kind::Conflict, text),
            HookError::IsForm { endpoints } => Self::new(Kind::HookInUse, text)
                .with("endpoints", endpoints.iter().map(EndpointId::as_str).collect::<Vec<_>>()),
            HookError::SettingsRefused { .. } => Self::new(Kind::SettingsRefused, text),
            HookError::SecretUnfit(_) => Self::new(Kind::FieldMalformed, text).field("value"),
            HookError::NoPurpose(_) => Self::new(Kind::FieldMalformed, text).field("host"),
            HookError::StorageFull { .. } => Self::new(Kind::StorageFull, text),
            HookError::RunUnderWay => Self::new(Kind::RunPending, text),
        }
    }
}
