//! Tells a Telegram chat that an invoice was paid. The README explains its use.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

#[cfg(test)]
mod tests;

use kassa_sdk::fulfiller::{Context, Event, Fulfiller, Outcome};
use kassa_sdk::hook::{self, Host, Invoice, Real, SOON_S};
use kassa_sdk::http::Request;
use kassa_sdk::upstream::clean;
use serde::Deserialize;
use serde_json::{Value, json};

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_fulfiller!(Hook);

struct Hook;

impl Fulfiller for Hook {
    fn fulfill(event: Event, context: Context) -> Outcome {
        fulfill(&Real, &event, &context).into()
    }
}

/// Maximum length of an invite link's name, characters.
const LINK_NAME_CHARS: usize = 32;
/// Maximum wait that Telegram may ask for, seconds.
const WAIT_MAX_S: u32 = 24 * 3600;

#[derive(Deserialize)]
struct Settings {
    chat_id: Option<String>,
    #[serde(default = "default_text")]
    text: String,
    invite_to: Option<String>,
    #[serde(default = "default_api_url")]
    api_url: String,
}

fn default_text() -> String {
    "Paid: {title}".into()
}

fn default_api_url() -> String {
    "https://api.telegram.org".into()
}

fn fulfill(host: &impl Host, event: &Event, context: &Context) -> Result<String, Outcome> {
    let invoice = Invoice::of(event)?;
    let settings: Settings = hook::settings(&context.settings)?;
    let Some(chat_id) = settings.chat_id.clone().or_else(|| invoice.meta("telegram_chat_id")) else {
        return Err(Outcome::reject(
            "no chat to write to: set chat_id in the settings, or telegram_chat_id in the invoice's meta",
        ));
    };
    let invite = match &settings.invite_to {
        Some(chat) => invite(host, &settings.api_url, &invoice.id, &context.run, chat)?,
        None => String::new(),
    };
    let text = invoice.render(&settings.text, &[("invite", &invite)])?;
    let sent = call(host, &settings.api_url, "sendMessage", &json!({ "chat_id": chat_id, "text": text }))?;
    let Some(message) = sent["message_id"].as_i64() else {
        return Err(Outcome::retry(SOON_S, "sendMessage: the answer names no message"));
    };
    Ok(format!("message {message}"))
}

/// The invoice's invite link. It lets one person in, so it is made once, however often the message is tried.
fn invite(host: &impl Host, api_url: &str, invoice: &str, run: &str, chat: &str) -> Result<String, Outcome> {
    let storage_key = format!("invite/{invoice}");
    if let Some(link) = host.text(&storage_key)? {
        return Ok(link);
    }
    let name: String = run.chars().take(LINK_NAME_CHARS).collect();
    let body = json!({ "chat_id": chat, "member_limit": 1, "name": name });
    let made = call(host, api_url, "createChatInviteLink", &body)?;
    let Some(link) = made["invite_link"].as_str() else {
        return Err(Outcome::retry(SOON_S, "createChatInviteLink: the answer has no link"));
    };
    host.set(&storage_key, link.as_bytes())?;
    Ok(link.to_owned())
}

/// Calls a method of the Bot API. Returns the `result` of its answer.
fn call(host: &impl Host, api_url: &str, method: &str, body: &Value) -> Result<Value, Outcome> {
    let url = format!("{}/bot{{secret:bot_token}}/{method}", api_url.trim_end_matches('/'));
    let response = host.send(&Request::post(url).json(body))?;
    // A proxy's answer may not be JSON: then its status says all there is to know.
    let mut answer: Value =
        serde_json::from_str(&String::from_utf8_lossy(&response.body)).unwrap_or_default();
    let said = clean(answer["description"].as_str().unwrap_or("no description"));
    let why = format!("{method}: HTTP {}: {said}", response.status);
    match response.status {
        200..=299 if answer["ok"] == true => Ok(answer["result"].take()),
        429 => {
            let wait = answer["parameters"]["retry_after"].as_u64().and_then(|wait| u32::try_from(wait).ok());
            Err(Outcome::retry(wait.map_or(SOON_S, |wait| wait.clamp(1, WAIT_MAX_S)), why))
        }
        400..=499 => Err(Outcome::reject(why)),
        _ => Err(Outcome::retry(SOON_S, why)),
    }
}
