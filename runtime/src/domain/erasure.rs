//! What is left of texts about an invoice when the payer's personal data is erased: what money needs, and nothing that a
//! merchant or a hook has written.

use serde_json::{Map, Value, json};

use super::id::InvoiceId;

/// Fields of an invoice that the merchant writes.
const OF_MERCHANTS: [&str; 3] = ["title", "tag", "meta"];
/// Fields of answers about runs and replays that hold a hook's input, result, log and effects.
const OF_HOOKS: [&str; 6] = ["input", "note", "log", "effects", "missing", "added"];

/// Erases the payload of an event of the invoice.
#[must_use]
pub fn payload(text: &str, invoice_id: &InvoiceId) -> String {
    edited(text, &|object| {
        if object.get("id").and_then(Value::as_str) == Some(invoice_id.as_str()) {
            blank(object, &OF_MERCHANTS);
        }
    })
}

/// Erases the payload of an event that a hook sent or that tells of a hook's run; its type and time remain.
#[must_use]
pub fn payload_of_hook(text: &str) -> String {
    let payload: Value = serde_json::from_str(text).unwrap_or_default();
    json!({ "type": payload["type"], "timestamp": payload["timestamp"], "data": {} }).to_string()
}

/// Erases an answer about the invoice that is kept under an Idempotency-Key.
#[must_use]
pub fn answer(text: &str) -> String {
    edited(text, &|object| {
        blank(object, &OF_MERCHANTS);
        blank(object, &OF_HOOKS);
    })
}

fn edited(text: &str, edit: &impl Fn(&mut Map<String, Value>)) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap_or_default();
    walk(&mut value, edit);
    value.to_string()
}

/// Recursion is bounded: bodies beyond a depth are refused, and views add only a few levels.
fn walk(value: &mut Value, edit: &impl Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            edit(object);
            object.values_mut().for_each(|value| walk(value, edit));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| walk(value, edit)),
        _ => {}
    }
}

/// Empties these fields. A title stays a text; the others become null.
fn blank(object: &mut Map<String, Value>, fields: &[&str]) {
    for field in fields {
        if let Some(value) = object.get_mut(*field) {
            *value = if *field == "title" { json!("") } else { Value::Null };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn of_an_event_the_money_stays() {
        let text = r#"{"type":"invoice.paid","timestamp":"t","data":{"invoice":{"id":"inv_1","title":"Jo","tag":"x",
            "meta":{"mail":"jo@example.org","title":"Jo"},"payable_amount":"1.10"},"other":{"id":"inv_2","title":"K"}}}"#;
        let left = json!({"type": "invoice.paid", "timestamp": "t", "data": {
            "invoice": {"id": "inv_1", "title": "", "tag": null, "meta": null, "payable_amount": "1.10"},
            "other": {"id": "inv_2", "title": "K"}}});
        assert_eq!(read(&payload(text, &"inv_1".into())), left);
        let left = json!({"type": "invoice.paid", "timestamp": "t", "data": {}});
        assert_eq!(read(&payload_of_hook(text)), left);
    }

    #[test]
    fn of_an_answer_nothing_that_anyone_wrote_stays() {
        let text = r#"{"id":"run_1","state":"done","note":"sent to Jo","input":{"data":{"name":"Jo"}},
            "calls":[{"outcome":"done","note":"Jo","log":[{"text":"Jo"}]}]}"#;
        let left = json!({"id": "run_1", "state": "done", "note": null, "input": null,
            "calls": [{"outcome": "done", "note": null, "log": null}]});
        assert_eq!(read(&answer(text)), left);
        assert_eq!(answer("no JSON"), "null");
    }
}
