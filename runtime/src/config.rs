//! Configuration: the default file, then the operator's file, then the environment.

use std::{net::SocketAddr, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use crate::domain::size::SizeClass;

/// Default configuration, with its documentation: every start begins with this very text.
pub const DEFAULTS: &str = include_str!("../kassa.default.toml");

/// All options; `kassa.default.toml` says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub database: String,
    pub log_format: LogFormat,
    pub log_filter: String,
    pub http: Http,
    pub addresses: Addresses,
    pub webhooks: Webhooks,
    pub plugins: Plugins,
    pub hooks: Hooks,
    pub watch: Watch,
    pub retention: Retention,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub body_bytes_max: usize,
    pub timeout_s: u64,
    pub rate_per_10s: u32,
    pub connections_per_address: usize,
    pub proxies: Vec<std::net::IpAddr>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    pub ownership: Ownership,
}

/// Requirement that merchants prove ownership of the addresses that they give for live networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ownership {
    Optional,
    Required,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    pub allow_private: bool,
    pub timeout_s: u64,
    pub concurrency: usize,
    pub concurrency_per_endpoint: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugins {
    pub artefact_bytes_max: usize,
    pub memory_mib: usize,
    pub cpu_ms: u64,
    pub wall_ms: u64,
    pub http_requests_max: u32,
    pub http_bytes_max: usize,
    pub calls_max: u32,
    pub cached_mib: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    pub per_merchant: u32,
    pub versions_max: u32,
    pub largest: SizeClass,
    pub storage_kib: u32,
    pub hosts: Vec<String>,
    pub allow_private: bool,
    pub wall_ms: u64,
    pub http_requests_max: u32,
    pub http_bytes_max: usize,
    pub calls_max: u32,
    pub concurrency_per_merchant: usize,
    pub concurrency_per_hook: usize,
    pub loaded_mib: usize,
    pub cached_mib: u64,
    pub uploads_per_hour: u32,
    pub disk_mib_per_merchant: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    pub blocks_per_scan: u32,
    pub transfers_per_scan: u32,
    pub lease_ms: u64,
    pub stalled_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub deliveries_days: Days,
    pub hook_runs_days: Days,
    pub tapes_days: Days,
    pub events_days: Days,
    pub hook_matches_days: Days,
    pub sightings_days: Days,
    pub idempotency_keys_days: Days,
}

/// Retention in days; `None` for ever. Written as a number, where 0 is for ever, or as "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Said")]
pub struct Days(pub Option<u32>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Number(u32),
    Word(String),
}

impl TryFrom<Said> for Days {
    type Error = NoDays;

    fn try_from(said: Said) -> Result<Self, NoDays> {
        match said {
            Said::Number(days) => Ok(Self(Some(days).filter(|days| *days > 0))),
            Said::Word(word) if word == "never" => Ok(Self(None)),
            Said::Word(word) => Err(NoDays(word)),
        }
    }
}

/// A word that says no retention.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no number of days; \"never\" and 0 keep for ever")]
struct NoDays(String);

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {why}")]
    Read { path: String, why: std::io::Error },
    #[error("{origin}: {why}")]
    Parse { origin: String, why: String },
}

impl Config {
    /// Reads the file if there is one, then the environment. Errors if the file is missing and `required`.
    pub fn load(
        file: &Path,
        required: bool,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = parse("kassa.default.toml", DEFAULTS)?;
        match std::fs::read_to_string(file) {
            Ok(text) => merge(&mut table, parse(&file.display().to_string(), &text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {}
            Err(why) => return Err(ConfigError::Read { path: file.display().to_string(), why }),
        }
        for (name, text) in env {
            if let Some(path) = name.strip_prefix("KASSA_") {
                set(&mut table, &path.to_lowercase(), &text);
            }
        }
        Value::Table(table).try_into().map_err(|error: toml::de::Error| ConfigError::Parse {
            origin: format!("configuration ({} or KASSA_… variables)", file.display()),
            why: error.message().to_owned(),
        })
    }

    /// URL of the database: a URL as it stands, or a file in the data folder.
    #[must_use]
    pub fn database_url(&self, data_dir: &Path) -> String {
        if self.database.contains("://") {
            self.database.clone()
        } else {
            data_dir.join(&self.database).display().to_string()
        }
    }
}

fn parse(origin: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| ConfigError::Parse {
        origin: origin.to_owned(),
        why: error.to_string(),
    })
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Sets `section__option` if the defaults have that option; other variables with the prefix are not options.
fn set(table: &mut Table, path: &str, text: &str) {
    if let Some((section, rest)) = path.split_once("__") {
        if let Some(Value::Table(inner)) = table.get_mut(section) {
            set(inner, rest, text);
        }
        return;
    }
    let value = match table.get(path) {
        None | Some(Value::Table(_)) => return,
        Some(Value::String(_)) => Value::String(text.to_owned()),
        Some(_) => text.parse().unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    table.insert(path.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_complete_and_the_environment_wins() {
        let env = [("KASSA_LISTEN", "0.0.0.0:1"), ("KASSA_HTTP__TIMEOUT_S", "7"), ("KASSA_MASTER_KEY", "x")];
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let config = Config::load(Path::new("/nonexistent"), false, env).unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.http.timeout_s, 7);
    }

    #[test]
    fn days_are_a_number_or_never() {
        let load = |text: &str| {
            let env = std::iter::once(("KASSA_RETENTION__EVENTS_DAYS".to_owned(), text.to_owned()));
            Config::load(Path::new("/nonexistent"), false, env).map(|config| config.retention.events_days.0)
        };
        assert_eq!(load("30").unwrap(), Some(30));
        assert_eq!(load("0").unwrap(), None);
        assert_eq!(load("never").unwrap(), None);
        for odd in ["-1", "1.5", "soon", ""] {
            assert!(load(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_by_its_name() {
        let file = std::env::temp_dir().join(format!("kassa-config-{}.toml", std::process::id()));
        std::fs::write(&file, "[http]\nbodybytes = 3\n").unwrap();
        let error = Config::load(&file, true, std::iter::empty()).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("bodybytes"), "{error}");
    }
}
