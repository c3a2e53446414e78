//! A plugin's manifest: a small TOML text in the custom section `kassa:manifest`.
//!
//! It asks; the operator's grants answer (see [`Grants`]); both are checked when a version becomes active.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::services::{Algorithm, text::one_line};
use crate::domain::{event, hook, nesting, objects::Objects};

const SECTION_BYTES_MAX: usize = 16 << 10;
const DESCRIPTION_CHARS_MAX: usize = 500;
const HOSTS_MAX: usize = 32;
const SECRETS_MAX: usize = 16;
/// Prefix of a host that a setting names.
pub(crate) const HOST_OF_SETTING: &str = "settings:";

/// The manifest as the plugin's author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginManifest)]
pub(crate) struct Manifest {
    #[schema(example = "evm")]
    pub name: String,
    /// Semantic version.
    #[schema(value_type = String, example = "0.1.0")]
    #[serde(with = "version_text")]
    pub version: Version,
    pub description: String,
    /// The roles that it exports.
    pub roles: Vec<Role>,
    #[serde(default)]
    pub limits: Wishes,
    #[serde(default)]
    pub grants: WantedGrants,
    /// Of a fulfiller: the types of events that it is run for, unless the merchant binds it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<BTreeSet<event::Type>>,
    /// Of a hook: the JSON Schema of its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<serde_json::Value>,
    /// Of a hook: the secrets that the merchant has to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretAsked>,
}

/// `[secrets.…]`: what a merchant has to set, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginSecretAsked)]
pub(crate) struct SecretAsked {
    pub description: String,
    /// The one host that it is sent to; `settings:api_url` is the host of the URL in that setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its other purpose: signing.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "use")]
    pub purpose: Option<SecretPurpose>,
    /// The algorithm that it signs with, of those that `secrets.sign` names: then a value that is no key of it is
    /// refused when the merchant sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "ES256")]
    pub algorithm: Option<Algorithm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretPurpose {
    /// It keys signatures, and is sent nowhere.
    Sign,
}

/// `[limits]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginWishes)]
pub(crate) struct Wishes {
    /// Memory of one call; without it, what the operator allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
}

/// `[grants]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginGrantsAsked)]
pub(crate) struct WantedGrants {
    /// Storage, KiB: of a chain plugin on each network, of a hook in all.
    #[serde(default)]
    pub storage_kib: u32,
    /// Of a hook: hosts that it wants to send requests to. `settings:api_url` is the host of the URL in that
    /// setting.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// An interface that a plugin can export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PluginRole)]
pub(crate) enum Role {
    Chain,
    Finder,
    Balances,
    Ownership,
    Simulator,
    Matcher,
    Fulfiller,
    Rates,
    Form,
}

impl Role {
    pub(super) const ALL: [Self; 9] = [
        Self::Chain,
        Self::Finder,
        Self::Balances,
        Self::Ownership,
        Self::Simulator,
        Self::Matcher,
        Self::Fulfiller,
        Self::Rates,
        Self::Form,
    ];

    /// The role with this interface name: `fulfiller`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Finder => "finder",
            Self::Balances => "balances",
            Self::Ownership => "ownership",
            Self::Simulator => "simulator",
            Self::Matcher => "matcher",
            Self::Fulfiller => "fulfiller",
            Self::Rates => "rates",
            Self::Form => "form",
        }
    }

    /// The role as one of a merchant's hook; `None` if it reads chains.
    #[must_use]
    pub(crate) fn of_hook(self) -> Option<hook::Role> {
        match self {
            Self::Matcher => Some(hook::Role::Matcher),
            Self::Fulfiller => Some(hook::Role::Fulfiller),
            Self::Rates => Some(hook::Role::Rates),
            Self::Form => Some(hook::Role::Form),
            Self::Chain | Self::Finder | Self::Balances | Self::Ownership | Self::Simulator => None,
        }
    }

    /// The services of the role's world (see wit/worlds.wit), beside the types that all share.
    pub(super) fn services(self) -> &'static [&'static str] {
        match self {
            Self::Chain | Self::Finder | Self::Balances | Self::Ownership | Self::Simulator => {
                &["http", "upstream", "storage", "watch", "log", "clock"]
            }
            Self::Fulfiller | Self::Rates => {
                &["secrets", "log", "clock", "storage", "webhooks", "random", "http"]
            }
            Self::Matcher => &["secrets", "log", "clock", "storage", "webhooks", "random"],
            Self::Form => &["secrets", "log", "clock"],
        }
    }
}

