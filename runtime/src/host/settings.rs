//! A hook's settings, checked by the JSON Schema that its manifest carries.

use std::fmt::Write as _;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use url::Url;

use super::{
    manifest::{HOST_OF_SETTING, Manifest, SecretPurpose},
    services::{authority, text::one_line},
};
use crate::domain::{hook::Purpose, verbatim::Verbatim};

/// Maximum length of an error text, characters.
const SHOWN_CHARS_MAX: usize = 300;
/// Refused keywords: what they name is evaluated again at each use, so forty lines of them take for ever.
const REFUSED_KEYWORDS: [&str; 5] =
    ["$ref", "$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems"];
/// Maximum size of one compiled pattern, and of its cache while it matches, bytes. A manifest has room for a few
/// hundred.
const PATTERN_BYTES_MAX: usize = 128 << 10;

/// Maximum number of steps of a check: values in the schema times values in the settings. An honest schema has a few
/// hundred, for some ten values.
const STEPS_MAX: usize = 1_000_000;
/// Maximum number of steps of a check whose errors are explained.
const STEPS_TO_SAY_WHY: usize = 50_000;

/// Why a schema is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("{0} is not supported; write out what it stands for")]
    Keyword(&'static str),
    #[error("{0}")]
    Unusable(String),
}

/// A usable schema.
pub(crate) struct Schema {
    validator: Validator,
    values: usize,
}

impl Schema {
    /// Compiles a schema. Errors with what is wrong with it. Strangers write schemas: patterns match in linear time,
    /// and all work is bounded by the lengths of the schema and the settings.
    pub(crate) fn new(schema: &Value) -> Result<Self, SchemaError> {
        if let Some(keyword) = refused_keyword(schema) {
            return Err(SchemaError::Keyword(keyword));
        }
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        jsonschema::options()
            .with_pattern_options(patterns)
            .build(schema)
            .map(|validator| Self { validator, values: values(schema) })
            .map_err(|error| SchemaError::Unusable(one_line(&error.to_string(), SHOWN_CHARS_MAX)))
    }

    /// The problem with these settings; `None` if they fit.
    pub(crate) fn problem(&self, settings: &Value) -> Option<String> {
        let steps = self.values.saturating_mul(values(settings));
        if steps > STEPS_MAX {
            return Some("settings: they have too many values for so long a schema".to_owned());
        }
        if self.validator.is_valid(settings) {
            return None;
        }
        // The explanation contains every problem of each alternative.
        if steps > STEPS_TO_SAY_WHY {
            return Some("settings: they do not fit the schema".to_owned());
        }
        let error = self.validator.iter_errors(settings).next()?;
        let at = error.instance_path().to_string();
        let location = if at.is_empty() { "settings".to_owned() } else { format!("settings{at}") };
        Some(one_line(&format!("{location}: {error}"), SHOWN_CHARS_MAX))
    }
}

/// Number of values in a value, itself included. A long text counts by its length, since patterns read all of it.
fn values(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(values).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 64,
        _ => 1,
    }
}

fn refused_keyword(schema: &Value) -> Option<&'static str> {
    match schema {
        Value::Object(fields) => {
            let own = REFUSED_KEYWORDS.into_iter().find(|keyword| fields.contains_key(*keyword));
            own.or_else(|| fields.values().find_map(refused_keyword))
        }
        Value::Array(items) => items.iter().find_map(refused_keyword),
        _ => None,
    }
}

impl Manifest {
    /// The problem with these settings for a hook with this manifest; `None` if they fit.
    #[must_use]
    pub(crate) fn settings_problem(&self, settings: &Value) -> Option<String> {
        match &self.settings {
            Some(schema) => match Schema::new(schema) {
                Ok(schema) => schema.problem(settings),
                Err(why) => Some(why.to_string()),
            },
            None => (settings.as_object().is_none_or(|object| !object.is_empty()))
                .then(|| "settings: this hook has none; give an empty object".to_owned()),
        }
    }

