//! Gives the prices of assets, from an HTTP price API. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kassa_sdk::hook::{self, Decimal, Host, Real};
use kassa_sdk::http::Request;
use kassa_sdk::rates::{Context, Pair, Price, Rates, RatesError};
use serde::Deserialize;
use serde_json::Value;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_rates!(Hook);

struct Hook;

impl Rates for Hook {
    fn price_of(pair: Pair, context: Context) -> Result<Price, RatesError> {
        price_of(&Real, &pair, &context)
    }
}

/// Maximum number of digits behind the point that the host accepts.
const SCALE_MAX: u32 = 18;

#[derive(Deserialize)]
struct Settings {
    url: String,
    price: String,
    ids: BTreeMap<String, String>,
}

fn price_of(host: &impl Host, pair: &Pair, context: &Context) -> Result<Price, RatesError> {
    let settings: Settings =
        hook::settings(&context.settings).map_err(|error| RatesError::Source(error.to_string()))?;
    let id = settings.ids.get(&pair.asset).ok_or(RatesError::UnknownPair)?;
    let currency = pair.currency.to_ascii_lowercase();
    let filled = |template: &str| template.replace("{id}", id).replace("{currency}", &currency);
    let answer = host.send(&Request::get(filled(&settings.url)));
    let answer = answer.map_err(|error| RatesError::Source(format!("{error:?}")))?;
    if answer.status != 200 {
        return Err(RatesError::Source(format!("the source answered {}", answer.status)));
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| RatesError::Source(format!("the answer is no JSON: {error}")))?;
    let pointer = filled(&settings.price);
    let found = body.pointer(&pointer);
    let price = found
        .and_then(decimal)
        .and_then(fitting)
        .ok_or_else(|| RatesError::Source(format!("the answer has no price at {pointer}")))?;
    Ok(Price { at_ms: context.now_ms, ..price })
}

/// Reads a number, or the text of one, exactly as the source wrote it.
fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => scientific(&number.to_string()),
        Value::String(text) => Decimal::parse(text),
        _ => None,
    }
}

/// Reads a number that may be written as `1.12e-5`, as small ones are.
fn scientific(text: &str) -> Option<Decimal> {
    let Some((digits, down)) = text.split_once("e-") else { return Decimal::parse(text) };
    let decimal = Decimal::parse(digits)?;
    Some(Decimal { scale: decimal.scale.checked_add(down.parse().ok()?)?, ..decimal })
}

/// Cuts the digits that are more than the contract carries. A price that is cut asks for a little more of the asset,
/// never for less.
fn fitting(mut decimal: Decimal) -> Option<Price> {
    while decimal.scale > 0 && (decimal.scale > SCALE_MAX || u64::try_from(decimal.digits).is_err()) {
        decimal.digits /= 10;
        decimal.scale -= 1;
    }
    let mantissa = u64::try_from(decimal.digits).ok().filter(|mantissa| *mantissa > 0)?;
    Some(Price { mantissa, scale: u8::try_from(decimal.scale).ok()?, at_ms: 0, more: Vec::new() })
}
