//! Comparison of the OpenAPI document with what really comes: every answer of the suite's clients, and every event that
//! a case leaves behind.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

/// The snapshot of the document; a unit test of the runtime compares it with the code.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../runtime/openapi.json")).expect("the snapshot is JSON")
});
/// Validators by the text of their schema.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Panics unless the document has such an answer to this operation.
pub(crate) fn check(method: &Method, path: &str, status: u16, kind: &str, body: &Value) {
    let path = path.split('?').next().unwrap_or_default();
    let Some(operation) = operation(method, path) else { return };
    let mut known = &operation["responses"][status.to_string()];
    if let Some(to) = known["$ref"].as_str() {
        known = DOCUMENT.pointer(to.trim_start_matches('#')).expect("what is referred to");
    }
    let schema = &known["content"][kind.split(';').next().unwrap_or_default()]["schema"];
    let what = format!("{method} {path}: {status} {kind}");
    assert!(schema.is_object(), "{what} is not documented: {body}");
    if let Some(slug) = body["type"].as_str().and_then(|kind| kind.strip_prefix("/problems/")) {
        let slugs = known["description"].as_str().unwrap_or_default();
        assert!(slugs.contains(&format!("`{slug}`")), "{what} {slug} is not documented");
    }
    fits(schema, body).unwrap_or_else(|why| panic!("{what} is not as documented: {why}: {body}"));
}

/// Checks that the document describes such a delivery.
///
/// # Errors
/// The difference, if it does not.
pub(crate) fn check_event(payload: &Value) -> Result<(), String> {
    let kind = payload["type"].as_str().unwrap_or_default();
    let name = if kind.starts_with("hook.") { "hook.*" } else { kind };
    fits(&DOCUMENT["webhooks"][name]["post"]["requestBody"]["content"]["application/json"]["schema"], payload)
}

fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let mut known = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = || {
        let mut whole = schema.clone();
        whole["components"] = json!({"schemas": DOCUMENT["components"]["schemas"]});
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&whole).expect("a schema"))
    };
    let validator = known.entry(schema.to_string()).or_insert_with(made).clone();
    drop(known);
    validator.validate(value).map_err(|error| format!("{error} at {}", error.instance_path()))
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let parts = |template: &str| template.split('/').map(str::to_owned).collect::<Vec<_>>();
    let given = parts(path);
    let fits = |template: &str| {
        let known = parts(template);
        known.len() == given.len() && known.iter().zip(&given).all(|(a, b)| a.starts_with('{') || a == b)
    };
    // Of several templates, the one with the fewest parameters.
    let fitting = DOCUMENT["paths"].as_object()?.iter().filter(|(template, _)| fits(template));
    let (_, item) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.as_str().to_lowercase())
}