    /// The settings, with the schema's defaults for those that are left out.
    #[must_use]
    pub(crate) fn settings_filled(&self, mut settings: Value) -> Value {
        let properties = self.settings.as_ref().and_then(|schema| schema.get("properties")?.as_object());
        if let (Some(properties), Some(object)) = (properties, settings.as_object_mut()) {
            for (name, property) in properties {
                if let (Some(default), false) = (property.get("default"), object.contains_key(name)) {
                    object.insert(name.clone(), default.clone());
                }
            }
        }
        settings
    }

    /// The settings as a hook receives them: the text as it came, followed by the schema's defaults for those that are
    /// left out.
    #[must_use]
    pub(crate) fn settings_told(&self, settings: Verbatim) -> Verbatim {
        let given = settings.value();
        let filled = self.settings_filled(given.clone());
        let (Some(given), Some(filled)) = (given.as_object(), filled.as_object()) else { return settings };
        let Some(inside) = settings.text().trim_end().strip_suffix('}') else { return settings };
        let mut text = inside.to_owned();
        let mut comma = if given.is_empty() { "" } else { "," };
        for (name, default) in filled.iter().filter(|(name, _)| !given.contains_key(*name)) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{}:{default}", Value::from(name.as_str()));
            comma = ",";
        }
        text.push('}');
        Verbatim::of_text(text).unwrap_or(settings)
    }

    /// Hosts that a hook with these settings (filled) may send requests to, as URLs write them.
    #[must_use]
    pub(crate) fn hosts(&self, settings: &Value) -> Vec<String> {
        self.grants.hosts.iter().filter_map(|host| resolve(host, settings)).collect()
    }

    /// The purpose that a hook with these settings (filled) has for this secret. `None` if it has none, or if the
    /// setting that names the host is unusable.
    #[must_use]
    pub(crate) fn purpose_of(&self, secret: &str, settings: &Value) -> Option<Purpose> {
        let asked = self.secrets.get(secret)?;
        match (&asked.host, asked.purpose) {
            (_, Some(SecretPurpose::Sign)) => Some(Purpose::Sign),
            (Some(host), None) => resolve(host, settings).map(Purpose::Host),
            (None, None) => None,
        }
    }
}

