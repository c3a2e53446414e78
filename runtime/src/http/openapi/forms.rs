//! Forms of texts by their fields' names. The API gives one name to one thing everywhere, so that the form of an id, an
//! amount, a time or a cursor stands here once and not at each field.

use serde_json::{Map, Value, json};

/// Form of a text: a keyword of JSON Schema (`pattern` or `format`), its value, and an example.
type Form = (&'static str, &'static str, &'static str);

const ID: &str = "^[a-z]+_[0-9A-HJKMNP-TV-Z]{26}$";
const AMOUNT: &str = r"^[0-9]+(\.[0-9]+)?$";
const UNITS: &str = "^[0-9]+$";
const CURSOR: &str = "^[A-Za-z0-9_-]+$";
const SHA256: &str = "^[0-9a-f]{64}$";
const NAME: &str = "^[a-z0-9._-]{1,100}$";

/// Examples of ids by the names of their fields. `id` itself has an example in its type, with its prefix.
const IDS: &[(&str, &str)] = &[
    ("api_key_id", "key_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("correction_id", "cor_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("delivery_id", "dlv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("endpoint_id", "ep_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("event_id", "evt_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("hook_id", "hook_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("invoice_id", "inv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("key_id", "key_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("merchant_id", "mer_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("payment_id", "pay_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("receive_address_id", "adr_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("run_id", "run_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("takes_back", "cor_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("transfer_id", "trf_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
    ("version_id", "hkv_01KAN2Q5T4W2J6G0Z8Y3V7X9BC"),
];

fn form(name: &str) -> Option<Form> {
    if let Some((_, id)) = IDS.iter().find(|(known, _)| *known == name) {
        return Some(("pattern", ID, id));
    }
    Some(match name {
        "amount" | "base_amount_usd" => ("pattern", AMOUNT, "25.00"),
        "cursor" | "next_cursor" => ("pattern", CURSOR, "aW52XzAxS0FOMlE1VDRXMko2RzBaOFkzVjdYOUJD"),
        "sha256" => ("pattern", SHA256, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        "timestamp" | "block_time" => ("format", "date-time", "2026-03-01T12:00:00.000Z"),
        _ if name.ends_with("_amount") => ("pattern", AMOUNT, "25.00"),
        _ if name.ends_with("_units") => ("pattern", UNITS, "25000000"),
        _ if name.ends_with("_at") => ("format", "date-time", "2026-03-01T12:00:00.000Z"),
        _ => return None,
    })
}

/// Root key of BIP-32's second test vector.
const XPUB: &str = "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB";

/// Examples of texts without a form, by the names of their fields.
const SHOWN: &[(&str, &str)] = &[
    ("address", "0x52908400098527886E0F7030069857D2E4169EE7"),
    ("asset", "USDC"),
    ("asset_id", "base:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"),
    ("block_hash", "0x5c4c1f3a3c1f0fb0e1b1a8a6f2f4f5e2f7c6b5a4938271605f4e3d2c1b0a9988"),
    ("destination_address", "0x52908400098527886E0F7030069857D2E4169EE7"),
    ("extended_public_key", XPUB),
    ("hash", "0x5c4c1f3a3c1f0fb0e1b1a8a6f2f4f5e2f7c6b5a4938271605f4e3d2c1b0a9988"),
    ("hook_name", "license-keys"),
    ("name", "Shop"),
    ("network", "base"),
    ("plugin", "evm"),
    ("public_key", XPUB),
    ("sender", "0xde709f2102306220921060314715629080e2fb77"),
    ("title", "Order 1042"),
    ("tx", "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b"),
    ("tx_hash", "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b"),
    ("version", "1.0.0"),
];

/// Gives fields and parameters in this part of the document the forms that belong to their names.
pub(super) fn apply(part: &mut Value) {
    match part {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                for (name, schema) in properties {
                    if let Value::Object(schema) = schema {
                        give(name, schema);
                    }
                }
            }
            parameter(object);
            object.values_mut().for_each(apply);
        }
        Value::Array(items) => items.iter_mut().for_each(apply),
        _ => {}
    }
}

fn parameter(object: &mut Map<String, Value>) {
    let (Some(Value::String(location)), Some(Value::String(name))) = (object.get("in"), object.get("name"))
    else {
        return;
    };
    let (location, name) = (location.clone(), name.clone());
    let Some(Value::Object(schema)) = object.get_mut("schema") else { return };
    let mut set = |member: &str, value: Value| schema.insert(member.to_owned(), value);
    match (location.as_str(), name.as_str()) {
        ("path", "id" | "version_id") => drop(set("pattern", json!(ID))),
        ("path", "name" | "network") => drop(set("pattern", json!(NAME))),
        ("query", "limit") => {
            set("minimum", json!(1));
            set("maximum", json!(100));
            set("default", json!(25));
        }
        _ => give(&name, schema),
    }
}

fn give(name: &str, schema: &mut Map<String, Value>) {
    let is_text = match schema.get("type") {
        Some(Value::String(one)) => one == "string",
        Some(Value::Array(several)) => several.contains(&json!("string")),
        _ => false,
    };
    let has = |member| schema.contains_key(member);
    if !is_text || has("enum") || has("format") || has("pattern") {
        return;
    }
    let shown = has("example") || has("examples");
    if name == "id" && schema.get("example").and_then(Value::as_str).is_some_and(is_id) {
        schema.insert("pattern".to_owned(), json!(ID));
    }
    if let Some((key, value, example)) = form(name) {
        schema.insert(key.to_owned(), json!(value));
        if !shown {
            schema.insert("examples".to_owned(), json!([example]));
        }
    } else if let Some((_, example)) = SHOWN.iter().find(|(known, _)| *known == name)
        && !shown
    {
        schema.insert("examples".to_owned(), json!([example]));
    }
}

fn is_id(text: &str) -> bool {
    text.split_once('_').is_some_and(|(_, body)| body.len() == 26)
}
