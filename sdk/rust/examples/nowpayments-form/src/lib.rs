//! Delivers events as NOWPayments' instant payment notifications. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use kassa_sdk::form::{Context, Delivery, Form, FormError, Request};
use kassa_sdk::hook::{self, Host, Real};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_form!(Hook);

struct Hook;

impl Form for Hook {
    fn render(delivery: Delivery, context: Context) -> Result<Request, FormError> {
        render(&Real, &delivery, &context)
    }
}

/// Maximum number of digits that a number keeps in every language.
const DIGITS_MAX: usize = 15;
/// Maximum number of zeros behind the point of a number that JavaScript writes without an exponent.
const ZEROS_MAX: usize = 5;

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    currencies: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Payload {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    invoice: Invoice,
}

#[derive(Deserialize)]
struct Invoice {
    id: String,
    order_id: Option<String>,
    title: String,
    payable_network: String,
    payable_asset: String,
    amount: String,
    payable_amount: String,
    credited_amount: String,
    base_amount_usd: Option<String>,
    destination_address: String,
    payment_comment: Option<String>,
}

fn render(host: &impl Host, delivery: &Delivery, context: &Context) -> Result<Request, FormError> {
    let status = status(&delivery.kind)
        .ok_or_else(|| FormError::Unsupported(format!("{} is about no payment", delivery.kind)))?;
    let payload: Payload =
        serde_json::from_str(&delivery.payload).map_err(|error| FormError::Malformed(error.to_string()))?;
    let settings: Settings = hook::settings(&context.settings)?;
    let body = body(&payload.data.invoice, status, &settings.currencies);
    let signature = host.sign("ipn_key", "HMAC-SHA512", body.as_bytes())?;
    let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Request::post(body).header("content-type", "application/json").header("x-nowpayments-sig", signature))
}

fn status(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "invoice.detected" => "confirming",
        "invoice.paid" | "invoice.overpaid" => "finished",
        "invoice.underpaid" => "partially_paid",
        "invoice.expired" => "expired",
        "invoice.cancelled" | "invoice.reverted" => "failed",
        _ => return None,
    })
}

/// Body of a notification. A handler signs what it has parsed, sorted and written again: so the keys are sorted, and
/// everything is written as JavaScript writes it.
fn body(invoice: &Invoice, status: &str, currencies: &HashMap<String, String>) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let optional = |value: &Option<String>| value.as_deref().map_or_else(|| "null".to_owned(), text);
    let coin = format!("{}/{}", invoice.payable_network, invoice.payable_asset);
    let asset = currencies.get(&coin).cloned().unwrap_or_else(|| invoice.payable_asset.to_lowercase());
    let (price, currency) = match &invoice.base_amount_usd {
        Some(price) => (price, "usd"),
        None => (&invoice.amount, asset.as_str()),
    };
    let fields = [
        ("actually_paid", number(&invoice.credited_amount)),
        ("invoice_id", text(&invoice.id)),
        ("order_description", text(&invoice.title)),
        ("order_id", optional(&invoice.order_id)),
        ("pay_address", text(&invoice.destination_address)),
        ("pay_amount", number(&invoice.payable_amount)),
        ("pay_currency", text(&asset)),
        ("payin_extra_id", optional(&invoice.payment_comment)),
        ("payment_id", text(&invoice.id)),
        ("payment_status", text(status)),
        ("price_amount", number(price)),
        ("price_currency", text(currency)),
    ];
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// A decimal as JavaScript writes the number, or as a text if a number could not keep all digits.
fn number(decimal: &str) -> String {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let zeros = fraction.len() - fraction.trim_start_matches('0').len();
    if digits.trim_start_matches('0').len() > DIGITS_MAX || (whole == "0" && zeros > ZEROS_MAX) {
        return Value::from(decimal).to_string();
    }
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}
