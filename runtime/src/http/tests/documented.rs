//! Every answer that a test gets is one that the document knows: its operation, its status, its problem, its body's
//! shape.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use http::Method;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::kit::Answer;
use crate::http::document;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
/// Validators by the schema's text.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Resolves a reference in the document.
pub(super) fn resolved<'d>(document: &'d Value, part: &'d Value) -> &'d Value {
    match part["$ref"].as_str() {
        Some(to) => document.pointer(to.trim_start_matches('#')).unwrap(),
        None => part,
    }
}

/// Panics if the document lacks this answer of the operation.
pub(super) fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let (status, body) = (answer.status, &answer.body);
    let known = resolved(&DOCUMENT, &operation["responses"][status.as_str()]);
    assert!(known.is_object(), "{method} {path}: {status} is not documented: {body}");
    if !status.is_success() {
        let (slugs, slug) = (known["description"].as_str().unwrap(), answer.problem());
        assert!(slugs.contains(&format!("`{slug}`")), "{method} {path}: {status} {slug} is not documented");
    }
    let kind = answer.header("content-type").split(';').next().unwrap();
    let schema = &known["content"][kind]["schema"];
    assert!(schema.is_object(), "{method} {path}: {status} is not documented as {kind}");
    fits(schema, body, &format!("{method} {path}: {status}"));
}

/// Panics if a value is not of this shape.
pub(super) fn fits(schema: &Value, value: &Value, what: &str) {
    if let Err(error) = validator(schema).validate(value) {
        panic!("{what} is not as documented: {error} at {}: {value}", error.instance_path());
    }
}

fn validator(schema: &Value) -> Arc<Validator> {
    let mut known = VALIDATORS.lock().unwrap();
    let made = || {
        let mut whole = schema.clone();
        whole["components"] = json!({"schemas": DOCUMENT["components"]["schemas"]});
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&whole).unwrap())
    };
    known.entry(schema.to_string()).or_insert_with(made).clone()
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let parts = |template: &str| template.split('/').map(str::to_owned).collect::<Vec<_>>();
    let given = parts(path);
    let fits = |template: &str| {
        let known = parts(template);
        known.len() == given.len() && known.iter().zip(&given).all(|(a, b)| a.starts_with('{') || a == b)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // Of several templates, the one with the fewest parameters.
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let (_, item) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.as_str().to_lowercase())
}
