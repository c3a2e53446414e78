//! What a plugin says about itself: a small TOML text in the custom section `kassa:manifest`.
//!
//! It asks; the operator's grants answer (see [`Grants`]); both are checked when a version becomes active.

use semver::Version;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::services::text::one_line;

const SECTION_BYTES_MAX: usize = 16 << 10;
const DESCRIPTION_CHARS_MAX: usize = 500;
const HOSTS_MAX: usize = 32;

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
    pub grants: Asked,
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
pub(crate) struct Asked {
    /// Storage on each network, KiB.
    #[serde(default)]
    pub storage_kib: u32,
    /// Hosts that it wants to send requests to, beside its network's upstreams.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// An interface that a plugin can export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PluginRole)]
pub(crate) enum Role {
    Chain,
    Simulator,
}

impl Role {
    /// The role of an exported interface: `kassa:plugin/chain@0.1.0`.
    pub(super) fn of_export(name: &str) -> Option<Self> {
        match name {
            "kassa:plugin/chain@0.1.0" => Some(Self::Chain),
            "kassa:plugin/simulator@0.1.0" => Some(Self::Simulator),
            _ => None,
        }
    }

    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Simulator => "simulator",
        }
    }
}

/// What the operator allows a version of a plugin.
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

impl Manifest {
    /// Reads it from the sections that were found; otherwise says what is wrong.
    pub(super) fn read(sections: &[&[u8]]) -> Result<Self, String> {
        let bytes = match sections {
            [] => return Err("there is none; with the SDK, kassa_sdk::manifest! adds it".to_owned()),
            [bytes] => *bytes,
            many => return Err(format!("there are {}; a plugin has one", many.len())),
        };
        if bytes.len() > SECTION_BYTES_MAX {
            return Err(format!("it has more than {SECTION_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let manifest: Self = toml::from_str(text).map_err(|error| one_line(error.message(), 300))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let name_ok = (1..=40).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name_ok {
            return Err("name: 1 to 40 of a-z, 0-9 and -".to_owned());
        }
        if self.version.to_string().len() > 64 {
            return Err("version: at most 64 characters".to_owned());
        }
        if one_line(&self.description, DESCRIPTION_CHARS_MAX) != self.description {
            return Err(format!("description: one line of at most {DESCRIPTION_CHARS_MAX} characters"));
        }
        let mut roles = self.roles.clone();
        roles.sort_unstable();
        roles.dedup();
        if roles.is_empty() || roles.len() != self.roles.len() {
            return Err("roles: at least one, each once".to_owned());
        }
        if self.limits.memory_mib == Some(0) {
            return Err("limits.memory_mib: at least 1".to_owned());
        }
        let host_ok =
            |host: &String| (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic());
        if self.grants.hosts.len() > HOSTS_MAX || !self.grants.hosts.iter().all(host_ok) {
            return Err(format!("grants.hosts: at most {HOSTS_MAX} host names"));
        }
        Ok(())
    }
}
