//! Tells a service that an invoice was paid.

use kassa_sdk::fulfiller::{Context, Event, Fulfiller, Outcome};
use kassa_sdk::hook::{self, Host, Invoice, Real};
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

#[derive(Deserialize)]
struct Settings {
    url: String,
}

/// Does the work, and returns a note of what was done. `?` makes an outcome of any failure: again later, or never.
fn fulfill(host: &impl Host, event: &Event, context: &Context) -> Result<String, Outcome> {
    let invoice = Invoice::of(event)?;
    let settings: Settings = hook::settings(&context.settings)?;
    let request = Request::post(settings.url).json(&json!({ "order": invoice.order() }));
    hook::accepted(host.send(&request))?;
    Ok(format!("told of {}", invoice.order()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kassa_sdk::hook::testing::{Scripted, answer, context, paid};

    #[test]
    fn the_service_is_told_of_the_order() {
        let host = Scripted::answering([answer(200, "")]);
        let context = context(&json!({ "url": "https://shop.example/paid" }));
        let event = paid(json!({ "order_id": "A-7" }));
        assert_eq!(fulfill(&host, &event, &context), Ok("told of A-7".into()));
        assert_eq!(host.bodies(), [json!({ "order": "A-7" })]);
    }
}