/// The host itself, or that of the URL in the setting that it names.
fn resolve(host: &str, settings: &Value) -> Option<String> {
    let Some(setting) = host.strip_prefix(HOST_OF_SETTING) else { return Some(host.to_owned()) };
    let url: Url = settings.get(setting)?.as_str()?.parse().ok()?;
    Some(authority(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let text = r#"
            name = "telegram"
            version = "0.1.0"
            description = "A test"
            roles = ["fulfiller"]
            [grants]
            hosts = ["fixed.example", "settings:api_url"]
            [settings]
            type = "object"
            additionalProperties = false
            required = ["chat"]
            [settings.properties.chat]
            type = "string"
            pattern = "^[0-9]+$"
            [settings.properties.api_url]
            type = "string"
            default = "https://api.example:8443/v1"
        "#;
        Manifest::read(&[text.as_bytes()]).unwrap()
    }

    #[test]
    fn settings_are_checked_and_filled() {
        let manifest = manifest();
        assert_eq!(manifest.settings_problem(&serde_json::json!({"chat": "12"})), None);
        for odd in [
            serde_json::json!({}),
            serde_json::json!({"chat": 12}),
            serde_json::json!({"chat": "a"}),
            serde_json::json!({"chat": "1", "other": 1}),
            serde_json::json!([]),
        ] {
            let problem = manifest.settings_problem(&odd).unwrap();
            assert!(problem.starts_with("settings"), "{problem}");
        }
        let filled = manifest.settings_filled(serde_json::json!({"chat": "12"}));
        assert_eq!(manifest.hosts(&filled), ["fixed.example", "api.example:8443"]);
        let own = serde_json::json!({"chat": "12", "api_url": "http://127.0.0.1:99/x"});
        assert_eq!(manifest.hosts(&manifest.settings_filled(own)), ["fixed.example", "127.0.0.1:99"]);
        assert_eq!(manifest.hosts(&serde_json::json!({"api_url": 7})), ["fixed.example"]);
    }

    #[test]
    fn a_hook_is_told_its_settings_as_they_were_set() {
        let told = |text: &str| {
            let told = manifest().settings_told(Verbatim::of_text(text.to_owned()).unwrap());
            assert_eq!(told.value(), manifest().settings_filled(serde_json::from_str(text).unwrap()));
            told.text().to_owned()
        };
        let default = r#""api_url":"https://api.example:8443/v1""#;
        assert_eq!(told("{}"), format!("{{{default}}}"));
        assert_eq!(told("{ }"), format!("{{ {default}}}"));
        assert_eq!(
            told(r#"{"z":1.10, "a":18446744073709551616}"#),
            format!(r#"{{"z":1.10, "a":18446744073709551616,{default}}}"#)
        );
        let whole = r#"{"chat": "12","api_url":"x"}"#;
        assert_eq!(told(whole), whole);
    }

    #[test]
    fn a_schema_that_would_take_for_ever_does_not() {
        let schema = serde_json::json!({"pattern": "^(a+)+$"});
        let schema = Schema::new(&schema).unwrap();
        assert!(schema.problem(&Value::String(format!("{}b", "a".repeat(50_000)))).is_some());
        for odd in [
            serde_json::json!({"type": "nonsense"}),
            serde_json::json!({"pattern": "(?=a)b"}),
            serde_json::json!({"$ref": "https://evil.example/schema.json"}),
            serde_json::json!({"$ref": "file:///etc/passwd"}),
        ] {
            assert!(Schema::new(&odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_schema_whose_work_would_double_with_each_line_is_refused() {
        let doubling = |lines: u32| {
            let line = |at: u32| {
                let next = serde_json::json!({"$ref": format!("#/$defs/a{}", at + 1)});
                (format!("a{at}"), serde_json::json!({"allOf": [next, next]}))
            };
            let defs: serde_json::Map<String, Value> = (0..lines).map(line).collect();
            serde_json::json!({"$defs": defs, "$ref": "#/$defs/a0"})
        };
        let nested = (0..40).fold(
            serde_json::json!({}),
            |inner, _| serde_json::json!({"unevaluatedProperties": false, "if": inner, "then": true}),
        );
        let huge = serde_json::json!({"allOf": vec![serde_json::json!({"pattern": r"\p{L}{200}"}); 600]});
        for odd in [doubling(100), nested, huge] {
            assert!(Schema::new(&odd).is_err());
        }
        assert!(Schema::new(&serde_json::json!({"pattern": r"^\p{L}+@[a-z0-9.]{1,200}$"})).is_ok());
    }

    #[test]
    fn work_is_bounded_by_the_schema_times_the_settings() {
        let text = |at: usize| serde_json::json!({"type": "string", "minLength": at});
        let any = Value::Array((0..1_500).map(text).collect());
        for (schema, settings) in [
            (serde_json::json!({"anyOf": any}), serde_json::json!({"a": vec![0; 4_000]})),
            (
                serde_json::json!({"properties": {"a": {"items": {"oneOf": any}}}}),
                serde_json::json!({"a": vec![0; 4_000]}),
            ),
            (
                serde_json::json!({"patternProperties": {"a": {"not": {"anyOf": any}}}}),
                serde_json::json!({"a": "x".repeat(500_000)}),
            ),
        ] {
            let problem = Schema::new(&schema).unwrap().problem(&settings).unwrap();
            assert!(problem.contains("too many values"), "{problem}");
        }
        let schema = Schema::new(&serde_json::json!({"items": {"anyOf": any}})).unwrap();
        assert_eq!(
            schema.problem(&serde_json::json!(vec![0; 100])).unwrap(),
            "settings: they do not fit the schema"
        );
        assert!(schema.problem(&serde_json::json!([0])).unwrap().contains("settings/0"));
        assert_eq!(schema.problem(&serde_json::json!(["a", "b"])), None);
    }
}
