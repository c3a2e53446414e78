//! Writes an email when an invoice was paid. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

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

/// Maximum length of an address that mail servers accept, bytes.
const ADDRESS_BYTES_MAX: usize = 254;

#[derive(Deserialize)]
struct Settings {
    api_url: String,
    from: String,
    to: Option<String>,
    #[serde(default = "default_subject")]
    subject: String,
    #[serde(default = "default_text")]
    text: String,
}

fn default_subject() -> String {
    "Paid: {title}".into()
}

fn default_text() -> String {
    "{amount} {asset} were received for {title}. Thank you.".into()
}

fn fulfill(host: &impl Host, event: &Event, context: &Context) -> Result<String, Outcome> {
    let invoice = Invoice::of(event)?;
    let settings: Settings = hook::settings(&context.settings)?;
    let Some(to) = settings.to.clone().or_else(|| invoice.meta("email")) else {
        return Err(Outcome::reject(
            "no one to write to: set to in the settings, or email in the invoice's meta",
        ));
    };
    if !is_address(&to) {
        return Err(Outcome::reject(format!(
            "the recipient is no email address: one @, no control characters, at most {ADDRESS_BYTES_MAX} bytes"
        )));
    }
    // A subject is one line: whatever the title contains, no mail API may see the start of another header.
    let subject = invoice.render(&settings.subject, &[])?.replace(char::is_control, " ");
    let text = invoice.render(&settings.text, &[])?;
    let request = Request::post(settings.api_url)
        .header("authorization", "Bearer {secret:api_key}")
        .json(&json!({ "from": settings.from, "to": [to], "subject": subject, "text": text }));
    let response = hook::accepted(host.send(&request))?;
    Ok(match response.status {
        409 => "already sent".to_owned(),
        _ => format!("sent to {to}"),
    })
}

/// True if the text can be an address, and only one. Whether it is in use is for the mail API to find out.
fn is_address(text: &str) -> bool {
    let one_at = text
        .split_once('@')
        .is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'));
    one_at && text.len() <= ADDRESS_BYTES_MAX && !text.contains(char::is_control)
}
