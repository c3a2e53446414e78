//! Sells license keys, one for each paid invoice. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use kassa_sdk::fulfiller::{Context, Event, Fulfiller, Outcome};
use kassa_sdk::hook::{self, Host, Invoice, LATER_S, Real};
use serde_json::json;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_fulfiller!(Hook);

struct Hook;

impl Fulfiller for Hook {
    fn fulfill(event: Event, _context: Context) -> Outcome {
        fulfill(&Real, &event).into()
    }
}

const FOR_SALE: &str = "key/";

fn fulfill(host: &impl Host, event: &Event) -> Result<String, Outcome> {
    let invoice = Invoice::of(event)?;
    let sold = format!("sold/{}", invoice.id);
    let storage_key = host.keys(FOR_SALE, None, 1)?.into_iter().next();
    // One request for the key that this invoice was given, and for the next one for sale.
    let keys: Vec<&str> = [Some(sold.as_str()), storage_key.as_deref()].into_iter().flatten().collect();
    let mut values = host.get_many(&keys)?.into_iter();
    let (given, for_sale) = (values.next().flatten(), values.next().flatten());
    if let Some(key) = hook::text(&sold, given)? {
        return Ok(note(&key, &invoice));
    }
    let Some(storage_key) = storage_key else {
        return Err(Outcome::retry(LATER_S, "no keys left; put more into storage under key/"));
    };
    let Some(key) = hook::text(&storage_key, for_sale)?.filter(|key| !key.is_empty()) else {
        return Err(Outcome::retry(
            LATER_S,
            format!("what is stored under {storage_key} is empty: replace it"),
        ));
    };
    host.set(&sold, key.as_bytes())?;
    if let Err(outcome) = hand_over(host, &invoice, &key, &storage_key) {
        // What was written is committed with a retry too, and half a sale would lose the key or sell it twice.
        host.delete(&sold)?;
        host.set(&storage_key, key.as_bytes())?;
        return Err(outcome);
    }
    Ok(note(&key, &invoice))
}

fn hand_over(host: &impl Host, invoice: &Invoice, key: &str, storage_key: &str) -> Result<(), Outcome> {
    host.delete(storage_key)?;
    let data = json!({ "invoice_id": invoice.id, "order_id": invoice.order_id, "key": key });
    host.queue(None, "hook.license.issued", &data)?;
    Ok(())
}

/// A note that identifies the key without giving it away.
fn note(key: &str, invoice: &Invoice) -> String {
    let start = key.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    format!("key …{} for {}", &key[start..], invoice.order())
}
