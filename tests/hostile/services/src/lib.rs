//! Takes from the host's services what it can get. Its settings say from which; what each answers stands in its log,
//! a line each.

use kassa_sdk::fulfiller::{Context, Event, Fulfiller, Outcome};
use kassa_sdk::http::{self, HttpError, Request, Response};
use kassa_sdk::{log, storage, webhooks};
use serde::Deserialize;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_fulfiller!(Hook);

struct Hook;

#[derive(Deserialize)]
struct Settings {
    attack: String,
    #[serde(default)]
    to: Vec<String>,
    secret: Option<String>,
}

impl Fulfiller for Hook {
    fn fulfill(_event: Event, context: Context) -> Outcome {
        let settings: Settings = match serde_json::from_str(&context.settings) {
            Ok(settings) => settings,
            Err(error) => return Outcome::Reject(error.to_string()),
        };
        let requests = || settings.to.iter().map(|url| request(url, settings.secret.as_deref()));
        let note = match settings.attack.as_str() {
            "storage" => fill_storage(),
            "webhooks" => queue_webhooks(),
            "send-all" => said(http::send_all(&requests().collect::<Vec<_>>())),
            _ => said(requests().map(|request| http::send(&request))),
        };
        Outcome::Done(note)
    }
}

fn request(url: &str, secret: Option<&str>) -> Request {
    let request = Request::post(url);
    match secret {
        Some(secret) => request.header("authorization", format!("{{secret:{secret}}}")),
        None => request,
    }
}

fn said(answers: impl IntoIterator<Item = Result<Response, HttpError>>) -> String {
    let mut answered = 0;
    for answer in answers {
        let line = match answer {
            Ok(response) => {
                answered += 1;
                format!("{}, {} bytes", response.status, response.body.len())
            }
            Err(error) => format!("{error:?}"),
        };
        log::write(log::Level::Info, &line);
    }
    format!("{answered} answered")
}

/// New keys until none is taken any more, larger values, then room, one key over and over, and writes of nothing.
fn fill_storage() -> String {
    let mut stored = 0;
    for (kib, writes, keys) in [(4, 30, 30), (64, 10, 10), (0, 30, 30), (16, 80, 1), (0, 500, 30)] {
        let value = vec![b'x'; kib << 10];
        let mut last = String::new();
        for write in 0..writes {
            match storage::set(&format!("key/{}", write % keys), &value) {
                Ok(()) => stored += 1,
                Err(error) => last = format!("{error:?}"),
            }
        }
        log::write(log::Level::Info, &format!("{kib} KiB, {writes} times: {last}"));
    }
    format!("{stored} writes taken")
}

fn queue_webhooks() -> String {
    let mut queued = 0;
    for _ in 0..1_000 {
        match webhooks::queue(None, "hook.flood", "{}") {
            Ok(_) => queued += 1,
            Err(error) => {
                log::write(log::Level::Info, &format!("{error:?}"));
                break;
            }
        }
    }
    format!("{queued} queued")
}
