//! Values out of JSON, and the time.

use serde_json::Value;

/// The machine's time, milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_millis()
}

/// A text field that must be there.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The items of a page.
#[must_use]
pub fn list(page: &Value) -> Vec<Value> {
    page["data"].as_array().unwrap_or_else(|| panic!("no list: {page}")).clone()
}

/// A decimal amount in base units.
#[must_use]
pub fn units(amount: &str, decimals: usize) -> u128 {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    assert!(fraction.len() <= decimals, "{amount} has more than {decimals} decimals");
    format!("{whole}{fraction:0<decimals$}").parse().expect("a decimal amount")
}
