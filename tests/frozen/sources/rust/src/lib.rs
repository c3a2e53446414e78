//! A hook of every role that asks every service.
#![allow(missing_docs, reason = "nobody calls it but the host")]

use kassa_sdk::form::{self, Delivery, Form, FormError, Taken};
use kassa_sdk::fulfiller::{self, Event, Fulfiller, Outcome};
use kassa_sdk::hook::{self, Host, Invoice, Real};
use kassa_sdk::http::Request;
use kassa_sdk::matcher::{self, Candidate, Decision, Matcher};
use kassa_sdk::rates::{self, Pair, Price, Rates, RatesError};
use kassa_sdk::types::{Method, Transfer};
use kassa_sdk::{
    clock,
    log::{self, Level},
};
use serde::Deserialize;
use serde_json::{Value, json};

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_fulfiller!(Hook);
kassa_sdk::export_matcher!(Hook);
kassa_sdk::export_rates!(Hook);
kassa_sdk::export_form!(Hook);

struct Hook;

#[derive(Deserialize)]
struct Settings {
    url: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fulfill(host: &impl Host, event: &Event, context: &fulfiller::Context) -> Result<String, Outcome> {
    let Invoice { id, .. } = Invoice::of(event)?;
    let Settings { url } = hook::settings(&context.settings)?;
    let seen = format!("seen/{id}");
    host.set("gone", b"soon")?;
    host.delete("gone")?;
    host.set(&seen, hex(&host.random(8)?).as_bytes())?;
    let keys = host.keys("seen/", None, 10)?;
    let values = host.get_many(&[&seen, "gone"])?;
    if !keys.contains(&seen) || values.first().is_none_or(Option::is_none) || values.last() != Some(&None) {
        return Err(Outcome::reject("the storage lost something"));
    }
    let told = Request::post(format!("{url}/told")).header("authorization", "Bearer {secret:token}");
    let response = host.send(&told.json(&json!({ "id": id })))?;
    if response.status >= 300 {
        return Err(Outcome::reject(format!("status {}", response.status)));
    }
    host.queue(None, "hook.frozen.told", &json!({ "id": id }))?;
    log::write(Level::Info, &format!("attempt {}", context.attempt));
    Ok(format!("told of {id}"))
}

impl Fulfiller for Hook {
    fn fulfill(event: Event, context: fulfiller::Context) -> Outcome {
        fulfill(&Real, &event, &context).into()
    }
}

impl Matcher for Hook {
    fn match_transfer(
        transfer: Transfer,
        candidates: Vec<Candidate>,
        _context: matcher::Context,
    ) -> Decision {
        let amount = transfer.amount.map(u128::from).unwrap_or_default();
        log::write(Level::Info, &format!("{amount} for one of {}", candidates.len()));
        Decision::Pay(0)
    }
}

impl Rates for Hook {
    fn price_of(pair: Pair, _context: rates::Context) -> Result<Price, RatesError> {
        match pair.asset.as_str() {
            "SBX" => Ok(Price { mantissa: 25, scale: 2, at_ms: clock::now_ms(), more: Vec::new() }),
            _ => Err(RatesError::UnknownPair),
        }
    }
}

impl Form for Hook {
    fn render(delivery: Delivery, _context: form::Context) -> Result<form::Request, FormError> {
        if delivery.kind != "invoice.paid" {
            return Err(FormError::Unsupported(format!("no word for {}", delivery.kind)));
        }
        let payload: Value = serde_json::from_str(&delivery.payload)
            .map_err(|error| FormError::Malformed(error.to_string()))?;
        let body = json!({ "paid": payload["data"]["invoice"]["id"] }).to_string();
        let signature = hex(&Real.sign("key", "HMAC-SHA512", body.as_bytes())?);
        let taken = Taken { statuses: vec![200, 204], body: None, more: Vec::new() };
        let request = form::Request::post(body).header("x-signature", signature);
        Ok(form::Request { method: Method::Put, taken, ..request })
    }
}