/// The operator's grants to a version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginGrants)]
pub(crate) struct Grants {
    pub memory_mib: u32,
    pub storage_kib: u32,
    #[serde(default)]
    pub hosts: Vec<String>,
}

impl Grants {
    /// The first thing that the manifest asks for and these do not allow.
    pub(super) fn refuse(&self, manifest: &Manifest) -> Option<String> {
        if let Some(asked) = manifest.limits.memory_mib.filter(|asked| *asked > self.memory_mib) {
            return Some(format!("memory_mib {asked}, granted are {}", self.memory_mib));
        }
        if manifest.grants.storage_kib > self.storage_kib {
            return Some(format!(
                "storage_kib {}, granted are {}",
                manifest.grants.storage_kib, self.storage_kib
            ));
        }
        let refused = manifest.grants.hosts.iter().find(|host| !self.hosts.contains(host));
        refused.map(|host| format!("the host {host}"))
    }
}

/// True if a secret may have this name: it stands in URLs between braces.
pub(crate) fn is_secret_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

mod version_text {
    use semver::Version;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(version)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a manifest is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("there is none; with the SDK, kassa_sdk::manifest! adds it")]
    Missing,
    #[error("there are {0}; a plugin has one")]
    Several(usize),
    #[error("it has more than {SECTION_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it is nested too deep; at most {max} levels are read", max = nesting::DEPTH_MAX)]
    TooDeep,
    #[error("{0}")]
    Malformed(String),
    #[error("{field}: {why}")]
    Field { field: String, why: String },
    #[error("settings: {0}")]
    Settings(String),
}

impl Manifest {
    /// Reads the manifest from the sections that were found. Errors with what is wrong.
    pub(super) fn read(sections: &[&[u8]]) -> Result<Self, ManifestError> {
        let bytes = match sections {
            [] => return Err(ManifestError::Missing),
            [bytes] => *bytes,
            many => return Err(ManifestError::Several(many.len())),
        };
        if bytes.len() > SECTION_BYTES_MAX {
            return Err(ManifestError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::NotUtf8)?;
        if nesting::of_toml(text) > nesting::DEPTH_MAX {
            return Err(ManifestError::TooDeep);
        }
        let manifest =
            toml::de::Deserializer::parse(text).and_then(|reader| Self::deserialize(Objects(reader)));
        let manifest = manifest.map_err(|error| ManifestError::Malformed(one_line(error.message(), 300)))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let refused = |field: &str, why: String| Err(ManifestError::Field { field: field.to_owned(), why });
        let name_ok = (1..=40).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name_ok {
            return refused("name", "1 to 40 of a-z, 0-9 and -".to_owned());
        }
        if self.version.to_string().len() > 64 {
            return refused("version", "at most 64 characters".to_owned());
        }
        if one_line(&self.description, DESCRIPTION_CHARS_MAX) != self.description {
            return refused("description", format!("one line of at most {DESCRIPTION_CHARS_MAX} characters"));
        }
        let mut roles = self.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() || roles.len() != self.roles.len() {
            return refused("roles", "at least one, each once".to_owned());
        }
        if self.limits.memory_mib == Some(0) {
            return refused("limits.memory_mib", "at least 1".to_owned());
        }
        let host_ok =
            |host: &String| (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic());
        if self.grants.hosts.len() > HOSTS_MAX || !self.grants.hosts.iter().all(host_ok) {
            return refused("grants.hosts", format!("at most {HOSTS_MAX} host names"));
        }
        if self.secrets.len() > SECRETS_MAX || !self.secrets.keys().all(|name| is_secret_name(name)) {
            return refused(
                "secrets",
                format!("at most {SECRETS_MAX}, each named by 1 to 40 of a-z, 0-9 and _"),
            );
        }
        for (name, secret) in &self.secrets {
            if one_line(&secret.description, DESCRIPTION_CHARS_MAX) != secret.description {
                let why = format!("one line of at most {DESCRIPTION_CHARS_MAX} characters");
                return refused(&format!("secrets.{name}.description"), why);
            }
            if secret.host.is_some() == secret.purpose.is_some() || !secret.host.iter().all(host_ok) {
                let why = "either a host that it is bound to, or use = \"sign\"".to_owned();
                return refused(&format!("secrets.{name}"), why);
            }
            if secret.algorithm.is_some() && secret.purpose.is_none() {
                let why = "only with use = \"sign\"".to_owned();
                return refused(&format!("secrets.{name}.algorithm"), why);
            }
        }
        Ok(())
    }
}
