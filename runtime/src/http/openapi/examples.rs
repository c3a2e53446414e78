//! An example of each request and answer, put together from those of its fields.
//!
//! Of a request what has to be sent and the fields with an example of their own; of an answer all fields. What may be
//! null and has no example of its own is null.

use serde_json::{Map, Value, json};

/// Depth at which examples of recursive types end.
const DEPTH_MAX: usize = 16;

/// Adds an example to each JSON body of these operations.
pub(super) fn apply(paths: &mut Value, components: &Value) {
    let Value::Object(paths) = paths else { return };
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        if let Some(body) = operation.get_mut("requestBody") {
            show(body, &Examples { components, all: false });
        }
        let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
        for answer in answers.into_iter().flat_map(Map::values_mut) {
            show(answer, &Examples { components, all: true });
        }
    }
}

fn show(body: &mut Value, examples: &Examples<'_>) {
    let Some(media) = body.pointer_mut("/content/application~1json").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(schema) = media.get("schema")
        && !media.contains_key("example")
    {
        let example = examples.of(schema, 0);
        media.insert("example".to_owned(), example);
    }
}

struct Examples<'c> {
    components: &'c Value,
    /// True to include optional fields too.
    all: bool,
}

impl Examples<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        if let Some(own) = own(schema) {
            return own.clone();
        }
        if let Some(target) = schema["$ref"].as_str() {
            let target = self.components.pointer(target.trim_start_matches("#/components"));
            return target.map_or(Value::Null, |target| self.of(target, depth + 1));
        }
        for choices in ["oneOf", "anyOf"] {
            if let Some(first) = schema[choices].as_array().and_then(|all| all.first()) {
                return self.of(first, depth + 1);
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().map(|part| self.of(part, depth + 1));
            let fields = parts.filter_map(|part| part.as_object().cloned()).flatten();
            return Value::Object(fields.collect());
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => json!([self.of(&schema["items"], depth + 1)]),
            "string" => json!("…"),
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(0)),
            "boolean" => json!(false),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array();
        let mut fields = Map::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let needed = required.is_some_and(|names| names.contains(&json!(name)));
            if needed || field.get("example").is_some() {
                fields.insert(name.clone(), self.of(field, depth + 1));
            } else if self.all {
                let value = if may_be_null(field) { Value::Null } else { self.of(field, depth + 1) };
                fields.insert(name.clone(), value);
            }
        }
        Value::Object(fields)
    }
}

fn own(schema: &Value) -> Option<&Value> {
    ["example", "default"]
        .iter()
        .find_map(|name| schema.get(name))
        .or_else(|| ["examples", "enum"].iter().find_map(|name| schema.get(name)?.as_array()?.first()))
}

fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(one) => one,
        Value::Array(several) => {
            several.iter().filter_map(Value::as_str).find(|one| *one != "null").unwrap_or("")
        }
        _ => "",
    }
}

fn may_be_null(schema: &Value) -> bool {
    let null = json!("null");
    schema["type"].as_array().is_some_and(|kinds| kinds.contains(&null))
        || schema["oneOf"].as_array().is_some_and(|choices| choices.iter().any(|one| one["type"] == null))
}
