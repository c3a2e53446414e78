//! Transactions in cells: those that a test describes, and those that the local chain made.

use super::cells::Cell;
use crate::address::Account;
use crate::base64;
use crate::boc::Boc;
use serde_json::Value;

/// Name, the JSON of v3, and the cells of v2. Written by tests/node/chains/ton/vectors.mjs.
#[cfg(test)]
pub(crate) fn known() -> Vec<(String, Value, String)> {
    let rows: Vec<Value> = serde_json::from_str(include_str!("cells.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.into_iter().map(|row| (text(&row["name"]), row["told"].clone(), text(&row["data"]))).collect()
}

/// A bag without its checksum, so that what reads the cells sees a change in them.
#[cfg(test)]
pub(crate) fn unchecked(text: &str) -> Vec<u8> {
    let mut bytes = base64::decode(text).unwrap();
    assert_eq!(bytes[4] & 0xf8, 0x40);
    bytes[4] &= 0x07;
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// The cells of a bag. `None` if the plugin would not read it.
fn cell(text: &str) -> Option<Cell> {
    let bytes = base64::decode(text)?;
    let boc = Boc::parse_transaction(&bytes).ok()?;
    Some(Cell::of(&boc, boc.root()))
}

/// The cells of a transaction in the index's words. What they leave out is empty.
pub(crate) fn transaction(told: &Value) -> Cell {
    let number = |value: &Value| value.as_str().unwrap().parse::<u128>().unwrap();
    let hash = |value: &Value| base64::decode(value.as_str().unwrap()).unwrap();
    let status = ["uninit", "frozen", "active", "nonexist"].iter().position(|one| told["end_status"] == *one);
    let account = Account::of_raw(told["account"].as_str().unwrap()).unwrap();
    let inbound = match &told["in_msg"] {
        Value::Null => Cell::default().uint(0, 1),
        told => Cell::default().uint(1, 1).reference(message(told)),
    };
    Cell::default()
        .uint(0b0111, 4)
        .bytes(&account.hash)
        .uint(number(&told["lt"]), 64)
        .bytes(&hash(&told["prev_trans_hash"]))
        .uint(number(&told["prev_trans_lt"]), 64)
        .uint(0, 32 + 15 + 2)
        .uint(status.unwrap_or(0) as u128, 2)
        .reference(inbound.uint(0, 1))
        .coins(5)
        .uint(0, 1)
        .reference(Cell::default())
        .reference(description(&told["description"]))
}

fn message(told: &Value) -> Cell {
    let address = |value: &Value| value.as_str().map(|text| Account::of_raw(text).unwrap());
    let body = told["message_content"]["body"].as_str().and_then(cell).unwrap_or_default();
    let head = match address(&told["source"]) {
        None => Cell::default().uint(0b10, 2).address(None),
        Some(source) => {
            Cell::default().uint(0b010, 3).uint(u128::from(told["bounced"] == true), 1).address(Some(&source))
        }
    };
    head.address(address(&told["destination"]).as_ref())
        .coins(told["value"].as_str().map_or(0, |value| value.parse().unwrap()))
        .uint(0, 1)
        .coins(1)
        .coins(2)
        .uint(7, 64 + 32)
        .uint(0b01, 2)
        .reference(body)
}

fn description(told: &Value) -> Cell {
    let flag = |value: &Value| u128::from(*value == true);
    let head = Cell::default().uint(if told["type"] == "ord" { 0 } else { 2 }, 4).uint(0, 3);
    let compute = &told["compute_ph"];
    let head = match compute["skipped"] == true {
        true => head.uint(0, 3),
        false => {
            head.uint(1, 1).uint(flag(&compute["success"]), 1).uint(0, 2).coins(3).reference(Cell::default())
        }
    };
    let head = head.uint(0, 1).uint(flag(&told["aborted"]), 1);
    match told["bounce"]["type"].as_str() {
        None => head.uint(0, 2),
        Some("ok") => head.uint(0b11, 2).uint(0, 1),
        Some(_) => head.uint(0b100, 3).uint(0, 1),
    }
}
