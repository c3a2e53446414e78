//! The `webhooks` section: a delivery of each kind of event.

use serde_json::{Value, json};

use super::headers;
use crate::{
    domain::event::data::{Shape, shapes},
    http::openapi::routes::Schemas,
};

/// Name of the entry for a hook's own events.
const OF_HOOKS: &str = "hook.*";

/// Schemas that deliveries refer to.
pub(in crate::http) fn schemas() -> Schemas {
    shapes().into_iter().flat_map(|shape| shape.schemas).collect()
}

/// Describes a delivery of each type of event.
pub(super) fn section() -> Value {
    let kinds = shapes().into_iter().map(|shape| {
        let Shape { kind, about, data, example, .. } = shape;
        // A golden file is JSON, or the test that compares it fails.
        let example = serde_json::from_str(example).unwrap_or_default();
        let data = json!({"$ref": format!("#/components/schemas/{data}")});
        (kind.to_owned(), delivery(kind, about, &json!({"type": "string", "enum": [kind]}), &data, &example))
    });
    let about = "An event that a hook of yours had sent, under a type of its own.";
    let kind = json!({"type": "string", "pattern": r"^hook(\.[a-z0-9_]+)+$", "maxLength": 64});
    let example = json!({
        "type": "hook.license.issued", "timestamp": "2026-03-01T12:00:00.000Z", "data": {"license": "K7-2F-9Q"},
    });
    let of_hooks = delivery(OF_HOOKS, about, &kind, &json!({"type": "object"}), &example);
    kinds.chain([(OF_HOOKS.to_owned(), of_hooks)]).collect()
}

fn delivery(name: &str, about: &str, kind: &Value, data: &Value, example: &Value) -> Value {
    let operation_id = format!("on_{}", name.replace('.', "_").replace('*', "own"));
    json!({"post": {
        "tags": ["webhooks"],
        "summary": name,
        "description": about,
        "operationId": operation_id,
        "security": [],
        "parameters": headers::of_deliveries(),
        "requestBody": {"required": true, "content": {"application/json": {
            "schema": {
                "type": "object",
                "required": ["type", "timestamp", "data"],
                "properties": {"type": kind, "timestamp": {"type": "string"}, "data": data},
            },
            "example": example,
        }}},
        "responses": {
            "2XX": {"description": "Taken. Whatever else comes is tried again for a week."},
            "410": {"description": "The endpoint is gone: it is disabled."},
        },
    }})
}
