//! Credits a player by a signed call to the merchant's own API. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kassa_sdk::fulfiller::{Context, Event, Fulfiller, Outcome};
use kassa_sdk::hook::{self, Decimal, Host, Invoice, Real};
use kassa_sdk::http::Request;
use serde::Deserialize;
use serde_json::json;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_fulfiller!(Hook);

struct Hook;

impl Fulfiller for Hook {
    fn fulfill(event: Event, context: Context) -> Outcome {
        fulfill(&Real, &event, &context).into()
    }
}

/// Largest integer that every reader of JSON reads exactly: 2^53 - 1.
const CREDITS_MAX: u64 = (1 << 53) - 1;
const PLAYER_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Settings {
    api_url: String,
    credits_per_unit: Option<u64>,
}

fn fulfill(host: &impl Host, event: &Event, context: &Context) -> Result<String, Outcome> {
    let invoice = Invoice::of(event)?;
    let settings: Settings = hook::settings(&context.settings)?;
    let Some(player) = invoice.meta("player").filter(|player| player.len() <= PLAYER_BYTES_MAX) else {
        return Err(Outcome::reject(format!(
            "the invoice names no player: set meta.player, at most {PLAYER_BYTES_MAX} bytes"
        )));
    };
    let total = total(&invoice, settings.credits_per_unit)?;

    // An invoice is first paid, then overpaid; or paid again after its payment had left the chain. So the player gets
    // what was not given yet.
    let storage_key = format!("credited/{}", invoice.id);
    let given = host.text(&storage_key)?.and_then(|text| text.parse().ok()).unwrap_or(0);
    let credits = total.saturating_sub(given);
    if credits == 0 {
        return Ok(format!("already credited {given} to {player}"));
    }
    let request = Request::post(settings.api_url).json(&json!({
        "run": context.run,
        "invoice_id": invoice.id,
        "order_id": invoice.order_id,
        "player": player,
        "credits": credits,
    }));
    let response = hook::accepted(host.send(&signed(host, request, context)?))?;
    host.set(&storage_key, total.to_string().as_bytes())?;
    Ok(match response.status {
        409 => "already credited".to_owned(),
        _ => format!("{credits} credits to {player}"),
    })
}

/// Total that the player gets for the invoice: its `meta.credits`, or the credited amount times the merchant's rate.
fn total(invoice: &Invoice, per_unit: Option<u64>) -> Result<u64, Outcome> {
    let unreadable =
        |what| Outcome::reject(format!("{what}: a whole number from 1 to {CREDITS_MAX} is needed"));
    let total = if invoice.meta.as_ref().is_some_and(|meta| !meta["credits"].is_null()) {
        let credits = invoice.meta("credits").and_then(|credits| credits.parse().ok());
        credits.ok_or_else(|| unreadable("meta.credits"))?
    } else {
        let Some(per_unit) = per_unit else {
            return Err(Outcome::reject(
                "how many credits? Set credits_per_unit in the settings, or meta.credits",
            ));
        };
        // Fractions of a credit are not given.
        Decimal::parse(&invoice.credited_amount)
            .and_then(|Decimal { digits, scale }| {
                digits.checked_mul(per_unit.into())?.checked_div(10u128.checked_pow(scale)?)
            })
            .and_then(|credits| u64::try_from(credits).ok())
            .ok_or_else(|| unreadable("credits for the credited amount"))?
    };
    if (1..=CREDITS_MAX).contains(&total) { Ok(total) } else { Err(unreadable("credits of the invoice")) }
}

/// Adds the headers of Standard Webhooks, by which the merchant's API knows the caller.
fn signed(host: &impl Host, request: Request, context: &Context) -> Result<Request, Outcome> {
    let timestamp = (context.now_ms / 1_000).to_string();
    let start = format!("{}.{timestamp}.", context.run);
    let message = [start.as_bytes(), request.body.as_slice()].concat();
    let signature = STANDARD.encode(host.sign("signing_key", "HMAC-SHA256", &message)?);
    Ok(request
        .header("webhook-id", context.run.as_str())
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", format!("v1,{signature}")))
}
